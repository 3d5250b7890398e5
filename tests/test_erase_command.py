"""``erase_program_intents``: whom it erases, what it tells, and that it calls nobody by name; keys of the hashes."""

import json
import logging
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import OperationalError
from django.test import override_settings
from django.utils import timezone
from pytest_django import Settings

from program_intent import api
from program_intent.checks.host import check_erasure_keys
from program_intent.exceptions import InvalidIntent
from program_intent.management.commands import erase_program_intents
from program_intent.models import ErasedLearner, ErasedName, ProgramIntent, RejectedIntent
from program_intent.store.erase import erase_named
from program_intent.validation.values import Refused
from tests.builders import MOMENT, make_intent, make_row, make_user, store_history, stored_intents
from tests.reports import ON_ONE_ENGINE, Loaded, load, write_report
from tests.reports import make_row as line
from tests.test_read_commands import Ended, run, run_process

ERASE = "erase_program_intents"
BY_NAME = ("--learner-field", "username")
NOBODY = 2**31 - 1
LATER = datetime(2040, 1, 1, tzinfo=UTC)

pytestmark = pytest.mark.django_db(transaction=True)
_keys = count(1)


@pytest.fixture
def alice() -> Any:
    learner = make_user(username="alice@example.org")
    make_intent(learner=learner)
    make_intent(learner=learner, reason="VISITED")
    return learner


@pytest.fixture
def bob() -> Any:
    learner = make_user(username="bob")
    make_intent(learner=learner)
    return learner


def load_of(tmp_path: Path, *names: Any) -> Loaded:
    return load(write_report(tmp_path / "report.csv", *(line(learner=name) for name in names)), *BY_NAME)


def reject(learner: Any, field: str = "username", when: str = "") -> RejectedIntent:
    values = {**dict.fromkeys(("program_uuid", "reason", "certainty"), ""), "effective_timestamp": when}
    told = {"source": "reports", "key": str(next(_keys)), "error": "", "first_seen": MOMENT, "last_seen": MOMENT}
    return RejectedIntent.objects.create(learner_field=field, learner=str(learner), **values, **told)


def learners_of_intents() -> set[Any]:
    return {intent.learner_id for intent in stored_intents()}


def restored(*learners: Any) -> None:
    """Rows as a backup has them."""
    store_history(ProgramIntent(**make_row(learner=None, learner_id=key, created=MOMENT)) for key in learners)


def rows_of(ended: Ended) -> list[list[str]]:
    return [row.split() for row in ended.stdout.splitlines()]


# Whom it erases


def test_learners_are_erased_by_the_field_that_is_named_and_told_by_their_keys(alice: Any, bob: Any) -> None:
    other = make_intent()
    ended = run(ERASE, "alice@example.org", "bob", *BY_NAME, "--by", "privacy")
    head, *rows = rows_of(ended)
    assert (ended.status, head) == (0, ["learner_id", "intents", "until"])
    assert [row[:2] for row in rows] == [[str(alice.pk), "2"], [str(bob.pk), "1"]]
    assert learners_of_intents() == {other.learner_id}
    assert set(ErasedLearner.objects.values_list("pk", "by")) == {(alice.pk, "privacy"), (bob.pk, "privacy")}


def test_without_a_field_the_setting_says_how_learners_are_named(alice: Any, bob: Any, settings: Settings) -> None:
    assert run(ERASE, alice.pk).status == 0
    settings.PROGRAM_INTENT = {"LEARNER_LOOKUP_FIELD": "username"}
    assert run(ERASE, "bob").status == 0
    assert not ProgramIntent.objects.exists()


def test_a_name_that_nobody_bears_is_erased_by_name_alone(tmp_path: Path) -> None:
    ended = run(ERASE, "linus", *BY_NAME)
    assert (ended.status, rows_of(ended)[1][:2]) == (0, ["nobody", "0"])
    assert not ErasedLearner.objects.exists()
    make_user(username="linus")
    assert load_of(tmp_path, "linus").erased == 1


