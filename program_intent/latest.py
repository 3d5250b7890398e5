"""The one question: per program, a learner's latest and most certain intent. One statement, and the database chooses.

The statement probes the unique index, whose order is (learner, program, certainty, time): it steps from program to
program and takes the last entry of each certainty, so its cost follows the programs answered and not the history. On
MariaDB and MySQL it groups the learner's index entries instead, at 0.3 microseconds each. The text is built once per
kind of database. Django's ORM serves the databases not named here and is what the texts are tested against.
"""

import json
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Case, F, Func, IntegerField, QuerySet, Value, When, Window
from django.db.models.functions import RowNumber

from program_intent.bulk.sql import exact, prepared_learner, same_learner, to_utc
from program_intent.data import Certainty, Intent
from program_intent.models import ProgramIntent
from program_intent.validation import fits_mariadb, is_mariadb

# As ISO 8601, because the drivers take longer to make times than the database to find the intents.
_TIME_AS_TEXT = {"postgresql": "to_json({}) #>> '{{}}'", "sqlite": "{} || ''", "mysql": "CAST({} AS CHAR)"}

# The programs of a learner, one probe each: no database here steps through an index by itself.
_EACH_PROGRAM = """WITH RECURSIVE p (program_uuid) AS (
SELECT * FROM (SELECT program_uuid FROM {table} WHERE learner_id = %(learner)s ORDER BY program_uuid LIMIT 1) f
UNION ALL
SELECT (SELECT t.program_uuid FROM {table} t WHERE t.learner_id = %(learner)s AND t.program_uuid > p.program_uuid
ORDER BY t.program_uuid LIMIT 1)
FROM p WHERE p.program_uuid IS NOT NULL)"""
_PROBED = """{is_learner} AND t.program_uuid = p.program_uuid AND t.certainty = {certainty}
AND t.effective_timestamp <= %(as_of)s {known}
ORDER BY t.effective_timestamp DESC, t.created DESC, {reason} LIMIT 1"""

_POSTGRESQL = """{programs}
SELECT DISTINCT ON (x.program_uuid) {columns}
FROM p, (VALUES ('CERTAIN_NO'), ('CERTAIN_YES'), ('MAYBE')) c (certainty),
LATERAL (SELECT t.* FROM {table} t WHERE {probed}) x
ORDER BY x.program_uuid, x.certainty = 'MAYBE', x.effective_timestamp DESC, x.created DESC, x.certainty"""

_SQLITE = """{programs}
SELECT {columns} FROM p JOIN {table} x ON x.id = coalesce((
SELECT t.id FROM {table} t WHERE t.id IN (
(SELECT t.id FROM {table} t WHERE {certain_no}), (SELECT t.id FROM {table} t WHERE {certain_yes}))
ORDER BY t.effective_timestamp DESC, t.created DESC, t.certainty LIMIT 1),
(SELECT t.id FROM {table} t WHERE {maybe}))"""

# Neither LATERAL nor fast correlated subqueries on MariaDB; it groups the learner's part of the index alone, in order.
_MYSQL = """SELECT {columns} FROM (
SELECT t.*, ROW_NUMBER() OVER (PARTITION BY t.program_uuid ORDER BY
t.certainty = 'MAYBE', t.effective_timestamp DESC, t.created DESC, t.certainty, {reason}) AS place
FROM (SELECT t.program_uuid, t.certainty, MAX(t.effective_timestamp) AS effective_timestamp FROM {table} t
WHERE {is_learner} AND t.effective_timestamp <= %(as_of)s {known} {programs}
GROUP BY t.program_uuid, t.certainty) m
JOIN {table} t ON t.learner_id = %(learner)s AND t.program_uuid = m.program_uuid AND t.certainty = m.certainty
AND t.effective_timestamp = m.effective_timestamp {known}
) x WHERE x.place = 1"""


def latest_certain(
    learner: Any,
    *,
    using: str,
    as_of: datetime,
    known_at: datetime | None,
    program_uuids: Collection[UUID] | None,
) -> list[Intent]:
    """The chosen intents, ordered by program; times are aware, ``known_at`` None counts everything written."""
    connection = connections[using]
    if program_uuids is not None:
        if is_mariadb(connection):  # what the column cannot hold has no intents
            program_uuids = list(filter(fits_mariadb, program_uuids))
        if not program_uuids:
            return []
    choose = by_statement if connection.vendor in _TEXTS else by_orm
    intents = choose(connection, learner, as_of, known_at, program_uuids)
    return sorted(intents, key=lambda intent: intent.program_uuid)


def by_statement(
    connection: BaseDatabaseWrapper,
    learner: Any,
    as_of: datetime,
    known_at: datetime | None,
    program_uuids: Collection[UUID] | None,
) -> list[Intent]:
    adapt = connection.ops.adapt_datetimefield_value
    params = {
        "learner": prepared_learner(learner, connection),
        "as_of": adapt(as_of),
        "known_at": known_at and adapt(known_at),
    }
    named = None
    if program_uuids is not None:
        to_param = ProgramIntent._meta.get_field("program_uuid").get_db_prep_value
        values = [str(to_param(program, connection)) for program in set(program_uuids)]
        named = len(values) if connection.vendor == "mysql" else 1
        params |= {f"program_{n}": value for n, value in enumerate(values)}
        params["programs"] = f"{{{','.join(values)}}}" if connection.vendor == "postgresql" else json.dumps(values)
    with connection.cursor() as cursor:
        cursor.execute(_statement(connection.vendor, known_at is not None, named), params)
        rows = cursor.fetchall()
    return to_intents(connection, rows)


