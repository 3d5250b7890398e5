"""The ledger: each load leaves a run that says who brought what, whatever becomes of the load."""

import gzip
import json
import logging
import re
import signal
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin import AdminSite
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, transaction
from django.db.models import ProtectedError
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from program_intent import api, engines
from program_intent.admin.runs import RunAdmin
from program_intent.data import LoadReport, RunKind
from program_intent.exceptions import AppendOnlyError
from program_intent.intake import load as intake
from program_intent.intake.batch import Batch, Settled
from program_intent.intake.runs import OpenRun
from program_intent.intake.sync import Sync
from program_intent.models import ProgramIntent, RejectedIntent, Run
from program_intent.signals import run_finished
from tests.builders import make_intent, make_user
from tests.reports import HEADER, LEARNERS, PROGRAM, as_csv, load, make_learners, make_row, many, run, write_report
from tests.rest import EXPLAIN, answer, client_of
from tests.test_admin import make_staff
from tests.test_load_processes import in_the_middle_of, wait_until
from tests.test_sync import Warehouse, configure

pytestmark = pytest.mark.django_db(transaction=True)

BAD = make_row(certainty="SURE")
RUNS = "/admin/program_intent/run/"
INTENTS = "/admin/program_intent/programintent/"


@pytest.fixture(autouse=True)
def learners(transactional_db: None) -> None:
    make_learners(LEARNERS)


