"""``export_program_intents``: all that is stored of one learner and nothing of others; all intents and no learner."""

import csv
import hmac
import json
import subprocess
import sys
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from program_intent import api
from program_intent.models import ProgramIntent, Run
from program_intent.read import pseudonyms
from tests.builders import MOMENT, PROGRAM, make_intent, make_row, make_user, store_history, stored_intents
from tests.reports import (
    AS_ON_MARIADB,
    ON_ONE_ENGINE,
    ROOT,
    as_csv,
    load,
    make_learners,
    many,
    process_environment,
    write_report,
)
from tests.reports import make_row as line
from tests.test_erase_command import BY_NAME, NOBODY, reject
from tests.test_read_commands import Ended, run, run_process

EXPORT = "export_program_intents"
SECRET = "a key of sixteen"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ada() -> Any:
    return make_user(username="ada")


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(f"{SECRET}\n")
    return path


def exported(*arguments: object) -> dict[str, Any]:
    ended = run(EXPORT, *arguments)
    assert (ended.status, ended.message) == (0, "")
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def pseudonymous(*arguments: object) -> list[dict[str, str]]:
    ended = run(EXPORT, "--pseudonymous", *arguments)
    assert (ended.status, ended.message) == (0, "")
    return list(csv.DictReader(StringIO(ended.stdout)))


# One learner


def test_an_export_has_the_intents_each_with_its_run_but_not_who_started_that(ada: Any, tmp_path: Path) -> None:
    report = write_report(tmp_path / "intents.csv", line(learner="ada", reason="VISITED"))
    load(report, *BY_NAME, "--by", "operator")
    make_intent(learner=ada)
    make_intent()
    told = exported("--learner", "ada", *BY_NAME)
    expected = {intent.reason: intent.as_dict() for intent in api.get_intent_history(ada)}
    run_of_load = Run.objects.get().summary()
    source = {"id": run_of_load.id, "kind": "file", "source": "intents.csv"}
    first, second = told["intents"]
    assert first == {**expected["BUNDLE_PURCHASE"], "run": None}
    assert second.pop("run").items() >= source.items()
    assert second == expected["VISITED"]
    assert "operator" not in json.dumps(told)


def test_an_export_has_what_was_rejected_and_what_was_erased_of_the_learner_alone(ada: Any) -> None:
    grace = make_user(username="grace")
    for learner in (ada, grace):
        make_intent(learner=learner)
        api.erase_learner(learner, retired=True)
    rejected = [reject("ada"), reject(ada.pk, "pk")]
    reject("grace")
    reject("ADA")
    told = exported("--learner", ada.pk)
    assert told["learner"] == {"learner_id": ada.pk}
    assert told["intents"] == []
    assert {(row["learner_field"], row["learner"]) for row in told["rejected"]} == {
        (row.learner_field, row.learner) for row in rejected
    }
    assert [(row["intents"], row["until"]) for row in told["erasures"]] == [(1, None)]
    assert told["erasures"][0]["erased"] > "2026"


def test_who_is_no_user_has_an_export_by_key_and_by_name(ada: Any) -> None:
    key = ada.pk
    reject("ada")
    reject("linus")
    ada.delete()
    assert exported("--learner", key)["erasures"][0]["intents"] == 0
    assert exported("--learner", "linus", *BY_NAME)["rejected"][0]["learner"] == "linus"
    told = exported("--learner", "ada", *BY_NAME)
    assert told["learner"] == {"learner_id": None, "username": "ada"}
    assert (told["intents"], told["rejected"], list(told["erasures"][0])) == ([], [], ["until"])


def test_a_later_bearer_of_a_name_is_told_nothing_of_the_former(ada: Any) -> None:
    make_intent(learner=ada)
    ada.delete()
    later = make_user(username="ada")
    told = exported("--learner", "ada", *BY_NAME)
    assert told == {
        "learner": {"learner_id": later.pk, "username": "ada"},
        "intents": [],
        "rejected": [],
        "erasures": [],
    }


