"""A sync with a warehouse: nothing is lost, nothing is doubled, and the next one goes on from there."""

import csv
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from program_intent import api
from program_intent.data import SyncReport
from program_intent.exceptions import LoadError, SyncBusy
from program_intent.intake.lease import Lease
from program_intent.intake.sync import Sync
from program_intent.models import Checkpoint, ProgramIntent, RejectedIntent, Run
from program_intent.signals import run_finished
from program_intent.validation.fast import times
from program_intent.validation.times import parse_timestamp
from program_intent.validation.values import Refused
from tests.builders import make_user
from tests.reports import LEARNERS, PROGRAM, make_learners

pytestmark = pytest.mark.django_db(transaction=True)

T0 = datetime(2026, 11, 20, 3, tzinfo=UTC)


class Warehouse:
    """A SQLite file with a table of intents."""

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:///{path}"
        self._connection = sqlite3.connect(path)
        self._connection.execute(
            "CREATE TABLE intents (user_id, program_uuid, reason, certainty, effective_time, loaded_at TIMESTAMP)"
        )

    def close(self) -> None:
        self._connection.close()

    def add(self, *learners: object, loaded_at: Any = T0, reason: str = "BOUGHT", **changes: Any) -> None:
        at = loaded_at.strftime("%Y-%m-%d %H:%M:%S") if isinstance(loaded_at, datetime) else loaded_at
        row = {
            "program_uuid": PROGRAM,
            "reason": reason,
            "certainty": "MAYBE",
            "time": "2026-11-01T00:00:00Z",
            **changes,
        }
        rows = [(learner, *row.values(), at) for learner in learners]
        self._connection.executemany("INSERT INTO intents VALUES (?, ?, ?, ?, ?, ?)", rows)
        self._connection.commit()


@pytest.fixture
def warehouse(tmp_path: Path, settings: Settings) -> Iterator[Warehouse]:
    make_learners(LEARNERS)
    with closing(Warehouse(tmp_path / "warehouse.sqlite3")) as found:
        configure(settings, found)
        yield found


def configure(settings: Settings, warehouse: Warehouse, **changes: Any) -> None:
    source = {"URL": warehouse.url, "QUERY": "SELECT * FROM intents", "CURSOR": "loaded_at", **changes}
    settings.PROGRAM_INTENT = {"SOURCES": {"reports": source}}


def sync(**options: Any) -> SyncReport:
    return Sync("reports", by="tests", **options).run()


def counts(report: SyncReport) -> tuple[int, int, int, int]:
    return report.read, report.created, report.duplicate, report.rejected


def test_a_sync_brings_what_is_new_and_the_next_one_goes_on_from_there(warehouse: Warehouse) -> None:
    warehouse.add(1, 2)
    assert counts(sync()) == (2, 2, 0, 0)
    warehouse.add(3, loaded_at=T0 + timedelta(days=3))
    assert counts(sync()) == (3, 1, 2, 0)  # the first two are within the lag
    warehouse.add(4, loaded_at=T0 + timedelta(days=3))  # a tie across the checkpoint
    assert counts(sync()) == (2, 1, 1, 0)
    assert ProgramIntent.objects.count() == 4
    assert Checkpoint.objects.get().cursor == "text 2026-11-23 03:00:00"


def test_a_row_late_by_less_than_the_lag_comes_in_and_one_by_more_does_not(warehouse: Warehouse) -> None:
    warehouse.add(1, loaded_at=T0 + timedelta(days=3))
    sync()
    warehouse.add(2, loaded_at=T0 + timedelta(days=2, hours=1))
    warehouse.add(3, loaded_at=T0 + timedelta(days=1))
    assert counts(sync()) == (2, 1, 1, 0)
    assert counts(sync(full=True)) == (3, 1, 2, 0)
    assert Checkpoint.objects.get().cursor == "text 2026-11-23 03:00:00"


def test_a_null_cursor_is_read_each_time_and_one_of_2099_moves_nothing(warehouse: Warehouse) -> None:
    warehouse.add(1)
    warehouse.add(2, loaded_at=None)
    warehouse.add(3, loaded_at="2099-01-01 00:00:00")
    assert counts(sync()) == (3, 3, 0, 0)
    assert Checkpoint.objects.get().cursor == "text 2026-11-20 03:00:00"
    assert counts(sync()) == (3, 0, 3, 0)
    warehouse.add(4)
    assert counts(sync()) == (4, 1, 3, 0)


