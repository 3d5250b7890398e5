"""Events become intents: a batch is stored in one transaction, and only then acknowledged."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from django.db import DataError, Error, IntegrityError, OperationalError

from program_intent import conf, events
from program_intent.data import FIELDS, LoadReport, RunKind, RunStatus
from program_intent.exceptions import LoadError
from program_intent.intake.batch import Settled
from program_intent.intake.load import Load
from program_intent.intake.refused import RefusedRows
from program_intent.intake.runs import RunOfRows
from program_intent.intake.writers import Storing
from program_intent.sources.open_edx import Messages
from program_intent.sources.redis_streams import Message, Streams
from program_intent.sources.rows import Block, Malformed, Values
from program_intent.validation.learners import problem_of_event, problem_of_setting

# Seconds between two notes that an idle run is at work.
NEWS_AFTER = 60

NO_VALUES: Values = ("",) * len(FIELDS)


class RowsFailed(Exception):
    """A function of the host's raised; says which and what, and nothing of the event."""


class Meant(NamedTuple):
    """What a message means: rows whose learners are named by a field, or why it means nothing that can be stored."""

    id: str
    learner_field: str
    rows: Sequence[Values | Malformed]


def meant(message: Message, reader: Messages) -> Meant:
    """The rows of a message, none if its type is not mapped.

    :raises Unreadable: it cannot be read.
    :raises RowsFailed: the host's function cannot make rows of it.
    :raises django.db.Error: the host's function found the database away.
    """
    event_type = reader.type_of(message.fields)
    mapping, field = conf.events().get(event_type), events.learner_field(event_type)
    if event_type and mapping is None:
        return Meant(message.id, field, ())
    event = reader.event(message.fields)
    try:
        rows = events.rows(event_type, event)
    except Exception as error:
        # What it says may name people.
        why = f"The function {(mapping or {}).get('rows')} raised {type(error).__name__}."
        if isinstance(error, Error) and not isinstance(error, DataError | IntegrityError):
            raise OperationalError(why) from None
        raise RowsFailed(why) from None
    return Meant(message.id, field, [tuple(row.get(name) for name in FIELDS) for row in rows])


class Rows:
    """The rows of messages as a source; a place is the id of a message."""

    unit, learner_name = "message", "learner"

    def __init__(self, name: str, found: Sequence[Meant]) -> None:
        self.name = name
        self._found = found

    def blocks(self) -> Iterator[Block]:
        places = [each.id for each in self._found for _ in each.rows]
        yield Block(places, None, [row for each in self._found for row in each.rows])

    def position(self) -> int:
        return 0

    def close(self) -> None:
        pass


class Stored:
    """Stores what messages mean, as one run."""

    def __init__(self, kind: RunKind, *, using: str, by: str, source: str) -> None:
        self._run = RunOfRows(kind, using=using, by=by, source=source)
        self._using = using
        self._told = time.monotonic()
        self._new = 0
        self.new_rejects = 0
        self._load = Load(
            using=using,
            zone=None,
            writer=Storing(self._run.key),
            max_rejects=None,
            reject=lambda reject: None,
            progress=lambda counts: None,
            in_transaction=self._note,
        )

    @property
    def counts(self) -> LoadReport:
        return self._load.counts

    def store(self, topic: str, found: Sequence[Meant]) -> None:
        """In one transaction for each field by which learners are named, which is one as a rule."""
        for field in dict.fromkeys(each.learner_field for each in found if each.rows):
            self._refused, self._field = RefusedRows(topic, using=self._using), field
            rows = Rows(topic, [each for each in found if each.learner_field == field])
            self._load.run([rows], learner_field=field)
            self.new_rejects += self._new

    def _note(self, settled: Settled) -> None:
        self._new = len(self._refused.keep(settled, self._field))
        self._run.note(settled)
        self._told = time.monotonic()

    def tell_that_it_is_at_work(self) -> None:
        """Once a minute, of a run to which nothing comes."""
        if time.monotonic() - self._told >= NEWS_AFTER:
            self._run.tell()
            self._told = time.monotonic()

    def end(self, status: RunStatus, message: str = "") -> None:
        self._run.end(self.counts, status, message=message)


@contextmanager
def in_words(bus: Streams) -> Iterator[None]:
    try:
        yield
    except bus.error as error:
        raise LoadError(f"The event bus cannot be read: {str(error).rstrip('.')}.") from error


def streams(*, group: str = "", consumer: str = "", batch: int = 1) -> Streams:
    """:raises LoadError: the settings are wrong, or nothing says where they are, or redis-py is not installed."""
    for problem in filter(None, _problems()):
        raise LoadError(problem)
    url = conf.events_url()
    if not url:
        raise LoadError("Set EVENTS_URL, or EVENT_BUS_REDIS_CONNECTION_URL: where the event bus is.")
    return Streams(url, group=group, consumer=consumer, batch=batch)


def _problems() -> Iterator[str]:
    """What the checks tell too, where they are not skipped."""
    yield problem_of_setting("LEARNER_LOOKUP_FIELD", conf.learner_lookup_field())
    for event_type, mapping in conf.events().items():
        yield from conf.problems_of_event(event_type, mapping)
        yield problem_of_event(event_type, mapping)
