"""A cursor's value is stored and lowered with the type and in the spelling in which the warehouse gave it."""

from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from program_intent.exceptions import LoadError
from program_intent.sources.cursors import dump, highest, is_later_than, kind, load, lowered

NEW_YORK = ZoneInfo("America/New_York")
START = datetime(2024, 3, 10, 12, tzinfo=UTC)
NAIVE = START.replace(tzinfo=None)

SPELLINGS = [
    "2024-03-10",
    "2024-03-10 12:00",
    "2024-03-10 12:00:00",
    "2024-03-10T12:00:00",
    "2024-03-10T12:00:00Z",
    "2024-03-10 12:00:00 Z",
    "2024-03-10 12:00:00 UTC",
    "2024-03-10 12:00:00.5+00",
    "2024-03-10T12:00:00.500+0000",
    "2024-03-10 12:00:00.123456-05:00",
    "2024-03-10T12:00:00.123456789Z",
]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (START, "aware"),
        (START.astimezone(NEW_YORK), "aware"),
        (NAIVE, "naive"),
        (NAIVE.date(), "date"),
        (7, "int"),
        (Decimal("7"), "int"),
        (Decimal("7.00"), "int"),
        (Decimal("7E+2"), "int"),
        ("2024-03-10 12:00:00.123 Z", "text 0000-00-00 00:00:00.000 Z"),
        ("2024-03-10T12:00:00+02:00", "text 0000-00-00T00:00:00+02:00"),
    ],
)
def test_values_of_one_kind_have_their_type_and_spelling_in_common(value: object, expected: str) -> None:
    assert kind(value) == expected


def test_each_spelling_is_a_kind_of_its_own() -> None:
    assert len({kind(text) for text in SPELLINGS}) == len(SPELLINGS)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        1.0,
        Decimal("1.5"),
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("1E+100000"),
        b"2024-03-10",
        time(12),
        "",
        "7",
        "yesterday",
        "2024-02-30 12:00:00",
        "2024-03-10 25:00:00",
        "2024-03-10 12:00:00+99:00",
        "2024-3-10",
        " 2024-03-10",
        "2024-03-10\n",
        "10/03/2024",
        "2024-03-10Z",
        "\u0662\u0660\u0662\u0664-03-10",
    ],
)
def test_rows_cannot_be_followed_by_any_other_value(value: object) -> None:
    assert kind(value) is None


# What is stored of it

_times = st.datetimes(timezones=st.none() | st.timezones())
_cursors = (
    _times
    | st.dates()
    | st.integers()
    | st.builds(
        lambda moment, separator, timespec, offset: moment.isoformat(separator, timespec) + offset,
        st.datetimes(),
        st.sampled_from("T "),
        st.sampled_from(["minutes", "seconds", "milliseconds", "microseconds"]),
        st.sampled_from(["", "Z", " Z", "+00:00", "+14:00", "-05", " UTC"]),
    )
    | st.dates().map(date.isoformat)
)


@given(value=_cursors)
def test_what_is_stored_comes_back_as_it_was(value: Any) -> None:
    found = load(dump(value))
    assert kind(found) == kind(value)
    assert type(found) is type(value)
    # Two times in different zones are never equal where one of them is repeated or skipped.
    assert dump(found) == dump(value)


@pytest.mark.parametrize("value", [START, NAIVE, NAIVE.date(), 0, -(10**30), *SPELLINGS])
def test_a_value_that_comes_back_is_equal(value: Any) -> None:
    assert load(dump(value)) == value


def test_an_integral_decimal_is_stored_as_the_integer() -> None:
    assert load(dump(Decimal("7.0"))) == 7


# What it is lowered by


@given(value=_cursors, lag=st.timedeltas(min_value=timedelta()), number=st.integers(min_value=0))
def test_a_lowered_value_is_of_the_same_kind_and_not_higher(value: Any, lag: timedelta, number: int) -> None:
    found: Any = lowered(value, number if isinstance(value, int) else lag)
    assert kind(found) == kind(value)
    assert found <= value or (found, value.year) == (datetime.min.replace(tzinfo=UTC), 1)


