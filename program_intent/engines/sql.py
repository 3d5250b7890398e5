"""What the vendors share: the statements around a vendor's expression for the rows, a table ``s``.

``s`` has the columns position (from 1), learner_id, program_uuid, reason, certainty, effective_timestamp.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter, methodcaller
from typing import Any
from uuid import UUID

from django.db import DatabaseError
from django.db.backends.utils import CursorWrapper
from django.db.models import CharField, Field, Model, TextField

from program_intent.engines.generic import Generic, Prepared, Spelled, column_of
from program_intent.exceptions import ChangesError

# In the order of the rows, whatever way the database takes through them.
_INSERT = """
INSERT INTO {table} (learner_id, program_uuid, reason, certainty, effective_timestamp, created, run_id)
SELECT s.learner_id, s.program_uuid, s.reason, s.certainty, s.effective_timestamp, %s, {run}
FROM {rows} WHERE {may_be_written}
ORDER BY s.position
{on_conflict}
"""
_INSERT_ALL = _INSERT.replace("{may_be_written}", "TRUE")
_REFUSED = "SELECT s.position FROM {rows} WHERE NOT {may_be_written}"
_STORED = "SELECT s.position, t.id, t.created FROM {rows} {join_stored} {lock}"
_ERASED = "SELECT s.position FROM {rows} WHERE {was_erased}"
_MISSING = "SELECT s.position FROM {rows} WHERE {is_missing}"


REPLICA = "Changes are followed where intents are written, and this server takes no writes."
# What speaks a vendor's protocol and gives keys in no order of commits, by what its version says.
_OTHER_DATABASES = ("TiDB", "Vitess", "SingleStore", "CockroachDB", "Yugabyte", "-YB-")


def refuse_several_writers(version: str, cluster: str = "") -> None:
    """A feed in the order of keys needs one server that gives them, and tells who is writing.

    :raises ChangesError: several servers do.
    """
    several = cluster or next((name for name in _OTHER_DATABASES if name.lower() in version.lower()), "")
    if several:
        raise ChangesError(
            f"Changes cannot be followed on {several.strip('-')}: several servers give keys there, so a lower one may "
            "be committed later. Ask for the answers instead, by iter_latest_certain_intents_for_program."
        )


class Sql(Generic):
    """The names in the statements, and the writes."""

    QUOTE = '"'
    EXACT = "{}"
    TRANSIENT: frozenset[object] = frozenset()
    # What makes a database take the index for each row, where it would read a whole table for every statement.
    PROBED = ""
    STORED = "JOIN {table} t ON {is_same}"
    LOCK = ""

    @classmethod
    def exact(cls, text: str) -> str:
        return cls.EXACT.format(text)

    @classmethod
    def is_transient(cls, error: DatabaseError) -> bool:
        return bool(cls.TRANSIENT & {getattr(error.__cause__, "sqlstate", None), *error.args[:1]})

    @classmethod
    def quoted(cls, name: str) -> str:
        """As Django quotes it: a name may come quoted already."""
        is_quoted = name.startswith(cls.QUOTE) and name.endswith(cls.QUOTE)
        return name if is_quoted else f"{cls.QUOTE}{name}{cls.QUOTE}"

    @classmethod
    def names_of(cls, model: type[Model]) -> dict[str, str]:
        """What the statements call things."""
        named = {"table": cls.quoted(model._meta.db_table)}
        columns = ("program_uuid", "certainty", "effective_timestamp", "reason")
        is_same = [cls.same_learner(model, "t.learner_id"), *(f"t.{name} = s.{name}" for name in columns)]
        named["is_same"] = " AND ".join(is_same)
        named["is_missing"] = f"NOT EXISTS (SELECT 1 FROM {named['table']} t WHERE {named['is_same']} {cls.PROBED})"
        named["may_be_written"] = cls.may_be_written(model, cls.PROBED)
        named["was_erased"] = cls.was_erased(model, cls.PROBED)
        named["is_user"], named["erased"] = cls.is_user(model, cls.PROBED), cls.table_of_erased(model)
        return named | {"join_stored": cls.STORED.format(**named), "lock": cls.LOCK}

    @classmethod
    def may_be_written(cls, model: type[Model], clause: str) -> str:
        """The condition on a row of ``s``, here and nowhere else on these databases: the learner is a user, and what
        the row tells was not erased."""
        return f"({cls.is_user(model, clause)} AND NOT {cls.was_erased(model, clause)})"

    @classmethod
    def is_user(cls, model: type[Model], clause: str) -> str:
        users: Any = model._meta.get_field("learner").related_model
        is_learner = cls.same_learner(model, f"u.{cls.quoted(users._meta.pk.column)}")
        return f"EXISTS (SELECT 1 FROM {cls.quoted(users._meta.db_table)} u WHERE {is_learner} {clause})"

    @classmethod
    def was_erased(cls, model: type[Model], clause: str) -> str:
        """The condition that the learner of a row was erased with what was in effect then."""
        erased = cls.table_of_erased(model)
        is_learner, is_later = cls.same_learner(model, "e.learner_id"), "e.key_until < s.effective_timestamp"
        return f"EXISTS (SELECT 1 FROM {erased} e WHERE {is_learner} AND ({is_later}) IS NOT TRUE {clause})"

    @classmethod
    def table_of_erased(cls, model: type[Model]) -> str:
        return cls.quoted(model._meta.apps.get_model(model._meta.app_label, "ErasedLearner")._meta.db_table)

    @classmethod
    def same_learner(cls, model: type[Model], column: str, key: str = "s.learner_id") -> str:
        """The condition that both are the same user's key; exactly, also where it is a text."""
        if isinstance(cls.key_field(model), CharField | TextField):
            return f"{column} = {key} AND {cls.exact(column)} = {cls.exact(key)}"
        return f"{column} = {key}"

    @staticmethod
    def key_field(model: type[Model]) -> "Field[Any, Any]":
        """The field that learners' keys are values of."""
        return column_of(model._meta.get_field("learner"))

    def text(self, template: str, **more: str) -> str:
        """The statement, built once for all connections."""
        engine: Any = type(self)  # Hashable, which mypy does not see of a class
        return _text(engine, self.model, template, tuple(more.items()))

    def speller(self) -> Callable[..., Iterator[Spelled]]:
        """Spells rows, given as columns, exactly as Django would write them to this database.

        SQLite compares texts, so a time in any other spelling would slip past the unique key.
        """
        features = self.connection.features
        spell_uuid: Callable[[UUID], str] = str if features.has_native_uuid_field else attrgetter("hex")
        adapt_time: Callable[[datetime], Any] = self.connection.ops.adapt_datetimefield_value
        if features.supports_timezones or self.connection.timezone is UTC:
            # Rows are in UTC. As Django's in a quarter of the time; PostgreSQL is told the zone with the column.
            adapt_time = methodcaller("replace", tzinfo=None)

        def spell_learner(key: Any) -> int | str:
            key = self.prepared_learner(key)
            return key if isinstance(key, int | str) else str(key)

        def spell(learners: Any, programs: Any, reasons: Any, certainties: Any, times: Any) -> Iterator[Spelled]:
            if set(map(type, learners)) != {int}:
                learners = map(spell_learner, learners)
            # By identity, because a UUID takes as long to hash as to spell, and few programs are few objects.
            spelled = {
                key: spell_uuid(program) for key, program in dict(zip(map(id, programs), programs, strict=True)).items()
            }
            spelled_programs = map(spelled.__getitem__, map(id, programs))
            spelled_times = map(str, map(adapt_time, times))
            return zip(learners, spelled_programs, reasons, certainties, spelled_times, strict=True)

        return spell

    def prepared_learner(self, key: Any) -> Any:
        """A judged primary key as a parameter; as ``prepared``, because Django would refuse 0 on MariaDB."""
        field: Any = self.model._meta.get_field("learner")
        return field.target_field.get_db_prep_value(key, self.connection, prepared=True)

    def learner_type(self) -> str:
        """The column type of the learner's key."""
        return str(self.model._meta.get_field("learner").db_type(self.connection))

    def execute_insert(
        self,
        cursor: CursorWrapper,
        prepared: Prepared,
        created: datetime,
        on_conflict: str = "",
        run: int | None = None,
        *,
        all_may: bool = False,
    ) -> None:
        """Insert the rows that may be written, which ``all_may`` says of all."""
        template, run_id = _INSERT_ALL if all_may else _INSERT, "NULL" if run is None else str(run)
        text = self.text(template, rows=prepared.sql, on_conflict=on_conflict, run=run_id)
        cursor.execute(text, (self.connection.ops.adapt_datetimefield_value(created), *prepared.params))

    def refused(self, prepared: Prepared) -> set[int]:
        return self._positions(_REFUSED, prepared)

    def erased(self, prepared: Prepared) -> set[int]:
        return self._positions(_ERASED, prepared)

    def stored(self, prepared: Prepared) -> list[tuple[int, int, datetime]]:
        found = self.fetch(self.text(_STORED, rows=prepared.sql), prepared.params)
        return [(position - 1, key, self.to_utc(created)) for position, key, created in found]

    def missing(self, prepared: Prepared) -> set[int]:
        """The positions of the rows that are not stored."""
        return self._positions(_MISSING, prepared)

    def _positions(self, template: str, prepared: Prepared) -> set[int]:
        found = self.fetch(self.text(template, rows=prepared.sql), prepared.params)
        return {position - 1 for (position,) in found}

    def fetch(self, text: str, params: Any = None) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(text, params)
            return list(cursor.fetchall())

    def to_utc(self, value: datetime) -> datetime:
        """A time as raw SQL gives it, aware and in UTC."""
        if value.tzinfo is None:
            value = value.replace(tzinfo=self.connection.timezone)
        return value if value.tzinfo is UTC else value.astimezone(UTC)


@lru_cache(maxsize=128)  # some texts are as long as a list that the host gave
def _text(engine: type[Sql], model: type[Model], template: str, more: tuple[tuple[str, str], ...]) -> str:
    return template.format(**engine.names_of(model), **dict(more))
