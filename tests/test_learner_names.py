"""Who is meant where a host's field names several users, or none: nobody is guessed, through every door."""

import re
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection, models
from django.test import Client
from django.test.utils import CaptureQueriesContext, isolate_apps
from pytest_django import Settings
from rest_framework.test import APIClient

from program_intent import engines
from program_intent.api import get_intent_history, record_intents
from program_intent.models import ProgramIntent
from tests.builders import PROGRAM, make_row, make_user
from tests.reports import load, write_report
from tests.reports import make_row as make_line
from tests.rest import (
    ADD,
    CHANGES,
    EXPLAIN,
    LATEST,
    OF_PROGRAM,
    QUERY,
    RECORD,
    VIEW,
    answer,
    ask,
    client_of,
    get,
    refused,
)

SHARED = "shared@example.org"
SEVERAL = f"Several users are named by '{SHARED}'."

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _named_by_email(settings: Settings) -> None:
    settings.PROGRAM_INTENT = {"LEARNER_LOOKUP_FIELD": "email"}


@pytest.fixture
def ada() -> Any:
    return make_user(email="ada@example.org")


@pytest.fixture
def twins() -> list[Any]:
    return [make_user(email=SHARED), make_user(email=SHARED)]


def learners_stored() -> list[Any]:
    return sorted(ProgramIntent.objects.values_list("learner_id", flat=True))


def test_python_refuses_the_shared_name_row_by_row(ada: User, twins: list[User]) -> None:
    rows = [make_row(learner=name) for name in (SHARED, ada.email, "nobody@example.org")]
    outcomes = record_intents(rows, learner_field="email")
    assert [outcome.status for outcome in outcomes] == ["rejected", "created", "rejected"]
    assert outcomes[0].errors == {"learner": [SEVERAL]}
    assert outcomes[2].errors == {"learner": ["No user is named by 'nobody@example.org'."]}
    assert learners_stored() == [ada.pk]


def test_a_user_is_meant_by_key_whatever_others_are_called(twins: list[User]) -> None:
    unnamed = make_user(email="")
    rows = [make_row(learner=learner) for learner in (twins[1], unnamed)]
    outcomes = record_intents(rows, learner_field="email")
    assert [outcome.status for outcome in outcomes] == ["created", "created"]
    assert learners_stored() == [twins[1].pk, unnamed.pk]


def test_one_learner_named_in_two_ways_is_recorded_once(ada: User) -> None:
    outcomes = record_intents([make_row(learner=ada), make_row(learner=ada.email)], learner_field="email")
    assert [outcome.status for outcome in outcomes] == ["created", "duplicate"]
    assert len(get_intent_history(ada)) == 1


def test_a_user_who_is_gone_is_refused_by_key(ada: User) -> None:
    User.objects.filter(pk=ada.pk).delete()
    (outcome,) = record_intents([make_row(learner=ada)], learner_field="email")
    assert outcome.errors == {"learner": [f"No user is named by {ada.pk}."]}


@pytest.mark.parametrize("options", [{}, {"dry_run": True}, {"max_rejects": 5}])
def test_a_load_rejects_the_shared_name(tmp_path: Path, ada: User, twins: list[User], options: dict[str, Any]) -> None:
    report = write_report(tmp_path / "report.csv", make_line(learner=SHARED), make_line(learner=ada.email))
    rejects = tmp_path / "rejects.csv"
    loaded = load(report, rejects=str(rejects), **options)
    assert loaded.status == 3
    assert (loaded.counts.created, loaded.counts.rejected) == (1, 1)
    assert f"report.csv,2,learner: {SEVERAL}" in rejects.read_text()


def test_a_load_may_name_learners_by_a_field_that_is_not_unique(tmp_path: Path, settings: Settings, ada: User) -> None:
    settings.PROGRAM_INTENT = {}
    report = write_report(tmp_path / "report.csv", make_line(learner=ada.email))
    assert load(report, learner_field="email").counts.created == 1


