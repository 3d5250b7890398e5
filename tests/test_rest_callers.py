"""Every call over REST: who may make it, and whatever may be asked."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.urls import get_resolver, reverse
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from program_intent.data import Certainty
from tests.builders import rolled_back
from tests.rest import (
    ADD,
    CHANGES,
    COUNTS,
    ERASURES,
    EXPLAIN,
    LATEST,
    MAY_NOT_VIEW,
    MAY_NOT_VIEW_EVERYONE,
    NOBODY,
    OF_PROGRAM,
    PROGRAM,
    QUERY,
    READS,
    RECORD,
    RETIREMENTS,
    TIME,
    V1,
    VIEW,
    answer,
    client_of,
    get,
    ids,
    record,
    refused,
)
from tests.strategies import PROGRAMS, generated

pytestmark = pytest.mark.django_db


# What may be kept of the answers


@pytest.mark.parametrize("method", ["get", "post", "options"])
@pytest.mark.parametrize("url", [*READS, QUERY, RETIREMENTS])
def test_no_answer_is_kept_for_others_or_without_asking(as_staff: APIClient, url: str, method: str) -> None:
    for client in (as_staff, client_of(None)):
        assert getattr(client, method)(url)["Cache-Control"] == "private, no-cache"


# Who may make which call

ROW = {"program_uuid": PROGRAM, "reason": "NEW", "certainty": "MAYBE", "effective_timestamp": TIME}
CALLERS = ["anonymous", "learner", "staff", "adds", "views", "adds and views", "superuser"]
EVERYONE = (403, 200, 200, 200, 200, 200, 200)
VIEWERS = (403, 403, 403, 403, 200, 200, 200)
# Each call, and its status for each of the callers; BOB stands for another learner.
WALK: dict[str, tuple[str, str, Any, tuple[int, ...]]] = {
    "record own": ("post", RECORD, ROW, (403, 201, 201, 201, 201, 201, 201)),
    "record another's": ("post", RECORD, {**ROW, "learner": "BOB"}, (403, 403, 403, 201, 403, 201, 201)),
    "record an array": ("post", RECORD, [ROW, {**ROW, "learner": "BOB"}], EVERYONE),
    "own history": ("get", RECORD, {}, EVERYONE),
    "another's history": ("get", RECORD, {"learner": "BOB"}, VIEWERS),
    "own latest": ("get", LATEST, {}, EVERYONE),
    "another's latest": ("get", LATEST, {"learner": "BOB"}, VIEWERS),
    "own explanation": ("get", EXPLAIN, {"program_uuid": PROGRAM}, EVERYONE),
    "another's explanation": ("get", EXPLAIN, {"program_uuid": PROGRAM, "learner": "BOB"}, VIEWERS),
    "of many": ("post", QUERY, {"learners": ["BOB"]}, VIEWERS),
    "of none": ("post", QUERY, {"learners": []}, VIEWERS),
    "of a program": ("get", OF_PROGRAM, {}, VIEWERS),
    "counts": ("get", COUNTS, {}, VIEWERS),
    "changes": ("get", CHANGES, {}, VIEWERS),
    "erasures": ("get", ERASURES, {}, VIEWERS),
    "retire": ("post", RETIREMENTS, {"learner": "BOB"}, (403, 403, 403, 403, 403, 403, 204)),
}
METHODS = ["get", "post", "put", "patch", "delete", "trace"]


@pytest.fixture(params=CALLERS)
def caller(request: pytest.FixtureRequest, ada: User) -> tuple[str, APIClient]:
    ada.is_staff = request.param == "staff"
    ada.is_superuser = request.param == "superuser"
    ada.save()
    permissions = {"adds": [ADD], "views": [VIEW], "adds and views": [ADD, VIEW]}.get(request.param, [])
    return request.param, client_of(None if request.param == "anonymous" else ada, *permissions)


@pytest.mark.parametrize(("method", "url", "sent", "statuses"), WALK.values(), ids=WALK)
def test_each_caller_may_do_what_their_permissions_say(
    bob: User, caller: tuple[str, APIClient], method: str, url: str, sent: Any, statuses: tuple[int, ...]
) -> None:
    record(bob)
    name, client = caller
    sent = json.loads(json.dumps(sent).replace('"BOB"', str(bob.pk)))
    kwargs = {"format": "json"} if method == "post" else {}
    response = getattr(client, method)(url, sent, **kwargs)
    assert response.status_code == statuses[CALLERS.index(name)]
    if response.status_code == 403:
        assert list(answer(response, 403)) == ["detail"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("url", [*READS, QUERY, RETIREMENTS])
def test_other_methods_are_refused_after_the_caller_is(caller: tuple[str, APIClient], url: str, method: str) -> None:
    if method in {walked for walked, of, _, _ in WALK.values() if of == url}:
        return
    name, client = caller
    is_let_in = name == "superuser" or (name != "anonymous" and url in (RECORD, LATEST, EXPLAIN))
    if url in (QUERY, CHANGES, ERASURES, OF_PROGRAM, COUNTS):
        is_let_in = name in ("views", "adds and views", "superuser")
    assert client.generic(method.upper(), url).status_code == (405 if is_let_in else 403)
    assert client.options(url).status_code == (200 if is_let_in else 403)


def test_every_url_is_walked() -> None:
    names = {name for name in get_resolver("program_intent.rest_api.urls").reverse_dict if isinstance(name, str)}
    urls = {reverse(f"program_intent:{name}", args=[PROGRAM] if name.startswith("program-") else []) for name in names}
    assert urls == {url for _, url, _, _ in WALK.values()}


@pytest.mark.parametrize("learner", [NOBODY, "bob", "", "0", "\0", "1" * 5000], ids=lambda learner: repr(learner)[:20])
@pytest.mark.parametrize("url", [RECORD, EXPLAIN])
def test_permission_is_judged_before_existence(as_ada: APIClient, url: str, learner: object) -> None:
    response = as_ada.get(f"{url}?{urlencode({'learner': learner, 'program_uuid': PROGRAM})}")
    assert answer(response, 403) == {"detail": MAY_NOT_VIEW}


@pytest.mark.parametrize("sent", [{"learners": [NOBODY]}, {"learners": "x"}, [], "[" * 100_000])
def test_who_may_not_ask_of_many_is_told_so_before_the_body_is_read(as_ada: APIClient, sent: Any) -> None:
    body = sent if isinstance(sent, str) else json.dumps(sent)
    response = as_ada.post(QUERY, body, content_type="application/json")
    assert answer(response, 403) == {"detail": MAY_NOT_VIEW_EVERYONE}


def test_who_may_not_ask_about_a_program_is_not_told_whether_it_is_one(as_ada: APIClient) -> None:
    for url in (OF_PROGRAM, COUNTS, COUNTS.replace(PROGRAM, "x"), OF_PROGRAM.replace(PROGRAM, "x")):
        assert answer(as_ada.get(url), 403) == {"detail": MAY_NOT_VIEW_EVERYONE}


@pytest.mark.parametrize("url", [RECORD, LATEST, EXPLAIN])
def test_an_unknown_learner_is_400_for_who_may_name_them(as_staff: APIClient, url: str) -> None:
    errors = refused(as_staff, url, learner=NOBODY, program_uuid=PROGRAM)
    assert errors == {"learner": [f"No user is named by {NOBODY}."]}


@pytest.mark.parametrize("url", [RECORD, LATEST])
@settings(generated, max_examples=60)
@given(data=st.data())
def test_no_parameters_show_another_learners_intents(ada: User, bob: User, url: str, data: st.DataObject) -> None:
    with rolled_back():
        client = client_of(ada)
        own = [record(ada, program) for program in PROGRAMS]
        others = [record(bob, program) for program in PROGRAMS]
        any_of = [intent.id for intent in own + others]
        moments = st.sampled_from(["1900-01-01T00:00:00Z", TIME, "9999-12-30T00:00:00Z"])
        values = {
            "learner": st.sampled_from([ada.pk, bob.pk, f" {bob.pk}", "bob"]),
            "program_uuid": st.lists(st.sampled_from(PROGRAMS), min_size=1),
            "certainty": st.sampled_from(Certainty),
            "reason": st.just("R"),
            "effective_after": moments,
            "effective_before": moments,
            "as_of": moments,
            "known_at": moments,
            "cursor": st.builds("{}-{}".format, st.sampled_from(["after", "before"]), st.sampled_from(any_of)),
            "limit": st.sampled_from([1, 100]),
            "user": st.just(bob.pk),
            "learner_id": st.just(bob.pk),
        }
        chosen = data.draw(st.fixed_dictionaries({}, optional=values))
        response = client.get(f"{url}?{urlencode(chosen, doseq=True)}")
        if response.status_code == 200:
            body = json.loads(response.content)
            told = body if url == LATEST else body["results"]
            assert set(ids(told)) <= {intent.id for intent in own}
        else:
            assert response.status_code in (400, 403)


@pytest.mark.usefixtures("by_username")
def test_a_caller_is_told_of_themself_however_another_is_called(ada: User, bob: User, as_ada: APIClient) -> None:
    """Bob's key is no name here."""
    record(bob)
    assert answer(as_ada.get(RECORD, {"learner": bob.pk}), 403)
    assert get(as_ada, RECORD, learner="ada")["results"] == []


