"""A whole load, batch by batch: what is counted, what is stored, and that a dry run foretells it."""

import csv
import gc
import gzip
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tqdm import TMonitor, tqdm

from program_intent import engines
from program_intent.data import LoadReport
from program_intent.exceptions import LoadError
from program_intent.intake import load as load_module
from program_intent.intake.batch import Reject, Settled
from program_intent.intake.load import Load
from program_intent.intake.writers import Foretelling, Storing, Writer
from program_intent.management.process import finishing
from program_intent.models import ProgramIntent
from program_intent.sources import lines as lines_module
from program_intent.sources.csv_file import CsvFile
from program_intent.sources.rows import Block, Malformed, Source, Values
from program_intent.store.batches import PreparedRows, Written
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
    stored = loaded.counts.created
    assert (loaded.status, loaded.counts) == ((0, (3, 3, 0, 0)) if stored == 3 else (3, (3, 2, 0, 1)))
    assert load(path).counts == (3, 3 - stored, stored, 0)


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


def interrupting(before: int, after: int, number: int) -> Callable[..., Written]:
    """Pressed before a batch is stored, and at the worst moment: when it is committed and not yet counted."""
    write = PreparedRows.write

    def write_and_interrupt(rows: PreparedRows, *then: Any) -> Written:
        for _ in range(before):
            signal.raise_signal(number)
        written = write(rows, *then)
        for _ in range(after):
            signal.raise_signal(number)
        return written

    return write_and_interrupt


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [(1, 0, 3), (0, 1, 3), (2, 0, 0), (0, 2, 3), (1, 1, 3)],
    ids=["once", "once, late", "twice", "twice, late", "twice, the second late"],
)
def test_ctrl_c_waits_for_the_batch_unless_pressed_twice_and_what_is_committed_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int, after: int, kept: int, number: signal.Signals
) -> None:
    make_learners(9)
    rows = [make_row(learner=key) for key in range(1, 10)]
    path, report, rejects = (tmp_path / name for name in ("report.csv", "report.json", "rejects.csv"))
    write_report(path, rows[0], rows[1], BAD, *rows[2:])
    former = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setattr(PreparedRows, "write", interrupting(before, after, number))
    loaded = load(path, "--report", report, "--rejects", rejects)
    assert (loaded.status, loaded.counts) == (1, (kept, kept * 2 // 3, 0, kept // 3))
    assert loaded.message == "Interrupted; what was stored stays, and the load can be run again."
    told = json.loads(report.read_text())
    assert (told["created"], told["rejected"], told["status"]) == (len(stored()), kept // 3, "stopped")
    assert len(rejects.read_text().splitlines()) - 1 == kept // 3
    assert {each: signal.getsignal(each) for each in former} == former


@pytest.mark.usefixtures("small_batches")
def test_ctrl_c_while_a_load_ends_does_not_unsay_what_it_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_learners(9)
    path = write_report(tmp_path / "report.csv", *[make_row(learner=key) for key in range(1, 10)])
    monkeypatch.setattr(PreparedRows, "write", interrupting(0, 1, signal.SIGINT))
    monkeypatch.setattr(tqdm, "close", lambda bar: signal.raise_signal(signal.SIGINT))
    load(path, "--report", tmp_path / "report.json")
    told = json.loads((tmp_path / "report.json").read_text())
    assert (told["created"], told["status"], len(stored())) == (3, "stopped", 3)


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

    def slow_write(rows: PreparedRows, *then: Any) -> Written:
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

    def noting_write(rows: PreparedRows, *then: Any) -> Written:
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


# Any source, and what else is done in a batch's transaction


class Listed:
    """A source that knows neither lines nor files, of typed values."""

    name = "a list"
    unit = "entry"
    learner_name = "learner"

    def __init__(self, *rows: Values | Malformed) -> None:
        self._rows = rows

    def blocks(self) -> Iterator[Block]:
        yield Block([f"#{number}" for number in range(len(self._rows))], None, self._rows)

    def position(self) -> int:
        return 0

    def close(self) -> None: ...


def typed(learner: object, **changes: object) -> Values:
    row = {
        "learner": learner,
        "program_uuid": UUID(PROGRAM),
        "reason": "REFUND",
        "certainty": "MAYBE",
        "effective_timestamp": datetime(2022, 4, 12, tzinfo=UTC),
    }
    return tuple((row | changes).values())


def load_from(*sources: Source, writer: Writer | None = None, **options: Any) -> tuple[LoadReport, list[Reject]]:
    rejects: list[Reject] = []
    field = options.pop("learner_field", "pk")
    options = {"zone": None, "max_rejects": None, "progress": lambda counts: None} | options
    job = Load(using="default", writer=writer or Storing(), reject=rejects.append, **options)
    job.run(sources, learner_field=field)
    return job.counts, rejects


@pytest.mark.parametrize("field", ["pk", "username"])
def test_rows_of_a_source_without_lines_are_loaded_and_its_rejects_say_where_and_what(field: str) -> None:
    make_learners(1)
    known, unknown = {"pk": (1, 77), "username": ("learner1", "nobody")}[field]
    source = Listed(
        typed(known), typed(unknown), typed(known, reason=None, certainty="SU\x1fRE"), Malformed("Torn.", typed(known))
    )
    counts, rejects = load_from(source, learner_field=field)
    assert (counts.read, counts.created, counts.rejected) == (4, 1, 3)
    moment = "2022-04-12 00:00:00+00:00"
    assert [(reject.source, reject.place, reject.error, reject.values, reject.original) for reject in rejects] == [
        (
            source,
            "#1",
            f"learner: No user is named by {unknown!r}.",
            (str(unknown), PROGRAM, "REFUND", "MAYBE", moment),
            "",
        ),
        (
            source,
            "#2",
            "reason: This field is required.; "
            "certainty: Expected one of CERTAIN_YES, CERTAIN_NO, MAYBE, not 'SU\\x1fRE'.",
            (str(known), PROGRAM, "", "SU\x1fRE", moment),
            "",
        ),
        (source, "#3", "Torn.", (str(known), PROGRAM, "REFUND", "MAYBE", moment), ""),
    ]


class Breaking(Listed):
    def blocks(self) -> Iterator[Block]:
        yield from super().blocks()
        raise LoadError("a list: breaks off.")


@pytest.mark.parametrize("field", ["pk", "username"])
def test_what_was_read_before_a_source_breaks_off_is_stored_however_it_names_learners(field: str) -> None:
    make_learners(2)
    first, second = {"pk": (1, 2), "username": ("learner1", "learner2")}[field]
    with pytest.raises(LoadError, match="breaks off"):
        load_from(Listed(*[typed(first)] * 2), Breaking(typed(second)), learner_field=field)
    assert [row.learner_id for row in stored()] == [1, 2]


def test_no_row_behind_a_reject_too_many_is_stored_however_its_learner_is_named() -> None:
    make_learners(2)
    with pytest.raises(LoadError, match="more than 0 rows"):
        load_from(
            Listed(typed("learner1"), typed("nobody"), typed("learner2")), learner_field="username", max_rejects=0
        )
    assert [row.learner_id for row in stored()] == [1]


def sign_up(settled: Settled) -> None:
    counts = settled.counts
    get_user_model().objects.create(
        pk=1000 + counts.read, username=f"{counts.read} {counts.created} {counts.duplicate} {counts.rejected}"
    )


def signed_up() -> list[str]:
    return [user.username for user in get_user_model().objects.exclude(username__startswith="learner").order_by("pk")]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("small_batches")
def test_what_is_done_in_the_transaction_of_a_batch_is_told_the_counts_and_stays_with_it() -> None:
    make_learners(2)
    batches = (typed(1), typed(77), typed(1)), (typed(2), typed(2), typed("x")), (typed(2),)
    load_from(*[Listed(*rows) for rows in batches], in_transaction=sign_up)
    assert signed_up() == ["3 1 1 1", "6 2 2 2", "7 2 3 2"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("small_batches")
def test_nothing_of_a_batch_stays_where_what_is_done_in_its_transaction_fails() -> None:
    make_learners(2)

    def sign_up_and_fail(settled: Settled) -> None:
        sign_up(settled)
        if settled.counts.read > 3:
            raise LoadError("Stopped.")

    with pytest.raises(LoadError):
        load_from(Listed(*[typed(1)] * 3), Listed(*[typed(2)] * 3), in_transaction=sign_up_and_fail)
    assert [row.learner_id for row in stored()] == [1]
    assert signed_up() == ["3 1 2 0"]


@pytest.mark.django_db(transaction=True)
def test_what_is_done_in_the_transaction_is_done_again_after_a_deadlock(monkeypatch: pytest.MonkeyPatch) -> None:
    make_learners(1)
    monkeypatch.setattr(engines.kind(connection), "TRANSIENT", {1213})
    deadlocks = [OperationalError(1213, "Deadlock found")]

    def sign_up_in_a_deadlock(settled: Settled) -> None:
        sign_up(settled)
        if deadlocks:
            raise deadlocks.pop()

    counts, _ = load_from(Listed(typed(1)), in_transaction=sign_up_in_a_deadlock)
    assert (counts.read, counts.created) == (1, 1)
    assert signed_up() == ["1 1 0 0"]
    assert len(stored()) == 1


def test_a_dry_run_has_no_transaction_to_do_anything_in() -> None:
    make_learners(1)
    with closing(Foretelling()) as writer:
        counts, _ = load_from(Listed(typed(1)), writer=writer, in_transaction=sign_up)
    assert (counts.created, counts.dry_run) == (1, True)
    assert signed_up() == []


# What belongs to the process


def settings_of_python(*_: object) -> tuple[bool, float, object, int]:
    return gc.isenabled(), sys.getswitchinterval(), signal.getsignal(signal.SIGINT), csv.field_size_limit()


@pytest.fixture
def while_loading(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, float, object, int]]:
    """What Python was set to when a batch was written."""
    write, found = PreparedRows.write, []

    def noting_write(rows: PreparedRows, *then: Any) -> Written:
        found.append(settings_of_python())
        return write(rows, *then)

    monkeypatch.setattr(PreparedRows, "write", noting_write)
    return found


def test_the_command_tunes_python_and_puts_it_back(
    tmp_path: Path, while_loading: list[tuple[bool, float, object, int]]
) -> None:
    make_learners(1)
    before = settings_of_python()
    load(write_report(tmp_path / "report.csv", make_row()))
    ((collects, interval, handler, _),) = while_loading
    assert (collects, interval) == (False, 0.0005)
    assert handler is not signal.default_int_handler
    assert settings_of_python() == before == (True, 0.005, signal.default_int_handler, before[3])


def test_ctrl_c_in_a_batch_that_fails_is_not_lost() -> None:
    def fail_after_ctrl_c() -> None:
        with finishing():
            signal.raise_signal(signal.SIGINT)
            raise ValueError

    with pytest.raises(KeyboardInterrupt):
        fail_after_ctrl_c()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_command_leaves_alone_what_the_host_has_set(
    tmp_path: Path, while_loading: list[tuple[bool, float, object, int]]
) -> None:
    make_learners(1)
    before = signal.getsignal(signal.SIGINT)
    try:
        gc.disable()
        sys.setswitchinterval(0.02)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        load(write_report(tmp_path / "report.csv", make_row()))
        assert [found[:3] for found in while_loading] == [settings_of_python()[:3]] == [(False, 0.02, signal.SIG_IGN)]
    finally:
        gc.enable()
        sys.setswitchinterval(0.005)
        signal.signal(signal.SIGINT, before)


def test_the_loader_itself_sets_nothing(while_loading: list[tuple[bool, float, object, int]]) -> None:
    make_learners(1)
    load_from(Listed(typed(1)))
    assert while_loading == [settings_of_python()]


@pytest.mark.django_db(transaction=True)
def test_the_command_sets_nothing_outside_the_main_thread(
    tmp_path: Path, while_loading: list[tuple[bool, float, object, int]]
) -> None:
    make_learners(1)
    path = write_report(tmp_path / "report.csv", make_row())

    def load_and_disconnect() -> None:
        load(path)
        connection.close()

    thread = threading.Thread(target=load_and_disconnect)
    thread.start()
    thread.join()
    assert [found[:3] for found in while_loading] == [settings_of_python()[:3]]


def test_an_empty_source_makes_no_small_batches_of_the_next() -> None:
    make_learners(1)
    batches: list[int] = []
    job = Load(
        using="default",
        zone=None,
        writer=Storing(),
        max_rejects=None,
        reject=lambda reject: None,
        progress=lambda counts: batches.append(counts.read),
    )
    job.run([Listed()], learner_field="pk")
    job.run([Listed(typed(1)), Listed(typed(1))], learner_field="pk")
    assert batches == [0, 2]
