"""Many learners at once: a batch beside single calls, pages and counts over a program's size and the depth."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any
from uuid import UUID, uuid5

from django.db import connection

from benchmarks import database, generate
from benchmarks.generate import Row
from benchmarks.read import PROGRAMS, write
from benchmarks.results import Result, alternate, timed
from program_intent import api
from program_intent.data import Certainty, Intent
from program_intent.models import ProgramIntent

LARGE, SMALL = (uuid5(UUID(int=1), size) for size in ("large", "small"))
NOW = datetime(2026, 1, 1, tzinfo=UTC)
BATCH = PAGE = 1_000
# Intents of each learner of a batch besides those in the large program, and in how many programs.
HISTORIES = [(0, 0), (10, 5), (100, 10)]


def reads(large: int, small: int, repeats: int) -> list[Result]:
    database.create(users=max(generate.learners(large), BATCH * len(HISTORIES)))
    fill(large, small)
    return [*_batches(repeats), *_pages(large, small, repeats), *_counts(large, repeats)]


def fill(large: int, small: int) -> None:
    write(_of_program(LARGE, large))
    write(_of_program(SMALL, small))
    for number, (intents, programs) in enumerate(HISTORIES):
        write(_histories(batch(number), intents, programs))
    database.analyze()


def _of_program(program: UUID, size: int) -> Iterator[Row]:
    for _, learner, reason, certainty, moment in generate.rows(size):
        yield program, learner, reason, certainty, moment


def _histories(learners: range, intents: int, programs: int) -> Iterator[Row]:
    chance = random.Random(3)
    for learner in learners:
        for number in range(intents):
            moment = NOW - timedelta(seconds=chance.randrange(10**8), microseconds=number)
            certainty = str(chance.choice(list(Certainty)))
            yield PROGRAMS[number % programs], learner, "BUNDLE_PURCHASE", certainty, moment


def batch(number: int) -> range:
    return range(1 + number * BATCH, 1 + (number + 1) * BATCH)


def _batches(repeats: int) -> Iterator[Result]:
    for number, (intents, programs) in enumerate(HISTORIES):
        learners = batch(number)
        answers = api.get_latest_certain_intents_for_learners(learners)
        assert answers == {learner: api.get_latest_certain_intents(learner) for learner in learners}
        times = alternate(
            repeats,
            batch=partial(timed, api.get_latest_certain_intents_for_learners, learners),
            single=partial(timed, _one_by_one, learners),
        )
        more = f", {intents} intents more in {programs} programs each" if intents else ""
        what = f"batch of {BATCH:,} learners{more}, of single calls"
        yield Result(what, times["batch"] / times["single"], 0.2, detail=times)


def _one_by_one(learners: range) -> None:
    for learner in learners:
        api.get_latest_certain_intents(learner)


def _pages(large: int, small: int, repeats: int) -> Iterator[Result]:
    pages = {"small": (SMALL, None), "large": (LARGE, None), "deep": (LARGE, generate.learners(large) // 2)}
    times = alternate(20 * repeats, **{name: partial(timed, page, *where) for name, where in pages.items()})
    what = f"page of {PAGE:,} learners, program of {large:,} intents over {small:,}"
    yield Result(what, times["large"] / times["small"], 3.0, detail=times)
    yield Result("  the same, from the middle of the program over the first", times["deep"] / times["large"], 1.2)


def page(program: UUID, after: Any = None) -> list[Intent]:
    return list(islice(api.iter_latest_certain_intents_for_program(program, after=after), PAGE))


def _counts(large: int, repeats: int) -> Iterator[Result]:
    column = ProgramIntent._meta.get_field("program_uuid")
    statement = f"SELECT count(DISTINCT learner_id) FROM {database.TABLE} WHERE program_uuid = %s"

    def bare() -> int:
        with connection.cursor() as cursor:
            cursor.execute(statement, [column.get_db_prep_value(LARGE, connection)])
            return int(cursor.fetchone()[0])

    ours = partial(api.count_latest_certain_intents_for_program, LARGE)
    assert sum(ours().values()) == bare()
    what = f"counts of a program of {large:,} intents, of a bare count(DISTINCT learner_id)"
    if connection.vendor == "postgresql":
        times = alternate(repeats, ours=partial(timed, ours), bare=partial(timed, bare))
        yield Result(f"{what}, before the first vacuum", times["ours"] / times["bare"], detail=times)
        database.vacuum()
    times = alternate(repeats, ours=partial(timed, ours), bare=partial(timed, bare))
    yield Result(what, times["ours"] / times["bare"], 1.5, detail=times)
