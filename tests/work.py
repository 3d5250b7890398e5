"""How much the database does for a call: a promise about large tables is one about work, not about time."""

from collections.abc import Callable
from itertools import count
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext


def analyze() -> None:
    """Let the planner know the rows, as it does some time after a load."""
    statements = {
        "sqlite": "ANALYZE",
        "mysql": "ANALYZE TABLE program_intent_programintent",
        "postgresql": "VACUUM ANALYZE program_intent_programintent",
    }
    execute(statements[connection.vendor])


def execute(sql: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall()) if cursor.description else []


def work_of(action: Callable[[], object]) -> int:
    """How much the database does: machine steps on SQLite, rows read on MariaDB, blocks read on PostgreSQL."""
    return {"sqlite": steps, "mysql": rows_read, "postgresql": blocks_read}[connection.vendor](action)


def steps(action: Callable[[], object]) -> int:
    taken = count()
    connection.ensure_connection()
    connection.connection.set_progress_handler(lambda: next(taken) and None, 1)
    action()
    connection.connection.set_progress_handler(None, 1)
    return next(taken)


def rows_read(action: Callable[[], object]) -> int:
    def so_far() -> int:
        return sum(int(rows) for _, rows in execute("SHOW SESSION STATUS LIKE 'Handler_read%'"))

    before = so_far()
    action()
    return so_far() - before


def blocks_read(action: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as queries:
        action()
    statements = [query["sql"] for query in queries if "program_intent_programintent" in query["sql"]]
    plans = [execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}")[0][0][0]["Plan"] for sql in statements]
    return sum(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] for plan in plans)


def grew(before: int, after: int) -> bool:
    return after > 1.2 * before + 10
