"""MariaDB and MySQL: the rows as one JSON text, duplicates met by an update that changes nothing.

Never INSERT IGNORE, which truncates and nulls silently. Django connects with FOUND_ROWS, so the count of affected rows
is the same for a new row and a duplicate: a variable of the session collects the duplicates instead.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import IntegrityError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from program_intent.bulk.sql import (
    UNLESS_STORED,
    Prepared,
    Spelled,
    execute_insert,
    learner_type,
    speller,
    stored,
    unknown,
)

__all__ = ["CHUNK", "count_inserted", "insert", "prepare", "speller", "stored", "unknown"]

# INSERT ... SELECT holds the lock of the auto-increment counter, for which every other insert waits, to its end: with
# 20,000 rows single intents waited up to 0.6 s, and a load took 0.93 of the time.
CHUNK = 2_000
# Two columns of different collations do not compare, unless one is ASCII; literals (ELT) compare with any column.
_ROWS = """(
SELECT position, {learner} AS learner_id, program_uuid, reason, certainty, effective_timestamp
FROM JSON_TABLE(%s, '$[*]' COLUMNS (
position FOR ORDINALITY, learner_id {learner_type} PATH '$[0]', program_uuid CHAR(36) CHARACTER SET ascii PATH '$[1]',
reason VARCHAR(64) CHARACTER SET ascii PATH '$[2]', certainty VARCHAR(11) CHARACTER SET ascii PATH '$[3]',
effective_timestamp DATETIME(6) PATH '$[4]')) j
) s"""
# The column is not the auto-increment one: `id = id` lost committed rows under concurrency, `reason = reason` none.
_ON_CONFLICT = """ON DUPLICATE KEY UPDATE reason = IF(
(@program_intent_duplicates := {collected}) IS NULL, {{table}}.reason, {{table}}.reason)"""
_COUNTED = _ON_CONFLICT.format(collected="@program_intent_duplicates + 1")
_LISTED = _ON_CONFLICT.format(collected="CONCAT(@program_intent_duplicates, {table}.id, ',')")


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
    with connection.cursor() as cursor:
        listed, _ = _insert(connection, cursor, prepared, created, _LISTED, "")
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


def count_inserted(connection: BaseDatabaseWrapper, prepared: Prepared, created: datetime) -> int:
    """Never a plain insert: one that fails keeps its locks, and writers wait for each other.

    Unless all is said to be new, what is there is looked up first, in half the time of meeting it while inserting.
    """
    where = "" if prepared.all_new else UNLESS_STORED
    with connection.cursor() as cursor:
        duplicates, affected = _insert(connection, cursor, prepared, created, _COUNTED, 0, where)
    return affected - int(duplicates)


def _insert(
    connection: BaseDatabaseWrapper,
    cursor: CursorWrapper,
    prepared: Prepared,
    created: datetime,
    on_conflict: str,
    nothing: str | int,
    where: str = "",
) -> tuple[Any, int]:
    cursor.execute("SET @program_intent_duplicates = %s", [nothing])
    execute_insert(connection, cursor, prepared, created, where=where, on_conflict=on_conflict)
    affected = cursor.rowcount
    cursor.execute("SELECT @program_intent_duplicates")
    return cursor.fetchone()[0], affected
