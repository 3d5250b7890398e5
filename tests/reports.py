"""Report files to load, and the loader run on them: in this process, or in one of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.core.management.color import no_style
from django.db import connection

import test_settings
from program_intent.models import ProgramIntent

ROOT = Path(__file__).parent.parent
COMMAND = "load_program_intents"
COLUMNS = ("program_uuid", "learner", "reason", "certainty", "effective_timestamp")
PROGRAM = "51032e48-04ca-5d43-901a-80cd294a21e1"
ROW = {
    "program_uuid": PROGRAM,
    "learner": "1",
    "reason": "BUNDLE_PURCHASE",
    "certainty": "CERTAIN_YES",
    "effective_timestamp": "2022-04-12T00:00:00Z",
}
ON_ONE_ENGINE = pytest.mark.skipif(
    test_settings.ENGINE != "sqlite",
    reason="a process is the same with any database: tested once, with ENGINE=sqlite",
)
AS_ON_MARIADB = pytest.mark.skipif(
    test_settings.ENGINE == "mysql", reason="as on MariaDB: the same statements through the same driver"
)
HEADER = ",".join(COLUMNS)


class Counts(NamedTuple):
    read: int
    created: int
    duplicate: int
    rejected: int


class Loaded(NamedTuple):
    """How a load ended: exit status, the error's text, what the table counts, and what stderr showed besides.

    The counts are those of version 0.1; what was left out as erased is apart.
    """

    status: int
    message: str
    counts: Counts
    stdout: str
    stderr: str
    erased: int = 0


def make_row(**changes: object) -> str:
    """A line of CSV whose values need no quotes."""
    return ",".join(str(value) for value in (ROW | changes).values())


def write_report(path: Path, *rows: str, header: str = HEADER) -> Path:
    path.write_bytes("\n".join([header, *rows, ""]).encode("utf-8", "surrogateescape"))
    return path


def make_learners(count: int) -> None:
    """Users with the primary keys from 1 and the names learner1, learner2 and so on."""
    users = get_user_model()
    users.objects.bulk_create(users(pk=key, username=f"learner{key}") for key in range(1, count + 1))
    with connection.cursor() as cursor:
        for sql in connection.ops.sequence_reset_sql(no_style(), [users]):  # or PostgreSQL gives these keys again
            cursor.execute(sql)


def load(*arguments: object, **options: Any) -> Loaded:
    """The command in this process."""
    stdout, stderr = StringIO(), StringIO()
    status, message = 0, ""
    try:
        call_command(COMMAND, *map(str, arguments), stdout=stdout, stderr=stderr, **options)
    except CommandError as error:
        status, message = error.returncode, str(error)
    return _loaded(status, message, stdout.getvalue(), stderr.getvalue())


def run(*arguments: object, **options: Any) -> Loaded:
    """The command as a process of its own on the database of the tests."""
    result = subprocess.run(
        process_arguments(*arguments), env=process_environment(), capture_output=True, text=True, **options
    )
    return finished(result.returncode, result.stdout, result.stderr)


def process_arguments(*arguments: object) -> list[str]:
    """Without system checks, which are half of the second that a process takes to start."""
    return [sys.executable, str(ROOT / "example" / "manage.py"), COMMAND, "--skip-checks", *map(str, arguments)]


def process_environment() -> dict[str, str]:
    return os.environ | {
        "DJANGO_SETTINGS_MODULE": "test_settings",
        "DATABASE": f"test_{test_settings.DATABASE}",
        "PYTHONPATH": str(ROOT),
    }


def finished(status: int, stdout: str, stderr: str) -> Loaded:
    """What a process said; whatever happens, it shows no traceback."""
    assert "Traceback" not in stderr, stderr
    *shown, last = stderr.splitlines() or [""]
    return _loaded(status, last.removeprefix("CommandError: "), stdout, "\n".join(shown))


def _loaded(status: int, message: str, stdout: str, stderr: str) -> Loaded:
    table = dict(re.findall(r"^(\w+) +([\d,]+)$", stdout, re.M))
    *counts, erased = (int(table.get(name, "0").replace(",", "")) for name in (*Counts._fields, "erased"))
    return Loaded(status, message, Counts(*counts), stdout, stderr, erased)


class StoredRow(NamedTuple):
    learner_id: int
    program_uuid: UUID
    reason: str
    certainty: str
    effective_timestamp: datetime


def stored() -> list[StoredRow]:
    """Every row of the table, in a fixed order."""
    return sorted(StoredRow(*values) for values in ProgramIntent.objects.values_list(*StoredRow._fields))


LEARNERS = 500
_PROGRAMS = [uuid5(NAMESPACE_URL, f"https://example.org/programs/{number}") for number in range(20)]
_EPOCH = datetime(2024, 1, 1, tzinfo=UTC)


def many(count: int) -> list[StoredRow]:
    """Distinct rows of the learners 1 to ``LEARNERS``."""
    certainties = ("MAYBE", "CERTAIN_YES", "CERTAIN_NO")
    return [
        StoredRow(
            number % LEARNERS + 1,
            _PROGRAMS[number % 20],
            "REGISTERED",
            certainties[number % 3],
            _EPOCH + timedelta(seconds=number),
        )
        for number in range(count)
    ]


def as_csv(rows: Iterable[StoredRow]) -> Iterable[str]:
    for learner, program_uuid, reason, certainty, moment in rows:
        yield f"{program_uuid},{learner},{reason},{certainty},{moment:%Y-%m-%dT%H:%M:%SZ}"
