"""The rows of one transaction on their way into the database: each once, sorted, in statements of a size it takes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime
from functools import partial
from itertools import compress, groupby
from operator import attrgetter
from typing import Any, NamedTuple

from django.utils import timezone

from program_intent.engines import Engine
from program_intent.engines.generic import Prepared, Spelled
from program_intent.store.erase import erase_again_later
from program_intent.store.erased_names import ErasedNames
from program_intent.store.retrying import retrying
from program_intent.validation.judge import NewIntent
from program_intent.validation.learners import SEVERAL, Learners


class Named(NamedTuple):
    """Whom names mean: their primary keys, or SEVERAL, and until when a name was erased."""

    keys: Mapping[Any, Any] = {}
    until: Mapping[Any, datetime] = {}

    def was_erased(self, row: NewIntent) -> bool:
        return row.learner in self.until and row.effective_timestamp <= self.until[row.learner]


class Written(NamedTuple):
    """What became of rows: how many were new, and which may not be written, because nobody is meant, or somebody of
    whom that was erased."""

    created: int
    unknown: Set[Spelled]
    erased: Set[Spelled]


def named_by(rows: Iterable[NewIntent], learners: Learners, erased: ErasedNames) -> Named:
    """Whom the rows name, exactly: a collation's idea of equality does not count.

    Values of the primary key stand for themselves; whether they may be written is checked while inserting. Who was
    erased is asked last: a name that was looked up meanwhile is then another's, or the key says it.
    """
    names = set(map(attrgetter("learner"), rows))
    if learners.are_named_by_key:
        return Named(dict(zip(names, names, strict=True)))
    return Named(learners.keys(names), erased.until(names))


def spelled(rows: Sequence[NewIntent], named: Named, spell: Callable[..., Iterator[Spelled]]) -> list[Spelled | None]:
    """The rows as the database stores them, by the learner's key; None where the name is nobody's, or several people's,
    or what the row tells was erased."""
    borne = {name for name, key in named.keys.items() if key is not SEVERAL}
    is_known = list(map(borne.__contains__, map(attrgetter("learner"), rows)))
    if named.until:
        is_known = [known and not named.was_erased(row) for known, row in zip(is_known, rows, strict=True)]
    known = list(compress(rows, is_known))
    if not known:
        return [None] * len(rows)
    names, *others = zip(*known, strict=True)
    found = spell(list(map(named.keys.__getitem__, names)), *others)
    return [next(found) if known else None for known in is_known]


class PreparedRows:
    """Spelled rows, each once; made without touching the database, so another thread may do it.

    Faster to store if ``all_new`` says rightly that none is stored yet.
    """

    def __init__(self, rows: Iterable[Spelled], engine: Engine, *, all_new: bool = False) -> None:
        self.rows = [row for row, _ in groupby(sorted(rows))]
        self._engine = engine
        self._using = engine.connection.alias
        size = engine.CHUNK
        self._chunks = [
            (start, engine.prepare(self.rows[start : start + size], all_new=all_new))
            for start in range(0, len(self.rows), size)
        ]

    def _statements(self) -> Iterator[tuple[int, Prepared]]:
        """The rows of each statement, with the position of the first; made on the connection that is to store them."""
        for start, chunk in self._chunks:
            for position, part in self._engine.parts(chunk):
                yield start + position, part

    def write(
        self,
        then: Callable[[Written], None],
        run: int | None = None,
        first: Callable[[], None] | None = None,
    ) -> Written:
        """Store the rows in one transaction, as brought by a run.

        ``first`` comes first in that transaction, and ``then`` is told at its end what became of them; both again where
        it has to be done again. After its commit, who was erased meanwhile is erased once more.
        """
        return retrying(self._using, partial(self._count_inserted, then, run, first))

    def _count_inserted(
        self, then: Callable[[Written], None], run: int | None, first: Callable[[], None] | None
    ) -> Written:
        if first:
            first()
        erase_again_later(self._using)
        created, new = timezone.now(), 0
        refused: set[Spelled] = set()
        for start, chunk in self._statements():
            count, positions = self._engine.count_inserted(chunk, created, run)
            new += count
            refused |= {self.rows[start + position] for position in positions}
        written = Written(new, *self._told_apart(refused))
        then(written)
        return written

    def _told_apart(self, refused: set[Spelled]) -> tuple[set[Spelled], set[Spelled]]:
        """Those of the refused rows whose learners are nobody, and those that tell what was erased."""
        if not refused:
            return set(), set()
        rows = PreparedRows(refused, self._engine)
        erased = {rows.rows[start + each] for start, chunk in rows._statements() for each in self._engine.erased(chunk)}
        return refused - erased, erased

    def record(self, created: datetime) -> dict[Spelled, tuple[int, datetime, bool]]:
        """Store the rows in one transaction: of each that is stored its key, its time of writing, whether it is new."""
        return retrying(self._using, partial(self._insert, created), is_one_statement=len(self.rows) == 1)

    def _insert(self, created: datetime) -> dict[Spelled, tuple[int, datetime, bool]]:
        if len(self.rows) > 1:
            erase_again_later(self._using)
        found: dict[Spelled, tuple[int, datetime, bool]] = {}
        for start, chunk in self._statements():
            new = self._engine.insert(chunk, created)
            is_alone = new and len(chunk.rows) == 1
            stored = [(0, key, created) for key in new] if is_alone else self._engine.stored(chunk)
            for position, key, written in stored:
                found[self.rows[start + position]] = key, written, key in new
        return found

    def stored(self) -> set[Spelled]:
        """Those of the rows that are stored."""
        return {
            self.rows[start + position]
            for start, chunk in self._statements()
            for position, *_ in self._engine.stored(chunk)
        }

    def refused(self) -> tuple[set[Spelled], set[Spelled]]:
        """Those of the rows that are not stored and may not be written: because nobody is meant, or what was erased."""
        refused = {
            self.rows[start + position]
            for start, chunk in self._statements()
            for position in self._engine.refused(chunk)
        }
        return self._told_apart(refused - PreparedRows(refused, self._engine).stored())
