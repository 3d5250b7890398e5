"""The only home of the rules: Python, REST, files and fixtures are all judged here, in the same words.

A rule that a value breaks raises :class:`Refused`; a :class:`Judge` gathers them into one ``InvalidIntent`` per row.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache, partial
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from program_intent import engines
from program_intent.data import FIELDS, Certainty
from program_intent.exceptions import InvalidIntent

REQUIRED = "This field is required."
EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
LATEST = datetime(9999, 12, 30, 23, 59, 59, 999999, tzinfo=UTC)

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}", re.I | re.A)
_REASON = re.compile(r"[A-Z][A-Z0-9_]{0,63}", re.I | re.A)
_INTEGER = re.compile(r"\s*(?:0|-?[1-9][0-9]*)\s*", re.A)
_TIME = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[T ](?P<clock>\d\d:\d\d(?::\d\d)?)(?:\.(?P<fraction>\d+))?"
    r"(?: ?(?P<utc>Z|UTC)| ?(?P<offset>[+-]\d\d(?::?[0-5]\d)?))?",
    re.I | re.A,
)
# What most reports carry, told apart because reading it takes a third of the time.
_PLAIN_TIME = re.compile(r"(?:19|[2-8]\d)\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z", re.A)
_PLAIN_TIMES = re.compile(rf"{_PLAIN_TIME.pattern}(?:\n{_PLAIN_TIME.pattern})*", re.A)
_PLAIN_INTEGERS = re.compile(r"(?:[1-9][0-9]{0,8})(?:\n[1-9][0-9]{0,8})*", re.A)
# No text that is sound is longer, once trimmed.
_LONGEST = 64
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.A)


class NewIntent(NamedTuple):
    """A judged row: ``learner`` is the canonical value of the field that names learners, the time is in UTC."""

    learner: Any
    program_uuid: UUID
    reason: str
    certainty: Certainty
    effective_timestamp: datetime


# The same, one list per field.
Columns = tuple[list[Any], list[UUID], list[str], list[Certainty], list[datetime]]


class Refused(ValueError):
    """One value breaks one rule; the message says what was expected."""


def shown(value: object) -> str:
    """The value as a message may quote it: short, and with control characters and lone surrogates escaped."""
    try:
        text = repr(value)
    except Exception:  # any class of the host may come in here; 10**5000 has no repr either
        return f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def parse_uuid(value: object) -> UUID:
    """A UUID, or its text with or without hyphens in any case."""
    if isinstance(value, UUID):
        return value
    if isinstance(value, str) and len(text := value.strip()) <= _LONGEST:
        return _parse_uuid_text(text)
    raise Refused(f"Expected a UUID, not {shown(value)}.")


@lru_cache(maxsize=4096)  # a report names few programs many times
def _parse_uuid_text(text: str) -> UUID:
    if not _UUID.fullmatch(text):
        raise Refused(f"Expected a UUID, with or without hyphens, not {shown(text)}.")
    return UUID(text)


def parse_reason(value: object) -> str:
    """Up to 64 characters ``[A-Z][A-Z0-9_]*``, upper-cased after trimming."""
    if isinstance(value, str) and len(text := value.strip()) <= _LONGEST:
        return _parse_reason_text(text)
    raise _refused_reason(value)


@lru_cache(maxsize=4096)
def _parse_reason_text(text: str) -> str:
    if _REASON.fullmatch(text):
        return text.upper()
    raise _refused_reason(text)


def _refused_reason(value: object) -> Refused:
    return Refused(
        "Expected a reason of up to 64 letters, digits and underscores that starts with a letter, "
        f"such as BUNDLE_PURCHASE, not {shown(value)}."
    )


_CERTAINTIES = {each.value: each for each in Certainty}


def parse_certainty(value: object) -> Certainty:
    """One of the three certainties, spelled as they are."""
    certainty = _CERTAINTIES.get(value.strip()) if isinstance(value, str) else None
    if certainty:
        return certainty
    raise Refused(f"Expected one of {', '.join(_CERTAINTIES)}, not {shown(value)}.")


def parse_timestamp(value: object, zone: tzinfo | None = None) -> datetime:
    """An aware time in UTC; ``zone`` is given to a text without an offset, and only to a text."""
    if type(value) is str and _PLAIN_TIME.fullmatch(value):
        try:
            return datetime.fromisoformat(value)
        except ValueError:  # such as 30 February: refused below, in the words for any text
            pass
    moment = _parse_time_text(value, zone) if isinstance(value, str) else value
    if not isinstance(moment, datetime):
        raise Refused(f"Expected a date and time with an offset such as 2022-04-12T00:00:00Z, not {shown(value)}.")
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


def _parse_time_text(text: str, zone: tzinfo | None) -> datetime:
    stripped = text.strip()
    match = _TIME.fullmatch(stripped) if len(stripped) <= _LONGEST else None
    if match is None:
        if _DATE.fullmatch(stripped):
            raise Refused(f"Expected a time with the date, such as 2022-04-12T00:00:00Z, not {shown(text)}.")
        raise Refused(f"Expected a date and time with an offset such as 2022-04-12T00:00:00Z, not {shown(text)}.")
    date, clock, fraction, utc, offset = match.groups()
    if fraction and fraction[6:].strip("0"):
        raise Refused(f"Expected at most six decimals of a second, not {shown(text)}.")
    decimals = f".{fraction[:6]:0<6}" if fraction else ""
    if fraction and len(clock) == 5:
        raise Refused(f"Expected seconds before the decimals, not {shown(text)}.")
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}{decimals}{'+00:00' if utc else offset or ''}")
    except ValueError as error:
        raise Refused(f"Expected a time that exists, not {shown(text)}: {error}.") from None
    return _localize(moment, zone, text) if moment.tzinfo is None and zone else moment


def _localize(moment: datetime, zone: tzinfo, text: str) -> datetime:
    first, second = moment.replace(tzinfo=zone, fold=0), moment.replace(tzinfo=zone, fold=1)
    if first.utcoffset() != second.utcoffset():
        # A skipped time does not come back from UTC as it went; an ambiguous one does.
        skipped = first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment
        raise Refused(f"{shown(text)} {'does not exist' if skipped else 'happens twice'} in {zone}: give its offset.")
    return first


def learner_field(name: str) -> "models.Field[Any, Any]":
    """The field of the user model that names learners; ``pk`` is its primary key."""
    meta = get_user_model()._meta
    return meta.pk if name == "pk" else meta.get_field(name)  # type: ignore[return-value]  # get_field may give a relation's far side; a system check refuses it


def key_field(name: str) -> "models.Field[Any, Any]":
    """The field that holds the values: another one where a user model's key is the link to its parent."""
    field = learner_field(name)
    while isinstance(field, models.ForeignKey):
        field = field.target_field
    return field