def test_a_changed_query_reads_all_again_and_says_so(warehouse: Warehouse, settings: Settings) -> None:
    warehouse.add(1)
    warehouse.add(2, loaded_at=T0 + timedelta(days=5))
    assert sync().reread == ""
    configure(settings, warehouse, QUERY="SELECT *  FROM\nintents")
    assert (sync().reread, counts(sync())) == ("", (1, 0, 1, 0))
    configure(settings, warehouse, QUERY="SELECT * FROM intents WHERE user_id > 0")
    report = sync()
    assert (report.reread, counts(report)) == ("QUERY or CURSOR has changed", (2, 0, 2, 0))
    assert counts(sync()) == (1, 0, 1, 0)


def test_what_no_longer_stands_in_a_comment_is_another_query(warehouse: Warehouse, settings: Settings) -> None:
    configure(settings, warehouse, QUERY="SELECT * FROM intents -- all\nWHERE user_id = 1")
    warehouse.add(1)
    sync()
    configure(settings, warehouse, QUERY="SELECT * FROM  intents -- all\n\n  WHERE user_id = 1 ")
    assert sync().reread == ""
    configure(settings, warehouse, QUERY="SELECT * FROM intents -- all WHERE user_id = 1")
    assert sync().reread == "QUERY or CURSOR has changed"


def test_a_changed_query_that_finds_nothing_yet_has_no_cursor_of_the_old_one(
    warehouse: Warehouse, settings: Settings
) -> None:
    warehouse.add(1, loaded_at=T0 + timedelta(days=5))
    sync()
    configure(settings, warehouse, QUERY="SELECT * FROM intents WHERE user_id = 2")
    assert counts(sync()) == (0, 0, 0, 0)
    warehouse.add(2)
    assert counts(sync()) == (1, 1, 0, 0)


def test_without_a_cursor_all_is_read_each_time(warehouse: Warehouse, settings: Settings) -> None:
    configure(settings, warehouse, CURSOR=None)
    warehouse.add(1, 2)
    assert [counts(sync()), counts(sync())] == [(2, 2, 0, 0), (2, 0, 2, 0)]
    assert Checkpoint.objects.get().cursor == ""


def test_a_sync_that_reads_nothing_leaves_no_run_but_says_when_it_looked(warehouse: Warehouse) -> None:
    assert counts(sync()) == (0, 0, 0, 0)
    assert not Run.objects.exists()
    assert Checkpoint.objects.get().checked


def test_a_sync_that_finds_nothing_asks_the_database_of_the_app_little(warehouse: Warehouse) -> None:
    warehouse.add(1, "x")
    sync()
    Checkpoint.objects.update(cursor="text 2026-11-25 00:00:00")
    with CaptureQueriesContext(connection) as asked:
        assert counts(sync()) == (0, 0, 0, 0)
    assert len(asked) <= 8, [each["sql"] for each in asked]
    Checkpoint.objects.update(retried=None)
    with CaptureQueriesContext(connection) as asked:
        assert counts(sync()) == (0, 0, 0, 0)
    assert len(asked) <= 12, [each["sql"] for each in asked]


def test_a_sync_leaves_a_run_that_its_intents_name(warehouse: Warehouse) -> None:
    warehouse.add(1, "x")
    sync()
    run = Run.objects.get()
    assert (run.kind, run.source, run.by, run.status) == ("warehouse", "reports", "tests", "finished")
    assert (run.read, run.created, run.duplicate, run.rejected) == (2, 1, 0, 1)
    assert ProgramIntent.objects.get().run == run


def test_a_dry_run_writes_nothing(warehouse: Warehouse) -> None:
    warehouse.add(1, 1, "x")
    report = sync(dry_run=True)
    assert (counts(report), report.new_rejects, report.dry_run) == ((3, 1, 1, 1), 1, True)
    for model in (ProgramIntent, Run, Checkpoint, RejectedIntent):
        assert not model.objects.exists()


# Rejects


