"""A whole load, batch by batch: what is counted, what is stored, and that a dry run foretells it."""

import csv
import gzip
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tqdm import TMonitor

from program_intent.intake import load as load_module
from program_intent.models import ProgramIntent
from program_intent.sources import lines as lines_module
from program_intent.sources.csv_file import CsvFile
from program_intent.sources.rows import Block
from program_intent.store import PreparedRows, Spelled
from tests.reports import PROGRAM, ROOT, Counts, load, make_learners, make_row, stored, write_report

pytestmark = pytest.mark.django_db

REAL_REPORT = ROOT / "example" / "data" / "oulad_intents.csv.gz"
BAD = make_row(certainty="SURE")
UNKNOWN = make_row(learner=77)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LARGEST_TRANSACTION", "FIRST_TRANSACTION"):
        monkeypatch.setattr(load_module, name, 3)
    monkeypatch.setattr(lines_module, "BLOCK", 3)


@pytest.mark.slow
def test_the_real_report_loads_whole_and_again_as_duplicates_and_dry_runs_foretell_both() -> None:
    with gzip.open(REAL_REPORT, "rt", newline="") as file:
        keys = {int(row["learner"]) for row in csv.DictReader(file)}
    users = get_user_model()
    users.objects.bulk_create(users(pk=key, username=str(key)) for key in keys)

    assert load(REAL_REPORT, "--dry-run").counts == (58_050, 58_050, 0, 0)
    assert not ProgramIntent.objects.exists()
    assert load(REAL_REPORT).counts == (58_050, 58_050, 0, 0)
    assert ProgramIntent.objects.count() == 58_050
    assert load(REAL_REPORT, "--dry-run").counts == (58_050, 0, 58_050, 0)
    assert load(REAL_REPORT).counts == (58_050, 0, 58_050, 0)
    assert ProgramIntent.objects.count() == 58_050


# Learners who sign up meanwhile


class SignUp:
    """Makes learner 77 a user as soon as a statement has looked for users."""

    def __init__(self) -> None:
        self.is_done = False

    def __call__(self, execute: Any, sql: str, *rest: Any) -> Any:
        result = execute(sql, *rest)
        if not self.is_done and "auth_user" in sql:
            self.is_done = True
            get_user_model().objects.create(pk=77, username="late")
        return result


@pytest.mark.parametrize("options", [(), ("--max-rejects", 5), ("--learner-field", "id")], ids=str)
def test_who_signs_up_while_a_batch_is_stored_is_stored_or_rejected_never_lost(
    tmp_path: Path, options: tuple[object, ...]
) -> None:
    make_learners(2)
    path = write_report(tmp_path / "report.csv", make_row(), UNKNOWN, make_row(learner=2))
    with connection.execute_wrapper(SignUp()):
        loaded = load(path, *options)
    assert loaded.counts == (3, 2, 0, 1)
    assert loaded.status == 3
    assert load(path).counts == (3, 1, 2, 0)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("dry_run", [True, False], ids=["dry", "real"])
def test_a_reject_too_many_stops_the_load_whoever_signs_up_meanwhile(tmp_path: Path, dry_run: bool) -> None:
    make_learners(4)
    rows = [make_row(), UNKNOWN, make_row(learner=2), make_row(learner=3), make_row(learner=4)]
    path = write_report(tmp_path / "report.csv", *rows)
    with connection.execute_wrapper(SignUp()):
        loaded = load(path, "--max-rejects", 0, dry_run=dry_run)
    assert (loaded.status, loaded.message) == (1, "Stopped: more than 0 rows were rejected.")
    assert loaded.counts == (2, 1, 0, 1)


# Generated reports


class Good(NamedTuple):
    """A row in one of its spellings; two rows are the same if all but the spelling is."""

    learner: int
    certainty: str
    hour: int
    spelling: int

    def __str__(self) -> str:
        times = (f"2022-04-12T{self.hour + 10}:00:00Z", f"2022-04-12 {self.hour + 12}:00:00.000+02:00")
        return make_row(
            program_uuid=(PROGRAM, UUID(PROGRAM).hex.upper())[self.spelling],
            learner=(self.learner, f"  {self.learner}")[self.spelling],
            reason=("BUNDLE_PURCHASE", " bundle_Purchase ")[self.spelling],
            certainty=self.certainty,
            effective_timestamp=times[self.spelling],
        )


