"""PostgreSQL: the rows as one array per column, which needs no temporary table and no COPY."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from program_intent.bulk.sql import (
    NOT_STORED,
    Prepared,
    database_values,
    execute_insert,
    learner_type,
    stored,
    unknown,
)
from program_intent.validation import NewIntent

__all__ = ["count_inserted", "insert", "prepare", "stored", "unknown"]

_ROWS = """unnest(%s::{learner_type}[], %s::uuid[], %s::varchar[], %s::varchar[], %s::timestamptz[]) WITH ORDINALITY
AS s (learner_id, program_uuid, reason, certainty, effective_timestamp, position)"""
_ON_CONFLICT = "ON CONFLICT DO NOTHING"


def prepare(rows: Sequence[NewIntent], connection: BaseDatabaseWrapper) -> Prepared:
    columns = zip(*database_values(rows, connection), strict=True)
    return Prepared(_ROWS.format(learner_type=learner_type(connection)), tuple(map(_array, columns)), len(rows))


def _array(column: Sequence[Any]) -> str:
    """An array in PostgreSQL's own notation."""
    quoted = (value if type(value) is int else _quote(value) for value in column)
    return f"{{{','.join(map(str, quoted))}}}"


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def insert(connection: BaseDatabaseWrapper, prepared: Prepared, created: datetime) -> set[int]:
    with connection.cursor() as cursor:
        execute_insert(connection, cursor, prepared, created, on_conflict=f"{_ON_CONFLICT} RETURNING id")
        return {key for (key,) in cursor.fetchall()}


def count_inserted(connection: BaseDatabaseWrapper, prepared: Prepared, created: datetime) -> int:
    """Look up what is there, then insert plainly: 1.5 times as fast as ON CONFLICT, which inserts speculatively.

    Only where another writer got in between is the batch done again with ON CONFLICT.
    """
    with connection.cursor() as cursor:
        try:
            with transaction.atomic(using=connection.alias):
                execute_insert(connection, cursor, prepared, created, where=NOT_STORED)
        except IntegrityError:
            execute_insert(connection, cursor, prepared, created, on_conflict=_ON_CONFLICT)
        return int(cursor.rowcount)
