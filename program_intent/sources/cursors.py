"""The values of a cursor, by which a warehouse orders its rows: times, dates, integers, and texts that are times."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, NamedTuple

from program_intent.exceptions import LoadError

Cursor = datetime | date | int | str

# Digits: no key has as many, and Python prints no integer of more than 4,300.
_LONGEST_INTEGER = 64
# In one spelling the order of the texts is the order of the times.
_TEXT = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?P<offset> ?(?:Z|UTC|[+-]\d\d(?::?\d\d)?))?)?", re.A
)
_READERS: dict[str, Callable[[str], Cursor]] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "int": int,
    "text": str,
}


def as_integer(value: Any) -> Any:
    """An integral Decimal as the integer that it is, anything else as it is."""
    if not isinstance(value, Decimal) or not value.is_finite() or value.adjusted() >= _LONGEST_INTEGER:
        return value
    return int(value) if value == value.to_integral_value() else value


def kind(value: object) -> str | None:
    """What all values of one cursor have in common; None if rows cannot be followed by such a value.

    That is the type, whether a datetime is aware, and the spelling of a text.
    """
    value = as_integer(value)
    if isinstance(value, str):
        try:
            local, offset, _moment = _read(value)
        except ValueError:
            return None
        return f"text {re.sub('[0-9]', '0', local)}{offset}"
    if isinstance(value, datetime):
        return "aware" if value.tzinfo else "naive"
    return {date: "date", int: "int"}.get(type(value))


def dump(value: Cursor | Decimal) -> str:
    """The value as a text from which :func:`load` makes it again."""
    value = as_integer(value)
    if isinstance(value, datetime):
        return f"datetime {value.isoformat()}"
    if isinstance(value, date):
        return f"date {value.isoformat()}"
    return f"int {value}" if isinstance(value, int) else f"text {value}"


def load(text: str) -> Cursor:
    name, _space, written = text.partition(" ")
    return _READERS[name](written)


def lowered(value: Cursor | Decimal, lag: timedelta | int) -> Cursor:
    """The value less the lag, or less a little more where its type or its spelling is coarser; an aware one in UTC.

    It stops at the beginning of the year 1.

    :raises LoadError: a time is to be lowered by a number, or a number by a duration.
    """
    value = _comparable(value)
    if not lag:
        return value
    if isinstance(value, int) and isinstance(lag, int):
        return value - lag
    if isinstance(value, int) or isinstance(lag, int):
        expected = "a number" if isinstance(value, int) else "a timedelta"
        raise LoadError(f"LAG is {lag!r}; expected {expected}, because the cursor is {value}.")
    if isinstance(value, datetime):
        return _earlier(value, lag)
    if isinstance(value, date):
        return _earlier(_midnight(value), lag).date()
    local, offset, moment = _read(value)
    separator = local[10:11] or " "
    written = _earlier(moment.replace(tzinfo=None), lag).isoformat(separator, "microseconds")
    return written[: len(local)].ljust(len(local), "0") + offset


def is_later_than(value: Cursor | Decimal, moment: datetime, zone: tzinfo | None) -> bool:
    """Whether a time is later than an aware moment; what has no offset is taken in the zone, or else in UTC."""
    value = _comparable(value)
    if isinstance(value, int):
        return False
    if isinstance(value, str):
        value = _read(value).moment
    elif not isinstance(value, datetime):
        value = _midnight(value)
    return _in_utc(value if value.tzinfo else value.replace(tzinfo=zone or UTC)) > moment


def highest(ascending: Sequence[Cursor | Decimal | None], start: datetime, zone: tzinfo | None) -> Cursor | None:
    """The highest of values of one kind that is not later than the aware ``start``; an aware one in UTC."""
    descending = (_comparable(value) for value in reversed(ascending) if value is not None)
    return next((value for value in descending if not is_later_than(value, start, zone)), None)


class _Text(NamedTuple):
    local: str
    offset: str
    moment: datetime


def _read(text: str) -> _Text:
    """What a text is made of that is a time.

    :raises ValueError: it is none.
    """
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ValueError(text)
    offset = match["offset"] or ""
    local = text.removesuffix(offset)
    return _Text(local, offset, datetime.fromisoformat(local + offset.strip().replace("UTC", "Z")))


def _comparable(value: Cursor | Decimal) -> Cursor:
    """Two aware times in one zone would be compared by the clock on the wall, which repeats an hour."""
    comparable: Cursor = as_integer(value)
    return _in_utc(comparable) if isinstance(comparable, datetime) and comparable.tzinfo else comparable


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day)  # noqa: DTZ001


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return (datetime.min if moment.year == 1 else datetime.max).replace(tzinfo=UTC)  # noqa: DTZ901


def _earlier(moment: datetime, lag: timedelta) -> datetime:
    try:
        return moment - lag
    except OverflowError:
        return datetime.min.replace(tzinfo=moment.tzinfo)
