"""Syncs as real processes, with real warehouses, that meet bad luck: nothing is lost, nothing is doubled."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

import test_settings
from program_intent.data import FIELDS
from program_intent.intake.load import LARGEST_TRANSACTION
from program_intent.intake.refused import _key
from program_intent.models import Checkpoint, ProgramIntent, RejectedIntent, Run
from program_intent.sources import cursors
from program_intent.validation.learners import unknown_learner
from tests import private_postgresql
from tests.proxy import Proxy
from tests.reports import (
    AS_ON_MARIADB,
    LEARNERS,
    ON_ONE_ENGINE,
    PROGRAM,
    ROOT,
    Loaded,
    StoredRow,
    make_learners,
    many,
    process_environment,
    stored,
)
from tests.test_load_processes import LIMIT, end, wait_until

pytestmark = pytest.mark.django_db(transaction=True)
needs_postgresql = pytest.mark.skipif(bool(private_postgresql.why_not()), reason=private_postgresql.why_not())

BATCH = 1000
ROWS = many(5 * BATCH)
T0 = datetime(2025, 1, 1)  # noqa: DTZ001
COLUMNS = "learner, program_uuid, reason, certainty, effective_timestamp, loaded_at"
CREATE = f"CREATE TABLE intents ({', '.join(f'{name} text' for name in COLUMNS.split(', ')[:-1])}, loaded_at timestamp)"
KILLED = -signal.SIGKILL
# Seconds, of a machine that does other things, too.
AT_ONCE = 20
THINKING, THOUGHT_OVER = "tests.sync_process.thinking", "SELECT * FROM intents WHERE think(rowid)"


def loaded_at(number: int) -> str:
    """Seven rows have one cursor, so that ties lie across the ends of batches."""
    return str(T0 + timedelta(seconds=number // 7))


def as_texts(rows: Sequence[StoredRow]) -> Iterator[tuple[str, ...]]:
    for number, (learner, program_uuid, reason, certainty, moment) in enumerate(rows):
        yield str(learner), str(program_uuid), reason, certainty, f"{moment:%Y-%m-%dT%H:%M:%SZ}", loaded_at(number)


class Syncs:
    """Processes that sync one source, with settings of their own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.file = directory / "warehouse.sqlite3"
        self.warehouse = sqlite3.connect(self.file)
        self.warehouse.execute(CREATE)

    def add(self, rows: Sequence[tuple[str, ...]]) -> None:
        self.warehouse.executemany("INSERT INTO intents VALUES (?, ?, ?, ?, ?, ?)", rows)
        self.warehouse.commit()

    def configure(self, **changes: Any) -> None:
        """No lag, which would bring in again what was lost."""
        source = {
            "URL": f"sqlite:///{self.file}",
            "QUERY": "SELECT * FROM intents",
            "CURSOR": "loaded_at",
            "LAG": timedelta(),
            "LEARNER_FIELD": "pk",
            **changes,
        }
        lines = (
            "import datetime",
            "from test_settings import *",
            f"PROGRAM_INTENT = {{'SOURCES': {{'reports': {source}}}}}",
        )
        Path(self._directory, "sync_settings.py").write_text("\n".join(lines))

    @contextmanager
    def started(
        self, happens: str, *options: object, prefix: Sequence[str] = ()
    ) -> Iterator["subprocess.Popen[bytes]"]:
        what = f"batches of {BATCH}, {happens}"
        process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "tests.sync_process", what, *map(str, options)],
            env=process_environment()
            | {
                "DJANGO_SETTINGS_MODULE": "sync_settings",
                "PYTHONPATH": f"{ROOT}{os.pathsep}{self._directory}",
                "WAREHOUSE": f"sqlite:///{self.file}",
            },
            cwd=ROOT,
            bufsize=0,  # what is read line by line is not missed by the end
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        killer = Timer(LIMIT, process.kill)
        killer.start()
        try:
            yield process
        finally:
            killer.cancel()
            process.kill()
            process.communicate()

    def run(self, happens: str = "", *options: object) -> Loaded:
        with self.started(happens, *options) as process:
            return end(process)


