"""A whole load: raw rows are judged in batches, each batch is stored in a transaction of its own, all is counted."""

import csv
import gc
import signal
import sqlite3
import sys
import time
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from datetime import tzinfo
from functools import partial
from itertools import accumulate, pairwise
from threading import Thread, current_thread, main_thread
from types import FrameType
from typing import Any, NamedTuple, TypeVar

from django.db import connections

from program_intent import validation
from program_intent.data import LoadReport
from program_intent.engines.sql import Spelled
from program_intent.exceptions import InvalidIntent, LoadError
from program_intent.models.intent import engine_of
from program_intent.sources.report_file import LONGEST_FIELD, Block, Report, Values
from program_intent.store.batches import Batch as StoredBatch
from program_intent.store.record import resolve_learners
from program_intent.validation.judge import Judge, NewIntent
from program_intent.validation.learners import unknown_learner

T = TypeVar("T")

# One transaction and one sorted run: larger is faster, until memory and the time its locks are held say stop.
BATCH = 80_000
# Seconds. In a table that outgrew the server's memory a row takes many times as long, so a batch has fewer of them.
LONGEST_WRITE = 4
FIRST_BATCH = 10_000


class Entry(NamedTuple):
    """A rejected record of a file."""

    report: Report
    line: int
    original: str


class Batch:
    """Records of files and, for each in order, the verdict.

    A verdict is the judged row, spelled for the database if the file names learners by their primary key, or the text
    of why it is refused. ``rows`` are those that are not, once the learners' primary keys are known.
    """

    def __init__(self) -> None:
        # The texts of a block in one, and where each ends: a text of its own takes half as much memory again.
        self._records: list[tuple[Report, Sequence[int], str, Sequence[int]]] = []
        self.verdicts: list[NewIntent | Spelled | str] = []
        self.rows: StoredBatch | None = None

    def add(self, report: Report, block: Block, verdicts: Iterable[NewIntent | Spelled | str]) -> None:
        ends = array("L", accumulate(map(len, block.originals)))
        self._records.append((report, block.lines, "".join(block.originals), ends))
        self.verdicts += verdicts

    def entries(self) -> Iterator[Entry]:
        for report, lines, text, ends in self._records:
            for line, (start, end) in zip(lines, pairwise((0, *ends)), strict=True):
                yield Entry(report, line, text[start:end].rstrip("\r\n"))


