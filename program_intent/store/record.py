"""What an application records, row by row: judged, stored in one transaction, and told of each what became of it."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db import connections, router
from django.utils import timezone

from program_intent.data import Intent, Outcome
from program_intent.exceptions import InvalidIntent
from program_intent.models.intent import ProgramIntent, engine_of
from program_intent.store.batches import Named, PreparedRows, named_by, spelled
from program_intent.store.erased_names import ErasedNames
from program_intent.validation.judge import Judge, NewIntent
from program_intent.validation.learners import Learners, unknown_learner


def record(rows: Iterable[object], *, learner_field: str = "pk") -> list[Outcome]:
    """Judge and store rows whose ``learner`` is a value of the user's ``learner_field``, or a user.

    One outcome per row, in order. All share one creation time, which is also the effective time of a row without one.
    """
    using = router.db_for_write(ProgramIntent)
    now = timezone.now()
    judge = Judge(connections[using], learner_field=learner_field, default_time=now)
    judged = [_judged(judge, row) for row in rows]
    sound = list(dict.fromkeys(row for row in judged if isinstance(row, NewIntent)))
    learners, erased = Learners(learner_field, using), ErasedNames(learner_field, using=using)
    named = named_by(sound, learners, erased) if sound else Named()
    stored = _stored(sound, named, now, using)
    new = {intent.id for intent, is_new in stored.values() if is_new}
    outcomes = []
    for row in judged:
        if isinstance(row, InvalidIntent):
            outcomes.append(Outcome("rejected", None, row.errors))
        elif row not in stored:
            # In the words for nobody, also where somebody was erased: who asks is not told.
            message = unknown_learner(row.learner, None if named.was_erased(row) else named.keys.get(row.learner))
            outcomes.append(Outcome("rejected", None, {"learner": [message]}))
        else:
            intent, _ = stored[row]
            outcomes.append(Outcome("created" if intent.id in new else "duplicate", intent))
            new.discard(intent.id)
    return outcomes


def _judged(judge: Judge, row: object) -> NewIntent | InvalidIntent:
    try:
        return judge.row(row)
    except InvalidIntent as refused:
        return refused


def _stored(
    rows: Sequence[NewIntent], named: Named, created: datetime, using: str
) -> dict[NewIntent, tuple[Intent, bool]]:
    """The stored intent of each row, and whether it is new; rows that may not be written are left out."""
    engine = engine_of(using)
    spellings = spelled(rows, named, engine.speller())
    known = list(filter(None, spellings))
    found = PreparedRows(known, engine).record(created) if known else {}
    to_key = ProgramIntent._meta.get_field("learner").target_field.to_python
    stored = {}
    for row, spelling in zip(rows, spellings, strict=True):
        if spelling in found:
            key, written, is_new = found[spelling]
            stored[row] = Intent(key, to_key(spelling[0]), *row[1:], written), is_new
    return stored
