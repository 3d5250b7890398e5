"""The names of what is sent: one that a call does not know is refused under its name, never ignored."""

import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings
from rest_framework.settings import api_settings
from rest_framework.test import APIClient

from program_intent.models import ProgramIntent
from tests.rest import (
    ADD,
    EXPLAIN,
    LATEST,
    OF_PROGRAM,
    PROGRAM,
    QUERY,
    READS,
    RECORD,
    TIME,
    VIEW,
    answer,
    ask,
    client_of,
    get,
    record,
    refused,
)

pytestmark = pytest.mark.django_db

ROW = {"program_uuid": PROGRAM, "reason": "R", "certainty": "CERTAIN_YES", "effective_timestamp": TIME}
KNOWN = "Known: learner, program_uuid, reason, certainty, effective_timestamp."
MISSPELT = {"effective_time": [f"Unknown. Did you mean effective_timestamp? {KNOWN}"]}
HOSTILE = {
    "\0": r"\x00",
    "\ud800": r"\ud800",
    "\u200b<script>": r"\u200b<script>",
    "a" * 10**6: "a" * 76 + "...",
    "": "",
}


def misspelt() -> dict[str, Any]:
    return {("effective_time" if name == "effective_timestamp" else name): value for name, value in ROW.items()}


def test_a_key_that_an_intent_has_not_is_400_under_its_name(as_ada: APIClient) -> None:
    assert answer(as_ada.post(RECORD, misspelt(), format="json"), 400) == MISSPELT
    both = answer(as_ada.post(RECORD, {**misspelt(), "user_id": 7}, format="json"), 400)
    assert both == {**MISSPELT, "user_id": [f"Unknown. {KNOWN}"]}
    assert not ProgramIntent.objects.exists()


def test_in_an_array_a_row_with_an_unknown_key_is_rejected_and_the_others_are_kept(as_ada: APIClient) -> None:
    batch = answer(as_ada.post(RECORD, [misspelt(), ROW], format="json"), 200)
    assert batch["outcomes"][0] == {"status": "rejected", "intent": None, "errors": MISSPELT}
    assert (batch["created"], batch["rejected"]) == (1, 1)


@pytest.mark.parametrize("body_format", ["application/x-www-form-urlencoded", "multipart"])
def test_of_a_form_the_csrf_token_alone_is_ignored(as_ada: APIClient, body_format: str) -> None:
    def post(form: dict[str, str]) -> Any:
        if body_format == "multipart":
            return as_ada.post(RECORD, form, format="multipart")
        return as_ada.post(RECORD, urlencode(form), content_type=body_format)

    assert answer(post({**misspelt(), "csrfmiddlewaretoken": "x"}), 400) == MISSPELT
    assert answer(post({**ROW, "csrfmiddlewaretoken": "x"}), 201)
    in_json = as_ada.post(RECORD, {**ROW, "csrfmiddlewaretoken": "x"}, format="json")
    assert answer(in_json, 400) == {"csrfmiddlewaretoken": [f"Unknown. {KNOWN}"]}


@pytest.mark.parametrize("url", READS)
def test_a_parameter_that_the_call_does_not_know_is_400_under_its_name(as_staff: APIClient, url: str) -> None:
    assert refused(as_staff, url, page=2) == {"page": [f"Unknown. Known: {', '.join(READS[url])}."]}


@pytest.mark.parametrize(
    ("url", "name", "meant"),
    [(LATEST, "leaner", "learner"), (LATEST, "asof", "as_of"), (EXPLAIN, "Known_At", "known_at")],
)
def test_the_nearest_parameter_is_named(as_ada: APIClient, url: str, name: str, meant: str) -> None:
    assert refused(as_ada, url, **{name: 1}) == {
        name: [f"Unknown. Did you mean {meant}? Known: {', '.join(READS[url])}."]
    }


