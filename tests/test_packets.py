"""What is sent at once fits into what MariaDB and MySQL take: max_allowed_packet."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from django.contrib.auth.models import User
from django.db import connection
from pytest_django import Settings

import test_settings
from program_intent.api import get_latest_certain_intents_for_learners, record_intents
from program_intent.engines import mysql
from program_intent.models import ProgramIntent
from tests import private_mariadb
from tests.builders import make_row, make_user
from tests.reports import ROOT, load, write_report
from tests.reports import make_row as make_line

IS_SMALL = "SMALL_PACKETS" in os.environ  # the server itself
PACKET, ROWS = (2**20, 20_000) if IS_SMALL else (2**16, 1_500)

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor != "mysql", reason="only MariaDB and MySQL have max_allowed_packet"),
]


@pytest.fixture(autouse=True)
def largest(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The bytes of the largest statement so far, on a connection that says it takes few."""
    sent = [0]

    def measured(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "max_allowed_packet" in sql and not IS_SMALL:
            sql = f"SELECT {PACKET}"
        executed = execute(sql, params, many, context)
        if not sql.startswith("INSERT INTO `auth_user`"):  # the test's own
            sent[0] = max(sent[0], len(connection.ops.last_executed_query(context["cursor"], sql, params).encode()))
        return executed

    monkeypatch.setattr(mysql, "_TOLD", WeakKeyDictionary())
    with connection.execute_wrapper(measured):
        yield sent
    assert sent[0] < PACKET


@pytest.fixture
def learner() -> Any:
    return make_user(username="\U0001f600" * 100)


def rows_of(learner: Any) -> list[dict[str, Any]]:
    return [make_row(learner=learner, reason=f"R{number}_{'X' * (number % 50)}") for number in range(ROWS)]


@pytest.mark.parametrize("names", ["pk", "username"])
def test_a_batch_larger_than_a_packet_is_recorded(learner: User, names: str, largest: list[int]) -> None:
    rows = rows_of(getattr(learner, names))
    rows[-1]["learner"] = 2**31 - 1 if names == "pk" else "nobody"
    for expected in ("created", "duplicate"):
        outcomes = record_intents(rows, learner_field=names)
        assert {outcome.status for outcome in outcomes[:-1]} == {expected}
        assert outcomes[-1].status == "rejected"
    assert largest[0] > PACKET // 8


@pytest.mark.parametrize("options", [{}, {"dry_run": True}])
def test_a_load_larger_than_a_packet_is_stored(
    tmp_path: Path, learner: User, options: dict[str, Any], largest: list[int]
) -> None:
    rows = [make_line(learner=learner.pk, reason=row["reason"]) for row in rows_of(learner)]
    report = write_report(tmp_path / "report.csv", *rows, make_line(learner=2**31 - 1))
    for times in range(2):
        loaded = load(report, **options)
        assert loaded.status == 3
        assert (loaded.counts.created, loaded.counts.rejected) == (0 if times and not options else ROWS, 1)
    assert largest[0] > PACKET // 8


def test_a_load_with_more_names_than_a_packet_holds_is_stored(
    tmp_path: Path, settings: Settings, largest: list[int]
) -> None:
    settings.PROGRAM_INTENT = {"LEARNER_LOOKUP_FIELD": "username"}
    names = [f"{number}" + "\u00e9" * 50 for number in range(ROWS)]
    User.objects.bulk_create([User(username=name) for name in names], batch_size=500)
    lines = [make_line(learner=name) for name in (*names, names[0].upper(), "nobody")]
    loaded = load(write_report(tmp_path / "report.csv", *lines))
    assert loaded.status == 3
    assert (loaded.counts.created, loaded.counts.rejected) == (ROWS, 2)
    assert largest[0] > PACKET // 8


def test_more_learners_than_a_packet_holds_are_answered(learner: User, largest: list[int]) -> None:
    record_intents([make_row(learner=learner)])
    keys = [*range(10**9, 10**9 + 10 * ROWS), learner.pk]
    answers = get_latest_certain_intents_for_learners(keys)
    assert [key for key, intents in answers.items() if intents] == [learner.pk]
    assert largest[0] > PACKET // 8


def test_a_small_batch_asks_for_no_limit(learner: User) -> None:
    asked = []

    def noted(execute: Any, sql: str, *rest: Any) -> Any:
        asked.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(noted):
        record_intents(rows_of(learner)[:20])
    assert asked
    assert not any("max_allowed_packet" in sql for sql in asked)
    assert ProgramIntent.objects.count() == 20


@pytest.mark.slow
@pytest.mark.skipif(test_settings.ENGINE != "mariadb" or IS_SMALL, reason="a MariaDB server can be started by itself")
def test_a_server_that_takes_one_mebibyte_gets_no_more() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", __file__]
    with private_mariadb.server("--max-allowed-packet=1M") as server:
        environment = {**os.environ, **server, "SMALL_PACKETS": "1"}
        result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