def test_a_reject_is_new_once(warehouse: Warehouse) -> None:
    warehouse.add(1, "x", 77_777)
    warehouse.add(2, certainty="SURE")
    told: list[Any] = []
    report = sync(reject=told.append)
    assert (counts(report), report.new_rejects, len(told)) == ((4, 1, 0, 3), 3, 3)
    kept = {row.learner: row for row in RejectedIntent.objects.all()}
    assert set(kept) == {"x", "77777", "2"}
    assert kept["77777"].error == "learner: No user is named by 77777."
    assert (kept["2"].certainty, kept["2"].source, kept["2"].learner_field) == ("SURE", "reports", "pk")
    report = sync(reject=told.append)
    assert (report.rejected, report.new_rejects, len(told)) == (3, 0, 3)
    assert RejectedIntent.objects.count() == 3


def test_more_new_rejects_than_allowed_stop_it_and_known_ones_do_not(warehouse: Warehouse) -> None:
    warehouse.add("x", "y")
    with pytest.raises(LoadError, match="more than 1 rows were rejected"):
        sync(max_rejects=1)
    assert Run.objects.get().status == "stopped"
    assert counts(sync(max_rejects=0)) == (2, 0, 0, 2)


def test_who_signs_up_later_is_in_by_the_next_run(warehouse: Warehouse) -> None:
    warehouse.add(77_777, 88_888)
    sync()
    make_user(pk=77_777)
    Checkpoint.objects.update(retried=None, cursor="text 2026-11-25 00:00:00")  # far behind the lag, an hour later
    assert counts(sync()) == (0, 0, 0, 0)
    assert [intent.learner_id for intent in ProgramIntent.objects.all()] == [77_777]
    assert [row.learner for row in RejectedIntent.objects.all()] == ["88888"]
    run = Run.objects.latest("pk")
    assert (run.kind, run.source, run.created) == ("retry", "reports", 1)


# Two at once


def test_only_one_sync_reads_a_source_at_a_time(warehouse: Warehouse) -> None:
    warehouse.add(1)
    sync()
    Checkpoint.objects.update(owner="another", lease_until=datetime(2999, 1, 1, tzinfo=UTC))
    with pytest.raises(SyncBusy, match="another run is at work"):
        sync()
    report = sync(take_over=True)
    assert counts(report) == (1, 0, 1, 0)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no sessions with a zone")
def test_a_lease_keeps_out_whoever_has_a_session_in_another_zone(warehouse: Warehouse) -> None:
    Lease("reports", using="default").take(by="tests", take_over=False)
    zone = "TIME ZONE 5" if connection.vendor == "postgresql" else "time_zone = '+05:00'"
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"SET {zone}")
        with pytest.raises(SyncBusy):
            sync()
    finally:
        connection.close()


def test_a_killed_runs_lease_ends_and_the_run_is_told_as_stopped(warehouse: Warehouse) -> None:
    warehouse.add(1)
    sync()
    Run.objects.update(status="running")
    Checkpoint.objects.update(owner="killed", lease_until=datetime(2020, 1, 1, tzinfo=UTC))
    sync()
    killed = Run.objects.earliest("pk")
    assert (killed.status, killed.message) == ("stopped", "Taken over by tests.")


