"""The one judge: what each field accepts, and the whole message where it refuses."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import IntEnum
from functools import partial
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.db import connection, models
from django.utils.functional import SimpleLazyObject
from hypothesis import given
from hypothesis import strategies as st

from program_intent import engines
from program_intent.data import FIELDS, Certainty
from program_intent.engines.mariadb import MariaDB
from program_intent.exceptions import InvalidIntent
from program_intent.validation.judge import Judge, NewIntent
from program_intent.validation.learners import ByKey, _parse_by_field, learner_parser
from program_intent.validation.times import parse_timestamp
from program_intent.validation.values import Refused, parse_certainty, parse_reason, parse_uuid, shown
from tests.builders import MOMENT, PROGRAM, make_row
from tests.strategies import generated

NEW_YORK = ZoneInfo("America/New_York")
HUGE_TEXT = "A" * 10_000_000
HUGE_INTEGER = 10**5000


class Sneaky:
    """A value whose every courtesy fails."""

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        raise RuntimeError

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


# What no field takes, whoever hands it in.
NONSENSE = [
    pytest.param(value, id=name)
    for name, value in {
        "empty": "",
        "blank": " \t",
        "None": None,
        "True": True,
        "float": 1.5,
        "whole float": 1.0,
        "nan": float("nan"),
        "decimal": Decimal(1),
        "bytes": b"A",
        "list": [1],
        "dict": {"a": 1},
        "set": {1},
        "deeply nested": nested(100_000),
        "NUL": "A\0",
        "lone surrogate": "A\ud800",
        "huge integer": HUGE_INTEGER,
        "huge digits": "1" * 5000,
        "huge text": HUGE_TEXT + "!",
        "sneaky": Sneaky(),
    }.items()
]


def refusal(parse: Callable[[Any], Any], value: object) -> str:
    with pytest.raises(Refused) as refused:
        parse(value)
    return str(refused.value)


@pytest.mark.parametrize(
    "value",
    [
        PROGRAM,
        str(PROGRAM),
        str(PROGRAM).upper(),
        PROGRAM.hex,
        PROGRAM.hex.upper(),
        f" {PROGRAM}\n",
    ],
)
def test_a_uuid_is_taken_with_or_without_hyphens_in_any_case(value: object) -> None:
    assert parse_uuid(value) == PROGRAM


@pytest.mark.parametrize(
    "text",
    [
        f"{{{PROGRAM}}}",
        f"urn:uuid:{PROGRAM}",
        f"{PROGRAM}0",
        PROGRAM.hex[:-1],
        PROGRAM.hex.replace("5", "-5"),
        f"{PROGRAM.hex[:8]}-{PROGRAM.hex[8:]}",
        PROGRAM.hex.replace("1", "\uff11"),  # full-width one
        "g" * 32,
        "0x" + "1" * 30,
        "1_2" + "1" * 29,
        f"{PROGRAM}\0",
        "\ud800",
    ],
)
def test_other_spellings_of_a_uuid_are_refused(text: str) -> None:
    assert refusal(parse_uuid, text) == f"Expected a UUID, with or without hyphens, not {shown(text)}."


@pytest.mark.parametrize("value", [5, PROGRAM.bytes, PROGRAM.int, "1" * 65, [str(PROGRAM)]])
def test_what_is_no_text_of_a_uuid_is_refused(value: object) -> None:
    assert refusal(parse_uuid, value) == f"Expected a UUID, not {shown(value)}."


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("BUNDLE_PURCHASE", "BUNDLE_PURCHASE"),
        ("bundle_purchase", "BUNDLE_PURCHASE"),
        ("  Bundle_Purchase\r\n", "BUNDLE_PURCHASE"),
        ("a", "A"),
        ("a1_", "A1_"),
        ("z" * 64, "Z" * 64),
        (f" {'z' * 64} ", "Z" * 64),
    ],
)
def test_a_reason_is_upper_cased_after_trimming(value: str, reason: str) -> None:
    assert parse_reason(value) == reason


@pytest.mark.parametrize(
    "value",
    [
        "A" * 65,
        "1A",
        "_A",
        "A B",
        "A-B",
        "A\nB",
        "stra\u00dfe",  # upper() makes SS of it
        "\u0131",  # dotless i: upper() makes I of it
        "\u017f",  # long s: upper() makes S of it
        "\u212a",  # Kelvin sign: lower() makes k of it
        "\u00c4",
        "A\uff11",  # full-width one
        "\uff21",  # full-width A
        "A\u0301",
    ],
)
def test_other_reasons_are_refused(value: str) -> None:
    assert refusal(parse_reason, value) == (
        "Expected a reason of up to 64 letters, digits and underscores that starts with a letter, "
        f"such as BUNDLE_PURCHASE, not {shown(value)}."
    )


@pytest.mark.parametrize("value", [*Certainty, *(each.value for each in Certainty), " MAYBE\n"])
def test_a_certainty_is_one_of_three(value: str) -> None:
    assert parse_certainty(value) is Certainty(value.strip())


@pytest.mark.parametrize("value", ["maybe", "CERTAIN", "YES", "CERTAIN-YES", "MAYBE\0", True, 1, ["MAYBE"], {}])
def test_other_certainties_are_refused(value: object) -> None:
    message = f"Expected one of CERTAIN_YES, CERTAIN_NO, MAYBE, not {shown(value)}."
    assert refusal(parse_certainty, value) == message


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2022-04-12T08:30:00Z", datetime(2022, 4, 12, 8, 30, tzinfo=UTC)),
        ("2022-04-12 08:30:00 Z", datetime(2022, 4, 12, 8, 30, tzinfo=UTC)),
        ("2022-04-12t08:30z", datetime(2022, 4, 12, 8, 30, tzinfo=UTC)),
        ("2022-04-12 08:30:00 UTC", datetime(2022, 4, 12, 8, 30, tzinfo=UTC)),
        (" 2022-04-12T08:30:00+00:00\n", datetime(2022, 4, 12, 8, 30, tzinfo=UTC)),
        ("2022-04-12T00:00:00.123+02:00", datetime(2022, 4, 11, 22, 0, 0, 123000, tzinfo=UTC)),
        ("2022-04-12T00:00:00-0530", datetime(2022, 4, 12, 5, 30, tzinfo=UTC)),
        ("2022-04-12T00:00:00 +05", datetime(2022, 4, 11, 19, tzinfo=UTC)),
        ("2022-04-12T00:00:00.000001Z", datetime(2022, 4, 12, 0, 0, 0, 1, tzinfo=UTC)),
        ("2022-04-12T00:00:00.123456000Z", datetime(2022, 4, 12, 0, 0, 0, 123456, tzinfo=UTC)),
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
        (MOMENT, MOMENT),
        (datetime(2022, 7, 1, tzinfo=NEW_YORK), datetime(2022, 7, 1, 4, tzinfo=UTC)),
        (datetime(2022, 11, 6, 1, 30, tzinfo=NEW_YORK, fold=1), datetime(2022, 11, 6, 6, 30, tzinfo=UTC)),
        ("1900-01-01T00:00:00Z", datetime(1900, 1, 1, tzinfo=UTC)),
        ("1899-12-31T23:00:00-01:00", datetime(1900, 1, 1, tzinfo=UTC)),
        ("9999-12-30T23:59:59.999999Z", datetime(9999, 12, 30, 23, 59, 59, 999999, tzinfo=UTC)),
        ("9999-12-31T00:59:59+01:00", datetime(9999, 12, 30, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_time_with_an_offset_becomes_utc(value: object, moment: datetime) -> None:
    parsed = parse_timestamp(value)
    assert (parsed, parsed.tzinfo) == (moment, UTC)


class Nanoseconds(datetime):
    """As a time of pandas is."""

    nanosecond = 0

    def __str__(self) -> str:
        return f"{super().__str__()}{self.nanosecond:03}"


def test_a_time_of_a_class_of_its_own_is_the_same_time_or_refused_where_it_knows_more() -> None:
    value = Nanoseconds(2022, 11, 6, 1, 30, 0, 5, tzinfo=NEW_YORK, fold=1)
    parsed = parse_timestamp(value)
    assert (type(parsed), parsed) == (datetime, datetime(2022, 11, 6, 6, 30, 0, 5, tzinfo=UTC))
    value.nanosecond = 123
    with pytest.raises(Refused, match="Expected at most six decimals of a second, not "):
        parse_timestamp(value)


class NoTime(datetime):
    """As pandas' NaT is."""

    def date(self) -> date:
        raise ValueError("NaTType does not support date")


