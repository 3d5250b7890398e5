"""How much memory a load takes: a process of its own for each, whose peak is measured."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from django.db import connection

from program_intent.data import FIELDS
from program_intent.intake.load import LARGEST_TRANSACTION
from tests.reports import (
    AS_ON_MARIADB,
    HEADER,
    LEARNERS,
    PROGRAM,
    as_csv,
    make_learners,
    make_row,
    many,
    process_environment,
    write_report,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.slow,
    AS_ON_MARIADB,
]
OF_WHAT_IS_READ = pytest.mark.skipif(
    connection.vendor != "sqlite", reason="what is read is bounded before any database has it"
)
# A process that hangs fails its test instead of the whole run.
LIMIT = 100
# Rows: by then the batches that are in memory at once have all been there.
SMALL = 40_000


@pytest.fixture(autouse=True)
def learners(transactional_db: None) -> None:
    make_learners(LEARNERS)


MEASURE = """
import django, resource, sys
from django.conf import settings
from django.core.management import CommandError, call_command
django.setup()
from program_intent.intake import load
load.LARGEST_TRANSACTION = int(sys.argv[1])
settings.DEBUG = sys.argv[2] == "True"
message = ""
try:
    call_command("load_program_intents", *sys.argv[3:])
except CommandError as error:
    message = str(error)
print(message)
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 // 1_000_000)
"""


def measured(*arguments: object, batch: int = LARGEST_TRANSACTION, debug: bool = False) -> tuple[int, str]:
    """Megabytes of a load in a process of its own, and the error it ended with.

    A shell stands between, because a process inherits the peak of the one that forked it, and ours is a large one.
    """
    command = ["/bin/sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", MEASURE, str(batch), str(debug)]
    result = subprocess.run(
        [*command, *map(str, arguments)], env=process_environment(), capture_output=True, text=True, timeout=LIMIT
    )
    assert result.returncode == 0, result.stderr
    *_, message, peak = result.stdout.splitlines()
    return int(peak.split()[-1]), message


def peak_memory(*arguments: object, batch: int = LARGEST_TRANSACTION) -> int:
    peak, message = measured(*arguments, batch=batch)
    assert message == ""
    return peak


@OF_WHAT_IS_READ
@pytest.mark.parametrize("option", [(), ("--dry-run",)], ids=["real", "dry"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, option: tuple[str, ...]) -> None:
    rows = many(160_000)
    small = write_report(tmp_path / "small.csv", *as_csv(rows[:SMALL]))
    large = write_report(tmp_path / "large.csv", *as_csv(rows))
    # Small batches, so that what grows with the file would show beside them.
    peak = peak_memory(small, *option, batch=5000)
    assert peak_memory(large, *option, batch=5000) < 1.1 * peak


def test_a_load_takes_less_than_150_megabytes_also_when_all_is_there_already(tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.csv", *as_csv(many(4 * LARGEST_TRANSACTION)))
    assert peak_memory(path) < 150
    assert peak_memory(path) < 150


def test_a_load_of_learners_by_name_takes_less_than_200_megabytes(tmp_path: Path) -> None:
    """Three batches are in memory then: one is read, one prepared while its names' keys are there, one stored."""
    path = tmp_path / "report.jsonl"
    with path.open("w") as file:
        for learner, program_uuid, reason, certainty, moment in many(4 * LARGEST_TRANSACTION):
            values = (f"learner{learner}", str(program_uuid), reason, certainty, f"{moment:%Y-%m-%d %H:%M:%S.%f Z}")
            print(json.dumps(dict(zip(FIELDS, values, strict=True)) | {"ignored": "x" * 40}), file=file)
    assert peak_memory(path, "--learner-field", "username") < 200


def wide(path: Path, rows: int, note: str) -> Path:
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.write(f"{HEADER},note\n")
        for line in as_csv(many(rows)):
            file.write(f"{line},{note}\n")
    return path


def a_line_without_an_end(path: Path) -> Path:
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.write(f"{HEADER}\n{make_row()}\n")
        for _ in range(1000):
            file.write("x" * 2**20)
    return path


def empty_columns(path: Path) -> Path:
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.write(f"{HEADER}\n")
        for _ in range(200):
            file.write("a" + "," * 1_000_000 + "\n")
    return path


def an_array_on_one_line(path: Path) -> Path:
    path.write_text('{"learner": 1}\n' + json.dumps([{"learner": 1, "reason": "A" * 50}] * 900_000))
    return path


def values_that_are_arrays(path: Path) -> Path:
    row = dict(zip(FIELDS, (0, PROGRAM, "REFUND", "MAYBE", "2022-04-12T00:00:00Z"), strict=True))
    with gzip.open(path, "wt", compresslevel=1) as file:
        for number in range(60):
            value = [[]] * 340_000 if number % 2 else {"a": [{}] * 340_000}
            print(json.dumps(row | {FIELDS[number % 5]: value}, separators=(",", ":")), file=file)
    return path


@OF_WHAT_IS_READ
@pytest.mark.parametrize(
    ("name", "make", "ends"),
    [
        ("wide.csv.gz", partial(wide, rows=60_000, note="x" * 20_000), ""),
        ("endless.csv.gz", a_line_without_an_end, "line 3 is longer than 1 MiB: write one record per line."),
        ("columns.csv.gz", empty_columns, "200 rows were rejected: --rejects PATH keeps them."),
        ("array.jsonl", an_array_on_one_line, "line 2 is longer than 1 MiB: write one record per line."),
        ("values.jsonl.gz", values_that_are_arrays, "60 rows were rejected: --rejects PATH keeps them."),
    ],
)
def test_however_its_rows_look_a_load_takes_less_than_200_megabytes(
    tmp_path: Path, name: str, make: Callable[[Path], Path], ends: str
) -> None:
    peak, message = measured(make(tmp_path / name))
    assert peak < 200
    assert message.endswith(ends)


@OF_WHAT_IS_READ
def test_under_debug_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    rows = many(160_000)
    small = write_report(tmp_path / "small.csv", *as_csv(rows[:SMALL]))
    large = write_report(tmp_path / "large.csv", *as_csv(rows))
    peak, _ = measured(small, batch=5000, debug=True)
    assert measured(large, batch=5000, debug=True)[0] < min(1.1 * peak, 200)
