"""What those who were erased cost those who were not: the same load and the same rows, in turns, with many and none."""

import csv
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter
from uuid import UUID

from django.db import connection
from django.utils import timezone

from benchmarks import database, generate
from benchmarks.load import into_empty
from benchmarks.results import Result
from program_intent import api
from program_intent.models import ErasedLearner, ErasedName
from program_intent.store import erased_names

CALLS = 300
MILLISECONDS = 1000


def erasures(number: int, repeats: int) -> list[Result]:
    """As many learners of a load as were erased before it, each named once by username; and single rows."""
    database.create(users=number)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.csv")
        write(report, number)
        load = partial(into_empty, report, number, "--learner-field", "username")
        load()  # the first of all warms the server
        cases = {"load": load, "by key": partial(per_call, by_key), "by username": partial(per_call, by_username)}
        turns: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
        for _ in range(repeats):
            forget_none()
            without = [case() for case in cases.values()]
            forget(number)
            for times, before, case in zip(turns.values(), without, cases.values(), strict=True):
                times.append((before, case()))
    rate = median(before / after for before, after in turns.pop("load"))
    what = f"load of {number:,} learners by username, as many others erased, in rates of none"
    more = [
        Result(
            f"a row {name} takes longer by, {number:,} erased",
            median(after - before for before, after in times) * MILLISECONDS,
            0.1,
            unit="ms",
            detail={"seconds": times},
        )
        for name, times in turns.items()
    ]
    return [Result(what, rate, 0.9, True), *more]


def write(path: Path, number: int) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(generate.HEADER)
        for key in range(1, number + 1):
            program = UUID(int=key % 200)
            moment = generate.START + timedelta(seconds=key)
            writer.writerow((program, f"u{key}", "BUNDLE_PURCHASE", "CERTAIN_YES", f"{moment:%Y-%m-%dT%H:%M:%SZ}"))


def forget_none() -> None:
    with connection.cursor() as cursor:
        for model in (ErasedName, ErasedLearner):
            cursor.execute(f"DELETE FROM {connection.ops.quote_name(model._meta.db_table)}")
    analyze()


def forget(number: int) -> None:
    """As many learners, who are gone, and their names, a day ago."""
    then, keys = timezone.now() - timedelta(days=1), range(10_000_000, 10_000_000 + number)
    before = {"key_until": then, "erased": then}
    told = {"field": "username", "key_id": "another", "until": then}
    ErasedLearner.objects.bulk_create(ErasedLearner(pk=key, **before) for key in keys)
    ErasedName.objects.bulk_create(
        ErasedName(erased_id=key, hash=erased_names.hashed(b"a key", "username", f"gone{key}"), **told) for key in keys
    )
    analyze()


def analyze() -> None:
    with connection.cursor() as cursor:
        for model in (ErasedName, ErasedLearner):
            cursor.execute(f"ANALYZE {'TABLE ' if connection.vendor == 'mysql' else ''}{model._meta.db_table}")


_numbers = count(1)


def per_call(call: Callable[[datetime], object]) -> float:
    """The median seconds of a call."""
    times = []
    for _ in range(CALLS):
        moment = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=next(_numbers))
        start = perf_counter()
        call(moment)
        times.append(perf_counter() - start)
    return median(times)


def by_key(moment: datetime) -> object:
    return api.record_intent(1, UUID(int=1), reason="BUNDLE_PURCHASE", certainty="MAYBE", effective_timestamp=moment)


def by_username(moment: datetime) -> object:
    row = {"learner": "u1", "program_uuid": UUID(int=1), "reason": "BUNDLE_PURCHASE", "certainty": "MAYBE"}
    return api.record_intents([{**row, "effective_timestamp": moment}], learner_field="username")
