"""The one question asked of many learners at once: of those named, or of all who have intents for a program.

One statement each, whose text is nearly the same on every kind of database. Django's ORM serves the databases not named
here and is what the texts are tested against.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Max, QuerySet

from program_intent.bulk.sql import exact, prepared_learner, same_learner
from program_intent.data import Certainty, Intent
from program_intent.latest import FIELDS, columns, to_intent, to_intents, to_uuid, winners
from program_intent.models import ProgramIntent
from program_intent.validation import fits_mariadb, is_mariadb

# All of the candidates are ranked: up to a hundred intents of a learner, that costs less than probing for each program.
_CHOSEN = """SELECT {columns} FROM (
SELECT t.*, ROW_NUMBER() OVER (PARTITION BY t.learner_id, t.program_uuid ORDER BY
t.certainty = 'MAYBE', t.effective_timestamp DESC, t.created DESC, t.certainty, {reason}) AS place
FROM {candidates} AND {counted}
) x WHERE x.place = 1 ORDER BY x.learner_id"""
_OF_LEARNERS = "{table} t WHERE {learners} {programs}"
# The index of a program's learners gives the next of them, however deep. A learner without an intent that counts is
# none of them, so that a page that is not full is the last.
_NEXT_OF_PROGRAM = """(
SELECT DISTINCT t.learner_id FROM {table} t {by_index} WHERE t.program_uuid = %(program)s {behind} AND {counted}
ORDER BY t.learner_id LIMIT %(limit)s) l
JOIN {table} t ON {same_learner} AND t.program_uuid = %(program)s"""

# Of the same snapshot as the page.
_NEWEST = f", (SELECT MAX(id) FROM {ProgramIntent._meta.db_table})"

# Of a learner only the certainty is wanted. The index has all that decides it, in the order of the groups, but where
# both certain answers became true at the same moment. It counts learners, the certain of them, and the certain not to.
_COUNTS = """SELECT {of_group} COUNT(*), COUNT(COALESCE(m.no, m.yes)),
COUNT(CASE WHEN m.no > m.yes OR m.no IS NOT NULL AND m.yes IS NULL THEN 1 WHEN m.no = m.yes THEN (
SELECT CASE t.certainty WHEN 'CERTAIN_NO' THEN 1 END FROM {table} t WHERE {same_learner} AND t.program_uuid = {program}
AND t.certainty IN ('CERTAIN_NO', 'CERTAIN_YES') AND t.effective_timestamp = m.no {known}
ORDER BY t.created DESC, t.certainty LIMIT 1) END)
FROM (SELECT {group} t.learner_id, {latest_no} AS no, {latest_yes} AS yes
FROM {table} t WHERE {counted} {programs} GROUP BY {group} t.learner_id) m {by_group}"""


class _Dialect(NamedTuple):
    among: str  # a column's value is one of many, given as one parameter
    latest: str  # the latest effective time of a certainty; FILTER saves a fifth of the cost of CASE
    by_index: str = ""  # where the planner would read a program's learners from the first on


_FILTER = "MAX(t.effective_timestamp) FILTER (WHERE t.certainty = '{}')"
_DIALECTS = {
    "postgresql": _Dialect("{} = ANY(%({})s)", _FILTER),
    "sqlite": _Dialect("{} IN (SELECT value FROM json_each(%({})s))", _FILTER),
    "mysql": _Dialect(
        "{} IN %({})s",
        "MAX(CASE t.certainty WHEN '{}' THEN t.effective_timestamp END)",
        "FORCE INDEX (program_intent_program)",
    ),
}


def for_learners(
    learners: Collection[Any],
    *,
    using: str,
    program_uuids: Collection[UUID] | None,
    as_of: datetime,
    known_at: datetime | None,
) -> list[Intent]:
    """The chosen intents of these learners, ordered by program."""
    connection = connections[using]
    programs = None if program_uuids is None else _storable(program_uuids, connection)
    if not learners or programs == []:
        return []
    if dialect := _DIALECTS.get(connection.vendor):
        candidates = _OF_LEARNERS.format(
            table=ProgramIntent._meta.db_table,
            learners=dialect.among.format("t.learner_id", "learners"),
            programs="" if programs is None else f"AND {dialect.among.format('t.program_uuid', 'programs')}",
        )
        given = {
            "learners": _many([prepared_learner(each, connection) for each in learners], connection),
            "programs": _many([_program(each, connection) for each in programs or ()], connection),
        }
        intents = to_intents(connection, _chosen(connection, candidates, given, as_of, known_at))
    else:
        stored = ProgramIntent.objects.using(using).filter(learner_id__in=learners)
        if programs is not None:
            stored = stored.filter(program_uuid__in=programs)
        intents = _choose_by_orm(winners(stored, as_of, known_at))
    wanted = set(learners)  # a collation may take another learner's key for one of these
    chosen = (intent for intent in intents if intent.learner_id in wanted)
    return sorted(chosen, key=lambda intent: intent.program_uuid.int)


def iterate(
    program_uuid: UUID,
    *,
    using: str,
    certainty: Certainty | None,
    after: Any | None,
    page: int,
    as_of: datetime,
    known_at: datetime | None,
) -> Iterator[Intent]:
    """The chosen intents of a program's learners, in the order of their keys, one query for each page.

    What is written after the first page is asked for has a higher key than all there is, and does not count.
    """
    newest = None
    while True:
        intents, seen = page_of_program(
            program_uuid, using=using, after=after, limit=page, as_of=as_of, known_at=known_at, newest=newest
        )
        newest = newest or seen
        yield from (intent for intent in intents if certainty in (None, intent.certainty))
        if len(intents) < page:
            return
        after = intents[-1].learner_id


class Page(NamedTuple):
    """``newest`` is the highest primary key there was when it was read; None where it is empty."""

    intents: list[Intent]
    newest: int | None


def page_of_program(
    program_uuid: UUID,
    *,
    using: str,
    after: Any | None,
    limit: int,
    as_of: datetime,
    known_at: datetime | None,
    newest: int | None = None,
) -> Page:
    """The chosen intents of the next learners of a program: as many as the limit, unless there are no more.

    ``newest`` is the highest primary key that counts; None is all.
    """
    connection = connections[using]
    if not _storable([program_uuid], connection):
        return Page([], None)
    dialect = _DIALECTS.get(connection.vendor)
    if dialect is None:
        seen = ProgramIntent.objects.using(using).aggregate(newest=Max("pk"))["newest"]
        stored = ProgramIntent.objects.using(using).filter(program_uuid=program_uuid)
        if after is not None:
            stored = stored.filter(learner_id__gt=after)
        if newest is not None:
            stored = stored.filter(pk__lte=newest)
        return Page(_choose_by_orm(winners(stored, as_of, known_at).order_by("learner_id")[:limit]), seen)
    candidates = _NEXT_OF_PROGRAM.format(
        table=ProgramIntent._meta.db_table,
        by_index=dialect.by_index,
        behind="" if after is None else "AND t.learner_id > %(after)s",
        counted=_counted(known_at, newest),
        same_learner=same_learner(connection.vendor, "t.learner_id", "l.learner_id"),
    )
    given = {
        "program": _program(program_uuid, connection),
        "after": None if after is None else prepared_learner(after, connection),
        "limit": limit,
        "newest": newest,
    }
    rows = _chosen(connection, candidates, given, as_of, known_at, more=_NEWEST)
    return Page(to_intents(connection, (row[:-1] for row in rows)), rows[0][-1] if rows else None)


def _chosen(
    connection: BaseDatabaseWrapper,
    candidates: str,
    given: dict[str, Any],
    as_of: datetime,
    known_at: datetime | None,
    more: str = "",
) -> list[Any]:
    """The rows of the chosen ones of the candidates, in the order of the learners' keys."""
    text = _CHOSEN.format(
        columns=columns(connection.vendor) + more,
        reason=exact(connection.vendor, "t.reason"),
        candidates=candidates,
        counted=_counted(known_at, given.get("newest")),
    )
    return _fetch(connection, text, given, as_of, known_at)


