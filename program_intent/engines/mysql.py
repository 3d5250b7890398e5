"""MariaDB and MySQL: the rows as one JSON text, or as VALUES; duplicates met by an update that changes nothing.

Never INSERT IGNORE, which truncates and nulls silently. Django connects with FOUND_ROWS, so the count of affected rows
is the same for a new row and a duplicate: a variable of the session collects the duplicates instead.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from django.db import IntegrityError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, QuerySet

from program_intent.data import Intent
from program_intent.engines.character_sets import spells
from program_intent.engines.generic import Prepared, Spelled
from program_intent.engines.reads import Reads
from program_intent.engines.sql import REPLICA, refuse_several_writers
from program_intent.exceptions import ChangesError

# Two columns of different collations do not compare, unless one is ASCII; literals (ELT) compare with any column.
_ROWS = """(
SELECT position, {learner} AS learner_id, program_uuid, reason, certainty, effective_timestamp
FROM JSON_TABLE(%s, '$[*]' COLUMNS (
position FOR ORDINALITY, learner_id {learner_type} PATH '$[0]', program_uuid CHAR(36) CHARACTER SET ascii PATH '$[1]',
reason VARCHAR(64) CHARACTER SET ascii PATH '$[2]', certainty VARCHAR(11) CHARACTER SET ascii PATH '$[3]',
effective_timestamp DATETIME(6) PATH '$[4]')) j
) s"""
_MAY_BE_WRITTEN = "SELECT s.position, {condition} FROM {rows} "
# The column is not the auto-increment one: `id = id` lost committed rows under concurrency, `reason = reason` none.
_INSERT_VALUES = """
INSERT INTO {table} (learner_id, program_uuid, reason, certainty, effective_timestamp, created, run_id)
VALUES {values} ON DUPLICATE KEY UPDATE reason = IF(
(@program_intent_duplicates := CONCAT(@program_intent_duplicates, {table}.id, ',')) IS NULL,
{table}.reason, {table}.reason)"""

# Neither LATERAL nor fast correlated subqueries on MariaDB; it groups the learner's part of the index alone, in order,
# at 0.3 microseconds an entry.
_CANDIDATES = """SELECT {columns}
FROM (SELECT t.program_uuid, t.certainty, MAX(t.effective_timestamp) AS effective_timestamp FROM {table} t
WHERE {is_learner} AND {counted} {among}
GROUP BY t.program_uuid, t.certainty) m
JOIN {table} t ON {is_learner} AND t.program_uuid = m.program_uuid AND t.certainty = m.certainty
AND t.effective_timestamp = m.effective_timestamp {known}"""

# Rows not yet committed are met when the page is read. What remains is a statement that has taken a key and not yet
# stored the row. Split, because the text of this query is in the list that another follower reads.
_WRITERS = """
SELECT {name} FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID()
AND (DB = DATABASE() AND INFO LIKE CONCAT('%%in', 'to%%') AND LOCATE(%s, INFO) OR COMMAND = 'Busy')
"""
# A variable that a server does not have is an error where it is selected, and left out where it is shown.
_SERVER = """
SHOW VARIABLES
WHERE Variable_name IN ('version', 'version_comment', 'wsrep_on', 'group_replication_single_primary_mode')
"""
# read_only is a number, or as of MariaDB 12 a word.
_NEWEST = """
SELECT coalesce(max(id), 0), CAST(@@global.read_only AS CHAR) NOT IN ('0', 'OFF') FROM {table}
"""
# By the primary key, because a row that waits for a lock on the unique index is not yet in any other.
_KEYS = """
SELECT id FROM {table} FORCE INDEX (PRIMARY) WHERE id > %(last)s AND id <= %(fence)s {known} ORDER BY id LIMIT %(limit)s
"""
_CHARACTER_SETS = """
SELECT @@character_set_client, CHARSET((SELECT {column} FROM {table} WHERE FALSE)),
COLLATION((SELECT {column} FROM {table} WHERE FALSE))
"""
_UP_TO_FFFF = ("utf8", "utf8mb3", "ucs2")
# What Python calls otherwise.
_CODECS = {"latin1": "cp1252", "koi8r": "koi8_r", "koi8u": "koi8_u"}
# Control characters that a column holds, and no driver sends, because cp1252 has nothing there.
_MORE_IN_LATIN1 = dict.fromkeys(b"\x81\x8d\x8f\x90\x9d")
# Bytes of a statement at most: its text without the values, what is around a value, what is around a row as VALUES and
# not as JSON, and a character that is escaped or of UTF-8's longest.
_AROUND, _PER_VALUE, _PER_ROW, _PER_CHARACTER = 4096, 4, 48, 4
_LARGEST = "SELECT @@max_allowed_packet"
# net_buffer_length, with which every connection begins: none needs to be asked.
_TAKEN_BY_ALL = 16_384
# Of each of the driver's connections, by question.
_TOLD: WeakKeyDictionary[Any, dict[str, list[tuple[Any, ...]]]] = WeakKeyDictionary()


class MySQL(Reads):
    CODE_POINTS = "utf8mb4_bin"
    QUOTE = "`"
    # A column and a parameter may be of two character sets.
    EXACT = "CAST(CONVERT({} USING utf8mb4) AS BINARY)"
    # Deadlock, deadlock over the counter of primary keys ("Failed to read auto-increment value"), record changed since
    # the last read.
    TRANSIENT = frozenset({1213, 1467, 1020})
    # A locking scan would wait for what others are writing: 190 deadlocks in 160 overlapping batches, and none so.
    STORED = "STRAIGHT_JOIN {table} t FORCE INDEX (program_intent_once) ON {is_same}"
    # A row met by our insert may be newer than the snapshot of the caller's REPEATABLE READ transaction.
    LOCK = "LOCK IN SHARE MODE"
    TIME_AS_TEXT = "CAST({} AS CHAR)"
    AMONG = "{} IN {}"
    OF_ALL = OF_GIVEN = _CANDIDATES
    LATEST = "MAX(CASE t.certainty WHEN '{}' THEN t.effective_timestamp END)"
    BY_INDEX = "FORCE INDEX (program_intent_program)"
    # A thread has its name for all its statements: at worst a follower waits for a later one too.
    WRITER = "ID"

    def can_spell(self, field: "Field[Any, Any]", text: str) -> bool:
        of_connection, of_column, _ = self.character_sets(field)
        stored = text.translate(_MORE_IN_LATIN1) if of_column == "latin1" else text
        return super().can_spell(field, text) and _spells(text, of_connection) and _spells(stored, of_column)

    def character_sets(self, field: "Field[Any, Any]") -> tuple[str, str, str]:
        """Those of the connection and of the field's column, and the column's collation."""
        names = {"table": self.quoted(field.model._meta.db_table), "column": self.quoted(str(field.column))}
        ((of_connection, of_column, collation),) = self._told(_CHARACTER_SETS.format(**names))
        return of_connection, of_column, collation

    def _told(self, question: str) -> list[tuple[Any, ...]]:
        """What the server answers, asked once per connection."""
        self.connection.ensure_connection()
        told = _TOLD.setdefault(self.connection.connection, {})
        if question not in told:
            told[question] = self.fetch(question)
        return told[question]

    def prepare(self, rows: Sequence[Spelled], *, all_new: bool = False) -> Prepared:
        if isinstance(rows[0][0], int):
            sql = _ROWS.format(learner="learner_id", learner_type=self.learner_type())
            return Prepared(rows, sql, (json.dumps(rows),), all_new)
        numbers = {key: number for number, key in enumerate(dict.fromkeys(key for key, *_ in rows), start=1)}
        sql = _ROWS.format(learner=f"ELT(learner_id, {', '.join(['%s'] * len(numbers))})", learner_type="INT")
        numbered = [(numbers[key], *values) for key, *values in rows]
        return Prepared(rows, sql, (*numbers, json.dumps(numbered)), all_new)

    def parts(self, prepared: Prepared) -> Iterator[tuple[int, Prepared]]:
        half = len(prepared.rows) // 2
        if not half or self._fits(_size(prepared)):
            yield 0, prepared
            return
        for start, rows in ((0, prepared.rows[:half]), (half, prepared.rows[half:])):
            for position, part in self.parts(self.prepare(rows, all_new=prepared.all_new)):
                yield start + position, part

    def of_learners(
        self, learners: Collection[Any], programs: list[UUID] | None, *, as_of: datetime, known_at: datetime | None
    ) -> list[Intent]:
        read = partial(super().of_learners, programs=programs, as_of=as_of, known_at=known_at)
        return list(chain.from_iterable(map(read, self._lists(list(learners)))))

    def rows_having(self, rows: "QuerySet[Any, Any]", field: str, values: list[Any]) -> Iterable["QuerySet[Any, Any]"]:
        return chain.from_iterable(map(partial(super().rows_having, rows, field), self._lists(values)))

    def _lists(self, values: list[Any]) -> Iterator[list[Any]]:
        """The values in lists that a statement has room for."""
        half = len(values) // 2
        if not half or self._fits(_AROUND + sum(_PER_VALUE + _PER_CHARACTER * len(str(value)) for value in values)):
            yield values
            return
        yield from self._lists(values[:half])
        yield from self._lists(values[half:])

    def _fits(self, size: int) -> bool:
        return size <= _TAKEN_BY_ALL or size <= self._told(_LARGEST)[0][0]

    def insert(self, prepared: Prepared, created: datetime) -> set[int]:
        if len(prepared.rows) == 1:
            return self._insert_alone(prepared, created)
        # A snapshot that the caller took long ago would not see who signed up or was deleted since.
        is_current = getattr(self.connection, "isolation_level", None) == "read committed"
        rows, _ = self._writable(prepared, locking="" if is_current else self.LOCK)
        duplicates = self._insert_values(rows, created)
        # A row may be stored, no duplicate and not ours: an orphan, passed over because its learner is no user.
        return {key for _, key, written in self.stored(prepared) if written == created} - duplicates

    def _insert_alone(self, prepared: Prepared, created: datetime) -> set[int]:
        """In one statement; a duplicate undoes that statement alone, also inside the caller's transaction."""
        with self.connection.cursor() as cursor:
            try:
                self.execute_insert(cursor, prepared, created)
            except IntegrityError:
                return set()
            return {int(cursor.lastrowid)} if cursor.rowcount else set()

    def count_inserted(self, prepared: Prepared, created: datetime, run: int | None = None) -> tuple[int, set[int]]:
        """What is stored already is looked up first, unless all is said to be new: half the time of meeting it.

        Not so by ``insert``, which then reads with locks: those of rows left out here came out of order and deadlocked.
        """
        rows, refused = self._writable(prepared, where="" if prepared.all_new else "WHERE {is_missing}")
        new = len(rows) - len(self._insert_values(rows, created, run))
        if refused and prepared.all_new:
            refused -= {position for position, _, _ in self.stored(prepared)}
        return new, refused

    def _writable(self, prepared: Prepared, *, where: str = "", locking: str = "") -> tuple[list[Spelled], set[int]]:
        """The rows that may be written, in order, and the positions of the others."""
        condition = self.may_be_written(self.model, locking)
        text = self.text(_MAY_BE_WRITTEN + where, rows=prepared.sql, condition=condition)
        found = dict(sorted(self.fetch(text, prepared.params)))
        rows = [prepared.rows[position - 1] for position, may in found.items() if may]
        return rows, {position - 1 for position, may in found.items() if not may}

    def _insert_values(self, rows: Sequence[Spelled], created: datetime, run: int | None = None) -> set[int]:
        """The primary keys of those that were there; by VALUES.

        INSERT ... SELECT locks the counter of keys to its end, and every other insert waits for it; with
        innodb_autoinc_lock_mode = 2, where it does not, MariaDB loses rows. Never a plain insert: one that fails keeps
        its locks, and writers wait for each other. What was judged needs no escaping, but for a learner's key that is a
        text.
        """
        if not rows:
            return set()
        keys = [key for key, *_ in rows if isinstance(key, str)]
        cells = (("%s", *row[1:]) for row in rows) if keys else rows
        written = self.connection.ops.adapt_datetimefield_value(created)
        row = f"(%s,'%s','%s','%s','%s','{written}',{'NULL' if run is None else run})"
        values = ",".join([row] * len(rows)) % tuple(chain.from_iterable(cells))
        with self.connection.cursor() as cursor:
            cursor.execute("SET @program_intent_duplicates = ''")
            cursor.execute(_INSERT_VALUES.format(**self.names_of(self.model), values=values), keys or None)
            cursor.execute("SELECT @program_intent_duplicates")
            (duplicates,) = cursor.fetchone()
        return set(map(int, duplicates.split(",")[:-1]))

    def newest_and_writers(self) -> tuple[int, frozenset[str]]:
        server = dict(self.fetch(_SERVER))
        is_galera = server.get("wsrep_on") == "ON"
        has_primaries = server.get("group_replication_single_primary_mode") == "OFF"
        cluster = "a Galera cluster" if is_galera else "Group Replication with several primaries" * has_primaries
        refuse_several_writers(f"{server['version']} {server['version_comment']}", cluster)
        ((newest, takes_no_writes),) = self.fetch(self.text(_NEWEST))
        if takes_no_writes:
            raise ChangesError(REPLICA)
        table = self.model._meta.db_table.strip(self.QUOTE)
        writers = self.fetch(_WRITERS.format(name=self.WRITER), [table])
        return newest, frozenset(str(name) for (name,) in writers)

    def keys_with_uncommitted(
        self, last: int, fence: int, *, known_at: datetime | None, limit: int
    ) -> list[int] | None:
        given: dict[str, Any] = {"last": last, "fence": fence, "limit": limit}
        if known_at is not None:
            given["known_at"] = self.connection.ops.adapt_datetimefield_value(known_at)
        text = self.text(_KEYS, known="" if known_at is None else "AND created <= %(known_at)s")
        with _outside_transactions(self.connection) as outside, outside.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")  # for the next statement alone
            cursor.execute(text, given)
            return [key for (key,) in cursor.fetchall()]


def _size(prepared: Prepared) -> int:
    """The bytes of the longest statement about the rows, or a few more."""
    keys = () if isinstance(prepared.rows[0][0], int) else (key for key, *_ in prepared.rows)
    return _AROUND + len(prepared.params[-1]) + _PER_ROW * len(prepared.rows) + _PER_CHARACTER * sum(map(len, keys))


def _spells(text: str, character_set: str) -> bool:
    if character_set in _UP_TO_FFFF:
        return max(text, default="") <= "\uffff"
    return spells(text, _CODECS.get(character_set, character_set))


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