def test_a_lease_stolen_in_mid_run_stores_nothing_more(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("program_intent.intake.load.FIRST_TRANSACTION", 1)
    for number in range(9):
        warehouse.add(*range(1, LEARNERS + 1), reason=f"R{number}")

    def steal(report: Any) -> None:
        Checkpoint.objects.update(owner="thief")

    with pytest.raises(SyncBusy, match="another run has taken it over"):
        sync(progress=steal)
    assert ProgramIntent.objects.count() == Run.objects.get().created > 0
    assert Checkpoint.objects.get().owner == "thief"


def test_a_run_that_was_taken_over_stays_as_it_was_ended(warehouse: Warehouse) -> None:
    warehouse.add(*range(1, LEARNERS + 1))
    told: list[Run] = []

    def note(run: Run, **kwargs: Any) -> None:
        told.append(run)

    def take_over(report: Any) -> None:
        Lease("reports", using="default").take(by="another", take_over=True)

    run_finished.connect(note)
    try:
        with pytest.raises(SyncBusy):
            sync(progress=take_over)
    finally:
        run_finished.disconnect(note)
    assert [(run.status, run.message, run.created) for run in told] == [("stopped", "Taken over by another.", LEARNERS)]


# The command


def command(*arguments: object, **options: Any) -> tuple[int, str, str, str]:
    """Exit status, the error's text, standard output and standard error."""
    stdout, stderr = StringIO(), StringIO()
    status, message = 0, ""
    try:
        call_command("sync_program_intents", *map(str, arguments), stdout=stdout, stderr=stderr, **options)
    except CommandError as error:
        status, message = error.returncode, str(error)
    return status, message, stdout.getvalue(), stderr.getvalue()


def test_the_command_syncs_every_source_and_ends_with_0(warehouse: Warehouse) -> None:
    warehouse.add(1, 2)
    status, message, stdout, stderr = command("--by", "cron")
    assert (status, message, stderr) == (0, "", "")
    assert re.findall(r"^(source|created) +(\S+)$", stdout, re.M) == [("source", "reports"), ("created", "2")]
    assert Run.objects.get().by == "cron"


def test_it_ends_with_3_where_rows_are_rejected_for_the_first_time(warehouse: Warehouse, tmp_path: Path) -> None:
    warehouse.add("x", 1)
    rejects, report = tmp_path / "rejects.csv", tmp_path / "report.json"
    status, message, *_ = command("--rejects", rejects, "--report", report)
    assert (status, message) == (3, f"1 row was rejected for the first time: see {rejects}.")
    (row,) = csv.DictReader(rejects.read_text().splitlines())
    assert (row["file"], row["line"], row["user_id"]) == ("reports", "2026-11-20 03:00:00", "x")
    told = json.loads(report.read_text())
    assert (told["read"], told["created"], told["rejected"], told["status"]) == (2, 1, 1, "finished")
    assert told["sources"][0]["cursor"] == "2026-11-20 03:00:00"
    assert command("--rejects", rejects, "--report", report)[0] == 0
    assert len(rejects.read_text().splitlines()) == 1
    same = command("--rejects", report, "--report", report)
    assert same[:2] == (1, f"{report}: is the report and would be overwritten.")


def test_it_ends_with_75_while_another_run_is_at_work(warehouse: Warehouse) -> None:
    sync()
    Checkpoint.objects.update(owner="another", lease_until=datetime(2999, 1, 1, tzinfo=UTC))
    status, message, _, stderr = command()
    assert (status, message) == (75, "reports failed.")
    assert stderr == "reports: another run is at work; --take-over ends it.\n"
    assert command("--take-over")[0] == 0


def test_one_source_that_fails_does_not_keep_the_others_out(warehouse: Warehouse, settings: Settings) -> None:
    warehouse.add(1)
    broken = {"URL": "sqlite:////no/such/file", "QUERY": "SELECT 1"}
    settings.PROGRAM_INTENT["SOURCES"] = {"broken": broken, **settings.PROGRAM_INTENT["SOURCES"]}
    status, message, _, stderr = command()
    assert (status, message) == (1, "broken failed.")
    assert stderr.startswith("broken: ")
    assert len(stderr.splitlines()) == 1
    assert ProgramIntent.objects.count() == 1


def test_wrong_usage_ends_with_2(warehouse: Warehouse) -> None:
    assert command("other")[:2] == (2, "No source is called other. Known: reports.")
    assert command("--json")[0] == 2
    with pytest.raises(CommandError, match=r"No source is called other\. Known: reports\."):
        call_command("retry_rejected_program_intents", "--source", "other")
    for duration in ("soon", "", "99999999999999999", "P9999999999D", "9" * 5000):
        with pytest.raises(CommandError, match="expected a duration such as"):
            call_command("sync_program_intents", "--max-lag", duration)


def test_the_status_says_how_far_each_source_is_read(warehouse: Warehouse) -> None:
    (row,) = json.loads(command("--status", "--json")[2])
    assert (row["cursor"], row["checked"], row["lag"]) == (None, None, None)
    assert command("--status", "--max-lag", "36:00:00")[0] == 3
    warehouse.add(1, "x")
    sync()
    (row,) = json.loads(command("--status", "--json")[2])
    assert (row["source"], row["cursor"], row["rejected"]) == ("reports", "2026-11-20 03:00:00", 1)
    assert row["lag"] < 60
    assert command("--status", "--max-lag", "36:00:00")[0] == 0
    Checkpoint.objects.update(checked=timezone.now() - timedelta(hours=37))
    assert command("--status", "--max-lag", "36:00:00")[:2] == (3, "Not synced within 1 day, 12:00:00: reports.")
    assert "1 day, 13:00:0" in command("--status")[2]


def test_compare_says_by_program_and_reason_what_would_come_in(warehouse: Warehouse) -> None:
    warehouse.add(1)
    sync()
    warehouse.add(2, 3, loaded_at=T0 - timedelta(days=30))
    warehouse.add(2, reason="LEFT", loaded_at=T0 - timedelta(days=30))
    status, message, stdout, _ = command("--compare")
    assert (status, message) == (3, "A full sync would create 3.")
    assert re.findall(rf"^{PROGRAM}  (\S+) +(\d+) +(\d+)$", stdout, re.M) == [("BOUGHT", "2", "1"), ("LEFT", "1", "0")]
    assert ProgramIntent.objects.count() == 1
    sync(full=True)
    assert command("--compare")[0] == 0


def test_rejected_rows_are_tried_again_by_a_command_and_purged(warehouse: Warehouse) -> None:
    warehouse.add(77_777, 88_888, "x")
    sync()
    make_user(pk=77_777)
    out = StringIO()
    call_command("retry_rejected_program_intents", "--by", "ops", stdout=out)
    assert re.findall(r"^(created|kept) +(\d+)$", out.getvalue(), re.M) == [("created", "1"), ("kept", "2")]
    assert ProgramIntent.objects.get().learner_id == 77_777
    RejectedIntent.objects.filter(learner="x").update(last_seen=timezone.now() - timedelta(days=91))
    call_command("retry_rejected_program_intents", "--purge", "--source", "reports", stdout=StringIO())
    assert [row.learner for row in RejectedIntent.objects.all()] == ["88888"]


def test_a_scheduler_in_the_host_calls_it_outside_of_a_transaction(warehouse: Warehouse) -> None:
    warehouse.add(1)
    with transaction.atomic(), pytest.raises(transaction.TransactionManagementError):
        api.sync_program_intents("reports")
    assert counts(api.sync_program_intents("reports", by="beat")) == (1, 1, 0, 0)
    with pytest.raises(LoadError, match=r"has no 'other'\. Known: reports"):
        api.sync_program_intents("other")
    for nobody in (None, "x" * 256):
        with pytest.raises(LoadError, match="by: Expected a text of up to 255 characters"):
            api.sync_program_intents("reports", by=nobody)  # type: ignore[arg-type]
    transaction.set_autocommit(False)
    try:
        with pytest.raises(transaction.TransactionManagementError):
            api.sync_program_intents("reports")
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)


