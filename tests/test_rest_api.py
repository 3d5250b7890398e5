"""The REST layer as a client meets it: who may do what, every answer, and whatever may be posted."""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.http import HttpResponse
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries, Settings
from rest_framework.authentication import BasicAuthentication
from rest_framework.test import APIClient

from program_intent import rest_api
from program_intent.api import erase_learner, get_latest_certain_intents, record_intent
from program_intent.models import ProgramIntent
from program_intent.rest_api.base import IntentsView
from tests.rest import (
    ADD,
    EXPLAIN,
    LATEST,
    MAY_NOT_VIEW,
    NOBODY,
    OTHER_PROGRAM,
    PROGRAM,
    QUERY,
    READS,
    RECORD,
    TIME,
    VIEW,
    answer,
    client_of,
)

MAY_NOT_RECORD = "To name another learner than yourself you need the permission program_intent.add_programintent."

pytestmark = pytest.mark.django_db


def make_row(**changes: Any) -> dict[str, Any]:
    row = {
        "program_uuid": PROGRAM,
        "reason": "BUNDLE_PURCHASE",
        "certainty": "CERTAIN_YES",
        "effective_timestamp": TIME,
    }
    return row | changes


@pytest.fixture
def as_staff(db: None) -> APIClient:
    return client_of(User.objects.create(username="staff"), ADD, VIEW)


def post(client: APIClient, body: Any) -> HttpResponse:
    return client.post(RECORD, body, format="json")


def get(client: APIClient, **parameters: Any) -> HttpResponse:
    return client.get(f"{LATEST}?{urlencode(parameters, doseq=True)}")


# One intent


def test_a_learner_records_an_intent_of_their_own_and_is_answered_201_with_the_intent(
    ada: User, as_ada: APIClient
) -> None:
    intent = answer(post(as_ada, make_row()), 201)
    stored = ProgramIntent.objects.get()
    created = stored.created.astimezone(UTC).isoformat().replace("+00:00", "Z")
    assert intent == {"id": stored.pk, "learner": ada.pk, **make_row(), "created": created}
    assert list(intent) == [
        "id",
        "learner",
        "program_uuid",
        "reason",
        "certainty",
        "effective_timestamp",
        "created",
    ]


def test_an_intent_that_is_there_already_is_answered_200_as_it_was_stored(as_ada: APIClient) -> None:
    first = answer(post(as_ada, make_row()), 201)
    assert answer(post(as_ada, make_row(reason=" bundle_purchase ", program_uuid=UUID(PROGRAM).hex)), 200) == first
    assert ProgramIntent.objects.count() == 1


@pytest.mark.parametrize("left_out", [{}, {"effective_timestamp": None}], ids=["missing", "null"])
def test_an_intent_without_a_time_is_of_now(as_ada: APIClient, left_out: dict[str, None]) -> None:
    row = make_row()
    del row["effective_timestamp"]
    intent = answer(post(as_ada, row | left_out), 201)
    assert intent["effective_timestamp"] == intent["created"]
    assert datetime.now(UTC) - datetime.fromisoformat(intent["created"]) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ("2026-02-01T09:00:00.120+02:00", "2026-02-01T07:00:00.120000Z"),
        ("9999-12-30T23:59:59.999999Z", "9999-12-30T23:59:59.999999Z"),
        ("1900-01-01 00:00 Z", "1900-01-01T00:00:00Z"),
    ],
)
def test_times_are_answered_in_utc_with_a_z(as_ada: APIClient, sent: str, answered: str) -> None:
    assert answer(post(as_ada, make_row(effective_timestamp=sent)), 201)["effective_timestamp"] == answered


@pytest.mark.parametrize("spelling", [int, str, lambda pk: f" {pk} "], ids=["number", "text", "spaces"])
def test_a_learner_names_themself_without_a_permission(
    ada: User, as_ada: APIClient, spelling: Callable[[int], Any]
) -> None:
    assert answer(post(as_ada, make_row(learner=spelling(ada.pk))), 201)["learner"] == ada.pk


def test_null_is_nobody_and_not_the_caller(as_staff: APIClient) -> None:
    """Whoever posts the name of a user who has none is not to record their own intent."""
    errors = {"learner": ["This field is required."]}
    row = make_row(learner=None)
    assert answer(post(as_staff, row), 400) == errors
    assert [each["errors"] for each in answer(post(as_staff, [row]), 200)["outcomes"]] == [errors]
    assert not ProgramIntent.objects.exists()


def test_with_the_permission_one_records_for_others(bob: User, as_staff: APIClient) -> None:
    intent = answer(post(as_staff, make_row(learner=bob.pk)), 201)
    assert intent["learner"] == bob.pk
    assert ProgramIntent.objects.get().learner == bob


def test_an_unknown_learner_is_400_for_who_may_name_them(as_staff: APIClient) -> None:
    errors = answer(post(as_staff, make_row(learner=NOBODY)), 400)
    assert errors == {"learner": [f"No user is named by {NOBODY}."]}


ANYONE_ELSE = [NOBODY, "bob", "", "0", True, 1.0, [], {}, "\0", "\ud800", 10**400, float("nan")]


@pytest.mark.parametrize("named", ANYONE_ELSE, ids=lambda named: ascii(named)[:20])
def test_whoever_may_not_write_for_others_is_told_403_whatever_else_they_name(as_ada: APIClient, named: object) -> None:
    body = json.dumps(make_row(learner=named)).replace("NaN", '"NaN"')
    response = as_ada.post(RECORD, body, content_type="application/json")
    assert answer(response, 403) == {"detail": MAY_NOT_RECORD}