def _largest_integer(field: "models.Field[Any, Any]", connection: BaseDatabaseWrapper) -> float:
    if not isinstance(field, models.IntegerField):
        return 0
    _, high = connection.ops.integer_field_range(field.get_internal_type())
    return float("inf") if high is None else high


def learner_parser(name: str, connection: BaseDatabaseWrapper) -> Callable[[object], Any]:
    """How a value that names a learner by field ``name`` becomes the canonical value of that field.

    Exact by intent: ``True``, ``1.0``, ``1_000``, ``007`` and digits outside ASCII are no integers, and a text is
    taken as it stands.
    """
    user_model = get_user_model()
    named, field = learner_field(name), key_field(name)
    if isinstance(field, models.IntegerField):
        low, high = connection.ops.integer_field_range(field.get_internal_type())
        parse: Callable[[Any], Any] = partial(_parse_integer, low, high)
    elif isinstance(field, models.UUIDField):
        parse = uuid_parser(connection)
    elif isinstance(field, models.CharField | models.TextField):
        parse = _parse_text
    else:
        parse = partial(_parse_by_field, field, connection)

    def parse_learner(value: object) -> Any:
        if isinstance(value, user_model):
            if value.pk is None:
                raise Refused("Expected a saved user, not one without a primary key.")
            value = getattr(value, named.attname)
        return parse(value)

    return parse_learner


