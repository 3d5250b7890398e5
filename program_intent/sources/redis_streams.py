"""Streams of Redis as a consumer of a group reads them; redis-py is imported when it is used."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from program_intent.exceptions import LoadError

# Milliseconds that a read waits for something new, and without news of a message until another consumer takes it over.
BLOCK = 5_000
CLAIMED_AFTER = 60_000
# Seconds; longer than a read waits.
_TIMEOUT = 15


class Message(NamedTuple):
    """A message that was trimmed from its stream has no fields."""

    id: str
    fields: Mapping[bytes, bytes]


class Streams:
    """:raises LoadError: redis-py is not installed, or the URL is none."""

    def __init__(self, url: str, *, group: str, consumer: str, batch: int) -> None:
        try:
            import redis
        except ImportError as error:
            remedy = "pip install 'program-intent[events]'"
            raise LoadError(f"The event bus cannot be read ({error}): {remedy}") from error
        self.error = redis.RedisError
        self._away, self._refused = (redis.ConnectionError, redis.TimeoutError), redis.AuthenticationError
        self._response_error = redis.ResponseError
        self._group, self._consumer, self._batch = group, consumer, batch
        try:  # protocol 2 gives the same shapes in every version of redis-py
            self._redis: Any = redis.Redis.from_url(url, protocol=2, socket_connect_timeout=_TIMEOUT)
            pool = self._redis.connection_pool
            pool.connection_kwargs |= {"socket_timeout": _TIMEOUT, "decode_responses": False}  # whatever the URL says
            pool.connection_class(**pool.connection_kwargs)  # which knows the options that there are
            if int(pool.connection_kwargs["protocol"]) != 2:
                raise ValueError
        except (ValueError, TypeError):  # whose message may hold the password
            raise LoadError("EVENTS_URL: expected one such as redis://user:password@host:6379/0.") from None

    def close(self) -> None:
        self._redis.close()

    def is_away(self, error: Exception) -> bool:
        """Whether it may be over in a while."""
        return isinstance(error, self._away) and not isinstance(error, self._refused)

    def open(self, stream: str) -> bool:
        """Make the group at the beginning of the stream, if it is not there; whether it was made."""
        if self.place(stream):  # a Redis whose memory is full makes none, also where it is there
            return False
        for counted in ({"entries_read": 0}, {}):  # Redis 6.2 does not count
            try:
                self._redis.xgroup_create(stream, self._group, id="0", mkstream=True, **counted)
                return True
            except self._response_error as error:
                if "BUSYGROUP" in str(error):
                    return False
                if not counted:
                    raise self._response_error(f"{stream}: {error}") from error
        return False

    def place(self, stream: str) -> tuple[str, bool] | None:
        """The message that the group was given last, and whether messages behind it were trimmed; None without a group.

        The first that is left being newer says so, unless what is left is all that was added behind it, which Redis 7
        knows.
        """
        if self._redis.type(stream) != b"stream":
            return None
        for group in self._redis.xinfo_groups(stream):
            if group["name"] == self._group.encode():
                last, found = group["last-delivered-id"], self._redis.xinfo_stream(stream)
                first, lag = found["first-entry"], group.get("lag")
                if first and _number(first[0]) <= _number(last):
                    return last.decode(), False
                is_sure = lag is not None and lag > found["length"]
                return last.decode(), is_sure or bool(lag is None and first and last != b"0-0")
        return None

    def pending(self, stream: str) -> Iterator[list[Message]]:
        """What this consumer was given and has not acknowledged, batch by batch."""
        last = "0"
        while found := self._read({stream: last}):
            messages = found[0][1]
            if not messages:
                return
            yield messages
            last = messages[-1].id

    def claimed(self, stream: str) -> Iterator[list[Message]]:
        """What any consumer was given and has not acknowledged for a minute, which is this one's from now on."""
        start, are_gone = b"0-0", False
        while True:
            start, found, *lost = self._redis.xautoclaim(
                stream, self._group, self._consumer, CLAIMED_AFTER, start, count=self._batch
            )
            trimmed = [Message(each.decode(), {}) for each in (lost[0] if lost else ())]
            yield [*_messages(found), *trimmed]
            are_gone |= any(key is None for key, _ in found)
            if start == b"0-0":
                break
        if are_gone:  # Redis 6.2 names no trimmed ones, and gives them to this consumer all the same
            yield from self.pending(stream)

    def new(self, streams: Iterable[str], *, is_patient: bool) -> list[tuple[str, list[Message]]]:
        """What nobody of the group was given yet; the patient wait for it."""
        return self._read(dict.fromkeys(streams, ">"), block=BLOCK if is_patient else None)

    def _read(self, after: dict[str, str], block: int | None = None) -> list[tuple[str, list[Message]]]:
        found = self._redis.xreadgroup(self._group, self._consumer, after, count=self._batch, block=block)
        return [(name.decode(), _messages(messages)) for name, messages in found]

    def acknowledge(self, stream: str, ids: list[str]) -> None:
        if ids:
            self._redis.xack(stream, self._group, *ids)

    def deliveries(self, stream: str, message: str) -> int:
        """How often a message was given to somebody."""
        found = self._redis.xpending_range(stream, self._group, min=message, max=message, count=1)
        return int(found[0]["times_delivered"]) if found else 1

    def forget_deliveries(self, stream: str, ids: list[str]) -> None:
        """They were no tries."""
        self._redis.xclaim(stream, self._group, self._consumer, 0, ids, retrycount=0, justid=True)

    def message(self, stream: str, message: str) -> Message:
        """Any message of the stream."""
        found = self._redis.xrange(stream, min=message, max=message)
        return _messages(found)[0] if found else Message(message, {})


def _messages(found: Iterable[tuple[bytes, Mapping[bytes, bytes]]]) -> list[Message]:
    return [Message(key.decode(), fields or {}) for key, fields in found if key]


def _number(key: bytes) -> tuple[Any, ...]:
    return tuple(map(int, key.split(b"-")))