# Whatever may be asked

OFFSET = "Expected a date and time with an offset"
CURSOR = "Expected a cursor that an earlier call gave, not "
LIMIT = "Expected an integer from 1 to 1000, not "
MOMENTS = {
    "": OFFSET,
    "2026-02-01": "Expected a time with the date",
    "2026-02-01T09:00:00": "Expected a time with a UTC offset",
    "2026-02-30T09:00:00Z": "Expected a time that exists",
    "9999-12-31T00:00:00Z": "Expected a time from 1900-01-01 to 9999-12-30",
    "\0": OFFSET,
    "1" * 5000: OFFSET,
}
JUNK: dict[str, dict[str, str]] = {
    "learner": {
        "": "Expected an integer",
        "\0": "Expected an integer",
        "x": "Expected an integer",
        "9" * 5000: "Expect",
    },
    "program_uuid": {"": "Expected a UUID", "\0": "Expected a UUID", "x" * 5000: "Expected a UUID"},
    "certainty": {"": "Expected one of", "YES": "Expected one of", "\0": "Expected one of"},
    "reason": {"": "Expected a reason", "1ST": "Expected a reason", "A\0": "Expected a reason", "A" * 200: "Expected"},
    "effective_after": MOMENTS,
    "effective_before": MOMENTS,
    "as_of": MOMENTS,
    "known_at": MOMENTS,
    "since": MOMENTS,
    "limit": dict.fromkeys(["", "0", "-1", "1.5", "1_0", "x", "1001", "9" * 5000, "\u0661", "\x00", " 5"], LIMIT),
    "cursor": dict.fromkeys(
        ["", "x", "after-", "after-0", "after-x", "after--1", "after-1 ", "cD0yMDI2", "\x00", "after-\u0661"], CURSOR
    )
    | {f"before-{'9' * digits}": CURSOR for digits in (18, 19, 400)},
    "after": {
        "": "Expected",
        "\0": "Expected",
        "x": "Expected",
        "-1": "",
        "9" * 5000: "Expected",
        "\ufffd": "Expected",
    },
}
REFUSED = [
    pytest.param(url, name, value, message, id=f"{url.removeprefix(V1)}-{name}-{ascii(value)[:30]}")
    for url, names in READS.items()
    for name in names
    for value, message in JUNK[name].items()
]