def test_a_time_that_is_none_is_refused_whatever_its_class() -> None:
    with pytest.raises(Refused, match="Expected a time that exists, not "):
        parse_timestamp(NoTime(2022, 4, 12, tzinfo=UTC))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2022, 4, 12), "a time with a UTC offset, such as 2022-04-12T00:00:00Z"),  # noqa: DTZ001
        ("2022-04-12T00:00:00", "a time with a UTC offset, such as 2022-04-12T00:00:00Z"),
        ("2022-04-12", "a time with the date, such as 2022-04-12T00:00:00Z"),
        (date(2022, 4, 12), "a date and time with an offset such as 2022-04-12T00:00:00Z"),
        ("2022-04-12Z", "a date and time with an offset such as 2022-04-12T00:00:00Z"),
        ("2022-04-12T08Z", "a date and time with an offset such as 2022-04-12T00:00:00Z"),
        ("20220412T083000Z", "a date and time with an offset such as 2022-04-12T00:00:00Z"),
        ("12.04.2022 08:30 Z", "a date and time with an offset such as 2022-04-12T00:00:00Z"),
        ("2022-04-12T08:30:00 EST", "a date and time with an offset such as 2022-04-12T00:00:00Z"),
        ("2022-04-12T08:30:00+00:60", "a date and time with an offset such as 2022-04-12T00:00:00Z"),
        ("2022-04-12T08:30:00,5Z", "a date and time with an offset such as 2022-04-12T00:00:00Z"),
        ("2022-W15-2T08:30:00Z", "a date and time with an offset such as 2022-04-12T00:00:00Z"),
        ("2022-04-12T08:30:00Z\0", "a date and time with an offset such as 2022-04-12T00:00:00Z"),
        ("\uff12022-04-12T08:30:00Z", "a date and time with an offset such as 2022-04-12T00:00:00Z"),
        (f"2022-04-12T08:30:00.{'0' * 99}Z", "a date and time with an offset such as 2022-04-12T00:00:00Z"),
        (1_649_752_200, "a date and time with an offset such as 2022-04-12T00:00:00Z"),
        ("2022-04-12T00:00:00.1234567Z", "at most six decimals of a second"),
        ("2022-04-12T00:00:00.0000000001Z", "at most six decimals of a second"),
        ("2022-04-12T08:30.5Z", "seconds before the decimals"),
        ("1899-12-31T23:59:59.999999Z", "a time from 1900-01-01 to 9999-12-30"),
        ("1900-01-01T00:59:59+01:00", "a time from 1900-01-01 to 9999-12-30"),
        ("9999-12-31T00:00:00Z", "a time from 1900-01-01 to 9999-12-30"),
        ("9999-12-31T23:59:59-01:00", "a time from 1900-01-01 to 9999-12-30"),
        ("0001-01-01T00:00:00+01:00", "a time from 1900-01-01 to 9999-12-30"),
        (datetime.max.replace(tzinfo=timezone(-timedelta(hours=1))), "a time from 1900-01-01 to 9999-12-30"),
        (datetime.min.replace(tzinfo=NEW_YORK), "a time from 1900-01-01 to 9999-12-30"),
    ],
)
def test_a_time_that_is_vague_or_out_of_bounds_is_refused(value: object, expected: str) -> None:
    assert refusal(parse_timestamp, value) == f"Expected {expected}, not {shown(value)}."


