"""What a host of Open edX is promised; test_openedx.py runs it once as an LMS and once as a credentials service."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import DatabaseError, connection, connections, transaction
from django.test import override_settings
from django.urls import reverse
from rest_framework.test import APIClient

from program_intent.api import get_erasures, get_latest_certain_intents, record_intents
from program_intent.exceptions import ProgramIntentError
from program_intent.models import ProgramIntent
from tests.builders import make_intent, make_row, make_user
from tests.reports import Loaded, load, write_report
from tests.rest import LATEST, PROGRAM, RECORD, RETIREMENTS

IS_LMS = settings.ROOT_URLCONF == "tests.hosts.lms.urls"
PLUGIN = "program_intent.openedx.plugin.ProgramIntentConfig"
ROW = {
    "program_uuid": PROGRAM,
    "reason": "BUNDLE_PURCHASE",
    "certainty": "CERTAIN_YES",
    "effective_timestamp": "2022-04-12T08:30:00Z",
}

pytestmark = pytest.mark.django_db


def make_people() -> tuple[Any, Any, str]:
    """Two learners, and by which field the LMS's key of one names them; as a primary key it would be the other's."""
    ada, bob = make_user(), make_user()
    if IS_LMS:
        return ada, bob, "pk"
    ada.lms_user_id, bob.lms_user_id = bob.pk, ada.pk
    ada.save()
    bob.save()
    return ada, bob, "lms_user_id"


def client_of(user: Any) -> APIClient:
    client = APIClient()
    client.force_authenticate(user)
    return client


def make_service() -> APIClient:
    if not IS_LMS:
        return client_of(make_user(is_service=True))
    service = make_user()
    service.user_permissions.add(*Permission.objects.filter(content_type__app_label="program_intent"))
    return client_of(service)


def test_the_app_is_installed_by_its_entry_point_under_its_own_name_and_label() -> None:
    assert [app for app in settings.INSTALLED_APPS if app.startswith("program_intent")] == [PLUGIN]
    app = apps.get_app_config("program_intent")
    assert (app.name, app.label, type(app).__module__) == (
        "program_intent",
        "program_intent",
        "program_intent.openedx.plugin",
    )


def test_its_tables_are_there_and_no_migration_is_missing() -> None:
    assert not ProgramIntent.objects.exists()
    call_command("makemigrations", "program_intent", check_changes=True, dry_run=True, verbosity=0)


def test_what_the_host_left_out_is_filled_in_and_the_rest_stays() -> None:
    lms = {"LEARNER_LOOKUP_FIELD": "pk", "MAX_BATCH_SIZE": 10}
    assert getattr(settings, "PROGRAM_INTENT", None) == (lms if IS_LMS else {"LEARNER_LOOKUP_FIELD": "lms_user_id"})


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_the_checks_find_nothing_but_a_name_that_is_not_unique() -> None:
    found = [message.id for message in run_checks(databases=[*connections]) if "program_intent" in str(message.id)]
    assert found == ([] if IS_LMS else ["program_intent.W002"])


def test_the_rest_api_is_mounted_and_lets_nobody_in_who_has_not_signed_in() -> None:
    assert reverse("program_intent:latest-certain") == LATEST
    assert APIClient().get(LATEST).status_code in (401, 403)


def test_a_learner_records_and_asks_about_themself() -> None:
    ada, _, field = make_people()
    posted = client_of(ada).post(RECORD, ROW, format="json")
    assert (posted.status_code, posted.json()["learner"]) == (201, getattr(ada, field))
    assert client_of(ada).get(LATEST).json() == [posted.json()]
    assert [intent.learner for intent in ProgramIntent.objects.all()] == [ada]


def test_a_service_names_learners_by_the_key_of_the_lms() -> None:
    ada, bob, field = make_people()
    rows = [{"learner": getattr(each, field), **ROW} for each in (ada, bob)]
    posted = make_service().post(RECORD, [*rows, {"learner": 2**31 - 1, **ROW}], format="json")
    assert (posted.status_code, posted.json()["created"], posted.json()["rejected"]) == (200, 2, 1)
    assert [intent.learner for intent in ProgramIntent.objects.order_by("id")] == [ada, bob]


@pytest.mark.parametrize("key", ["lms_user_id", "edx_lms_user_id", "learner"])
def test_a_retirement_forgets_whom_the_lms_means(key: str) -> None:
    ada, bob, field = make_people()
    _, kept = make_intent(learner=ada), make_intent(learner=bob)
    body = {key: getattr(ada, field), "original_username": ada.username}
    type(ada).objects.filter(pk=ada.pk).update(username="retired__user_1")
    for _ in range(2):
        assert make_service().post(RETIREMENTS, body, format="json").status_code == 204
    assert list(ProgramIntent.objects.all()) == [kept]
    later = type(ada).objects.create(username=body["original_username"])
    (outcome,) = record_intents([make_row(learner=later.username)], learner_field="username")
    assert outcome.status == "rejected"


@pytest.mark.parametrize("column", ["lms_user_id", "user_id", "learner"])
def test_a_report_reaches_the_right_people(column: str, tmp_path: Path) -> None:
    ada, _, field = make_people()
    values = f"{PROGRAM},{getattr(ada, field)},BUNDLE_PURCHASE,CERTAIN_YES,2022-04-12T08:30:00Z"
    header = f"program_uuid,{column},intent_reason,intent_certainty,effective_time"
    loaded = load(write_report(tmp_path / "report.csv", values, header=header))
    assert (loaded.status, loaded.counts.created) == (0, 1)
    assert [intent.learner for intent in ProgramIntent.objects.all()] == [ada]


if IS_LMS:
    from tests.hosts.lms.apps import USER_RETIRE_LMS_CRITICAL
    from tests.hosts.lms.models import RetirementState, UserRetirementStatus

    class ReadsFromTheReplica:
        """As edx_django_utils.db.read_replica inside ``read_queries_only``."""

        def db_for_read(self, model: object, **hints: object) -> str:
            return "read_replica"

        def db_for_write(self, model: object, **hints: object) -> str:
            return "default"

    @pytest.mark.django_db(transaction=True, databases="__all__")
    def test_a_page_may_ask_the_replica() -> None:
        intent = make_intent()
        with override_settings(DATABASE_ROUTERS=[ReadsFromTheReplica()]):
            (answer,) = get_latest_certain_intents(intent.learner).values()
        assert answer.id == intent.pk
        assert ProgramIntent.objects.using("read_replica").get() == intent

    @pytest.mark.django_db(transaction=True)
    def test_a_refused_row_does_not_undo_its_request() -> None:
        ada, _, _ = make_people()
        posted = client_of(ada).post(RECORD, [ROW, {**ROW, "certainty": "PERHAPS"}], format="json")
        assert (posted.status_code, posted.json()["rejected"]) == (200, 1)
        assert ProgramIntent.objects.count() == 1

    def make_retirement(user: Any, state: str) -> Any:
        """As the LMS keeps it from the request on; the e-mail is gone from the user by then."""
        status = UserRetirementStatus(user=user, original_username=user.username, original_email=user.email)
        status.current_state, _ = RetirementState._default_manager.get_or_create(state_name=state)
        status.save()
        get_user_model().objects.filter(pk=user.pk).update(email="retired__user@retired.invalid", is_active=False)
        return status

    def retire(user: Any) -> None:
        """As the last call of a retirement driver to the LMS: its receivers, and then the name."""
        fresh = get_user_model().objects.get(pk=user.pk)
        USER_RETIRE_LMS_CRITICAL.send(sender=object, user=fresh, retired_username="retired__user", retired_email="")
        rename(user)

    def rename(user: Any) -> None:
        get_user_model().objects.filter(pk=user.pk).update(username="retired__user")

    def report_of(tmp_path: Path, **names: Any) -> list[Loaded]:
        """An old report that names a learner by each of these fields in turn."""
        values = "BUNDLE_PURCHASE,CERTAIN_YES,2022-04-12T08:30:00Z"
        header = "program_uuid,learner,intent_reason,intent_certainty,effective_time"
        files = {
            field: write_report(tmp_path / f"{field}.csv", f"{PROGRAM},{name},{values}", header=header)
            for field, name in names.items()
        }
        return [load(path, "--learner-field", field) for field, path in files.items()]

    @pytest.mark.parametrize(
        "before", [lambda user: None, retire, rename], ids=["once", "again", "after it failed behind the name"]
    )
    def test_who_is_retired_is_erased_for_good_by_what_they_were_called(
        before: Callable[[Any], None], tmp_path: Path
    ) -> None:
        ada, bob = make_user(username="ada", email="ada@example.com"), make_intent()
        names = {"pk": ada.pk, "username": ada.username, "email": ada.email}
        make_intent(learner=ada)
        make_retirement(ada, "RETIRING_LMS")
        before(ada)
        retire(ada)
        assert [intent.learner_id for intent in ProgramIntent.objects.all()] == [bob.learner_id]
        assert [(loaded.status, loaded.erased) for loaded in report_of(tmp_path, **names)] == [(0, 1)] * 3
        ((key, intents, until),) = ((each.learner_id, each.intents, each.until) for each in get_erasures())
        assert (key, intents, until) == (ada.pk, 1, None)

    def test_a_retirement_of_which_nothing_is_kept_erases_by_the_names_of_that_moment(tmp_path: Path) -> None:
        ada = make_user(username="ada")
        make_intent(learner=ada)
        retire(ada)
        assert not ProgramIntent.objects.exists()
        assert [loaded.erased for loaded in report_of(tmp_path, pk=ada.pk, username="ada")] == [1, 1]

    def test_nobody_is_erased_who_may_still_change_their_mind_and_the_error_stops_the_retirement() -> None:
        ada = make_intent().learner
        make_retirement(ada, "PENDING")
        message = "The retirement is PENDING, and until it begins the learner may change their mind."
        with pytest.raises(ProgramIntentError, match=f"^{message}$"):
            retire(ada)
        assert ProgramIntent.objects.exists()
        assert get_erasures() == []

    @pytest.mark.django_db(transaction=True)
    def test_what_goes_wrong_stops_the_retirement_which_may_run_again() -> None:
        ada = make_intent().learner
        make_retirement(ada, "RETIRING_LMS")
        with connection.execute_wrapper(fails_to_delete), pytest.raises(DatabaseError), transaction.atomic():
            retire(ada)
        assert (ProgramIntent.objects.count(), get_erasures()) == (1, [])
        assert not get_user_model().objects.filter(username="retired__user").exists()
        retire(ada)
        assert not ProgramIntent.objects.exists()

    def fails_to_delete(execute: Any, sql: str, *arguments: Any) -> Any:
        if sql.startswith("DELETE"):
            raise DatabaseError("the disk is full")
        return execute(sql, *arguments)

else:

    def test_a_retirement_by_name_finds_whoever_has_no_key_of_the_lms_and_nobody_who_has_another() -> None:
        ada, bob, _ = make_people()
        new = make_user()
        intents = [make_intent(learner=each) for each in (ada, bob, new)]
        for name in (bob.username, new.username):
            body = {"lms_user_id": 4711, "original_username": name}
            assert make_service().post(RETIREMENTS, body, format="json").status_code == 204
        assert list(ProgramIntent.objects.order_by("pk")) == intents[:2]
        (outcome,) = record_intents([make_row(learner=4711)], learner_field="lms_user_id")
        assert outcome.status == "rejected"

    def test_a_retirement_by_a_key_that_two_users_have_is_refused() -> None:
        ada, _, _ = make_people()
        type(ada).objects.update(lms_user_id=7)
        intent = make_intent(learner=ada)
        answer = make_service().post(RETIREMENTS, {"edx_lms_user_id": 7, "username": ada.username}, format="json")
        assert (answer.status_code, answer.json()) == (400, {"edx_lms_user_id": ["Several users are named by 7."]})
        assert list(ProgramIntent.objects.all()) == [intent]

    def test_e012_a_file_of_settings_that_is_read_later_names_no_learners() -> None:
        with override_settings(PROGRAM_INTENT={"MAX_BATCH_SIZE": 10}):
            (message,) = [each for each in run_checks() if "program_intent" in str(each.id)]
        assert (message.id, message.level >= 40) == ("program_intent.E012", True)
        assert message.msg == (
            "PROGRAM_INTENT has no LEARNER_LOOKUP_FIELD, so learners are named by a primary key that is not the LMS's."
        )
        assert message.hint == (
            "It was filled in, and then PROGRAM_INTENT was set anew, as by a YAML file. Add to it there: "
            "LEARNER_LOOKUP_FIELD: lms_user_id."
        )
