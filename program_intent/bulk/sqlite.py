"""SQLite: the rows as one JSON text; the database reads it without giving Python a turn for each row."""

import json
from collections.abc import Sequence
from datetime import datetime

from django.db.backends.base.base import BaseDatabaseWrapper

from program_intent.bulk.sql import Prepared, Spelled, execute_insert, missing, speller, stored, unknown

__all__ = ["CHUNK", "count_inserted", "insert", "prepare", "speller", "stored", "unknown"]

CHUNK = 10_000
_ROWS = """(
SELECT key + 1 AS position, json_extract(value, '$[0]') AS learner_id, json_extract(value, '$[1]') AS program_uuid,
json_extract(value, '$[2]') AS reason, json_extract(value, '$[3]') AS certainty,
json_extract(value, '$[4]') AS effective_timestamp FROM json_each(%s)
) s"""
# Not INSERT OR IGNORE, which would also pass over a violated CHECK.
_ON_CONFLICT = "ON CONFLICT DO NOTHING"


def prepare(rows: Sequence[Spelled], connection: BaseDatabaseWrapper, *, all_new: bool = False) -> Prepared:
    return Prepared(_ROWS, (json.dumps(rows),), rows, all_new)


def insert(connection: BaseDatabaseWrapper, prepared: Prepared, created: datetime) -> set[int]:
    with connection.cursor() as cursor:
        execute_insert(connection, cursor, prepared, created, on_conflict=f"{_ON_CONFLICT} RETURNING id")
        return {key for (key,) in cursor.fetchall()}


def count_inserted(connection: BaseDatabaseWrapper, prepared: Prepared, created: datetime) -> tuple[int, set[int]]:
    with connection.cursor() as cursor:
        execute_insert(connection, cursor, prepared, created, on_conflict=_ON_CONFLICT)
        new = int(cursor.rowcount)
    return new, missing(connection, prepared) if new < len(prepared.rows) else set()
