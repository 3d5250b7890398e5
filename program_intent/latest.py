"""The one question: per program, a learner's latest and most certain intent. One query, and the database chooses."""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Case, F, Func, IntegerField, QuerySet, Value, When, Window
from django.db.models.functions import RowNumber

from program_intent.data import Certainty, Intent
from program_intent.models import ProgramIntent


class CodePoints(Func):
    """A text in code-point order, whatever the collation of the database."""

    arity = 1
    template = "%(expressions)s"

    def as_postgresql(self, compiler: Any, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template='%(expressions)s COLLATE "C"', **context)

    def as_mysql(self, compiler: Any, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="CAST(%(expressions)s AS BINARY)", **context)

    def as_sqlite(self, compiler: Any, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="%(expressions)s COLLATE BINARY", **context)


# The rule, in its order; CERTAIN_NO sorts before CERTAIN_YES in any collation.
THE_RULE = (
    Case(When(certainty=Certainty.MAYBE, then=Value(1)), default=Value(0), output_field=IntegerField()).asc(),
    F("effective_timestamp").desc(),
    F("created").desc(),
    F("certainty").asc(),
    CodePoints("reason").asc(),
)


def latest_certain(
    learner: Any,
    *,
    using: str,
    as_of: datetime,
    known_at: datetime | None = None,
    program_uuids: Collection[UUID] | None = None,
) -> list[Intent]:
    """The chosen intents, ordered by program; times are aware, ``known_at`` None counts everything written."""
    intents = ProgramIntent.objects.using(using).filter(learner_id=learner, effective_timestamp__lte=as_of)
    if known_at is not None:
        intents = intents.filter(created__lte=known_at)
    if program_uuids is not None:
        intents = intents.filter(program_uuid__in=program_uuids)
    place = Window(RowNumber(), partition_by=F("program_uuid"), order_by=THE_RULE)
    return sorted(as_values(intents.annotate(place=place).filter(place=1)), key=lambda intent: intent.program_uuid)


def as_values(intents: QuerySet[ProgramIntent]) -> list[Intent]:
    """The rows as frozen values, times in UTC."""
    fields = ("id", "learner_id", "program_uuid", "reason", "certainty", "effective_timestamp", "created")
    return [
        Intent(
            key,
            learner,
            program,
            reason,
            Certainty(certainty),
            effective.astimezone(UTC),
            created.astimezone(UTC),
        )
        for key, learner, program, reason, certainty, effective, created in intents.values_list(*fields)
    ]
