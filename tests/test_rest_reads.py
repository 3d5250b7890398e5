"""The reads over REST: pages that equal the API's answers, names for keys, and what they cost."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit
from uuid import UUID

import pytest
import yaml
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries, Settings
from rest_framework.renderers import JSONRenderer
from rest_framework.test import APIClient

from program_intent import api
from program_intent.data import Certainty, Intent
from program_intent.exceptions import ChangesError
from program_intent.models import ProgramIntent
from program_intent.rest_api.base import IntentsView
from program_intent.rest_api.callers import Caller
from tests.builders import rolled_back, store_history
from tests.rest import (
    CHANGES,
    COUNTS,
    ERASURES,
    EXPLAIN,
    LATER,
    LATEST,
    NOBODY,
    OF_PROGRAM,
    OTHER_PROGRAM,
    OUTSIDE_THE_RFC,
    PROGRAM,
    QUERY,
    READS,
    RECORD,
    TIME,
    VIEW,
    YAMLRenderer,
    answer,
    ask,
    client_of,
    get,
    ids,
    pages,
    record,
    refused,
    shown,
)
from tests.strategies import LEARNERS, PROGRAMS, Question, generated, questions

pytestmark = pytest.mark.django_db


# The history of a learner


def test_a_learner_is_told_their_history_newest_first(ada: User, bob: User, as_ada: APIClient) -> None:
    first = record(ada)
    future = record(ada, effective_timestamp="2999-01-01T00:00:00Z", certainty="MAYBE")
    earlier = record(ada, OTHER_PROGRAM, effective_timestamp="2026-01-01T00:00:00Z")
    record(bob)
    assert get(as_ada, RECORD) == {
        "next": None,
        "previous": None,
        "results": [shown(intent, ada.pk) for intent in (future, first, earlier)],
    }


def test_with_the_permission_one_is_told_anothers_history(bob: User, as_staff: APIClient) -> None:
    intent = record(bob)
    assert get(as_staff, RECORD, learner=bob.pk)["results"] == [shown(intent, bob.pk)]


FILTERS: dict[str, tuple[dict[str, Any], Callable[[Intent], bool]]] = {
    "a program": ({"program_uuid": PROGRAM}, lambda intent: str(intent.program_uuid) == PROGRAM),
    "two programs": ({"program_uuid": [UUID(PROGRAM).hex.upper(), OTHER_PROGRAM]}, lambda _: True),
    "none of these programs": ({"program_uuid": OUTSIDE_THE_RFC}, lambda _: False),
    "a certainty": ({"certainty": "MAYBE"}, lambda intent: intent.certainty is Certainty.MAYBE),
    "a reason": ({"reason": " other "}, lambda intent: intent.reason == "OTHER"),
    "from a moment on": ({"effective_after": LATER}, lambda intent: intent.effective_timestamp.month >= 3),
    "up to a moment": ({"effective_before": LATER}, lambda intent: intent.effective_timestamp.month < 3),
    "a month": (
        {"effective_after": "2026-02-01T02:00:00+02:00", "effective_before": LATER},
        lambda i: i.effective_timestamp.month == 2,
    ),
    "nothing": ({"effective_after": LATER, "effective_before": LATER}, lambda _: False),
}


@pytest.mark.parametrize(("parameters", "is_wanted"), FILTERS.values(), ids=FILTERS)
def test_a_history_is_narrowed(
    ada: User, as_ada: APIClient, parameters: dict[str, Any], is_wanted: Callable[[Intent], bool]
) -> None:
    for program in (PROGRAM, OTHER_PROGRAM):
        for certainty, reason in (("MAYBE", "R"), ("CERTAIN_NO", "OTHER")):
            for effective in ("2026-01-31T23:59:59.999999Z", "2026-02-28T23:59:59.999999Z", LATER):
                record(ada, program, certainty=certainty, reason=reason, effective_timestamp=effective)
    wanted = [intent.id for intent in api.get_intent_history(ada) if is_wanted(intent)]
    assert ids(get(as_ada, RECORD, **parameters)["results"]) == wanted


@settings(generated, max_examples=60)
@given(
    question=questions(), limit=st.integers(1, 5), filters=st.sets(st.sampled_from(["program", "certainty", "times"]))
)
def test_pages_of_a_history_are_what_the_api_answers_forwards_and_backwards(
    ada: User, question: Question, limit: int, filters: set[str]
) -> None:
    """Generated histories are rich in ties, so borders fall between equal times."""
    with rolled_back():
        learners = [ada, User.objects.create(username="other")]
        store_history(ProgramIntent(**{**f, "learner": learners[f["learner"]]}) for f in question.history)
        expected, asked = api.get_intent_history(ada), {"limit": str(limit)}
        if "program" in filters:
            asked["program_uuid"] = str(PROGRAMS[0])
            expected = [intent for intent in expected if intent.program_uuid == PROGRAMS[0]]
        if "certainty" in filters:
            asked["certainty"] = "MAYBE"
            expected = [intent for intent in expected if intent.certainty is Certainty.MAYBE]
        if "times" in filters:
            asked["effective_before"] = question.as_of.isoformat()
            expected = [intent for intent in expected if intent.effective_timestamp < question.as_of]
        client = client_of(ada)
        walked = list(pages(client, f"{RECORD}?{urlencode(asked)}"))
        assert [intent for page in walked for intent in page["results"]] == [shown(i, ada.pk) for i in expected]
        assert all(len(page["results"]) == limit for page in walked[:-1])
        if walked[-1]["previous"]:
            back = list(pages(client, walked[-1]["previous"], "previous"))
            assert [page["results"] for page in reversed(back)] == [page["results"] for page in walked[:-1]]
            assert back[-1]["previous"] is None
            assert all(page["next"] for page in back)


def test_what_is_written_between_two_pages_moves_no_border(ada: User, as_ada: APIClient) -> None:
    """Not where many intents share one time either: the new one is the first of them."""
    first = [record(ada, reason=f"R{n}").id for n in range(5)]
    one = get(as_ada, RECORD, limit=2)
    record(ada, reason="MEANWHILE")
    two, three = list(pages(as_ada, one["next"]))
    assert ids(one["results"]) + ids(two["results"]) + ids(three["results"]) == first[::-1]
    back = get(as_ada, two["previous"])
    assert ids(back["results"]) == ids(one["results"])
    assert back["previous"] is not None


def test_a_link_keeps_the_other_parameters(ada: User, as_staff: APIClient) -> None:
    for program in (PROGRAM, OTHER_PROGRAM):
        record(ada, program)
    asked = {"learner": [str(ada.pk)], "program_uuid": [PROGRAM, OTHER_PROGRAM], "limit": ["1"]}
    page = get(as_staff, RECORD, **asked)
    url = urlsplit(page["next"])
    assert (url.scheme, url.netloc, url.path) == ("http", "testserver", RECORD)
    assert parse_qs(url.query) == {**asked, "cursor": [f"after-{page['results'][0]['id']}"]}


def test_a_cursor_of_another_learner_is_refused(ada: User, bob: User, as_staff: APIClient) -> None:
    border = record(bob).id
    errors = refused(as_staff, RECORD, learner=ada.pk, cursor=f"after-{border}")
    assert errors == {"cursor": [f"Expected a cursor that an earlier call gave, not 'after-{border}'."]}


def test_a_cursor_whose_intent_is_filtered_out_by_now_is_a_place_all_the_same(ada: User, as_ada: APIClient) -> None:
    older, newer = record(ada), record(ada, effective_timestamp=LATER, certainty="MAYBE")
    page = get(as_ada, RECORD, certainty="CERTAIN_YES", cursor=f"after-{newer.id}")
    assert ids(page["results"]) == [older.id]
    assert get(as_ada, RECORD, certainty="MAYBE", cursor=f"after-{newer.id}") == {
        "next": None,
        "previous": None,
        "results": [],
    }


@pytest.mark.parametrize("url", [RECORD, OF_PROGRAM, CHANGES])
def test_a_page_is_bounded_by_max_batch_size(ada: User, as_staff: APIClient, settings: Settings, url: str) -> None:
    settings.PROGRAM_INTENT = {"MAX_BATCH_SIZE": 2}
    for n in range(3):
        record(ada, reason=f"R{n}")
    assert refused(as_staff, url, limit=3) == {"limit": ["Expected an integer from 1 to 2, not '3'."]}
    page = get(as_staff, url, **({"learner": ada.pk} if url == RECORD else {}))
    assert len(page.get("results", page.get("intents"))) == (1 if url == OF_PROGRAM else 2)


# The explanation


def test_an_explanation_tells_what_won_what_lost_and_what_does_not_count(ada: User, as_ada: APIClient) -> None:
    winner = record(ada)
    maybe = record(ada, certainty="MAYBE", effective_timestamp=LATER)
    future = record(ada, effective_timestamp="2999-01-01T00:00:00Z")
    assert get(as_ada, EXPLAIN, program_uuid=PROGRAM, as_of="2026-04-01T02:00:00+02:00") == {
        "learner": ada.pk,
        "program_uuid": PROGRAM,
        "as_of": "2026-04-01T00:00:00Z",
        "known_at": None,
        "winner": shown(winner, ada.pk),
        "lost": [
            {
                "intent": shown(maybe, ada.pk),
                "clause": "CERTAIN_BEATS_MAYBE",
                "words": api.Clause.CERTAIN_BEATS_MAYBE.words,
            }
        ],
        "lost_left_out": 0,
        "not_counted": [
            {
                "intent": shown(future, ada.pk),
                "clause": "NOT_YET_EFFECTIVE",
                "words": api.Clause.NOT_YET_EFFECTIVE.words,
            }
        ],
        "not_counted_left_out": 0,
        "runs": {},
    }


def test_an_explanation_is_bounded_by_max_batch_size_and_says_how_many_it_leaves_out(
    ada: User, as_ada: APIClient, settings: Settings
) -> None:
    settings.PROGRAM_INTENT = {"MAX_BATCH_SIZE": 2}
    for day in range(1, 6):  # the last wins, four lose
        record(ada, effective_timestamp=f"2026-02-0{day}T00:00:00Z")
    for day in range(1, 4):
        record(ada, effective_timestamp=f"2999-02-0{day}T00:00:00Z")
    whole = api.explain_latest_certain_intent(ada, PROGRAM)
    assert (len(whole.lost), len(whole.not_counted)) == (4, 3)
    told = get(as_ada, EXPLAIN, program_uuid=PROGRAM)
    assert told["winner"]["effective_timestamp"] == "2026-02-05T00:00:00Z"
    assert ids(each["intent"] for each in told["lost"]) == [each.intent.id for each in whole.lost[:2]]
    assert ids(each["intent"] for each in told["not_counted"]) == [each.intent.id for each in whole.not_counted[:2]]
    assert (told["lost_left_out"], told["not_counted_left_out"]) == (2, 1)


def test_an_explanation_of_nothing_has_no_winner(as_staff: APIClient, bob: User) -> None:
    told = get(as_staff, EXPLAIN, program_uuid=OUTSIDE_THE_RFC, learner=bob.pk, known_at=TIME)
    assert (told["learner"], told["known_at"]) == (bob.pk, TIME)
    assert (told["winner"], told["lost"], told["not_counted"]) == (None, [], [])


def test_an_explanation_is_of_one_program(as_ada: APIClient) -> None:
    assert refused(as_ada, EXPLAIN) == {"program_uuid": ["This field is required."]}


# A program's learners


@pytest.fixture
def cohort(db: None) -> list[User]:
    """Seven learners of the program; the fourth may, the others will."""
    users = [User.objects.create(username=f"user{n}") for n in range(7)]
    for n, user in enumerate(users):
        record(user, certainty="MAYBE" if n == 3 else "CERTAIN_YES")
        record(user, OTHER_PROGRAM)
    return users


def delete_behind_djangos_back(*users: User) -> None:
    User.objects.filter(pk__in=[user.pk for user in users])._raw_delete("default")


def test_pages_of_a_program_have_each_learner_once_in_order(cohort: list[User], as_staff: APIClient) -> None:
    walked = list(pages(as_staff, f"{OF_PROGRAM}?limit=3"))
    assert [len(page["results"]) for page in walked] == [3, 3, 1]
    told = [intent for page in walked for intent in page["results"]]
    assert told == [shown(intent, intent.learner_id) for intent in api.iter_latest_certain_intents_for_program(PROGRAM)]
    assert [intent["learner"] for intent in told] == [user.pk for user in cohort]


@settings(generated, max_examples=40)
@given(question=questions(), limit=st.integers(1, 3), certainty=st.none() | st.sampled_from(Certainty))
def test_pages_of_a_program_are_what_the_api_answers(
    ada: User, bob: User, question: Question, limit: int, certainty: Certainty | None
) -> None:
    with rolled_back():
        users = [ada, bob]
        assert len(users) == LEARNERS
        store_history(ProgramIntent(**{**f, "learner": users[f["learner"]]}) for f in question.history)
        when = {"as_of": question.as_of, "known_at": question.known_at}
        expected = api.iter_latest_certain_intents_for_program(PROGRAMS[0], certainty=certainty, **when)
        counts = api.count_latest_certain_intents_for_program(PROGRAMS[0], **when)
        asked = {"limit": limit, "certainty": certainty, **when}
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        moments = urlencode({name: value for name, value in when.items() if value is not None})
        client = client_of(User.objects.create(username="staff"), VIEW)
        walked = pages(client, f"{OF_PROGRAM}?{query}".replace(PROGRAM, str(PROGRAMS[0])))
        told = [intent for page in walked for intent in page["results"]]
        assert told == [shown(intent, intent.learner_id) for intent in expected]
        assert get(client, f"{COUNTS}?{moments}".replace(PROGRAM, PROGRAMS[0].hex)) == counts


def get_url(client: APIClient, url: str) -> Any:
    return answer(client.get(url), 200)


def test_a_page_is_of_so_many_learners_and_certainty_leaves_some_out(cohort: list[User], as_staff: APIClient) -> None:
    walked = list(pages(as_staff, f"{OF_PROGRAM}?limit=2&certainty=MAYBE"))
    assert [[intent["learner"] for intent in page["results"]] for page in walked] == [[], [cohort[3].pk], [], []]


@pytest.mark.parametrize("effective", [LATER, "now"])
def test_all_pages_answer_for_the_moment_of_the_first(cohort: list[User], as_staff: APIClient, effective: str) -> None:
    """Neither what becomes true while they are read is on them, nor what is only written then."""
    page = get(as_staff, OF_PROGRAM, limit=6)
    moment = datetime.now(UTC).isoformat() if effective == "now" else effective
    record(cohort[6], certainty="CERTAIN_NO", effective_timestamp=moment)
    (last,) = get_url(as_staff, page["next"])["results"]
    assert last["certainty"] == "CERTAIN_YES"
    asked = parse_qs(urlsplit(page["next"]).query)
    assert set(asked) == {"after", "as_of", "known_at", "limit"}
    assert asked["after"] == [str(cohort[5].pk)]


@pytest.mark.usefixtures("by_username")
def test_with_a_lookup_field_a_program_is_walked_by_it(cohort: list[User], as_staff: APIClient) -> None:
    User.objects.filter(pk=cohort[2].pk).update(username="zoë+x&y z")
    walked = list(pages(as_staff, f"{OF_PROGRAM}?limit=3"))
    told = [intent["learner"] for page in walked for intent in page["results"]]
    assert told == ["user0", "user1", "zoë+x&y z", "user3", "user4", "user5", "user6"]
    assert parse_qs(urlsplit(walked[0]["next"]).query)["after"] == ["zoë+x&y z"]
    after = get(as_staff, OF_PROGRAM, after="user5")
    assert [intent["learner"] for intent in after["results"]] == ["user6"]


@pytest.mark.parametrize("field", ["pk", "username"])
def test_learners_whose_user_is_gone_are_left_out_and_break_no_page(
    cohort: list[User], as_staff: APIClient, settings: Settings, field: str
) -> None:
    settings.PROGRAM_INTENT = {"LEARNER_LOOKUP_FIELD": field}
    delete_behind_djangos_back(cohort[1], cohort[2], cohort[3], cohort[6])
    for limit in (1, 2, 3, 7):
        walked = list(pages(as_staff, f"{OF_PROGRAM}?limit={limit}"))
        told = [intent["learner"] for page in walked for intent in page["results"]]
        assert told == [getattr(cohort[n], field) for n in (0, 4, 5)]


def test_a_learner_without_a_name_is_left_out_too(
    cohort: list[User], as_staff: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host's field may be unique and still null."""
    hidden = {cohort[1].pk, cohort[2].pk}
    names = Caller.names
    monkeypatch.setattr(
        Caller,
        "names",
        lambda caller, keys: {key: name for key, name in names(caller, keys).items() if key not in hidden},
    )
    told = [intent["learner"] for page in pages(as_staff, f"{OF_PROGRAM}?limit=1") for intent in page["results"]]
    assert told == [user.pk for user in cohort if user.pk not in hidden]


