"""What the vendors share: the statements around a vendor's expression for the rows, a table ``s``.

``s`` has the columns position (from 1), learner_id, program_uuid, reason, certainty, effective_timestamp.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.models import CharField, TextField
from django.utils import timezone

from program_intent.models import ProgramIntent
from program_intent.validation import NewIntent

# Sorted as the unique index is: neighbouring rows go to the same page, and overlapping batches lock in one order.
_INSERT = """
INSERT INTO {table} (learner_id, program_uuid, reason, certainty, effective_timestamp, created)
SELECT s.learner_id, s.program_uuid, s.reason, s.certainty, s.effective_timestamp, %s
FROM {rows} JOIN {users} ON {is_learner} {where}
ORDER BY s.learner_id, s.program_uuid, s.certainty, s.effective_timestamp, s.reason
{on_conflict}
"""
_STORED = "SELECT s.position, t.id, t.created FROM {rows} JOIN {table} t ON {is_same} {lock}"
_UNKNOWN = """
SELECT s.position FROM {rows} LEFT JOIN {users} ON {is_learner} LEFT JOIN {table} t ON {is_same}
WHERE u.{key} IS NULL AND t.id IS NULL
"""
NOT_STORED = "WHERE NOT EXISTS (SELECT 1 FROM {table} t WHERE {is_same})"


class Prepared(NamedTuple):
    """The rows as a table expression and its parameters."""

    sql: str
    params: tuple[Any, ...]
    size: int


def exact(vendor: str, text: str) -> str:
    """The SQL text, compared and sorted by code point whatever its collation."""
    return {
        "postgresql": '({})::text COLLATE "C"',
        "sqlite": "{} COLLATE BINARY",
        "mysql": "CAST({} AS BINARY)",
    }[vendor].format(text)


def database_values(rows: Sequence[NewIntent], connection: BaseDatabaseWrapper) -> list[list[Any]]:
    """The rows as texts and numbers, exactly as Django would write each value to this database.

    SQLite compares texts, so a time in any other spelling would slip past the unique key.
    """
    learner = ProgramIntent._meta.get_field("learner").target_field
    time = connection.ops.adapt_datetimefield_value
    native_uuid = connection.features.has_native_uuid_field
    return [
        [
            row[0] if type(row[0]) is int else _text(learner.get_db_prep_value(row[0], connection)),
            str(row[1]) if native_uuid else row[1].hex,
            row[2],
            row[3].value,
            str(time(row[4])),
        ]
        for row in rows
    ]


def _text(value: Any) -> Any:
    return value if isinstance(value, int | str) else str(value)


def learner_type(connection: BaseDatabaseWrapper) -> str:
    """The column type of the learner's key."""
    return str(ProgramIntent._meta.get_field("learner").db_type(connection))


def execute_insert(
    connection: BaseDatabaseWrapper,
    cursor: CursorWrapper,
    prepared: Prepared,
    created: datetime,
    *,
    where: str = "",
    on_conflict: str = "",
) -> None:
    """Insert the rows whose learner exists."""
    names = _names(connection)
    clauses = {"where": where.format(**names), "on_conflict": on_conflict.format(**names)}
    cursor.execute(
        _INSERT.format(**names, **clauses, rows=prepared.sql),
        (connection.ops.adapt_datetimefield_value(created), *prepared.params),
    )


def stored(connection: BaseDatabaseWrapper, prepared: Prepared) -> list[tuple[int, int, datetime]]:
    found = _fetch(connection, _STORED, prepared)
    return [(position - 1, key, _aware(connection, created)) for position, key, created in found]


def unknown(connection: BaseDatabaseWrapper, prepared: Prepared) -> set[int]:
    return {position - 1 for (position,) in _fetch(connection, _UNKNOWN, prepared)}


def _fetch(connection: BaseDatabaseWrapper, sql: str, prepared: Prepared) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql.format(**_names(connection), rows=prepared.sql), prepared.params)
        return list(cursor.fetchall())


def _aware(connection: BaseDatabaseWrapper, value: datetime) -> datetime:
    if timezone.is_naive(value):
        value = timezone.make_aware(value, connection.timezone)
    return value.astimezone(UTC)


def _names(connection: BaseDatabaseWrapper) -> dict[str, str]:
    vendor, quote = connection.vendor, connection.ops.quote_name
    user = get_user_model()._meta
    key = quote(user.pk.column)
    is_learner = f"u.{key} = s.learner_id"
    if isinstance(ProgramIntent._meta.get_field("learner").target_field, CharField | TextField):
        is_learner += f" AND {exact(vendor, f'u.{key}')} = {exact(vendor, 's.learner_id')}"
    # MySQL does not compare two columns of different collations; only the last column of the unique index is concerned.
    reasons = [exact(vendor, f"{table}.reason") if vendor == "mysql" else f"{table}.reason" for table in "ts"]
    columns = ("learner_id", "program_uuid", "certainty", "effective_timestamp")
    return {
        "table": quote(ProgramIntent._meta.db_table),
        "users": f"{quote(user.db_table)} u",
        "key": key,
        "is_learner": is_learner,
        "is_same": " AND ".join([*(f"t.{name} = s.{name}" for name in columns), " = ".join(reasons)]),
        # A row met by our insert may be newer than the snapshot of the caller's REPEATABLE READ transaction.
        "lock": "LOCK IN SHARE MODE" if vendor == "mysql" else "",
    }
