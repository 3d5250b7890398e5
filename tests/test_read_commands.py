"""``explain_program_intent`` and ``program_intent_counts``: what they print, refuse, and how they end."""

import csv
import json
import subprocess
import sys
from datetime import timedelta
from io import StringIO
from typing import Any, NamedTuple
from unittest import mock
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.test import override_settings

from program_intent.api import (
    count_latest_certain_intents_for_programs,
    explain_latest_certain_intent,
)
from program_intent.models import ProgramIntent
from tests.builders import MOMENT, PROGRAM, make_row, make_user, store_history
from tests.reports import ON_ONE_ENGINE, ROOT, process_environment
from tests.strategies import PROGRAMS

EXPLAIN, COUNT = "explain_program_intent", "program_intent_counts"
LATER = MOMENT + timedelta(hours=1)
OTHER = PROGRAMS[0]
WITHOUT_INTENTS = UUID("4a458848-f946-c657-25a7-e5df7b05272c")  # MariaDB's UUID column refuses it
by_username = override_settings(PROGRAM_INTENT={"LEARNER_LOOKUP_FIELD": "username"})

pytestmark = pytest.mark.django_db


class Ended(NamedTuple):
    status: int
    message: str
    stdout: str


def run(*arguments: object) -> Ended:
    """The command in this process."""
    stdout = StringIO()
    try:
        call_command(*map(str, arguments), stdout=stdout)
    except CommandError as error:
        return Ended(error.returncode, str(error), stdout.getvalue())
    return Ended(0, "", stdout.getvalue())


def run_process(*arguments: object) -> Ended:
    """The command as a process of its own on the database of the tests; whatever happens, it shows no traceback."""
    manage = [sys.executable, str(ROOT / "example" / "manage.py")]
    ended = subprocess.run(
        [*manage, *map(str, arguments)], env=process_environment(), capture_output=True, text=True, timeout=100
    )
    assert "Traceback" not in ended.stderr
    return Ended(ended.returncode, ended.stderr, ended.stdout)


@pytest.fixture
def ada() -> Any:
    """Who says no an hour after she said yes, which is written at once; and visits another program."""
    learner = make_user(username="ada")
    store(learner, {"reason": "BUNDLE_PURCHASE"})
    store(learner, {"reason": "REFUNDED", "certainty": "CERTAIN_NO", "effective_timestamp": LATER, "created": LATER})
    store(learner, {"reason": "VISITED", "certainty": "MAYBE", "program_uuid": OTHER})
    return learner


@pytest.fixture
def grace(ada: Any) -> Any:
    learner = make_user(username="grace")
    store(learner, {})
    return learner


def store(learner: Any, changes: dict[str, Any]) -> None:
    store_history([ProgramIntent(**make_row(learner=learner, created=MOMENT) | changes)])


# The explanation


def test_the_explanation_is_that_of_the_api(ada: Any) -> None:
    ended = run(EXPLAIN, ada.pk, PROGRAM.hex.upper(), "--as-of", LATER.isoformat(), "--known-at", "2022-04-12T08:45Z")
    expected = explain_latest_certain_intent(ada, PROGRAM, as_of=LATER, known_at="2022-04-12T08:45Z")
    assert ended == Ended(0, "", f"{expected}\n")
    assert "the answer                  CERTAIN_YES" in ended.stdout
    assert "not counted: not yet known  CERTAIN_NO" in ended.stdout


def test_without_moments_the_explanation_is_that_of_now(ada: Any) -> None:
    header, _columns, *verdicts = run(EXPLAIN, ada.pk, PROGRAM).stdout.splitlines()
    assert header.startswith(f"Learner {ada.pk}, program {PROGRAM}, as of 20")
    assert [line[:28].rstrip() for line in verdicts] == ["the answer", "the winner became true later"]


@by_username
def test_the_learner_is_named_as_the_settings_say(ada: Any) -> None:
    assert "REFUNDED" in run(EXPLAIN, "ada", PROGRAM).stdout
    assert run(EXPLAIN, ada.pk, PROGRAM).message == f"learner: No user is named by '{ada.pk}'."


@by_username
@pytest.mark.parametrize("name", ["ADA", "ada ", "adá", "linus"])
def test_a_name_is_matched_exactly_not_as_a_collation_would(ada: Any, name: str) -> None:
    assert run(EXPLAIN, name, PROGRAM) == Ended(1, f"learner: No user is named by '{name}'.", "")


def test_a_learner_without_intents_is_no_error(ada: Any) -> None:
    ended = run(EXPLAIN, make_user().pk, PROGRAM)
    assert (ended.status, ended.stdout.splitlines()[1:]) == (0, ["no intent counts"])
    assert run(EXPLAIN, ada.pk, WITHOUT_INTENTS).stdout.splitlines()[1:] == ["no intent counts"]