@pytest.mark.parametrize(
    ("value", "lag", "expected"),
    [
        (START, timedelta(hours=1), START - timedelta(hours=1)),
        (NAIVE, timedelta(days=1), NAIVE - timedelta(days=1)),
        (date(2024, 3, 10), timedelta(days=1), date(2024, 3, 9)),
        (date(2024, 3, 10), timedelta(hours=25), date(2024, 3, 8)),
        (7, 3, 4),
        (7, 10, -3),
        (Decimal("7"), 3, 4),
        ("2024-03-10", timedelta(hours=1), "2024-03-09"),
        ("2024-03-10 12:00", timedelta(seconds=1), "2024-03-10 11:59"),
        ("2024-03-10 12:00:00", timedelta(hours=1), "2024-03-10 11:00:00"),
        ("2024-03-10T12:00:00Z", timedelta(hours=1), "2024-03-10T11:00:00Z"),
        ("2024-03-10 12:00:00.000 Z", timedelta(hours=1), "2024-03-10 11:00:00.000 Z"),
        ("2024-03-10 12:00:00.500+02:00", timedelta(hours=1), "2024-03-10 11:00:00.500+02:00"),
        ("2024-03-10T12:00:00.123456789Z", timedelta(hours=1), "2024-03-10T11:00:00.123456000Z"),
        ("2024-03-10T12:00:00.123456789Z", timedelta(), "2024-03-10T12:00:00.123456789Z"),
        ("0005-01-01 00:00:00", timedelta(days=365), "0004-01-02 00:00:00"),
        ("0001-01-01 00:00:00", timedelta(days=1), "0001-01-01 00:00:00"),
        (date(1, 1, 1), timedelta(hours=1), date(1, 1, 1)),
        (START, timedelta.max, datetime(1, 1, 1, tzinfo=UTC)),
        (NAIVE, 0, NAIVE),
        (7, timedelta(), 7),
    ],
)
def test_a_value_is_lowered_in_its_own_spelling(value: Any, lag: timedelta | int, expected: object) -> None:
    found = lowered(value, lag)
    assert (type(found), found) == (type(expected), expected)


def test_an_aware_value_is_lowered_by_the_clock_of_the_world_not_by_that_on_the_wall() -> None:
    after_a_skipped_hour = datetime(2024, 3, 10, 12, tzinfo=NEW_YORK)
    assert lowered(after_a_skipped_hour, timedelta(days=1)) == datetime(2024, 3, 9, 16, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "lag", "message"),
    [
        (NAIVE, 5, "LAG is 5; expected a timedelta, because the cursor is 2024-03-10 12:00:00."),
        ("2024-03-10", 5, "LAG is 5; expected a timedelta, because the cursor is 2024-03-10."),
        (7, timedelta(1), "LAG is datetime.timedelta(days=1); expected a number, because the cursor is 7."),
    ],
)
def test_a_lag_that_cannot_be_taken_from_the_cursor_is_refused(value: Any, lag: timedelta | int, message: str) -> None:
    with pytest.raises(LoadError) as caught:
        lowered(value, lag)
    assert str(caught.value) == message


# What moves it


@pytest.mark.parametrize(
    ("value", "zone", "expected"),
    [
        (START, None, False),
        (START + timedelta(microseconds=1), None, True),
        (START.astimezone(NEW_YORK), None, False),
        (NAIVE, None, False),
        (NAIVE + timedelta(microseconds=1), None, True),
        (NAIVE, NEW_YORK, True),
        (NAIVE.replace(hour=8), NEW_YORK, False),
        (date(2024, 3, 10), None, False),
        (date(2024, 3, 11), None, True),
        (date(2024, 3, 10), ZoneInfo("Etc/GMT+12"), False),
        (date(2024, 3, 11), ZoneInfo("Etc/GMT-14"), False),
        ("2024-03-10 12:00:00", None, False),
        ("2024-03-10 12:00:00", NEW_YORK, True),
        ("2024-03-10 12:00:00Z", NEW_YORK, False),
        ("2024-03-10 13:00:00+02:00", None, False),
        ("2024-03-10 12:00:01 UTC", None, True),
        ("2099-01-01", None, True),
        (date.max, ZoneInfo("Etc/GMT+12"), True),
        (10**30, None, False),
        (Decimal("7"), None, False),
    ],
)
def test_whether_a_value_is_later_than_the_start(value: Any, zone: tzinfo | None, expected: bool) -> None:
    assert is_later_than(value, START, zone) is expected


@pytest.mark.parametrize("zone", [None, NEW_YORK])
def test_the_ends_of_time_are_compared_too(zone: tzinfo | None) -> None:
    ends = (datetime.min, datetime.max)  # noqa: DTZ901
    zones = (None, *map(timezone, (timedelta(hours=14), timedelta(hours=-12))))
    for each in zones:
        assert [is_later_than(end.replace(tzinfo=each), START, zone) for end in ends] == [False, True]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        ([None, None], None),
        ([None, 3, 5, 7, None], 7),
        ([Decimal("3"), Decimal("7")], 7),
        ([START - timedelta(1), START, datetime(2099, 1, 1, tzinfo=UTC)], START),
        ([NAIVE.replace(year=2099)], None),
        ([date(2024, 3, 9), date(2024, 3, 10), date(2024, 3, 11)], date(2024, 3, 10)),
        (["2024-03-10 11:00:00", "2024-03-10 12:00:01", None], "2024-03-10 11:00:00"),
    ],
)
def test_the_highest_that_is_not_later_than_the_start_counts(values: list[Any], expected: object) -> None:
    found = highest(values, START, None)
    assert (type(found), found) == (type(expected), expected)


def test_the_highest_of_a_repeated_hour_is_the_later_one() -> None:
    first = datetime(2023, 11, 5, 1, 30, tzinfo=NEW_YORK)
    second = datetime(2023, 11, 5, 1, 10, fold=1, tzinfo=NEW_YORK)
    assert highest([first, second], START, None) == datetime(2023, 11, 5, 6, 10, tzinfo=UTC)
