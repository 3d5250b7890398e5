"""The rule of "latest and most certain" in plain Python; generated tests compare every engine's answer with it."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from uuid import UUID

from program_intent.data import Intent

END = datetime.max.replace(tzinfo=UTC)
# LIKELY is not among ours: tests/test_rule.py adds it to a copy of the package.
DOUBT = {"LIKELY": 1, "MAYBE": 2}


def place(intent: Intent) -> tuple[object, ...]:
    doubt, age = DOUBT.get(intent.certainty, 0), END - intent.effective_timestamp
    return doubt, age, END - intent.created, intent.certainty == "CERTAIN_YES", intent.reason


def latest_certain(
    history: Iterable[Intent],
    learner: object,
    as_of: datetime,
    known_at: datetime | None,
    program_uuids: Collection[UUID] | None,
) -> dict[UUID, Intent]:
    chosen: dict[UUID, Intent] = {}
    for intent in sorted(history, key=place, reverse=True):
        visible = intent.effective_timestamp <= as_of and intent.created <= (known_at or END)
        wanted = program_uuids is None or intent.program_uuid in program_uuids
        if intent.learner_id == learner and visible and wanted:
            chosen[intent.program_uuid] = intent
    return chosen
