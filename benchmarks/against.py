"""The package of this worktree beside that of a commit, both measured by the code here, through what hosts call.

Each side has a database of its own, migrated by its own code and filled with the same rows, and in each round a process
of its own. Both processes wait for orders, so a case's turns are milliseconds apart and a machine's moods hit both.
"""

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from operator import truediv
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.test import Client, override_settings

import program_intent
from benchmarks import cohorts, database, generate, load, locks, read
from benchmarks.results import Result
from program_intent import api

ROOT = Path(__file__).parent.parent
SMALL = 10_000
URL = "/v1/program-intents/"

# What a turn measured: names and seconds.
Case = Callable[[], dict[str, float]]
Times = dict[str, list[float]]


class Benchmark(NamedTuple):
    rows: int
    turns: int
    fill: Callable[[int], None]
    cases: Callable[[int, Path], Iterator[tuple[str, Case]]]


def against(ref: str, *names: str, rows: int | None, rounds: int) -> list[Result]:
    """The worktree's figures in times of those of ``ref``: the median of the rounds, with the least and the most."""
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as folder:
        sides = {"old": _export(ref, Path(folder)), "new": ROOT}
        for name in names or [name for name in BENCHMARKS if name != "locks" or connection.vendor != "sqlite"]:
            size = rows or BENCHMARKS[name].rows
            report = Path(folder, "report.csv")
            generate.write_csv(report, size)
            for side, package in sides.items():
                with _process(side, package, "fill", name, str(size)):
                    pass
            measured = [_round(sides, name, size, report, turn) for turn in range(rounds)]
            results += _results(f"{name}, {size:,} rows", measured, ref)
    return results


def _export(ref: str, folder: Path) -> Path:
    archive, package = folder / "package.tar", folder / "old"
    subprocess.run(["git", "archive", "--output", archive, ref, "program_intent"], cwd=ROOT, check=True)
    with tarfile.open(archive) as file:
        file.extractall(package, filter="data")
    return package