def test_permission_is_judged_before_existence(bob: User, as_ada: APIClient) -> None:
    """The same answer and the same queries, so that neither tells who exists."""
    with CaptureQueriesContext(connection) as for_bob:
        existing = post(as_ada, make_row(learner=bob.pk))
    assert answer(existing, 403) == {"detail": MAY_NOT_RECORD}
    assert not [query for query in for_bob if f"= {bob.pk}" in query["sql"]]
    assert answer(post(as_ada, make_row(learner=NOBODY)), 403) == {"detail": MAY_NOT_RECORD}
    assert not ProgramIntent.objects.exists()


REFUSED = [
    ({"program_uuid": None}, "program_uuid", "This field is required."),
    ({"program_uuid": "x"}, "program_uuid", "Expected a UUID, with or without hyphens, not 'x'."),
    ({"program_uuid": 7}, "program_uuid", "Expected a UUID, not 7."),
    ({"reason": "  "}, "reason", "This field is required."),
    (
        {"reason": "1ST"},
        "reason",
        "Expected a reason of up to 64 letters, digits and underscores that starts with a letter, such as"
        " BUNDLE_PURCHASE, not '1ST'.",
    ),
    ({"certainty": "YES"}, "certainty", "Expected one of CERTAIN_YES, CERTAIN_NO, MAYBE, not 'YES'."),
    (
        {"effective_timestamp": "2026-02-01T09:00:00"},
        "effective_timestamp",
        "Expected a time with a UTC offset, such as 2022-04-12T00:00:00Z, not '2026-02-01T09:00:00'.",
    ),
    (
        {"effective_timestamp": "2026-02-01"},
        "effective_timestamp",
        "Expected a time with the date, such as 2022-04-12T00:00:00Z, not '2026-02-01'.",
    ),
    (
        {"effective_timestamp": "9999-12-31T00:00:00Z"},
        "effective_timestamp",
        "Expected a time from 1900-01-01 to 9999-12-30, not '9999-12-31T00:00:00Z'.",
    ),
    (
        {"effective_timestamp": "2026-02-01T09:00:00.1234567Z"},
        "effective_timestamp",
        "Expected at most six decimals of a second, not '2026-02-01T09:00:00.1234567Z'.",
    ),
    (
        {"effective_timestamp": 1738400400},
        "effective_timestamp",
        "Expected a date and time with an offset such as 2022-04-12T00:00:00Z, not 1738400400.",
    ),
    ({"learner": "bob"}, "learner", "Expected an integer that names a user, not 'bob'."),
    ({"learner": True}, "learner", "Expected an integer that names a user, not True."),
]


@pytest.mark.parametrize(("changes", "field", "message"), REFUSED, ids=[f"{field}-{c}" for c, field, _ in REFUSED])
def test_a_refused_value_is_400_with_its_field_and_message(
    as_staff: APIClient, changes: dict[str, Any], field: str, message: str
) -> None:
    assert answer(post(as_staff, make_row(**changes)), 400) == {field: [message]}
    assert not ProgramIntent.objects.exists()


def test_an_empty_object_is_told_every_field_that_it_lacks(as_ada: APIClient) -> None:
    missing = ["This field is required."]
    assert answer(post(as_ada, {}), 400) == {"program_uuid": missing, "reason": missing, "certainty": missing}


# Many intents


def test_an_array_keeps_the_good_rows_and_tells_the_outcome_of_each_in_order(ada: User, as_ada: APIClient) -> None:
    stored = answer(post(as_ada, make_row()), 201)
    batch = answer(
        post(
            as_ada,
            [
                make_row(reason="NEW"),
                make_row(certainty="YES", reason=None),
                make_row(learner=ada.pk),
                make_row(reason="NEW", learner=str(ada.pk)),
                "nonsense",
            ],
        ),
        200,
    )
    created, refused, duplicate, same, no_object = batch.pop("outcomes")
    assert batch == {"created": 1, "duplicate": 2, "rejected": 2}
    assert created["status"] == "created"
    assert created["intent"]["reason"] == "NEW"
    assert created["intent"]["learner"] == ada.pk
    assert created["errors"] == {}
    assert refused == {
        "status": "rejected",
        "intent": None,
        "errors": {
            "reason": ["This field is required."],
            "certainty": ["Expected one of CERTAIN_YES, CERTAIN_NO, MAYBE, not 'YES'."],
        },
    }
    assert duplicate == {"status": "duplicate", "intent": stored, "errors": {}}
    assert same == {"status": "duplicate", "intent": created["intent"], "errors": {}}
    assert no_object == {
        "status": "rejected",
        "intent": None,
        "errors": {"non_field_errors": ["Expected an object with the fields of an intent, not 'nonsense'."]},
    }
    assert ProgramIntent.objects.count() == 2


def test_in_an_array_a_row_for_a_learner_one_may_not_write_for_is_rejected_and_the_others_are_kept(
    ada: User, bob: User, as_ada: APIClient
) -> None:
    rows = [make_row(learner=bob.pk), make_row(), *(make_row(learner=named) for named in [NOBODY, "bob", True])]
    batch = answer(post(as_ada, rows), 200)
    forbidden = {"status": "rejected", "intent": None, "errors": {"learner": [MAY_NOT_RECORD]}}
    assert [batch["outcomes"][place] for place in (0, 2, 3, 4)] == [forbidden] * 4
    assert (batch["created"], batch["duplicate"], batch["rejected"]) == (1, 0, 4)
    assert ProgramIntent.objects.get().learner == ada


def test_with_the_permission_an_array_is_of_many_learners(ada: User, bob: User, as_staff: APIClient) -> None:
    rows = [make_row(learner=bob.pk), make_row(learner=NOBODY), make_row(learner=str(ada.pk)), make_row(learner="x")]
    batch = answer(post(as_staff, rows), 200)
    learners = [outcome["intent"] and outcome["intent"]["learner"] for outcome in batch["outcomes"]]
    assert learners == [bob.pk, None, ada.pk, None]
    assert batch["outcomes"][1]["errors"] == {"learner": [f"No user is named by {NOBODY}."]}
    assert batch["outcomes"][3]["errors"] == {"learner": ["Expected an integer that names a user, not 'x'."]}


