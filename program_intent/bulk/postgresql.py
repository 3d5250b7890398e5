"""PostgreSQL: the rows as one array per column, which needs no temporary table and no COPY."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from program_intent.bulk.sql import (
    NOT_STORED,
    Prepared,
    Spelled,
    execute_insert,
    learner_type,
    speller,
    stored,
    unknown,
)

__all__ = ["count_inserted", "insert", "prepare", "speller", "stored", "unknown"]

_ROWS = """unnest(%s::{learner_type}[], %s::uuid[], %s::varchar[], %s::varchar[], %s::timestamptz[]) WITH ORDINALITY
AS s (learner_id, program_uuid, reason, certainty, effective_timestamp, position)"""
_ON_CONFLICT = "ON CONFLICT DO NOTHING"


def prepare(rows: Sequence[Spelled], connection: BaseDatabaseWrapper) -> Prepared:
    learners, programs, reasons, certainties, times = zip(*rows, strict=True)
    params = (
        _learners(learners),
        f"{{{','.join(programs)}}}",
        '{"' + '","'.join(reasons) + '"}',  # quoted, because NULL is a reason too
        f"{{{','.join(certainties)}}}",
        '{"' + '+00","'.join(times) + '+00"}',
    )
    # Without its length, to which a cast would cut a longer key: it would then name another user.
    unlimited = learner_type(connection).partition("(")[0]
    return Prepared(_ROWS.format(learner_type=unlimited), params, len(rows))


def _learners(column: Sequence[int | str]) -> str:
    """The keys in PostgreSQL's own notation of an array; those of a host's own making may hold anything."""
    return "{" + ",".join(str(key) if type(key) is int else _quoted(str(key)) for key in column) + "}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def insert(connection: BaseDatabaseWrapper, prepared: Prepared, created: datetime) -> set[int]:
    with connection.cursor() as cursor:
        execute_insert(connection, cursor, prepared, created, on_conflict=f"{_ON_CONFLICT} RETURNING id")
        return {key for (key,) in cursor.fetchall()}


def count_inserted(
    connection: BaseDatabaseWrapper, prepared: Prepared, created: datetime, *, all_new: bool = False
) -> int:
    """Insert plainly, 1.5 times as fast as ON CONFLICT, which inserts speculatively.

    What is there is looked up first, unless all is said to be new. Where a row is there after all, that is undone and
    done again: with the look-up, and where another writer got in between that and the insert, with ON CONFLICT.
    """
    for where in ("", NOT_STORED) if all_new else (NOT_STORED,):
        with connection.cursor() as cursor, suppress(IntegrityError), transaction.atomic(using=connection.alias):
            execute_insert(connection, cursor, prepared, created, where=where)
            return int(cursor.rowcount)
    with connection.cursor() as cursor:
        execute_insert(connection, cursor, prepared, created, on_conflict=_ON_CONFLICT)
        return int(cursor.rowcount)
