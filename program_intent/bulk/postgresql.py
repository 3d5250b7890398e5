"""PostgreSQL: the rows as one array per column, which needs no temporary table; COPY for those that are all new."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from itertools import chain
from operator import itemgetter
from traceback import clear_frames

from django.db import IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from program_intent.bulk import sql
from program_intent.bulk.sql import (
    NO_USER,
    Prepared,
    Spelled,
    execute_insert,
    learner_type,
    names_of,
    speller,
)

__all__ = ["CHUNK", "count_inserted", "insert", "prepare", "speller", "stored", "unknown"]

CHUNK = 10_000
_ROWS = """unnest(%s::{learner_type}[], %s::uuid[], %s::varchar[], %s::varchar[], %s::timestamptz[]) WITH ORDINALITY
AS s (learner_id, program_uuid, reason, certainty, effective_timestamp, position)"""
_ON_CONFLICT = "ON CONFLICT DO NOTHING"
_COPY = "COPY {table} (learner_id, program_uuid, reason, certainty, effective_timestamp, created) FROM STDIN"
_NO_USERS = f"""SELECT s.position FROM unnest(%s::{{learner_type}}[]) WITH ORDINALITY AS s (learner_id, position)
WHERE {NO_USER}"""
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def prepare(rows: Sequence[Spelled], connection: BaseDatabaseWrapper, *, all_new: bool = False) -> Prepared:
    if all_new:
        return Prepared(_COPY, (_lines(rows),), rows, all_new)
    learners, programs, reasons, certainties, times = zip(*rows, strict=True)
    params = (
        _array(learners),
        f"{{{','.join(programs)}}}",
        '{"' + '","'.join(reasons) + '"}',  # quoted, because NULL is a reason too
        f"{{{','.join(certainties)}}}",
        '{"' + '+00","'.join(times) + '+00"}',
    )
    return Prepared(_ROWS.format(learner_type=_unlimited_learner_type(connection)), params, rows, all_new)


def _as_arrays(connection: BaseDatabaseWrapper, prepared: Prepared) -> Prepared:
    return prepare(prepared.rows, connection) if prepared.all_new else prepared


def _unlimited_learner_type(connection: BaseDatabaseWrapper) -> str:
    """Without its length, to which a cast would cut a longer key: it would then name another user."""
    return learner_type(connection).partition("(")[0]


def _array(column: Sequence[int | str]) -> str:
    """The keys in PostgreSQL's own notation of an array; those of a host's own making may hold anything."""
    spell = str if type(column[0]) is int else _quoted
    return f"{{{','.join(map(spell, column))}}}"


def _quoted(key: object) -> str:
    escaped = str(key).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def insert(connection: BaseDatabaseWrapper, prepared: Prepared, created: datetime) -> set[int]:
    with connection.cursor() as cursor:
        execute_insert(connection, cursor, prepared, created, on_conflict=f"{_ON_CONFLICT} RETURNING id")
        return {key for (key,) in cursor.fetchall()}


def stored(connection: BaseDatabaseWrapper, prepared: Prepared) -> list[tuple[int, int, datetime]]:
    return sql.stored(connection, _as_arrays(connection, prepared))


def unknown(connection: BaseDatabaseWrapper, prepared: Prepared) -> set[int]:
    return sql.unknown(connection, _as_arrays(connection, prepared))


def count_inserted(connection: BaseDatabaseWrapper, prepared: Prepared, created: datetime) -> tuple[int, set[int]]:
    """COPY if all is said to be new. Else, and where a row is there after all, insert what a look-up finds missing."""
    if prepared.all_new and (copied := _copied(connection, prepared, created)) is not None:
        all_in = copied == len(prepared.rows)
        return copied, set() if all_in else sql.missing(connection, _as_arrays(connection, prepared))
    prepared = _as_arrays(connection, prepared)
    missing = sorted(sql.missing(connection, prepared))
    if not missing:
        return 0, set()
    prepared = prepare([prepared.rows[position] for position in missing], connection)
    new = _inserted(connection, prepared, created)
    refused = sql.missing(connection, prepared) if new < len(missing) else set()
    return new, {missing[position] for position in refused}


def _inserted(connection: BaseDatabaseWrapper, prepared: Prepared, created: datetime) -> int:
    """How many rows were inserted; plainly, because ON CONFLICT inserts speculatively and takes 1.5 times as long.

    Where another writer was faster, that is undone and done again so.
    """
    with connection.cursor() as cursor:
        with suppress(IntegrityError), transaction.atomic(using=connection.alias):
            execute_insert(connection, cursor, prepared, created)
            return int(cursor.rowcount)
        execute_insert(connection, cursor, prepared, created, on_conflict=_ON_CONFLICT)
        return int(cursor.rowcount)


def _copied(connection: BaseDatabaseWrapper, prepared: Prepared, created: datetime) -> int | None:
    """How many rows were copied; None if one of them is there already, or if the driver is psycopg2."""
    names, rows, (lines,) = names_of(connection), prepared.rows, prepared.params
    learners = list(dict.fromkeys(map(itemgetter(0), rows)))
    no_users = _NO_USERS.format(**names, learner_type=_unlimited_learner_type(connection))
    try:
        with connection.cursor() as cursor, transaction.atomic(using=connection.alias):
            if not hasattr(cursor, "copy"):
                return None
            cursor.execute(no_users, [_array(learners)])
            if nobody := {learners[position - 1] for (position,) in cursor.fetchall()}:
                rows = [row for row in rows if row[0] not in nobody]
                lines = _lines(rows)
            with connection.wrap_database_errors, cursor.copy(prepared.sql.format(**names)) as copy:
                copy.write(lines.replace("\n", f"\t{created}\n"))
            return len(rows)
    except IntegrityError as error:
        clear_frames(error.__traceback__)  # which hold the text in a cycle, while no garbage is collected
        return None


def _lines(rows: Sequence[Spelled]) -> str:
    """The rows as COPY takes them, but for the last column."""
    if rows and type(rows[0][0]) is not int:
        rows = [(str(row[0]).translate(_ESCAPES), *row[1:]) for row in rows]
    return "%s\t%s\t%s\t%s\t%s+00\n" * len(rows) % tuple(chain.from_iterable(rows))