def test_after_names_a_learner(cohort: list[User], as_staff: APIClient) -> None:
    assert refused(as_staff, OF_PROGRAM, after=NOBODY) == {"after": [f"No user is named by {NOBODY}."]}
    assert refused(as_staff, OF_PROGRAM, after="x") == {"after": ["Expected an integer that names a user, not 'x'."]}
    assert get(as_staff, OF_PROGRAM, after=cohort[-1].pk) == {"next": None, "results": []}


def test_counts_are_of_learners_by_certainty(cohort: list[User], as_staff: APIClient) -> None:
    assert get(as_staff, COUNTS) == {"CERTAIN_YES": 6, "CERTAIN_NO": 0, "MAYBE": 1}
    assert get(as_staff, COUNTS, as_of="2026-01-01T00:00:00Z") == {"CERTAIN_YES": 0, "CERTAIN_NO": 0, "MAYBE": 0}
    assert get(as_staff, COUNTS, known_at=TIME) == {"CERTAIN_YES": 0, "CERTAIN_NO": 0, "MAYBE": 0}


def test_a_program_that_mariadb_cannot_hold_has_nobody(as_staff: APIClient) -> None:
    url = OF_PROGRAM.replace(PROGRAM, OUTSIDE_THE_RFC)
    assert get(as_staff, url) == {"next": None, "results": []}
    assert get(as_staff, COUNTS.replace(PROGRAM, OUTSIDE_THE_RFC)) == {"CERTAIN_YES": 0, "CERTAIN_NO": 0, "MAYBE": 0}


