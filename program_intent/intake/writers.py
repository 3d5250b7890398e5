"""Where a load's rows go: into the database, or only into the count of what would."""

import sqlite3
from collections.abc import Callable, Iterable

from program_intent.engines.generic import Spelled
from program_intent.store.batches import PreparedRows, Written


class Storing:
    """Stores each batch in a transaction of its own, as brought by a run, after what comes ``first`` in it."""

    dry_run = False

    def __init__(self, run: Callable[[], int] | None = None, first: Callable[[], None] | None = None) -> None:
        self._run = run
        self._first = first
        # What the next rows are taken for, until a batch says otherwise, and again after one that does.
        self.all_new = True

    def write(self, rows: PreparedRows, then: Callable[[Written], None]) -> Written:
        """What became of the rows; ``then`` is told it in their transaction."""
        written = rows.write(then, self._run() if self._run else None, self._first)
        self.all_new = written.created + len(written.unknown) + len(written.erased) == len(rows.rows)
        return written


class Foretelling:
    """Says what storing would, counting the rows of the batches before as stored; it has no transaction to tell of.

    ``foretold`` is told the rows that would be new and those that are there.
    """

    dry_run = True
    all_new = False

    def __init__(
        self, foretold: Callable[[Iterable[Spelled], Iterable[Spelled]], None] = lambda new, stored: None
    ) -> None:
        self._foretold = foretold
        self._seen = sqlite3.connect("")  # a private file that vanishes when it is closed
        self._seen.execute("CREATE TABLE seen (key TEXT PRIMARY KEY) WITHOUT ROWID")

    def close(self) -> None:
        self._seen.close()

    def write(self, rows: PreparedRows, then: Callable[[Written], None]) -> Written:
        (unknown, erased), stored = rows.refused(), rows.stored()
        left_out = unknown | erased | stored
        new = [row for row in rows.rows if row not in left_out and self._is_first(row)]
        self._foretold(new, stored)
        return Written(len(new), unknown, erased)

    def _is_first(self, row: Spelled) -> bool:
        return self._seen.execute("INSERT OR IGNORE INTO seen VALUES (?)", (_key(row),)).rowcount == 1


Writer = Storing | Foretelling


def _key(row: Spelled) -> str:
    learner, *values = row
    return " ".join((*map(str, values), str(learner)))  # last, because only a learner may hold a space
