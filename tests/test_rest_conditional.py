"""Conditional requests: a client that has the answer is told so, and none is told so wrongly."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from pytest_django import DjangoAssertNumQueries, Settings
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer
from rest_framework.test import APIClient

from program_intent.rest_api.base import IntentsView
from tests.rest import (
    LATER,
    LATEST,
    MAY_NOT_VIEW,
    NOBODY,
    OTHER_PROGRAM,
    PROGRAM,
    answer,
    client_of,
    get,
    record,
)

pytestmark = pytest.mark.django_db


def held(client: APIClient, etag: str, **parameters: Any) -> int:
    """The status for a client that has an answer."""
    response = client.get(f"{LATEST}?{urlencode(parameters, doseq=True)}", headers={"If-None-Match": etag})
    if response.status_code == 304:
        assert response.content == b""
        assert "Content-Type" not in response
    return int(response.status_code)


def etag(client: APIClient, **parameters: Any) -> str:
    response = client.get(f"{LATEST}?{urlencode(parameters, doseq=True)}")
    assert response.status_code == 200
    return str(response["ETag"])


def test_a_client_that_has_the_answer_is_told_304_until_it_changes(ada: User, as_ada: APIClient) -> None:
    record(ada)
    first = etag(as_ada)
    assert held(as_ada, first) == 304
    record(ada, certainty="MAYBE", effective_timestamp=LATER)  # it changes nothing
    assert held(as_ada, first) == 304
    record(ada, certainty="CERTAIN_NO", effective_timestamp=LATER)
    assert held(as_ada, first) == 200
    assert etag(as_ada) != first


def test_a_304_says_of_the_answer_what_a_200_does(ada: User, as_ada: APIClient) -> None:
    record(ada)
    full = as_ada.get(LATEST)
    unchanged = as_ada.get(LATEST, headers={"If-None-Match": full["ETag"]})
    for name in ("ETag", "Cache-Control", "Vary"):
        assert unchanged[name] == full[name]
    assert full["Cache-Control"] == "private, no-cache"
    assert "Accept" in full["Vary"]
    assert full["ETag"].startswith('W/"')
    assert as_ada.head(LATEST, headers={"If-None-Match": full["ETag"]}).status_code == 304


def test_an_intent_that_comes_into_effect_is_another_answer(
    ada: User, as_ada: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(ada)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    record(ada, certainty="CERTAIN_NO", effective_timestamp=tomorrow.isoformat())
    first = etag(as_ada)
    monkeypatch.setattr("django.utils.timezone.now", lambda: tomorrow - timedelta(microseconds=1))
    assert held(as_ada, first) == 304
    monkeypatch.setattr("django.utils.timezone.now", lambda: tomorrow)
    assert held(as_ada, first) == 200
    assert get(as_ada, LATEST)[0]["certainty"] == "CERTAIN_NO"


@pytest.mark.usefixtures("by_username")
def test_a_learner_of_another_name_is_another_answer(ada: User, as_ada: APIClient) -> None:
    record(ada)
    first = etag(as_ada)
    User.objects.filter(pk=ada.pk).update(username="ada-lovelace")
    renamed = client_of(User.objects.get(pk=ada.pk))
    assert held(renamed, first) == 200
    assert held(renamed, etag(renamed)) == 304


def test_another_lookup_field_is_another_answer(ada: User, as_ada: APIClient, settings: Settings) -> None:
    """Also where the names look alike: 7 is not "7"."""
    record(ada)
    ada.username = str(ada.pk)
    ada.save()
    client = client_of(ada)
    first = etag(client)
    settings.PROGRAM_INTENT = {"LEARNER_LOOKUP_FIELD": "username"}
    assert held(client, first) == 200


def test_each_learner_has_answers_of_their_own(ada: User, bob: User, as_ada: APIClient) -> None:
    assert etag(as_ada) != etag(client_of(bob))


def test_what_the_parameters_change_changes_the_tag(ada: User, as_ada: APIClient) -> None:
    record(ada)
    record(ada, OTHER_PROGRAM)
    whole = etag(as_ada)
    assert held(as_ada, whole, program_uuid=PROGRAM) == 200
    assert held(as_ada, whole, as_of="2026-01-01T00:00:00Z") == 200
    assert held(as_ada, whole, program_uuid=[PROGRAM, OTHER_PROGRAM]) == 304  # the same answer


def test_each_media_type_has_tags_of_its_own(ada: User, as_ada: APIClient) -> None:
    plain = as_ada.get(LATEST)
    indented = as_ada.get(LATEST, headers={"Accept": "application/json; indent=4"})
    assert plain["ETag"] != indented["ETag"]
    status = as_ada.get(LATEST, headers={"Accept": "application/json; indent=4", "If-None-Match": plain["ETag"]})
    assert status.status_code == 200


def test_a_page_for_people_has_no_tag(ada: User, as_ada: APIClient) -> None:
    """It shows the caller and the host as well."""
    page = as_ada.get(LATEST, headers={"Accept": "text/html", "If-None-Match": "*"})
    assert page.status_code == 200
    assert "ETag" not in page
    assert page["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize("renderers", [[JSONRenderer], [BrowsableAPIRenderer, JSONRenderer]], ids=["one", "two"])
def test_the_answer_varies_as_the_hosts_renderers_do(
    as_ada: APIClient, monkeypatch: pytest.MonkeyPatch, renderers: list[Any]
) -> None:
    monkeypatch.setattr(IntentsView, "renderer_classes", renderers)
    first = as_ada.get(LATEST, headers={"Accept": "application/json"})
    assert held(as_ada, first["ETag"]) == (304 if len(renderers) == 1 else 200)  # without Accept, the first renderer


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("{}", 304),
        ('"a", {}, W/"b"', 304),
        ("*", 304),
        ("", 200),
        ('W/"other"', 200),
        ("nonsense", 200),
        ('"' * 1000, 200),
        ("\xff, \x00", 200),
    ],
)
def test_if_none_match_is_read_as_the_standard_says(as_ada: APIClient, sent: str, status: int) -> None:
    current = etag(as_ada)
    assert held(as_ada, sent.replace("{}", current)) == status
    assert held(as_ada, sent.replace("{}", current.removeprefix("W/"))) == status  # compared weakly


@pytest.mark.parametrize(("sent", "status"), [('"a"', 412), ("{}", 412), ("*", 200), ("nonsense", 200)])
def test_if_match_never_holds_because_the_tag_is_weak(as_ada: APIClient, sent: str, status: int) -> None:
    response = as_ada.get(LATEST, headers={"If-Match": sent.replace("{}", etag(as_ada))})
    assert response.status_code == status
    if status == 412:
        assert answer(response, 412) == {"detail": "Expected If-None-Match: the ETag is weak, so If-Match never holds."}


def test_a_date_is_no_condition_because_the_answer_has_none(as_ada: APIClient) -> None:
    date = "Thu, 01 Jan 1970 00:00:00 GMT"
    headers = {"If-Modified-Since": date, "If-Unmodified-Since": date}
    assert as_ada.get(LATEST, headers=headers).status_code == 200


def test_who_may_not_ask_is_not_told_304(bob: User, as_ada: APIClient) -> None:
    for learner in (bob.pk, NOBODY):
        response = as_ada.get(LATEST, {"learner": learner}, headers={"If-None-Match": "*"})
        assert answer(response, 403) == {"detail": MAY_NOT_VIEW}


def test_a_304_renders_nothing(ada: User, as_ada: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    record(ada)
    first = etag(as_ada)

    def fail(*args: object, **kwargs: object) -> None:
        raise AssertionError

    monkeypatch.setattr("program_intent.rest_api.one_learner.ProgramIntentSerializer", fail)
    monkeypatch.setattr(JSONRenderer, "render", fail)
    assert held(as_ada, first) == 304


def test_an_answer_that_is_held_already_is_one_query(
    ada: User, as_ada: APIClient, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    record(ada)
    current = etag(as_ada)
    with django_assert_num_queries(1):  # the rule, in the database
        assert held(as_ada, current) == 304
