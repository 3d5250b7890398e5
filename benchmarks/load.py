"""How fast the loader is beside the engine's own tool, and how its rate and memory behave as the table grows."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import StringIO
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any
from unittest.mock import patch

from django.core.management import call_command
from django.db import connection, connections

from benchmarks import baselines, database, generate
from benchmarks.results import Result, alternate, timed

# The slow baselines take hours for a whole report; a rate does not need one.
SAMPLE = 10_000
NATIVE_TARGET = {"postgresql": 1.0, "mysql": 0.9, "sqlite": 0.9}


def load(path: Path, *options: str) -> dict[str, Any]:
    """Load a report by the command, whatever the package is made of inside; what it counted."""
    with tempfile.NamedTemporaryFile("r") as file:
        call_command(
            "load_program_intents", str(path), "--no-progress", "--report", file.name, *options, stdout=StringIO()
        )
        counts: dict[str, Any] = json.load(file)
    return counts


def seconds(path: Path, *options: str) -> float:
    return timed(partial(load, path, *options))


def into_empty(path: Path, rows: int, *options: str) -> float:
    """The seconds of a load into the emptied table, all of whose rows must be new."""
    database.empty()
    start = perf_counter()
    counts = load(path, *options)
    passed = perf_counter() - start
    if counts["created"] != rows:
        sys.exit(f"{path.name}: {counts} instead of {rows:,} created")
    return passed


def first_load(rows: int, repeats: int) -> list[Result]:
    """An empty table: the loader, the native tool and the slow baselines in turns; then the same file again."""
    with tempfile.TemporaryDirectory() as folder:
        report, prepared = Path(folder, "report.csv"), Path(folder, "prepared.tsv")
        database.create(users=generate.learners(rows))
        generate.write_csv(report, rows)
        native = baselines.NativeTool(generate.rows(rows), prepared)
        again: list[float] = []

        def ours() -> float:
            first = into_empty(report, rows)
            again.append(seconds(report))
            return first

        def tool() -> float:
            database.empty()
            return native.load()

        def slow(baseline: Callable[[Path, int], float]) -> float:
            database.empty()
            return baseline(report, min(rows, SAMPLE)) / min(rows, SAMPLE)

        cases = {
            "ours": ours,
            "tool": tool,
            "row_by_row": lambda: slow(baselines.row_by_row),
            "bulk_create": lambda: slow(baselines.bulk_create),
        }
        if connection.vendor == "mysql":
            tuples = baselines.ready_tuples(generate.rows(rows))

            def executemany() -> float:
                database.empty()
                return baselines.executemany(tuples)

            cases["executemany"] = executemany
        times = alternate(repeats, **cases)
    mine = times["ours"]
    detail = {name: round(value, 6) for name, value in times.items()} | {"rows": rows, "again": median(again)}
    what = f"load {rows:,} rows, empty table, in rates of"
    target = NATIVE_TARGET[connection.vendor]
    forbidden = []  # what remains where the server forbids the tool, which the loader never uses
    if "executemany" in times:
        forbidden = [Result(f"{what} executemany", times["executemany"] / mine, 1.0, at_least=True)]
    return [
        Result(f"{what} {native.name}", times["tool"] / mine, target, at_least=True, detail=detail),
        *forbidden,
        Result(
            f"{what} row_by_row ({SAMPLE:,} rows)",
            times["row_by_row"] / (mine / rows),
            80 if connection.vendor == "postgresql" else None,
            at_least=True,
        ),
        Result(f"{what} bulk_create ({SAMPLE:,} rows)", times["bulk_create"] / (mine / rows)),
        Result("load again of a file that is all there, time of the first load", median(again) / mine, 1.0),
        Result("rows per second", rows / mine, unit="/s"),
    ]


def growing_table(rows: int, steps: int) -> list[Result]:
    """``steps`` reports of ``rows`` rows one after the other in a child process, then the tool and the loader in turns.

    The child's peak memory after the first and after the last report is compared.
    """
    with tempfile.TemporaryDirectory() as folder:
        database.create(users=generate.learners(rows))
        reports = [Path(folder, f"{step}.csv") for step in range(steps)]
        for step, report in enumerate(reports):
            generate.write_csv(report, rows, first=step * rows)
        child = [sys.executable, "-m", "benchmarks", "child", *map(str, reports)]
        output = subprocess.run(child, check=True, capture_output=True, text=True, env=os.environ).stdout
        runs = json.loads(output)
        for report in reports:
            report.unlink()
        database.analyze()
        mine, tool = [], []
        for turn in range(2):
            report, prepared = Path(folder, "more.csv"), Path(folder, "prepared.tsv")
            generate.write_csv(report, rows, first=(steps + 2 * turn) * rows)
            native = baselines.NativeTool(generate.rows(rows, first=(steps + 2 * turn + 1) * rows), prepared)
            mine.append(seconds(report))
            tool.append(native.load())
    first, last = runs[0], runs[-1]
    curve = [[step * rows, rows / run["seconds"]] for step, run in enumerate(runs)]
    size = f"{steps * rows / 1e6:g} million"
    return [
        Result(
            f"load {rows:,} new rows into a table of {size}, in rates of {native.name}",
            median(tool) / median(mine),
            1.0 if connection.vendor == "postgresql" else None,
            at_least=True,
            detail={"curve": curve, "native": rows / median(tool)},
        ),
        Result(f"rate at {size} over the rate at 0", first["seconds"] / last["seconds"]),
        Result("peak memory of the loader's process", last["peak"], 150, unit="MB"),
        Result(f"peak memory after {size} over that after {rows:,}", last["peak"] / first["peak"], 1.1),
        Result("the longest transaction", max(run["longest"] for run in runs), unit="s"),
    ]


def child(paths: list[str]) -> None:
    """Load each report and print its seconds, its longest transaction and the process's peak memory so far."""
    runs = []
    for path in paths:
        with _transactions() as transactions:
            passed = seconds(Path(path))
        runs.append({"seconds": passed, "longest": max(transactions), "peak": _peak()})
    print(json.dumps(runs))


@contextmanager
def _transactions() -> Iterator[list[float]]:
    """The seconds of each transaction that Django begins and ends meanwhile."""
    database, passed, began = connections["default"], list[float](), perf_counter()
    original = database.set_autocommit

    def set_autocommit(autocommit: bool, **options: bool) -> None:
        nonlocal began
        original(autocommit, **options)
        if autocommit:
            passed.append(perf_counter() - began)
        else:
            began = perf_counter()

    with patch.object(database, "set_autocommit", set_autocommit):
        yield passed


def _peak() -> float:
    """Megabytes; getrusage would give the peak of the process that started this one, if that is larger."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6
