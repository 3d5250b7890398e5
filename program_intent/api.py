"""The functions that hosts call; everything else in this package may change without notice."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connections, router
from django.utils import timezone

from program_intent import latest, store
from program_intent.data import FIELDS, Certainty, Intent, Outcome
from program_intent.exceptions import InvalidIntent
from program_intent.models import ProgramIntent
from program_intent.validation import Refused, learner_parser, parse_timestamp, parse_uuid

__all__ = [
    "Certainty",
    "Intent",
    "InvalidIntent",
    "Outcome",
    "get_latest_certain_intent",
    "get_latest_certain_intents",
    "record_intent",
    "record_intents",
]


def record_intent(
    learner: Any,
    program_uuid: UUID | str,
    *,
    reason: str,
    certainty: Certainty | str,
    effective_timestamp: datetime | str | None = None,
) -> tuple[Intent, bool]:
    """Record one intent once: the stored intent, and whether it is new.

    :param learner: a user, or a user's primary key.
    :param reason: up to 64 letters, digits and underscores; upper-cased.
    :param effective_timestamp: when it became true, aware; now if left out.
    :raises InvalidIntent: a value is refused or the learner does not exist; nothing was written.
    """
    values = (learner, program_uuid, reason, certainty, effective_timestamp)
    (outcome,) = store.record([dict(zip(FIELDS, values, strict=True))])
    if outcome.intent is None:
        raise InvalidIntent(outcome.errors)
    return outcome.intent, outcome.status == "created"


def record_intents(rows: Iterable[Mapping[str, Any]]) -> list[Outcome]:
    """Record many intents at once: one outcome per row, in the same order; the good are kept, the bad refused.

    :param rows: mappings with the keys learner, program_uuid, reason, certainty and, optionally,
        effective_timestamp, with the values that :func:`record_intent` takes.
    """
    return store.record(rows)


def get_latest_certain_intents(
    learner: Any,
    *,
    program_uuids: Iterable[UUID | str] | None = None,
    as_of: datetime | str | None = None,
    known_at: datetime | str | None = None,
) -> dict[UUID, Intent]:
    """Per program, the learner's latest and most certain intent, in one query; ordered by program.

    :param learner: a user, or a user's primary key; one who does not exist has no intents.
    :param program_uuids: only these programs; all if left out.
    :param as_of: count what was true by then, aware; now if left out.
    :param known_at: count what had been written by then, aware; everything if left out.
    :raises InvalidIntent: a parameter is malformed, named in ``errors``.
    """
    using = router.db_for_read(ProgramIntent)
    errors: dict[str, list[str]] = {}

    def parsed(name: str, parse: Any, value: Any) -> Any:
        try:
            return parse(value)
        except Refused as refused:
            errors[name] = [str(refused)]

    key = parsed("learner", learner_parser("pk", connections[using]), learner)
    programs = None if program_uuids is None else parsed("program_uuids", _programs, program_uuids)
    moment = timezone.now() if as_of is None else parsed("as_of", parse_timestamp, as_of)
    known = None if known_at is None else parsed("known_at", parse_timestamp, known_at)
    if errors:
        raise InvalidIntent(errors)
    intents = latest.latest_certain(key, using=using, as_of=moment, known_at=known, program_uuids=programs)
    return {intent.program_uuid: intent for intent in intents}


def _programs(values: Iterable[UUID | str]) -> list[UUID]:
    if isinstance(values, str):
        raise Refused("Expected a list of UUIDs, not one text.")
    return [parse_uuid(value) for value in values]


def get_latest_certain_intent(
    learner: Any,
    program_uuid: UUID | str,
    *,
    as_of: datetime | str | None = None,
    known_at: datetime | str | None = None,
) -> Intent | None:
    """The learner's latest and most certain intent for one program, or None; otherwise as the plural.

    :raises InvalidIntent: a parameter is malformed, named in ``errors``.
    """
    intents = get_latest_certain_intents(learner, program_uuids=[program_uuid], as_of=as_of, known_at=known_at)
    return next(iter(intents.values()), None)