@pytest.mark.parametrize(
    "text",
    [
        "2022-02-30T00:00:00Z",
        "2022-13-01T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2022-04-12T24:00:00Z",
        "2022-04-12T23:60:00Z",
        "2016-12-31T23:59:60Z",
        "0000-01-01T00:00:00Z",
        "2022-04-12T00:00:00+24:00",
    ],
)
def test_a_time_that_does_not_exist_is_refused(text: str) -> None:
    assert refusal(parse_timestamp, text).startswith(f"Expected a time that exists, not {shown(text)}: ")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2022-01-01 12:00:00", datetime(2022, 1, 1, 17, tzinfo=UTC)),
        ("2022-07-01 12:00:00", datetime(2022, 7, 1, 16, tzinfo=UTC)),
        ("2022-07-01 12:00:00+00", datetime(2022, 7, 1, 12, tzinfo=UTC)),
    ],
)
def test_an_assumed_zone_is_given_to_texts_without_an_offset_only(text: str, moment: datetime) -> None:
    assert parse_timestamp(text, NEW_YORK) == moment


@pytest.mark.parametrize(
    ("text", "trouble"),
    [("2022-11-06 01:30:00", "happens twice"), ("2022-03-13 02:30:00", "does not exist")],
)
def test_a_local_time_that_is_ambiguous_or_skipped_is_refused(text: str, trouble: str) -> None:
    message = refusal(lambda value: parse_timestamp(value, NEW_YORK), text)
    assert message == f"'{text}' {trouble} in America/New_York: give its offset."


