"""Judging by columns: as fast for whatever warehouses write, and never another answer than row by row."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.db import connection, models
from hypothesis import given, settings
from hypothesis import strategies as st

from program_intent.data import Certainty
from program_intent.exceptions import InvalidIntent
from program_intent.validation import fast
from program_intent.validation.judge import Judge, NewIntent
from program_intent.validation.learners import learner_parser
from program_intent.validation.times import parse_timestamp
from program_intent.validation.values import parse_reason, parse_uuid
from tests.builders import MOMENT, PROGRAM
from tests.strategies import generated

Form = Callable[[Callable[[object], Any], Sequence[Any]], list[Any]]
OUTSIDE_THE_RFC = UUID("4a458848-f946-c657-25a7-e5df7b05272c")
NOON = datetime(2022, 4, 12, 12, tzinfo=UTC)
BY_KEY = fast.learners_by(models.BigAutoField())
BY_TEXT = fast.learners_by(models.CharField())


def judged(form: Form, parse: Callable[[Any], Any], column: Sequence[Any]) -> tuple[list[Any], int]:
    """The judged column, and how many values were parsed one by one."""
    parsed = []

    def parse_one(value: object) -> Any:
        parsed.append(value)
        return parse(value)

    return form(parse_one, column), len(parsed)


WAREHOUSES = {
    "ISO 8601": "2022-04-12T12:00:00Z",
    "ISO 8601 with milliseconds": "2022-04-12T12:00:00.000Z",
    "Open edX": "2022-04-12 12:00:00 Z",
    "a space and Z": "2022-04-12 12:00:00Z",
    "Snowflake": "2022-04-12 12:00:00.000 Z",
    "Snowflake with an offset": "2022-04-12 14:00:00.000 +0200",
    "BigQuery": "2022-04-12 12:00:00 UTC",
    "BigQuery with microseconds": "2022-04-12 12:00:00.000000 UTC",
    "BigQuery as JSON": "2022-04-12T12:00:00+00:00",
    "Redshift": "2022-04-12 12:00:00+00",
    "Redshift in a zone": "2022-04-12 07:00:00-05",
    "PostgreSQL": "2022-04-12 12:00:00.000000+00",
    "PostgreSQL in India": "2022-04-12 17:30:00+05:30",
    "Databricks": "2022-04-12T12:00:00.000+00:00",
    "Databricks in a zone": "2022-04-12T14:00:00.000+02:00",
    "pandas": "2022-04-12 12:00:00+00:00",
    "without seconds": "2022-04-12 12:00 Z",
    "in lower case": "2022-04-12t12:00:00z",
}


@pytest.mark.parametrize("text", WAREHOUSES.values(), ids=WAREHOUSES)
def test_every_spelling_that_warehouses_write_is_judged_by_columns(text: str) -> None:
    times, parsed = judged(fast.times, parse_timestamp, [text] * 100)
    assert times == [NOON] * 100
    assert {moment.tzinfo for moment in times} == {UTC}
    assert parsed == 2  # the earliest and the latest


def test_a_column_of_times_may_mix_spellings() -> None:
    assert judged(fast.times, parse_timestamp, list(WAREHOUSES.values())) == ([NOON] * len(WAREHOUSES), 2)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("form", "parse", "column", "values"),
    [
        pytest.param(BY_KEY, "pk", ["7", "12", "2147483647"], [7, 12, 2**31 - 1], id="keys as texts"),
        pytest.param(BY_KEY, "pk", [7, 12, 0], [7, 12, 0], id="keys"),
        pytest.param(BY_TEXT, "username", ["ada", " \u00e9", "7"], ["ada", " \u00e9", "7"], id="usernames"),
        pytest.param(fast.times, None, [NOON, MOMENT, NOON], [NOON, MOMENT, NOON], id="times"),
    ],
)
def test_a_column_of_one_type_is_judged_as_a_whole(
    form: Form, parse: str | None, column: list[Any], values: list[Any]
) -> None:
    parser = learner_parser(parse, connection) if parse else parse_timestamp
    found, parsed = judged(form, parser, column * 50)
    assert found == values * 50
    assert parsed <= 2


@pytest.mark.parametrize(
    ("parse", "column", "values"),
    [
        pytest.param(parse_reason, ["a1", "A1", " b "], ["A1", "A1", "B"], id="reasons"),
        pytest.param(parse_uuid, [PROGRAM.hex, PROGRAM.hex.upper(), PROGRAM], [PROGRAM] * 3, id="programs"),
    ],
)
def test_what_comes_many_times_is_parsed_once(
    parse: Callable[[object], Any], column: list[Any], values: list[Any]
) -> None:
    assert judged(fast.by_distinct_value, parse, column * 50) == (values * 50, 3)


def test_rows_as_a_warehouse_gives_them_come_out_normalised(db: None) -> None:
    texts = ("7", PROGRAM.hex.upper(), "bundle_purchase", "MAYBE", "2022-04-12 10:30:00.123456 +0200")
    typed = (7, PROGRAM, "BUNDLE_PURCHASE", "MAYBE", MOMENT)
    for rows in ([texts] * 2, [typed] * 2, [texts, typed]):
        columns = Judge(connection).columns(rows)
        assert columns is not None
        assert list(map(NewIntent, *columns)) == [NewIntent(7, PROGRAM, "BUNDLE_PURCHASE", Certainty.MAYBE, MOMENT)] * 2
        assert set(map(type, columns[3])) == {Certainty}


SOUND = (7, PROGRAM, "A", "MAYBE", NOON)


@pytest.mark.parametrize(
    ("position", "value"),
    [
        pytest.param(0, True, id="True is no 1"),
        pytest.param(0, "7\n8", id="two keys in one text"),
        pytest.param(0, 2**63, id="a key that no column holds"),
        pytest.param(0, -(2**63) - 1, id="a key below all that a column holds"),
        pytest.param(0, "9" * 19, id="a key as a text that no column holds"),
        pytest.param(1, [PROGRAM], id="a list"),
        pytest.param(4, "2022-04-12T12:00:00Z\n2022-04-12T12:00:00 Z", id="two times in one text"),
        pytest.param(4, "2022-04-12T12:00:00+00:60", id="an offset of sixty minutes"),
        pytest.param(4, "2022-04-12T12:00:00+0060", id="an offset of sixty minutes, without a colon"),
        pytest.param(4, "2022-04-12T12:00:00  Z", id="two spaces before Z"),
        pytest.param(4, "2022-04-12T12:00:00", id="no offset"),
        pytest.param(4, NOON.replace(tzinfo=None), id="a naive time"),
        pytest.param(4, "1900-01-01T00:00:00+00:01", id="before 1900"),
        pytest.param(4, "9999-12-30T23:59:00-00:01", id="after 9999-12-30"),
        pytest.param(4, "0001-01-01T00:00:00+00:01", id="before all time"),
        pytest.param(4, datetime(1899, 12, 31, tzinfo=UTC), id="a time before 1900"),
        pytest.param(4, "2022-04-12T12:00:00.0000001Z", id="seven decimals"),
        pytest.param(4, "\uff12022-04-12T12:00:00Z", id="a full-width digit"),
        pytest.param(4, "x022-04-12T12:00:00Z", id="a letter for a digit"),
    ],
)
def test_one_value_that_is_refused_row_by_row_is_refused_in_its_column(db: None, position: int, value: object) -> None:
    judge = Judge(connection)
    refused = (*SOUND[:position], value, *SOUND[position + 1 :])
    text = (str(SOUND[0]), str(SOUND[1]), *SOUND[2:4], NOON.isoformat())
    with pytest.raises(InvalidIntent):
        judge(refused)
    assert judge.columns([SOUND]) is not None
    assert judge.columns([text]) is not None
    for rows in ([refused], [SOUND, refused], [text, refused]):
        assert judge.columns(rows) is None


@pytest.mark.parametrize("name", ["", "a\0", "\ud800", 7, None])
def test_a_text_that_names_no_user_is_refused_in_its_column(db: None, name: object) -> None:
    judge = Judge(connection, learner_field="username")
    assert judge.columns([("ada", *SOUND[1:])]) is not None
    assert judge.columns([("ada", *SOUND[1:]), (name, *SOUND[1:])]) is None


def test_texts_without_an_offset_are_given_the_assumed_zone_in_their_column(db: None) -> None:
    judge = Judge(connection, zone=ZoneInfo("America/New_York"))
    rows = [(*SOUND[:4], text) for text in ("2022-04-12 08:00:00", "2022-04-12 12:00:00 Z")]
    assert judge.columns(rows) == ([7, 7], [PROGRAM] * 2, ["A"] * 2, [Certainty.MAYBE] * 2, [NOON] * 2)
    assert judge.columns([(*SOUND[:4], "2022-11-06 01:30:00")]) is None


@pytest.mark.parametrize("rows", [[], [SOUND[:4]], [SOUND, SOUND[:4]]], ids=["none", "four values", "one of four"])
def test_what_are_no_rows_of_five_values_are_no_columns(db: None, rows: list[tuple[Any, ...]]) -> None:
    assert Judge(connection).columns(rows) is None


def mostly(*plain: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Columns of three values: of one kind, of a mix, or with something odd in them."""
    kinds = [*plain, st.one_of(*plain), st.one_of(*plain, odd)]
    return st.one_of(*(st.lists(kind, min_size=3, max_size=3) for kind in kinds))


