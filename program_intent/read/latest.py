"""The one question: per program, a learner's latest and most certain intent."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from program_intent import engines
from program_intent.data import Intent
from program_intent.models.intent import engine_of


def latest_certain(
    learner: Any,
    *,
    using: str,
    as_of: datetime,
    known_at: datetime | None,
    program_uuids: Collection[UUID] | None,
) -> list[Intent]:
    """The chosen intents, ordered by program; times are aware, ``known_at`` None counts everything written."""
    engine = engine_of(using)
    programs = storable(program_uuids, engine)
    intents = [] if programs == [] else engine.of_learner(learner, programs, as_of=as_of, known_at=known_at)
    return sorted(intents, key=lambda intent: intent.program_uuid.int)


def storable(program_uuids: Collection[UUID] | None, engine: engines.Engine) -> list[UUID] | None:
    """Those of the programs, each once, that there can be intents for; None is all that there are."""
    if program_uuids is None:
        return None
    return [program for program in dict.fromkeys(program_uuids) if not engine.why_unstorable(program)]
