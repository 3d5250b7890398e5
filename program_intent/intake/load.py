"""A whole load: raw rows are judged in batches, each batch is stored in a transaction of its own, all is counted."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import tzinfo
from functools import partial
from typing import Any

from django.db import connections

from program_intent.data import LoadReport
from program_intent.engines.generic import Spelled
from program_intent.exceptions import InvalidIntent, LoadError
from program_intent.intake.ahead import ahead, worked_on_ahead
from program_intent.intake.batch import ERASED, Batch, Judged, Reject, Settled
from program_intent.intake.writers import Writer
from program_intent.models.intent import engine_of
from program_intent.sources.rows import Block, Malformed, Source, Values
from program_intent.store.batches import Named, PreparedRows, Written, named_by, spelled
from program_intent.store.erased_names import ErasedNames, are_told_of_erased
from program_intent.validation.judge import Judge, NewIntent
from program_intent.validation.learners import Learners, unknown_learner
from program_intent.validation.values import Refused

# Rows. One transaction is one sorted run: larger is faster, until memory and the time its locks are held say stop.
LARGEST_TRANSACTION = 80_000
# Seconds. In a table that outgrew the server's memory a row takes many times as long, so a batch has fewer of them.
LONGEST_TRANSACTION = 4
FIRST_TRANSACTION = 10_000
# Bytes of the records' texts, which are kept for the rejects; 80,000 rows of five short columns have 8 to 16 MiB.
LARGEST_BATCH = 24 * 2**20

Settling = Callable[[], AbstractContextManager[Callable[[], None] | None]]


class Load:
    """One load of several sources; ``counts`` is true at any moment, for the rows of all finished batches.

    ``in_transaction`` is called in each batch's transaction, after its rows, with what is true once it is committed;
    after a deadlock it is called again. ``settling`` is entered while a batch is stored and counted, and gives what is
    called before its commit; ``waiting`` gives what another thread makes.
    """

    def __init__(
        self,
        *,
        using: str,
        zone: tzinfo | None,
        writer: Writer,
        max_rejects: int | None,
        reject: Callable[[Reject], None],
        progress: Callable[[LoadReport], None],
        in_transaction: Callable[[Settled], None] | None = None,
        settling: Settling = nullcontext,
        waiting: Callable[["Future[Any]"], Any] = Future.result,
    ) -> None:
        self._using = using
        self._zone = zone
        self._engine = engine_of(using)
        self._spell = self._engine.speller()
        self._writer = writer
        self._max_rejects = max_rejects
        self._batch_size = FIRST_TRANSACTION
        self._reject = reject
        self._progress = progress
        self._in_transaction = in_transaction
        self._settling = settling
        self._waiting = waiting
        self._started = time.monotonic()
        self._read = self._created = self._rejected = self._erased = 0

    @property
    def counts(self) -> LoadReport:
        return self._counts_with(0, 0, 0, 0)

    def _counts_with(self, read: int, created: int, rejected: int, erased: int) -> LoadReport:
        read, created = self._read + read, self._created + created
        rejected, erased = self._rejected + rejected, self._erased + erased
        return LoadReport(
            read=read,
            created=created,
            duplicate=read - created - rejected - erased,
            rejected=rejected,
            erased=erased,
            seconds=round(time.monotonic() - self._started, 3),
            dry_run=self._writer.dry_run,
        )

    def run(self, sources: Iterable[Source], *, learner_field: str) -> None:
        """Load the sources, in order; all name learners by the same field of the user model.

        :raises LoadError: a source breaks off, or too many rows are refused; what was stored stays.
        """
        self._learners = Learners(learner_field, self._using)
        self._erased_names = ErasedNames(learner_field, using=self._using)
        with suppress(Refused):
            self._learners.parse("\u00e9")  # asks what the database can spell, which another thread may not
        self._judge = Judge(connections[self._using], learner_field=learner_field, zone=self._zone)
        for batch in self._made_ahead(self._batches(sources)):
            with self._settling() as commits:
                self._settle(batch, commits)
                self._progress(self.counts)

    def _batches(self, sources: Iterable[Source]) -> Iterator[Batch]:
        batch = Batch()
        try:
            for source in sources:
                for block in source.blocks():
                    batch.add(source, block, self._judge_block(block))
                    if len(batch.judged) >= self._batch_size or batch.bytes >= LARGEST_BATCH:
                        yield batch
                        batch = Batch()
        except LoadError:
            yield batch
            raise
        yield batch

    def _made_ahead(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches with their rows prepared; names of learners are looked up here, on the connection of the load."""
        if self._learners.are_named_by_key:
            return ahead(map(self._prepared, batches), self._waiting)
        named = map(self._looked_up, ahead(batches, self._waiting))
        return worked_on_ahead(self._with_keys, named, self._waiting)

    def _looked_up(self, batch: Batch) -> Batch:
        batch.named = named_by(_named(batch), self._learners, self._erased_names)
        return batch

    def _with_keys(self, batch: Batch) -> Batch:
        """The batch with the learner's primary key in place of what the source calls the learner."""
        named = _named(batch)
        found = zip(named, spelled(named, batch.named, self._spell), strict=True)
        keyed = (spelling or _refusal(row, batch.named) for row, spelling in found)
        batch.judged = [next(keyed) if isinstance(each, NewIntent) else each for each in batch.judged]
        return self._prepared(batch)

    def _prepared(self, batch: Batch) -> Batch:
        batch.rows = self._prepare(batch.judged)
        return batch

    def _prepare(self, judged: Iterable[Judged]) -> PreparedRows:
        rows = (each for each in judged if type(each) is tuple)
        return PreparedRows(rows, self._engine, all_new=self._writer.all_new)

    def _judge_block(self, block: Block) -> Iterable[Judged]:
        spell: Callable[..., Iterable[NewIntent | Spelled]] = (
            self._spell if self._learners.are_named_by_key else partial(map, NewIntent)
        )
        well_formed = [row for row in block.rows if not isinstance(row, Malformed)]
        columns = self._judge.columns(well_formed) if len(well_formed) == len(block.rows) else None
        if columns is not None:
            return spell(*columns)
        return [self._judge_row(row) for row in block.rows]

    def _judge_row(self, row: Values | Malformed) -> Judged:
        if isinstance(row, Malformed):
            return row.error
        try:
            judged = self._judge(row)
        except InvalidIntent as refused:
            return str(refused)
        return self._spelled(judged) if self._learners.are_named_by_key else judged

    def _spelled(self, judged: NewIntent) -> Spelled:
        return next(self._spell(*([value] for value in judged)))

    def _settle(self, batch: Batch, commits: Callable[[], None] | None) -> None:
        judged, rows = self._without_erased(batch), batch.rows
        if not judged:  # the last batch of some sources
            return
        if self._max_rejects is not None:
            judged, rows = self._up_to_last_reject(judged, rows, self._max_rejects - self._rejected)

        are_sound = set(map(type, judged)) == {tuple}

        def left_out(written: Written) -> tuple[dict[int, str], int]:
            if are_sound and not written.unknown and not written.erased:
                return {}, 0
            return _errors(judged, written.unknown), _erased(judged, written.erased)

        def tell(written: Written) -> None:
            if self._in_transaction:
                errors, erased = left_out(written)
                counts = self._counts_with(len(judged), written.created, len(errors), erased)
                self._in_transaction(Settled(counts, batch, len(judged), errors))
            if commits:
                commits()

        start = time.perf_counter()
        written = self._writer.write(rows, tell)
        longest = len(judged) * LONGEST_TRANSACTION / (time.perf_counter() - start)
        # Where names are looked up, three batches are in memory: one is read, one prepared, one stored.
        largest = LARGEST_TRANSACTION if self._learners.are_named_by_key else LARGEST_TRANSACTION // 2
        self._batch_size = min(largest, int(longest))
        errors, erased = left_out(written)
        self._read += len(judged)
        self._created += written.created
        self._rejected += len(errors)
        self._erased += erased
        for reject in batch.rejects(errors):
            self._reject(reject)
        if self._max_rejects is not None and self._rejected > self._max_rejects:
            raise LoadError(f"Stopped: more than {self._max_rejects} rows were rejected.")

    def _without_erased(self, batch: Batch) -> list[Judged]:
        """The judged rows; those that are refused and tell what was erased are left out, or they would be kept."""
        judged = batch.judged
        if str not in map(type, judged):
            return judged
        errors = {position: each for position, each in enumerate(judged) if isinstance(each, str)}
        told = [(reject.values[0], reject.values[-1]) for reject in batch.rejects(errors)]
        are_erased = are_told_of_erased(told, self._learners, self._erased_names, self._zone)
        for position, is_erased in zip(errors, are_erased, strict=True):
            judged[position] = ERASED if is_erased else judged[position]
        return judged

    def _up_to_last_reject(
        self, judged: list[Judged], rows: PreparedRows, allowed: int
    ) -> tuple[list[Judged], PreparedRows]:
        """The judged rows up to the reject that is one too many: nothing behind it is read or stored."""
        unknown, _ = rows.refused()
        judged = [_unknown(each[0]) if each in unknown else each for each in judged]
        rejects = [number for number, each in enumerate(judged, start=1) if isinstance(each, str)]
        if len(rejects) > allowed:
            judged = judged[: rejects[allowed]]
        return judged, self._prepare(judged) if unknown or len(rejects) > allowed else rows


def _named(batch: Batch) -> list[NewIntent]:
    """The judged rows of a batch whose learners are not named by their primary keys."""
    return [each for each in batch.judged if isinstance(each, NewIntent)]


def _refusal(row: NewIntent, named: Named) -> Judged:
    return ERASED if named.was_erased(row) else _unknown(row.learner, named.keys.get(row.learner))


def _erased(judged: Sequence[Judged], erased: Collection[Spelled]) -> int:
    """How many rows tell what was erased."""
    by_name = judged.count(ERASED)
    return by_name + sum(each in erased for each in judged) if erased else by_name


def _errors(judged: Sequence[Judged], refused: Collection[Spelled]) -> dict[int, str]:
    """Why rows are rejected, by their positions."""
    return {
        position: each if isinstance(each, str) else _unknown(each[0])
        for position, each in enumerate(judged)
        if each is not ERASED and (isinstance(each, str) or each in refused)
    }


def _unknown(learner: object, key: object = None) -> str:
    return f"learner: {unknown_learner(learner, key)}"
