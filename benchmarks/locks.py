"""Whether logins, records and reads go on during a load: their 99th percentile beside that under a bare COPY."""

import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from time import perf_counter
from uuid import UUID

from django.db import connection

from benchmarks import baselines, database, generate
from benchmarks.results import Result
from program_intent import api

OPERATIONS = ("login", "record_intent", "read")


def locks(rows: int) -> list[Result]:
    users = generate.learners(rows)
    with tempfile.TemporaryDirectory() as folder:
        report, prepared = Path(folder, "report.csv"), Path(folder, "prepared.tsv")
        generate.write_csv(report, rows)
        native = baselines.NativeTool(generate.rows(rows), prepared)
        database.create(users)
        under_tool = latencies(["tool", str(prepared)], users)
        database.create(users)
        under_load = latencies(["child", str(report)], users)
    return [
        Result(
            f"99th percentile of {operation} during a load of {rows:,} rows, of that during {native.name}",
            percentile(under_load[operation]) / percentile(under_tool[operation]),
            2.0,
            detail={
                "load_ms": round(percentile(under_load[operation]) * 1000, 2),
                "tool_ms": round(percentile(under_tool[operation]) * 1000, 2),
                "longest_ms": round(max(under_load[operation]) * 1000, 1),
                "calls": len(under_load[operation]),
            },
        )
        for operation in OPERATIONS
    ]


def latencies(command: list[str], users: int) -> dict[str, list[float]]:
    """The seconds of each call made, one after the other, while the command runs."""
    chance, moments = random.Random(1), (datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=n) for n in count())

    def login() -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE auth_user SET last_login = now() WHERE id = %s", [chance.randint(1, users)])

    def record() -> None:
        learner, moment = chance.randint(1, users), next(moments)
        api.record_intent(learner, UUID(int=0), reason="R", certainty="MAYBE", effective_timestamp=moment)

    def read() -> None:
        api.get_latest_certain_intents(chance.randint(1, users))

    calls: dict[str, Callable[[], None]] = dict(zip(OPERATIONS, (login, record, read), strict=True))
    seconds: dict[str, list[float]] = {operation: [] for operation in OPERATIONS}
    with subprocess.Popen([sys.executable, "-m", "benchmarks", *command], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            for operation, call in calls.items():
                start = perf_counter()
                call()
                seconds[operation].append(perf_counter() - start)
    if process.returncode:
        sys.exit(f"{command[0]} failed")
    return seconds


def tool(path: str) -> None:
    """Load a file made for the native tool, as a process of its own."""
    native = baselines.NativeTool.__new__(baselines.NativeTool)
    native._path = Path(path)
    native.load()


def percentile(seconds: list[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.99)]