@pytest.mark.parametrize("url", [LATEST, RECORD, EXPLAIN])
def test_a_read_refuses_the_shared_name_also_the_callers_own(twins: list[User], url: str) -> None:
    of_program = {"program_uuid": PROGRAM}
    assert refused(client_of(twins[0]), url, learner=SHARED, **of_program) == {"learner": [SEVERAL]}
    assert refused(client_of(make_user(), VIEW), url, learner=SHARED, **of_program) == {"learner": [SEVERAL]}
    get(client_of(twins[0]), url, **of_program)


def test_a_post_refuses_the_shared_name_and_without_a_name_means_the_caller(twins: list[User]) -> None:
    row = make_row(program_uuid=str(PROGRAM), effective_timestamp="2026-02-01T09:00:00Z")
    del row["learner"]
    client = client_of(twins[0])
    named = {**row, "learner": SHARED}
    assert answer(client.post(RECORD, named, format="json"), 400) == {"learner": [SEVERAL]}
    batch = answer(client.post(RECORD, [named, row], format="json"), 200)
    assert [outcome["status"] for outcome in batch["outcomes"]] == ["rejected", "created"]
    assert batch["outcomes"][0]["errors"] == {"learner": [SEVERAL]}
    assert batch["outcomes"][1]["intent"]["learner"] == SHARED
    assert learners_stored() == [twins[0].pk]
    as_adder = client_of(make_user(email="adder@example.org"), ADD)
    assert answer(as_adder.post(RECORD, named, format="json"), 400) == {"learner": [SEVERAL]}


def test_a_query_about_many_refuses_the_shared_name(ada: User, twins: list[User]) -> None:
    client = client_of(make_user(), VIEW)
    assert ask(client, {"learners": [ada.email, SHARED]}, 400) == {"learners": [SEVERAL]}
    assert [each["learner"] for each in ask(client, {"learners": [ada.email]})] == [ada.email]


def test_the_pages_of_a_program_go_on_past_learners_without_a_name_of_their_own(ada: User, twins: list[User]) -> None:
    learners = [ada, *twins, make_user(email=""), make_user(email="zoe@example.org")]
    record_intents([make_row(learner=learner) for learner in learners])
    client = client_of(make_user(email="staff@example.org"), VIEW)
    found, page = [], get(client, OF_PROGRAM.replace("9a241637-6370-5561-bfb1-6dd5655333f4", str(PROGRAM)), limit=1)
    found += page["results"]
    while page["next"]:
        page = answer(client.get(page["next"]), 200)
        found += page["results"]
    assert [intent["learner"] for intent in found] == [ada.email, "zoe@example.org"]


def test_a_caller_without_a_name_is_nobody_that_is_called_nothing() -> None:
    unnamed, other = make_user(email=""), make_user(email="")
    record_intents([make_row(learner=unnamed), make_row(learner=other)])
    client = client_of(unnamed)
    assert [intent["learner"] for intent in get(client, LATEST)] == [None]
    assert client.get(f"{LATEST}?learner=").status_code == 403


def test_nobody_is_named_by_nothing_also_where_one_user_alone_has_no_name(ada: User) -> None:
    unnamed = make_user(email="")
    record_intents([make_row(learner=unnamed)])
    client = client_of(ada, VIEW)
    required = ["This field is required."]
    for url in (LATEST, RECORD, EXPLAIN):
        assert refused(client, url, learner="", program_uuid=PROGRAM) == {"learner": required}
    assert ask(client, {"learners": [ada.email, ""]}, 400) == {"learners": required}
    assert refused(client, OF_PROGRAM, after="") == {"after": required}