good_rows = st.builds(
    Good, st.integers(1, 2), st.sampled_from(["CERTAIN_YES", "MAYBE"]), st.integers(0, 1), st.integers(0, 1)
)
bad_rows = st.sampled_from([BAD, UNKNOWN, "too,short", make_row(reason="caf\udce9")])
rows = st.lists(good_rows | bad_rows, max_size=12)


def expected(
    report: list[Good | str], allowed: int | None, present: set[tuple[object, ...]]
) -> tuple[int, Counts, list[int]]:
    """The rule in plain Python: exit status, counts, lines of the rejects; ``present`` gains what is stored."""
    created = duplicate = 0
    rejects: list[int] = []
    for line, row in enumerate(report, start=2):
        if isinstance(row, str):
            rejects.append(line)
            if allowed is not None and len(rejects) > allowed:
                return 1, Counts(created + duplicate + len(rejects), created, duplicate, len(rejects)), rejects
        elif row[:3] in present:
            duplicate += 1
        else:
            created += 1
            present.add(row[:3])
    return 3 if rejects else 0, Counts(len(report), created, duplicate, len(rejects)), rejects


@given(earlier=rows, report=rows, allowed=st.none() | st.integers(0, 3))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.usefixtures("small_batches")
def test_every_report_is_counted_stored_and_foretold_as_the_rule_says(
    tmp_path: Path, earlier: list[Good | str], report: list[Good | str], allowed: int | None
) -> None:
    before = write_report(tmp_path / "earlier.csv", *map(str, earlier))
    path = write_report(tmp_path / "report.csv", *map(str, report))
    rejects = tmp_path / "rejects.csv"
    options = ["--rejects", rejects, *([] if allowed is None else ["--max-rejects", allowed])]
    present: set[tuple[object, ...]] = set()
    with transaction.atomic():
        make_learners(2)
        load(before)
        expected(earlier, None, present)
        status, counts, lines = expected(report, allowed, present)

        dry = load(path, "--dry-run", *options)
        dry_rejects = rejects.read_text()
        real = load(path, *options)
        found = {(row.learner_id, row.certainty, row.effective_timestamp.hour - 10) for row in stored()}
        transaction.set_rollback(True)

    assert (dry.status, dry.message, dry.counts) == (real.status, real.message, real.counts)
    assert dry_rejects == rejects.read_text()
    assert (real.status, real.counts) == (status, counts)
    with rejects.open(newline="") as file:
        assert [int(row["line"]) for row in csv.DictReader(file)] == lines
    assert found == present


# Batches


@pytest.mark.usefixtures("small_batches")
def test_a_batch_shares_one_creation_time_and_the_next_has_its_own(tmp_path: Path) -> None:
    make_learners(7)
    load(write_report(tmp_path / "report.csv", *[make_row(learner=key) for key in range(1, 8)]))
    moments = dict(ProgramIntent.objects.values_list("learner_id", "created"))
    assert [len({moments[key] for key in batch}) for batch in ((1, 2, 3), (4, 5, 6))] == [1, 1]
    assert moments[3] < moments[4] < moments[7]


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("dry_run", [True, False], ids=["dry", "real"])
def test_a_duplicate_in_a_later_batch_or_another_file_is_counted_once(tmp_path: Path, dry_run: bool) -> None:
    make_learners(2)
    first = write_report(tmp_path / "first.csv", *[make_row(learner=1)] * 4)
    second = write_report(tmp_path / "second.csv", make_row(learner=2), make_row(learner=1), UNKNOWN, UNKNOWN)
    assert load(first, second, dry_run=dry_run).counts == (8, 2, 4, 2)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("bad", [BAD, UNKNOWN], ids=["refused", "unknown learner"])
def test_what_was_stored_before_max_rejects_stays_and_nothing_after_it_is_stored(tmp_path: Path, bad: str) -> None:
    make_learners(20)
    good = [make_row(learner=key) for key in range(1, 21)]
    loaded = load(write_report(tmp_path / "report.csv", *good[:4], bad, *good[4:8], bad, *good[8:]), "--max-rejects", 1)
    assert (loaded.status, loaded.counts) == (1, (10, 8, 0, 2))
    assert [row.learner_id for row in stored()] == list(range(1, 9))