@pytest.mark.parametrize(("strict", "status"), [("true", 422), ("True", 422), ("false", 200)])
def test_strict_tells_by_its_status_that_a_row_of_an_array_was_rejected(
    as_ada: APIClient, strict: str, status: int
) -> None:
    rows = [make_row(certainty="YES"), make_row()]
    batch = answer(as_ada.post(f"{RECORD}?strict={strict}", rows, format="json"), status)
    assert (batch["created"], batch["duplicate"], batch["rejected"]) == (1, 0, 1)
    assert [outcome["status"] for outcome in batch["outcomes"]] == ["rejected", "created"]
    assert ProgramIntent.objects.count() == 1


def test_strict_changes_nothing_where_no_row_is_rejected(as_ada: APIClient) -> None:
    answer(as_ada.post(f"{RECORD}?strict=true", [make_row()], format="json"), 200)
    answer(as_ada.post(f"{RECORD}?strict=true", make_row(reason="NEW"), format="json"), 201)
    answer(as_ada.post(f"{RECORD}?strict=true", make_row(certainty="YES"), format="json"), 400)


@pytest.mark.parametrize("text", ["", "1", "yes"])
def test_strict_is_true_or_false(as_ada: APIClient, text: str) -> None:
    errors = answer(as_ada.post(f"{RECORD}?strict={text}", [make_row()], format="json"), 400)
    assert errors == {"strict": [f"Expected true or false, not {text!r}."]}
    assert not ProgramIntent.objects.exists()


def test_an_array_shares_one_creation_time(as_ada: APIClient) -> None:
    batch = answer(post(as_ada, [make_row(reason=f"R{n}") for n in range(20)]), 200)
    assert len({outcome["intent"]["created"] for outcome in batch["outcomes"]}) == 1


def test_an_empty_array_has_no_outcomes(as_ada: APIClient) -> None:
    assert answer(post(as_ada, []), 200) == {"created": 0, "duplicate": 0, "rejected": 0, "outcomes": []}


def test_more_rows_than_max_batch_size_are_400_and_none_is_written(as_ada: APIClient, settings: Settings) -> None:
    settings.PROGRAM_INTENT = {"MAX_BATCH_SIZE": 2}
    rows = [make_row(reason=f"R{n}") for n in range(3)]
    message = "Expected at most 2 intents in one call, not 3."
    assert answer(post(as_ada, rows), 400) == {"non_field_errors": [message]}
    assert not ProgramIntent.objects.exists()
    assert answer(post(as_ada, rows[:2]), 200)["created"] == 2


