"""The admin tells who was erased and when, and erases a learner once it was asked twice."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from program_intent import api
from program_intent.models import ErasedLearner, ProgramIntent, RejectedIntent
from tests.builders import make_intent, make_user
from tests.test_admin import LEARNER, make_staff, rows_of

pytestmark = pytest.mark.django_db

ERASED = "/admin/program_intent/erasedlearner/"
HUGE = "9" * 20
LATER = datetime(2040, 1, 1, tzinfo=UTC)
FORGETS = ("view_programintent", "erase_learner")


def make_rejected(field: str, name: Any) -> None:
    number, now = RejectedIntent.objects.count(), timezone.now()
    told = {"key": number, "learner_field": field, "learner": str(name), "first_seen": now, "last_seen": now}
    RejectedIntent.objects.create(source="reports", **told)


def client_of(*permissions: str, **options: Any) -> Client:
    client = Client(**options)
    client.force_login(make_staff(*permissions))
    return client


def text_of(page: str) -> str:
    """Of the part that the page is about, without tags, in single spaces."""
    return " ".join(re.sub(r"<[^>]+>", " ", page.partition('<section class="program-intent-forget">')[2]).split())


def forget_page(learner: Any) -> str:
    response = client_of(*FORGETS).get(f"{LEARNER}{learner.pk}/forget/")
    assert response.status_code == 200
    return text_of(response.content.decode())


# The list


def test_the_list_tells_when_how_many_by_whom_and_until_the_last_first_and_no_name(admin_client: Client) -> None:
    ann, bob = make_user(username="ann"), make_user(username="bob")
    make_intent(learner=ann, effective_timestamp=LATER)
    api.erase_learner(ann, by="privacy")
    api.erase_learner(bob, by="officer", retired=True)
    for day, user in ((1, ann), (2, bob)):
        ErasedLearner.objects.filter(pk=user.pk).update(erased=datetime(2026, 11, day, 12, tzinfo=UTC))
    page = admin_client.get(ERASED).content.decode()
    assert rows_of(page.partition('id="result_list"')[2]) == [
        [str(bob.pk), "Nov. 2, 2026, 7 a.m.", "for ever", "0", "officer"],
        [str(ann.pk), "Nov. 1, 2026, 7 a.m.", "Dec. 31, 2039, 7 p.m.", "1", "privacy"],
    ]
    detail = admin_client.get(f"{ERASED}{ann.pk}/change/").content.decode()
    assert "privacy" in detail
    for shown in (page, detail):
        assert re.search(r"\b(ann|bob)\b", shown) is None


def test_nothing_of_an_erasure_is_added_changed_or_deleted_and_there_is_no_history(admin_client: Client) -> None:
    key = make_user().pk
    api.erase_learner(key, by="privacy")
    for path in ("add/", f"{key}/delete/"):
        assert admin_client.get(ERASED + path).status_code == 403
        assert admin_client.post(ERASED + path, {"post": "yes"}).status_code == 403
    assert admin_client.post(f"{ERASED}{key}/change/", {"by": "nobody"}).status_code == 403
    admin_client.post(ERASED, {"action": "delete_selected", "_selected_action": [key], "post": "yes"})
    assert ErasedLearner.objects.get().by == "privacy"
    page = admin_client.get(f"{ERASED}{key}/change/").content.decode()
    for absent in ('name="_save"', "deletelink", "historylink"):
        assert absent not in page


def test_who_was_erased_is_for_those_who_may_view_it() -> None:
    api.erase_learner(key := make_user().pk)
    for permissions, status in ((("view_programintent", "erase_learner"), 403), (("view_erasedlearner",), 200)):
        client = client_of(*permissions)
        assert client.get(ERASED).status_code == status
        assert client.get(f"{ERASED}{key}/change/").status_code == status


@pytest.mark.parametrize(
    "address", ["?by=%00", "?by__regex=(", "?learner=" + "9" * 20, f"{'9' * 20}/change/", "x/change/"]
)
def test_an_address_that_the_list_does_not_give_is_refused(admin_client: Client, address: str) -> None:
    api.erase_learner(make_user().pk)
    assert admin_client.get(ERASED + address).status_code == (400 if "?" in address else 404)


# Forgetting a learner


def test_the_page_of_a_learner_leads_to_the_question_those_who_may_forget() -> None:
    ann = make_user()
    link = f'<a href="{LEARNER}{ann.pk}/forget/">Forget this learner</a>'
    for permissions, is_linked in ((("view_programintent",), False), (FORGETS, True)):
        assert (link in client_of(*permissions).get(f"{LEARNER}{ann.pk}/").content.decode()) == is_linked


def test_the_question_says_what_goes_what_stays_and_until_when() -> None:
    ann, other = make_user(username="ann"), make_user(username="bob")
    for reason in ("A", "B"):
        make_intent(learner=ann, reason=reason)
    make_intent(learner=other)
    make_rejected("username", "ann")
    make_rejected("username", "bob")
    told = forget_page(ann)
    assert "Of learner ann go, for good: 2 intents 1 row that was refused and names them What stays:" in told
    assert f"the primary key {ann.pk}, with when" in told
    assert "whatever is told of them as in effect by now is refused" in told
    make_rejected("pk", f" {ann.pk} ")
    make_intent(learner=ann, effective_timestamp=LATER)
    told = forget_page(ann)
    assert "3 intents 2 rows that were refused and name them" in told
    assert "as in effect by 2039-12-31 19:00:00.000000 -0500 , which is later than now, is refused" in told


def test_the_question_knows_of_earlier_erasures() -> None:
    ann = make_user()
    make_intent(learner=ann, effective_timestamp=LATER)
    api.erase_learner(ann)
    assert "0 intents 0 rows that were refused and name them" in forget_page(ann)
    assert "as in effect by 2039-12-31 19:00:00.000000 -0500 , which is later" in forget_page(ann)
    api.erase_learner(ann, retired=True)
    assert "is told of this learner is refused for ever: the account was retired." in forget_page(ann)


def test_to_ask_writes_nothing() -> None:
    intent = make_intent()
    with CaptureQueriesContext(connection) as queries:
        forget_page(intent.learner)
    table = ErasedLearner._meta.db_table
    assert [query["sql"] for query in queries if table in query["sql"] and not query["sql"].startswith("SELECT")] == []
    assert ProgramIntent.objects.exists()
    assert api.get_erasures() == []


def test_the_answer_forgets_the_learner_alone_and_the_page_says_what_was_done() -> None:
    ann, other = make_user(username="ann"), make_intent()
    make_intent(learner=ann)
    make_rejected("username", "ann")
    client = client_of(*FORGETS)
    officer = client.get(f"{LEARNER}{ann.pk}/").wsgi_request.user.get_username()
    response = client.post(f"{LEARNER}{ann.pk}/forget/", follow=True)
    assert response.redirect_chain == [(f"{LEARNER}{ann.pk}/", 302)]
    erased = ErasedLearner.objects.get()
    assert (erased.pk, erased.by, erased.intents) == (ann.pk, officer, 1)
    assert erased.key_until is not None
    until = f"{timezone.localtime(erased.key_until):%Y-%m-%d %H:%M:%S %z}"
    message = f"Intents forgotten: 1. From now on, whatever tells of {until} or before is refused."
    assert [str(each) for each in get_messages(response.wsgi_request)] == [message]
    page = response.content.decode()
    assert message in page
    assert "No intents are recorded of this learner." in page
    assert [intent.pk for intent in ProgramIntent.objects.all()] == [other.pk]
    assert not RejectedIntent.objects.exists()


def test_who_is_retired_or_gone_can_be_forgotten_again() -> None:
    api.erase_learner(987654, retired=True)
    response = client_of(*FORGETS).post(f"{LEARNER}987654/forget/", follow=True)
    message = "Intents forgotten: 0. From now on, whatever tells of this learner is refused."
    assert message in response.content.decode()


def test_to_forget_takes_both_permissions_and_a_token_and_otherwise_nothing_is_told_or_done() -> None:
    intent = make_intent()
    path = f"{LEARNER}{intent.learner_id}/forget/"
    for permission in FORGETS:
        client = client_of(permission)
        for send in (client.get, client.post):
            response = send(path)
            assert response.status_code == 403
            assert "for good" not in response.content.decode()
    assert client_of(*FORGETS, enforce_csrf_checks=True).post(path).status_code == 403
    assert Client().post(path).headers["Location"].startswith("/support/login/")
    assert ProgramIntent.objects.exists()
    assert api.get_erasures() == []


@pytest.mark.parametrize("key", ["ann", "1" * 50, "1.0", "%00", "_"])
def test_what_is_no_key_of_a_learner_cannot_be_forgotten(key: str) -> None:
    client = client_of(*FORGETS)
    for send in (client.get, client.post):
        assert send(f"{LEARNER}{key}/forget/").status_code == 404
    assert api.get_erasures() == []


def test_the_longest_name_of_an_officer_is_no_hindrance(monkeypatch: pytest.MonkeyPatch) -> None:
    client, intent = client_of(*FORGETS), make_intent()
    monkeypatch.setattr("django.contrib.auth.models.User.get_username", lambda user: "W" * 300)
    assert client.post(f"{LEARNER}{intent.learner_id}/forget/").status_code == 302
    assert ErasedLearner.objects.get().by == "W" * 255
