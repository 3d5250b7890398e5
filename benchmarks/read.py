"""The one question: beside fetching all and choosing in Python, over the length of the history and the table's size."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from statistics import median
from time import perf_counter
from typing import Any
from uuid import UUID, uuid5

from django.db import connection

from benchmarks import baselines, database, generate
from benchmarks.results import Result
from program_intent import api, store
from program_intent.data import Certainty
from program_intent.latest import _statement
from program_intent.validation import NewIntent

# Intents of the learner, in how many programs, and the target against the loop.
HISTORIES = [(10, 5, 0.5), (100, 10, 0.4), (1_000, 20, 0.15), (10_000, 50, 0.03)]
PROGRAMS = [uuid5(UUID(int=0), str(number)) for number in range(50)]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHUNK = 1_000_000


def reads(small: int, large: int, calls: int) -> list[Result]:
    results, costs = [], {}
    for size in (small, large):
        database.create(users=max(generate.learners(size), len(HISTORIES)))
        _fill(size)
        for learner, (intents, programs, bound) in enumerate(HISTORIES, start=1):
            cases = _cases(learner)
            times = _alternate(cases, calls if intents < 10_000 else calls // 10)
            assert len(api.get_latest_certain_intents(learner)) == programs
            costs[size, intents] = times["ours"]
            if size == large:
                what = f"latest of {intents:,} intents in {programs} programs, of the Python loop"
                detail = {name: round(seconds * 1000, 4) for name, seconds in times.items()}
                results.append(Result(what, times["ours"] / times["loop"], bound, detail=detail))
                results.append(
                    Result("  the same, of the bare statement through the driver", times["ours"] / times["bare"])
                )
    results.append(Result("latest of 10,000 in 50 programs, of 10 in 5", costs[large, 10_000] / costs[large, 10], 10.0))
    for intents, *_ in HISTORIES:
        what = f"latest of {intents:,} intents, table of {large:,} rows over {small:,}"
        results.append(Result(what, costs[large, intents] / costs[small, intents], 1.3))
    return results


def _fill(size: int) -> None:
    """The histories of the first learners among ``size`` rows of everybody."""
    chance = random.Random(3)
    for learner, (intents, programs, _) in enumerate(HISTORIES, start=1):
        write(
            NewIntent(
                learner,
                PROGRAMS[number % programs],
                chance.choice(["BUNDLE_PURCHASE", "ENROLLED_ALL_COURSES"]),
                chance.choice(list(Certainty)),
                NOW - timedelta(seconds=chance.randrange(10**8), microseconds=number),
            )
            for number in range(intents)
        )
    write(
        NewIntent(learner, program, reason, Certainty(certainty), moment)
        for program, learner, reason, certainty, moment in generate.rows(size)
        if learner > len(HISTORIES)
    )
    database.analyze()


def write(rows: Any) -> None:
    spell = store.speller("default")
    while chunk := list(islice(rows, CHUNK)):
        store.PreparedRows(list(spell(*zip(*chunk, strict=True))), connection, all_new=True).write()


def _cases(learner: int) -> dict[str, Callable[[], Any]]:
    text = _statement(connection.vendor, False, None)
    as_of = connection.ops.adapt_datetimefield_value(datetime.now(UTC))
    connection.ensure_connection()
    if connection.vendor == "sqlite":
        text, params = text.replace("%(", ":").replace(")s", ""), {"learner": learner, "as_of": as_of}
    else:
        params = {"learner": learner, "as_of": as_of}

    def bare() -> None:
        cursor = connection.connection.cursor()
        cursor.execute(text, params)
        cursor.fetchall()
        cursor.close()

    return {
        "ours": partial(api.get_latest_certain_intents, learner),
        "loop": lambda: baselines.choose_in_python(learner, datetime.now(UTC)),
        "bare": bare,
    }


def _alternate(cases: dict[str, Callable[[], Any]], calls: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(calls):
        for name, case in cases.items():
            start = perf_counter()
            case()
            times[name].append(perf_counter() - start)
    return {name: median(seconds) for name, seconds in times.items()}