MALFORMED_MOMENTS = [
    ("2022-04-12", "Expected a time with the date, such as 2022-04-12T00:00:00Z, not '2022-04-12'."),
    (
        "2022-04-12T00:00:00",
        "Expected a time with a UTC offset, such as 2022-04-12T00:00:00Z, not '2022-04-12T00:00:00'.",
    ),
    ("", "Expected a date and time with an offset such as 2022-04-12T00:00:00Z, not ''."),
]


@pytest.mark.parametrize(
    ("learner", "message"),
    [
        (2**31 - 1, "No user is named by 2147483647."),
        ("9" * 30, "No user is named by 999999999999999999999999999999."),
        ("-1", "No user is named by -1."),
        ("x", "Expected an integer that names a user, not 'x'."),
        ("1.0", "Expected an integer that names a user, not '1.0'."),
        ("1\n\x1b[2J", r"Expected an integer that names a user, not '1\n\x1b[2J'."),
    ],
)
def test_a_learner_who_is_no_user_is_refused_in_one_line(learner: object, message: str) -> None:
    assert run(EXPLAIN, learner, PROGRAM) == Ended(1, f"learner: {message}", "")


@pytest.mark.parametrize("option", ["--as-of", "--known-at"])
@pytest.mark.parametrize(("text", "message"), MALFORMED_MOMENTS)
def test_a_malformed_moment_is_refused_in_one_line(ada: Any, option: str, text: str, message: str) -> None:
    name = option.removeprefix("--").replace("-", "_")
    assert run(EXPLAIN, ada.pk, PROGRAM, option, text) == Ended(1, f"{name}: {message}", "")
    assert run(COUNT, option, text) == Ended(1, f"{name}: {message}", "")


def test_a_malformed_program_is_refused_in_one_line(ada: Any) -> None:
    message = "Expected a UUID, with or without hyphens, not 'x'."
    assert run(EXPLAIN, ada.pk, "x") == Ended(1, f"program_uuid: {message}", "")
    assert run(COUNT, PROGRAM, "x") == Ended(1, f"program_uuids: {message}", "")


def test_all_that_is_malformed_is_told_at_once(ada: Any) -> None:
    ended = run(EXPLAIN, ada.pk, "x", "--as-of", "x", "--known-at", "x")
    assert [part.split(": ")[0] for part in ended.message.split("; ")] == ["program_uuid", "as_of", "known_at"]


@pytest.mark.parametrize("command", [[EXPLAIN, "1", PROGRAM], [COUNT]])
def test_a_database_that_fails_is_told_in_one_line(command: list[object]) -> None:
    fails = mock.patch("django.db.backends.utils.CursorWrapper.execute", side_effect=OperationalError("no such\ntable"))
    with fails:
        assert run(*command) == Ended(1, "The database failed: no such table", "")


# The counts


def test_the_counts_are_a_table_of_learners_per_certainty(grace: Any) -> None:
    assert run(COUNT).stdout == (
        "program_uuid                           CERTAIN_YES    CERTAIN_NO         MAYBE\n"
        "00000001-0000-4000-8000-000000000000             0             0             1\n"
        "51032e48-04ca-5d43-901a-80cd294a21e1             1             1             0\n"
    )


def test_the_columns_of_the_table_hold_ten_million_learners() -> None:
    counts = {PROGRAM: {"CERTAIN_YES": 12_345_678, "CERTAIN_NO": 0, "MAYBE": 1_000}}
    with mock.patch("program_intent.api.count_latest_certain_intents_for_programs", return_value=counts):
        assert run(COUNT).stdout.splitlines()[1] == f"{PROGRAM}    12,345,678             0         1,000"


def test_the_counts_as_csv(grace: Any) -> None:
    assert run(COUNT, "--format", "csv").stdout == (
        "program_uuid,CERTAIN_YES,CERTAIN_NO,MAYBE\n"
        "00000001-0000-4000-8000-000000000000,0,0,1\n"
        "51032e48-04ca-5d43-901a-80cd294a21e1,1,1,0\n"
    )


def test_the_counts_as_json(grace: Any) -> None:
    assert json.loads(run(COUNT, "--format", "json").stdout) == [
        {"program_uuid": str(OTHER), "CERTAIN_YES": 0, "CERTAIN_NO": 0, "MAYBE": 1},
        {"program_uuid": str(PROGRAM), "CERTAIN_YES": 1, "CERTAIN_NO": 1, "MAYBE": 0},
    ]


