"""MariaDB and MySQL: the rows as one JSON text, or as VALUES; duplicates met by an update that changes nothing.

Never INSERT IGNORE, which truncates and nulls silently. Django connects with FOUND_ROWS, so the count of affected rows
is the same for a new row and a duplicate: a variable of the session collects the duplicates instead.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from typing import Any

from django.db import IntegrityError
from django.db.backends.base.base import BaseDatabaseWrapper

from program_intent.bulk.sql import (
    UNLESS_STORED,
    Prepared,
    Spelled,
    execute_insert,
    learner_type,
    names_of,
    speller,
    stored,
    unknown,
)

__all__ = ["CHUNK", "count_inserted", "insert", "prepare", "speller", "stored", "unknown"]

CHUNK = 10_000
# Two columns of different collations do not compare, unless one is ASCII; literals (ELT) compare with any column.
_ROWS = """(
SELECT position, {learner} AS learner_id, program_uuid, reason, certainty, effective_timestamp
FROM JSON_TABLE(%s, '$[*]' COLUMNS (
position FOR ORDINALITY, learner_id {learner_type} PATH '$[0]', program_uuid CHAR(36) CHARACTER SET ascii PATH '$[1]',
reason VARCHAR(64) CHARACTER SET ascii PATH '$[2]', certainty VARCHAR(11) CHARACTER SET ascii PATH '$[3]',
effective_timestamp DATETIME(6) PATH '$[4]')) j
) s"""
# The column is not the auto-increment one: `id = id` lost committed rows under concurrency, `reason = reason` none.
_INSERT_VALUES = """
INSERT INTO {table} (learner_id, program_uuid, reason, certainty, effective_timestamp, created)
VALUES {values}
ON DUPLICATE KEY UPDATE reason = IF((@program_intent_duplicates := {collected}) IS NULL, {table}.reason, {table}.reason)
"""
# What the variable is at first, and what each duplicate makes of it.
_LISTED = ("", "CONCAT(@program_intent_duplicates, {table}.id, ',')")
_COUNTED = (0, "@program_intent_duplicates + 1")
_DUPLICATES = "SELECT @program_intent_duplicates"
_HAS_USER = "SELECT s.position, u.{user_key} IS NOT NULL FROM {rows} LEFT JOIN {users} ON {is_learner} {clause}"


def prepare(rows: Sequence[Spelled], connection: BaseDatabaseWrapper, *, all_new: bool = False) -> Prepared:
    if isinstance(rows[0][0], int):
        sql = _ROWS.format(learner="learner_id", learner_type=learner_type(connection))
        return Prepared(sql, (json.dumps(rows),), rows, all_new)
    numbers = {key: number for number, key in enumerate(dict.fromkeys(key for key, *_ in rows), start=1)}
    sql = _ROWS.format(learner=f"ELT(learner_id, {', '.join(['%s'] * len(numbers))})", learner_type="INT")
    numbered = [(numbers[key], *values) for key, *values in rows]
    return Prepared(sql, (*numbers, json.dumps(numbered)), rows, all_new)


def insert(connection: BaseDatabaseWrapper, prepared: Prepared, created: datetime) -> set[int]:
    if len(prepared.rows) == 1:
        return _insert_one(connection, prepared, created)
    # A snapshot that the caller took long ago would not see who signed up or was deleted since.
    is_current = getattr(connection, "isolation_level", None) == "read committed"
    _, _, listed = _insert_values(connection, prepared, created, _LISTED, "" if is_current else "LOCK IN SHARE MODE")
    # A row may be stored, not listed and not ours: an orphan, passed over because its learner is no user.
    ours = {key for _, key, written in stored(connection, prepared) if written == created}
    return ours - set(map(int, listed.split(",")[:-1]))


def _insert_one(connection: BaseDatabaseWrapper, prepared: Prepared, created: datetime) -> set[int]:
    """In one statement; a duplicate undoes that statement alone, also inside the caller's transaction."""
    with connection.cursor() as cursor:
        try:
            execute_insert(connection, cursor, prepared, created)
        except IntegrityError:
            return set()
        return {int(cursor.lastrowid)} if cursor.rowcount else set()


def count_inserted(connection: BaseDatabaseWrapper, prepared: Prepared, created: datetime) -> tuple[int, set[int]]:
    """What is stored already is looked up first, unless all is said to be new: half the time of meeting it.

    Not so by ``insert``, which then reads with locks: those of rows left out here came out of order, and deadlocked.
    """
    clause = "" if prepared.all_new else UNLESS_STORED
    refused, affected, duplicates = _insert_values(connection, prepared, created, _COUNTED, clause)
    if refused and prepared.all_new:
        refused -= {position for position, _, _ in stored(connection, prepared)}
    return affected - int(duplicates), refused


def _insert_values(
    connection: BaseDatabaseWrapper, prepared: Prepared, created: datetime, collected: tuple[Any, str], clause: str
) -> tuple[set[int], int, Any]:
    """The positions of the rows without a user, how many others were met, and what was collected of duplicates.

    By VALUES, because INSERT ... SELECT locks the counter of keys to its end, and every other insert waits for it; with
    innodb_autoinc_lock_mode = 2, where it does not, MariaDB loses rows. So who is a user is looked up first. Never a
    plain insert: one that fails keeps its locks, and writers wait for each other.
    """
    names, (duplicates, collect) = names_of(connection), collected
    affected = 0
    with connection.cursor() as cursor:
        cursor.execute(_HAS_USER.format(**names, rows=prepared.sql, clause=clause.format(**names)), prepared.params)
        has_user = dict(sorted(cursor.fetchall()))
        if rows := [prepared.rows[position - 1] for position, found in has_user.items() if found]:
            values, keys = _values(rows, connection.ops.adapt_datetimefield_value(created))
            cursor.execute("SET @program_intent_duplicates = %s", [duplicates])
            cursor.execute(_INSERT_VALUES.format(**names, values=values, collected=collect.format(**names)), keys)
            affected = cursor.rowcount
            cursor.execute(_DUPLICATES)
            (duplicates,) = cursor.fetchone()
    return {position - 1 for position, found in has_user.items() if not found}, affected, duplicates


def _values(rows: Sequence[Spelled], created: Any) -> tuple[str, list[str] | None]:
    """What was judged needs no escaping, but for a learner's key that is a text: that is a parameter."""
    keys = [key for key, *_ in rows if isinstance(key, str)]
    cells = (("%s", *row[1:]) for row in rows) if keys else rows
    values = ",".join([f"(%s,'%s','%s','%s','%s','{created}')"] * len(rows))
    return values % tuple(chain.from_iterable(cells)), keys or None