def test_a_primary_key_of_nobody_is_erased_with_the_rows_that_are_there() -> None:
    restored(NOBODY)
    assert rows_of(run(ERASE, NOBODY))[1][:2] == [str(NOBODY), "1"]
    assert not ProgramIntent.objects.exists()
    assert ErasedLearner.objects.get().pk == NOBODY


def test_one_who_is_named_twice_is_erased_once(alice: Any) -> None:
    assert len(rows_of(run(ERASE, alice.pk, f" {alice.pk}"))) == 2


def test_rejected_rows_of_the_learner_go_too_by_key_and_by_name(alice: Any) -> None:
    reject("alice@example.org")
    reject(alice.pk, "pk")
    other = reject("bob")
    run(ERASE, "alice@example.org", *BY_NAME)
    assert RejectedIntent.objects.get() == other


def test_rejected_rows_go_also_where_no_setting_names_learners_so_any_more(alice: Any, tmp_path: Path) -> None:
    get_user_model().objects.filter(pk=alice.pk).update(last_name="Liddell")
    reject("Liddell", "last_name")
    reject("alice", "nickname")  # of a user model that was another
    run(ERASE, alice.pk)
    assert RejectedIntent.objects.get().learner_field == "nickname"
    get_user_model().objects.filter(pk=alice.pk)._raw_delete("default")
    make_user(last_name="Liddell")
    report = write_report(tmp_path / "report.csv", line(learner="Liddell"))
    assert load(report, "--learner-field", "last_name").erased == 1


# What is refused, before anything is erased


def test_where_several_bear_a_name_nobody_is_erased(alice: Any, bob: Any) -> None:
    get_user_model().objects.update(last_name="Smith")
    alone = make_user(last_name="Jones")
    make_intent(learner=alone)
    ended = run(ERASE, "Jones", "Smith", "--learner-field", "last_name")
    assert ended == Ended(1, "Nothing was done. LEARNER 2 is borne by several users.", "")
    assert ProgramIntent.objects.count() == 4
    assert not ErasedLearner.objects.exists()
    with pytest.raises(Refused, match="Several users"):
        erase_named("last_name", "Smith", using="default")


def test_what_names_nobody_ever_is_told_by_its_place_and_nobody_is_erased(alice: Any) -> None:
    ended = run(ERASE, alice.pk, "alice@example.org", 2**70)
    told = "LEARNER 2 is no value of pk. LEARNER 3 is no value of pk."
    assert ended == Ended(1, f"Nothing was done. {told}", "")
    assert ProgramIntent.objects.count() == 2


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "Name a LEARNER, or give --again or --orphans."),
        (["--lift"], "Name a LEARNER, or give --again or --orphans."),
        (["1", "--again"], "--again is about all learners, and takes neither LEARNER nor --learner-field."),
        (["--orphans", *BY_NAME], "--orphans is about all learners, and takes neither LEARNER nor --learner-field."),
        (["--again", "--retired"], "--retired does not go with --again."),
        (["1", "--lift", "--retired"], "--retired does not go with --lift."),
        (["1", "--learner-field", "nickname"], "--learner-field: nickname is not a field of the user model."),
        (["1", "--learner-field", "nick\nname"], r"--learner-field: nick\nname is not a field of the user model."),
    ],
)
def test_what_does_not_go_together_is_wrong_usage(arguments: list[str], problem: str) -> None:
    assert run(ERASE, *arguments) == Ended(2, problem, "")


def test_two_of_again_lift_and_orphans_are_wrong_usage() -> None:
    ended = run_process(ERASE, "--again", "--orphans")
    assert ended.status == 2
    assert ended.message.endswith("argument --orphans: not allowed with argument --again\n")