def test_an_assumed_zone_is_given_to_a_naive_datetime_too() -> None:
    """As drivers of warehouses give the values of a column without a zone."""
    naive = datetime(2022, 1, 1)  # noqa: DTZ001
    assert parse_timestamp(naive, NEW_YORK) == datetime(2022, 1, 1, 5, tzinfo=UTC)
    assert "with a UTC offset" in refusal(parse_timestamp, naive)


class Seven(IntEnum):
    SEVEN = 7


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (7, 7),
        ("7", 7),
        (" 7\n", 7),
        (0, 0),
        ("0", 0),
        ("-7", -7),
        (2**31 - 1, 2**31 - 1),
        (Seven.SEVEN, 7),
        (User(pk=7), 7),
        (SimpleLazyObject(lambda: User(pk=7)), 7),
    ],
)
def test_an_integer_names_a_learner(value: object, key: int) -> None:
    parsed = learner_parser("pk", connection)(value)
    assert (parsed, type(parsed)) == (key, int)


@pytest.mark.parametrize(
    "value",
    [
        True,
        False,
        1.0,
        "1.0",
        "1e0",
        "1_000",
        "007",
        "+7",
        "-0",
        "0x7",
        "7 7",
        "\uff17",  # full-width seven
        "\u0667",  # Arabic-Indic seven
        "\u00b2",  # superscript two
        "ada",
        Decimal(7),
        PROGRAM,
        [7],
        AnonymousUser(),
        Group(pk=7),
        User,
        "1" * 41,
    ],
)
def test_what_only_resembles_an_integer_names_no_learner(value: object) -> None:
    message = refusal(learner_parser("pk", connection), value)
    assert message == f"Expected an integer that names a user, not {shown(value)}."


def test_an_unsaved_user_is_no_learner() -> None:
    message = refusal(learner_parser("pk", connection), User())
    assert message == "Expected a saved user, not one without a primary key."


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        (2**63, "9223372036854775808"),
        ("9223372036854775808", "9223372036854775808"),
        (-(2**63) - 1, "-9223372036854775809"),
        pytest.param(HUGE_INTEGER, "a int", id="huge"),
    ],
)
def test_an_integer_that_the_column_cannot_hold_names_no_user(value: object, quoted: str) -> None:
    assert refusal(learner_parser("pk", connection), value) == f"No user is named by {quoted}."


DECIMAL = models.DecimalField(max_digits=6, decimal_places=0)


def test_a_key_of_another_type_is_read_as_its_field_reads_it() -> None:
    assert _parse_by_field(DECIMAL, connection, " 42 ") == Decimal(42)
    assert _parse_by_field(models.DateTimeField(), connection, MOMENT.isoformat()) == MOMENT


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (DECIMAL, True),
        (DECIMAL, 1.0),
        (DECIMAL, "1e99999999"),
        (DECIMAL, "1234567"),
        (DECIMAL, "ada"),
        (DECIMAL, None),
        (models.DateTimeField(), "0001-01-01T00:00:00+23:59"),
        (models.GenericIPAddressField(), "nobody"),
    ],
    ids=str,
)
def test_what_a_key_of_another_type_cannot_be_names_no_user(field: "models.Field[Any, Any]", value: object) -> None:
    message = refusal(partial(_parse_by_field, field, connection), value)
    assert message == f"Expected a value that names a user, not {shown(value)}."


@pytest.mark.django_db  # which is asked what it can spell
@pytest.mark.parametrize("value", ["ada", "Ada", " ada ", "7", "\u00e9", "e\u0301", "\U0001f600", "a" * 500])
def test_a_text_names_a_learner_as_it_stands(value: str) -> None:
    assert learner_parser("username", connection)(value) == value


def test_nobody_is_named_by_an_empty_text() -> None:
    assert refusal(learner_parser("username", connection), "") == "This field is required."


@pytest.mark.parametrize("value", [7, True, None, b"ada", ["ada"]])
def test_what_is_no_text_does_not_stand_for_one(value: object) -> None:
    message = refusal(learner_parser("username", connection), value)
    assert message == f"Expected a text that names a user, not {shown(value)}."


@pytest.mark.django_db  # which is asked what it can spell
@pytest.mark.parametrize("value", ["a\0", "\ud800", "\udfffa"])
def test_a_text_that_no_database_stores_names_no_user(value: str) -> None:
    assert refusal(learner_parser("username", connection), value) == f"No user is named by {shown(value)}."


