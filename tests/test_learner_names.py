"""Who is meant where a host's field names several users, or none: nobody is guessed, through every door."""

import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
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


def stateless(key: Any) -> APIClient:
    client = APIClient()
    client.force_authenticate(TokenUser(key))  # type: ignore[arg-type]  # what it stands for is no user
    return client


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


@pytest.mark.parametrize("key", ["service-account", None, 1.5])
def test_a_token_whose_key_is_no_key_is_refused_and_no_500(key: Any) -> None:
    client = stateless(key)
    assert "learner" in answer(client.get(LATEST), 400)
    assert "learner" in answer(client.post(RECORD, {}, format="json"), 400)
    assert client.get(f"{LATEST}?learner=another@example.org").status_code == 403


def test_a_service_whose_token_has_no_key_of_a_user_asks_about_others(ada: User) -> None:
    record_intents([make_row(learner=ada)])
    user = TokenUser("service-account")
    user.has_perm = lambda permission: True  # type: ignore[attr-defined]
    client = APIClient()
    client.force_authenticate(user)  # type: ignore[arg-type]  # what it stands for is no user
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