@ON_ONE_ENGINE
def test_the_export_of_a_learner_with_60000_intents_takes_few_queries(ada: Any) -> None:
    runs = [Run.objects.create(kind="file", started=MOMENT, updated=MOMENT, first_key=0, last_key=0) for _ in range(3)]
    moments = (MOMENT + timedelta(seconds=number) for number in range(60_000))
    store_history(
        ProgramIntent(**make_row(learner=ada, effective_timestamp=moment, created=MOMENT), run=runs[moment.second % 3])
        for moment in moments
    )
    with CaptureQueriesContext(connection) as queries:
        told = exported("--learner", ada.pk)
    assert len(told["intents"]) == 60_000
    assert {intent["run"]["id"] for intent in told["intents"]} == {run.pk for run in runs}
    assert len(queries) < 10


# Everybody, under pseudonyms


def test_a_learner_has_one_hash_in_an_export_and_another_in_the_next(ada: Any) -> None:
    for learner, reason in ((ada, "A"), (make_user(), "B"), (ada, "C")):
        make_intent(learner=learner, reason=reason)
    first, second = pseudonymous(), pseudonymous()
    assert [row["reason"] for row in first] == ["A", "B", "C"]
    a, b, c = (row["learner"] for row in first)
    assert a == c != b
    assert not {row["learner"] for row in first} & {row["learner"] for row in second}


def test_under_the_key_of_a_file_the_hash_is_an_hmac_of_the_primary_key(ada: Any, key_file: Path) -> None:
    intent = make_intent(learner=ada)
    (row,) = pseudonymous("--key-file", key_file)
    told = stored_intents()[0].as_dict()
    assert row == {
        "learner": hmac.digest(SECRET.encode(), str(ada.pk).encode(), "sha256").hex(),
        **{name: told[name] for name in list(row)[1:]},
    }
    assert (list(row)[1], row["program_uuid"], intent.learner_id) == ("program_uuid", str(PROGRAM), ada.pk)


def test_all_pages_are_one_csv(ada: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pseudonyms, "_PAGE", 2)
    for number in range(5):
        make_intent(learner=ada, reason=f"R{number}")
    assert [row["reason"] for row in pseudonymous()] == [f"R{number}" for number in range(5)]


def test_without_intents_there_are_the_columns_alone() -> None:
    assert run(EXPORT, "--pseudonymous").stdout == "learner,program_uuid,reason,certainty,effective_timestamp,created\n"


# What it writes to, and what it refuses


@pytest.mark.parametrize("what", [("--learner", NOBODY), ("--pseudonymous",)], ids=["learner", "pseudonymous"])
def test_an_export_goes_to_a_file_over_an_earlier_one_and_over_nothing_else(
    ada: Any, tmp_path: Path, what: tuple[object, ...]
) -> None:
    path = tmp_path / "export"
    path.write_text("precious\n")
    refused = Ended(1, f"{path}: holds no earlier export and would be overwritten.", "")
    assert run(EXPORT, *what, "--output", path) == refused
    assert path.read_text() == "precious\n"
    path.unlink()
    for _ in range(2):
        assert run(EXPORT, *what, "--output", path) == Ended(0, "", "")
        assert path.read_text() == run(EXPORT, *what).stdout


def test_the_key_is_not_overwritten(key_file: Path) -> None:
    ended = run(EXPORT, "--pseudonymous", "--key-file", key_file, "--output", key_file)
    assert ended == Ended(1, f"{key_file}: is one of the inputs and would be overwritten.", "")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read: No such file or directory."),
        ("fifteen letters\n", "expected a key of 16 bytes or more."),
    ],
)
def test_a_key_that_is_missing_or_short_is_refused(tmp_path: Path, content: str | None, problem: str) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_text(content)
    assert run(EXPORT, "--pseudonymous", "--key-file", path) == Ended(1, f"{path}: {problem}", "")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--learner", "1", "--key-file", "key"], "--key-file goes with --pseudonymous."),
        (["--pseudonymous", "--learner-field", "pk"], "--learner-field goes with --learner."),
        (
            ["--learner", "1", "--learner-field", "nickname"],
            "--learner-field: nickname is not a field of the user model.",
        ),
    ],
)
def test_what_does_not_go_together_is_wrong_usage(arguments: list[str], problem: str) -> None:
    assert run(EXPORT, *arguments) == Ended(2, problem, "")


