"""The rule is data: a certainty more is one line of values and one line of the rule, and everything agrees."""

import os
import shutil
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest

import test_settings
from program_intent import rule
from program_intent.data import Certainty
from program_intent.rule import Clause
from tests.test_custom_user import ROOT


def test_each_certainty_has_one_rank() -> None:
    assert sorted(chain(*rule.RANKS)) == sorted(Certainty)


def test_each_clause_has_words_made_from_the_ranks_where_it_is_about_them() -> None:
    assert all(clause.words for clause in Clause)
    assert Clause.CERTAIN_BEATS_MAYBE.words == "a certain intent beats MAYBE"
    assert Clause.NO_BEFORE_YES.words == "CERTAIN_NO before CERTAIN_YES"


@pytest.mark.slow
@pytest.mark.skipif(test_settings.ENGINE == "mysql", reason="the texts of its reads are MariaDB's")
def test_a_certainty_between_certain_and_maybe_is_two_lines_and_every_answer_agrees(tmp_path: Path) -> None:
    """Every read, count, page, explanation and engine, against the ten-line rule, in a copy of the package."""
    for name in ("program_intent", "tests", "benchmarks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "results"))
    for name in ("test_settings.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    insert(tmp_path / "program_intent/data.py", before='    MAYBE = "MAYBE"\n', line='    LIKELY = "LIKELY"\n')
    insert(tmp_path / "program_intent/rule.py", before='    ("MAYBE",),\n', line='    ("LIKELY",),\n')

    migration = run(tmp_path, "django", "makemigrations", "program_intent", ENGINE="sqlite")
    assert "Alter field certainty" in migration
    words = "from program_intent.rule import Clause; print(Clause.CERTAIN_BEATS_MAYBE.words)"
    assert run(tmp_path, words) == "a certain intent beats LIKELY, which beats MAYBE\n"
    told = run(
        tmp_path,
        "pytest",
        "-q",
        "tests/test_latest.py::test_every_engine_gives_the_answer_of_the_ten_line_rule",
        "tests/test_cohorts.py::test_every_engine_gives_each_cohort_the_answers_of_the_ten_line_rule",
        "tests/test_history.py::test_the_history_is_all_that_was_known_newest_first",
        "tests/test_history.py::test_every_intent_has_the_verdict_of_the_rule_and_the_winner_is_the_answer",
        "tests/test_rest_reads.py::test_pages_of_a_history_are_what_the_api_answers_forwards_and_backwards",
        "tests/test_rest_reads.py::test_pages_of_a_program_are_what_the_api_answers",
        DATABASE=f"{test_settings.DATABASE}_likely",
    )
    assert "passed" in told


def insert(path: Path, *, before: str, line: str) -> None:
    text = path.read_text()
    assert text.count(before) == 1
    path.write_text(text.replace(before, line + before))


def run(folder: Path, *arguments: str, **environment: str) -> str:
    command = [sys.executable, *(("-c",) if " " in arguments[0] else ("-m",)), *arguments]
    settings = {"DJANGO_SETTINGS_MODULE": "test_settings", "PYTHONPATH": str(folder)}
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **settings, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