def _choose_by_orm(chosen: "QuerySet[ProgramIntent]") -> list[Intent]:
    return list(map(to_intent, chosen.values_list(*FIELDS)))


def counts(
    program_uuids: Collection[UUID] | None, *, using: str, as_of: datetime, known_at: datetime | None
) -> dict[UUID, dict[Certainty, int]]:
    """Per program, the number of learners whose chosen intent has each certainty; ordered by program."""
    connection = connections[using]
    storable = None if program_uuids is None else _storable(program_uuids, connection)
    found = {program: dict.fromkeys(Certainty, 0) for program in program_uuids or ()}
    if storable != []:
        count = _count if connection.vendor in _DIALECTS else _count_by_orm
        found |= count(connection, storable, as_of, known_at)
    return dict(sorted(found.items()))


def _count(
    connection: BaseDatabaseWrapper, program_uuids: list[UUID] | None, as_of: datetime, known_at: datetime | None
) -> dict[UUID, dict[Certainty, int]]:
    dialect = _DIALECTS[connection.vendor]
    if program_uuids is None:
        one, programs, given = None, "", {}
    elif len(program_uuids) == 1:
        (one,) = program_uuids
        programs, given = "AND t.program_uuid = %(program)s", {"program": _program(one, connection)}
    else:
        one, programs = None, f"AND {dialect.among.format('t.program_uuid', 'programs')}"
        given = {"programs": _many([_program(each, connection) for each in program_uuids], connection)}
    text = _COUNTS.format(
        table=ProgramIntent._meta.db_table,
        same_learner=same_learner(connection.vendor, "t.learner_id", "m.learner_id"),
        counted=_counted(known_at),
        known=_known(known_at),
        latest_no=dialect.latest.format(Certainty.CERTAIN_NO),
        latest_yes=dialect.latest.format(Certainty.CERTAIN_YES),
        programs=programs,
        # Comparing the program of every row, where there is one alone, would cost a third more, on MariaDB three times.
        **dict.fromkeys(("group", "of_group", "by_group"), "")
        if one
        else {"group": "t.program_uuid,", "of_group": "m.program_uuid,", "by_group": "GROUP BY m.program_uuid"},
        program="%(program)s" if one else "m.program_uuid",
    )
    rows = _fetch(connection, text, given, as_of, known_at)
    return {
        one or to_uuid(*program): {
            Certainty.CERTAIN_YES: certain - no,
            Certainty.CERTAIN_NO: no,
            Certainty.MAYBE: learners - certain,
        }
        for *program, learners, certain, no in rows
    }