offsets = st.sampled_from(
    ["Z", " Z", "z", " UTC", "UTC", "utc", "+00:00", "-00", "+02:00", " +0200", "-05", " -05:30", "+23:59"]
)
separators = st.sampled_from(["T", " ", "t"])
zones = st.sampled_from([UTC, timezone(timedelta(0), "zero"), timezone(timedelta(hours=2)), ZoneInfo("Asia/Kolkata")])
moments = st.datetimes() | st.datetimes(datetime(1899, 12, 31), datetime(1900, 1, 2))  # noqa: DTZ001
spelled = st.builds(
    lambda moment, separator, precision, offset: moment.isoformat(separator, precision) + offset,
    moments,
    separators,
    st.sampled_from(["minutes", "seconds", "milliseconds", "microseconds"]),
    offsets,
)
nearly = st.from_regex(
    r"\A ?[0-9]{4}-[01][0-9]-[0-3][0-9][Tt_ ][0-2][0-9]:[0-6][0-9](:[0-6][0-9])?([.,][0-9]{1,8})?"
    r" {0,2}([Zz]|UTC|EST|[+-][0-2][0-9]:?([0-9]{2})?)?\n?\Z"
)
anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.lists(st.text())
columns = st.tuples(
    mostly(
        st.from_regex(r"\A[1-9][0-9]{0,20}\Z", alphabet="0123456789"),
        st.integers(0, 2**64),
        st.text(),
        st.builds(User, pk=st.integers(1), username=st.text(min_size=1)),
        odd=anything | st.sampled_from(["007", " 7", "-7", "+7", "7\n8", "", "\uff17"]),
    ),
    mostly(
        st.uuids().map(str),
        st.uuids().map(lambda value: value.hex.upper()),
        st.uuids(),
        odd=anything
        | st.sampled_from([f" {PROGRAM} ", f"{{{PROGRAM}}}", UUID("4a458848-f946-c657-25a7-e5df7b05272c")]),
    ),
    mostly(st.sampled_from(["A1", "a_b", "AB"]), odd=anything | st.sampled_from([" A ", "1A", "\u0131"])),
    mostly(
        st.sampled_from([each.value for each in Certainty]),
        st.sampled_from(Certainty),
        odd=anything | st.sampled_from(["MAYBE ", "maybe"]),
    ),
    mostly(
        spelled,
        st.builds(lambda moment, zone: moment.replace(tzinfo=zone), moments, zones),
        odd=anything | nearly | moments,
    ),
)