@pytest.mark.parametrize("key", [True, 1.0, [1], "\ud800"])
def test_a_users_key_is_judged_whatever_field_names_learners(ada: User, key: Any) -> None:
    ghost = User(username="ghost")
    ghost.pk = key
    outcomes = record_intents([make_row(learner=ghost), make_row(learner=ada)], learner_field="email")
    assert [outcome.status for outcome in outcomes] == ["rejected", "created"]
    assert list(outcomes[0].errors) == ["learner"]


def test_the_admin_finds_all_who_share_the_name(ada: User, twins: list[User], admin_client: Client) -> None:
    record_intents([make_row(learner=learner) for learner in (ada, *twins)])
    found = admin_client.get("/admin/program_intent/programintent/", {"q": SHARED}).context["cl"].result_list
    assert {intent.learner for intent in found} == set(twins)


def test_the_links_of_the_admin_mean_one_user_whatever_others_are_called(admin_client: Client) -> None:
    meant = make_user()
    record_intents([make_row(learner=learner) for learner in (meant, make_user(username=str(meant.pk)))])
    page = admin_client.get(f"/admin/program_intent/programintent/learner/{meant.pk}/").content.decode()
    (link,) = re.findall(r'href="([^"]+)">Search', page)
    assert [each.learner for each in admin_client.get(link).context["cl"].result_list] == [meant]


def test_the_feed_tells_no_name_that_several_share(ada: User, twins: list[User]) -> None:
    record_intents([make_row(learner=learner) for learner in (ada, *twins)])
    client = client_of(make_user(), VIEW)
    assert [intent["learner"] for intent in get(client, CHANGES)["intents"]] == [ada.email, None, None]


def test_a_command_refuses_the_shared_name(twins: list[User]) -> None:
    with pytest.raises(CommandError, match="Several users are named by"):
        call_command("explain_program_intent", SHARED, str(PROGRAM), stdout=StringIO())


# Callers who are no users of this database


class TokenUser:
    """Who comes with a token alone, as of djangorestframework-simplejwt's stateless authentication."""

    is_authenticated = True
    is_active = True

    def __init__(self, key: Any) -> None:
        self.id = self.pk = key


def signed_in(user: Any) -> APIClient:
    client = APIClient()
    client.force_authenticate(user)
    return client


def stateless(key: Any) -> APIClient:
    return signed_in(TokenUser(key))


@pytest.mark.parametrize("field", ["pk", "username", "email"])
def test_a_caller_with_a_token_alone_is_the_learner_that_its_key_names(
    settings: Settings, ada: User, field: str
) -> None:
    settings.PROGRAM_INTENT = {"LEARNER_LOOKUP_FIELD": field}
    name = getattr(ada, field)
    client = stateless(str(ada.pk))
    row = make_row(program_uuid=str(PROGRAM), effective_timestamp="2026-02-01T09:00:00Z")
    del row["learner"]
    assert answer(client.post(RECORD, row, format="json"), 201)["learner"] == name
    assert answer(client.post(RECORD, {**row, "learner": name}, format="json"), 200)["learner"] == name
    for url in (LATEST, RECORD):
        for own in ({}, {"learner": name}):
            found = get(client, url, **own)
            (intent,) = found if isinstance(found, list) else found["results"]
            assert intent["learner"] == name
    assert client.get(f"{LATEST}?learner=another").status_code == 403
    assert client.post(QUERY, {"learners": [name]}, format="json").status_code == 403


def test_a_token_whose_key_is_nobodys_has_no_intents_and_records_none() -> None:
    client = stateless("987654321")
    row = {"program_uuid": str(PROGRAM), "reason": "A", "certainty": "MAYBE"}
    assert get(client, LATEST) == []
    expected = {"learner": ["No user is named by 987654321."]}
    assert answer(client.post(RECORD, row, format="json"), 400) == expected
    assert answer(client.post(RECORD, [row], format="json"), 200)["outcomes"][0]["errors"] == expected


class ById:
    """As a host's own class may be, and as a subclass of Django's ``AnonymousUser`` is: its ``pk`` is None."""

    pk = None
    is_authenticated = True

    def __init__(self, key: Any) -> None:
        self.id = key