@pytest.mark.parametrize(("url", "name", "value", "message"), REFUSED)
def test_a_refused_parameter_is_400_with_its_name_and_message(
    as_staff: APIClient, url: str, name: str, value: str, message: str
) -> None:
    others = {"program_uuid": PROGRAM} if url == EXPLAIN else {}
    errors = answer(as_staff.get(f"{url}?{urlencode(others | {name: value})}"), 400)
    assert list(errors) == [name]
    assert message in errors[name][0]
    assert len(errors[name][0]) < 300


@pytest.mark.parametrize(
    ("url", "name"),
    [(url, name) for url, names in READS.items() for name in names if name != "program_uuid" or url == EXPLAIN],
)
def test_a_parameter_given_twice_is_400(as_staff: APIClient, url: str, name: str) -> None:
    errors = answer(as_staff.get(f"{url}?{name}=1&{name}=1"), 400)
    assert errors == {name: ["Expected one value, not 2."]}


@pytest.mark.parametrize("url", READS)
@pytest.mark.parametrize("value", ["%ED%A0%80", "%FF%FE", "%00", "%", "%u0000", "+", "%252500"])
def test_no_bytes_in_a_query_are_a_crash(as_staff: APIClient, url: str, value: str) -> None:
    for name in [*READS[url], value]:
        assert as_staff.get(f"{url}?{name}={value}").status_code in (200, 400)


@pytest.mark.parametrize("url", READS)
def test_a_query_of_too_many_parameters_is_400(as_staff: APIClient, url: str) -> None:
    errors = answer(as_staff.get(f"{url}?{'&'.join(['a=1'] * 2000)}"), 400)
    assert "The number of GET/POST parameters exceeded" in errors["non_field_errors"][0]


@pytest.mark.parametrize("url", READS)
@pytest.mark.parametrize(("query", "accept", "status"), [("format=x", "*/*", 404), ("", "x/y", 406), ("", ",;,", 406)])
def test_no_representation_is_told_so(as_staff: APIClient, url: str, query: str, accept: str, status: int) -> None:
    assert as_staff.get(f"{url}?{query}", headers={"Accept": accept}).status_code == status


def test_all_refused_parameters_are_told_together(as_staff: APIClient) -> None:
    assert set(refused(as_staff, RECORD, program_uuid="x", certainty="x", reason="1", cursor="x", limit="x")) == {
        "program_uuid",
        "certainty",
        "reason",
        "cursor",
        "limit",
    }
    everything = {"certainty": "x", "after": "x", "limit": "x", "as_of": "x", "known_at": "x"}
    assert set(refused(as_staff, OF_PROGRAM.replace(PROGRAM, "x"), **everything)) == {*everything, "program_uuid"}