def test_what_is_in_the_path_is_no_parameter_of_the_query(as_staff: APIClient) -> None:
    assert set(refused(as_staff, OF_PROGRAM, program_uuid=PROGRAM)) == {"program_uuid"}


def test_posts_know_no_parameters_of_reads(as_staff: APIClient) -> None:
    for url, body in ((RECORD, ROW), (QUERY, {"learners": []})):
        assert set(answer(as_staff.post(f"{url}?learner=7", body, format="json"), 400)) == {"learner"}
    assert not ProgramIntent.objects.exists()


def test_a_key_that_the_query_about_many_learners_does_not_know_is_400_under_its_name(as_staff: APIClient) -> None:
    known = "Known: learners, program_uuids, as_of, known_at."
    assert ask(as_staff, {"learners": [], "asof": TIME, "page": 1}, 400) == {
        "asof": [f"Unknown. Did you mean as_of? {known}"],
        "page": [f"Unknown. {known}"],
    }


@pytest.mark.parametrize(("name", "shown"), HOSTILE.items(), ids=map(ascii, HOSTILE.values()))
@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_a_hostile_name_is_told_escaped_and_short(as_staff: APIClient, name: str, shown: str, accept: str) -> None:
    responses = [
        as_staff.generic(
            "POST", url, json.dumps({**body, name: 1}), content_type="application/json", HTTP_ACCEPT=accept
        )
        for url, body in ((RECORD, ROW), (QUERY, {"learners": []}))
    ]
    if name.isascii() and len(name) < 1000:  # which a URL can spell, and a page for people repeats
        responses.append(as_staff.get(f"{LATEST}?{quote(name)}=1", HTTP_ACCEPT=accept))
    for response in responses:
        assert response.status_code == 400
        assert len(response.content) < 20_000
        if accept == "application/json":
            assert list(answer(response, 400)) == [shown]
        else:
            assert b"\0" not in response.content
            assert b'<script>"' not in response.content


def test_of_a_hundred_thousand_names_the_first_ten_are_told(as_staff: APIClient) -> None:
    many = dict.fromkeys(map(str, range(100_000)))
    for url, body in ((RECORD, ROW), (QUERY, {"learners": []})):
        errors = answer(as_staff.post(url, {**body, **many}, format="json"), 400)
        assert list(errors) == [str(n) for n in range(10)]


@pytest.mark.parametrize("name", ["format", "style"])
def test_the_parameter_that_chooses_a_renderer_is_known_to_every_call(
    as_staff: APIClient, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(api_settings, "URL_FORMAT_OVERRIDE", name)
    for url in READS:
        get(as_staff, url, **{name: "json"}, **({"program_uuid": PROGRAM} if url == EXPLAIN else {}))
    assert answer(as_staff.post(f"{RECORD}?{name}=json", ROW, format="json"), 201)
    assert answer(as_staff.post(f"{QUERY}?{name}=json", {"learners": []}, format="json"), 200) == []


def test_what_the_host_ignores_is_ignored_in_queries_and_bodies(ada: User, bob: User, settings: Settings) -> None:
    as_staff = client_of(bob, ADD, VIEW)
    settings.PROGRAM_INTENT = {"IGNORED_PARAMETERS": ["utm_source", "learner"]}
    intent = record(ada)
    (told,) = get(as_staff, LATEST, utm_source="x", learner=ada.pk)  # what a call knows, it reads all the same
    assert told["id"] == intent.id
    sent = {**ROW, "learner": ada.pk, "utm_source": "x"}
    assert answer(as_staff.post(f"{RECORD}?utm_source=x", sent, format="json"), 200)["id"] == intent.id
    assert answer(as_staff.post(RECORD, [sent], format="json"), 200)["duplicate"] == 1
    assert ask(as_staff, {"learners": [], "utm_source": "x"}) == []
    assert set(refused(as_staff, LATEST, utm_medium="x")) == {"utm_medium"}
