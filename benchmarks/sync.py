"""A sync from a PostgreSQL warehouse beside a load of the same rows as a file, in the plainest spelling."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import psycopg
from django.core.management import call_command
from django.test.utils import override_settings

import test_settings
from benchmarks import database, generate
from benchmarks.load import load
from benchmarks.results import Result, alternate, timed
from program_intent.api import sync_program_intents
from program_intent.models import Checkpoint, ProgramIntent

WAREHOUSE = "program_intent_benchmark_warehouse"
QUERY = "SELECT learner, program_uuid, reason, certainty, effective_timestamp, loaded_at FROM report"
LOADED = datetime(2026, 1, 1, tzinfo=UTC)


def syncs(rows: int, repeats: int) -> list[Result]:
    database.create(users=generate.learners(rows))
    server = test_settings.postgresql("postgres")
    login = {"host": server["HOST"], "port": server["PORT"], "user": server["USER"], "password": server["PASSWORD"]}
    fill(login, rows)
    url = f"postgresql+psycopg://{server['USER']}:{server['PASSWORD']}@{server['HOST']}:{server['PORT']}/{WAREHOUSE}"
    source = {"URL": url, "QUERY": QUERY, "CURSOR": "loaded_at", "LAG": timedelta()}
    processor: dict[str, list[float]] = {"file": [], "sync": []}
    with tempfile.TemporaryDirectory() as folder, override_settings(PROGRAM_INTENT={"SOURCES": {"bench": source}}):
        report = Path(folder, "report.csv")
        generate.write_csv(report, rows)
        again: list[float] = []

        def by_file() -> float:
            return into_empty(partial(load, report), rows, processor["file"])

        def by_sync() -> float:
            passed = into_empty(by_command, rows, processor["sync"])
            Checkpoint.objects.update(cursor="")
            again.append(timed(by_command))
            return passed

        into_empty(partial(load, report), rows, [])  # the first of all warms the server
        times = alternate(repeats, file=by_file, sync=by_sync, api=lambda: into_empty(by_api, rows, []))
        idle = median(timed(by_api) for _ in range(10))
        peak = peak_of_a_process(url)
    what = f"sync {rows:,} rows from PostgreSQL"
    detail = {**times, "again": median(again), "rows": rows}
    microseconds = {name: median(seconds) / rows * 1e6 for name, seconds in processor.items()}
    beside = f"beside {microseconds['file']:.1f} of the file"
    return [
        Result(f"{what}, in rates of the same rows as a file", times["file"] / times["sync"], 0.7, True, detail=detail),
        Result("the same by the API, which leaves the process as it is", times["file"] / times["api"]),
        Result(f"processor time of the process, a row, {beside}", microseconds["sync"], unit="µs"),
        Result("the same rows again, time of the first sync", median(again) / times["sync"], 1.0),
        Result("a sync with nothing new", idle, 0.2, unit="s"),
        Result(f"{what}, peak memory", peak, 200, unit="MB"),
    ]


def by_command() -> None:
    call_command("sync_program_intents", verbosity=0, no_progress=True)


def by_api() -> None:
    sync_program_intents("bench")


def into_empty(bring: Callable[[], Any], rows: int, processor: list[float]) -> float:
    database.empty()
    Checkpoint.objects.all().delete()
    begun = process_time()
    passed = timed(bring)
    processor.append(process_time() - begun)
    if (created := ProgramIntent.objects.count()) != rows:
        sys.exit(f"{created:,} instead of {rows:,} created")
    return passed


def fill(login: dict[str, Any], rows: int) -> None:
    """The warehouse, with an index by the time of arrival, in the order of the report."""
    with psycopg.connect(dbname="postgres", autocommit=True, **login) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {WAREHOUSE}")
        connection.execute(f"CREATE DATABASE {WAREHOUSE}")
    with psycopg.connect(dbname=WAREHOUSE, **login) as connection:
        connection.execute(
            "CREATE TABLE report (program_uuid uuid, learner int, reason text, certainty text,"
            " effective_timestamp timestamptz, loaded_at timestamptz)"
        )
        with connection.cursor().copy("COPY report FROM STDIN") as copy:
            for number, row in enumerate(generate.rows(rows)):
                copy.write_row((*row, LOADED + timedelta(milliseconds=number)))
        connection.execute("CREATE INDEX ON report (loaded_at)")
        connection.execute("ANALYZE report")


def peak_of_a_process(url: str) -> float:
    """The most memory, in MB, of a process that reads all and finds all of it stored."""
    Checkpoint.objects.update(cursor="")
    code = (
        "import os, resource, django; from datetime import timedelta; django.setup();"
        "from django.conf import settings; from django.core.management import call_command;"
        "settings.PROGRAM_INTENT = {'SOURCES': {'bench': {'URL': os.environ['WAREHOUSE'], 'QUERY': os.environ['QUERY'],"
        " 'CURSOR': 'loaded_at', 'LAG': timedelta()}}};"
        "call_command('sync_program_intents', verbosity=0, no_progress=True);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    environment = os.environ | {"WAREHOUSE": url, "QUERY": QUERY, "DJANGO_SETTINGS_MODULE": "benchmarks.settings"}
    # A process begins with the peak of the one that started it: a shell is small.
    command = ["/bin/sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", code]
    return int(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout) / 1024