def columns(vendor: str) -> str:
    """What :func:`to_intents` takes of ``x``."""
    effective, created = map(_TIME_AS_TEXT[vendor].format, ("x.effective_timestamp", "x.created"))
    return f"x.id, x.learner_id, x.program_uuid, x.reason, x.certainty, {effective}, {created}"


def to_intents(connection: BaseDatabaseWrapper, rows: Iterable[tuple[Any, ...]]) -> list[Intent]:
    """The intents in rows of :func:`columns`, as the driver gives them."""
    to_key = ProgramIntent._meta.get_field("learner").target_field.to_python
    return [
        Intent(
            key,
            to_key(learner),
            to_uuid(program),
            reason,
            Certainty(certainty),
            to_utc(connection, datetime.fromisoformat(effective)),
            to_utc(connection, datetime.fromisoformat(created)),
        )
        for key, learner, program, reason, certainty, effective, created in rows
    ]


@lru_cache(maxsize=4096)  # few programs, many intents
def to_uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)


_TEXTS = {"postgresql": _POSTGRESQL, "sqlite": _SQLITE, "mysql": _MYSQL}
_GIVEN_PROGRAMS = {
    "postgresql": "WITH p (program_uuid) AS (SELECT unnest(%(programs)s::uuid[]))",
    "sqlite": "WITH p (program_uuid) AS (SELECT value FROM json_each(%(programs)s))",
}


@lru_cache(maxsize=256)  # the length of a list of programs is the host's
def _statement(vendor: str, is_known_at: bool, programs: int | None) -> str:
    """The text for a kind of database; ``programs``: None for all of the learner's, else how many are given."""
    names = {
        "table": ProgramIntent._meta.db_table,  # a plain name, which no database needs quoted
        "is_learner": same_learner(vendor, "t.learner_id", "%(learner)s"),
        "known": "AND t.created <= %(known_at)s" if is_known_at else "",
        "reason": exact(vendor, "t.reason"),
    }
    if vendor == "mysql":
        given = ", ".join(f"%(program_{n})s" for n in range(programs or 0))
        clause = "" if programs is None else f"AND t.program_uuid IN ({given})"
    else:
        clause = _EACH_PROGRAM.format(**names) if programs is None else _GIVEN_PROGRAMS[vendor]
    probes = {
        name: _PROBED.format(**names, certainty=certainty)
        for name, certainty in {
            "probed": "c.certainty",
            "certain_no": "'CERTAIN_NO'",
            "certain_yes": "'CERTAIN_YES'",
            "maybe": "'MAYBE'",
        }.items()
    }
    return _TEXTS[vendor].format(**names, **probes, programs=clause, columns=columns(vendor))


class CodePoints(Func):
    """A text in code-point order, whatever the collation of the database."""

    arity = 1

    def as_sql(self, compiler: Any, connection: BaseDatabaseWrapper, **context: Any) -> Any:  # type: ignore[override]
        return super().as_sql(compiler, connection, template=exact(connection.vendor, "%(expressions)s"))


def by_orm(
    connection: BaseDatabaseWrapper,
    learner: Any,
    as_of: datetime,
    known_at: datetime | None,
    program_uuids: Collection[UUID] | None,
) -> list[Intent]:
    intents = ProgramIntent.objects.using(connection.alias).filter(learner_id=learner)
    if program_uuids is not None:
        intents = intents.filter(program_uuid__in=program_uuids)
    chosen = map(to_intent, winners(intents, as_of, known_at).values_list(*FIELDS))
    # A collation may take another learner's key for this one.
    return [intent for intent in chosen if intent.learner_id == learner]


FIELDS = ("id", "learner_id", "program_uuid", "reason", "certainty", "effective_timestamp", "created")


def to_intent(row: tuple[Any, ...]) -> Intent:
    """The intent in a row of FIELDS as Django reads it."""
    key, learner, program, reason, certainty, effective, created = row
    effective, created = effective.astimezone(UTC), created.astimezone(UTC)
    return Intent(key, learner, program, reason, Certainty(certainty), effective, created)


def winners(
    intents: "QuerySet[ProgramIntent]", as_of: datetime, known_at: datetime | None
) -> "QuerySet[ProgramIntent]":
    """Those of the intents that the rule chooses, one per learner and program."""
    intents = intents.filter(effective_timestamp__lte=as_of)
    if known_at is not None:
        intents = intents.filter(created__lte=known_at)
    is_maybe = Case(When(certainty=Certainty.MAYBE, then=Value(1)), default=Value(0), output_field=IntegerField())
    place = Window(
        RowNumber(),
        partition_by=[F("learner_id"), F("program_uuid")],
        # CERTAIN_NO sorts before CERTAIN_YES in any collation.
        order_by=(
            is_maybe,
            F("effective_timestamp").desc(),
            F("created").desc(),
            F("certainty"),
            CodePoints("reason"),
        ),
    )
    return intents.annotate(place=place).filter(place=1)
