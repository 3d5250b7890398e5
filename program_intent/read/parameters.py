"""The parameters of the reads: judged together, refused together, in the words of ``validation``."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from django.db import connections, router
from django.utils import timezone

from program_intent.exceptions import InvalidIntent
from program_intent.models import ProgramIntent
from program_intent.validation.learners import learner_parser
from program_intent.validation.times import parse_timestamp
from program_intent.validation.values import Refused, parse_uuid, shown

T = TypeVar("T")
# Beyond it the number itself is an error to a database.
_LONGEST_PAGE = 2**31 - 1
# The moments of the blocks that are open.
_known_at: ContextVar[tuple[datetime, ...]] = ContextVar("program_intent_known_at", default=())


def read_from() -> str:
    """The database that reads ask; it may be a replica."""
    return router.db_for_read(ProgramIntent)


def written_to() -> str:
    return router.db_for_write(ProgramIntent)


class Parameters:
    """Parses what a call was given; ``check`` raises for all that was refused, and no answer may be had before it."""

    def __init__(self, using: str) -> None:
        self.using = using
        self._connection = connections[using]
        self._errors: dict[str, list[str]] = {}

    def parsed(self, name: str, parse: Callable[[Any], T], value: Any) -> T:
        try:
            return parse(value)
        except Refused as refused:
            self._errors[name] = [str(refused)]
            return None  # type: ignore[return-value]  # check() raises before it is used

    def learner(self, value: object, name: str = "learner") -> Any:
        return self.parsed(name, learner_parser("pk", self._connection), value)

    def learners(self, values: Iterable[object]) -> list[Any]:
        return self.parsed("learners", _each("users", learner_parser("pk", self._connection)), values)

    def program(self, value: object) -> UUID:
        return self.parsed("program_uuid", parse_uuid, value)

    def programs(self, values: Iterable[object] | None) -> list[UUID] | None:
        return None if values is None else self.parsed("program_uuids", _each("UUIDs", parse_uuid), values)

    def as_of(self, value: object) -> datetime:
        return timezone.now() if value is None else self.parsed("as_of", parse_timestamp, value)

    def known_at(self, value: object) -> datetime | None:
        """The earlier of the value and the moment of the ``as_known_at`` around the call; None if there is neither."""
        return _earlier(None if value is None else self.parsed("known_at", parse_timestamp, value))

    def moments(self, as_of: object, known_at: object) -> tuple[datetime, datetime | None]:
        """The last parameters of a read, behind which all are checked."""
        moment, known = self.as_of(as_of), self.known_at(known_at)
        self.check()
        return moment, known

    def limit(self, value: object) -> int:
        return self.parsed("limit", _parse_limit, value)

    def check(self) -> None:
        """:raises InvalidIntent: with the messages of every parameter that was refused."""
        if self._errors:
            raise InvalidIntent(self._errors)


@contextmanager
def knowing_until(moment: datetime) -> Iterator[None]:
    """Within the block, no read knows what was written after the moment, or after that of a block around this one."""
    _known_at.set((*_known_at.get(), moment))
    try:
        yield
    finally:
        # No token: a block in a generator may end after one that began later, or in another context.
        still_open = list(_known_at.get())
        with suppress(ValueError):
            still_open.remove(moment)
        _known_at.set(tuple(still_open))


def _earlier(moment: datetime | None) -> datetime | None:
    """The earliest of the moment and those of the blocks around the call."""
    return min((each for each in (moment, *_known_at.get()) if each is not None), default=None)


def _parse_limit(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return min(value, _LONGEST_PAGE)
    raise Refused(f"Expected an integer of at least 1, not {shown(value)}.")


def _each(kind: str, parse: Callable[[object], T]) -> Callable[[Iterable[object]], list[T]]:
    def parse_each(values: Iterable[object]) -> list[T]:
        if isinstance(values, str) or not isinstance(values, Iterable):
            what = "one text" if isinstance(values, str) else shown(values)
            raise Refused(f"Expected a list of {kind}, not {what}.")
        return [parse(value) for value in values]

    return parse_each
