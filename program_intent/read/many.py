"""The one question asked of many learners by name, in one query."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from program_intent.data import Intent
from program_intent.models.intent import engine_of
from program_intent.read.latest import storable


def for_learners(
    learners: Collection[Any],
    *,
    using: str,
    program_uuids: Collection[UUID] | None,
    as_of: datetime,
    known_at: datetime | None,
) -> list[Intent]:
    """The chosen intents of these learners, ordered by program."""
    engine = engine_of(using)
    programs = storable(program_uuids, engine)
    if not learners or programs == []:
        return []
    intents = engine.of_learners(learners, programs, as_of=as_of, known_at=known_at)
    wanted = set(learners)  # a collation may take another learner's key for one of these
    chosen = (intent for intent in intents if intent.learner_id in wanted)
    return sorted(chosen, key=lambda intent: intent.program_uuid.int)
