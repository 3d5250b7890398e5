"""All that was recorded of one learner, and why the rule chooses as it does."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connections

from program_intent.data import Certainty, Clause, Explanation, Intent, Unchosen
from program_intent.latest import FIELDS, to_intent
from program_intent.models import ProgramIntent
from program_intent.validation import fits_mariadb, is_mariadb

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def history(learner: Any, *, using: str, program_uuid: UUID | None, known_at: datetime | None) -> list[Intent]:
    """All of a learner's intents: the latest to become true first, then the latest written, then as the rule has it."""
    intents = ProgramIntent.objects.using(using).filter(learner_id=learner)
    if program_uuid is not None:
        if is_mariadb(connections[using]) and not fits_mariadb(program_uuid):
            return []
        intents = intents.filter(program_uuid=program_uuid)
    if known_at is not None:
        intents = intents.filter(created__lte=known_at)
    found = map(to_intent, intents.values_list(*FIELDS))
    # A collation may take another learner's key for this one, and sorts reasons in an order of its own.
    return sorted((intent for intent in found if intent.learner_id == learner), key=_newest_first)


def _newest_first(intent: Intent) -> tuple[timedelta, timedelta, Certainty, str, int]:
    # CERTAIN_NO sorts before CERTAIN_YES; only intents for different programs are left to their keys.
    return _EPOCH - intent.effective_timestamp, _EPOCH - intent.created, intent.certainty, intent.reason, intent.id


def explain(
    intents: list[Intent], *, learner: Any, program_uuid: UUID, as_of: datetime, known_at: datetime | None
) -> Explanation:
    """What the rule says of each of a learner's intents for a program, given newest first."""
    counted, not_counted = [], []
    for intent in intents:
        if known_at is not None and intent.created > known_at:
            not_counted.append(Unchosen(intent, Clause.NOT_YET_KNOWN))
        elif intent.effective_timestamp > as_of:
            not_counted.append(Unchosen(intent, Clause.NOT_YET_EFFECTIVE))
        else:
            counted.append(intent)
    # The sort is stable: what is equally certain stays newest first, and then as the rule has it.
    ranked = sorted(counted, key=lambda intent: intent.certainty is Certainty.MAYBE)
    winner = ranked[0] if ranked else None
    lost = tuple(Unchosen(loser, _decided(ranked[0], loser)) for loser in ranked[1:])
    return Explanation(learner, program_uuid, as_of, known_at, winner, lost, tuple(not_counted))


def _decided(winner: Intent, loser: Intent) -> Clause:
    if winner.certainty is not Certainty.MAYBE and loser.certainty is Certainty.MAYBE:
        return Clause.CERTAIN_BEATS_MAYBE
    if winner.effective_timestamp != loser.effective_timestamp:
        return Clause.LATER_EFFECTIVE
    if winner.created != loser.created:
        return Clause.LATER_CREATED
    return Clause.FIRST_REASON if winner.certainty is loser.certainty else Clause.NO_BEFORE_YES
