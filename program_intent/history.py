"""All that was recorded of one learner, and why the rule chooses as it does."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connections

from program_intent import engines, rule
from program_intent.data import Clause, Explanation, Intent, Judged
from program_intent.engines.generic import to_intent
from program_intent.models import ProgramIntent


def history(learner: Any, *, using: str, program_uuid: UUID | None, known_at: datetime | None) -> list[Intent]:
    """All of a learner's intents: the latest to become true first, then the latest written, then as the rule has it."""
    intents = ProgramIntent.objects.using(using).filter(learner_id=learner)
    if program_uuid is not None:
        if engines.kind(connections[using]).why_unstorable(program_uuid):
            return []
        intents = intents.filter(program_uuid=program_uuid)
    if known_at is not None:
        intents = intents.filter(created__lte=known_at)
    found = map(to_intent, intents.order_by("pk").values_list(*Intent.__match_args__))
    # A collation may take another learner's key for this one.
    return rule.in_order((intent for intent in found if intent.learner_id == learner), rule.NEWEST_FIRST)


def explain(
    intents: list[Intent], *, learner: Any, program_uuid: UUID, as_of: datetime, known_at: datetime | None
) -> Explanation:
    """What the rule says of each of a learner's intents for a program, given newest first."""
    counted, not_counted = [], []
    for intent in intents:
        if known_at is not None and intent.created > known_at:
            not_counted.append(Judged(intent, Clause.NOT_YET_KNOWN))
        elif intent.effective_timestamp > as_of:
            not_counted.append(Judged(intent, Clause.NOT_YET_EFFECTIVE))
        else:
            counted.append(intent)
    ranked = rule.in_order(counted)
    winner = ranked[0] if ranked else None
    lost = tuple(Judged(loser, rule.deciding(winner, loser)) for loser in ranked[1:])
    return Explanation(learner, program_uuid, as_of, known_at, winner, lost, tuple(not_counted))