class ByIdAlone(ById):
    pk = property()  # which raises AttributeError


@pytest.mark.parametrize("kind", [ById, ByIdAlone])
def test_a_token_names_its_learner_by_id_where_it_has_no_pk(ada: User, kind: type[ById]) -> None:
    client = signed_in(kind(str(ada.pk)))
    row = {"program_uuid": str(PROGRAM), "reason": "A", "certainty": "MAYBE"}
    intent = answer(client.post(RECORD, row, format="json"), 201)
    assert intent["learner"] == ada.email
    assert answer(client.post(RECORD, [row], format="json"), 200)["created"] == 1
    for url in (LATEST, RECORD, EXPLAIN):
        assert f'"learner":"{ada.email}"' in client.get(url, {"program_uuid": str(PROGRAM)}).content.decode()
    assert learners_stored() == [ada.pk, ada.pk]


class WithoutKey:
    is_authenticated = True


def device() -> Any:
    """A row of another model, whose number is that of the first user."""
    with isolate_apps("tests"):

        class Device(models.Model):  # noqa: DJ008
            is_authenticated = True

            class Meta:
                app_label = "tests"

    return Device(pk=User.objects.earliest("pk").pk)


KEYLESS: dict[str, Callable[[], Any]] = {
    "text": lambda: TokenUser("service-account"),
    "none": lambda: TokenUser(None),
    "float": lambda: TokenUser(1.5),
    "without a key": WithoutKey,
    "of another model": device,
}
# Whom Django itself cannot ask for permissions.
KEYLESS_USERS: dict[str, Callable[[], Any]] = {
    "user": User,
    "user by a text": lambda: User(id="service-account", email="ada@example.org"),
}


@pytest.mark.parametrize("of", [*KEYLESS.values(), *KEYLESS_USERS.values()], ids=[*KEYLESS, *KEYLESS_USERS])
def test_who_comes_without_a_key_of_a_user_is_nobody_and_no_500(ada: User, of: Callable[[], Any]) -> None:
    record_intents([make_row(learner=ada)])
    client = signed_in(of())
    for url in (LATEST, RECORD, EXPLAIN):
        assert list(answer(client.get(url, {"program_uuid": str(PROGRAM)}), 400)) == ["learner"]
    assert "learner" in answer(client.post(RECORD, {}, format="json"), 400)
    row = {"program_uuid": str(PROGRAM), "reason": "A", "certainty": "MAYBE"}
    assert list(answer(client.post(RECORD, row, format="json"), 400)) == ["learner"]
    (outcome,) = answer(client.post(RECORD, [row], format="json"), 200)["outcomes"]
    assert list(outcome["errors"]) == ["learner"]
    assert learners_stored() == [ada.pk]


@pytest.mark.parametrize("of", KEYLESS.values(), ids=KEYLESS)
def test_who_comes_without_a_key_of_a_user_bears_no_name(ada: User, of: Callable[[], Any]) -> None:
    for name in (ada.email, "another@example.org"):
        assert signed_in(of()).get(f"{LATEST}?learner={name}").status_code == 403


def saved(user: User) -> User:
    user._state.adding = False
    return user