def engine_from_a_model() -> Any:
    """In another thread it would find nobody, and leave a connection open."""
    return create_engine(get_user_model().objects.get(pk=1).email, poolclass=NullPool)


def test_a_function_of_the_host_may_ask_the_database_by_the_callers_connection(
    warehouse: Warehouse, settings: Settings
) -> None:
    get_user_model().objects.filter(pk=1).update(email=warehouse.url)
    warehouse.add(1)
    configure(settings, warehouse, URL=f"{__name__}.engine_from_a_model")
    with CaptureQueriesContext(connection) as asked:
        assert counts(sync()) == (1, 1, 0, 0)
    assert any("email" in each["sql"] for each in asked)


def test_a_field_that_the_user_model_lacks_is_told_in_the_words_of_the_check(
    warehouse: Warehouse, settings: Settings
) -> None:
    for field, problem in (("nickname", "not a field"), ("groups", "not a column but a relation")):
        configure(settings, warehouse, LEARNER_FIELD=field)
        with pytest.raises(LoadError, match=rf"\['reports'\]\['LEARNER_FIELD'\] is {problem} of the user model"):
            sync()


def test_a_source_that_is_no_dictionary_is_told_in_the_words_of_the_check(settings: Settings) -> None:
    settings.PROGRAM_INTENT = {"SOURCES": {"reports": "sqlite://"}}
    with pytest.raises(LoadError, match=r"\['reports'\] is not a dictionary"):
        sync()


