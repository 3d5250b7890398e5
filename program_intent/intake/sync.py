"""A sync with a warehouse: what is new there is loaded, and how far that goes is stored with it."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import closing, nullcontext
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

from django.db import router
from django.utils import timezone

from program_intent import conf
from program_intent.data import LoadReport, RunKind, RunStatus, SyncReport
from program_intent.engines.generic import Spelled
from program_intent.exceptions import LoadError
from program_intent.intake.ahead import in_thread
from program_intent.intake.batch import Reject, Settled
from program_intent.intake.lease import Lease
from program_intent.intake.load import Load, Settling
from program_intent.intake.refused import OF_UNKNOWN_LEARNERS, RefusedRows
from program_intent.intake.retry import retry
from program_intent.intake.runs import RunOfRows
from program_intent.intake.writers import Foretelling, Storing
from program_intent.models import Checkpoint, ProgramIntent
from program_intent.sources import cursors
from program_intent.sources.warehouse import Warehouse, engine_of
from program_intent.store.retrying import drop_lost_connection
from program_intent.validation.learners import field_meant, problem_of_source
from program_intent.validation.values import Refused, parse_by

DEFAULT_LAG = timedelta(days=1)
RETRIED_AFTER = timedelta(hours=1)


class Sync:
    """One sync of a source.

    ``reject`` and ``max_rejects`` are about rejects that no earlier sync had met.

    :raises LoadError: it is not configured, or not as it should be.
    """

    def __init__(
        self,
        source: str,
        *,
        by: str,
        full: bool = False,
        dry_run: bool = False,
        take_over: bool = False,
        max_rejects: int | None = None,
        reject: Callable[[Reject], None] = lambda reject: None,
        progress: Callable[[LoadReport], None] = lambda counts: None,
        settling: Settling = nullcontext,
        foretold: Callable[[Iterable[Spelled], Iterable[Spelled]], None] = lambda new, stored: None,
    ) -> None:
        self._using = router.db_for_write(ProgramIntent)
        self._source = source
        self._settings = _settings(source)
        zone = self._settings["ASSUME_TIMEZONE"]
        self._zone = ZoneInfo(zone) if zone else None
        self._by = _told(by)
        self._full = full
        self._dry_run = dry_run
        self._take_over = take_over
        self._max_rejects = max_rejects
        self._reject = reject
        self._progress = progress
        self._settling = settling
        self._foretold = foretold
        self._started = timezone.now()
        self._lease = Lease(source, using=self._using)
        self._waiting: Callable[[Future[Any]], Any] = Future.result if dry_run else self._lease.waiting
        self._refused = RefusedRows(source, using=self._using)
        self._run = RunOfRows(RunKind.WAREHOUSE, using=self._using, by=by, source=source, first=self._lease.write)
        self._counts = LoadReport(0, 0, 0, 0, 0, 0.0, dry_run)
        self._new: list[Reject] = []
        self._new_rejects = 0
        self._cursor: Any = None
        self._moved_to: Any = None
        self._reread = ""

    def run(self) -> SyncReport:
        """:raises SyncBusy: another run is at work.
        :raises LoadError: it cannot be read, breaks off, or too many rows are refused; what was stored stays.
        """
        if self._dry_run:
            checkpoint = Checkpoint.objects.using(self._using).filter(source=self._source).first()
            self._load(checkpoint or Checkpoint())
            return self.report
        try:
            checkpoint = self._lease.take(by=self._by, take_over=self._take_over)
            self._load(checkpoint)
            self._retry(checkpoint)
            self._refused.forget()
            self._lease.release(checked=timezone.now(), **self._reached())
        except BaseException:
            drop_lost_connection(self._using)
            self._lease.release()
            raise
        return self.report

    @property
    def report(self) -> SyncReport:
        """What was done, also by a sync that was stopped."""
        return SyncReport(
            **asdict(self._counts),
            source=self._source,
            new_rejects=self._new_rejects,
            cursor=None if self._cursor is None else str(self._cursor),
            reread=self._reread,
        )

    def _load(self, checkpoint: Checkpoint) -> None:
        self._begin_at(checkpoint)
        after = None if self._reread or self._cursor is None else self._less_the_lag(self._cursor)
        settings = self._settings
        engine = engine_of(self._source, settings["URL"])  # in this thread: a host's function may ask the database
        asked = {"engine": engine, "query": settings["QUERY"], "cursor": settings["CURSOR"], "after": after}
        warehouse = self._waiting(in_thread(partial(Warehouse, self._source, **asked)))
        with closing(warehouse), closing(Foretelling(self._foretold)) as foretelling:
            self._learner_field = self._settings["LEARNER_FIELD"] or _field(warehouse)
            load = Load(
                using=self._using,
                zone=self._zone,
                writer=foretelling if self._dry_run else Storing(self._run.key, self._lease.write),
                max_rejects=None,
                reject=self._met,
                progress=self._after_batch,
                in_transaction=self._note,
                settling=self._settling,
                waiting=self._waiting,
            )
            status, message = RunStatus.STOPPED, "Interrupted; what was stored stays, and the sync can be run again."
            try:
                load.run([warehouse], learner_field=self._learner_field)
                status, message = RunStatus.FINISHED, ""
            except Exception as error:
                message = str(error)
                raise
            finally:
                self._counts = load.counts
                self._run.end(self._counts, status, message=message)

    def _begin_at(self, checkpoint: Checkpoint) -> None:
        """Where the source is read from."""
        lines = [" ".join(line.split()) for line in self._settings["QUERY"].split("\n")]
        query = ("\n" if "--" in self._settings["QUERY"] else " ").join(filter(None, lines))  # where a comment ends
        self._query = sha256(f"{query}\n{self._settings['CURSOR']}".encode()).hexdigest()
        is_changed = checkpoint.query not in ("", self._query)
        if is_changed:
            self._reread = "QUERY or CURSOR has changed"
        elif self._full:
            self._reread = "--full"
        if checkpoint.cursor and not is_changed:
            self._cursor = self._moved_to = cursors.load(checkpoint.cursor)

    def _less_the_lag(self, cursor: Any) -> Any:
        lag = self._settings["LAG"]
        if lag is None:
            lag = 0 if isinstance(cursor, int) else DEFAULT_LAG
        try:
            return cursors.lowered(cursor, lag)
        except LoadError as error:
            raise LoadError(f"{self._source}: {error}") from error

    def _note(self, settled: Settled) -> None:
        """In the transaction of a batch, after its rows."""
        self._new = self._refused.keep(settled, self._learner_field)
        self._moved_to = self._highest(settled)
        self._lease.write(**self._reached())
        self._run.note(settled)

    def _reached(self) -> dict[str, str]:
        """What the checkpoint says: a cursor is worth nothing without the query that it is of."""
        cursor = "" if self._moved_to is None else cursors.dump(self._moved_to)
        return {"query": self._query, "cursor": cursor}

    def _highest(self, settled: Settled) -> Any:
        """How far all is stored with this batch; never less far than before."""
        if self._settings["CURSOR"] is None:
            return None
        found = cursors.highest(list(settled.places()), self._started, self._zone)
        if found is None:
            return self._cursor
        self._less_the_lag(found)  # which the next sync is to do: LAG may not fit
        is_comparable = cursors.kind(found) == cursors.kind(self._cursor)
        return max(found, self._cursor) if is_comparable else found

    def _met(self, reject: Reject) -> None:
        if self._dry_run:  # which has no transaction to note anything in
            self._new.append(reject)

    def _after_batch(self, counts: LoadReport) -> None:
        new = list(self._refused.unknown(self._new).values()) if self._dry_run else self._new
        self._cursor, self._new = self._moved_to, []
        self._new_rejects += len(new)
        for reject in new:
            self._reject(reject)
        self._progress(counts)
        if self._max_rejects is not None and self._new_rejects > self._max_rejects:
            raise LoadError(f"Stopped: more than {self._max_rejects} rows were rejected.")

    def _retry(self, checkpoint: Checkpoint) -> None:
        """Once an hour, what was refused because nobody was named so."""
        if checkpoint.retried and self._started - checkpoint.retried < RETRIED_AFTER:
            return
        self._lease.write(retried=self._started)
        rows = self._refused.rows.filter(OF_UNKNOWN_LEARNERS)
        named_by = {"learner_field": self._learner_field}
        retry(rows, source=self._source, by=self._by, first=self._lease.write, **named_by)


def _settings(source: str) -> dict[str, Any]:
    sources = conf.sources()
    if source not in sources:
        raise LoadError(f'PROGRAM_INTENT["SOURCES"] has no {source!r}. Known: {", ".join(sources) or "none"}.')
    settings = sources[source]
    if problem := next(conf.problems_of_source(source, settings), "") or problem_of_source(source, settings):
        raise LoadError(problem)
    return conf.source(source)


def _told(by: str) -> str:
    try:
        return parse_by(by)
    except Refused as refused:
        raise LoadError(f"by: {refused}") from None


def _field(warehouse: Warehouse) -> str:
    try:
        return field_meant(warehouse.learner_name)
    except Refused as refused:
        raise LoadError(f"{warehouse.name}: {refused}: set LEARNER_FIELD, such as to pk.") from None
