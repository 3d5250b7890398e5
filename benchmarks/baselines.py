"""What the loader and the reads are compared with; never part of the package."""

import csv
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from operator import itemgetter
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import connection, models, transaction

from benchmarks.database import TABLE
from benchmarks.generate import Row
from program_intent.models import ProgramIntent

COLUMNS = "program_uuid, learner_id, reason, certainty, effective_timestamp, created"


def row_by_row(path: Path, limit: int) -> float:
    """The service that this app replaces: one SELECT for each row, bulk_create for each 500 (without its sleeps)."""
    start = perf_counter()
    pending = []
    for values in islice(_parsed(path), limit):
        if not ProgramIntent.objects.filter(**values).exists():
            pending.append(ProgramIntent(**values))
        if len(pending) == 500:
            _bulk_create(pending)
            pending = []
    _bulk_create(pending)
    return perf_counter() - start


def bulk_create(path: Path, limit: int) -> float:
    """A well-written ORM loader: users and stored rows of a batch by one IN query each, deduplicated in memory."""
    start = perf_counter()
    rows = islice(_parsed(path), limit)
    while batch := list(islice(rows, 1000)):
        learners = {values["learner_id"] for values in batch}
        known = set(get_user_model().objects.filter(pk__in=learners).values_list("pk", flat=True))
        names = ("learner_id", "program_uuid", "certainty", "effective_timestamp", "reason")
        seen = set(ProgramIntent.objects.filter(learner_id__in=learners).values_list(*names))
        new = []
        for values in batch:
            key = tuple(values[name] for name in names)
            if values["learner_id"] in known and key not in seen:
                seen.add(key)
                new.append(ProgramIntent(**values))
        _bulk_create(new)
    return perf_counter() - start


def _bulk_create(intents: list[ProgramIntent]) -> None:
    with transaction.atomic():
        models.QuerySet[ProgramIntent](ProgramIntent).bulk_create(intents, batch_size=500)


def _parsed(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            yield {
                "learner_id": int(row["learner"]),
                "program_uuid": UUID(row["program_uuid"]),
                "reason": row["reason"],
                "certainty": row["certainty"],
                "effective_timestamp": datetime.fromisoformat(row["effective_timestamp"]),
            }


class NativeTool:
    """The engine's own tool, into the same table with the same indexes, checking nothing, from what is ready-made."""

    name = {"postgresql": "COPY", "mysql": "LOAD DATA LOCAL INFILE", "sqlite": "executemany"}[connection.vendor]

    def __init__(self, rows: Iterable[Row], path: Path) -> None:
        self._path = path
        if connection.vendor == "sqlite":
            # In the order of the unique index, the best there is for it.
            self._tuples = sorted(ready_tuples(rows), key=itemgetter(1, 0, 3, 4))
            return
        created = datetime.now(UTC)
        spell = str if connection.vendor == "postgresql" else _naive
        with path.open("w", newline="") as file:
            file.writelines(
                f"{program}\t{learner}\t{reason}\t{certainty}\t{spell(moment)}\t{spell(created)}\n"
                for program, learner, reason, certainty, moment in rows
            )

    def load(self) -> float:
        start = perf_counter()
        getattr(self, f"_load_{connection.vendor}")()
        return perf_counter() - start

    def _load_postgresql(self) -> None:
        statement = f"COPY {TABLE} ({COLUMNS}) FROM STDIN"
        with connection.cursor() as cursor, self._path.open("rb") as file, cursor.cursor.copy(statement) as copy:
            while block := file.read(1 << 18):
                copy.write(block)

    def _load_mysql(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"LOAD DATA LOCAL INFILE '{self._path}' INTO TABLE {TABLE} ({COLUMNS})")

    def _load_sqlite(self) -> None:
        with transaction.atomic():
            # The driver's own connection: Django's cursor would translate the placeholders of every row.
            connection.connection.executemany(
                f"INSERT INTO {TABLE} ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", self._tuples
            )


def executemany(tuples: list[tuple[Any, ...]]) -> float:
    """What is left on MariaDB where the server forbids LOAD DATA LOCAL INFILE; the driver makes many VALUES of one."""
    start = perf_counter()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {TABLE} ({COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s)", tuples)
    return perf_counter() - start


def ready_tuples(rows: Iterable[Row]) -> list[tuple[Any, ...]]:
    created, spell = _naive(datetime.now(UTC)), (lambda program: program.hex) if connection.vendor == "sqlite" else str
    return [
        (spell(program), learner, reason, certainty, _naive(moment), created)
        for program, learner, reason, certainty, moment in rows
    ]


def _naive(moment: datetime) -> str:
    return str(moment.replace(tzinfo=None))


def choose_in_python(learner: int, now: datetime) -> dict[UUID, ProgramIntent]:
    """The service that this app replaces: fetch all of a learner's rows and choose in a loop."""
    best: dict[UUID, tuple[Any, ProgramIntent]] = {}
    for intent in ProgramIntent.objects.filter(learner_id=learner):
        if intent.effective_timestamp <= now:
            key = (intent.certainty != "MAYBE", intent.effective_timestamp, intent.created)
            if intent.program_uuid not in best or key > best[intent.program_uuid][0]:
                best[intent.program_uuid] = key, intent
    return {program: intent for program, (_, intent) in best.items()}