def test_a_name_that_standard_output_cannot_spell_is_spelled_out(warehouse: Warehouse, settings: Settings) -> None:
    settings.PROGRAM_INTENT["SOURCES"] = {"\xfc": settings.PROGRAM_INTENT["SOURCES"]["reports"]}
    warehouse.add(1)
    stdout = TextIOWrapper(BytesIO(), encoding="ascii")
    call_command("sync_program_intents", stdout=stdout)
    call_command("sync_program_intents", "--status", stdout=stdout)
    assert stdout.buffer.getvalue().count(rb"\xfc") == 2


def test_after_a_changed_query_that_finds_nothing_no_old_cursor_is_left(
    warehouse: Warehouse, settings: Settings
) -> None:
    warehouse.add(1)
    sync()
    configure(settings, warehouse, QUERY="SELECT * FROM intents WHERE user_id > 1")
    assert (counts(sync()), Checkpoint.objects.get().cursor) == ((0, 0, 0, 0), "")
    warehouse.add(2, loaded_at=T0 - timedelta(days=99))
    assert counts(sync()) == (1, 1, 0, 0)
    configure(settings, warehouse, QUERY="SELECT * FROM intents WHERE user_id > 1", CURSOR=None)
    assert counts(sync()) == (1, 0, 1, 0)
    assert Checkpoint.objects.get().cursor == ""


def test_a_lag_that_does_not_fit_the_cursor_is_told_at_once(warehouse: Warehouse, settings: Settings) -> None:
    configure(settings, warehouse, LAG=5)
    warehouse.add(1)
    with pytest.raises(LoadError, match=r"reports: LAG is 5; expected (a )?timedelta"):
        sync()
    assert not ProgramIntent.objects.exists()


def test_a_killed_run_whose_lease_has_ended_is_not_told_as_at_work(warehouse: Warehouse) -> None:
    sync()
    Checkpoint.objects.update(owner="killed", lease_until=datetime(2999, 1, 1, tzinfo=UTC))
    assert json.loads(command("--status", "--json")[2])[0]["at_work"] is True
    Checkpoint.objects.update(lease_until=datetime(2020, 1, 1, tzinfo=UTC))
    assert json.loads(command("--status", "--json")[2])[0]["at_work"] is False


@pytest.mark.parametrize("option", [("--full",), ("--compare",), ("--report", "r.json"), ("--max-rejects", "0")])
def test_a_status_refuses_what_only_a_sync_does(warehouse: Warehouse, option: tuple[str, ...]) -> None:
    told = "--status syncs nothing: it takes --json and --max-lag alone."
    assert command("--status", *option)[:2] == (2, told)


def test_a_host_is_told_of_a_run_that_is_taken_over(warehouse: Warehouse) -> None:
    warehouse.add(1)
    sync()
    Run.objects.update(status="running")
    told: list[Run] = []

    def note(run: Run, **kwargs: Any) -> None:
        told.append(run)

    run_finished.connect(note)
    try:
        sync()
    finally:
        run_finished.disconnect(note)
    assert [(run.status, run.message) for run in told] == [("stopped", "Taken over by tests."), ("finished", "")]


NAIVE = datetime(2022, 4, 12, 8, 30)  # noqa: DTZ001


def test_what_a_driver_gives_without_an_offset_gets_the_zone_that_is_assumed() -> None:
    """As a ``timestamp`` of PostgreSQL, DuckDB or Snowflake comes."""
    london = ZoneInfo("Europe/London")
    parse = partial(parse_timestamp, zone=london)
    assert parse(NAIVE) == datetime(2022, 4, 12, 7, 30, tzinfo=UTC)
    assert times(parse, [NAIVE]) == [datetime(2022, 4, 12, 7, 30, tzinfo=UTC)]
    with pytest.raises(Refused, match="happens twice in Europe/London"):
        parse(datetime(2022, 10, 30, 1, 30))  # noqa: DTZ001
    with pytest.raises(Refused, match="Expected a time with a UTC offset"):
        parse_timestamp(NAIVE)


def test_times_in_the_zone_of_a_drivers_session_are_judged_at_once() -> None:
    def parse(value: object) -> datetime:
        judged.append(value)
        return parse_timestamp(value)

    judged: list[object] = []
    column = [T0.astimezone(ZoneInfo("Europe/London")) + timedelta(days=day) for day in range(100)]
    assert times(parse, column) == [moment.astimezone(UTC) for moment in column]
    assert len(judged) == 2
