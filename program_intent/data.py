"""The values that cross the API: frozen, standard library only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

# What the world outside tells of an intent, in the order in which rows of values carry it.
FIELDS = ("learner", "program_uuid", "reason", "certainty", "effective_timestamp")


class Certainty(StrEnum):
    """How sure we are; any certain answer beats every MAYBE."""

    CERTAIN_YES = "CERTAIN_YES"
    CERTAIN_NO = "CERTAIN_NO"
    MAYBE = "MAYBE"


@dataclass(frozen=True, slots=True)
class Intent:
    """One stored intent. Both times are aware and in UTC; ``learner_id`` is the user's primary key."""

    id: int
    learner_id: Any
    program_uuid: UUID
    reason: str
    certainty: Certainty
    effective_timestamp: datetime
    created: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one row: ``intent`` is None, and ``errors`` is filled, only when it was rejected."""

    status: Literal["created", "duplicate", "rejected"]
    intent: Intent | None
    errors: Mapping[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LoadReport:
    """The counts of one load; ``created + duplicate + rejected == read`` always, ``seconds`` is wall time."""

    read: int
    created: int
    duplicate: int
    rejected: int
    seconds: float
    dry_run: bool
