"""A whole load: raw rows are judged in batches, each batch is stored in a transaction of its own, all is counted."""

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import tzinfo
from typing import NamedTuple, TypeVar

from django.db import DatabaseError, connections

from program_intent import store
from program_intent.data import LoadReport
from program_intent.exceptions import InvalidIntent, LoadError
from program_intent.sources.report_file import Report
from program_intent.validation import Judge, NewIntent, learner_field, unknown_learner

T = TypeVar("T")

# One transaction and one sorted run: larger is faster, until memory and the time its locks are held say stop.
BATCH = 50_000


class Entry(NamedTuple):
    """A record of a file with its verdict: the judged row, or why it is refused."""

    report: Report
    line: int
    original: str
    verdict: NewIntent | str


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
        self._judge = Judge(connections[using], learner_field=learner_field, zone=zone)
        self._dry_run = dry_run
        self._max_rejects = max_rejects
        self._reject = reject
        self._progress = progress
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

        :raises LoadError: a file breaks off, the database fails, or too many rows are refused; what was stored stays.
        """
        with closing(sqlite3.connect("")) as seen:  # a private file that vanishes with the connection
            seen.execute("CREATE TABLE seen (key TEXT PRIMARY KEY) WITHOUT ROWID")
            try:
                for entries in _ahead(self._batches(reports)):
                    self._settle(entries, seen)
                    self._progress(self.counts)
            except DatabaseError as error:
                raise LoadError(f"The database failed: {str(error).strip().splitlines()[0]}") from error
            except KeyboardInterrupt as error:
                raise LoadError("Interrupted; what was stored stays, and the load can be run again.") from error

    def _batches(self, reports: Iterable[Report]) -> Iterator[list[Entry]]:
        entries: list[Entry] = []
        try:
            for report in reports:
                for record in report.records():
                    try:
                        verdict = record.error or self._judge(record.values)
                    except InvalidIntent as refused:
                        verdict = str(refused)
                    entries.append(Entry(report, record.line, record.original, verdict))
                    if len(entries) == BATCH:
                        yield entries
                        entries = []
        except LoadError:
            if entries:
                yield entries
            raise
        if entries:
            yield entries

    def _settle(self, entries: list[Entry], seen: sqlite3.Connection) -> None:
        verdicts = self._verdicts(entries)
        if self._max_rejects is not None:
            verdicts = self._up_to_last_reject(verdicts, self._max_rejects - self._rejected)
        rows = _distinct(verdicts)
        created, refused = self._try_batch(rows, seen) if self._dry_run else store.write_batch(rows, self._using)
        for entry, verdict in zip(entries, verdicts, strict=False):
            if isinstance(verdict, str):
                self._count_reject(entry, verdict)
            elif verdict in refused:
                self._count_reject(entry, _unknown(verdict.learner))
        self._read += len(verdicts)
        self._created += created
        if self._max_rejects is not None and self._rejected > self._max_rejects:
            raise LoadError(f"Stopped: more than {self._max_rejects} rows were rejected.")

    def _verdicts(self, entries: list[Entry]) -> list[NewIntent | str]:
        """The verdicts, with the learner's primary key in place of what the file calls the learner."""
        verdicts = [entry.verdict for entry in entries]
        if learner_field(self._learner_field).primary_key:
            return verdicts
        named = {verdict.learner for verdict in verdicts if isinstance(verdict, NewIntent)}
        keys = store.resolve_learners(named, field=self._learner_field, using=self._using)
        return [
            verdict
            if isinstance(verdict, str)
            else verdict._replace(learner=keys[verdict.learner])
            if verdict.learner in keys
            else _unknown(verdict.learner)
            for verdict in verdicts
        ]

    def _up_to_last_reject(self, verdicts: list[NewIntent | str], allowed: int) -> list[NewIntent | str]:
        """The verdicts up to and with the reject that is one too many: what follows is neither read nor stored."""
        refused = store.unknown_rows(_distinct(verdicts), self._using)
        for index, verdict in enumerate(verdicts):
            if isinstance(verdict, str) or verdict in refused:
                allowed -= 1
            if allowed < 0:
                return verdicts[: index + 1]
        return verdicts

    def _try_batch(self, rows: Sequence[NewIntent], seen: sqlite3.Connection) -> tuple[int, set[NewIntent]]:
        """What writing the rows would say, counting those of the batches before as if they had been written."""
        refused = store.unknown_rows(rows, self._using)
        stored = store.stored_rows(rows, self._using)
        keys = ((_key(row),) for row in rows if row not in refused and row not in stored)
        return seen.executemany("INSERT OR IGNORE INTO seen VALUES (?)", keys).rowcount, refused

    def _count_reject(self, entry: Entry, error: str) -> None:
        self._rejected += 1
        self._reject(entry, error)


def _distinct(verdicts: Iterable[NewIntent | str]) -> list[NewIntent]:
    return list(dict.fromkeys(verdict for verdict in verdicts if isinstance(verdict, NewIntent)))


def _unknown(learner: object) -> str:
    return f"learner: {unknown_learner(learner)}"


def _key(row: NewIntent) -> str:
    learner, program_uuid, reason, certainty, effective_timestamp = row
    return f"{program_uuid.hex} {reason} {certainty} {effective_timestamp.isoformat()} {learner}"


def _ahead(batches: Iterator[T]) -> Iterator[T]:
    """The same batches, each made in another thread while the database works on the one before."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        future = pool.submit(next, batches, None)
        while (batch := future.result()) is not None:
            future = pool.submit(next, batches, None)
            yield batch