@pytest.mark.parametrize("program", ["x", "%00", "%ED%A0%80", "1" * 5000, f"{PROGRAM}0", "é", "%E2%80%AE"])
@pytest.mark.parametrize("url", [OF_PROGRAM, COUNTS])
def test_what_is_no_uuid_in_the_path_is_400(as_staff: APIClient, url: str, program: str) -> None:
    errors = answer(as_staff.get(url.replace(PROGRAM, program)), 400)
    assert list(errors) == ["program_uuid"]
    assert errors["program_uuid"][0].startswith("Expected a UUID")


# Many learners in a body


def test_many_learners_are_answered_in_the_order_asked(cohort: list[User], bob: User, as_staff: APIClient) -> None:
    told = ask(as_staff, {"learners": [cohort[3].pk, bob.pk, str(cohort[0].pk), cohort[3].pk]})
    assert [entry["learner"] for entry in told] == [cohort[3].pk, bob.pk, cohort[0].pk, cohort[3].pk]
    assert told[1] == {"learner": bob.pk, "intents": []}
    for entry in told:
        assert entry["intents"] == get(as_staff, LATEST, learner=entry["learner"])


def test_many_learners_are_narrowed_as_one_is(cohort: list[User], as_staff: APIClient) -> None:
    learner = cohort[0].pk
    asked: list[dict[str, Any]] = [
        {"program_uuids": [PROGRAM, OUTSIDE_THE_RFC]},
        {"as_of": "2026-01-01T00:00:00Z"},
        {"known_at": TIME},
    ]
    counts = [len(ask(as_staff, {"learners": [learner], **more})[0]["intents"]) for more in asked]
    assert counts == [1, 0, 0]
    nulls = {"learners": [learner], "program_uuids": None, "as_of": None, "known_at": None}
    assert len(ask(as_staff, nulls)[0]["intents"]) == 2
    assert ask(as_staff, {"learners": [learner], "program_uuids": []}) == [{"learner": learner, "intents": []}]


