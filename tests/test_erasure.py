"""What is forgotten of a learner is gone and stays away, whoever tells it again; whoever stays or comes is welcome."""

import csv
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext, isolate_apps
from django.utils import timezone
from pytest_django import Settings

from program_intent import api
from program_intent.models import ErasedLearner, ErasedName, ProgramIntent
from program_intent.store.erase import erase
from tests.builders import make_intent, make_row, make_user, stored_intents
from tests.reports import PROGRAM, Loaded, load, write_report
from tests.reports import make_row as line

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def alice() -> Any:
    return make_user(username="alice")


def record(learner: Any, **changes: Any) -> Any:
    (outcome,) = api.record_intents([make_row(learner=learner, **changes)])
    return outcome


def load_of(tmp_path: Path, *names: Any, field: str = "username", when: Any = "2022-04-12T00:00:00Z") -> Loaded:
    rows = [line(learner=name, effective_timestamp=getattr(when, "isoformat", lambda: when)()) for name in names]
    return load(write_report(tmp_path / "report.csv", *rows), "--learner-field", field)


def retired(user: Any) -> Any:
    """Renamed as Open edX does it."""
    get_user_model().objects.filter(pk=user.pk).update(username=f"retired__user_{user.pk}", email="", is_active=False)


def test_an_erasure_takes_all_of_a_learners_intents_and_nothing_of_others(alice: Any) -> None:
    other = make_intent()
    for reason in ("A", "B"):
        make_intent(learner=alice, reason=reason)
    before = timezone.now()
    erasure = api.erase_learner(alice, by="privacy")
    assert (erasure.learner_id, erasure.intents) == (alice.pk, 2)
    assert erasure.until is not None
    assert before <= erasure.until <= timezone.now()
    assert [intent.id for intent in stored_intents()] == [other.pk]
    erased = ErasedLearner.objects.get()
    assert (erased.pk, erased.intents, erased.by, erased.key_until) == (alice.pk, 2, "privacy", erasure.until)


def test_who_stays_is_recorded_anew_and_what_was_erased_is_refused_in_the_words_for_nobody(alice: Any) -> None:
    make_intent(learner=alice)
    api.erase_learner(alice)
    old = record(alice)
    assert old.errors == {"learner": [f"No user is named by {alice.pk}."]}
    assert record(alice, effective_timestamp=timezone.now()).status == "created"
    with pytest.raises(api.InvalidIntent, match="No user is named by"):
        ProgramIntent.objects.create(**make_row(learner=alice))


def test_until_is_the_latest_time_that_was_erased_where_that_is_later(alice: Any) -> None:
    later = datetime(2040, 1, 1, tzinfo=UTC)
    make_intent(learner=alice, effective_timestamp=later)
    assert api.erase_learner(alice).until == later
    assert record(alice, effective_timestamp=later).status == "rejected"
    assert record(alice, effective_timestamp=later + timedelta(microseconds=1)).status == "created"
    assert api.erase_learner(alice).until == later + timedelta(microseconds=1)
    assert ErasedLearner.objects.get().intents == 2


def test_the_key_of_a_retired_learner_is_refused_for_ever(alice: Any) -> None:
    assert api.erase_learner(alice, retired=True).until is None
    api.erase_learner(alice)
    far = datetime(9999, 12, 30, tzinfo=UTC)
    assert record(alice, effective_timestamp=far).status == "rejected"
    assert api.get_erasures()[0].until is None


@pytest.mark.parametrize(
    "after", [lambda user: None, retired, lambda user: user.delete()], ids=["stays", "retired", "gone"]
)
@pytest.mark.parametrize("field", ["username", "pk"])
def test_an_old_report_brings_nothing_back_and_is_no_fault(
    alice: Any, tmp_path: Path, after: Callable[[Any], Any], field: str
) -> None:
    name = getattr(alice, field)
    make_intent(learner=alice)
    api.erase_learner(alice)
    after(alice)
    loaded = load_of(tmp_path, name, name, field=field)
    assert (loaded.status, loaded.counts, loaded.erased) == (0, (2, 0, 0, 0), 2)
    assert not ProgramIntent.objects.exists()


@pytest.mark.parametrize(
    "after", [lambda user: None, retired, lambda user: user.delete()], ids=["stays", "retired", "gone"]
)
@pytest.mark.parametrize("field", ["username", "pk"])
def test_what_is_malformed_in_an_old_report_calls_nobody_who_was_erased_by_name(
    alice: Any, tmp_path: Path, after: Callable[[Any], Any], field: str
) -> None:
    name, other = getattr(alice, field), getattr(make_user(username="bob"), field)
    api.erase_learner(alice)
    after(alice)
    malformed = [{"certainty": "PERHAPS"}, {"effective_timestamp": "yesterday"}]
    rows = [line(learner=each, **changes) for each in (name, other) for changes in malformed]
    rejects, soon = tmp_path / "rejects.csv", timezone.now() + timedelta(hours=1)
    rows += [f"{PROGRAM},{name}", line(learner=name, certainty="PERHAPS", effective_timestamp=soon.isoformat())]
    report = write_report(tmp_path / "report.csv", *rows)
    for how in ("--dry-run", "--no-progress"):
        loaded = load(report, "--learner-field", field, "--rejects", rejects, how)
        assert (loaded.counts, loaded.erased) == ((6, 0, 0, 3), 3)
        assert [row["line"] for row in csv.DictReader(rejects.read_text().splitlines())] == ["4", "5", "7"]


