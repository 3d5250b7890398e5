"""The rows of one transaction on their way into the database: each once, sorted, in statements of a size it takes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import compress, groupby
from operator import attrgetter
from typing import Any

from django.utils import timezone

from program_intent.engines import Engine
from program_intent.engines.generic import Prepared, Spelled
from program_intent.store.retrying import retrying
from program_intent.validation.judge import NewIntent
from program_intent.validation.learners import SEVERAL, Learners


def keys_of(rows: Iterable[NewIntent], learners: Learners) -> dict[Any, Any]:
    """The primary keys of those whom the rows name, exactly: a collation's idea of equality does not count; or SEVERAL.

    Values of the primary key stand for themselves; whether such a user exists is checked while inserting.
    """
    names = set(map(attrgetter("learner"), rows))
    return dict(zip(names, names, strict=True)) if learners.are_named_by_key else learners.keys(names)


def spelled(
    rows: Sequence[NewIntent], keys: Mapping[Any, Any], spell: Callable[..., Iterator[Spelled]]
) -> list[Spelled | None]:
    """The rows as the database stores them, by the learner's key; None where nobody, or several, bear the name."""
    borne = {name for name, key in keys.items() if key is not SEVERAL}
    is_known = list(map(borne.__contains__, map(attrgetter("learner"), rows)))
    known = list(compress(rows, is_known))
    if not known:
        return [None] * len(rows)
    named, *others = zip(*known, strict=True)
    found = spell(list(map(keys.__getitem__, named)), *others)
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
        then: Callable[[int, set[Spelled]], None],
        run: int | None = None,
        first: Callable[[], None] | None = None,
    ) -> tuple[int, set[Spelled]]:
        """Store the rows in one transaction, as brought by a run: how many were new, and those that may not be written.

        ``first`` comes first in that transaction, and ``then`` is told both at its end; both again where it has to be
        done again.
        """
        return retrying(self._using, partial(self._count_inserted, then, run, first))

    def _count_inserted(
        self, then: Callable[[int, set[Spelled]], None], run: int | None, first: Callable[[], None] | None
    ) -> tuple[int, set[Spelled]]:
        if first:
            first()
        created, new = timezone.now(), 0
        refused: set[Spelled] = set()
        for start, chunk in self._statements():
            count, positions = self._engine.count_inserted(chunk, created, run)
            new += count
            refused |= {self.rows[start + position] for position in positions}
        then(new, refused)
        return new, refused

    def record(self, created: datetime) -> dict[Spelled, tuple[int, datetime, bool]]:
        """Store the rows in one transaction: of each that is stored its key, its time of writing, whether it is new."""
        return retrying(self._using, partial(self._insert, created), is_one_statement=len(self.rows) == 1)

    def _insert(self, created: datetime) -> dict[Spelled, tuple[int, datetime, bool]]:
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

    def unknown(self) -> set[Spelled]:
        """Those of the rows that are not stored and may not be written."""
        refused = {
            self.rows[start + position]
            for start, chunk in self._statements()
            for position in self._engine.refused(chunk)
        }
        return refused - PreparedRows(refused, self._engine).stored()
