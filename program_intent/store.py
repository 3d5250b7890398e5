"""The only code that inserts: a judged row goes in once, whoever brings it and however often."""

import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import nullcontext
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Any, TypeVar, cast

from django.db import DatabaseError, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from program_intent import bulk
from program_intent.data import Intent, Outcome
from program_intent.exceptions import InvalidIntent
from program_intent.learners import Learners
from program_intent.models import ProgramIntent
from program_intent.validation import Judge, NewIntent, unknown_learner

T = TypeVar("T")
# A row in the form that the database's own module gave it.
Spelled = tuple[Any, ...]

# PostgreSQL: serialization failure, deadlock. MariaDB and MySQL: deadlock, deadlock over the counter of primary keys
# ("Failed to read auto-increment value"), record changed since the last read.
_TRANSIENT = {"40001", "40P01", 1213, 1467, 1020}
_ATTEMPTS = 8


def record(rows: Iterable[object], *, learner_field: str = "pk") -> list[Outcome]:
    """Judge and store rows whose ``learner`` is a value of the user's ``learner_field``, or a user.

    One outcome per row, in order. All share one creation time, which is also the effective time of a row without one.
    """
    using = router.db_for_write(ProgramIntent)
    now = timezone.now()
    judge = Judge(connections[using], learner_field=learner_field, default_time=now)
    verdicts = [_verdict(judge, row) for row in rows]
    judged = dict.fromkeys(verdict for verdict in verdicts if isinstance(verdict, NewIntent))
    keys = resolve_learners({row.learner for row in judged}, field=learner_field, using=using)
    known = {row: row._replace(learner=keys[row.learner]) for row in judged if row.learner in keys}
    write = partial(_write, list(known.values()), now, using)
    written = retrying(using, write, is_one_statement=len(known) == 1) if known else {}
    stored = {row: written[keyed] for row, keyed in known.items() if keyed in written}
    outcomes = []
    met: set[NewIntent] = set()
    for verdict in verdicts:
        if isinstance(verdict, InvalidIntent):
            outcomes.append(Outcome("rejected", None, verdict.errors))
        elif (found := stored.get(verdict)) is None:
            outcomes.append(Outcome("rejected", None, {"learner": [unknown_learner(verdict.learner)]}))
        else:
            intent, new = found
            outcomes.append(Outcome("created" if new and verdict not in met else "duplicate", intent))
            met.add(verdict)
    return outcomes


def _verdict(judge: Judge, row: object) -> NewIntent | InvalidIntent:
    try:
        return judge.row(row)
    except InvalidIntent as refused:
        return refused


def _write(rows: Sequence[NewIntent], created: datetime, using: str) -> dict[NewIntent, tuple[Intent, bool]]:
    """The stored intent of each row, and whether it is new; a row whose learner is no user is left out."""
    connection = connections[using]
    engine = bulk.for_connection(connection)
    spell = engine.speller(connection)
    written = {}
    for start in range(0, len(rows), engine.CHUNK):
        chunk = rows[start : start + engine.CHUNK]
        spelled, chunk = zip(*sorted(zip(spell(*zip(*chunk, strict=True)), chunk, strict=True)), strict=True)
        prepared = engine.prepare(spelled, connection)
        new = engine.insert(connection, prepared, created)
        only_one = len(chunk) == 1 and new
        stored = [(0, *new, created)] if only_one else engine.stored(connection, prepared)
        for position, key, written_at in stored:
            learner, program, reason, certainty, effective = row = chunk[position]
            intent = Intent(key, learner, program, reason, certainty, effective, written_at)
            written[row] = intent, key in new
    return written


def speller(using: str) -> Callable[..., Iterator[Spelled]]:
    """A function that spells judged rows, given as columns, as ``PreparedRows`` takes them."""
    connection = connections[using]
    return cast(Callable[..., Iterator[Spelled]], bulk.for_connection(connection).speller(connection))


class PreparedRows:
    """The rows, each once, as their database takes them; made without touching it, so another thread may do it.

    Faster to store if ``all_new`` says rightly that none is stored yet.
    """

    def __init__(self, rows: Iterable[Spelled], connection: BaseDatabaseWrapper, *, all_new: bool = False) -> None:
        self.rows = [row for row, _ in groupby(sorted(rows))]
        self._connection = connection
        self._engine = bulk.for_connection(connection)
        size = self._engine.CHUNK
        self._chunks = [
            (start, self._engine.prepare(self.rows[start : start + size], connection, all_new=all_new))
            for start in range(0, len(self.rows), size)
        ]

    def write(
        self, then: Callable[[int, set[Spelled]], None] = lambda created, refused: None
    ) -> tuple[int, set[Spelled]]:
        """Store the rows in one transaction: how many were new, and those whose learner was no user.

        ``then`` is told both at the end of that transaction, and again where it has to be done again.
        """

        def write() -> tuple[int, set[Spelled]]:
            created, new, refused = timezone.now(), 0, set()
            for start, chunk in self._chunks:
                count, positions = self._engine.count_inserted(self._connection, chunk, created)
                new += count
                refused |= {self.rows[start + position] for position in positions}
            then(new, refused)
            return new, refused

        return retrying(self._connection.alias, write)

    def stored(self) -> set[Spelled]:
        """Those of the rows that are stored."""
        return {
            self.rows[start + position]
            for start, chunk in self._chunks
            for position, *_ in self._engine.stored(self._connection, chunk)
        }

    def unknown(self) -> set[Spelled]:
        """Those of the rows that are not stored and whose learner is no user."""
        return {
            self.rows[start + position]
            for start, chunk in self._chunks
            for position in self._engine.unknown(self._connection, chunk)
        }


def resolve_learners(values: Collection[Any], *, field: str, using: str) -> dict[Any, Any]:
    """The primary key of the user named by each value, exactly: a collation's idea of equality does not count.

    Values of the primary key stand for themselves; whether such a user exists is checked while inserting.
    """
    learners = Learners(field, using)
    return {value: value for value in values} if learners.are_named_by_key else learners.keys(values)


def retrying(using: str, work: Callable[[], T], *, is_one_statement: bool = False) -> T:
    """Do the work in a transaction, again after a deadlock or serialization failure.

    Work that writes in one statement gets no transaction around it, which would cost it two round trips.
    Inside the caller's transaction it is done once, and such a failure is raised: only the caller can start again.
    """
    if not connections[using].get_autocommit():
        return work()
    attempt = 0
    while True:
        attempt += 1
        try:
            with nullcontext() if is_one_statement else transaction.atomic(using=using):
                return work()
        except DatabaseError as error:
            if attempt == _ATTEMPTS or not _is_transient(error):
                raise
            time.sleep(random.uniform(0, 0.01 * 2**attempt))


def _is_transient(error: DatabaseError) -> bool:
    return bool(_TRANSIENT & {getattr(error.__cause__, "sqlstate", None), *error.args[:1]})
