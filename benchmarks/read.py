"""The one question: beside fetching all and choosing in Python, over the length of the history and the table's size."""

import random
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from operator import itemgetter
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any
from uuid import UUID, uuid5

from django.db import connection

from benchmarks import baselines, database, generate
from benchmarks.generate import Row
from benchmarks.results import Result
from program_intent import api
from program_intent.data import Certainty

# Intents of the learner, in how many programs, and the target against the loop where there are round trips.
HISTORIES = [(10, 5, 0.5), (100, 10, 0.4), (1_000, 20, 0.25), (10_000, 50, 0.035)]
PROGRAMS = [uuid5(UUID(int=0), str(number)) for number in range(50)]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHUNK = 1_000_000


def reads(small: int, large: int, calls: int) -> list[Result]:
    results, costs = [], {}
    for size in (small, large):
        database.create(users=max(generate.learners(size), len(HISTORIES)))
        fill(size)
        for learner, (intents, programs, bound) in enumerate(HISTORIES, start=1):
            cases = _cases(learner)
            times = _alternate(cases, calls if intents < 10_000 else calls // 10)
            assert len(api.get_latest_certain_intents(learner)) == programs
            costs[size, intents] = times["ours"]
            if size == large:
                what = f"latest of {intents:,} intents in {programs} programs, of the Python loop"
                detail = {name: round(seconds * 1000, 4) for name, seconds in times.items()}
                # SQLite is held to version 0.1 instead: python -m benchmarks against
                target = None if connection.vendor == "sqlite" else bound
                results.append(Result(what, times["ours"] / times["loop"], target, detail=detail))
                results.append(
                    Result("  the same, of the bare statements through the driver", times["ours"] / times["bare"])
                )
    results.append(Result("latest of 10,000 in 50 programs, of 10 in 5", costs[large, 10_000] / costs[large, 10]))
    for intents, *_ in HISTORIES:
        what = f"latest of {intents:,} intents, table of {large:,} rows over {small:,}"
        results.append(Result(what, costs[large, intents] / costs[small, intents], 1.3))
    return results


def fill(size: int) -> None:
    """The histories of the first learners among ``size`` rows of everybody."""
    chance = random.Random(3)
    for learner, (intents, programs, _) in enumerate(HISTORIES, start=1):
        write(
            (
                PROGRAMS[number % programs],
                learner,
                chance.choice(["BUNDLE_PURCHASE", "ENROLLED_ALL_COURSES"]),
                str(chance.choice(list(Certainty))),
                NOW - timedelta(seconds=chance.randrange(10**8), microseconds=number),
            )
            for number in range(intents)
        )
    write(row for row in generate.rows(size) if row[1] > len(HISTORIES))
    database.analyze()


def write(rows: Iterator[Row]) -> None:
    """Rows go in by the engine's own tool, in the order of the unique index."""
    while chunk := sorted(islice(rows, CHUNK), key=itemgetter(1, 0, 3, 4)):
        with tempfile.NamedTemporaryFile() as file:
            baselines.NativeTool(chunk, Path(file.name)).load()


def _cases(learner: int) -> dict[str, Callable[[], Any]]:
    statements = _statements(partial(api.get_latest_certain_intents, learner))

    def bare() -> None:
        cursor = connection.connection.cursor()
        for statement in statements:
            cursor.execute(*statement)
            cursor.fetchall()
        cursor.close()

    return {
        "ours": partial(api.get_latest_certain_intents, learner),
        "loop": lambda: baselines.choose_in_python(learner, datetime.now(UTC)),
        "bare": bare,
    }


def _statements(call: Callable[[], Any]) -> list[tuple[str, Any]]:
    """What a call sends, as the driver takes it."""
    sent: list[tuple[str, Any]] = []

    def note(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if connection.vendor == "sqlite":
            names = list(params) if isinstance(params, dict) else None
            sent.append((context["cursor"].cursor.convert_query(sql, param_names=names), params))
        else:
            sent.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        call()
    return sent


def _alternate(cases: dict[str, Callable[[], Any]], calls: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(calls):
        for name, case in cases.items():
            start = perf_counter()
            case()
            times[name].append(perf_counter() - start)
    return {name: median(seconds) for name, seconds in times.items()}