def test_a_refused_row_does_not_break_the_transaction_of_the_request(
    as_ada: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    assert answer(post(as_ada, [make_row(certainty="YES"), make_row(), make_row()]), 200)["created"] == 1
    assert answer(post(as_ada, make_row(certainty="YES")), 400)
    assert ProgramIntent.objects.count() == 1


# Whatever may be posted

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=here"
JSON = "application/json"


def part(name: str, value: str, filename: str | None = None) -> str:
    file = f'; filename="{filename}"' if filename else ""
    return f'--here\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n{value}\r\n'


def rows_with(**changes: Any) -> str:
    return json.dumps([make_row(**changes)])


NO_OBJECT = "Expected an object with the fields of an intent, not {}."
HOSTILE: dict[str, tuple[bytes | str, str, int, str]] = {
    "a number": ("5", JSON, 400, NO_OBJECT.format(5)),
    "a text": ('"a\\ud800\\u0000"', JSON, 400, NO_OBJECT.format(r"'a\ud800\x00'").replace("\\", "\\\\")),
    "null": ("null", JSON, 400, NO_OBJECT.format(None)),
    "true": ("true", JSON, 400, NO_OBJECT.format(True)),
    "nothing": ("", JSON, 400, "This field is required."),
    "nested nonsense": ('{"reason": {"a": [[{}]]}, "program_uuid": [1], "certainty": {}}', JSON, 400, "a reason of up"),
    "NUL": (json.dumps(make_row(reason="A\0")), JSON, 400, "BUNDLE_PURCHASE, not 'A\\\\x00'."),
    "a lone surrogate": (json.dumps(make_row(reason="\ud800")), JSON, 400, "not '\\\\ud800'."),
    "a lone surrogate as a key": ('{"\\ud800": 1}', JSON, 400, "This field is required."),
    "100,000 opening brackets": ("[" * 100_000, JSON, 400, "Parse error - nested too deeply."),
    "100,000 opening braces": ('{"a":' * 100_000, JSON, 400, "Parse error - nested too deeply."),
    "900 brackets that close": ("[" * 900 + "]" * 900, JSON, 200, "Expected an object"),
    "a JSON text of 10 MB": (json.dumps(make_row(reason="A" * 10**7)), JSON, 413, "Request body exceeded"),
    "a form of 10 MB": ("reason=" + "A" * 10**7, FORM, 413, "Request body exceeded"),
    "a multipart field of 10 MB": (part("reason", "A" * 10**7) + "--here--", MULTIPART, 413, "Request body exceeded"),
    "a text of 2 MB": (json.dumps(make_row(certainty="A" * 2 * 10**6)), JSON, 400, "MAYBE, not 'AAAA"),
    "invalid UTF-8": (b'{"reason": "\xff"}', JSON, 400, "JSON parse error - 'utf-8' codec can't decode byte 0xff"),
    "cut off": ('{"reason": "A', JSON, 400, "JSON parse error - Unterminated string"),
    "NaN": ('{"reason": NaN}', JSON, 400, "JSON parse error - Out of range float values"),
    "infinity by overflow": ('{"reason": 1e999}', JSON, 400, "BUNDLE_PURCHASE, not inf."),
    "an integer of 5,000 digits": (f'{{"reason": {"1" * 5000}}}', JSON, 400, "JSON parse error - Exceeds the limit"),
    "an integer of 4,000 digits": (f'{{"learner": {"1" * 4000}}}', JSON, 400, "No user is named by 1111"),
    "10,001 rows": (json.dumps([0] * 10_001), JSON, 400, "Expected at most 1000 intents in one call, not 10001."),
    "year 9999": (rows_with(effective_timestamp="9999-12-31T23:59:59Z"), JSON, 200, "from 1900-01-01 to 9999-12-30"),
    "year 0000": (rows_with(effective_timestamp="0000-01-01T00:00:00Z"), JSON, 200, "Expected a time that exists"),
    "text/plain": ("{}", "text/plain", 415, 'Unsupported media type \\"text/plain\\" in request.'),
    "no content type": ("{}", "", 415, "Unsupported media type"),
    "a charset that decompresses": ("{}", f"{JSON}; charset=zlib", 415, "Expected the charset utf-8 or none."),
    "a form in a charset": ("reason=A", f"{FORM}; charset=idna", 415, "Expected the charset utf-8 or none."),
    "multipart in a charset": (part("a", "1") + "--here--", f"{MULTIPART}; charset=bz2", 415, "Expected the charset"),
    "UTF-16": ("{}".encode("utf-16"), f"{JSON}; charset=utf-16", 415, "Expected the charset utf-8 or none."),
    "UTF-16 undeclared": ("{}".encode("utf-16"), JSON, 400, "JSON parse error"),
    "an empty form": ("", FORM, 400, "This field is required."),
    "a form of NULs": ("reason=%00&certainty=%ED%A0%80&learner=%FF", FORM, 400, "not '\\\\x00'."),
    "a form of too many fields": ("&".join(["a=1"] * 2000), FORM, 400, "The number of GET/POST parameters exceeded"),
    "multipart of too many fields": (part("a", "1") * 2000 + "--here--", MULTIPART, 400, "The number of GET/POST"),
    "multipart of too many files": (part("a", "1", "f") * 200 + "--here--", MULTIPART, 400, "The number of files"),
    "multipart without a boundary": ("reason=A", "multipart/form-data", 400, "Multipart form parse error - Invalid b"),
    "multipart that breaks off": (part("reason", "A")[:40], MULTIPART, 400, "This field is required."),
    "multipart in base64 that is none": (
        part("reason", "%").replace("\r\n\r\n", "\r\nContent-Transfer-Encoding: base64\r\n\r\n"),
        MULTIPART,
        400,
        "is required",
    ),
    "a file": (part("reason", "A", "a.txt") + "--here--", MULTIPART, 400, "BUNDLE_PURCHASE, not <InMemory"),
    "a file with a surrogate in its name": (
        part("reason", "A", "").replace("\r\n\r\n", "; filename*=UTF-8''%ED%A0%80%00\r\n\r\n") + "--here--",
        MULTIPART,
        400,
        "BUNDLE_PURCHASE, not <InMemory",
    ),
}


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
@pytest.mark.parametrize(("body", "content_type", "status", "message"), HOSTILE.values(), ids=HOSTILE)
def test_whatever_is_posted_is_answered_with_a_message_and_writes_nothing(
    as_staff: APIClient, body: bytes | str, content_type: str, status: int, message: str, accept: str
) -> None:
    raw = body if isinstance(body, bytes) else body.encode("utf-8", "surrogateescape")
    response = as_staff.generic("POST", RECORD, raw, content_type=content_type, HTTP_ACCEPT=accept)  # type: ignore[arg-type]
    assert response.status_code == status, response.content[:500]
    if accept == "application/json":
        assert message in response.content.decode()
        shape = list if status == 400 else object
        assert all(isinstance(messages, shape) for messages in json.loads(response.content).values())
    assert not ProgramIntent.objects.exists()


def test_of_a_key_given_twice_the_last_counts(as_ada: APIClient) -> None:
    body = json.dumps(make_row())[:-1] + ', "reason": "LAST"}'
    assert answer(as_ada.post(RECORD, body, content_type=JSON), 201)["reason"] == "LAST"


@pytest.mark.parametrize("body_format", ["multipart", "form"])
def test_a_form_records_one_intent(bob: User, as_staff: APIClient, body_format: str) -> None:
    row = make_row(learner=str(bob.pk))
    if body_format == "form":
        response = as_staff.post(RECORD, urlencode(row), content_type=FORM)
    else:
        response = as_staff.post(RECORD, row, format="multipart")
    assert answer(response, 201)["learner"] == bob.pk


@pytest.mark.parametrize("charset", ["utf-8", "UTF8", "bogus"])
def test_utf_8_may_be_declared(as_ada: APIClient, charset: str) -> None:
    """Django takes an unknown charset for its default."""
    content_type = f"{JSON}; charset={charset}"
    assert answer(as_ada.post(RECORD, json.dumps(make_row()), content_type=content_type), 201)


# The latest and most certain


def record(user: User, program: str = PROGRAM, **changes: Any) -> None:
    values = make_row(**changes)
    del values["program_uuid"]
    record_intent(user, program, **values)


def test_a_learner_is_told_their_latest_and_most_certain_intents_ordered_by_program(
    ada: User, bob: User, as_ada: APIClient
) -> None:
    record(ada)
    record(ada, certainty="CERTAIN_NO", effective_timestamp="2026-03-01T00:00:00Z")
    record(ada, certainty="MAYBE", effective_timestamp="2026-04-01T00:00:00Z")
    record(ada, OTHER_PROGRAM, certainty="MAYBE")
    record(bob, OTHER_PROGRAM)
    intents = answer(get(as_ada), 200)
    told = [(intent["program_uuid"], intent["learner"], intent["certainty"]) for intent in intents]
    assert told == [(OTHER_PROGRAM, ada.pk, "MAYBE"), (PROGRAM, ada.pk, "CERTAIN_NO")]


def test_an_intent_is_told_as_it_was_answered_when_recorded(as_ada: APIClient) -> None:
    recorded = answer(post(as_ada, make_row(effective_timestamp="2026-02-01T09:00:00.000001Z")), 201)
    assert answer(get(as_ada), 200) == [recorded]


def test_a_learner_without_intents_is_told_none(as_ada: APIClient) -> None:
    assert answer(get(as_ada), 200) == []


def test_program_uuid_can_be_given_several_times(ada: User, as_ada: APIClient) -> None:
    third = "0c5cba1a-7a23-5e4c-9b61-3d1f0f1d2a33"
    for program in (PROGRAM, OTHER_PROGRAM, third):
        record(ada, program)
    one = answer(get(as_ada, program_uuid=PROGRAM), 200)
    two = answer(get(as_ada, program_uuid=[PROGRAM, UUID(third).hex.upper(), PROGRAM]), 200)
    assert [intent["program_uuid"] for intent in one] == [PROGRAM]
    assert [intent["program_uuid"] for intent in two] == [third, PROGRAM]


def test_as_of_and_known_at_look_back(ada: User, as_ada: APIClient) -> None:
    record(ada)
    record(ada, certainty="CERTAIN_NO", effective_timestamp="2026-03-01T00:00:00Z")
    assert [intent["certainty"] for intent in answer(get(as_ada, as_of=TIME), 200)] == ["CERTAIN_YES"]
    assert answer(get(as_ada, as_of="2026-02-01T10:59:59.999999+02:00"), 200) == []
    assert answer(get(as_ada, known_at="2026-02-01T09:00:00+00:00"), 200) == []
    assert len(answer(get(as_ada, known_at="9999-12-30T00:00:00Z", as_of="9999-12-30T00:00:00Z"), 200)) == 1


@pytest.mark.parametrize("spelling", [str, lambda pk: f" {pk} "], ids=["text", "spaces"])
def test_asking_for_oneself_by_name_needs_no_permission(
    ada: User, as_ada: APIClient, spelling: Callable[[int], str]
) -> None:
    record(ada)
    assert answer(get(as_ada, learner=spelling(ada.pk)), 200) == answer(get(as_ada), 200) != []


def test_with_the_permission_one_asks_for_others(bob: User, as_staff: APIClient) -> None:
    record(bob)
    (intent,) = answer(get(as_staff, learner=bob.pk), 200)
    assert intent["learner"] == bob.pk


@pytest.mark.parametrize("named", [NOBODY, "bob", "", "0", "\0", "1" * 5000], ids=lambda named: repr(named)[:20])
def test_whoever_may_not_view_others_is_told_403_whatever_else_they_name(as_ada: APIClient, named: object) -> None:
    assert answer(get(as_ada, learner=named), 403) == {"detail": MAY_NOT_VIEW}


def test_without_the_permission_an_existing_learner_looks_like_any_other(bob: User, as_ada: APIClient) -> None:
    assert answer(get(as_ada, learner=bob.pk), 403) == {"detail": MAY_NOT_VIEW}


OFFSET = "Expected a date and time with an offset such as 2022-04-12T00:00:00Z, not "
REFUSED_PARAMETERS = [
    (f"learner={NOBODY}", "learner", f"No user is named by {NOBODY}."),
    ("learner=bob", "learner", "Expected an integer that names a user, not 'bob'."),
    ("learner=", "learner", "Expected an integer that names a user, not ''."),
    ("learner=%00", "learner", r"Expected an integer that names a user, not '\x00'."),
    ("learner=1&learner=2", "learner", "Expected one value, not 2."),
    ("program_uuid=", "program_uuid", "Expected a UUID, with or without hyphens, not ''."),
    (f"program_uuid={PROGRAM}&program_uuid=%00", "program_uuid", r"with or without hyphens, not '\x00'."),
    ("program_uuid=%ED%A0%80", "program_uuid", "Expected a UUID, with or without hyphens, not '\ufffd"),
    ("as_of=2026-02-01T09:00:00+02:00", "as_of", f"{OFFSET}'2026-02-01T09:00:00 02:00'."),
    ("as_of=", "as_of", f"{OFFSET}''."),
    ("as_of=9999-12-31T00:00:00Z", "as_of", "Expected a time from 1900-01-01 to 9999-12-30"),
    (f"as_of={TIME}&as_of={TIME}", "as_of", "Expected one value, not 2."),
    ("known_at=2026-02-01T09:00:00", "known_at", "Expected a time with a UTC offset"),
    ("known_at=%00", "known_at", OFFSET + r"'\x00'."),
    (f"known_at={TIME}&known_at=", "known_at", "Expected one value, not 2."),
    ("&".join(["a=1"] * 2000), "non_field_errors", "The number of GET/POST parameters exceeded"),
]


@pytest.mark.parametrize(
    ("query", "name", "message"), REFUSED_PARAMETERS, ids=[query[:40] for query, _, _ in REFUSED_PARAMETERS]
)
def test_a_refused_parameter_is_400_with_its_name_and_message(
    as_staff: APIClient, query: str, name: str, message: str
) -> None:
    errors = answer(as_staff.get(f"{LATEST}?{query}"), 400)
    assert list(errors) == [name]
    assert message in errors[name][0]


def test_all_refused_parameters_are_told_together(as_ada: APIClient) -> None:
    errors = answer(get(as_ada, program_uuid="x", as_of="x", known_at="x"), 400)
    assert set(errors) == {"program_uuid", "as_of", "known_at"}


def test_a_program_that_mariadb_cannot_hold_has_no_intents(ada: User, as_ada: APIClient) -> None:
    record(ada)
    assert answer(get(as_ada, program_uuid="4a458848-f946-c657-25a7-e5df7b05272c"), 200) == []


# Who may do what

ANONYMOUS, OWN, OTHERS = None, "own", "others"
WALK = {
    # who and their permissions: (post own, post for others, get own, get others')
    (ANONYMOUS, ()): (403, 403, 403, 403),
    ("ada", ()): (201, 403, 200, 403),
    ("ada", (ADD,)): (201, 201, 200, 403),
    ("ada", (VIEW,)): (201, 403, 200, 200),
    ("ada", (ADD, VIEW)): (201, 201, 200, 200),
}


@pytest.mark.parametrize(("who", "expected"), WALK.items(), ids=[f"{name}-{may}" for name, may in WALK])
def test_each_caller_may_do_what_their_permissions_say(
    ada: User, bob: User, who: tuple[str | None, tuple[str, ...]], expected: tuple[int, ...]
) -> None:
    name, permissions = who
    client = client_of(ada if name else None, *permissions)
    responses = (
        post(client, make_row()),
        post(client, make_row(learner=bob.pk)),
        get(client),
        get(client, learner=bob.pk),
    )
    assert tuple(response.status_code for response in responses) == expected
    assert ProgramIntent.objects.count() == expected.count(201)


def test_permissions_do_not_come_from_the_other_call(bob: User, ada: User) -> None:
    """Viewing for others is not recording for others, in an array neither."""
    batch = answer(post(client_of(ada, VIEW), [make_row(learner=bob.pk)]), 200)
    assert batch["outcomes"][0]["errors"] == {"learner": [MAY_NOT_RECORD]}


@pytest.mark.parametrize("call", [RECORD, LATEST])
def test_anonymous_callers_are_401_where_the_hosts_authentication_names_a_scheme(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(IntentsView, "authentication_classes", [BasicAuthentication])
    response = post(APIClient(), {}) if call == RECORD else APIClient().get(LATEST)
    assert answer(response, 401) == {"detail": "Authentication credentials were not provided."}
    assert response["WWW-Authenticate"] == 'Basic realm="api"'


@pytest.mark.parametrize(("body", "content_type"), [("[" * 100_000, JSON), ("{", JSON), ("{}", "text/plain")])
def test_anonymous_callers_are_refused_before_their_body_is_read(body: str, content_type: str) -> None:
    response = APIClient().post(RECORD, body, content_type=content_type)
    assert answer(response, 403) == {"detail": "Authentication credentials were not provided."}


def test_a_session_without_a_csrf_token_is_refused_and_its_hostile_body_is_no_crash(ada: User) -> None:
    """The session's CSRF check looks for its token in the body, before any permission is looked at."""
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(ada)
    client.cookies["csrftoken"] = "a" * 32
    assert "CSRF Failed" in answer(post(client, make_row()), 403)["detail"]
    assert answer(client.post(RECORD, "[" * 100_000, content_type=JSON), 400)
    assert answer(client.post(RECORD, "reason=" + "A" * 10**7, content_type=FORM), 413)


def test_an_inactive_staff_member_has_no_permissions(bob: User) -> None:
    staff = User.objects.create(username="gone", is_active=False)
    assert answer(get(client_of(staff, ADD, VIEW), learner=bob.pk), 403) == {"detail": MAY_NOT_VIEW}


def test_a_superuser_may_do_everything(bob: User) -> None:
    client = client_of(User.objects.create(username="root", is_superuser=True))
    assert answer(post(client, make_row(learner=bob.pk)), 201)
    assert len(answer(get(client, learner=bob.pk), 200)) == 1


def test_a_user_model_without_permissions_writes_for_itself_alone(ada: User, bob: User) -> None:
    class Plain:
        pk = id = ada.pk
        is_authenticated = is_active = True

    client = APIClient()
    client.force_authenticate(Plain())  # type: ignore[arg-type]
    assert answer(post(client, make_row()), 201)["learner"] == ada.pk
    assert answer(post(client, make_row(learner=bob.pk)), 403) == {"detail": MAY_NOT_RECORD}
    assert answer(get(client, learner=bob.pk), 403) == {"detail": MAY_NOT_VIEW}


def test_an_anonymous_user_of_a_custom_authentication_is_refused(db: None) -> None:
    client = APIClient()
    client.force_authenticate(AnonymousUser())
    assert post(client, make_row()).status_code == 403


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_other_methods_are_405_where_intents_are_recorded(as_staff: APIClient, method: str) -> None:
    response = getattr(as_staff, method)(RECORD, {}, format="json")
    assert answer(response, 405) == {"detail": f'Method "{method.upper()}" not allowed.'}


@pytest.mark.parametrize("method", ["put", "patch", "delete", "post"])
def test_other_methods_than_get_are_405_where_intents_are_asked_for(as_staff: APIClient, method: str) -> None:
    response = getattr(as_staff, method)(LATEST, {}, format="json")
    assert answer(response, 405) == {"detail": f'Method "{method.upper()}" not allowed.'}


# The name of a learner


@pytest.mark.usefixtures("by_username")
def test_with_a_lookup_field_learners_are_named_by_it_in_and_out(bob: User, as_ada: APIClient) -> None:
    assert answer(post(as_ada, make_row()), 201)["learner"] == "ada"
    assert answer(post(as_ada, make_row()), 200)["learner"] == "ada"
    assert answer(get(as_ada), 200)[0]["learner"] == "ada"
    assert answer(get(as_ada, learner="ada"), 200)[0]["learner"] == "ada"
    assert answer(post(as_ada, make_row(learner="ada")), 200)["learner"] == "ada"
    for stranger in ("bob", str(bob.pk), "nobody"):
        assert answer(post(as_ada, make_row(learner=stranger)), 403) == {"detail": MAY_NOT_RECORD}
        assert answer(get(as_ada, learner=stranger), 403) == {"detail": MAY_NOT_VIEW}


@pytest.mark.usefixtures("by_username")
def test_with_a_lookup_field_others_are_named_by_it_too(ada: User, bob: User, as_staff: APIClient) -> None:
    rows = [make_row(learner=named) for named in ("bob", "nobody", "ada", bob.pk)]
    batch = answer(post(as_staff, rows), 200)
    first, second, third, fourth = batch["outcomes"]
    assert (first["intent"]["learner"], third["intent"]["learner"]) == ("bob", "ada")
    assert second["errors"] == {"learner": ["No user is named by 'nobody'."]}
    assert fourth["errors"] == {"learner": [f"Expected a text that names a user, not {bob.pk}."]}
    assert answer(get(as_staff, learner="bob"), 200) == [first["intent"]]
    assert answer(get(as_staff, learner="nobody"), 400) == {"learner": ["No user is named by 'nobody'."]}
    assert answer(get(as_staff, learner="a\0da"), 400) == {"learner": [r"No user is named by 'a\x00da'."]}


@pytest.mark.usefixtures("by_username")
@pytest.mark.parametrize("named", ["Bob", "BOB", "bob ", "bób"])
def test_a_learner_is_matched_exactly_not_as_a_collation_would(bob: User, as_staff: APIClient, named: str) -> None:
    assert answer(post(as_staff, make_row(learner=named)), 400) == {"learner": [f"No user is named by {named!r}."]}
    assert answer(get(as_staff, learner=named), 400) == {"learner": [f"No user is named by {named!r}."]}
    assert answer(post(client_of(bob), make_row(learner=named)), 403) == {"detail": MAY_NOT_RECORD}
    assert answer(get(client_of(bob), learner=named), 403) == {"detail": MAY_NOT_VIEW}


@pytest.mark.parametrize("spelling", ["{}.0", "+{}", "0{}", "{}_0", "\u0661"])
def test_another_spelling_of_a_primary_key_names_nobody(ada: User, as_ada: APIClient, spelling: str) -> None:
    assert answer(post(as_ada, make_row(learner=spelling.format(ada.pk))), 403) == {"detail": MAY_NOT_RECORD}


def test_a_caller_without_a_name_asks_and_records_by_key(
    ada: User, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host's field may be unique and still null."""
    record(ada)
    settings.PROGRAM_INTENT = {"LEARNER_LOOKUP_FIELD": "username"}
    ada.username = None  # type: ignore[assignment]
    client = APIClient()
    client.force_authenticate(ada)
    assert [intent["learner"] for intent in answer(get(client), 200)] == [None]
    recorded = answer(post(client, make_row(reason="NEW")), 201)
    assert recorded["learner"] is None
    assert ProgramIntent.objects.get(pk=recorded["id"]).learner_id == ada.pk


# What it costs


def test_recording_ones_own_intent_is_one_query(
    as_ada: APIClient, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(1):  # the insert
        answer(post(as_ada, make_row()), 201)
    with django_assert_num_queries(2):  # the insert that meets the stored row, and the look at that row
        answer(post(as_ada, make_row()), 200)


def test_asking_for_ones_own_intents_is_one_query(
    ada: User, as_ada: APIClient, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for parameters in ({}, {"learner": ada.pk}):
        with django_assert_num_queries(1):  # the rule, in the database
            answer(get(as_ada, **parameters), 200)


def test_asking_for_another_is_four_queries(
    bob: User, as_staff: APIClient, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(4):  # the caller's own and group permissions, the learner, the rule
        answer(get(as_staff, learner=bob.pk), 200)


@pytest.fixture
def many(db: None) -> list[User]:
    return [User.objects.create(username=f"user{n}") for n in range(100)]


@pytest.mark.parametrize("field", ["pk", "username"])
def test_an_array_costs_as_many_queries_as_two_rows(
    many: list[User], as_staff: APIClient, settings: Settings, field: str
) -> None:
    settings.PROGRAM_INTENT = {"LEARNER_LOOKUP_FIELD": field}
    rows = [make_row(learner=getattr(user, field)) for user in many]
    answer(post(as_staff, [make_row(learner=getattr(many[0], field))]), 200)  # loads the caller's permissions
    with CaptureQueriesContext(connection) as of_two:
        assert answer(post(as_staff, rows[:2]), 200)["created"] == 1
    with CaptureQueriesContext(connection) as of_all:
        assert answer(post(as_staff, rows), 200)["created"] == 98
    assert len(of_all) == len(of_two)


# As a part of the host


@pytest.mark.parametrize("url", [LATEST, RECORD])
def test_the_browsable_api_shows_the_intents(ada: User, as_ada: APIClient, url: str) -> None:
    record(ada)
    page = as_ada.get(url, HTTP_ACCEPT="text/html")
    assert page["Content-Type"].startswith("text/html")
    assert "BUNDLE_PURCHASE" in page.content.decode()


def test_options_describe_the_calls(as_ada: APIClient) -> None:
    assert answer(as_ada.options(RECORD), 200)["parses"] == [JSON, FORM, "multipart/form-data"]
    assert answer(as_ada.options(LATEST), 200)["name"] == "Latest Certain Intents"


def test_a_host_reverses_the_urls_by_name() -> None:
    assert (reverse("program_intent:record"), reverse("program_intent:latest-certain")) == (RECORD, LATEST)


@pytest.mark.parametrize("slash", ["/", ""], ids=["with", "without"])
def test_every_path_answers_with_and_without_its_last_slash(ada: User, as_staff: APIClient, slash: str) -> None:
    record(ada)
    erase_learner(User.objects.create(username="gone"))
    for url in READS:
        parameters: dict[str, Any] = (
            {"learner": ada.pk, "program_uuid": PROGRAM} if url in (RECORD, LATEST, EXPLAIN) else {}
        )
        assert answer(as_staff.get(url.removesuffix("/") + slash, parameters), 200)
    assert answer(as_staff.post(QUERY.removesuffix("/") + slash, {"learners": [ada.pk]}, format="json"), 200)
    assert answer(as_staff.post(RECORD.removesuffix("/") + slash, make_row(), format="json"), 201)


def test_a_path_with_two_slashes_or_more_behind_it_is_404(as_staff: APIClient) -> None:
    for wrong in (f"{RECORD}/", f"{LATEST}x", f"{RECORD}x"):
        assert as_staff.get(wrong).status_code == 404


def test_what_is_recorded_over_rest_is_told_in_python(ada: User, as_ada: APIClient) -> None:
    answer(post(as_ada, make_row()), 201)
    (intent,) = get_latest_certain_intents(ada).values()
    assert (intent.learner_id, str(intent.program_uuid)) == (ada.pk, PROGRAM)


def test_a_learner_name_may_need_quoting_in_the_query(as_staff: APIClient, settings: Settings) -> None:
    settings.PROGRAM_INTENT = {"LEARNER_LOOKUP_FIELD": "username"}
    user = User.objects.create(username="zoë+x&y")
    record(user)
    (intent,) = answer(as_staff.get(f"{LATEST}?learner={quote(user.username)}"), 200)
    assert intent["learner"] == user.username


CONTRARY_HOST = """
import json, django
from django.conf import settings
from django.urls import include, path

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "program_intent"],
    ROOT_URLCONF="__main__",
    SECRET_KEY="x", TIME_ZONE="Asia/Tokyo", ALLOWED_HOSTS=["testserver"],
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.BasicAuthentication"],
        "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.FileUploadParser"],
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"],
        "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.NamespaceVersioning",
        "ALLOWED_VERSIONS": ["v9"],
        "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.LimitOffsetPagination", "PAGE_SIZE": 1,
        "DEFAULT_FILTER_BACKENDS": ["rest_framework.filters.SearchFilter"], "SEARCH_PARAM": "reason",
        "ORDERING_PARAM": "limit", "VERSION_PARAM": "learner", "URL_FORMAT_OVERRIDE": "certainty",
        "DATETIME_FORMAT": "%d", "NON_FIELD_ERRORS_KEY": "x", "STRICT_JSON": False, "UNAUTHENTICATED_USER": None,
        "COMPACT_JSON": False, "UNICODE_JSON": False,
    },
)
django.setup()

from django.contrib.auth.models import User
from django.core.management import call_command
from rest_framework.test import APIClient

urlpatterns = [path("api/", include("program_intent.rest_api.urls"))]
call_command("migrate", verbosity=0)
client = APIClient()
url, row = "/api/v1/program-intents/", {row}
answers = [client.post(url, row, format="json")]
client.force_authenticate(User.objects.create(username="ada"))
answers += [client.post(url, row, format="json"), client.get(url + "latest-certain/")]
answers += [client.post(url, 5, format="json"), client.post(url, '{"reason": NaN}', content_type="application/json")]
of_program = "/api/v1/programs/" + row["program_uuid"] + "/"
reads = [url + "?limit=1&reason=BUNDLE_PURCHASE&learner=1"]
reads += [url + "explain/?learner=1&program_uuid=" + row["program_uuid"]]
reads += [url + "changes/", of_program + "latest-certain/", of_program + "counts/"]
answers += [client.get(reads[-1])]
client.force_authenticate(User.objects.create(username="root", is_superuser=True))
answers += [client.get(read) for read in reads]
answers += [client.post(url + "latest-certain/query/", {"learners": [1]}, format="json")]
# It lacks rest_framework among its apps, and so the templates of the pages for people.
answers += [client.get(reads[-1], headers={"Accept": "text/html,*/*;q=0.8"})]
answers += [client.get(reads[-1], headers={"Accept": "text/html"})]
print(json.dumps([[answer.status_code, answer.json()] for answer in answers]))
"""


def test_a_host_whose_drf_settings_differ_in_everything_gets_the_same_answers() -> None:
    """In a process of its own, because DRF reads most of its settings once."""
    script = CONTRARY_HOST.replace("{row}", repr(make_row()))
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    anonymous, recorded, told, number, not_a_number, forbidden, *reads, browser, page = json.loads(result.stdout)
    assert anonymous == [401, {"detail": "Authentication credentials were not provided."}]
    assert recorded == [201, {"id": 1, "learner": 1, **make_row(), "created": recorded[1]["created"]}]
    assert recorded[1]["created"].endswith("Z")
    assert told == [200, [recorded[1]]]
    assert number == [400, {"non_field_errors": ["Expected an object with the fields of an intent, not 5."]}]
    assert not_a_number[0] == 400
    assert forbidden == [403, {"detail": "You need the permission program_intent.view_programintent."}]
    history, explanation, changes, of_program, counts, query = (answer for status, answer in reads if status == 200)
    assert history == {"next": None, "previous": None, "results": [recorded[1]]}
    assert explanation["as_of"].endswith("Z")
    assert explanation["winner"] == recorded[1]
    assert changes["intents"] == [{**recorded[1], "learner_id": recorded[1]["learner"]}]
    assert of_program == {"next": None, "results": [recorded[1]]}
    assert counts == {"CERTAIN_YES": 1, "CERTAIN_NO": 0, "MAYBE": 0}
    assert query == [{"learner": 1, "intents": [recorded[1]]}]
    assert browser == [200, counts]
    assert page == [406, {"detail": "Could not satisfy the request Accept header."}]


@pytest.mark.parametrize("missing", ["rest_framework", "drf_spectacular"])
def test_without_the_extra_including_the_urls_is_one_error_that_names_it(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImproperlyConfigured, match=rf"{missing}.*pip install 'program-intent\[rest\]'"):
        importlib.reload(rest_api)