def test_only_the_programs_that_are_named_are_counted_also_those_without_intents(grace: Any) -> None:
    counted = read_csv(COUNT, PROGRAM.hex.upper(), WITHOUT_INTENTS, PROGRAM)
    assert [row["program_uuid"] for row in counted] == sorted(map(str, [PROGRAM, WITHOUT_INTENTS]))
    assert counted[0] == {"program_uuid": str(WITHOUT_INTENTS), "CERTAIN_YES": "0", "CERTAIN_NO": "0", "MAYBE": "0"}


@pytest.mark.parametrize(
    ("moments", "yes", "no"),
    [
        (["--as-of", "2022-04-12T09:00Z"], 2, 0),
        (["--known-at", "2022-04-12T09:00Z"], 2, 0),
        (["--as-of", "2022-04-12T08:00Z", "--known-at", "2022-04-12T09:00Z"], 0, 0),
        (["--as-of", "2022-04-12T12:00+02:00", "--known-at", "2022-04-12T10:00Z"], 1, 1),
    ],
)
def test_the_counts_are_those_of_the_moments(grace: Any, moments: list[str], yes: int, no: int) -> None:
    (row,) = read_csv(COUNT, PROGRAM, *moments)
    assert (row["CERTAIN_YES"], row["CERTAIN_NO"], row["MAYBE"]) == (str(yes), str(no), "0")


def read_csv(*arguments: object) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(run(*arguments, "--format", "csv").stdout)))


@pytest.mark.parametrize(
    ("form", "printed"),
    [
        ("table", "program_uuid                           CERTAIN_YES    CERTAIN_NO         MAYBE\n"),
        ("csv", "program_uuid,CERTAIN_YES,CERTAIN_NO,MAYBE\n"),
        ("json", "[]\n"),
    ],
)
def test_where_nothing_counts_there_is_nothing_but_the_columns(grace: Any, form: str, printed: str) -> None:
    assert run(COUNT, "--as-of", "2000-01-01T00:00Z", "--format", form) == Ended(0, "", printed)


def test_the_counts_are_those_of_the_api_in_its_order(grace: Any) -> None:
    counts = count_latest_certain_intents_for_programs()
    assert json.loads(run(COUNT, "--format", "json").stdout) == [
        {"program_uuid": str(program_uuid), **by_certainty} for program_uuid, by_certainty in counts.items()
    ]


# As processes


@pytest.mark.django_db(transaction=True)
def test_a_process_explains_and_counts_and_ends_with_0(grace: Any) -> None:
    explained = run_process(EXPLAIN, grace.pk, PROGRAM, "--known-at", "2022-04-12T12:00Z")
    assert (explained.status, explained.message) == (0, "")
    assert "\nthe answer  CERTAIN_YES  2022-04-12T08:30:00.123456Z" in explained.stdout
    counted = run_process(COUNT, PROGRAM, "--format", "csv")
    assert counted == Ended(0, "", f"program_uuid,CERTAIN_YES,CERTAIN_NO,MAYBE\n{PROGRAM},1,1,0\n")


@pytest.mark.parametrize(
    ("arguments", "status", "last_line"),
    [
        ([EXPLAIN, "x", PROGRAM], 1, "CommandError: learner: Expected an integer that names a user, not 'x'."),
        (
            [COUNT, "x"],
            1,
            "CommandError: program_uuids: Expected a UUID, with or without hyphens, not 'x'.",
        ),
        (
            [EXPLAIN, "1"],
            2,
            "manage.py explain_program_intent: error: the following arguments are required: PROGRAM_UUID",
        ),
    ],
)
def test_a_process_that_is_refused_says_why_in_its_last_line(
    arguments: list[object], status: int, last_line: str
) -> None:
    ended = run_process(*arguments)
    assert (ended.status, ended.stdout, ended.message.splitlines()[-1]) == (status, "", last_line)


def test_a_format_that_there_is_not_is_wrong_usage() -> None:
    ended = run_process(COUNT, "--format", "xml")
    assert ended.status == 2
    assert "--format: invalid choice: 'xml'" in ended.message


@ON_ONE_ENGINE
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("arguments", [(EXPLAIN, "LEARNER", str(PROGRAM)), (COUNT,)], ids=["explain", "counts"])
def test_a_closed_output_is_told_in_one_line(arguments: tuple[str, ...]) -> None:
    learner = str(make_user().pk)
    given = (learner if each == "LEARNER" else each for each in arguments)
    command = [sys.executable, str(ROOT / "example" / "manage.py"), *given, "--skip-checks"]
    shell = ["/bin/sh", "-c", '"$@" >&-', "sh", *command]
    result = subprocess.run(shell, env=process_environment(), capture_output=True, text=True)
    message = "CommandError: standard output: cannot be written: Bad file descriptor.\n"
    assert (result.returncode, result.stderr) == (1, message)
