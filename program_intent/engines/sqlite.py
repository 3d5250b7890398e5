"""SQLite: the rows as one JSON text; the database reads it without giving Python a turn for each row."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from program_intent import rule
from program_intent.engines.generic import Prepared, Spelled
from program_intent.engines.reads import EACH_PROGRAM, PROBED, Reads

_ROWS = """(
SELECT key + 1 AS position, json_extract(value, '$[0]') AS learner_id, json_extract(value, '$[1]') AS program_uuid,
json_extract(value, '$[2]') AS reason, json_extract(value, '$[3]') AS certainty,
json_extract(value, '$[4]') AS effective_timestamp FROM json_each(%s)
) s"""
# Not INSERT OR IGNORE, which would also pass over a violated CHECK.
_ON_CONFLICT = "ON CONFLICT DO NOTHING"
_GIVEN_PROGRAMS = "WITH p (program_uuid) AS (SELECT value FROM json_each(%(programs)s))"
_CHOSEN = "SELECT {columns} FROM p JOIN {table} t ON t.id = coalesce({ranks}, NULL)"
_PROBE = "(SELECT t.id FROM {{table}} t WHERE {probed})"
_BEST = "(SELECT t.id FROM {{table}} t WHERE t.id IN ({probes}) ORDER BY {order} LIMIT 1)"


def _rank(certainties: tuple[str, ...]) -> str:
    """The learner's best intent of a rank for a program."""
    probes = [_PROBE.format(probed=PROBED.replace("{certainty}", f"'{each}'")) for each in certainties]
    return probes[0] if len(probes) == 1 else _BEST.format(probes=", ".join(probes), order=rule.order_by("t.{}"))


class SQLite(Reads):
    CODE_POINTS = "BINARY"
    EXACT = "{} COLLATE BINARY"
    SHORT = 0
    OF_ALL, OF_GIVEN = (
        f"{programs} {_CHOSEN}".replace("{ranks}", ", ".join(map(_rank, rule.RANKS)))
        for programs in (EACH_PROGRAM, _GIVEN_PROGRAMS)
    )
    TIME_AS_TEXT = "{} || ''"
    AMONG = "{} IN (SELECT value FROM json_each({}))"

    def prepare(self, rows: Sequence[Spelled], *, all_new: bool = False) -> Prepared:
        return Prepared(rows, _ROWS, (json.dumps(rows),), all_new)

    def insert(self, prepared: Prepared, created: datetime) -> set[int]:
        with self.connection.cursor() as cursor:
            self.execute_insert(cursor, prepared, created, f"{_ON_CONFLICT} RETURNING id")
            return {key for (key,) in cursor.fetchall()}

    def count_inserted(self, prepared: Prepared, created: datetime, run: int | None = None) -> tuple[int, set[int]]:
        with self.connection.cursor() as cursor:
            self.execute_insert(cursor, prepared, created, _ON_CONFLICT, run)
            new = int(cursor.rowcount)
        return new, self.missing(prepared) if new < len(prepared.rows) else set()

    def many(self, prepared: list[Any]) -> str:
        return json.dumps(prepared, default=str)

    def newest_and_writers(self) -> tuple[int, frozenset[str]]:
        """One transaction writes at a time and a key is never given twice: keys are in the order of commits."""
        ((newest,),) = self.fetch(self.text("SELECT coalesce(max(id), 0) FROM {table}"))
        return newest, frozenset()
