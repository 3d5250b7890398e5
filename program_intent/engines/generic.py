"""Any database, through Django's ORM alone: slow, plain, and the reference that the others are tested against."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import DatabaseError, IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Case, F, Field, ForeignKey, IntegerField, Max, OrderBy, QuerySet, Value, When, Window
from django.db.models.functions import Now, RowNumber

from program_intent import rule
from program_intent.data import FIELDS, Certainty, Intent
from program_intent.engines.character_sets import spells
from program_intent.exceptions import ChangesError

# A judged row as the database stores it: learner, program, reason, certainty and time.
Spelled = tuple[Any, ...]

_COLUMNS = Intent.__match_args__


class Prepared(NamedTuple):
    """Rows as they were given and, for statements, as a table expression and its parameters."""

    rows: Sequence[Spelled]
    sql: str = ""
    params: tuple[Any, ...] = ()
    all_new: bool = False


class UtcNow(Now):
    """The clock of the database, whose session may be in any zone."""

    def as_mysql(self, compiler: Any, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="UTC_TIMESTAMP(6)", **context)


class Generic:
    CHUNK = 10_000
    CODE_POINTS = ""

    def __init__(self, connection: BaseDatabaseWrapper, model: Any) -> None:
        self.connection = connection
        self.model = model

    @classmethod
    def exact(cls, text: str) -> str:
        return text

    @staticmethod
    def why_unstorable(program_uuid: UUID) -> str:
        return ""

    @classmethod
    def is_transient(cls, error: DatabaseError) -> bool:
        return False

    def can_spell(self, field: "Field[Any, Any]", text: str) -> bool:
        return spells(text, "utf-8")

    def speller(self) -> Callable[..., Iterator[Spelled]]:
        return lambda *columns: zip(*columns, strict=True)

    def prepare(self, rows: Sequence[Spelled], *, all_new: bool = False) -> Prepared:
        return Prepared(rows)

    def parts(self, prepared: Prepared) -> Iterable[tuple[int, Prepared]]:
        return [(0, prepared)]

    def refused(self, prepared: Prepared) -> set[int]:
        users = self.model._meta.get_field("learner").related_model._base_manager.using(self.connection.alias)
        return self.erased(prepared) | {
            position
            for position, (learner, *_) in enumerate(prepared.rows)
            if learner not in users.filter(pk=learner).values_list("pk", flat=True)
        }

    def erased(self, prepared: Prepared) -> set[int]:
        erased = self.model._meta.apps.get_model(self.model._meta.app_label, "ErasedLearner")._base_manager
        until = erased.using(self.connection.alias).values_list("pk", "key_until")
        return {
            position
            for position, (learner, *_, effective) in enumerate(prepared.rows)
            for key, last in until.filter(pk=learner)
            if key == learner and (last is None or effective <= last)
        }

    def insert(self, prepared: Prepared, created: datetime) -> set[int]:
        return self._inserted_one_by_one(prepared, created, None)

    def _inserted_one_by_one(self, prepared: Prepared, created: datetime, run: int | None) -> set[int]:
        refused = self.refused(prepared)
        rows = [row for position, row in enumerate(prepared.rows) if position not in refused]
        return {key for row in rows if (key := self._insert_one(row, created, run)) is not None}

    def _insert_one(self, row: Spelled, created: datetime, run: int | None) -> int | None:
        intent = self.model(**_named(row), created=created, run_id=run)
        try:
            with transaction.atomic(using=self.connection.alias):
                intent.save_base(raw=True, using=self.connection.alias)  # raw, for save() chooses when it was written
        except IntegrityError:  # stored already
            return None
        return int(intent.pk)

    def count_inserted(self, prepared: Prepared, created: datetime, run: int | None = None) -> tuple[int, set[int]]:
        new = len(self._inserted_one_by_one(prepared, created, run))
        return new, set(range(len(prepared.rows))) - {position for position, *_ in self.stored(prepared)}

    def stored(self, prepared: Prepared) -> list[tuple[int, int, datetime]]:
        return [
            (position, intent.pk, intent.created)
            for position, row in enumerate(prepared.rows)
            for intent in self._intents().filter(**_named(row))
            if intent.learner_id == row[0]  # a collation may take another learner's key for this one
        ]

    def of_learner(
        self, learner: Any, programs: list[UUID] | None, *, as_of: datetime, known_at: datetime | None
    ) -> list[Intent]:
        return [
            intent
            for intent in self.of_learners([learner], programs, as_of=as_of, known_at=known_at)
            if intent.learner_id == learner
        ]

    def of_learners(
        self, learners: Collection[Any], programs: list[UUID] | None, *, as_of: datetime, known_at: datetime | None
    ) -> list[Intent]:
        intents = self._of_programs(programs).filter(learner_id__in=learners)
        return _values(_winners(intents, as_of, known_at))

    def page_of_program(
        self,
        program: UUID,
        *,
        after: Any | None,
        limit: int,
        newest: int | None,
        as_of: datetime,
        known_at: datetime | None,
    ) -> tuple[list[Intent], int | None]:
        seen = self._intents().aggregate(newest=Max("pk"))["newest"]
        intents = self._of_programs([program])
        if after is not None:
            intents = intents.filter(learner_id__gt=after)
        if newest is not None:
            intents = intents.filter(pk__lte=newest)
        return _values(_winners(intents, as_of, known_at).order_by("learner_id")[:limit]), seen

    def counts(
        self, programs: list[UUID] | None, *, as_of: datetime, known_at: datetime | None
    ) -> dict[UUID, dict[Certainty, int]]:
        found: dict[UUID, dict[Certainty, int]] = {}
        winners = _winners(self._of_programs(programs), as_of, known_at)
        for (program, certainty), count in Counter(winners.values_list("program_uuid", "certainty")).items():
            found.setdefault(program, dict.fromkeys(Certainty, 0))[Certainty(certainty)] = count
        return found

    def rows_having(self, rows: "QuerySet[Any, Any]", field: str, values: list[Any]) -> Iterable["QuerySet[Any, Any]"]:
        column: Any = rows.model._meta.pk if field == "pk" else rows.model._meta.get_field(field)
        size = self.connection.ops.bulk_batch_size([column], values) or 1
        return [rows.filter(**{f"{field}__in": values[start : start + size]}) for start in range(0, len(values), size)]

    def newest_and_writers(self) -> tuple[int, frozenset[str]]:
        raise ChangesError(f"Changes cannot be followed on {self.connection.vendor}.")

    def keys_with_uncommitted(
        self, last: int, fence: int, *, known_at: datetime | None, limit: int
    ) -> list[int] | None:
        return None

    def _intents(self) -> "QuerySet[Any, Any]":
        intents: QuerySet[Any, Any] = self.model.objects.using(self.connection.alias)
        return intents

    def _of_programs(self, programs: list[UUID] | None) -> "QuerySet[Any, Any]":
        return self._intents() if programs is None else self._intents().filter(program_uuid__in=programs)


def _named(row: Spelled) -> dict[str, Any]:
    return dict(zip(("learner_id", *FIELDS[1:]), row, strict=True))


def _winners(intents: "QuerySet[Any]", as_of: datetime, known_at: datetime | None) -> "QuerySet[Any, Any]":
    """Those of the intents that the rule chooses, one per learner and program."""
    intents = intents.filter(effective_timestamp__lte=as_of)
    if known_at is not None:
        intents = intents.filter(created__lte=known_at)
    partition = [F("learner_id"), F("program_uuid")]
    order_by = [OrderBy(expression(key), descending=key.is_latest_first) for key in rule.ORDER]
    place = Window(RowNumber(), partition_by=partition, order_by=order_by)
    winners: QuerySet[Any, Any] = intents.annotate(place=place).filter(place=1)
    return winners


def column_of(field: Any) -> "Field[Any, Any]":
    """The field that holds the values: another one where a user model's key is the link to its parent."""
    while isinstance(field, ForeignKey):
        field = field.target_field
    return field  # type: ignore[no-any-return]  # of a relation, Django says any


def expression(key: rule.Key) -> Any:
    """What a step of the rule's order compares, as the ORM takes it."""
    if key.places is None:
        return F(key.column)
    whens = (When(**{key.column: value}, then=Value(place)) for value, place in key.places.items())
    return Case(*whens, output_field=IntegerField())


def _values(intents: "QuerySet[Any]") -> list[Intent]:
    return list(map(to_intent, intents.values_list(*_COLUMNS)))


def to_intent(row: tuple[Any, ...]) -> Intent:
    """The intent in its values as Django reads them."""
    key, learner, program, reason, certainty, effective, created = row
    effective, created = effective.astimezone(UTC), created.astimezone(UTC)
    return Intent(key, learner, program, reason, Certainty(certainty), effective, created)