@settings(generated, max_examples=200)
@given(columns=columns)
@pytest.mark.parametrize(
    ("field", "zone"), [("pk", None), ("username", ZoneInfo("America/New_York")), ("is_active", None)]
)
def test_judging_by_columns_answers_as_judging_row_by_row(
    field: str, zone: ZoneInfo | None, db: None, columns: tuple[list[Any], ...]
) -> None:
    judge = Judge(connection, learner_field=field, zone=zone)
    rows = list(zip(*columns, strict=True))
    found = judge.columns(rows)
    try:
        one_by_one = [judge(row) for row in rows]
    except InvalidIntent:
        assert found is None
        return
    assert found is not None
    by_columns = list(map(NewIntent, *found))
    assert by_columns == one_by_one
    assert [list(map(type, row)) for row in by_columns] == [list(map(type, row)) for row in one_by_one]
    assert {row.effective_timestamp.tzinfo for row in by_columns} == {UTC}


@settings(generated, max_examples=300)
@given(column=mostly(spelled, odd=nearly))
def test_times_are_judged_by_columns_as_one_by_one(column: list[str]) -> None:
    def read(judge: Callable[[], list[datetime]]) -> list[datetime] | None:
        try:
            return judge()
        except ValueError:
            return None

    one_by_one = read(lambda: list(map(parse_timestamp, column)))
    assert read(lambda: fast.times(parse_timestamp, column)) == one_by_one