@pytest.mark.parametrize("arguments", [[], ["--learner", "1", "--pseudonymous"]])
def test_one_of_the_two_has_to_be_asked_for(arguments: list[str]) -> None:
    ended = run_process(EXPORT, *arguments)
    assert (ended.status, ended.stdout) == (2, "")


def test_a_learner_who_cannot_be_is_refused_without_repeating_the_name(ada: Any) -> None:
    assert run(EXPORT, "--learner", "ada") == Ended(1, "LEARNER is no value of pk.", "")
    make_user(last_name="Smith")
    make_user(last_name="Smith")
    ended = run(EXPORT, "--learner", "Smith", "--learner-field", "last_name")
    assert ended == Ended(1, "LEARNER is borne by several users.", "")


@pytest.mark.parametrize("what", [("--learner", 1), ("--pseudonymous",)], ids=["learner", "pseudonymous"])
def test_a_database_that_fails_is_told_in_one_line(what: tuple[object, ...]) -> None:
    fails = mock.patch("django.db.backends.utils.CursorWrapper.execute", side_effect=OperationalError("no such\ntable"))
    with fails:
        ended = run(EXPORT, *what)
    assert (ended.status, ended.message) == (1, "The database failed: no such table")


@ON_ONE_ENGINE
@pytest.mark.parametrize("what", [("--learner", "1"), ("--pseudonymous",)], ids=["learner", "pseudonymous"])
def test_a_closed_output_is_told_in_one_line(what: tuple[str, ...]) -> None:
    command = [sys.executable, str(ROOT / "example" / "manage.py"), EXPORT, *what, "--skip-checks"]
    shell = ["/bin/sh", "-c", '"$@" >&-', "sh", *command]
    result = subprocess.run(shell, env=process_environment(), capture_output=True, text=True)
    message = "CommandError: standard output: cannot be written: Bad file descriptor.\n"
    assert (result.returncode, result.stderr) == (1, message)


MEASURE = """
import django, resource, sys
django.setup()
from django.core.management import call_command
call_command("export_program_intents", "--pseudonymous", *sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 // 1_000_000)
"""


@AS_ON_MARIADB
@pytest.mark.slow
@pytest.mark.parametrize(
    "to_a_file",
    [pytest.param(False, marks=ON_ONE_ENGINE, id="standard output"), pytest.param(True, id="file")],
)
def test_memory_does_not_grow_with_the_record(tmp_path: Path, to_a_file: bool) -> None:
    make_learners(500)
    rows = many(160_000)
    small = peak_of_an_export(tmp_path, rows[:20_000], to_a_file)
    assert peak_of_an_export(tmp_path, rows, to_a_file) < 1.1 * small


def peak_of_an_export(tmp_path: Path, rows: Any, to_a_file: bool) -> int:
    """Megabytes; a shell stands between, because a process inherits the peak of the one that forked it."""
    assert load(write_report(tmp_path / "report.csv", *as_csv(rows))).status == 0
    options = ["--output", str(tmp_path / "export.csv")] if to_a_file else []
    command = ["/bin/sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", MEASURE, *options]
    result = subprocess.run(command, env=process_environment(), capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, result.stderr
    *lines, peak = result.stdout.splitlines()
    written = (tmp_path / "export.csv").read_text().splitlines() if to_a_file else lines
    assert len(written) == 1 + len(rows)
    return int(peak.split()[-1])
