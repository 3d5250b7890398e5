"""What the vendors share: the statements around a vendor's expression for the rows, a table ``s``.

``s`` has the columns position (from 1), learner_id, program_uuid, reason, certainty, effective_timestamp.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from operator import attrgetter, methodcaller
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.models import CharField, TextField
from django.utils import timezone

from program_intent.models import ProgramIntent
from program_intent.validation import key_field

# In the order of the rows, whatever way the database takes through them.
_INSERT = """
INSERT INTO {table} (learner_id, program_uuid, reason, certainty, effective_timestamp, created)
SELECT s.learner_id, s.program_uuid, s.reason, s.certainty, s.effective_timestamp, %s
FROM {rows} {of_users} {where}
ORDER BY s.position
{on_conflict}
"""
_STORED = "SELECT s.position, t.id, t.created FROM {rows} {join_stored} {lock}"
NO_USER = "NOT EXISTS (SELECT 1 FROM {users} WHERE {is_learner} {probed})"
_NOT_STORED = "NOT EXISTS (SELECT 1 FROM {table} t WHERE {is_same} {probed})"
_UNKNOWN = f"SELECT s.position FROM {{rows}} WHERE {NO_USER} AND {_NOT_STORED}"
UNLESS_STORED = f"WHERE {_NOT_STORED}"
_MISSING = f"SELECT s.position FROM {{rows}} {UNLESS_STORED}"


# Learner, program, reason, certainty and time as texts; a learner may be a number.
Spelled = tuple[int | str, str, str, str, str]


class Prepared(NamedTuple):
    """The rows as a table expression and its parameters, and as they were given."""

    sql: str
    params: tuple[Any, ...]
    rows: Sequence[Spelled]
    all_new: bool


def exact(vendor: str, text: str) -> str:
    """The SQL text, compared and sorted by code point whatever its collation."""
    forms = {"postgresql": '({})::text COLLATE "C"', "sqlite": "{} COLLATE BINARY", "mysql": "CAST({} AS BINARY)"}
    return forms.get(vendor, "{}").format(text)


def speller(connection: BaseDatabaseWrapper) -> Callable[..., Iterator[Spelled]]:
    """Spells rows, given as columns, exactly as Django would write them to this database.

    SQLite compares texts, so a time in any other spelling would slip past the unique key.
    """
    spell_uuid: Callable[[UUID], str] = str if connection.features.has_native_uuid_field else attrgetter("hex")
    adapt_time: Callable[[datetime], Any] = connection.ops.adapt_datetimefield_value
    if connection.features.supports_timezones or connection.timezone is UTC:
        # Rows are in UTC. The same as Django's in a quarter of the time; PostgreSQL is told the zone with the column.
        adapt_time = methodcaller("replace", tzinfo=None)

    def spell_learner(key: Any) -> int | str:
        key = prepared_learner(key, connection)
        return key if isinstance(key, int | str) else str(key)

    def spell(learners: Any, programs: Any, reasons: Any, certainties: Any, times: Any) -> Iterator[Spelled]:
        if set(map(type, learners)) != {int}:
            learners = map(spell_learner, learners)
        # By identity, because a UUID takes as long to hash as to spell, and a report's few programs are few objects.
        spelled = {
            key: spell_uuid(program) for key, program in dict(zip(map(id, programs), programs, strict=True)).items()
        }
        spelled_programs = map(spelled.__getitem__, map(id, programs))
        spelled_times = map(str, map(adapt_time, times))
        return zip(learners, spelled_programs, reasons, certainties, spelled_times, strict=True)

    return spell


def prepared_learner(key: Any, connection: BaseDatabaseWrapper) -> Any:
    """A judged primary key as a parameter; as ``prepared``, because Django would refuse 0 on MariaDB."""
    return ProgramIntent._meta.get_field("learner").target_field.get_db_prep_value(key, connection, prepared=True)


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
    names = names_of(connection)
    clauses = {"where": where.format(**names), "on_conflict": on_conflict.format(**names)}
    cursor.execute(
        _INSERT.format(**names, **clauses, rows=prepared.sql),
        (connection.ops.adapt_datetimefield_value(created), *prepared.params),
    )


def stored(connection: BaseDatabaseWrapper, prepared: Prepared) -> list[tuple[int, int, datetime]]:
    found = _fetch(connection, _STORED, prepared)
    return [(position - 1, key, to_utc(connection, created)) for position, key, created in found]


def unknown(connection: BaseDatabaseWrapper, prepared: Prepared) -> set[int]:
    return {position - 1 for (position,) in _fetch(connection, _UNKNOWN, prepared)}


def missing(connection: BaseDatabaseWrapper, prepared: Prepared) -> set[int]:
    """The positions of the rows that are not stored."""
    return {position - 1 for (position,) in _fetch(connection, _MISSING, prepared)}


def _fetch(connection: BaseDatabaseWrapper, sql: str, prepared: Prepared) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql.format(**names_of(connection), rows=prepared.sql), prepared.params)
        return list(cursor.fetchall())


def to_utc(connection: BaseDatabaseWrapper, value: datetime) -> datetime:
    """A time as raw SQL gives it, aware and in UTC."""
    if value.tzinfo is UTC:
        return value
    if timezone.is_naive(value):
        value = value.replace(tzinfo=connection.timezone)
    return value.astimezone(UTC)


def names_of(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """What the statements call things."""
    vendor, quote = connection.vendor, connection.ops.quote_name
    user = get_user_model()._meta
    key = quote(str(user.pk.column))
    table = quote(ProgramIntent._meta.db_table)
    columns = ("program_uuid", "certainty", "effective_timestamp", "reason")
    users, is_learner = f"{quote(user.db_table)} u", same_learner(vendor, f"u.{key}")
    is_same = " AND ".join([same_learner(vendor, "t.learner_id"), *(f"t.{name} = s.{name}" for name in columns)])
    of_users, join_stored, probed = f"JOIN {users} ON {is_learner}", f"JOIN {table} t ON {is_same}", ""
    if vendor == "mysql":
        # A locking scan would wait for what others are writing: 190 deadlocks in 160 overlapping batches, and none so.
        join_stored = f"STRAIGHT_JOIN {table} t FORCE INDEX (program_intent_once) ON {is_same}"
    elif vendor == "postgresql":
        # Row by row, by the index: the planner would read a whole table, of users or intents, for every statement.
        probed = "OFFSET 0"
        of_users = f"JOIN LATERAL (SELECT FROM {users} WHERE {is_learner} {probed}) u ON true"
        join_stored = f"JOIN LATERAL (SELECT t.id, t.created FROM {table} t WHERE {is_same} {probed}) t ON true"
    return {
        "table": table,
        "users": users,
        "user_key": key,
        "is_learner": is_learner,
        "of_users": of_users,
        "is_same": is_same,
        "join_stored": join_stored,
        "probed": probed,
        # A row met by our insert may be newer than the snapshot of the caller's REPEATABLE READ transaction.
        "lock": "LOCK IN SHARE MODE" if vendor == "mysql" else "",
    }


def same_learner(vendor: str, column: str, key: str = "s.learner_id") -> str:
    """The condition that both are the same user's key; exactly, also where it is a text."""
    same = f"{column} = {key}"
    if isinstance(key_field("pk"), CharField | TextField):
        same += f" AND {exact(vendor, column)} = {exact(vendor, key)}"
    return same