def test_a_user_is_known_by_key_whatever_field_names_learners() -> None:
    assert learner_parser("username", connection)(User(pk=7, username="ada")) == ByKey(7)
    assert learner_parser("pk", connection)(User(pk=7)) == learner_parser("pk", connection)(ByKey(7)) == 7


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\0\n\ud800", r"'a\x00\n\ud800'"),
        ("a" * 100, f"'{'a' * 76}..."),
        pytest.param(HUGE_INTEGER, "a int", id="huge"),
        (Sneaky(), "a Sneaky"),
        pytest.param(nested(100_000), "a list", id="nested"),
    ],
)
def test_a_quoted_value_is_short_and_printable(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.fixture
def judge(db: None) -> Judge:
    return Judge(connection)


def test_a_sound_row_comes_out_normalised(judge: Judge) -> None:
    raw = {
        "learner": " 7",
        "program_uuid": PROGRAM.hex.upper(),
        "reason": " bundle_purchase",
        "certainty": "MAYBE ",
        "effective_timestamp": "2022-04-12 10:30:00.123456 +0200",
    }
    assert judge.row(raw) == NewIntent(7, PROGRAM, "BUNDLE_PURCHASE", Certainty.MAYBE, MOMENT)


@pytest.mark.parametrize("missing", [None, "", "  "])
@pytest.mark.parametrize("field", FIELDS)
def test_a_missing_value_is_named(judge: Judge, field: str, missing: object) -> None:
    with pytest.raises(InvalidIntent) as refused:
        judge.row(make_row(**{field: missing}))
    assert refused.value.errors == {field: ["This field is required."]}


def test_every_refused_field_of_a_row_is_named(judge: Judge) -> None:
    with pytest.raises(InvalidIntent) as refused:
        judge.row({"learner": "x", "program_uuid": 5, "certainty": "YES", "effective_timestamp": "2022-04-12"})
    assert refused.value.errors == {
        "learner": ["Expected an integer that names a user, not 'x'."],
        "program_uuid": ["Expected a UUID, not 5."],
        "reason": ["This field is required."],
        "certainty": ["Expected one of CERTAIN_YES, CERTAIN_NO, MAYBE, not 'YES'."],
        "effective_timestamp": ["Expected a time with the date, such as 2022-04-12T00:00:00Z, not '2022-04-12'."],
    }
    assert str(refused.value).startswith("learner: Expected an integer that names a user, not 'x'.; program_uuid: ")


@pytest.mark.parametrize("row", [None, 7, "row", [1], [("learner", 1)], Sneaky()])
def test_a_row_that_is_no_mapping_is_refused_as_a_whole(judge: Judge, row: object) -> None:
    with pytest.raises(InvalidIntent) as refused:
        judge.row(row)
    message = f"Expected an object with the fields of an intent, not {shown(row)}."
    assert refused.value.errors == {"non_field_errors": [message]}


def test_an_empty_name_is_missing_also_where_learners_are_named_by_a_text(db: None) -> None:
    with pytest.raises(InvalidIntent) as refused:
        Judge(connection, learner_field="username").row(make_row(learner=""))
    assert refused.value.errors == {"learner": ["This field is required."]}


def test_what_surrounds_a_value_does_not_make_it_too_long(judge: Judge) -> None:
    blank = " " * 1000
    names = ("program_uuid", "reason", "certainty", "effective_timestamp")
    sound = make_row(program_uuid=str(PROGRAM), effective_timestamp=MOMENT.isoformat())
    padded = {name: f"{blank}{sound[name]}{blank}" for name in names}
    assert judge.row(sound | padded) == judge.row(sound)


def test_a_time_whose_zone_is_broken_is_refused_like_any_other(judge: Judge) -> None:
    class Broken(tzinfo):
        def utcoffset(self, moment: datetime | None) -> timedelta:
            return timedelta(days=2)

        tzname = dst = None  # type: ignore[assignment]

    with pytest.raises(InvalidIntent) as refused:
        judge.row(make_row(effective_timestamp=datetime(2022, 4, 12, tzinfo=Broken())))
    assert set(refused.value.errors) == {"effective_timestamp"}


def test_a_missing_time_takes_the_default_only_where_there_is_one(db: None) -> None:
    row = make_row(effective_timestamp=None)
    assert Judge(connection, default_time=MOMENT).row(row).effective_timestamp == MOMENT
    del row["effective_timestamp"]
    assert Judge(connection, default_time=MOMENT).row(row).effective_timestamp == MOMENT
    with pytest.raises(InvalidIntent):
        Judge(connection).row(row)


def test_an_empty_text_is_no_missing_time(db: None) -> None:
    with pytest.raises(InvalidIntent):
        Judge(connection, default_time=MOMENT).row(make_row(effective_timestamp=""))


@pytest.mark.parametrize("value", NONSENSE)
@pytest.mark.parametrize("field", FIELDS)
def test_nonsense_is_refused_with_a_short_printable_message(judge: Judge, field: str, value: object) -> None:
    with pytest.raises(InvalidIntent) as refused:
        judge.row(make_row(**{field: value}))
    ((name, (message,)),) = refused.value.errors.items()
    assert name == field
    assert len(message) < 250
    assert message.isprintable()


anything = st.one_of(
    st.text(),
    st.text("0123456789-:+.TZ ", max_size=40),
    st.from_regex(
        r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,8})?)?( ?(Z|[+-][0-9]{2}:?[0-9]{2}))?\Z"
    ),
    st.text(st.characters(codec=None, categories=["Cs", "Cc", "Nd", "Zs", "Lu"])),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.binary(),
    st.uuids(),
    st.dates(),
    st.decimals(),
    st.datetimes(),
    st.datetimes(timezones=st.timezones(), allow_imaginary=True),
    st.recursive(st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)),
)