@pytest.mark.usefixtures("by_username")
def test_with_a_lookup_field_many_learners_are_named_by_it(cohort: list[User], as_staff: APIClient) -> None:
    told = ask(as_staff, {"learners": ["user1", "user0"]})
    assert [(entry["learner"], {i["learner"] for i in entry["intents"]}) for entry in told] == [
        ("user1", {"user1"}),
        ("user0", {"user0"}),
    ]
    errors = ask(as_staff, {"learners": ["user0", "USER1", "user2 ", 7, "\0", "\ud800"]}, 400)
    assert errors == {
        "learners": [
            "Expected a text that names a user, not 7.",
            r"No user is named by '\x00'.",
            r"No user is named by '\ud800'.",
            "No user is named by 'USER1'.",
            "No user is named by 'user2 '.",
        ]
    }


NOT_ASKED = {
    "no learners": ({}, "learners", "This field is required."),
    "null": ({"learners": None}, "learners", "This field is required."),
    "one learner": ({"learners": 7}, "learners", "Expected a list, not 7."),
    "an object of learners": ({"learners": {"7": 1}}, "learners", "Expected a list, not {'7': 1}."),
    "true": ({"learners": [True]}, "learners", "Expected an integer that names a user, not True."),
    "a nested list": ({"learners": [[7]]}, "learners", "Expected an integer that names a user, not [7]."),
    "an object": ({"learners": [{}]}, "learners", "Expected an integer that names a user, not {}."),
    "nobody": ({"learners": [NOBODY]}, "learners", f"No user is named by {NOBODY}."),
    "a huge number": ({"learners": [10**400]}, "learners", "No user is named by 1000"),
    "a float": ({"learners": [1e308]}, "learners", "Expected an integer that names a user, not 1e+308."),
    "too many": ({"learners": [1] * 1001}, "learners", "Expected at most 1000 in one call, not 1001."),
    "a program": ({"learners": [], "program_uuids": PROGRAM}, "program_uuids", f"Expected a list, not '{PROGRAM}'."),
    "no program": ({"learners": [], "program_uuids": ["x"]}, "program_uuids", "Expected a UUID, with or without"),
    "a nested program": ({"learners": [], "program_uuids": [[]]}, "program_uuids", "Expected a UUID, not []."),
    "too many programs": ({"learners": [], "program_uuids": [PROGRAM] * 1001}, "program_uuids", "at most 1000"),
    "as_of a number": ({"learners": [], "as_of": 5}, "as_of", "Expected a date and time with an offset"),
    "known_at a list": ({"learners": [], "known_at": []}, "known_at", "Expected a date and time with an offset"),
    "an array": ([], "non_field_errors", "Expected an object with a list of learners, not []."),
    "a number": (5, "non_field_errors", "Expected an object with a list of learners, not 5."),
    "nothing": (None, "non_field_errors", "Expected an object with a list of learners, not None."),
}


