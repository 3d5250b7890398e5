"""How many rows are judged in a second of a thread's time: by columns, or row by row where the judge wants it."""

import gc
from collections.abc import Iterator
from functools import partial
from time import thread_time
from typing import Any
from uuid import UUID

from django.db import connection

from benchmarks import generate
from benchmarks.results import Result, alternate
from program_intent.validation.judge import Judge

# As a load's blocks.
BLOCK = 500
Rows = list[tuple[Any, ...]]


def judge(rows: int, repeats: int) -> list[Result]:
    """Texts as a file has them, and the values that a warehouse's driver gives; every value is an object of its own."""
    cases = {"texts": (list(_texts(rows)), 280_000), "typed values": (list(_typed(rows)), 250_000)}
    gc.collect()
    gc.disable()  # as in a load
    times = alternate(repeats, **{name: partial(_judge, rows) for name, (rows, _) in cases.items()})
    speeds = [
        Result(f"{name} judged, {rows:,} rows", rows / times[name], target, at_least=True, unit="/s")
        for name, (_, target) in cases.items()
    ]
    return [*speeds, Result("typed values judged, in rates of texts", times["texts"] / times["typed values"])]


def _texts(count: int) -> Iterator[tuple[Any, ...]]:
    for program, learner, reason, certainty, moment in generate.rows(count):
        line = f"{learner},{program},{reason},{certainty},{moment:%Y-%m-%dT%H:%M:%SZ}"
        yield tuple(line.split(","))


def _typed(count: int) -> Iterator[tuple[Any, ...]]:
    for program, learner, reason, certainty, moment in generate.rows(count):
        reason, certainty = f"{reason},{certainty}".split(",")
        yield learner, UUID(int=program.int), reason, certainty, moment.replace(microsecond=0)


def _judge(rows: Rows) -> float:
    judge = Judge(connection)
    start = thread_time()
    for first in range(0, len(rows), BLOCK):
        block = rows[first : first + BLOCK]
        if judge.columns(block) is None:
            list(map(judge, block))
    return thread_time() - start
