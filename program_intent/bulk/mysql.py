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

from program_intent.bulk.sql import Prepared, database_values, execute_insert, learner_type, stored, unknown
from program_intent.validation import NewIntent

__all__ = ["count_inserted", "insert", "prepare", "stored", "unknown"]

# JSON_TABLE has no UUID type on MariaDB. The certainty comes as a number and turns into a literal here, because a
# literal compares with a column of any collation, index and all, and another column does not.
_ROWS = """(
SELECT position, learner_id, program_uuid, reason, effective_timestamp,
ELT(certainty, 'CERTAIN_NO', 'CERTAIN_YES', 'MAYBE') AS certainty
FROM JSON_TABLE(%s, '$[*]' COLUMNS (
position FOR ORDINALITY, learner_id {learner_type} PATH '$[0]', program_uuid CHAR(36) PATH '$[1]',
reason VARCHAR(64) PATH '$[2]', certainty INT PATH '$[3]', effective_timestamp DATETIME(6) PATH '$[4]')) j
) s"""
_CERTAINTIES = {"CERTAIN_NO": 1, "CERTAIN_YES": 2, "MAYBE": 3}
# The column is not the auto-increment one: `id = id` lost committed rows under concurrency, `reason = reason` none.
_ON_CONFLICT = """ON DUPLICATE KEY UPDATE reason = IF(
(@program_intent_duplicates := {collected}) IS NULL, {{table}}.reason, {{table}}.reason)"""
_COUNTED = _ON_CONFLICT.format(collected="@program_intent_duplicates + 1")
_LISTED = _ON_CONFLICT.format(collected="CONCAT(@program_intent_duplicates, {table}.id, ',')")


def prepare(rows: Sequence[NewIntent], connection: BaseDatabaseWrapper) -> Prepared:
    values = database_values(rows, connection)
    for row in values:
        row[3] = _CERTAINTIES[row[3]]
    return Prepared(_ROWS.format(learner_type=learner_type(connection)), (json.dumps(values),), len(rows))


def insert(connection: BaseDatabaseWrapper, prepared: Prepared, created: datetime) -> set[int]:
    if prepared.size == 1:
        return _insert_one(connection, prepared, created)
    with connection.cursor() as cursor:
        listed, _ = _insert(connection, cursor, prepared, created, _LISTED, "")
    return {key for _, key, _ in stored(connection, prepared)} - set(map(int, listed.split(",")[:-1]))


def _insert_one(connection: BaseDatabaseWrapper, prepared: Prepared, created: datetime) -> set[int]:
    """In one statement; a duplicate undoes that statement alone, also inside the caller's transaction."""
    with connection.cursor() as cursor:
        try:
            execute_insert(connection, cursor, prepared, created)
        except IntegrityError:
            return set()
        return {int(cursor.lastrowid)} if cursor.rowcount else set()


def count_inserted(connection: BaseDatabaseWrapper, prepared: Prepared, created: datetime) -> int:
    with connection.cursor() as cursor:
        duplicates, affected = _insert(connection, cursor, prepared, created, _COUNTED, 0)
    return affected - int(duplicates)


def _insert(
    connection: BaseDatabaseWrapper,
    cursor: CursorWrapper,
    prepared: Prepared,
    created: datetime,
    on_conflict: str,
    nothing: str | int,
) -> tuple[Any, int]:
    cursor.execute("SET @program_intent_duplicates = %s", [nothing])
    execute_insert(connection, cursor, prepared, created, on_conflict=on_conflict)
    affected = cursor.rowcount
    cursor.execute("SELECT @program_intent_duplicates")
    return cursor.fetchone()[0], affected