@pytest.mark.parametrize(("body", "name", "message"), NOT_ASKED.values(), ids=NOT_ASKED)
def test_a_refused_body_is_400_with_its_field_and_message(
    as_staff: APIClient, body: Any, name: str, message: str
) -> None:
    errors = answer(as_staff.post(QUERY, json.dumps(body), content_type="application/json"), 400)
    assert list(errors) == [name]
    assert message in errors[name][0]


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ("[" * 100_000, "application/json", 400),
        ('{"learners": [NaN]}', "application/json", 400),
        (b'{"learners": ["\xff"]}', "application/json", 400),
        ('{"learners": ["\\ud800", "\\u0000"], "as_of": "\\ud800"}', "application/json", 400),
        ("{" + " " * 10**7, "application/json", 413),
        ("", "application/json", 400),
        ("learners=7", "application/x-www-form-urlencoded", 415),
        ("{}", "text/plain", 415),
        ("{}", "application/json; charset=zlib", 415),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_body_that_is_no_json_object_is_told_so(
    as_staff: APIClient, body: Any, content_type: str, status: int
) -> None:
    assert answer(as_staff.post(QUERY, body, content_type=content_type), status)


def test_asking_of_many_learners_writes_nothing(cohort: list[User], as_staff: APIClient) -> None:
    with CaptureQueriesContext(connection) as queries:
        ask(as_staff, {"learners": [user.pk for user in cohort]})
    assert {query["sql"].split()[0] for query in queries} <= {"SELECT", "WITH"}