@contextmanager
def _process(side: str, package: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that imports the package from where it runs, and all else from this worktree."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "",
        "BENCHMARK_DATABASE": f"program_intent_benchmark_{side}",
    }
    command = [sys.executable, "-m", "benchmarks", *arguments]
    with subprocess.Popen(
        command, cwd=package, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.communicate()
    if process.returncode:
        sys.exit(f"{side}: {' '.join(arguments)} failed")


def _round(sides: dict[str, Path], name: str, rows: int, report: Path, number: int) -> dict[str, Times]:
    """The seconds of each turn of each case on each side, in two new processes."""
    times: dict[str, Times] = {side: {} for side in sides}
    arguments = ("side", name, str(rows), str(report))
    with _process("old", sides["old"], *arguments) as old, _process("new", sides["new"], *arguments) as new:
        order = [("old", old), ("new", new)]
        cases, _ = (_answer(process) for _, process in order)
        for turn in range(BENCHMARKS[name].turns + 1):
            for case in cases:
                for side, process in order[:: 1 if (turn + number) % 2 else -1]:
                    print(case, file=process.stdin, flush=True)
                    for what, seconds in _answer(process).items():
                        times[side].setdefault(what, []).append(seconds)
    # The first turn of several warms what the others use.
    return {side: {what: seconds[1:] for what, seconds in all_times.items()} for side, all_times in times.items()}


def _answer(process: "subprocess.Popen[str]") -> Any:
    assert process.stdout
    if line := process.stdout.readline():
        return json.loads(line)
    sys.exit("a side gave up")


def _results(name: str, rounds: list[dict[str, Times]], ref: str) -> Iterator[Result]:
    for what in rounds[0]["old"]:
        old, new = ([median(times[side][what]) for times in rounds] for side in ("old", "new"))
        ratios = [median(map(truediv, times["new"][what], times["old"][what])) for times in rounds]
        yield Result(
            f"{name}: {what} ({min(ratios):.2f} to {max(ratios):.2f})",
            median(ratios),
            1.05,
            detail={"of": ref, "rounds": ratios, "old_ms": median(old) * 1000, "new_ms": median(new) * 1000},
        )


def fill(name: str, rows: str) -> None:
    """A new database with what a benchmark needs."""
    database.create(users=max(generate.learners(int(rows)), cohorts.BATCH * len(cohorts.HISTORIES)))
    BENCHMARKS[name].fill(int(rows))
    if connection.vendor == "postgresql":
        database.vacuum()


def side(name: str, rows: str, report: str) -> None:
    """Answer each line of standard input, the name of a case, with what one turn of it took."""
    assert Path(program_intent.__file__).parent.parent == Path.cwd(), program_intent.__file__
    cases = dict(BENCHMARKS[name].cases(int(rows), Path(report)))
    print(json.dumps(list(cases)), flush=True)
    for line in sys.stdin:
        print(json.dumps(cases[line.strip()]()), flush=True)


def _case(name: str, calls: int, call: Callable[[], Any]) -> tuple[str, Case]:
    """A turn is several calls, of which the fastest counts: whatever else the machine does only adds."""

    def turn() -> dict[str, float]:
        seconds = []
        for _ in range(calls):
            start = perf_counter()
            call()
            seconds.append(perf_counter() - start)
        return {name: min(seconds)}

    return name, turn


def _read_cases(rows: int, report: Path) -> Iterator[tuple[str, Case]]:
    for learner, (intents, *_) in enumerate(read.HISTORIES, start=1):
        calls = 20 if intents < 10_000 else 5
        yield _case(f"latest of {intents:,} intents", calls, partial(api.get_latest_certain_intents, learner))
        one = partial(api.get_latest_certain_intent, learner, read.PROGRAMS[0])
        yield _case(f"latest of {intents:,} intents, one program", calls, one)


def _cohort_cases(rows: int, report: Path) -> Iterator[tuple[str, Case]]:
    for number, (intents, _) in enumerate(cohorts.HISTORIES):
        many = partial(api.get_latest_certain_intents_for_learners, cohorts.batch(number))
        yield _case(f"batch of {cohorts.BATCH:,} learners, {intents} intents more each", 1, many)
    yield _case("first page", 3, partial(cohorts.page, cohorts.LARGE))
    yield _case("page in the middle", 3, partial(cohorts.page, cohorts.LARGE, generate.learners(rows) // 2))
    yield _case("counts of a program", 1, partial(api.count_latest_certain_intents_for_program, cohorts.LARGE))


def _write_cases(rows: int, report: Path) -> Iterator[tuple[str, Case]]:
    program, start = UUID(int=1), datetime.now(UTC)  # later than any moment that an earlier process recorded
    moments = (start + timedelta(microseconds=number) for number in count())

    def record() -> None:
        api.record_intent(1, program, reason="R", certainty="MAYBE", effective_timestamp=next(moments))

    def record_many(size: int) -> None:
        given = {"learner": 1, "program_uuid": program, "reason": "R", "certainty": "MAYBE"}
        outcomes = api.record_intents(given | {"effective_timestamp": next(moments)} for _ in range(size))
        assert {outcome.status for outcome in outcomes} == {"created"}

    def in_transaction(turn: Case) -> dict[str, float]:
        with transaction.atomic():
            return turn()

    name, turn = _case("record_intent in a transaction", 20, record)
    yield name, partial(in_transaction, turn)
    yield _case("record_intent", 10, record)
    for size in (10, 1_000):
        yield _case(f"record_intents of {size:,} rows", 3, partial(record_many, size))

    override_settings(ROOT_URLCONF="program_intent.rest_api.urls").enable()
    client, latest = Client(), f"{URL}latest-certain/"
    client.force_login(get_user_model().objects.get(pk=2))
    etag = client.get(latest).headers["ETag"]

    def get(status: int, **headers: str) -> None:
        response = client.get(latest, headers=headers)
        assert response.status_code == status, response.content

    def post() -> None:
        body = {"program_uuid": str(program), "reason": "R", "certainty": "MAYBE", "learner": 3}
        body["effective_timestamp"] = next(moments).isoformat()
        response = client.post(URL, body, content_type="application/json")
        assert response.status_code == 201, response.content

    yield _case("GET latest-certain", 10, partial(get, 200))
    yield _case("GET latest-certain, 304", 10, partial(get, 304, **{"If-None-Match": etag}))
    yield _case("POST", 10, post)


def _fill_write(rows: int) -> None:
    get_user_model().objects.filter(pk=2).update(is_superuser=True)
    for number in range(10):
        moment = cohorts.NOW - timedelta(days=number)
        api.record_intent(2, read.PROGRAMS[number % 5], reason="R", certainty="MAYBE", effective_timestamp=moment)


def _load_cases(rows: int, report: Path) -> Iterator[tuple[str, Case]]:
    def first_load() -> dict[str, float]:
        return {"first load": load.into_empty(report, rows), "the same again": load.seconds(report)}

    yield "load", first_load


def _lock_cases(rows: int, report: Path) -> Iterator[tuple[str, Case]]:
    def during_a_load() -> dict[str, float]:
        database.empty()
        seconds = locks.latencies(["child", str(report)], generate.learners(rows))
        return {f"99th percentile of {what}": locks.percentile(each) for what, each in seconds.items()}

    yield "locks", during_a_load


def _nothing(rows: int) -> None:
    """The cases fill the table themselves."""


BENCHMARKS = {
    "read": Benchmark(100_000, 12, read.fill, _read_cases),
    "cohorts": Benchmark(300_000, 6, lambda rows: cohorts.fill(rows, SMALL), _cohort_cases),
    "write": Benchmark(1_000, 12, _fill_write, _write_cases),
    "load": Benchmark(200_000, 2, _nothing, _load_cases),
    "locks": Benchmark(300_000, 1, _nothing, _lock_cases),
}
