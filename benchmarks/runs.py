"""What the ledger costs a load: the same report with its run, and without any, in turns in one process."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from benchmarks import database, generate
from benchmarks.load import into_empty
from benchmarks.results import Result
from program_intent.sources.lines import Stored


class NoRun:
    """In place of a run: intents that name none, and nothing written beside them."""

    key = None

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def note(self, settled: Any) -> None: ...

    def end(self, *args: Any, **kwargs: Any) -> None: ...


def readinto_without_hash(stored: Any, buffer: Any) -> int | None:
    count: int | None = stored._file.readinto(buffer)
    stored.bytes += count or 0
    return count


@contextmanager
def without_runs() -> Iterator[None]:
    command = "program_intent.management.commands.load_program_intents.OpenRun"
    with patch(command, NoRun), patch.object(Stored, "readinto", readinto_without_hash):
        yield


def runs(rows: int, repeats: int) -> list[Result]:
    database.create(users=generate.learners(rows))
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.csv")
        generate.write_csv(report, rows)
        load = partial(into_empty, report, rows)
        load()  # the first of all warms the server
        turns = []
        for _ in range(repeats):
            with without_runs():
                plain = load()
            turns.append((plain, load()))
    plain, with_run = map(median, zip(*turns, strict=True))
    detail = {"plain": [pair[0] for pair in turns], "with_run": [pair[1] for pair in turns], "rows": rows}
    return [
        Result(
            f"load of {rows:,} rows with its run, in rates of one without", plain / with_run, 0.98, True, detail=detail
        )
    ]