# What is new


def test_a_follower_gets_each_intent_once(cohort: list[User], as_staff: APIClient) -> None:
    told: list[Any] = []
    cursor: dict[str, str] = {}
    while (page := get(as_staff, CHANGES, limit=4, **cursor))["intents"]:
        assert len(page["intents"]) <= 4
        told += page["intents"]
        cursor = {"after": page["cursor"]}
    assert ids(told) == sorted(ProgramIntent.objects.values_list("pk", flat=True))
    assert {intent["learner"] for intent in told} == {user.pk for user in cohort}
    new = record(cohort[0], reason="NEW")
    assert get(as_staff, CHANGES, after=page["cursor"])["intents"] == [
        {**shown(new, cohort[0].pk), "learner_id": cohort[0].pk}
    ]


@pytest.mark.parametrize("field", ["pk", "username"])
def test_a_learner_whose_user_is_gone_is_null_among_the_changes(
    cohort: list[User], as_staff: APIClient, settings: Settings, field: str
) -> None:
    """A follower is told of every intent; the name that is left is none."""
    settings.PROGRAM_INTENT = {"LEARNER_LOOKUP_FIELD": field}
    delete_behind_djangos_back(cohort[0])
    learners = [intent["learner"] for intent in get(as_staff, CHANGES)["intents"]]
    assert learners[:4] == [None, None] + [getattr(cohort[1], field)] * 2