class Load:
    """One load of several files; ``counts`` is true at any moment, for the rows of all finished batches."""

    def __init__(
        self,
        *,
        using: str,
        learner_field: str,
        zone: tzinfo | None,
        dry_run: bool,
        max_rejects: int | None,
        reject: Callable[[Entry, str], None],
        progress: Callable[[LoadReport], None],
    ) -> None:
        self._using = using
        self._learner_field = learner_field
        self._names_keys = validation.learner_field(learner_field).primary_key
        self._connection = connections[using]
        self._engine = engine_of(using)
        self._spell = self._engine.speller()
        self._judge = Judge(self._connection, learner_field=learner_field, zone=zone)
        self._dry_run = dry_run
        self._max_rejects = max_rejects
        self._batch_size = FIRST_BATCH
        self._reject = reject
        self._progress = progress
        # Taken for true until a batch says otherwise, and again after one that does.
        self._all_new = not dry_run
        self._started = time.monotonic()
        self._read = self._created = self._rejected = 0

    @property
    def counts(self) -> LoadReport:
        return LoadReport(
            read=self._read,
            created=self._created,
            duplicate=self._read - self._created - self._rejected,
            rejected=self._rejected,
            seconds=round(time.monotonic() - self._started, 3),
            dry_run=self._dry_run,
        )

    def run(self, reports: Sequence[Report]) -> None:
        """Load the files, in order.

        :raises LoadError: a file breaks off, or too many rows are refused; what was stored stays.
        """
        # A private file that vanishes with the connection.
        with closing(sqlite3.connect("")) as seen, _tuned():
            seen.execute("CREATE TABLE seen (key TEXT PRIMARY KEY) WITHOUT ROWID")
            for batch in _ahead(map(self._prepared, self._batches(reports))):
                with _finishing():
                    self._settle(batch, seen)
                gc.collect(1)  # of what the batch left, such as a driver's cursors
                self._progress(self.counts)

    def _batches(self, reports: Iterable[Report]) -> Iterator[Batch]:
        batch = Batch()
        try:
            for report in reports:
                for block in report.blocks():
                    batch.add(report, block, self._judge_block(block))
                    if len(batch.verdicts) >= self._batch_size:
                        yield batch
                        batch = Batch()
        except LoadError:
            yield batch
            raise
        yield batch

    def _prepared(self, batch: Batch) -> Batch:
        if self._names_keys:
            batch.rows = self._prepare(batch.verdicts)
        return batch

    def _prepare(self, verdicts: Iterable[Spelled | str]) -> StoredBatch:
        rows = (verdict for verdict in verdicts if not isinstance(verdict, str))
        return StoredBatch(rows, self._engine, all_new=self._all_new)

    def _judge_block(self, block: Block) -> Iterable[NewIntent | Spelled | str]:
        spell: Callable[..., Iterable[NewIntent | Spelled]] = (
            self._spell if self._names_keys else partial(map, NewIntent)
        )
        values = [row for row in block.rows if not isinstance(row, str)]
        columns = self._judge.columns(values) if len(values) == len(block.rows) > 0 else None
        if columns is not None:
            return spell(*columns)
        return [self._judge_row(row) for row in block.rows]

    def _judge_row(self, row: Values | str) -> NewIntent | Spelled | str:
        if isinstance(row, str):
            return row
        try:
            judged = self._judge(row)
        except InvalidIntent as refused:
            return str(refused)
        return self._spelled(judged) if self._names_keys else judged

    def _spelled(self, judged: NewIntent) -> Spelled:
        return next(self._spell(*([value] for value in judged)))

    def _settle(self, batch: Batch, seen: sqlite3.Connection) -> None:
        verdicts = self._verdicts(batch)
        rows = batch.rows or self._prepare(verdicts)
        if self._max_rejects is not None:
            unknown = rows.unknown()
            verdicts = [_unknown(verdict[0]) if verdict in unknown else verdict for verdict in verdicts]
            read = _up_to_last_reject(verdicts, self._max_rejects - self._rejected)
            if unknown or read < len(verdicts):
                verdicts = verdicts[:read]
                rows = self._prepare(verdicts)
        start = time.perf_counter()
        created, refused = self._try(rows, seen) if self._dry_run else rows.write()
        self._batch_size = min(BATCH, int(len(verdicts) * LONGEST_WRITE / (time.perf_counter() - start)))
        self._all_new = not self._dry_run and created + len(refused) == len(rows.rows)
        errors = self._errors(batch, verdicts, refused) if refused or str in map(type, verdicts) else []
        self._read += len(verdicts)
        self._created += created
        self._rejected += len(errors)
        for entry, error in errors:
            self._reject(entry, error)
        if self._max_rejects is not None and self._rejected > self._max_rejects:
            raise LoadError(f"Stopped: more than {self._max_rejects} rows were rejected.")

    def _errors(
        self, batch: Batch, verdicts: Sequence[Spelled | str], refused: Collection[Spelled]
    ) -> list[tuple[Entry, str]]:
        return [
            (entry, verdict if isinstance(verdict, str) else _unknown(verdict[0]))
            for entry, verdict in zip(batch.entries(), verdicts, strict=False)
            if isinstance(verdict, str) or verdict in refused
        ]

    def _verdicts(self, batch: Batch) -> list[Spelled | str]:
        """The verdicts, with the learner's primary key in place of what the file calls the learner."""
        if self._names_keys:
            return batch.verdicts
        named = {verdict.learner for verdict in batch.verdicts if isinstance(verdict, NewIntent)}
        keys = resolve_learners(named, field=self._learner_field, using=self._using)
        return [
            self._resolved(verdict, keys) if isinstance(verdict, NewIntent) else verdict for verdict in batch.verdicts
        ]

    def _resolved(self, judged: NewIntent, keys: dict[Any, Any]) -> Spelled | str:
        if judged.learner not in keys:
            return _unknown(judged.learner)
        return self._spelled(judged._replace(learner=keys[judged.learner]))

    def _try(self, rows: StoredBatch, seen: sqlite3.Connection) -> tuple[int, set[Spelled]]:
        """What writing the rows would say, counting those of the batches before as if they had been written."""
        refused, stored = rows.unknown(), rows.stored()
        keys = ((_key(row),) for row in rows.rows if row not in refused and row not in stored)
        return seen.executemany("INSERT OR IGNORE INTO seen VALUES (?)", keys).rowcount, refused


def _up_to_last_reject(verdicts: Sequence[Spelled | str], allowed: int) -> int:
    """How many verdicts there are up to the reject that is one too many: nothing behind it is read or stored."""
    for number, verdict in enumerate(verdicts, start=1):
        if isinstance(verdict, str):
            allowed -= 1
        if allowed < 0:
            return number
    return len(verdicts)


def _unknown(learner: object) -> str:
    return f"learner: {unknown_learner(learner)}"


def _key(row: Spelled) -> str:
    learner, *values = row
    return " ".join((*map(str, values), str(learner)))  # last, because only a learner may hold a space


@contextmanager
def _finishing() -> Iterator[None]:
    """Ctrl-C waits for the end of a batch, unless pressed twice: a batch stored but not counted would make a lie of
    the report."""
    interrupted = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    if current_thread() is not main_thread() or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if interrupted:
        raise KeyboardInterrupt


@contextmanager
def _tuned() -> Iterator[None]:
    """What Python is set to while a load runs.

    A load makes millions of tuples and no cycles; looking for cycles among them took a third of its time. The thread
    that hands rows to the database waits 5 ms, Python's default, for the one that reads to let go, at each call: with
    0.5 ms a load takes 0.93 of the time. And a field of a CSV may be longer than 128 KiB, if only in a column that is
    ignored.
    """
    collects, interval = gc.isenabled(), sys.getswitchinterval()
    longest = csv.field_size_limit(LONGEST_FIELD)
    gc.disable()
    sys.setswitchinterval(0.0005)
    try:
        yield
    finally:
        csv.field_size_limit(longest)
        sys.setswitchinterval(interval)
        if collects:
            gc.enable()


def _ahead(batches: Iterator[T]) -> Iterator[T]:
    """The same batches, each made in another thread while the database works on the one before."""
    made = _start(batches)
    while (batch := made.result()) is not None:
        made = _start(batches)
        yield batch


def _start(batches: Iterator[T]) -> "Future[T | None]":
    """Make the next batch in a thread for which nobody waits when the load stops: its input may be a silent pipe."""
    made: Future[T | None] = Future()

    def make() -> None:
        try:
            made.set_result(next(batches, None))
        except BaseException as error:
            made.set_exception(error)

    Thread(target=make, daemon=True).start()
    return made
