"""Who brought what: the row of a run, written in the transactions of the run's batches."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from program_intent.data import LoadReport, RunKind, RunStatus
from program_intent.intake.batch import Settled
from program_intent.models import ProgramIntent, Run
from program_intent.models.intent import spelled_out
from program_intent.signals import run_finished
from program_intent.store.retrying import drop_lost_connection, retrying

_LOGGERS = {
    RunKind.FILE: logging.getLogger("program_intent.load"),
    RunKind.WAREHOUSE: logging.getLogger("program_intent.sync"),
    RunKind.EVENTS: logging.getLogger("program_intent.events"),
    RunKind.RETRY: logging.getLogger("program_intent.sync"),
}
_COUNTS = ("read", "created", "duplicate", "rejected", "erased")


class OpenRun:
    """A run from its start, which is written at once, to its end."""

    def __init__(self, kind: RunKind, *, using: str, by: str, source: str = "") -> None:
        self._using = using
        self._logger = _LOGGERS[kind]
        now, newest = timezone.now(), self._newest()
        texts = {"by": self._spelled("by", by), "source": source}
        moments = {"started": now, "updated": now}
        create = partial(self._runs.create, kind=kind.value, first_key=newest, last_key=newest, **texts, **moments)
        self.key = int(retrying(using, create).pk)  # MariaDB locks the newest, which another may be erasing
        self._log(logging.INFO, "begins", by=texts["by"])

    def note(self, settled: Settled) -> None:
        """In the transaction of a batch, after its rows: what is true once that is committed."""
        self._write(**_counts(settled.counts), last_key=self._newest())

    def tell(self) -> None:
        """Between batches: it is at work."""
        self._write()

    def end(
        self, counts: LoadReport, status: RunStatus, *, message: str = "", files: Sequence[dict[str, Any]] = ()
    ) -> None:
        """Write how the run ended, unless another ended it, and tell whoever listens once that is committed.

        The row has the counts of the last batch, which may have been committed and not counted.
        """
        if status == RunStatus.STOPPED:  # it may be because the connection was lost
            drop_lost_connection(self._using)
        values = {"status": status.value, "message": self._spelled("message", message), "finished": timezone.now()}
        if not self._write(**values, files=list(files)):
            return
        level = logging.INFO if status == RunStatus.FINISHED else logging.ERROR
        self._log(level, status.value, counts=_counts(counts), files=list(files), reason=values["message"])
        transaction.on_commit(partial(_tell, self._runs.filter(pk=self.key)), using=self._using)

    def _write(self, **values: Any) -> bool:
        mine = self._runs.filter(pk=self.key, status=RunStatus.RUNNING.value)
        return bool(mine.update(updated=timezone.now(), **values))

    def _log(self, level: int, what: str, **more: Any) -> None:
        """Once it is committed; a handler that fails stops nothing."""

        def log() -> None:  # Django asks a robust one for its name, which a partial has not
            self._logger.log(level, "Run %s %s", self.key, what, extra={"run": self.key, **more})

        transaction.on_commit(log, using=self._using, robust=True)

    @property
    def _runs(self) -> Any:
        return Run.objects.using(self._using)

    def _newest(self) -> Coalesce:
        """Read by the statement that writes it: on SQLite a transaction that begins by reading cannot wait to write."""
        newest = ProgramIntent.objects.using(self._using).order_by("-pk").values("pk")[:1]
        return Coalesce(Subquery(newest), 0)

    def _spelled(self, name: str, text: str) -> str:
        return spelled_out(Run, name, text, self._using)


class RunOfRows:
    """A run that begins with its first row: where nothing is read, there is none.

    ``first`` is called with its key in the transaction that begins it.
    """

    def __init__(
        self, kind: RunKind, *, using: str, by: str, source: str, first: Callable[..., None] = lambda **values: None
    ) -> None:
        self._open = partial(OpenRun, kind, using=using, by=by, source=source)
        self._using = using
        self._first = first
        self._run: OpenRun | None = None

    def key(self) -> int:
        if self._run is None:
            self._run = retrying(self._using, self._opened)
        return self._run.key

    def _opened(self) -> OpenRun:
        """In one transaction, or a run that is killed between them is nobody's."""
        run = self._open()
        self._first(run=run.key)
        return run

    def note(self, settled: Settled) -> None:
        if self._run:
            self._run.note(settled)

    def tell(self) -> None:
        if self._run:
            self._run.tell()

    def end(self, counts: LoadReport, status: RunStatus, *, message: str = "") -> None:
        if self._run:
            self._run.end(counts, status, message=message)


def stop_left(key: int | None, *, using: str, message: str) -> None:
    """End the run of that key, if nobody did: its process was killed, or is to be ended."""
    left = Run.objects.using(using).filter(pk__in=[key])
    if left.filter(status=RunStatus.RUNNING.value).update(
        status=RunStatus.STOPPED.value, finished=timezone.now(), message=spelled_out(Run, "message", message, using)
    ):
        transaction.on_commit(partial(_tell, left), using=using)


def _counts(counts: LoadReport) -> dict[str, int]:
    told = asdict(counts)
    return {name: told[name] for name in _COUNTS}


def _tell(found: Any) -> None:
    run_finished.send_robust(sender=Run, run=found.get())
