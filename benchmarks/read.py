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

from benchmarks import baselines, database, generate
from benchmarks.results import Result
from program_intent import api
from program_intent.data import Certainty
from program_intent.models.intent import engine_of
from program_intent.store.batches import PreparedRows
from program_intent.validation.judge import NewIntent

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
    spell = engine_of("default").speller()
    while chunk := list(islice(rows, CHUNK)):
        PreparedRows(list(spell(*zip(*chunk, strict=True))), engine_of("default"), all_new=True).write(lambda *_: None)


def _cases(learner: int) -> dict[str, Callable[[], Any]]:
    return {
        "ours": partial(api.get_latest_certain_intents, learner),
        "loop": lambda: baselines.choose_in_python(learner, datetime.now(UTC)),
    }


def _alternate(cases: dict[str, Callable[[], Any]], calls: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(calls):
        for name, case in cases.items():
            start = perf_counter()
            case()
            times[name].append(perf_counter() - start)
    return {name: median(seconds) for name, seconds in times.items()}
