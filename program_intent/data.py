"""The values that cross the API: frozen, standard library only."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from program_intent.rule import Clause as Clause

# What the world outside tells of an intent, in the order in which rows of values carry it.
FIELDS = ("learner", "program_uuid", "reason", "certainty", "effective_timestamp")


class Certainty(StrEnum):
    """How sure we are; any certain answer beats every MAYBE."""

    CERTAIN_YES = "CERTAIN_YES"
    CERTAIN_NO = "CERTAIN_NO"
    MAYBE = "MAYBE"


class RunKind(StrEnum):
    """What brought intents in: files, a sync with a warehouse, events, or a new attempt at what was refused."""

    FILE = "file"
    WAREHOUSE = "warehouse"
    EVENTS = "events"
    RETRY = "retry"


class RunStatus(StrEnum):
    """A run that was killed stays ``RUNNING``."""

    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"


def in_utc(moment: datetime) -> str:
    """A moment that is in UTC as it goes out: with ``Z``, whatever the host's time zone and formats."""
    return moment.isoformat().replace("+00:00", "Z")


def in_json(name: Any) -> Any:
    """What names a learner, as it goes out: an integer as it is, anything else as a text that is taken back."""
    if name is None or isinstance(name, int):
        return name
    if isinstance(name, datetime):
        return in_utc(name.astimezone(UTC))
    return f"{name:f}" if isinstance(name, Decimal) else str(name)


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

    def as_dict(self) -> dict[str, int | str]:
        """Ready for JSON, and without a query: integers as they are, the rest as texts, times as REST writes them."""
        return {
            "id": self.id,
            "learner_id": in_json(self.learner_id),
            "program_uuid": str(self.program_uuid),
            "reason": self.reason,
            "certainty": str(self.certainty),
            "effective_timestamp": in_utc(self.effective_timestamp),
            "created": in_utc(self.created),
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one row: ``intent`` is None, and ``errors`` is filled, only when it was rejected."""

    status: Literal["created", "duplicate", "rejected"]
    intent: Intent | None
    errors: Mapping[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LoadReport:
    """The counts of one load; ``created + duplicate + rejected + erased == read`` always, ``seconds`` is wall time.

    ``erased`` are rows that were left out, because what they tell was erased, or their learner's name was.
    """

    read: int
    created: int
    duplicate: int
    rejected: int
    erased: int
    seconds: float
    dry_run: bool


@dataclass(frozen=True, slots=True)
class SyncReport(LoadReport):
    """The counts of one sync with a source.

    ``new_rejects`` are those that no earlier sync had met. ``cursor`` is how far the source is read, None where that is
    not known. ``reread`` says why all was read again; empty if it was not.
    """

    source: str
    new_rejects: int
    cursor: str | None
    reread: str


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was erased of a learner: ``intents`` are how many; no row in effect by ``until``, in UTC, is stored again.

    ``learner_id`` is None where nobody bore the name that was erased. ``until`` is None where the key is refused for
    ever.
    """

    learner_id: Any
    intents: int
    until: datetime | None


@dataclass(frozen=True, slots=True)
class IntentChanges:
    """A page of the feed of changes: ``cursor`` is an opaque text, to be handed in as ``after`` for what follows."""

    intents: tuple[Intent, ...]
    cursor: str


@dataclass(frozen=True, slots=True)
class Unchosen:
    """An intent that is not the answer, and why."""

    intent: Intent
    clause: Clause


@dataclass(frozen=True, slots=True)
class RunSummary:
    """Which run brought an intent: ``source`` is the source or topic, or the names of the files; ``started`` in UTC."""

    id: int
    kind: RunKind
    source: str
    by: str
    started: datetime

    def __str__(self) -> str:
        return f"run {self.id}: {self.kind} {self.source}, by {self.by}, {in_utc(self.started)}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why an intent is a learner's latest and most certain one for a program; ``str()`` is a table for people.

    ``winner`` is None if no intent counts. ``lost`` is in the order of the rule: the first would win if the winner were
    not there. ``not_counted`` is newest first. ``runs`` says by an intent's key which run brought it, if one did.
    """

    learner_id: Any
    program_uuid: UUID
    as_of: datetime
    known_at: datetime | None
    winner: Intent | None
    lost: tuple[Unchosen, ...]
    not_counted: tuple[Unchosen, ...]
    runs: Mapping[int, RunSummary] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        # A key may be any text, and this one goes to a terminal.
        learner = repr(self.learner_id) if isinstance(self.learner_id, str) else self.learner_id
        known = f", as known at {in_utc(self.known_at)}" if self.known_at else ""
        lines = [f"Learner {learner}, program {self.program_uuid}, as of {in_utc(self.as_of)}{known}:"]
        verdicts = [(each.clause.words, each.intent) for each in (*self.lost, *self.not_counted)]
        if self.winner:
            verdicts = [("the answer", self.winner), *verdicts]
        else:
            lines.append("no intent counts")
        if verdicts:
            lines += _table(verdicts, self.runs)
        lines += dict.fromkeys(map(str, self.runs.values()))
        return "\n".join(lines)


def _table(verdicts: Iterable[tuple[str, Intent]], runs: Mapping[int, RunSummary]) -> Iterator[str]:
    names = ("verdict", "certainty", "effective_timestamp", "created", "reason")
    rows: list[tuple[str, ...]] = [(*names, "run" if runs else "")]
    for verdict, intent in verdicts:
        times = in_utc(intent.effective_timestamp), in_utc(intent.created)
        run = str(runs[intent.id].id) if intent.id in runs else ""
        rows.append((verdict, intent.certainty, *times, intent.reason, run))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
