"""A row of raw values becomes a judged row, or is refused with the message of every field."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any, NamedTuple
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from program_intent.data import FIELDS, Certainty
from program_intent.exceptions import InvalidIntent
from program_intent.validation import fast
from program_intent.validation.learners import key_field, learner_parser
from program_intent.validation.times import parse_timestamp
from program_intent.validation.values import (
    REQUIRED,
    Refused,
    parse_certainty,
    parse_reason,
    shown,
    unknown_names,
    uuid_parser,
)


class NewIntent(NamedTuple):
    """A judged row: ``learner`` is the canonical value of the field that names learners, the time is in UTC."""

    learner: Any
    program_uuid: UUID
    reason: str
    certainty: Certainty
    effective_timestamp: datetime


# The same, one list per field.
Columns = tuple[list[Any], list[UUID], list[str], list[Certainty], list[datetime]]


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
    refused if that is None. ``zone`` is given to times without an offset.
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
        self._judge_learners = fast.learners_by(key_field(learner_field))
        self._parsers: tuple[Callable[[object], Any], ...] = (
            _required(learner_parser(learner_field, connection)),
            uuid_parser(connection),
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
        """The judged rows as columns, in a fraction of the time; None if a row is refused."""
        learner, program_uuid, reason, certainty, time = self._parsers
        try:
            learners, programs, reasons, certainties, times = zip(*rows, strict=True)
            return (
                self._judge_learners(learner, learners),
                fast.by_distinct_value(program_uuid, programs),
                fast.by_distinct_value(reason, reasons),
                fast.by_distinct_value(certainty, certainties),
                fast.times(time, times),
            )
        except (TypeError, ValueError):  # a value that no set holds; Refused; no five columns
            return None

    def row(self, row: object) -> NewIntent:
        """Judge a mapping, which has no other keys than ``FIELDS``: a misspelt time would be taken for now.

        :raises InvalidIntent: as above, under the name of an unknown key, or under ``non_field_errors`` if it is no
            mapping.
        """
        if not isinstance(row, Mapping):
            raise InvalidIntent(
                {"non_field_errors": [f"Expected an object with the fields of an intent, not {shown(row)}."]}
            )
        values = tuple(row.get(name) for name in FIELDS)
        if unknown := [name for name in row if name not in FIELDS]:
            raise InvalidIntent(self._errors(values) | unknown_names(unknown, FIELDS))
        return self(values)

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