@pytest.mark.parametrize("field", ["pk", "id", "email", "username"])
@pytest.mark.parametrize(
    "of",
    [
        lambda ada: User(id=str(ada.pk)),
        lambda ada: User(id=ada.pk),
        lambda ada: User(id=str(ada.pk), email="shared@example.org", username="other"),
        lambda ada: saved(User(id=str(ada.pk), email=ada.email, username=ada.username)),
    ],
    ids=["by a text", "by a number", "with other names", "as if from the database"],
)
def test_a_user_made_from_a_token_is_the_learner_that_the_key_names(
    settings: Settings, ada: User, field: str, of: Callable[[User], User]
) -> None:
    settings.PROGRAM_INTENT = {"LEARNER_LOOKUP_FIELD": field}
    client, name = signed_in(of(ada)), getattr(ada, field)
    row = make_row(program_uuid=str(PROGRAM), effective_timestamp="2026-02-01T09:00:00Z")
    del row["learner"]
    assert answer(client.post(RECORD, row, format="json"), 201)["learner"] == name
    assert answer(client.post(RECORD, {**row, "learner": name}, format="json"), 200)["learner"] == name
    (outcome,) = answer(client.post(RECORD, [row], format="json"), 200)["outcomes"]
    assert outcome["intent"]["learner"] == name
    for own in ({}, {"learner": name}):
        assert [intent["learner"] for intent in get(client, LATEST, **own)] == [name]
        assert [intent["learner"] for intent in get(client, RECORD, **own)["results"]] == [name]
        explanation = get(client, EXPLAIN, program_uuid=PROGRAM, **own)
        assert (explanation["learner"], explanation["winner"]["learner"]) == (name, name)


@pytest.mark.parametrize("field", ["pk", "email"])
@isolate_apps("tests")
def test_a_child_of_the_user_model_with_a_key_of_its_own_is_the_user_that_it_is(
    settings: Settings, ada: User, field: str
) -> None:
    class Student(User):
        sid = models.BigAutoField(primary_key=True)
        user = models.OneToOneField(User, models.CASCADE, parent_link=True, related_name="+")

        class Meta:
            app_label = "tests"

    settings.PROGRAM_INTENT = {"LEARNER_LOOKUP_FIELD": field}
    other = make_user(email="other@example.org")
    record_intents([make_row(learner=other.pk)], learner_field="pk")
    client = signed_in(saved(Student(sid=other.pk, id=ada.pk, user_id=ada.pk, email=ada.email)))
    row = {"program_uuid": str(PROGRAM), "reason": "A", "certainty": "MAYBE"}
    assert answer(client.post(RECORD, row, format="json"), 201)["learner"] == getattr(ada, field)
    assert [intent["learner"] for intent in get(client, LATEST)] == [getattr(ada, field)]
    assert client.get(LATEST, {"learner": getattr(other, field)}).status_code == 403
    assert learners_stored() == [ada.pk, other.pk]


def test_a_service_whose_token_has_no_key_of_a_user_asks_about_others(ada: User) -> None:
    record_intents([make_row(learner=ada)])
    user = TokenUser("service-account")
    user.has_perm = lambda permission: True  # type: ignore[attr-defined]
    client = signed_in(user)
    assert [intent["learner"] for intent in get(client, LATEST, learner=ada.email)] == [ada.email]
    own = make_row(program_uuid=str(PROGRAM), effective_timestamp="2026-02-01T09:00:00Z")
    del own["learner"]
    batch = answer(client.post(RECORD, [{**own, "learner": ada.email, "reason": "A"}, own], format="json"), 200)
    assert [outcome["status"] for outcome in batch["outcomes"]] == ["created", "rejected"]
    assert batch["outcomes"][1]["errors"] == {
        "learner": ["Expected an integer that names a user, not 'service-account'."]
    }


def test_a_users_own_read_costs_no_look_up_of_names(ada: User) -> None:
    client = client_of(ada)
    with CaptureQueriesContext(connection) as queries:
        get(client, LATEST)
    assert len(queries) == 1


@pytest.mark.skipif(connection.vendor == "postgresql", reason="PostgreSQL reads a small table whole, by any query")
@pytest.mark.django_db
def test_a_name_is_found_by_the_index_of_its_column() -> None:
    User.objects.bulk_create(User(username=f"learner {number}") for number in range(500))
    (users,) = engines.of(connection, User).rows_having(User.objects.all(), "username", ["learner 1", "learner 2"])
    plan = users.explain()
    assert "SEARCH" in plan or "range" in plan or "ref" in plan, plan