def _count_by_orm(
    connection: BaseDatabaseWrapper, program_uuids: list[UUID] | None, as_of: datetime, known_at: datetime | None
) -> dict[UUID, dict[Certainty, int]]:
    intents = ProgramIntent.objects.using(connection.alias).all()
    if program_uuids is not None:
        intents = intents.filter(program_uuid__in=program_uuids)
    found: dict[UUID, dict[Certainty, int]] = {}
    chosen = Counter(winners(intents, as_of, known_at).values_list("program_uuid", "certainty"))
    for (program, certainty), count in chosen.items():
        found.setdefault(program, dict.fromkeys(Certainty, 0))[Certainty(certainty)] = count
    return found


def _counted(known_at: datetime | None, newest: int | None = None) -> str:
    written = "" if newest is None else "AND t.id <= %(newest)s"
    return f"t.effective_timestamp <= %(as_of)s {_known(known_at)} {written}"


def _known(known_at: datetime | None) -> str:
    return "" if known_at is None else "AND t.created <= %(known_at)s"


def _fetch(
    connection: BaseDatabaseWrapper, text: str, given: dict[str, Any], as_of: datetime, known_at: datetime | None
) -> list[Any]:
    adapt = connection.ops.adapt_datetimefield_value
    with connection.cursor() as cursor:
        cursor.execute(text, {**given, "as_of": adapt(as_of), "known_at": known_at and adapt(known_at)})
        return list(cursor.fetchall())


def _program(value: UUID, connection: BaseDatabaseWrapper) -> Any:
    return ProgramIntent._meta.get_field("program_uuid").get_db_prep_value(value, connection)


def _many(prepared: list[Any], connection: BaseDatabaseWrapper) -> Any:
    return json.dumps(prepared, default=str) if connection.vendor == "sqlite" else prepared


def _storable(program_uuids: Collection[UUID], connection: BaseDatabaseWrapper) -> list[UUID]:
    """Those of the programs, each once, that there can be intents for: MariaDB's UUID column cannot hold every UUID."""
    return [program for program in dict.fromkeys(program_uuids) if not is_mariadb(connection) or fits_mariadb(program)]
