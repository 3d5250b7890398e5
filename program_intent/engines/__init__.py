"""What differs from database to database: one class per kind, one contract.

An engine knows no model: it is handed ours, and takes the names of tables and columns from it. It judges nothing and
reads no settings.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, Model, QuerySet

from program_intent.data import Certainty, Intent
from program_intent.engines.generic import Generic, Prepared, Spelled
from program_intent.engines.mariadb import MariaDB
from program_intent.engines.mysql import MySQL
from program_intent.engines.postgresql import PostgreSQL
from program_intent.engines.sqlite import SQLite


class Engine(Protocol):
    connection: BaseDatabaseWrapper
    CHUNK: int  # how many rows one statement takes at most
    CODE_POINTS: str

    def __init__(self, connection: BaseDatabaseWrapper, model: type[Model]) -> None: ...

    @staticmethod
    def exact(text: str) -> str:
        """The SQL text, compared and sorted by code point whatever its collation."""

    @staticmethod
    def why_unstorable(program_uuid: UUID) -> str:
        """Why the column cannot hold it; empty if it can."""

    @staticmethod
    def is_transient(error: DatabaseError) -> bool:
        """Whether the same transaction may succeed when it is done again."""

    def can_spell(self, field: "Field[Any, Any]", text: str) -> bool:
        """Whether the field's column, and the connection, have every character of the text; the database is asked once
        per connection."""

    # Rows to store are distinct, sorted and at least one: sorted, neighbours go to the same page of an index, and
    # overlapping batches lock in one order, which no collation changes.

    def speller(self) -> Callable[..., Iterator[Spelled]]:
        """A function that gives judged rows, as five columns, the form in which this database stores them: equal rows,
        equal forms."""

    def prepare(self, rows: Sequence[Spelled], *, all_new: bool = False) -> Prepared:
        """Rows of that form as the calls below take them, faster to store if ``all_new`` is what turns out to be true.

        Neither this nor the speller touches the database.
        """

    def parts(self, prepared: Prepared) -> Iterable[tuple[int, Prepared]]:
        """The same rows in statements that the server takes, each with the position of its first."""

    def refused(self, prepared: Prepared) -> set[int]:
        """The positions of the rows that may not be written: their learner is no user, or what they tell was erased."""

    def erased(self, prepared: Prepared) -> set[int]:
        """The positions of those of the rows that tell what was erased of their learner, by primary key."""

    def insert(self, prepared: Prepared, created: datetime) -> set[int]:
        """Store the rows that are new and may be written; the primary keys given to them."""

    def count_inserted(self, prepared: Prepared, created: datetime, run: int | None = None) -> tuple[int, set[int]]:
        """The same as brought by a run, and only how many there were, with the positions of the rows that were refused:
        that might not be written when they were to be inserted, whatever has become of that since."""

    def stored(self, prepared: Prepared) -> list[tuple[int, int, datetime]]:
        """The rows that are stored: position among the rows, primary key, created."""

    # The reads: what is in effect at ``as_of`` and was written by ``known_at``, None for everything.

    def of_learner(
        self, learner: Any, programs: list[UUID] | None, *, as_of: datetime, known_at: datetime | None
    ) -> list[Intent]:
        """The chosen intents of one learner."""

    def of_learners(
        self, learners: Collection[Any], programs: list[UUID] | None, *, as_of: datetime, known_at: datetime | None
    ) -> list[Intent]:
        """The chosen intents of these learners, and perhaps of others whom a collation takes for them."""

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
        """The chosen intents of the next learners of a program, in the order of their keys, and the highest primary key
        there was when they were read, None where there are none. ``newest`` is the highest that counts."""

    def counts(
        self, programs: list[UUID] | None, *, as_of: datetime, known_at: datetime | None
    ) -> dict[UUID, dict[Certainty, int]]:
        """Per program that has any, the number of learners whose chosen intent has each certainty."""

    def rows_having(self, rows: "QuerySet[Any, Any]", field: str, values: list[Any]) -> Iterable["QuerySet[Any, Any]"]:
        """Those of the rows whose field has one of the values, or what a collation takes for one; in one query or
        several."""

    # The feed of changes.

    def newest_and_writers(self) -> tuple[int, frozenset[str]]:
        """The highest key that is visible, and then who is writing and may still bring a lower one.

        :raises ChangesError: here this cannot be known.
        """

    def keys_with_uncommitted(
        self, last: int, fence: int, *, known_at: datetime | None, limit: int
    ) -> list[int] | None:
        """The next keys behind ``last`` up to the fence, with those that others have not committed yet; None where the
        writers that have ended say enough."""


_BY_VENDOR: dict[str, type[Engine]] = {"postgresql": PostgreSQL, "sqlite": SQLite, "mysql": MySQL}


def code_points(connection: BaseDatabaseWrapper) -> str | None:
    """The collation that compares and sorts texts by code point; asks no server."""
    return _BY_VENDOR.get(connection.vendor, Generic).CODE_POINTS or None


def kind(connection: BaseDatabaseWrapper) -> type[Engine]:
    """The class for this connection's database; Django's ORM serves the ones not named."""
    if connection.vendor == "mysql" and connection.mysql_is_mariadb:  # type: ignore[attr-defined]  # of that backend
        return MariaDB
    return _BY_VENDOR.get(connection.vendor, Generic)


def of(connection: BaseDatabaseWrapper, model: type[Model]) -> Engine:
    return kind(connection)(connection, model)
