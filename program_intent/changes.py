"""The feed of changes: every intent once, in the order of primary keys, up to where nothing can appear any more.

A key is taken when a row is written and seen when its transaction commits, so low keys may appear after high ones. The
feed therefore stops at a fence: the highest key that was visible at a moment at which these and no other writers were
at work. When they have ended, all is visible that ever will be up to there. The cursor carries the fence from call to
call, and writers know nothing of it (docs/decisions/0009).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from program_intent.data import Intent, IntentChanges
from program_intent.exceptions import ChangesError
from program_intent.latest import FIELDS, to_intent
from program_intent.models import ProgramIntent
from program_intent.validation import Refused, is_mariadb, shown

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
    connection = connections[using]
    newest, writers = _newest_and_writers(connection)
    position = _with_fence(after, newest, writers)
    intents: list[Intent] = []
    if not position.writers and position.last < position.fence:
        intents, is_all = _read(connection, position, min(limit, MAX))
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


def _newest_and_writers(connection: BaseDatabaseWrapper) -> tuple[int, frozenset[str]]:
    """The highest key that is visible, and then who is writing and may still bring a lower one.

    :raises ChangesError: here this cannot be known.
    """
    if connection.vendor not in _LOOKS:
        raise ChangesError(f"Changes cannot be followed on {connection.vendor}.")
    with connection.cursor() as cursor:
        return _LOOKS[connection.vendor](connection, cursor)


def _look_on_sqlite(connection: BaseDatabaseWrapper, cursor: CursorWrapper) -> tuple[int, frozenset[str]]:
    """One transaction writes at a time and a key is never given twice: keys are in the order of commits."""
    cursor.execute(f"SELECT coalesce(max(id), 0) FROM {ProgramIntent._meta.db_table}")
    return cursor.fetchone()[0], frozenset()


# A row's writer takes this lock before it takes a key, and has it until its rows are visible. The snapshot in which
# the keys are read is older than the look at the locks.
_POSTGRESQL = """
SELECT (SELECT coalesce(max(id), 0) FROM {table}),
ARRAY(SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND relation = '{table}'::regclass
AND pid IS DISTINCT FROM pg_backend_pid()),
current_setting('transaction_isolation'), pg_is_in_recovery()
"""


def _look_on_postgresql(connection: BaseDatabaseWrapper, cursor: CursorWrapper) -> tuple[int, frozenset[str]]:
    cursor.execute(_POSTGRESQL.format(table=ProgramIntent._meta.db_table))
    newest, writers, isolation, is_replica = cursor.fetchone()
    if is_replica:
        raise ChangesError(_REPLICA)
    if isolation in ("repeatable read", "serializable") and not connection.get_autocommit():
        raise ChangesError(
            f"Changes cannot be followed in a transaction that is {isolation.upper()}: it does not see what others "
            "commit meanwhile."
        )
    return newest, frozenset(writers)


# Rows not yet committed are met when the page is read. What remains is a statement that has taken a key and not yet
# stored the row. Split, because the text of this query is in the list that another follower reads.
_MYSQL = """
SELECT {name} FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID()
AND (DB = DATABASE() AND INFO LIKE CONCAT('%in', 'to%', '{table}%') OR COMMAND = 'Busy')
"""


def _look_on_mysql(connection: BaseDatabaseWrapper, cursor: CursorWrapper) -> tuple[int, frozenset[str]]:
    table = ProgramIntent._meta.db_table
    # A number, or as of MariaDB 12 a word.
    is_replica = "CAST(@@global.read_only AS CHAR) NOT IN ('0', 'OFF')"
    cursor.execute(f"SELECT coalesce(max(id), 0), {is_replica} FROM {table}")
    newest, takes_no_writes = cursor.fetchone()
    if takes_no_writes:
        raise ChangesError(_REPLICA)
    # On MySQL a thread has its name for all its statements: at worst a follower waits for a later one too.
    cursor.execute(_MYSQL.format(table=table, name="QUERY_ID" if is_mariadb(connection) else "ID"))
    return newest, frozenset(str(name) for (name,) in cursor.fetchall())


_LOOKS = {"sqlite": _look_on_sqlite, "postgresql": _look_on_postgresql, "mysql": _look_on_mysql}
_REPLICA = "Changes are followed where intents are written, and this server takes no writes."


def _read(connection: BaseDatabaseWrapper, position: Position, limit: int) -> tuple[list[Intent], bool]:
    """The next intents up to the fence or to the first that is not settled, and whether they reach the fence."""
    rows = ProgramIntent.objects.using(connection.alias).filter(pk__gt=position.last, pk__lte=position.fence)
    if position.known_at is not None:
        rows = rows.filter(created__lte=position.known_at)
    unsettled: set[int] = set()
    if connection.vendor == "mysql":
        written = _keys_with_uncommitted(connection, position, limit)
        if len(written) == limit:
            rows = rows.filter(pk__lte=written[-1])
        unsettled = set(written)
    intents = list(map(to_intent, rows.order_by("pk").values_list(*FIELDS)[:limit]))
    # What was seen there and not here is not committed, or was rolled back in between: the next call will tell.
    unsettled -= {intent.id for intent in intents}
    end = min(unsettled, default=MAX + 1)
    return [intent for intent in intents if intent.id < end], len(intents) < limit and not unsettled


# By the primary key, because a row that waits for a lock on the unique index is not yet in any other.
_KEYS = """
SELECT id FROM {table} FORCE INDEX (PRIMARY) WHERE id > %s AND id <= %s {known} ORDER BY id LIMIT %s
"""


def _keys_with_uncommitted(connection: BaseDatabaseWrapper, position: Position, limit: int) -> list[int]:
    """On MariaDB and MySQL, the next keys up to the fence, with those that others have not committed yet."""
    params: list[Any] = [position.last, position.fence, limit]
    if position.known_at is not None:
        params.insert(2, connection.ops.adapt_datetimefield_value(position.known_at))
    known = "" if position.known_at is None else "AND created <= %s"
    with _outside_transactions(connection) as outside, outside.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")  # for the next statement alone
        cursor.execute(_KEYS.format(table=ProgramIntent._meta.db_table, known=known), params)
        return [key for (key,) in cursor.fetchall()]


@contextmanager
def _outside_transactions(connection: BaseDatabaseWrapper) -> Iterator[BaseDatabaseWrapper]:
    """The connection, or a second one while this has a transaction open."""
    if connection.get_autocommit():
        yield connection
        return
    second = connection.copy()
    try:
        yield second
    finally:
        second.close()
