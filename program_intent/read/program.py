"""The one question asked of all who have intents for a program: page by page, and counted."""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from program_intent.data import Certainty, Intent
from program_intent.models.intent import engine_of
from program_intent.read.latest import storable

# Learners per query of an iteration: bounds memory, and how long one statement takes.
PAGE = 1000


def iterate(
    program_uuid: UUID,
    *,
    using: str,
    certainty: Certainty | None,
    after: Any | None,
    as_of: datetime,
    known_at: datetime | None,
) -> Iterator[Intent]:
    """The chosen intents of a program's learners, in the order of their keys, one query for each page.

    What is written after the first page is asked for has a higher key than all there is, and does not count.
    """
    newest = None
    while True:
        intents, seen = page_of_program(
            program_uuid, using=using, after=after, limit=PAGE, as_of=as_of, known_at=known_at, newest=newest
        )
        newest = newest or seen
        yield from (intent for intent in intents if certainty in (None, intent.certainty))
        if len(intents) < PAGE:
            return
        after = intents[-1].learner_id


def page_of_program(
    program_uuid: UUID,
    *,
    using: str,
    after: Any | None,
    limit: int,
    as_of: datetime,
    known_at: datetime | None,
    newest: int | None = None,
) -> tuple[list[Intent], int | None]:
    """The chosen intents of the next learners of a program: as many as the limit, unless there are no more.

    With the highest primary key there was, None where there are none. ``newest`` is the highest that counts.
    """
    engine = engine_of(using)
    if engine.why_unstorable(program_uuid):
        return [], None
    return engine.page_of_program(program_uuid, after=after, limit=limit, newest=newest, as_of=as_of, known_at=known_at)


def counts(
    program_uuids: Collection[UUID] | None, *, using: str, as_of: datetime, known_at: datetime | None
) -> dict[UUID, dict[Certainty, int]]:
    """Per program, the number of learners whose chosen intent has each certainty; ordered by program."""
    engine = engine_of(using)
    programs = storable(program_uuids, engine)
    found = {program: dict.fromkeys(Certainty, 0) for program in program_uuids or ()}
    if programs != []:
        found |= engine.counts(programs, as_of=as_of, known_at=known_at)
    return dict(sorted(found.items()))
