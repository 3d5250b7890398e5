"""The feed of changes: every intent once, in the order of primary keys, up to where nothing can appear any more.

A key is taken when a row is written and seen when its transaction commits, so low keys may appear after high ones. The
feed therefore stops at a fence: the highest key that was visible at a moment at which these and no other writers were
at work. When they have ended, all is visible that ever will be up to there. The cursor carries the fence from call to
call, and writers know nothing of it (docs/decisions/0009).
"""

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from program_intent import engines
from program_intent.data import Intent, IntentChanges
from program_intent.engines.generic import to_intent
from program_intent.models.intent import ProgramIntent, engine_of
from program_intent.validation.values import Refused, shown

# The highest key, and the most rows, that a database can count to.
MAX = 2**63 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Longer than the writers of any server make it: a name of a dozen characters for each.
_LONGEST = 100_000
_CURSOR = re.compile(
    r"(?P<position>1\.(?P<last>\d{1,19})(?:\.f(?P<fence>\d{1,19})(?P<writers>(?:_-?\d{1,20}(?:~\d{1,20})?)*))?)"
    r"(?:\.k(?P<known_at>-?\d{1,18}))?",
    re.A,
)
# PostgreSQL: a transaction that was prepared for two-phase commit goes on under such a name.
_PREPARED = "-1/"


class Position(NamedTuple):
    """Where a follower is: it has all up to ``last``, and gets what comes up to ``fence`` when ``writers`` have ended.

    It follows in one state of knowledge; ``known_at`` None is everything written.
    """

    last: int = 0
    fence: int = 0
    writers: frozenset[str] = frozenset()
    known_at: datetime | None = None

    def __str__(self) -> str:
        """The cursor; of unreserved characters, so that it goes into a URL as it is."""
        writers = "".join(f"_{writer.replace('/', '~')}" for writer in sorted(self.writers))
        fence = f".f{self.fence}{writers}" if self.fence > self.last else ""
        known_at = "" if self.known_at is None else f".k{_microseconds(self.known_at)}"
        return f"1.{self.last}{fence}{known_at}"


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def parse_cursor(text: object, *, known_at: datetime | None) -> Position:
    """The position that an earlier call gave in the same state of knowledge; None is the beginning.

    :raises Refused: it is no such cursor.
    """
    if text is None:
        return Position(known_at=known_at)
    match = _CURSOR.fullmatch(text) if isinstance(text, str) and len(text) <= _LONGEST else None
    if match:
        writers = (match["writers"] or "").replace("~", "/").split("_")[1:]
        position = Position(int(match["last"]), int(match["fence"] or 0), frozenset(writers))
        if str(position) == match["position"] and max(position.last, position.fence) <= MAX:
            if match["known_at"] != (None if known_at is None else str(_microseconds(known_at))):
                raise Refused(f"Expected a cursor that was given under the same as_known_at, not {shown(text)}.")
            return position._replace(known_at=known_at)
    raise Refused(f"Expected a cursor that an earlier call gave, not {shown(text)}.")


def changes(after: Position, *, limit: int, using: str) -> IntentChanges:
    """The next intents behind a position."""
    engine = engine_of(using)
    newest, writers = engine.newest_and_writers()
    position = _with_fence(after, newest, writers)
    intents: list[Intent] = []
    if not position.writers and position.last < position.fence:
        intents, is_all = _read(engine, position, min(limit, MAX), using=using)
        last = position.fence if is_all else intents[-1].id if intents else position.last
        position = position._replace(last=last)
        if last >= position.fence:
            position = position._replace(fence=newest, writers=writers)
    return IntentChanges(tuple(intents), str(position))


def _with_fence(position: Position, newest: int, writers: frozenset[str]) -> Position:
    """The position with a new fence, or with those left who are still to be waited for at the one it has."""
    if not writers or position.fence <= position.last:
        return position._replace(fence=newest, writers=writers)
    waiting = position.writers & writers
    if any(not writer.startswith(_PREPARED) for writer in position.writers - writers):
        # It may have been prepared and not ended, and nothing says which of those prepared it is.
        waiting |= {writer for writer in writers if writer.startswith(_PREPARED)}
    return position._replace(writers=waiting)


def _read(engine: engines.Engine, position: Position, limit: int, *, using: str) -> tuple[list[Intent], bool]:
    """The next intents up to the fence or to the first that is not settled, and whether they reach the fence."""
    rows = ProgramIntent.objects.using(using).filter(pk__gt=position.last, pk__lte=position.fence)
    if position.known_at is not None:
        rows = rows.filter(created__lte=position.known_at)
    unsettled: set[int] = set()
    written = engine.keys_with_uncommitted(position.last, position.fence, known_at=position.known_at, limit=limit)
    if written is not None:
        if len(written) == limit:
            rows = rows.filter(pk__lte=written[-1])
        unsettled = set(written)
    intents = list(map(to_intent, rows.order_by("pk").values_list(*Intent.__match_args__)[:limit]))
    # What was seen there and not here is not committed, or was rolled back in between: the next call will tell.
    unsettled -= {intent.id for intent in intents}
    end = min(unsettled, default=MAX + 1)
    return [intent for intent in intents if intent.id < end], len(intents) < limit and not unsettled