def test_a_later_bearer_of_the_name_gets_neither_the_old_rows_nor_a_ban(alice: Any, tmp_path: Path) -> None:
    make_intent(learner=alice)
    alice.delete()
    assert not ProgramIntent.objects.exists()
    later = make_user(username="alice")
    assert load_of(tmp_path, "alice").erased == 1
    now = timezone.now()
    assert load_of(tmp_path, "alice", when=now).counts == (1, 1, 0, 0)
    assert record(later).status == "created"
    assert {intent.learner_id for intent in stored_intents()} == {later.pk}


def test_a_former_name_is_erased_besides_the_one_that_the_user_has_now(alice: Any, tmp_path: Path) -> None:
    erase(alice.pk, using="default", names=[("username", "alison")])
    get_user_model().objects.filter(pk=alice.pk)._raw_delete("default")
    assert load_of(tmp_path, "alice", "alison").erased == 2


def test_a_name_that_is_told_later_is_erased_as_long_as_the_others(alice: Any, tmp_path: Path) -> None:
    later = datetime(2040, 1, 1, tzinfo=UTC)
    make_intent(learner=alice, effective_timestamp=later)
    api.erase_learner(alice, retired=True)
    erase(alice.pk, using="default", retired=True, names=[("username", "alison")])
    make_user(username="alison")
    assert load_of(tmp_path, "alison", when=later).erased == 1


def test_a_dry_run_foretells_what_is_left_out(alice: Any, tmp_path: Path) -> None:
    api.erase_learner(alice)
    report = write_report(tmp_path / "report.csv", line(learner="alice"), line(learner=alice.pk + 1))
    for field, left_out in (("username", 1), ("pk", 0)):
        loaded = load(report, "--learner-field", field, "--dry-run")
        assert loaded.erased == left_out


def test_the_deletion_of_a_user_is_an_erasure_however_it_is_done(alice: Any) -> None:
    others = [make_user() for _ in range(3)]
    for user in (alice, *others):
        make_intent(learner=user)
    keys = {alice.pk, *(other.pk for other in others)}
    alice.delete()
    get_user_model().objects.filter(pk__in=[other.pk for other in others]).delete()
    assert set(ErasedLearner.objects.values_list("pk", "intents")) == {(key, 1) for key in keys}


@isolate_apps("tests")
def test_the_deletion_by_a_proxy_that_came_after_the_apps_is_an_erasure(alice: Any) -> None:
    class Late(User):
        class Meta:
            proxy = True
            app_label = "tests"

    make_intent(learner=alice)
    Late.objects.get().delete()
    assert ErasedLearner.objects.get().intents == 1


def test_an_erasure_begins_its_transaction_by_writing_so_that_on_sqlite_it_waits_for_others(alice: Any) -> None:
    for erase_her in (partial(api.erase_learner, alice), alice.delete):
        with CaptureQueriesContext(connection) as queries:
            erase_her()
        statements = [query["sql"] for query in queries]
        begun = [statement.startswith("BEGIN") for statement in statements].index(True)
        assert statements[begun + 1].startswith("INSERT")


def test_what_is_rolled_back_erases_nobody(alice: Any) -> None:
    make_intent(learner=alice)
    with transaction.atomic():
        api.erase_learner(alice)
        alice.delete()
        transaction.set_rollback(True)
    assert ProgramIntent.objects.exists()
    assert not ErasedLearner.objects.exists()


def test_a_secret_key_of_bytes_keeps_names(alice: Any, tmp_path: Path, settings: Settings) -> None:
    settings.SECRET_KEY = b"no text \xff\xfe, which Django takes"
    alice.delete()
    make_user(username="alice")
    assert load_of(tmp_path, "alice").erased == 1


@pytest.mark.parametrize("by", ["\n" * 255, "\udc80" * 255])
def test_who_erases_may_be_called_by_what_nobody_can_read(alice: Any, by: str) -> None:
    api.erase_learner(alice, by=by)
    assert ErasedLearner.objects.get().by == by.encode("unicode_escape").decode()[:255]


def test_no_name_is_kept_that_can_be_read(alice: Any) -> None:
    api.erase_learner(alice)
    with connection.cursor() as cursor:
        for model in (ErasedLearner, ErasedName):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(model._meta.db_table)}")
            assert "alice" not in str(cursor.fetchall())


def test_many_rows_look_once_more_for_who_was_erased_meanwhile_and_one_row_does_not(alice: Any) -> None:
    others = [make_user() for _ in range(2)]
    with CaptureQueriesContext(connection) as one:
        api.record_intent(alice, **{key: value for key, value in make_row().items() if key != "learner"})
    assert len(one) == 1
    with CaptureQueriesContext(connection) as many:
        api.record_intents([make_row(learner=other) for other in others])
    table = ErasedLearner._meta.db_table
    assert table in many.captured_queries[-1]["sql"]
    assert many.captured_queries[-1]["sql"].startswith("SELECT")


def test_what_was_judged_before_an_erasure_and_stored_after_it_is_swept_by_who_stores(alice: Any) -> None:
    other = make_user()
    with transaction.atomic():
        rows = [make_row(learner=alice), make_row(learner=other)]
        assert [outcome.status for outcome in api.record_intents(rows)] == ["created", "created"]
        # As another process that commits first would leave it.
        ErasedLearner.objects.create(pk=alice.pk, key_until=timezone.now(), erased=timezone.now())
    assert [intent.learner_id for intent in stored_intents()] == [other.pk]


def test_followers_are_told_who_was_erased_and_until_when(alice: Any) -> None:
    first = api.erase_learner(alice)
    moment = timezone.now()
    second = api.erase_learner(make_user())
    assert api.get_erasures() == [first, second]
    assert api.get_erasures(since=moment) == [second]
    with pytest.raises(api.InvalidIntent, match="since"):
        api.get_erasures(since="yesterday")