@pytest.mark.parametrize("dry_run", [True, False], ids=["dry", "real"])
def test_a_stored_row_whose_user_is_gone_is_a_duplicate_and_a_new_one_rejected(tmp_path: Path, dry_run: bool) -> None:
    make_learners(1)
    path = write_report(tmp_path / "report.csv", make_row(learner=1))
    load(path)
    get_user_model().objects.filter(pk=1)._raw_delete("default")
    write_report(path, make_row(learner=1), make_row(learner=1, certainty="MAYBE"))
    loaded = load(path, dry_run=dry_run)
    assert (loaded.status, loaded.counts) == (3, (2, 0, 1, 1))


@pytest.mark.usefixtures("small_batches")
def test_a_load_that_is_stopped_leaves_no_thread_behind(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    load(write_report(tmp_path / "report.csv", *[BAD] * 30), "--max-rejects", 0)
    for thread in set(threading.enumerate()) - before:
        if not isinstance(thread, TMonitor):  # tqdm starts one and keeps it
            thread.join(timeout=10)
            assert not thread.is_alive()


def interrupting(times: int) -> Callable[..., tuple[int, set[Spelled]]]:
    """Ctrl-C at the worst moment: when a batch is stored and not yet counted."""
    write = PreparedRows.write

    def write_and_interrupt(rows: PreparedRows, *then: Any) -> tuple[int, set[Spelled]]:
        written = write(rows, *then)
        for _ in range(times):
            signal.raise_signal(signal.SIGINT)
        return written

    return write_and_interrupt


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize(("times", "counted"), [(1, 3), (2, 0)], ids=["once", "twice"])
def test_ctrl_c_waits_for_the_batch_to_be_counted_unless_pressed_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int, counted: int
) -> None:
    make_learners(9)
    path = write_report(tmp_path / "report.csv", *[make_row(learner=key) for key in range(1, 10)])
    monkeypatch.setattr(PreparedRows, "write", interrupting(times))
    loaded = load(path)
    assert (loaded.status, loaded.counts) == (1, (counted, counted, 0, 0))
    assert loaded.message == "Interrupted; what was stored stays, and the load can be run again."
    assert len(stored()) == 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("small_batches")
def test_the_next_batch_is_read_while_the_database_works_and_none_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So memory holds two batches, however slow the database is."""
    make_learners(12)
    blocks, write = CsvFile.blocks, PreparedRows.write
    read = 0
    read_when_writing = []

    def counting_blocks(source: CsvFile) -> Iterator[Block]:
        nonlocal read
        for block in blocks(source):
            read += len(block.rows)
            yield block

    def slow_write(rows: PreparedRows, *then: Any) -> tuple[int, set[Spelled]]:
        time.sleep(0.05)
        read_when_writing.append(read)
        return write(rows, *then)

    monkeypatch.setattr(CsvFile, "blocks", counting_blocks)
    monkeypatch.setattr(PreparedRows, "write", slow_write)
    load(write_report(tmp_path / "report.csv", *[make_row(learner=key) for key in range(1, 13)]))
    assert read_when_writing[:4] == [6, 9, 12, 12]


@pytest.mark.parametrize(("longest", "sizes"), [(60, {8}), (0, {1})], ids=["in time", "too long"])
def test_a_batch_is_as_large_as_the_time_that_storing_it_may_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, longest: int, sizes: set[int]
) -> None:
    """So nobody waits longer for a batch in a large table than in a small one."""
    make_learners(32)
    write = PreparedRows.write
    written = []

    def noting_write(rows: PreparedRows, *then: Any) -> tuple[int, set[Spelled]]:
        written.append(len(rows.rows))
        return write(rows, *then)

    monkeypatch.setattr(load_module, "LARGEST_TRANSACTION", 8)
    monkeypatch.setattr(load_module, "FIRST_TRANSACTION", 2)
    monkeypatch.setattr(load_module, "LONGEST_TRANSACTION", longest)
    monkeypatch.setattr(lines_module, "BLOCK", 1)
    monkeypatch.setattr(PreparedRows, "write", noting_write)
    load(write_report(tmp_path / "report.csv", *[make_row(learner=key) for key in range(1, 33)]))
    assert written[0] == 2
    assert set(written[2:-2]) == sizes  # the second is made while the first is written, the last ones are what is left
    assert len(stored()) == 32
