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
from django.db.backends.utils import CursorWrapper

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
_ON_CONFLICT = """ON DUPLICATE KEY UPDATE reason = IF(
(@program_intent_duplicates := {collected}) IS NULL, {{table}}.reason, {{table}}.reason)"""
_LISTED = _ON_CONFLICT.format(collected="CONCAT(@program_intent_duplicates, {table}.id, ',')")
_COUNTED = _ON_CONFLICT.format(collected="@program_intent_duplicates + 1")
_DUPLICATES = "SELECT @program_intent_duplicates"
_HAS_USER = "SELECT s.position, u.{user_key} IS NOT NULL FROM {rows} LEFT JOIN {users} ON {is_learner} {where}"
_INSERT_VALUES = f"""
INSERT INTO {{table}} (learner_id, program_uuid, reason, certainty, effective_timestamp, created)
VALUES {{values}} {_COUNTED}"""


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
        cursor.execute("SET @program_intent_duplicates = ''")
        execute_insert(connection, cursor, prepared, created, on_conflict=_LISTED)
        cursor.execute(_DUPLICATES)
        (listed,) = cursor.fetchone()
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
    """By VALUES, because INSERT ... SELECT locks the counter of keys to its end, and every other insert waits for it.

    So whose learner is a user is looked up first, and what is stored already too, unless all is said to be new: that
    takes half the time of meeting it while inserting. Never a plain insert: one that fails keeps its locks, and writers
    wait for each other.
    """
    names = names_of(connection)
    where = "" if prepared.all_new else UNLESS_STORED.format(**names)
    with connection.cursor() as cursor:
        cursor.execute(_HAS_USER.format(**names, rows=prepared.sql, where=where), prepared.params)
        has_user = dict(sorted(cursor.fetchall()))
        rows = [prepared.rows[position - 1] for position, found in has_user.items() if found]
        new = _insert_values(cursor, rows, connection.ops.adapt_datetimefield_value(created), names) if rows else 0
    refused = {position - 1 for position, found in has_user.items() if not found}
    if refused and prepared.all_new:
        refused -= {position for position, _, _ in stored(connection, prepared)}
    return new, refused


def _insert_values(cursor: CursorWrapper, rows: Sequence[Spelled], created: Any, names: dict[str, str]) -> int:
    """How many of the rows were new; what was judged needs no escaping, but for a learner's key that is a text."""
    keys = [key for key, *_ in rows if isinstance(key, str)]
    cells = (("%s", *row[1:]) for row in rows) if keys else rows
    values = ",".join([f"(%s,'%s','%s','%s','%s','{created}')"] * len(rows)) % tuple(chain.from_iterable(cells))
    cursor.execute("SET @program_intent_duplicates = 0")
    cursor.execute(_INSERT_VALUES.format(**names, values=values), keys or None)
    affected = cursor.rowcount
    cursor.execute(_DUPLICATES)
    (duplicates,) = cursor.fetchone()
    return int(affected - duplicates)
