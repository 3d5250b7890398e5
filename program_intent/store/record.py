"""What an application records, row by row: judged, stored in one transaction, and told of each what became of it."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db import connections, router
from django.utils import timezone

from program_intent.data import Intent, Outcome
from program_intent.exceptions import InvalidIntent
from program_intent.models.intent import ProgramIntent, engine_of
from program_intent.store.batches import Batch
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
    keys = resolve_learners({row.learner for row in sound}, field=learner_field, using=using)
    known = [row for row in sound if row.learner in keys]
    stored = _stored(known, [row._replace(learner=keys[row.learner]) for row in known], now, using)
    outcomes = []
    for row in judged:
        if isinstance(row, InvalidIntent):
            outcomes.append(Outcome("rejected", None, row.errors))
        elif row not in stored:
            outcomes.append(Outcome("rejected", None, {"learner": [unknown_learner(row.learner)]}))
        else:
            intent, is_new = stored[row]
            outcomes.append(Outcome("created" if is_new else "duplicate", intent))
            stored[row] = intent, False
    return outcomes


def _judged(judge: Judge, row: object) -> NewIntent | InvalidIntent:
    try:
        return judge.row(row)
    except InvalidIntent as refused:
        return refused


def _stored(
    rows: Sequence[NewIntent], keyed: Sequence[NewIntent], created: datetime, using: str
) -> dict[NewIntent, tuple[Intent, bool]]:
    """The stored intent of each row, and whether it is new; ``keyed`` are the rows with primary keys for learners."""
    if not rows:
        return {}
    engine = engine_of(using)
    spelled = list(engine.speller()(*zip(*keyed, strict=True)))
    found = Batch(spelled, engine).record(created)
    return {
        row: (Intent(found[spelling][0], *values, found[spelling][1]), found[spelling][2])
        for row, values, spelling in zip(rows, keyed, spelled, strict=True)
        if spelling in found
    }


def resolve_learners(values: Collection[Any], *, field: str, using: str) -> dict[Any, Any]:
    """The primary key of the user named by each value, exactly: a collation's idea of equality does not count.

    Values of the primary key stand for themselves; whether such a user exists is checked while inserting.
    """
    learners = Learners(field, using)
    return {value: value for value in values} if learners.are_named_by_key else learners.keys(values)