def test_changes_that_cannot_be_followed_from_here_are_503(
    as_staff: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get_intent_changes(**kwargs: object) -> None:
        raise ChangesError("Not here.")

    monkeypatch.setattr(api, "get_intent_changes", get_intent_changes)
    assert answer(as_staff.get(CHANGES), 503) == {"detail": "Not here."}


# What it costs


def test_a_page_of_a_history_is_one_query_and_one_for_its_place(
    ada: User, as_ada: APIClient, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for n in range(3):
        record(ada, reason=f"R{n}")
    with django_assert_num_queries(1):  # the page
        page = get(as_ada, RECORD, limit=1)
    with django_assert_num_queries(2):  # the intent at the border, the page
        get_url(as_ada, page["next"])


def test_an_explanation_is_one_query(
    ada: User, as_ada: APIClient, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    record(ada)
    with django_assert_num_queries(1):  # the learner's intents for the program
        get(as_ada, EXPLAIN, program_uuid=PROGRAM)


@pytest.fixture
def many(db: None) -> list[User]:
    users = [User.objects.create(username=f"user{n}") for n in range(100)]
    for user in users:
        record(user)
    return users


def test_a_page_of_a_program_is_two_queries(
    many: list[User], as_staff: APIClient, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    get(as_staff, COUNTS)  # loads the caller's permissions
    for limit in (1, 100):
        with django_assert_num_queries(2):  # the page, the names
            get(as_staff, OF_PROGRAM, limit=limit)
    with django_assert_num_queries(3):  # the learner it goes on from, the page, the names
        get(as_staff, OF_PROGRAM, limit=50, after=many[9].pk)


def test_counts_are_one_query(
    many: list[User], as_staff: APIClient, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    get(as_staff, COUNTS)
    with django_assert_num_queries(1):  # the rule, counted
        get(as_staff, COUNTS)


@pytest.mark.parametrize("field", ["pk", "username"])
def test_a_hundred_learners_cost_as_many_queries_as_one(
    many: list[User], as_staff: APIClient, settings: Settings, field: str
) -> None:
    settings.PROGRAM_INTENT = {"LEARNER_LOOKUP_FIELD": field}
    learners = [getattr(user, field) for user in many]
    ask(as_staff, {"learners": learners[:1]})  # loads the caller's permissions
    calls: list[Callable[[int], Any]] = [
        lambda size: ask(as_staff, {"learners": learners[:size]}),
        lambda size: get(as_staff, CHANGES, limit=size),
    ]
    for call in calls:
        with CaptureQueriesContext(connection) as of_one:
            assert call(1)
        with CaptureQueriesContext(connection) as of_all:
            assert call(100)
        assert len(of_all) == len(of_one)


# As a part of the host


def test_the_reads_fit_into_the_transaction_of_a_request(
    cohort: list[User], as_staff: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    for url in READS:
        program = {"program_uuid": PROGRAM} if "program_uuid" in READS[url] else {}
        get(as_staff, url, **program)
        refused(as_staff, url, **{READS[url][-1]: "x", **program})
    assert ask(as_staff, {"learners": [cohort[0].pk]})
    assert ask(as_staff, {"learners": [NOBODY]}, 400)


@pytest.mark.parametrize("url", [*READS, QUERY])
def test_a_host_may_write_answers_in_another_format(
    cohort: list[User], as_staff: APIClient, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    of_learner = {"learner": cohort[0].pk, "program_uuid": PROGRAM}
    asked = {RECORD: of_learner, LATEST: of_learner, EXPLAIN: {**of_learner, "as_of": LATER}}.get(url, {})
    method, sent = ("post", {"learners": [cohort[0].pk]}) if url == QUERY else ("get", None)
    api.erase_learner(cohort[1])

    def told(media_type: str) -> Any:
        """JSON is YAML too."""
        response = as_staff.generic(
            method, f"{url}?{urlencode(asked)}", json.dumps(sent), "application/json", HTTP_ACCEPT=media_type
        )
        assert (response.status_code, response["Content-Type"].partition(";")[0]) == (200, media_type)
        return yaml.safe_load(response.content)

    monkeypatch.setattr(IntentsView, "renderer_classes", [JSONRenderer, YAMLRenderer])
    assert told("application/yaml") == told("application/json")


@pytest.mark.parametrize("url", READS)
def test_the_browsable_api_shows_each_read(cohort: list[User], as_staff: APIClient, url: str) -> None:
    of_learner = {"program_uuid": PROGRAM, "learner": cohort[0].pk}
    api.erase_learner(cohort[1])
    parameters = of_learner if url in (RECORD, LATEST, EXPLAIN) else {}
    page = as_staff.get(f"{url}?{urlencode(parameters)}", HTTP_ACCEPT="text/html")
    assert page.status_code == 200
    assert {COUNTS: "CERTAIN_YES", ERASURES: "&quot;until&quot;"}.get(url, PROGRAM) in page.content.decode()


def test_a_learner_name_may_need_quoting_in_a_link(as_staff: APIClient, settings: Settings) -> None:
    settings.PROGRAM_INTENT = {"LEARNER_LOOKUP_FIELD": "username"}
    user = User.objects.create(username="zoë+x&y")
    for n in range(2):
        record(user, reason=f"R{n}")
    walked = pages(as_staff, f"{RECORD}?limit=1&learner={quote(user.username)}")
    assert [intent["learner"] for page in walked for intent in page["results"]] == [user.username] * 2