@pytest.mark.parametrize("kind", ["load", "sync"])
def test_a_run_that_meets_another_at_its_beginning_is_begun_again(
    kind: str, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MariaDB locks the newest intent where it is only read, and somebody may be erasing it."""
    failures = iter([OperationalError(1213, "Deadlock found when trying to get lock")])
    save = Run.save

    def save_at_last(run: Run, **options: Any) -> None:
        for failure in failures:
            raise failure
        save(run, **options)

    monkeypatch.setattr(Run, "save", save_at_last)
    monkeypatch.setattr(engines.kind(connection), "TRANSIENT", frozenset({1213}))
    if kind == "load":
        load(write_report(tmp_path / "report.csv", make_row()))
    else:
        with closing(Warehouse(tmp_path / "warehouse.sqlite3")) as warehouse:
            configure(settings, warehouse)
            warehouse.add(1)
            Sync("reports", by="tests").run()
    assert [(run.status, run.created) for run in Run.objects.all()] == [("finished", 1)]


@pytest.fixture
def ended() -> Iterator[list[Run]]:
    """The runs that a host was told of."""
    told: list[Run] = []

    def note(run: Run, **kwargs: Any) -> None:
        assert not connection.in_atomic_block
        told.append(run)

    run_finished.connect(note)
    yield told
    run_finished.disconnect(note)


def counts_of(run: Run) -> tuple[int, int, int, int]:
    return run.read, run.created, run.duplicate, run.rejected


def as_stored(path: Path) -> dict[str, object]:
    content = path.read_bytes()
    return {"name": path.name, "bytes": len(content), "sha256": sha256(content).hexdigest()}


# What a load leaves


def test_a_load_leaves_a_run_that_says_who_brought_what_when_with_what_result(tmp_path: Path) -> None:
    before = timezone.now()
    make_intent()
    newest = ProgramIntent.objects.get().pk
    first = write_report(tmp_path / "first.csv", make_row(), make_row(), BAD)
    second = write_report(tmp_path / "second.jsonl", json.dumps({"user_id": 2}), header="")
    second.write_text(json.dumps(dict(zip(HEADER.split(","), make_row(learner=2).split(","), strict=True))))
    assert load(first, second, "--by", "the night shift").status == 3
    run = Run.objects.get()
    assert (run.kind, run.source, run.by, run.status, run.message) == ("file", "", "the night shift", "finished", "")
    assert run.files == [as_stored(first), as_stored(second)]
    assert counts_of(run) == (4, 2, 1, 1)
    assert run.finished
    assert before < run.started < run.finished <= run.updated <= timezone.now()
    assert (run.first_key, run.last_key) == (newest, ProgramIntent.objects.latest("pk").pk)
    assert set(run.program_intents.values_list("learner_id", flat=True)) == {1, 2}


def test_files_are_hashed_as_they_are_stored_and_the_pipe_as_it_comes(tmp_path: Path) -> None:
    content = gzip.compress("\n".join([HEADER, *as_csv(many(2000)), ""]).encode())
    path = tmp_path / "report.csv.gz"
    path.write_bytes(content)
    assert load(path).status == 0
    assert Run.objects.latest("pk").files == [as_stored(path)]
    assert run("-", input=f"{HEADER}\n{make_row()}\n").status == 0
    (piped,) = Run.objects.latest("pk").files
    assert piped == {"name": "-", "bytes": len(f"{HEADER}\n{make_row()}\n"), "sha256": piped["sha256"]}
    assert piped["sha256"] == sha256(f"{HEADER}\n{make_row()}\n".encode()).hexdigest()


def test_a_load_that_stops_says_why_and_that_it_read_no_file_to_its_end(tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.csv", BAD, *as_csv(many(20_000)))
    assert load(path, "--max-rejects", 0).status == 1
    run = Run.objects.get()
    assert (run.status, run.message) == ("stopped", "Stopped: more than 0 rows were rejected.")
    assert run.files == [{"name": "report.csv", "bytes": None, "sha256": None}]
    assert counts_of(run) == (1, 0, 0, 1)


@pytest.mark.parametrize("arguments", [("--dry-run",), ("--learner-field", "nothing"), ("missing.csv",)])
def test_a_dry_run_and_a_load_that_is_refused_leave_none(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    load(write_report(tmp_path / "report.csv", make_row()), *arguments)
    assert not Run.objects.exists()


def test_a_file_without_rows_leaves_a_run_too(tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.csv")
    assert load(path).status == 0
    run = Run.objects.get()
    assert (run.status, counts_of(run), run.files) == ("finished", (0, 0, 0, 0), [as_stored(path)])


def test_by_default_it_is_the_user_of_the_operating_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "nightly")
    load(write_report(tmp_path / "report.csv", make_row()))
    assert Run.objects.get().by == "nightly"


@pytest.mark.parametrize("name", ["", " ", "x" * 256])
def test_a_name_that_is_none_or_too_long_is_wrong_usage(tmp_path: Path, name: str) -> None:
    with pytest.raises(CommandError, match="--by: expected 1 to 255 characters"):
        call_command("load_program_intents", str(write_report(tmp_path / "x.csv")), "--by", name)
    assert not Run.objects.exists()


def test_a_name_that_nobody_can_read_or_spell_is_spelled_out(tmp_path: Path) -> None:
    path = write_report(tmp_path / "re\x1bport\udc80.csv", make_row())
    assert load(path, "--by", "Zoë \x07").status == 0
    run = Run.objects.get()
    assert (run.by, run.files[0]["name"]) == ("Zoë \\x07", "re\\x1bport\\udc80.csv")


def test_the_ledger_of_a_killed_load_equals_what_was_written(tmp_path: Path) -> None:
    rows = many(intake.FIRST_TRANSACTION + 20_000)
    with in_the_middle_of(rows, bad=[BAD]) as process:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    run = Run.objects.get()
    assert (run.status, run.finished) == ("running", None)
    assert (run.created, run.rejected) == (ProgramIntent.objects.count(), 1)
    assert run.read == run.created + 1
    assert run.program_intents.count() == run.created > 0


def test_counts_are_written_with_each_batch(tmp_path: Path) -> None:
    with in_the_middle_of(many(intake.FIRST_TRANSACTION + 20_000)) as process:
        assert (found := Run.objects.get()).created == ProgramIntent.objects.count() > 0
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: Run.objects.get().status == "stopped")
    run = Run.objects.get()
    assert run.created >= found.created
    assert run.message == "Interrupted; what was stored stays, and the load can be run again."


def test_a_batch_that_is_rolled_back_is_not_in_the_ledger() -> None:
    open_run = OpenRun(RunKind.FILE, using="default", by="x")
    with transaction.atomic():
        open_run.note(Settled(LoadReport(5, 5, 0, 0, 0, 0.1, dry_run=False), Batch(), 0, {}))
        assert Run.objects.get().read == 5
        transaction.set_rollback(True)
    assert counts_of(Run.objects.get()) == (0, 0, 0, 0)


# What an intent says


def test_an_intent_that_no_run_brought_says_so() -> None:
    user = make_user()
    api.record_intents([{"learner": user, "program_uuid": PROGRAM, "reason": "A", "certainty": "MAYBE"}] * 2)
    api.record_intent(user, PROGRAM, reason="B", certainty="MAYBE")
    ProgramIntent.objects.create(
        learner=user,
        program_uuid=PROGRAM,
        reason="C",
        certainty="MAYBE",
        effective_timestamp=timezone.now(),
        run_id=OpenRun(RunKind.FILE, using="default", by="x").key,
    )
    assert list(ProgramIntent.objects.values_list("run", flat=True)) == [None, None, None]


def test_a_duplicate_keeps_the_run_that_brought_it(tmp_path: Path) -> None:
    for name in ("first.csv", "second.csv"):
        load(write_report(tmp_path / name, make_row()))
    first, second = Run.objects.order_by("pk")
    assert ProgramIntent.objects.get().run == first
    assert (second.duplicate, second.program_intents.count()) == (1, 0)


def test_fixtures_carry_runs_and_their_intents(tmp_path: Path) -> None:
    load(write_report(tmp_path / "report.csv", make_row()))
    fixture = tmp_path / "intents.json"
    call_command("dumpdata", "program_intent", output=str(fixture), verbosity=0)
    intents, runs = (list(model.objects.values()) for model in (ProgramIntent, Run))
    call_command("loaddata", str(fixture), verbosity=0)
    assert list(ProgramIntent.objects.values()) == intents
    (told,) = Run.objects.values()
    changed = {name for name, value in told.items() if value != dict(runs[0])[name]}
    assert changed <= {"started", "updated", "finished"}  # Django cuts times in JSON to milliseconds


def test_a_fixture_cannot_give_a_stored_intent_to_another_run(tmp_path: Path) -> None:
    load(write_report(tmp_path / "report.csv", make_row()))
    fixture = tmp_path / "intents.json"
    call_command("dumpdata", "program_intent.programintent", output=str(fixture), verbosity=0)
    (row,) = json.loads(fixture.read_text())
    row["fields"]["run"] += 1
    fixture.write_text(json.dumps([row]))
    with pytest.raises(AppendOnlyError):
        call_command("loaddata", str(fixture), verbosity=0)
    assert ProgramIntent.objects.get().run == Run.objects.get()


def test_a_run_that_brought_intents_is_not_deleted(tmp_path: Path) -> None:
    load(write_report(tmp_path / "report.csv", make_row()))
    with pytest.raises(ProtectedError):
        Run.objects.get().delete()


def test_an_explanation_says_which_run_brought_what(tmp_path: Path) -> None:
    load(write_report(tmp_path / "report.csv", make_row()), "--by", "ops")
    api.record_intent(1, PROGRAM, reason="VISITED", certainty="MAYBE")
    explanation = api.explain_latest_certain_intent(1, PROGRAM)
    assert hash(explanation)
    run = Run.objects.get()
    assert explanation.winner
    assert explanation.runs == {explanation.winner.id: run.summary()}
    assert (run.summary().source, run.summary().by) == ("report.csv", "ops")
    out = StringIO()
    call_command("explain_program_intent", "1", PROGRAM, stdout=out)
    _, header, answer, lost, provenance = out.getvalue().splitlines()
    assert header.split()[-1] == "run"
    assert answer.split()[-2:] == ["BUNDLE_PURCHASE", str(run.pk)]
    assert lost.split()[-1] == "VISITED"
    assert re.fullmatch(rf"run {run.pk}: file report\.csv, by ops, 2.*Z", provenance)


def test_over_rest_the_source_and_the_person_need_a_permission(tmp_path: Path) -> None:
    load(write_report(tmp_path / "report.csv", make_row(), make_row(certainty="MAYBE")), "--by", "ops")
    run, learner = Run.objects.get(), ProgramIntent.objects.earliest("pk").learner
    seen = answer(client_of(learner).get(EXPLAIN, {"program_uuid": PROGRAM}), 200)
    started = run.started.isoformat().replace("+00:00", "Z")
    told = {"id": run.pk, "kind": "file", "started": started}
    keys = {str(key) for key in ProgramIntent.objects.values_list("pk", flat=True)}
    assert seen["runs"] == {key: {**told, "source": None, "by": None} for key in keys}
    seen = answer(client_of(learner, "view_run").get(EXPLAIN, {"program_uuid": PROGRAM}), 200)
    assert seen["runs"] == {key: {**told, "source": "report.csv", "by": "ops"} for key in keys}


def test_rest_tells_no_run_of_what_it_leaves_out(tmp_path: Path, settings: Any) -> None:
    settings.PROGRAM_INTENT = {"MAX_BATCH_SIZE": 1}
    rows = [make_row(effective_timestamp=f"2022-04-{day}T00:00:00Z") for day in (12, 13, 14)]
    load(write_report(tmp_path / "report.csv", *rows))
    learner = ProgramIntent.objects.earliest("pk").learner
    seen = answer(client_of(learner).get(EXPLAIN, {"program_uuid": PROGRAM}), 200)
    assert set(seen["runs"]) == {str(seen["winner"]["id"]), str(seen["lost"][0]["intent"]["id"])}


# What a host and an operator are told


def test_a_host_is_told_of_the_end_once_it_is_committed(tmp_path: Path, ended: list[Run]) -> None:
    load(write_report(tmp_path / "report.csv", make_row()))
    load(write_report(tmp_path / "bad.csv", BAD), "--max-rejects", 0)
    assert [(run.status, counts_of(run)) for run in ended] == [("finished", (1, 1, 0, 0)), ("stopped", (1, 0, 0, 1))]
    with transaction.atomic():
        load(write_report(tmp_path / "more.csv", make_row(learner=2)))
        assert len(ended) == 2
    assert ended[2].created == 1


def test_a_receiver_that_raises_stops_nothing(tmp_path: Path, ended: list[Run]) -> None:
    def fail(**kwargs: Any) -> None:
        raise ZeroDivisionError

    run_finished.connect(fail)
    try:
        assert load(write_report(tmp_path / "report.csv", make_row())).status == 0
    finally:
        run_finished.disconnect(fail)
    assert [run.status for run in ended] == ["finished"]


def test_the_log_has_a_line_at_start_and_end_with_the_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "program_intent")
    load(write_report(tmp_path / "report.csv", make_row(), BAD), "--by", "ops")
    load(write_report(tmp_path / "bad.csv", BAD), "--max-rejects", 0)
    records: list[Any] = [record for record in caplog.records if record.name == "program_intent.load"]
    assert [record.levelname for record in records] == ["INFO", "INFO", "INFO", "ERROR"]
    assert (records[0].by, records[0].run) == ("ops", Run.objects.earliest("pk").pk)
    assert records[1].counts == {"read": 2, "created": 1, "duplicate": 0, "rejected": 1, "erased": 0}
    assert records[3].reason == "Stopped: more than 0 rows were rejected."


class Failing(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise OSError("no disk")


def test_a_handler_of_the_log_that_fails_stops_neither_the_load_nor_the_news_of_it(
    tmp_path: Path, ended: list[Run]
) -> None:
    failing, logger = Failing(), logging.getLogger("program_intent.load")
    logger.addHandler(failing)
    logger.setLevel(logging.INFO)
    try:
        load(write_report(tmp_path / "report.csv", make_row()))
    finally:
        logger.removeHandler(failing)
        logger.setLevel(logging.NOTSET)
    assert [counts_of(run) for run in ended] == [(1, 1, 0, 0)]


def test_runs_are_listed_the_newest_first(tmp_path: Path) -> None:
    load(write_report(tmp_path / "report.csv", *as_csv(many(2000))), "--by", "ops")
    load(write_report(tmp_path / "bad.csv", BAD), "--max-rejects", 0, "--by", "ops")
    header, bad, good = listed().splitlines()
    assert header.split()[:6] == ["run", "kind", "source", "by", "started", "status"]
    assert header.split()[6:] == ["read", "created", "duplicate", "rejected", "erased", "message"]
    second, first = Run.objects.order_by("-pk")
    assert good.split()[:4] == [str(first.pk), "file", "report.csv", "ops"]
    assert good.split()[5:] == ["finished", "2,000", "2,000", "0", "0", "0"]
    assert bad.split()[:1] + bad.split()[5:10] == [str(second.pk), "stopped", "1", "0", "0", "1"]
    assert bad.endswith("  Stopped: more than 0 rows were rejected.")


def test_as_json_every_run_has_every_field(tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.csv", make_row())
    for _ in range(25):
        load(path)
    told = json.loads(listed("--json"))
    assert len(told) == 25
    assert len(listed().splitlines()) == 21
    assert set(told[0]) == {*(field.attname for field in Run._meta.concrete_fields), "is_silent"}
    assert (told[-1]["created"], told[0]["duplicate"], told[0]["files"]) == (1, 1, [as_stored(path)])
    assert told[0]["started"].endswith("Z")


def test_a_run_that_gives_no_news_is_told_as_such() -> None:
    key = OpenRun(RunKind.FILE, using="default", by="x").key
    assert " running  " in listed()
    Run.objects.update(updated=timezone.now() - timedelta(minutes=12))
    assert "running, no news for 12 minutes" in listed()
    (told,) = json.loads(listed("--json"))
    assert (told["id"], told["status"], told["is_silent"]) == (key, "running", True)


def listed(*options: str) -> str:
    out = StringIO()
    call_command("program_intent_runs", *options, stdout=out)
    return out.getvalue()


# The admin


def test_the_admin_lists_runs_with_their_intents_one_click_away(tmp_path: Path, admin_client: Client) -> None:
    make_intent()
    load(write_report(tmp_path / "report.csv", make_row(), make_row(learner=2), BAD), "--by", "ops")
    api.record_intent(1, PROGRAM, reason="VISITED", certainty="MAYBE")
    run = Run.objects.get()
    page = admin_client.get(RUNS).content.decode()
    for shown in ("report.csv", "ops", "finished"):
        assert shown in page
    (link,) = re.findall(rf'href="({INTENTS}\?run={run.pk})">2</a>', page)
    intents = admin_client.get(link).context["cl"].result_list
    assert [intent.pk for intent in intents] == sorted(run.program_intents.values_list("pk", flat=True), reverse=True)
    detail = admin_client.get(f"{RUNS}{run.pk}/change/").content.decode()
    assert run.files[0]["sha256"] in detail
    assert f"{INTENTS}?run={run.pk}" in detail
    for absent in ('name="_save"', 'class="deletelink"', "/delete/"):
        assert absent not in detail
    of_another_site = RunAdmin(Run, AdminSite("which has no intents"))
    assert (of_another_site.new(run), of_another_site.intents(run)) == ("2", "Those that it brought")


def test_the_runs_intents_are_found_however_much_came_after(
    tmp_path: Path, admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("program_intent.admin.pages.MAX_EXAMINED", 5)
    load(write_report(tmp_path / "report.csv", make_row(), make_row(learner=2)))
    load(write_report(tmp_path / "more.csv", *as_csv(many(100))))
    first, second = Run.objects.order_by("pk")
    found = admin_client.get(INTENTS, {"run": first.pk}).context["cl"].result_list
    assert {intent.pk for intent in found} == set(first.program_intents.values_list("pk", flat=True))
    assert len(admin_client.get(INTENTS, {"run": second.pk}).context["cl"].result_list) == 5


@pytest.mark.parametrize("number", ["x", "-1", "999", "9" * 30, "1 OR 1=1", "\0"])
def test_a_number_that_is_no_runs_is_refused_with_a_message(admin_client: Client, number: str) -> None:
    make_intent()
    response = admin_client.get(INTENTS, {"run": number})
    assert response.status_code == 200
    assert list(response.context["cl"].result_list) == []
    assert "Expected the number of a run" in response.content.decode()


def test_no_door_of_the_admin_adds_changes_or_deletes_a_run(admin_client: Client) -> None:
    key = OpenRun(RunKind.FILE, using="default", by="x").key
    for path in ("add/", f"{key}/delete/"):
        assert admin_client.get(RUNS + path).status_code == 403
        assert admin_client.post(RUNS + path, {"post": "yes"}).status_code == 403
    assert admin_client.post(f"{RUNS}{key}/change/", {"by": "y"}).status_code == 403


def test_an_intents_page_says_which_run_brought_it_and_who_may_not_view_runs_sees_no_more(
    tmp_path: Path, admin_client: Client, client: Client
) -> None:
    load(write_report(tmp_path / "report.csv", make_row()), "--by", "ops")
    api.record_intent(1, PROGRAM, reason="VISITED", certainty="MAYBE")
    run, intent = Run.objects.get(), ProgramIntent.objects.earliest("pk")
    page = admin_client.get(f"{INTENTS}{intent.pk}/change/").content.decode()
    assert f'<a href="{RUNS}{run.pk}/change/">file report.csv</a>' in page
    assert "an application" in page
    client.force_login(make_staff("view_programintent"))
    page = client.get(f"{INTENTS}{intent.pk}/change/").content.decode()
    assert "report.csv" not in page
    assert "ops" not in page.replace("props", "")
    assert client.get(RUNS).status_code == 403


def test_the_admin_lists_what_sources_brought_and_was_refused(admin_client: Client) -> None:
    now = timezone.now()
    moments = {"first_seen": now, "last_seen": now}
    RejectedIntent.objects.create(source="reports", key="k", learner="77777", error="learner: No user.", **moments)
    page = admin_client.get("/admin/program_intent/rejectedintent/").content.decode()
    assert "77777" in page
    assert "learner: No user." in page
    key = RejectedIntent.objects.get().pk
    assert admin_client.get(f"/admin/program_intent/rejectedintent/{key}/change/").status_code == 200
    assert admin_client.post(f"/admin/program_intent/rejectedintent/{key}/delete/", {"post": "yes"}).status_code == 403
