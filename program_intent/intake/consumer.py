"""A consumer of the event bus: what it reads is stored, and only then acknowledged."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext, suppress
from functools import partial
from typing import Any

from django.db import Error, connections, router

from program_intent import conf
from program_intent.data import LoadReport, RunKind, RunStatus
from program_intent.exceptions import LoadError
from program_intent.intake.events import NO_VALUES, Meant, RowsFailed, Stored, in_words, meant, streams
from program_intent.intake.load import Settling
from program_intent.intake.refused import RefusedRows
from program_intent.models import ProgramIntent, Run
from program_intent.sources.open_edx import Messages, Unreadable
from program_intent.sources.redis_streams import Message
from program_intent.sources.rows import Malformed
from program_intent.store.retrying import drop_lost_connection

# Seconds that a database or the bus may be away, and between two attempts.
PATIENCE = 60
PAUSE = 1
# Of a function of the host's that raises.
TRIES = 5

_logger = logging.getLogger("program_intent.events")


def in_a_line(error: Error) -> str:
    return " ".join(str(error).split())


class Patience:
    """With something that is away, from the first time that it is asked whether it is over."""

    def __init__(self) -> None:
        self._until: float | None = None

    @property
    def is_over(self) -> bool:
        if self._until is None:
            self._until = time.monotonic() + PATIENCE
        return time.monotonic() >= self._until

    def wait(self) -> None:
        time.sleep(PAUSE)


class Consumer:
    """One consumer of a group, which reads topics of the event bus.

    ``settling`` is entered while a batch is stored and acknowledged.

    :raises LoadError: something that it needs is not installed or not set, or the settings are wrong.
    :raises django.db.Error: the database was away for a minute.
    """

    def __init__(
        self,
        topics: Sequence[str],
        *,
        group: str,
        name: str,
        batch: int,
        by: str,
        settling: Settling = nullcontext,
    ) -> None:
        if not conf.events():  # or all that is there would be acknowledged
            raise LoadError('PROGRAM_INTENT["EVENTS"] maps no event.')
        self._using = router.db_for_write(ProgramIntent)
        self._topics = {conf.stream(topic): topic for topic in topics}
        self._streams = streams(group=group, consumer=name, batch=batch)
        self._reader = Messages()
        self._source = ", ".join(topics)
        self._batch = batch
        self._settling = settling
        self._stored: Stored = self._patiently(
            partial(Stored, RunKind.EVENTS, using=self._using, by=by, source=self._source)
        )
        self._is_behind = True
        self._lost_after: dict[str, str] = {}

    @property
    def counts(self) -> LoadReport:
        return self._stored.counts

    @property
    def new_rejects(self) -> int:
        return self._stored.new_rejects

    def run(self, *, once: bool) -> None:
        """Until Ctrl-C or, once, until all that is there is stored.

        :raises LoadError: the broker was away for a minute, or cannot be read.
        :raises django.db.Error: the database was away for a minute; nothing is lost, and it can be started again.
        """
        status, message = RunStatus.STOPPED, ""
        try:
            with closing(self._streams), suppress(KeyboardInterrupt):
                self._begin()
                while self._round(is_patient=not once) or not once:
                    pass
            status = RunStatus.FINISHED
        except Error as error:
            message = f"The database failed: {in_a_line(error)}"
            raise
        except Exception as error:
            message = str(error) if isinstance(error, LoadError) else type(error).__name__
            raise
        finally:
            with suppress(Error):  # it is away; the run is told as silent
                self._stored.end(status, message)

    def _begin(self) -> None:
        with in_words(self._streams):
            try:
                for stream in self._topics:
                    self._open(stream)
            except self._streams.error as error:
                if not self._streams.is_away(error):  # else the first round waits for it, and opens them
                    raise
        for topic in self._topics.values():
            self._patiently(RefusedRows(topic, using=self._using).forget)

    def _open(self, stream: str) -> None:
        if self._streams.open(stream) and self._patiently(self._has_run):
            _logger.warning(
                f"{stream}: was read before, and has no such group: Redis came back without its data, or the group was "
                "deleted, or is new. What was not stored comes in by sync_program_intents."
            )

    def _has_run(self) -> bool:
        runs = Run.objects.using(self._using)
        return runs.filter(kind=RunKind.EVENTS.value, source=self._source).exists()

    def _round(self, *, is_patient: bool) -> bool:
        """Whether there may be more to read."""
        patience = Patience()
        while True:
            try:
                return self._read(is_patient=is_patient)
            except self._streams.error as error:
                if patience.is_over:
                    raise LoadError(f"The event bus is away: {str(error).rstrip('.')}.") from error
                _logger.warning("The event bus is away: %s", error)
            self._is_behind = True
            patience.wait()

    def _read(self, *, is_patient: bool) -> bool:
        for stream in self._topics:
            self._tell_what_was_lost(stream)
            for messages in self._streams.pending(stream) if self._is_behind else ():
                self._take(stream, messages)
            for messages in self._streams.claimed(stream):
                self._take(stream, messages)
        self._is_behind, is_full = False, False
        for stream, messages in self._streams.new(self._topics, is_patient=is_patient):
            self._take(stream, messages)
            is_full |= len(messages) == self._batch
        self._patiently(self._stored.tell_that_it_is_at_work)
        return is_full

    def _tell_what_was_lost(self, stream: str) -> None:
        place = self._streams.place(stream)
        if place is None:
            self._open(stream)
            return
        last, is_lost = place
        if is_lost and self._lost_after.get(stream) != last:
            self._lost_after[stream] = last
            self._tell_lost(stream, "Messages")

    def _tell_lost(self, stream: str, what: str) -> None:
        _logger.warning(
            f"{stream}: {what} were trimmed before they were stored. What they said comes in by sync_program_intents."
        )

    def _take(self, stream: str, messages: Sequence[Message]) -> None:
        lost = [message.id for message in messages if not message.fields]
        if lost:
            self._tell_lost(stream, f"{len(lost)} messages")
            self._streams.acknowledge(stream, lost)
        there = [message for message in messages if message.fields]
        if there:
            try:
                self._patiently(partial(self._store, stream, there))
            except Error:
                self._streams.forget_deliveries(stream, [message.id for message in there])
                raise

    def _store(self, stream: str, messages: Sequence[Message]) -> None:
        found = [each for message in messages if (each := self._meant(stream, message))]
        self._stored.store(self._topics[stream], found)
        self._streams.acknowledge(stream, [each.id for each in found])

    def _meant(self, stream: str, message: Message) -> Meant | None:
        """None if it stays pending, to be tried again."""
        try:
            return meant(message, self._reader)
        except Unreadable as error:
            why = str(error)
        except RowsFailed as error:
            why, tries = str(error), self._streams.deliveries(stream, message.id)
            if tries < TRIES:
                _logger.warning("%s, message %s, try %s of %s: %s", stream, message.id, tries, TRIES, why)
                return None
        return Meant(message.id, conf.learner_lookup_field(), [Malformed(why, NO_VALUES)])

    def _patiently(self, work: Callable[[], Any]) -> Any:
        """Do the work; again, until the database is there.

        :raises django.db.Error: it was away for too long.
        """
        patience = Patience()
        while True:
            for connection in connections.all(initialized_only=True):  # those of the host's functions too
                drop_lost_connection(connection.alias)
            try:
                with self._settling():
                    return work()
            except Error as error:
                if patience.is_over:
                    raise
                _logger.warning("The database failed: %s", in_a_line(error))
            patience.wait()