def test_a_report_that_would_overwrite_something_else_stops_it_before_it_begins(alice: Any, tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("precious\n")
    ended = run(ERASE, alice.pk, "--report", precious)
    assert ended == Ended(1, f"{precious}: holds no earlier report and would be overwritten.", "")
    assert ProgramIntent.objects.count() == 2


# What it tells


def test_until_is_told_where_it_is_later_than_now_and_for_a_retired_learner_for_ever(alice: Any, bob: Any) -> None:
    make_intent(learner=alice, effective_timestamp=LATER)
    assert rows_of(run(ERASE, alice.pk))[1][2] == "2040-01-01T00:00:00Z"
    assert rows_of(run(ERASE, bob.pk, "--retired"))[1][2:] == ["for", "ever"]
    assert ErasedLearner.objects.get(pk=bob.pk).key_until is None


def test_the_report_has_what_was_done_and_by_whom(alice: Any, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    for _ in range(2):  # the second is written over the first
        run(ERASE, alice.pk, NOBODY, "--retired", "--by", "privacy", "--report", report)
    told = json.loads(report.read_text())
    started, finished = (datetime.fromisoformat(told.pop(name)) for name in ("started", "finished"))
    assert started < finished
    assert told == {
        "action": "erase",
        "dry_run": False,
        "retired": True,
        "by": "privacy",
        "message": "",
        "done": [{"learner_id": key, "intents": 0, "until": None} for key in (alice.pk, NOBODY)],
    }


def test_who_erases_may_be_called_by_255_characters_that_nobody_can_read(alice: Any) -> None:
    assert run(ERASE, alice.pk, "--by", "\a" * 255).status == 0
    assert ErasedLearner.objects.get().by == (r"\x07" * 64)[:255]


def test_what_stops_it_is_told_and_reported_with_what_was_erased_until_then(
    alice: Any, bob: Any, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    last = mock.patch.object(erase_program_intents, "erase_named", side_effect=stopping_after_one())
    with last:
        ended = run(ERASE, alice.pk, bob.pk, "--report", report)
    message = "Interrupted; what was erased stays so, and the erasure can be run again."
    assert (ended.status, ended.message, rows_of(ended)[1][0]) == (1, message, str(alice.pk))
    told = json.loads(report.read_text())
    assert (told["message"], [row["learner_id"] for row in told["done"]]) == (message, [alice.pk])
    assert learners_of_intents() == {bob.pk}


def test_what_is_erased_is_reported_also_where_ctrl_c_is_pressed_twice_before_it_is_counted(
    alice: Any, bob: Any, tmp_path: Path
) -> None:
    def erase(*args: Any, **kwargs: Any) -> Any:
        erasure = erase_named(*args, **kwargs)
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
        return erasure

    report = tmp_path / "report.json"
    with mock.patch.object(erase_program_intents, "erase_named", side_effect=erase):
        ended = run(ERASE, alice.pk, bob.pk, "--report", report)
    assert (ended.status, learners_of_intents()) == (1, {bob.pk})
    assert [row["learner_id"] for row in json.loads(report.read_text())["done"]] == [alice.pk]


def stopping_after_one() -> Callable[..., Any]:
    calls = count()

    def erase(*args: Any, **kwargs: Any) -> Any:
        if next(calls):
            raise KeyboardInterrupt
        return erase_named(*args, **kwargs)

    return erase


def test_a_database_that_fails_is_told_in_one_line() -> None:
    fails = mock.patch("django.db.backends.utils.CursorWrapper.execute", side_effect=OperationalError("no such\ntable"))
    for arguments in (["1"], ["1", "--lift"], ["--again"], ["--orphans"]):
        with fails:
            assert run(ERASE, *arguments) == Ended(1, "The database failed: no such table", "")


@ON_ONE_ENGINE
def test_no_name_is_in_what_it_prints_logs_or_reports(alice: Any, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    way: list[tuple[list[object], int]] = [
        (["--dry-run"], 0),
        (["--report", report], 0),
        (["--lift"], 0),
        (["--lift"], 3),
        (["--learner-field", "pk"], 1),
    ]
    for arguments, status in way:
        ended = run_process(ERASE, "alice@example.org", *BY_NAME, *arguments, "--verbosity", "3")
        assert ended.status == status
        assert "alice" not in ended.message + ended.stdout
    assert "alice" not in report.read_text()


def test_no_name_is_in_its_log(alice: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="program_intent"):
        run(ERASE, "alice@example.org", *BY_NAME)
    assert "alice" not in caplog.text


# A dry run


def state() -> list[Any]:
    models = (ProgramIntent, ErasedLearner, ErasedName, RejectedIntent)
    return [sorted(map(str, model.objects.values_list())) for model in models]


@pytest.mark.parametrize(
    "arguments",
    [["alice@example.org", *BY_NAME], ["alice@example.org", *BY_NAME, "--lift"], ["--again"], ["--orphans"]],
)
def test_a_dry_run_tells_what_would_be_done_and_changes_nothing(alice: Any, arguments: list[str]) -> None:
    if arguments[0] != "alice@example.org" or "--lift" in arguments:
        api.erase_learner(alice)
        restored(alice.pk, NOBODY)
        reject("alice@example.org")
    before = state()
    foretold = run(ERASE, *arguments, "--dry-run")
    assert state() == before
    done = run(ERASE, *arguments)
    assert state() != before
    assert [row[:2] for row in rows_of(foretold)] == [row[:2] for row in rows_of(done)]
    assert foretold.status == done.status == 0


# After a restore


def test_again_erases_what_a_backup_has_brought_back_and_nothing_else(alice: Any, bob: Any) -> None:
    api.erase_learner(alice)
    later = timezone.now() + timedelta(seconds=1)
    restored(alice.pk)
    make_intent(learner=alice, effective_timestamp=later)
    reject("alice@example.org")
    reject(alice.pk, "pk")
    other = reject("bob")
    assert rows_of(run(ERASE, "--again")) == [["intents", "rejected"], ["1", "2"]]
    assert RejectedIntent.objects.get() == other
    assert {(intent.learner_id, intent.effective_timestamp > MOMENT) for intent in stored_intents()} == {
        (alice.pk, True),
        (bob.pk, False),
    }
    assert rows_of(run(ERASE, "--again"))[1] == ["0", "0"]


def test_again_leaves_what_was_refused_of_a_later_bearer_and_of_a_field_that_is_gone(alice: Any) -> None:
    api.erase_learner(alice)
    later = (timezone.now() + timedelta(seconds=1)).isoformat()
    kept = {reject("alice@example.org", when=later), reject(alice.pk, "pk", when=later), reject("alice", "nickname")}
    for field in ("pk", "id"):
        reject(alice.pk, field, when="2022-04-12T00:00:00Z")
    assert rows_of(run(ERASE, "--again"))[1] == ["0", "2"]
    assert set(RejectedIntent.objects.all()) == kept


def test_orphans_and_what_a_tombstone_forbids_are_erased(alice: Any, bob: Any) -> None:
    api.erase_learner(alice)
    restored(alice.pk, NOBODY)
    reject("alice@example.org")
    assert rows_of(run(ERASE, "--orphans")) == [["orphans", "forbidden", "rejected"], ["1", "1", "1"]]
    assert not RejectedIntent.objects.exists()
    assert learners_of_intents() == {bob.pk}


def test_with_the_two_tables_that_were_kept_apart_a_restored_backup_is_forgotten_anew(
    alice: Any, bob: Any, tmp_path: Path
) -> None:
    backup, kept = tmp_path / "backup.xml", tmp_path / "erased.xml"
    carol = make_user(username="carol")
    make_intent(learner=carol)
    call_command("dumpdata", "auth.user", "program_intent", format="xml", output=str(backup))
    api.erase_learner(alice)
    carol.delete()
    told = ("pk", "key_until", "erased", "by")
    erased = list(ErasedLearner.objects.order_by("pk").values_list(*told))
    tables = ("program_intent.erasedlearner", "program_intent.erasedname")
    call_command("dumpdata", *tables, format="xml", output=str(kept))
    for model in (ErasedName, ErasedLearner, ProgramIntent, get_user_model()):
        model._base_manager.all()._raw_delete("default")
    call_command("loaddata", str(backup), verbosity=0)
    assert ProgramIntent.objects.count() == 4
    call_command("loaddata", str(kept), verbosity=0)
    assert rows_of(run(ERASE, "--again"))[1] == ["3", "0"]
    assert learners_of_intents() == {bob.pk}
    assert list(ErasedLearner.objects.order_by("pk").values_list(*told)) == erased
    assert load_of(tmp_path, "alice@example.org", "carol").erased == 2


# Taken back


def test_lift_lets_old_reports_in_again_and_brings_no_rows(alice: Any, tmp_path: Path) -> None:
    run(ERASE, "alice@example.org", "linus", *BY_NAME)
    make_user(username="linus")
    assert load_of(tmp_path, "alice@example.org", "linus").erased == 2
    ended = run(ERASE, "alice@example.org", "linus", *BY_NAME, "--lift")
    assert (ended.status, [row[1] for row in rows_of(ended)]) == (0, ["lifted", "yes", "yes"])
    assert not ProgramIntent.objects.exists()
    assert not ErasedName.objects.exists()
    assert load_of(tmp_path, "alice@example.org", "linus").counts.created == 2


def test_lift_of_who_was_not_erased_ends_with_3(alice: Any, bob: Any) -> None:
    api.erase_learner(alice)
    ended = run(ERASE, alice.pk, bob.pk, "--lift")
    assert (ended.status, ended.message) == (3, "Not all of them had been erased: lifted is no.")
    assert [row[1] for row in rows_of(ended)] == ["lifted", "yes", "no"]


# The keys of the hashes

OLD, NEW = "the first key of all", "the second key of all"


def with_keys(*keys: str) -> Any:
    return override_settings(PROGRAM_INTENT={"ERASURE_KEYS": keys})


def test_names_are_known_by_an_older_key_and_new_ones_are_signed_by_the_last(alice: Any, tmp_path: Path) -> None:
    with with_keys(OLD):
        alice.delete()
    with with_keys(OLD, NEW):
        make_user(username="bob").delete()
        for name in ("alice@example.org", "bob"):
            make_user(username=name)
        assert load_of(tmp_path, "alice@example.org", "bob").erased == 2
    assert ErasedName.objects.filter(field="username").values("key_id").distinct().count() == 2
    with with_keys(NEW):
        assert load_of(tmp_path, "alice@example.org", "bob").counts.created == 1


def test_who_is_erased_again_is_known_by_the_new_key_too(alice: Any, tmp_path: Path) -> None:
    for key in (OLD, NEW):
        with with_keys(key):
            run(ERASE, "alice@example.org", *BY_NAME)
    get_user_model().objects.filter(pk=alice.pk)._raw_delete("default")
    make_user(username="alice@example.org")
    for key in (OLD, NEW):
        with with_keys(key):
            assert load_of(tmp_path, "alice@example.org").erased == 1


def test_with_the_key_lost_a_later_bearer_gets_the_old_rows_and_who_kept_the_key_does_not(
    alice: Any, tmp_path: Path
) -> None:
    with with_keys(OLD):
        api.erase_learner(alice)
    with with_keys(NEW):
        assert load_of(tmp_path, "alice@example.org").erased == 1
        get_user_model().objects.filter(pk=alice.pk)._raw_delete("default")
        make_user(username="alice@example.org")
        assert load_of(tmp_path, "alice@example.org").counts.created == 1


def test_by_default_the_secret_key_signs_and_a_former_one_is_tried_while_it_is_a_fallback(
    alice: Any, tmp_path: Path, settings: Settings
) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = OLD, []
    alice.delete()
    make_user(username="alice@example.org")
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, [OLD]
    assert load_of(tmp_path, "alice@example.org").erased == 1
    settings.SECRET_KEY_FALLBACKS = []
    assert load_of(tmp_path, "alice@example.org").counts.created == 1


def test_djangos_keys_may_be_bytes_that_are_no_text(alice: Any, tmp_path: Path, settings: Settings) -> None:
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [OLD], b"\xff" * 50
    alice.delete()
    make_user(username="alice@example.org")
    assert load_of(tmp_path, "alice@example.org").erased == 1
    assert check_erasure_keys(databases=["default"]) == []


def test_a_learner_who_is_erased_by_key_needs_no_hash(alice: Any) -> None:
    with with_keys(OLD):
        api.erase_learner(alice)
    with with_keys(NEW), pytest.raises(InvalidIntent):
        api.record_intent(**make_row(learner=alice))