@pytest.mark.django_db  # which is asked what it can spell
@generated
@given(value=anything)
@pytest.mark.parametrize(
    "parse",
    [
        parse_uuid,
        parse_reason,
        parse_certainty,
        parse_timestamp,
        pytest.param(lambda value: parse_timestamp(value, NEW_YORK), id="parse_timestamp in a zone"),
        pytest.param(lambda value: learner_parser("pk", connection)(value), id="learner by integer"),
        pytest.param(lambda value: learner_parser("username", connection)(value), id="learner by text"),
        pytest.param(lambda value: learner_parser("is_active", connection)(value), id="learner by another type"),
    ],
)
def test_whatever_comes_in_a_parser_answers_or_refuses(parse: Callable[[object], Any], value: object) -> None:
    with suppress(Refused):
        parsed = parse(value)
        assert parse(parsed) == parsed


@generated
@given(
    row=st.fixed_dictionaries(dict.fromkeys(FIELDS, anything))
    | st.dictionaries(st.sampled_from(FIELDS), anything)
    | anything
)
def test_a_row_is_judged_alike_whoever_asks(judge: Judge, row: object) -> None:
    """As a mapping, as the five values of a file's line, and field by field."""
    from_row = judged_or_errors(lambda: judge.row(row))
    if not isinstance(row, dict):
        assert isinstance(from_row, dict)
        assert set(from_row) == {"non_field_errors"}
        return
    if not row.keys() <= set(FIELDS):
        known = {name: row[name] for name in FIELDS if name in row}
        of_known = judged_or_errors(lambda: judge.row(known))
        assert isinstance(from_row, dict)
        assert from_row.items() > (of_known.items() if isinstance(of_known, dict) else set())
        return
    assert judged_or_errors(lambda: judge(tuple(row.get(name) for name in FIELDS))) == from_row
    alone = [judged_or_errors(partial(judge.row, make_row(**{name: row.get(name)}))) for name in FIELDS]
    errors = {name: messages for each in alone if isinstance(each, dict) for name, messages in each.items()}
    assert errors == (from_row if isinstance(from_row, dict) else {})


def judged_or_errors(judged: Callable[[], NewIntent]) -> NewIntent | dict[str, list[str]]:
    try:
        return judged()
    except InvalidIntent as refused:
        return refused.errors


OUTSIDE_THE_RFC = UUID("4a458848-f946-c657-25a7-e5df7b05272c")


def test_only_mariadb_refuses_a_uuid_that_its_column_cannot_hold(judge: Judge) -> None:
    refused = judged_or_errors(lambda: judge.row(make_row(program_uuid=str(OUTSIDE_THE_RFC).upper())))
    if engines.kind(connection) is MariaDB:
        message = f"{OUTSIDE_THE_RFC} cannot be stored: MariaDB's UUID column refuses this variant of UUID."
        assert refused == {"program_uuid": [message]}
    else:
        assert isinstance(refused, NewIntent)


def test_the_judge_knows_each_field_of_the_record() -> None:
    from program_intent.models import ProgramIntent

    fields = {field.name for field in ProgramIntent._meta.get_fields() if isinstance(field, models.Field)}
    assert fields == {*FIELDS, "id", "created", "run"}
