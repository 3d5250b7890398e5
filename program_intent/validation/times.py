"""What a time is: with an offset, to the microsecond, from 1900 to 9999."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from program_intent.validation.values import LONGEST, Refused, shown

EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
LATEST = datetime(9999, 12, 30, 23, 59, 59, 999999, tzinfo=UTC)

_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?P<seconds>:\d\d)?(?:\.(?P<decimals>\d+))?"
    r"(?: ?(?:Z|UTC)| ?[+-]\d\d(?::?[0-5]\d)?)?",
    re.I | re.A,
)
# What most rows carry, told apart because reading it takes a third of the time.
_PLAIN_TIME = re.compile(r"(?:19|[2-8]\d)\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z", re.A)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.A)


def parse_timestamp(value: object, zone: tzinfo | None = None) -> datetime:
    """An aware time in UTC; ``zone`` is given to what has no offset."""
    if type(value) is str and _PLAIN_TIME.fullmatch(value):
        try:
            return datetime.fromisoformat(value)
        except ValueError:  # such as 30 February: refused below, in the words for any text
            pass
    moment = _parse_time_text(value) if isinstance(value, str) else value
    if not isinstance(moment, datetime):
        raise Refused(f"Expected a date and time with an offset such as 2022-04-12T00:00:00Z, not {shown(value)}.")
    if type(moment) is not datetime:
        moment = _plain(moment)
    if moment.tzinfo is None and zone:
        moment = _localize(moment, zone, value)
    try:
        offset = moment.utcoffset()
        in_utc = None if offset is None else moment.astimezone(UTC)
    except (OverflowError, ValueError):  # at the ends of time; a tzinfo of the host's that is a day or more off
        offset, in_utc = timedelta(), None
    if offset is None:
        raise Refused(f"Expected a time with a UTC offset, such as 2022-04-12T00:00:00Z, not {shown(value)}.")
    if in_utc is None or not EARLIEST <= in_utc <= LATEST:
        raise Refused(f"Expected a time from 1900-01-01 to 9999-12-30, not {shown(value)}.")
    return in_utc


def _plain(moment: datetime) -> datetime:
    """Of a class of its own, such as that of pandas, which knows nanoseconds, and a moment that is not a time."""
    if getattr(moment, "nanosecond", 0):
        raise Refused(f"Expected at most six decimals of a second, not {shown(moment)}.")
    try:
        return datetime.combine(moment.date(), moment.time(), moment.tzinfo)
    except ValueError as error:
        raise Refused(f"Expected a time that exists, not {shown(moment)}: {error}.") from None


def _parse_time_text(text: str) -> datetime:
    stripped = text.strip()
    match = _TIME.fullmatch(stripped) if len(stripped) <= LONGEST else None
    if match is None:
        if _DATE.fullmatch(stripped):
            raise Refused(f"Expected a time with the date, such as 2022-04-12T00:00:00Z, not {shown(text)}.")
        raise Refused(f"Expected a date and time with an offset such as 2022-04-12T00:00:00Z, not {shown(text)}.")
    seconds, decimals = match.groups()
    if decimals and decimals[6:].strip("0"):
        raise Refused(f"Expected at most six decimals of a second, not {shown(text)}.")
    if decimals and not seconds:
        raise Refused(f"Expected seconds before the decimals, not {shown(text)}.")
    try:
        return datetime.fromisoformat(as_python_reads(stripped))
    except ValueError as error:
        raise Refused(f"Expected a time that exists, not {shown(text)}: {error}.") from None


def _localize(moment: datetime, zone: tzinfo, value: object) -> datetime:
    first, second = moment.replace(tzinfo=zone, fold=0), moment.replace(tzinfo=zone, fold=1)
    if first.utcoffset() != second.utcoffset():
        # A skipped time does not come back from UTC as it went; an ambiguous one does.
        skipped = first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment
        raise Refused(f"{shown(value)} {'does not exist' if skipped else 'happens twice'} in {zone}: give its offset.")
    return first


def as_python_reads(text: str) -> str:
    """The text of one time or of many, without what ``datetime.fromisoformat`` does not read."""
    return text.upper().replace("UTC", "Z").replace(" Z", "Z").replace(" +", "+").replace(" -", "-")


def is_told(stored: Any, told: Any) -> bool:
    """Whether a fixture tells what is stored; in JSON, Django cuts times to milliseconds."""
    return told == stored or (
        isinstance(stored, datetime) and told == stored.replace(microsecond=stored.microsecond // 1000 * 1000)
    )
