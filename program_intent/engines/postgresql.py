"""PostgreSQL: the rows as one array per column, which needs no temporary table; COPY for those that are all new."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from itertools import chain
from operator import itemgetter
from traceback import clear_frames
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Field

from program_intent import rule
from program_intent.engines.character_sets import spells
from program_intent.engines.generic import Prepared, Spelled
from program_intent.engines.reads import EACH_PROGRAM, PROBED, Reads
from program_intent.engines.sql import REPLICA, refuse_several_writers
from program_intent.exceptions import ChangesError

_ROWS = """unnest(%s::{learner_type}[], %s::uuid[], %s::varchar[], %s::varchar[], %s::timestamptz[]) WITH ORDINALITY
AS s (learner_id, program_uuid, reason, certainty, effective_timestamp, position)"""
# Planned in two thirds of the time.
_ROW = """(SELECT 1 AS position, %s::{learner_type} AS learner_id, %s::uuid AS program_uuid, %s::varchar AS reason,
%s::varchar AS certainty, %s::timestamptz AS effective_timestamp) s"""
_ON_CONFLICT = "ON CONFLICT DO NOTHING"
_COPY = "COPY {table} (learner_id, program_uuid, reason, certainty, effective_timestamp, created, run_id) FROM STDIN"
_LEARNERS = "unnest(%s::{learner_type}[]) WITH ORDINALITY AS s (learner_id, position)"
# Joined, because most erasures are of others: a probe for each learner takes longer than that for a user.
_DOUBTFUL = """SELECT s.position FROM {rows} LEFT JOIN {erased} e ON e.learner_id = s.learner_id
WHERE e.learner_id IS NOT NULL OR NOT {is_user}"""
_NULL = r"\N"  # as COPY takes it
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})

_GIVEN_PROGRAMS = "WITH p (program_uuid) AS (SELECT unnest(%(programs)s::uuid[]))"
_CANDIDATES = f"""SELECT {{columns}}
FROM p, (VALUES {", ".join(f"('{certainty}')" for certainty in chain(*rule.RANKS))}) c (certainty),
LATERAL (SELECT t.* FROM {{table}} t WHERE {PROBED.replace("{certainty}", "c.certainty")}) t"""

# A row's writer takes this lock before it takes a key, and has it until its rows are visible. The snapshot in which
# the keys are read is older than the look at the locks.
_WRITERS = """
SELECT (SELECT coalesce(max(id), 0) FROM {table}),
ARRAY(SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND relation = %s::regclass
AND pid IS DISTINCT FROM pg_backend_pid()),
current_setting('transaction_isolation'), pg_is_in_recovery(), version()
"""


class PostgreSQL(Reads):
    CODE_POINTS = "C"
    EXACT = '({})::text COLLATE "C"'
    TRANSIENT = frozenset({"40001", "40P01"})  # serialization failure, deadlock
    OF_ALL, OF_GIVEN = f"{EACH_PROGRAM} {_CANDIDATES}", f"{_GIVEN_PROGRAMS} {_CANDIDATES}"
    PROBED = "OFFSET 0"
    STORED = "JOIN LATERAL (SELECT t.id, t.created FROM {table} t WHERE {is_same} OFFSET 0) t ON true"
    PROGRAM = "{}::text"  # the driver takes longer to make UUIDs than to find the few that are different
    # In UTC whatever the session's zone, and without Z, which sorts behind the dot of decimals: texts sort as times.
    TIME_AS_TEXT = "(to_json({} AT TIME ZONE 'UTC') #>> '{{}}') || '+00:00'"

    def prepare(self, rows: Sequence[Spelled], *, all_new: bool = False) -> Prepared:
        if all_new:
            return Prepared(rows, _COPY, (_lines(rows),), all_new)
        if len(rows) == 1:
            (learner, *values, time) = rows[0]
            params = (str(learner), *values, f"{time}+00")  # a cast binds closer than a minus
            return Prepared(rows, _ROW.format(learner_type=self.learner_type()), params)
        learners, programs, reasons, certainties, times = zip(*rows, strict=True)
        params = (
            _array(learners),
            f"{{{','.join(programs)}}}",
            '{"' + '","'.join(reasons) + '"}',  # quoted, because NULL is a reason too
            f"{{{','.join(certainties)}}}",
            '{"' + '+00","'.join(times) + '+00"}',
        )
        return Prepared(rows, _ROWS.format(learner_type=self.learner_type()), params, all_new)

    def can_spell(self, field: "Field[Any, Any]", text: str) -> bool:
        """The server says its encodings, and every change of them, unasked."""
        self.connection.ensure_connection()
        told = self.connection.connection.info.parameter_status
        return super().can_spell(field, text) and all(
            spells(text, _codec(told(name) or "")) for name in ("server_encoding", "client_encoding")
        )

    def learner_type(self) -> str:
        """Without its length, to which a cast would cut a longer key: it would then name another user."""
        return super().learner_type().partition("(")[0]

    def insert(self, prepared: Prepared, created: datetime) -> set[int]:
        with self.connection.cursor() as cursor:
            self.execute_insert(cursor, prepared, created, f"{_ON_CONFLICT} RETURNING id")
            return {key for (key,) in cursor.fetchall()}

    def _positions(self, template: str, prepared: Prepared) -> set[int]:
        return super()._positions(template, self._as_arrays(prepared))

    def stored(self, prepared: Prepared) -> list[tuple[int, int, datetime]]:
        return super().stored(self._as_arrays(prepared))

    def _as_arrays(self, prepared: Prepared) -> Prepared:
        return self.prepare(prepared.rows) if prepared.all_new else prepared

    def count_inserted(self, prepared: Prepared, created: datetime, run: int | None = None) -> tuple[int, set[int]]:
        """COPY if all is said to be new. Else, and where a row is there after all, insert what is found missing."""
        if prepared.all_new and (copied := self._copied(prepared, created, run)) is not None:
            all_in = copied == len(prepared.rows)
            return copied, set() if all_in else self.missing(prepared)
        missing = sorted(self.missing(prepared))
        if not missing:
            return 0, set()
        rows = [prepared.rows[position] for position in missing]
        writable = self._writable(rows)
        new = self._inserted(self.prepare(writable), created, run) if writable else 0
        refused = self.missing(self.prepare(rows)) if new < len(rows) else set()
        return new, {missing[position] for position in refused}

    def _inserted(self, prepared: Prepared, created: datetime, run: int | None) -> int:
        """How many rows were inserted; plainly, because ON CONFLICT inserts speculatively and takes 1.5 times as long.

        Where another writer was faster, that is undone and done again so.
        """
        with self.connection.cursor() as cursor:
            with suppress(IntegrityError), transaction.atomic(using=self.connection.alias):
                self.execute_insert(cursor, prepared, created, run=run, all_may=True)
                return int(cursor.rowcount)
            self.execute_insert(cursor, prepared, created, _ON_CONFLICT, run, all_may=True)
            return int(cursor.rowcount)

    def _writable(self, rows: Sequence[Spelled]) -> Sequence[Spelled]:
        """Those of the rows that may be written. Each learner is looked up once; the rows of those who are no users, or
        of whom anything was erased, one by one."""
        learners = list(dict.fromkeys(map(itemgetter(0), rows)))
        named = self.text(_DOUBTFUL, rows=_LEARNERS.format(learner_type=self.learner_type()))
        doubtful = {learners[position - 1] for (position,) in self.fetch(named, [_array(learners)])}
        if not doubtful:
            return rows
        found = [row for row in rows if row[0] in doubtful]
        refused = {found[position] for position in self.refused(self.prepare(found))}
        return [row for row in rows if row not in refused]

    def _copied(self, prepared: Prepared, created: datetime, run: int | None) -> int | None:
        """How many rows were copied; None if one of them is there already, or if the driver is psycopg2."""
        (lines,) = prepared.params
        try:
            with self.connection.cursor() as cursor, transaction.atomic(using=self.connection.alias):
                if not hasattr(cursor, "copy"):
                    return None
                rows = self._writable(prepared.rows)
                if len(rows) < len(prepared.rows):
                    lines = _lines(rows)
                with self.connection.wrap_database_errors, cursor.copy(self.text(prepared.sql)) as copy:
                    copy.write(lines.replace("\n", f"\t{created}\t{_NULL if run is None else run}\n"))
                return len(rows)
        except IntegrityError as error:
            clear_frames(error.__traceback__)  # which hold the text in a cycle, while no garbage is collected
            return None

    def many(self, prepared: list[Any]) -> Any:
        return _array(prepared) if set(map(type, prepared)) == {str} else prepared

    def newest_and_writers(self) -> tuple[int, frozenset[str]]:
        table = self.quoted(self.model._meta.db_table)
        ((newest, writers, isolation, is_replica, version),) = self.fetch(self.text(_WRITERS), [table])
        refuse_several_writers(version)
        if is_replica:
            raise ChangesError(REPLICA)
        if isolation in ("repeatable read", "serializable") and not self.connection.get_autocommit():
            raise ChangesError(
                f"Changes cannot be followed in a transaction that is {isolation.upper()}: it does not see what others "
                "commit meanwhile."
            )
        return newest, frozenset(writers)


def _codec(encoding: str) -> str:
    """What Python calls it; that of SQL_ASCII, which takes anything, and of the rarest it does not know."""
    return encoding.replace("WIN", "cp").replace("KOI8", "koi8_")


def _array(column: Sequence[int | str]) -> str:
    """The values in PostgreSQL's own notation of an array, which psycopg makes one by one; they may hold anything."""
    if type(column[0]) is int:
        return f"{{{','.join(map(str, column))}}}"
    escaped = "\0".join(map(str, column)).replace("\\", "\\\\").replace('"', '\\"')  # no value has a NUL
    return '{"' + escaped.replace("\0", '","') + '"}'


def _lines(rows: Sequence[Spelled]) -> str:
    """The rows as COPY takes them, but for the last two columns."""
    if rows and type(rows[0][0]) is not int:
        rows = [(str(row[0]).translate(_ESCAPES), *row[1:]) for row in rows]
    return "%s\t%s\t%s\t%s\t%s+00\n" * len(rows) % tuple(chain.from_iterable(rows))