@pytest.fixture
def syncs(tmp_path: Path, transactional_db: None) -> Iterator[Syncs]:
    make_learners(LEARNERS)
    found = Syncs(tmp_path)
    found.configure()
    yield found
    found.warehouse.close()


@pytest.fixture
def full(syncs: Syncs) -> Syncs:
    syncs.add(list(as_texts(ROWS)))
    return syncs


def line(process: "subprocess.Popen[bytes]") -> bytes:
    assert process.stdout
    return bytes(process.stdout.readline())


def wait_for_pause(process: "subprocess.Popen[bytes]") -> None:
    said = line(process)
    assert said == b"paused\n", process.communicate()


def go_on(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin
    process.stdin.write(b"\n")


def cursor_of(count: int) -> str:
    """Of the last of the first rows, as a checkpoint has it."""
    return f"text {loaded_at(count - 1)}" if count else ""


def expect_true_runs() -> None:
    for run in Run.objects.all():
        assert ProgramIntent.objects.filter(run=run).count() == run.created
        assert run.read == run.created + run.duplicate + run.rejected


def expect_in(count: int, *, status: str = "finished") -> None:
    """The first rows are stored, the checkpoint and the runs say so, and the lease is free."""
    assert stored() == sorted(ROWS[:count])
    checkpoint = Checkpoint.objects.get()
    assert str(cursors.load(checkpoint.cursor)) == loaded_at(count - 1)
    assert (checkpoint.owner, checkpoint.lease_until) == ("", None)
    assert Run.objects.latest("pk").status == status
    assert not Run.objects.filter(status="running").exists()
    expect_true_runs()


# Killed

# What is read by then.
OF_EACH_ENGINE = [
    ("after commit 2", 0),  # the run is there
    ("before commit 5", 2 * BATCH),  # the third batch is stored but for this
    ("after commit 5", 3 * BATCH),
]
PLACES = [
    ("before commit 1", 0),  # the checkpoint's row
    ("after update 1", 0),  # the lease is taken
    ("before commit 2", 0),  # the run
    ("before commit 3", 0),  # the first batch
    ("after commit 3", BATCH),
    ("before commit 7", 4 * BATCH),  # the last batch
    ("after commit 7", 5 * BATCH),
    ("after end 1", 5 * BATCH),
    ("before commit 9", 5 * BATCH),  # a row of a learner who is known by now; its run is there
    ("after commit 9", 5 * BATCH),
    *OF_EACH_ENGINE,
]
BAD_EACH = 500


@AS_ON_MARIADB
@pytest.mark.slow
@pytest.mark.parametrize(("place", "count"), PLACES if connection.vendor == "sqlite" else OF_EACH_ENGINE)
def test_what_is_below_the_checkpoint_of_a_killed_sync_is_stored_and_the_next_one_brings_the_rest(
    syncs: Syncs, place: str, count: int
) -> None:
    good = [row for number, row in enumerate(ROWS) if number % BAD_EACH]
    is_good = set(good)
    syncs.add(list(as_texts([row if row in is_good else row._replace(certainty="SURE") for row in ROWS])))
    late = ROWS[0]._replace(learner_id=User.objects.create(pk=LEARNERS + 1).pk)
    keep_rejected(late)

    assert syncs.run(f"kill {place}").status == KILLED
    assert set(stored()) - {late} == is_good & set(ROWS[:count])
    assert (late in stored()) == (place == "after commit 9")
    assert RejectedIntent.objects.filter(certainty="SURE").count() == count // BAD_EACH
    reached = [checkpoint.cursor for checkpoint in Checkpoint.objects.all()]
    assert reached == ([] if place == "before commit 1" else [cursor_of(count)])
    expect_true_runs()
    killed = Run.objects.filter(status="running").first()

    Checkpoint.objects.update(retried=None)
    loaded = syncs.run("", "--take-over")
    assert (loaded.status, "Traceback" in loaded.stderr) == (3 if count < len(ROWS) else 0, False)
    assert stored() == sorted([*good, late])
    assert RejectedIntent.objects.count() == len(ROWS) // BAD_EACH
    assert Checkpoint.objects.get().cursor == cursor_of(len(ROWS))
    expect_true_runs()
    assert not Run.objects.filter(status="running").exists()
    if killed:
        killed.refresh_from_db()
        assert (killed.status, killed.message) == ("stopped", "Taken over by tests.")


def keep_rejected(row: StoredRow) -> None:
    """As an earlier sync has left it, which knew no such learner."""
    texts = next(as_texts([row]))[: len(FIELDS)]
    told = {"error": f"learner: {unknown_learner(row.learner_id)}", "key": _key(texts)}
    moments = dict.fromkeys(("first_seen", "last_seen"), timezone.now())
    values = dict(zip(FIELDS, texts, strict=True))
    RejectedIntent.objects.create(source="reports", learner_field="pk", **values, **told, **moments)


def test_a_killed_sync_keeps_others_out_until_its_lease_ends(full: Syncs) -> None:
    assert full.run("kill after batch 2").status == KILLED
    loaded = full.run()
    assert (loaded.status, loaded.stderr) == (75, "reports: another run is at work; --take-over ends it.")
    Checkpoint.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert full.run().status == 0
    expect_in(len(ROWS))
    assert Run.objects.earliest("pk").status == "stopped"


# Several at once


def test_of_two_syncs_that_want_the_lease_at_once_one_gets_it_and_the_other_ends_with_75(full: Syncs) -> None:
    Checkpoint.objects.create(source="reports")
    happens = "pause before update 1, pause after batch 1"
    with full.started(happens) as one, full.started(happens) as another:
        for process in (one, another):
            wait_for_pause(process)
        for process in (one, another):
            go_on(process)
        said = {line(process): process for process in (one, another)}
        assert set(said) == {b"paused\n", b""}
        loser, winner = end(said[b""]), said[b"paused\n"]
        go_on(winner)
        assert (loser.status, loser.stderr) == (75, "reports: another run is at work; --take-over ends it.")
        assert end(winner).status == 0
    expect_in(len(ROWS))
    assert Run.objects.count() == 1


def test_a_sync_whose_lease_is_stolen_in_mid_run_ends_with_75_and_stores_nothing_more(full: Syncs) -> None:
    with full.started("pause after batch 2") as robbed:
        wait_for_pause(robbed)
        with full.started("pause after update 1", "--take-over") as thief:
            wait_for_pause(thief)
            go_on(robbed)
            loaded = end(robbed)
            assert (loaded.status, loaded.stderr) == (75, "reports: another run has taken it over.")
            assert stored() == sorted(ROWS[: 2 * BATCH])
            assert Checkpoint.objects.get().owner
            go_on(thief)
            assert end(thief).status == 0
    expect_in(len(ROWS))
    assert Run.objects.earliest("pk").status == "stopped"


@AS_ON_MARIADB
@pytest.mark.slow
@pytest.mark.parametrize(
    "cursor",
    [pytest.param("loaded_at", id="to find the first row"), pytest.param(None, id="in mid-stream")],
)
def test_the_lease_is_renewed_while_a_warehouse_thinks_for_longer(full: Syncs, cursor: str | None) -> None:
    full.configure(URL=THINKING, QUERY=THOUGHT_OVER, CURSOR=cursor)
    with full.started("lease of 4") as process:
        wait_for_pause(process)
        first = Checkpoint.objects.get().lease_until
        assert first
        wait_until(lambda: timezone.now() > first)
        assert full.run().status == 75
        assert Checkpoint.objects.filter(lease_until__gt=timezone.now()).exists()
        go_on(process)
        assert end(process).status == 0
    assert stored() == sorted(ROWS)
    assert Run.objects.get().status == "finished"


# Interrupted


@pytest.mark.parametrize(
    ("place", "count"),
    [
        ("after update 1", 0),
        ("before note 3", 3 * BATCH),
        ("after batch 3", 3 * BATCH),
    ],
    ids=["its lease is new", "a batch is being stored", "a batch is stored"],
)
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sync_finishes_its_batch_and_tells_the_truth(
    full: Syncs, tmp_path: Path, sent: signal.Signals, place: str, count: int
) -> None:
    report = tmp_path / "report.json"
    with full.started(f"pause {place}", "--report", report) as process:
        wait_for_pause(process)
        process.send_signal(sent)
        go_on(process)
        loaded = end(process)
    expect_interrupted(loaded, report, count)


@ON_ONE_ENGINE
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_sync_can_be_interrupted_while_the_warehouse_thinks(
    full: Syncs, tmp_path: Path, sent: signal.Signals
) -> None:
    report = tmp_path / "report.json"
    full.configure(URL=THINKING, QUERY=THOUGHT_OVER)
    with full.started("", "--report", report) as process:
        wait_for_pause(process)
        process.send_signal(sent)
        process.wait(LIMIT)
        loaded = end(process)
    expect_interrupted(loaded, report, 0)


def expect_interrupted(loaded: Loaded, report: Path, count: int) -> None:
    message = "Interrupted; what was stored stays, and the sync can be run again."
    assert (loaded.status, loaded.message, loaded.stderr) == (1, "reports failed.", message)
    told = json.loads(report.read_text())
    assert (told["status"], told["message"], told["created"]) == ("stopped", "reports failed.", count)
    (source,) = told["sources"]
    assert (source["source"], source["status"], source["message"]) == ("reports", "stopped", message)
    assert (source["created"], source["cursor"]) == (count, loaded_at(count - 1) if count else None)
    if count:
        expect_in(count, status="stopped")
    assert not Run.objects.filter(status="running").exists()
    assert not Checkpoint.objects.get().owner


@ON_ONE_ENGINE
def test_what_an_interrupted_sync_rejects_is_in_its_file(syncs: Syncs, tmp_path: Path) -> None:
    syncs.add(list(as_texts([row._replace(certainty="SURE") for row in ROWS])))
    rejects = tmp_path / "rejects.csv"
    with syncs.started("pause before note 2", "--rejects", rejects) as process:
        wait_for_pause(process)
        process.send_signal(signal.SIGTERM)
        go_on(process)
        assert end(process).status == 1
    assert RejectedIntent.objects.count() == len(rejects.read_text().splitlines()) - 1 == 2 * BATCH


# The warehouse's password, and how it goes away


@pytest.fixture(scope="module")
def postgresql() -> Iterator[int]:
    """The port of a warehouse that asks for a password."""
    psycopg = pytest.importorskip("psycopg")
    with private_postgresql.server() as port:
        user, password = private_postgresql.USER, private_postgresql.PASSWORD
        with psycopg.connect(f"host=127.0.0.1 port={port} user={user} password={password}") as filled:
            filled.execute(CREATE)
            with filled.cursor().copy(f"COPY intents ({COLUMNS}) FROM STDIN") as copy:
                for row in as_texts(ROWS):
                    copy.write_row(row)
        yield port


@pytest.fixture
def proxy(postgresql: int) -> Iterator[Proxy]:
    found = Proxy(postgresql)
    yield found
    found.close()


def url_of(port: int, password: str = private_postgresql.PASSWORD) -> str:
    return f"postgresql+psycopg://{private_postgresql.USER}:{password}@127.0.0.1:{port}/postgres"


@ON_ONE_ENGINE
@needs_postgresql
@AS_ON_MARIADB
@pytest.mark.slow
def test_a_warehouse_that_goes_away_in_mid_stream_is_told_in_one_line(syncs: Syncs, proxy: Proxy) -> None:
    syncs.configure(URL=url_of(proxy.port))
    with syncs.started("pause after batch 2") as process:
        wait_for_pause(process)
        proxy.cut()
        go_on(process)
        loaded = end(process)
    count = ProgramIntent.objects.count()
    assert 2 * BATCH <= count < len(ROWS)
    assert (loaded.status, loaded.message, len(loaded.stderr.splitlines())) == (1, "reports failed.", 1)
    assert loaded.stderr.startswith(f"reports: breaks off after loaded_at {loaded_at(count - 1)}: ")
    assert private_postgresql.PASSWORD not in loaded.stderr
    assert stored() == sorted(ROWS[:count])
    run = Run.objects.get()
    assert (run.status, run.message, run.created) == ("stopped", loaded.stderr, count)
    assert not Checkpoint.objects.get().owner

    assert syncs.run().status == 0
    assert stored() == sorted(ROWS)


BEFORE_THE_FIRST_ROW, IN_MID_STREAM = "after update 1", "after batch 2"
SILENCES = [
    (signal.SIGTERM, IN_MID_STREAM),
    *((signal.SIGINT, place) for place in (BEFORE_THE_FIRST_ROW, IN_MID_STREAM)),
    (signal.SIGTERM, BEFORE_THE_FIRST_ROW),
]


@needs_postgresql
@AS_ON_MARIADB
@pytest.mark.slow
@pytest.mark.parametrize(("sent", "place"), SILENCES if connection.vendor == "sqlite" else SILENCES[:1])
def test_a_sync_of_a_warehouse_that_falls_silent_keeps_its_lease_and_can_be_interrupted(
    syncs: Syncs, proxy: Proxy, tmp_path: Path, sent: signal.Signals, place: str
) -> None:
    report = tmp_path / "report.json"
    syncs.configure(URL=url_of(proxy.port))
    with syncs.started(f"lease of 2, pause {place}", "--report", report) as process:
        wait_for_pause(process)
        proxy.fall_silent()
        go_on(process)
        assert proxy.has_kept_back.wait(LIMIT)
        time.sleep(4)  # what was on its way is stored, and that lease has run out
        assert Checkpoint.objects.filter(lease_until__gt=timezone.now()).exists()
        process.send_signal(sent)
        process.wait(AT_ONCE)
        loaded = end(process)
    count = ProgramIntent.objects.count()
    assert count in (range(1) if place == BEFORE_THE_FIRST_ROW else range(2 * BATCH, len(ROWS)))
    expect_interrupted(loaded, report, count)

    proxy.speak()
    assert syncs.run().status == 0
    expect_in(len(ROWS))


@ON_ONE_ENGINE
@needs_postgresql
@AS_ON_MARIADB
@pytest.mark.slow
@pytest.mark.parametrize("fails", [Proxy.fall_silent, Proxy.cut])
def test_a_sync_that_is_interrupted_while_it_stores_waits_for_no_warehouse_that_is_away(
    syncs: Syncs, proxy: Proxy, tmp_path: Path, fails: Callable[[Proxy], None]
) -> None:
    report = tmp_path / "report.json"
    syncs.configure(URL=url_of(proxy.port))
    with syncs.started("pause before note 1", "--report", report) as process:
        wait_for_pause(process)
        fails(proxy)
        process.send_signal(signal.SIGTERM)
        go_on(process)
        process.wait(AT_ONCE)
        loaded = end(process)
    expect_interrupted(loaded, report, BATCH)


@ON_ONE_ENGINE
@needs_postgresql
@AS_ON_MARIADB
@pytest.mark.slow
def test_a_wrong_password_is_told_in_one_line_and_nowhere_shown(syncs: Syncs, postgresql: int, tmp_path: Path) -> None:
    syncs.configure(URL=url_of(postgresql, "s3cr%24t-w%2Frong"))
    report, log = tmp_path / "report.json", tmp_path / "log"
    loaded = syncs.run(f"log {log}", "--report", report, "--verbosity", 3)
    assert (loaded.status, loaded.message, len(loaded.stderr.splitlines())) == (1, "reports failed.", 1)
    assert loaded.stderr.startswith("reports: cannot be read: ")
    assert 'password authentication failed for user "postgres"' in loaded.stderr
    assert not Run.objects.exists()
    told = report.read_text()

    syncs.configure(URL=url_of(postgresql))
    again = syncs.run(f"log {log}", "--report", report, "--verbosity", 3)
    assert again.status == 0
    assert stored() == sorted(ROWS)
    assert f"Run {Run.objects.get().pk} finished" in log.read_text()
    for text in (*loaded, told, *again, report.read_text(), log.read_text()):
        assert not re.search(f"s3cr|w(/|%2F)rong|{private_postgresql.PASSWORD}", str(text))


# The app's own database goes away


def kill_other_connections() -> None:
    """Those of the process that syncs."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            cursor.execute(f"SELECT pg_terminate_backend(pid) {others}")
        else:
            others = "FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
            cursor.execute(f"SELECT id {others}")
            for (key,) in cursor.fetchall():
                cursor.execute(f"KILL {key}")

    def are_gone() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT COUNT(*) {others}")
            return bool(cursor.fetchone() == (0,))

    wait_until(are_gone)


@AS_ON_MARIADB
@pytest.mark.slow
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no server that could end a connection")
@pytest.mark.parametrize(
    ("place", "count", "statuses"),
    [
        ("after update 1", 0, []),
        ("before note 3", 2 * BATCH, ["stopped"]),
        ("after batch 3", 3 * BATCH, ["stopped"]),
        ("before end 1", len(ROWS), ["running"]),
        ("before release 1", len(ROWS), ["finished"]),
    ],
)
def test_an_app_database_that_ends_the_connection_is_told_in_one_line(
    full: Syncs, place: str, count: int, statuses: list[str]
) -> None:
    with full.started(f"pause {place}") as process:
        wait_for_pause(process)
        kill_other_connections()
        go_on(process)
        loaded = end(process)
    assert (loaded.status, loaded.message, len(loaded.stderr.splitlines())) == (1, "reports failed.", 1)
    assert loaded.stderr.startswith("The database failed: ")
    assert stored() == sorted(ROWS[:count])
    assert [run.status for run in Run.objects.all()] == statuses
    expect_true_runs()

    assert full.run().status == 0
    expect_in(len(ROWS))


# Rejects


@AS_ON_MARIADB
@pytest.mark.slow
def test_rejects_that_are_met_again_are_in_the_table_once_and_who_signs_up_is_in_by_the_next_run(syncs: Syncs) -> None:
    syncs.configure(LAG=timedelta(days=1))
    unknown, bad, *good = as_texts(ROWS[:4])
    syncs.add([("777", *unknown[1:]), ("1", PROGRAM, "", *bad[3:]), *good])
    first = syncs.run()
    assert (first.status, first.counts) == (3, (4, 2, 0, 2))
    for _ in range(2):
        again = syncs.run("", "--max-rejects", 0)
        assert (again.status, again.counts, again.stderr) == (0, (4, 0, 2, 2), "")
    assert RejectedIntent.objects.count() == 2

    syncs.add([("888", *unknown[1:])])
    stopped = syncs.run("", "--max-rejects", 0)
    assert (stopped.status, RejectedIntent.objects.count()) == (1, 3)

    User.objects.create(pk=777)
    syncs.warehouse.execute("DELETE FROM intents")
    syncs.warehouse.commit()
    Checkpoint.objects.update(retried=timezone.now() - timedelta(minutes=61))
    assert syncs.run().status == 0
    assert ProgramIntent.objects.filter(learner_id=777).count() == 1
    assert [row.learner for row in RejectedIntent.objects.order_by("pk")] == ["1", "888"]


# Memory


def peak(syncs: Syncs, *, batch: int) -> int:
    """Megabytes of a sync; a shell stands between, because a process inherits the peak of the one that forked it."""
    with syncs.started(f"batches of {batch}, peak", prefix=["/bin/sh", "-c", '"$@"; exit $?', "sh"]) as process:
        loaded = end(process)
    assert (loaded.status, loaded.stderr) == (0, "")
    return int(loaded.stdout.split()[-1])


MEASURED_ONCE = pytest.mark.skipif(
    test_settings.ENGINE != "sqlite", reason="a load is measured on every engine, and a sync is one: with ENGINE=sqlite"
)


@MEASURED_ONCE
@AS_ON_MARIADB
@pytest.mark.slow
def test_memory_does_not_grow_with_what_is_new(syncs: Syncs) -> None:
    """Small batches, so that what grows with the rows would show beside them."""
    rows = list(as_texts(many(300_000)))
    syncs.add(rows[:40_000])
    small = peak(syncs, batch=5000)
    syncs.add(rows[40_000:])
    assert peak(syncs, batch=5000) < 1.1 * small
    assert Run.objects.latest("pk").created == 260_000


@MEASURED_ONCE
@AS_ON_MARIADB
@pytest.mark.slow
def test_a_sync_of_300_000_rows_takes_less_than_200_megabytes_also_when_all_is_there_already(syncs: Syncs) -> None:
    syncs.add(list(as_texts(many(300_000))))
    assert peak(syncs, batch=LARGEST_TRANSACTION) < 200
    Checkpoint.objects.all().delete()
    assert peak(syncs, batch=LARGEST_TRANSACTION) < 200
    assert [run.created for run in Run.objects.order_by("pk")] == [300_000, 0]