def _parse_integer(low: int | None, high: int | None, value: object) -> int:
    if type(value) is str and len(value) <= 40 and _INTEGER.fullmatch(value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if (low is None or value >= low) and (high is None or value <= high):
            return int(value)
        raise Refused(unknown_learner(value))
    raise Refused(f"Expected an integer that names a user, not {shown(value)}.")


def _parse_text(value: object) -> str:
    if not isinstance(value, str):
        raise Refused(f"Expected a text that names a user, not {shown(value)}.")
    if "\0" in value or value.encode("utf-8", "replace").decode() != value:
        raise Refused(unknown_learner(value))  # no database stores NUL or a lone surrogate
    return value


def _parse_by_field(field: "models.Field[Any, Any]", connection: BaseDatabaseWrapper, value: object) -> Any:
    try:
        parsed = None if isinstance(value, bool | float) else field.to_python(value)
        field.run_validators(parsed)
        field.get_db_prep_value(parsed, connection)
        if isinstance(parsed, datetime):
            parsed.astimezone(UTC)  # which drivers and Django do, and cannot at the ends of time
    except (ValidationError, TypeError, ValueError, ArithmeticError):
        parsed = None
    if parsed is None:
        raise Refused(f"Expected a value that names a user, not {shown(value)}.")
    return parsed


def unknown_learner(value: object) -> str:
    """The message for a learner who is no user."""
    return f"No user is named by {shown(value)}."


def uuid_parser(connection: BaseDatabaseWrapper) -> Callable[[object], UUID]:
    """:func:`parse_uuid`, and the refusal of what this database's column cannot hold."""
    why_unstorable = engines.kind(connection).why_unstorable

    def parse_storable(value: object) -> UUID:
        parsed = parse_uuid(value)
        if why := why_unstorable(parsed):
            raise Refused(why)
        return parsed

    return parse_storable


def _required(parse: Callable[[object], Any]) -> Callable[[object], Any]:
    """An empty text is missing, also where a field of the user model might hold it."""

    def parse_given(value: object) -> Any:
        if isinstance(value, str) and not value:
            raise Refused(REQUIRED)
        return parse(value)

    return parse_given


class Judge:
    """Judges the rows of one batch: raw values in, a :class:`NewIntent` out, or ``InvalidIntent`` with every reason.

    ``learner_field`` is the user model's field that names learners. A missing time becomes ``default_time``, or is
    refused if that is None. ``zone`` is given to texts without an offset.
    """

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        *,
        learner_field: str = "pk",
        default_time: datetime | None = None,
        zone: tzinfo | None = None,
    ) -> None:
        self._default_time = default_time
        self._zone = zone
        self._takes_nine_digits = _largest_integer(key_field(learner_field), connection) >= 999_999_999
        parse_program = uuid_parser(connection)
        self._parse_plain_uuid = parse_program
        self._parsers: tuple[Callable[[object], Any], ...] = (
            _required(learner_parser(learner_field, connection)),
            parse_program,
            parse_reason,
            parse_certainty,
            self._parse_time,
        )

    def __call__(self, values: tuple[Any, ...]) -> NewIntent:
        """Judge the five values in the order of ``FIELDS``; None and an empty text are missing.

        :raises InvalidIntent: with the messages of every field that was refused.
        """
        learner, program_uuid, reason, certainty, time = self._parsers
        a, b, c, d, e = values
        try:
            return NewIntent(learner(a), program_uuid(b), reason(c), certainty(d), time(e))
        except Refused:
            raise InvalidIntent(self._errors(values)) from None

    def columns(self, rows: Sequence[Sequence[Any]]) -> Columns | None:
        """The judged columns of rows that are all plainly good, in a fifth of the time; None if one may not be.

        What is plain is a subset of what :meth:`__call__` accepts, with the same values.
        """
        learners, programs, reasons, certainties, times = zip(*rows, strict=True)
        try:
            if max(*map(len, programs), *map(len, reasons)) > _LONGEST:
                return None
            if not _PLAIN_TIMES.fullmatch("\n".join(times)):
                return None
            return (
                self._plain_learners(learners),
                list(map(self._parse_plain_uuid, programs)),
                list(map(_parse_reason_text, reasons)),
                list(map(_CERTAINTIES.__getitem__, certainties)),
                list(map(datetime.fromisoformat, times)),
            )
        except (TypeError, ValueError, KeyError):  # no texts; Refused, or a time such as 30 February; no certainty
            return None

    def _plain_learners(self, texts: Sequence[str]) -> list[Any]:
        if self._takes_nine_digits and _PLAIN_INTEGERS.fullmatch("\n".join(texts)):
            return list(map(int, texts))
        return list(map(self._parsers[0], texts))

    def row(self, row: object) -> NewIntent:
        """Judge a mapping; other keys than ``FIELDS`` are ignored, as other columns of a file are.

        :raises InvalidIntent: as above, or under ``non_field_errors`` if it is no mapping.
        """
        if not isinstance(row, Mapping):
            raise InvalidIntent(
                {"non_field_errors": [f"Expected an object with the fields of an intent, not {shown(row)}."]}
            )
        return self(tuple(row.get(name) for name in FIELDS))

    def _parse_time(self, value: object) -> datetime:
        if value is None and self._default_time:
            return self._default_time
        return parse_timestamp(value, self._zone)

    def _errors(self, values: tuple[Any, ...]) -> dict[str, list[str]]:
        errors = {}
        for name, value, parse in zip(FIELDS, values, self._parsers, strict=True):
            try:
                parse(value)
            except Refused as refused:
                missing = value is None or (isinstance(value, str) and not value.strip())
                errors[name] = [REQUIRED if missing else str(refused)]
        return errors
