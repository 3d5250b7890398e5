"""Recording from Python: what is stored, what is told, and that everything is stored once."""

import copy
import json
import pickle
from collections import Counter
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import User
from django.core.exceptions import FieldDoesNotExist
from django.db import DatabaseError, connection, models, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from program_intent import api, engines, exceptions
from program_intent.api import get_latest_certain_intents, record_intent, record_intents
from program_intent.data import FIELDS, Certainty, Intent, Outcome
from program_intent.exceptions import (
    AppendOnlyError,
    ChangesError,
    InvalidIntent,
    LoadError,
    ProgramIntentError,
    SyncBusy,
)
from program_intent.models import ProgramIntent
from program_intent.store.record import record
from tests import strategies
from tests.builders import MOMENT, PROGRAM, make_row, make_user, rolled_back
from tests.rest import LATEST, client_of
from tests.strategies import generated

NOBODY = 2**31 - 1

pytestmark = pytest.mark.django_db


@pytest.fixture
def learner() -> Any:
    return make_user()


def statuses(outcomes: list[Outcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


def stored_intents() -> list[Intent]:
    fields = ("learner_id", "program_uuid", "reason", "certainty", "effective_timestamp", "created")
    rows = ProgramIntent.objects.order_by("pk")
    return [Intent(row.pk, *(getattr(row, name) for name in fields)) for row in rows]


def test_a_new_intent_is_stored_and_returned_as_it_is_stored(learner: Any) -> None:
    before = datetime.now(UTC)
    intent, created = record_intent(
        learner, PROGRAM, reason="BUNDLE_PURCHASE", certainty="CERTAIN_YES", effective_timestamp=MOMENT
    )
    assert created is True
    assert stored_intents() == [intent]
    assert before <= intent.created <= datetime.now(UTC)
    values = (learner.pk, PROGRAM, "BUNDLE_PURCHASE", Certainty.CERTAIN_YES, MOMENT, intent.created)
    assert intent == Intent(intent.id, *values)
    assert (intent.effective_timestamp.tzinfo, intent.created.tzinfo) == (UTC, UTC)


def test_an_intent_stored_already_is_returned_as_it_was_first_written(learner: Any) -> None:
    row = make_row()
    del row["learner"]
    first, _ = record_intent(learner, **row)
    again, created = record_intent(learner.pk, **row)
    assert (again, created) == (first, False)
    assert stored_intents() == [first]


@pytest.mark.parametrize(
    "again",
    [
        {"program_uuid": PROGRAM.hex.upper()},
        {"reason": " bundle_purchase "},
        {"certainty": " CERTAIN_YES"},
        {"effective_timestamp": MOMENT.astimezone(timezone(timedelta(hours=5, minutes=30)))},
        {"effective_timestamp": "2022-04-12 10:30:00.12345600 +02:00"},
        {"effective_timestamp": "2022-04-11T18:30:00.123456-1400"},
    ],
)
def test_the_same_intent_spelled_otherwise_is_a_duplicate(learner: Any, again: dict[str, Any]) -> None:
    row = make_row(learner=learner)
    other = {**row, "learner": str(learner.pk), **again}
    assert statuses(record_intents([row, other])) == ["created", "duplicate"]
    assert statuses(record_intents([other])) == ["duplicate"]
    assert len(stored_intents()) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"program_uuid": uuid4()},
        {"reason": "BUNDLE_PURCHASE_"},
        {"certainty": "CERTAIN_NO"},
        {"effective_timestamp": MOMENT + timedelta(microseconds=1)},
    ],
)
def test_an_intent_that_differs_in_one_field_is_another(learner: Any, other: dict[str, Any]) -> None:
    row = make_row(learner=learner)
    assert statuses(record_intents([row, {**row, **other}])) == ["created", "created"]
    assert statuses(record_intents([{**row, "learner": make_user()}])) == ["created"]
    assert len(stored_intents()) == 3


@pytest.mark.parametrize("missing", [{"effective_timestamp": None}, {}], ids=["None", "left out"])
def test_a_missing_time_is_now_and_the_time_of_writing(learner: Any, missing: dict[str, Any]) -> None:
    row = make_row(learner=learner)
    del row["effective_timestamp"]
    (outcome,) = record_intents([{**row, **missing}])
    assert outcome.intent is not None
    assert outcome.intent.effective_timestamp == outcome.intent.created
    assert datetime.now(UTC) - outcome.intent.created < timedelta(minutes=1)


def test_one_call_shares_one_time_of_writing(learner: Any) -> None:
    outcomes = record_intents(make_row(learner=learner, reason=f"R{number}") for number in range(5))
    assert len({outcome.intent.created for outcome in outcomes if outcome.intent}) == 1
    assert len(stored_intents()) == 5


class Student(User):
    """A user with a key of its own beside that of a user."""

    number = models.BigAutoField(primary_key=True)
    user = models.OneToOneField(User, models.CASCADE, parent_link=True)

    class Meta:
        app_label = "tests"
        managed = False


def test_an_instance_of_a_child_of_the_user_model_is_the_user_whatever_key_it_has_of_its_own(learner: Any) -> None:
    other = make_user()
    student = Student(user=learner, id=learner.pk, number=other.pk)
    intent, _ = record_intent(student, PROGRAM, reason="BUNDLE_PURCHASED", certainty="CERTAIN_YES")
    (outcome,) = record_intents([make_row(learner=student)], learner_field="username")
    assert (intent.learner_id, outcome.intent.learner_id if outcome.intent else None) == (learner.pk, learner.pk)
    assert api.get_intent_history(student) == api.get_intent_history(learner) != []
    assert [*api.get_latest_certain_intents_for_learners([student])] == [learner.pk]
    assert get_latest_certain_intents(other) == {}
    assert api.erase_learner(student).learner_id == learner.pk


@pytest.mark.parametrize("field", ["nothing", "groups", "program_intents"])
def test_a_field_of_learners_that_is_no_column_is_told_at_once(learner: Any, field: str) -> None:
    with pytest.raises(FieldDoesNotExist, match=f"has no (field|column) named '{field}'"):
        record_intents([make_row(learner=learner)], learner_field=field)


def test_rows_may_name_learners_by_another_field_and_a_user_by_any(learner: Any) -> None:
    named = [make_row(learner=value, reason=f"R{n}") for n, value in enumerate([learner.username, learner, learner.pk])]
    outcomes = record_intents(named, learner_field="username")
    assert statuses(outcomes) == ["created", "created", "rejected"]
    assert [intent.learner_id for intent in stored_intents()] == [learner.pk, learner.pk]
    assert set(outcomes[2].errors) == {"learner"}


def test_the_good_rows_are_kept_the_bad_refused_and_the_order_is_theirs(learner: Any) -> None:
    good, late = make_row(learner=learner), make_row(learner=str(learner.pk), effective_timestamp=MOMENT)
    unknown, bad = make_row(learner=NOBODY), make_row(learner=learner, reason="", certainty="SURE")
    other = make_row(learner=learner, reason="OTHER")
    outcomes = record_intents([unknown, good, bad, "no row", late, other])  # type: ignore[list-item]
    assert statuses(outcomes) == ["rejected", "created", "rejected", "rejected", "duplicate", "created"]
    assert [outcome.errors for outcome in outcomes] == [
        {"learner": ["No user is named by 2147483647."]},
        {},
        {
            "reason": ["This field is required."],
            "certainty": ["Expected one of CERTAIN_YES, CERTAIN_NO, MAYBE, not 'SURE'."],
        },
        {"non_field_errors": ["Expected an object with the fields of an intent, not 'no row'."]},
        {},
        {},
    ]
    first, second = stored_intents()
    assert [outcome.intent for outcome in outcomes] == [None, first, None, None, first, second]


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        ({"learner": NOBODY}, {"learner": ["No user is named by 2147483647."]}),
        ({"learner": -1}, {"learner": ["No user is named by -1."]}),
        ({"learner": None}, {"learner": ["This field is required."]}),
        ({"learner": True}, {"learner": ["Expected an integer that names a user, not True."]}),
        (
            {"program_uuid": "x", "effective_timestamp": "2022-04-12"},
            {
                "program_uuid": ["Expected a UUID, with or without hyphens, not 'x'."],
                "effective_timestamp": [
                    "Expected a time with the date, such as 2022-04-12T00:00:00Z, not '2022-04-12'."
                ],
            },
        ),
    ],
)
def test_one_intent_raises_where_many_would_reject(
    learner: Any, changes: dict[str, Any], errors: dict[str, list[str]]
) -> None:
    row = make_row(learner=learner) | changes
    assert record_intents([row]) == [Outcome("rejected", None, errors)]
    with pytest.raises(InvalidIntent) as refused:
        record_intent(**row)
    assert refused.value.errors == errors
    assert isinstance(refused.value, ProgramIntentError)
    assert stored_intents() == []


KNOWN = "Known: learner, program_uuid, reason, certainty, effective_timestamp."


@pytest.mark.parametrize(
    ("key", "errors"),
    [
        ("effective_time", {"effective_time": [f"Unknown. Did you mean effective_timestamp? {KNOWN}"]}),
        ("Learner", {"Learner": [f"Unknown. Did you mean learner? {KNOWN}"]}),
        ("reason\u200b", {r"reason\u200b": [f"Unknown. Did you mean reason? {KNOWN}"]}),
        ("user_id", {"user_id": [f"Unknown. {KNOWN}"]}),
        ("", {"": [f"Unknown. {KNOWN}"]}),
        ("\0\ud800", {r"\x00\ud800": [f"Unknown. {KNOWN}"]}),
        ("a" * 10**6, {"a" * 76 + "...": [f"Unknown. {KNOWN}"]}),
        (5, {"5": [f"Unknown. {KNOWN}"]}),
        (None, {"None": [f"Unknown. {KNOWN}"]}),
    ],
    ids=lambda value: ascii(value)[:20] if not isinstance(value, dict) else "",
)
def test_a_row_with_an_unknown_key_is_refused_under_its_name_with_the_nearest_key(
    learner: Any, key: Any, errors: dict[str, list[str]]
) -> None:
    good = make_row(learner=learner)
    refused, kept = record_intents([{**good, key: "x"}, good])
    assert refused == Outcome("rejected", None, errors)
    assert [kept.intent] == stored_intents()


def test_an_unknown_key_is_told_beside_refused_values_and_of_many_the_first_ten(learner: Any) -> None:
    row = {**make_row(learner=learner, certainty="YES"), **dict.fromkeys(map(str, range(100_000)))}
    (outcome,) = record_intents([row])
    assert list(outcome.errors) == ["certainty", *map(str, range(10))]


def test_no_rows_have_no_outcomes() -> None:
    assert record_intents([]) == []
    assert record_intents(iter(())) == []


def test_the_widest_values_come_back_as_they_went(learner: Any) -> None:
    rows = [
        make_row(learner=learner, reason="Z" * 64, certainty=certainty, effective_timestamp=moment)
        for certainty in Certainty
        for moment in (
            datetime(1900, 1, 1, tzinfo=UTC),
            datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
            datetime(9999, 12, 30, 23, 59, 59, 999999, tzinfo=UTC),
        )
    ]
    outcomes = record_intents(rows)
    assert statuses(outcomes) == ["created"] * 9
    by_key = {(intent.certainty, intent.effective_timestamp): intent for intent in stored_intents()}
    assert [outcome.intent for outcome in outcomes] == [
        by_key[row["certainty"], row["effective_timestamp"]] for row in rows
    ]
    assert record_intents(rows) == [Outcome("duplicate", outcome.intent) for outcome in outcomes]


@pytest.mark.parametrize("clock", ["2022-03-13T02:30", "2022-11-06T01:30"], ids=["skipped", "repeated"])
def test_the_hosts_time_zone_moves_no_time(learner: Any, clock: str) -> None:
    """TIME_ZONE is New York, where these local times do not exist or happen twice."""
    moments = [datetime.fromisoformat(f"{clock}{offset}") for offset in ("+00:00", "-04:00", "-05:00")]
    outcomes = record_intents(make_row(learner=learner, effective_timestamp=moment) for moment in moments)
    assert statuses(outcomes) == ["created"] * 3
    assert [intent.effective_timestamp for intent in stored_intents()] == moments


@generated
@given(batches=st.lists(strategies.rows(learners=3), min_size=1, max_size=3))
def test_whatever_the_batches_every_intent_is_created_once(batches: list[list[dict[str, Any]]]) -> None:
    with rolled_back():
        learners = [make_user().pk, make_user().pk, NOBODY]
        rows = [{**row, "learner": learners[row["learner"]]} for batch in batches for row in batch]
        outcomes = []
        for batch in batches:
            outcomes += record_intents({**row, "learner": learners[row["learner"]]} for row in batch)
        stored = stored_intents()

    met: set[tuple[Any, ...]] = set()
    for row, outcome in zip(rows, outcomes, strict=True):
        key = tuple(row[name] for name in FIELDS)
        known = "rejected" if row["learner"] == NOBODY else "duplicate" if key in met else "created"
        assert outcome.status == known
        met.add(key)
    assert [outcome.intent for outcome in outcomes if outcome.status == "created"] == unordered(stored, outcomes)
    assert {outcome.intent for outcome in outcomes if outcome.intent} == set(stored)


def unordered(stored: list[Intent], outcomes: list[Outcome]) -> list[Intent]:
    """The stored intents in the order of the outcomes that created them: a batch is written sorted."""
    created = {outcome.intent: place for place, outcome in enumerate(outcomes) if outcome.status == "created"}
    return sorted(stored, key=created.__getitem__)


def test_a_new_intent_takes_exactly_one_statement(learner: Any) -> None:
    with CaptureQueriesContext(connection) as queries:
        record_intent(learner, PROGRAM, reason="A", certainty="MAYBE")
    assert len(queries) == 1, queries.captured_queries


def test_a_thousand_intents_take_as_many_statements_as_two(learner: Any) -> None:
    """But for one per connection of MariaDB and MySQL, which says how long a statement may be."""
    record_intents(make_row(learner=learner, reason=f"C{number}") for number in range(1000))
    with CaptureQueriesContext(connection) as two:
        record_intents(make_row(learner=learner, reason=f"A{number}") for number in range(2))
    with CaptureQueriesContext(connection) as thousand:
        outcomes = record_intents(make_row(learner=learner, reason=f"B{number}") for number in range(1000))
    assert Counter(statuses(outcomes)) == {"created": 1000}
    assert len(thousand) == len(two), thousand.captured_queries


def test_what_is_refused_touches_no_database(learner: Any) -> None:
    with CaptureQueriesContext(connection) as queries:
        record_intents([make_row(learner=learner, reason=""), make_row(learner=2**70)])
    assert len(queries) == 0, queries.captured_queries


def test_a_batch_larger_than_one_statement_is_written_whole(learner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines.kind(connection), "CHUNK", 3)
    rows = [make_row(learner=learner, reason=f"R{number % 8}") for number in range(10)]
    outcomes = record_intents(rows)
    assert statuses(outcomes) == ["created"] * 8 + ["duplicate"] * 2
    assert {outcome.intent for outcome in outcomes} == set(stored_intents())
    assert len({intent.created for intent in stored_intents()}) == 1


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(make_row(learner=NOBODY), id="unknown learner"),
        pytest.param(make_row(learner="x"), id="bad value"),
        pytest.param(make_row(learner=2**63), id="no such integer"),
    ],
)
@pytest.mark.django_db(transaction=True)
def test_a_refused_row_never_breaks_the_callers_transaction(row: dict[str, Any]) -> None:
    with transaction.atomic():
        learner = make_user()
        assert statuses(record_intents([row, make_row(learner=learner)])) == ["rejected", "created"]
        with pytest.raises(InvalidIntent):
            record_intent(**row)
        assert statuses(record_intents([make_row(learner=learner), row])) == ["duplicate", "rejected"]
        assert statuses(record_intents([make_row(learner=learner)])) == ["duplicate"]
        other = make_user()
    assert statuses(record_intents([make_row(learner=other)])) == ["created"]
    assert len(stored_intents()) == 2


@pytest.mark.django_db(transaction=True)
def test_what_the_caller_rolls_back_is_not_stored(learner: Any) -> None:
    with transaction.atomic():
        record_intent(**make_row(learner=learner))
        transaction.set_rollback(True)
    assert stored_intents() == []
    assert record_intent(**make_row(learner=learner))[1] is True


@pytest.mark.django_db(transaction=True)
def test_a_call_that_fails_midway_leaves_nothing_behind(learner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = engines.kind(connection)
    insert, inserts = kind.insert, iter(range(1, 3))

    def fail_on_the_second(*arguments: Any) -> Any:
        if next(inserts) == 2:
            raise DatabaseError("gone")
        return insert(*arguments)

    monkeypatch.setattr(kind, "CHUNK", 2)
    monkeypatch.setattr(kind, "insert", fail_on_the_second)
    with pytest.raises(DatabaseError, match="gone"):
        record_intents(make_row(learner=learner, reason=f"R{number}") for number in range(4))
    assert stored_intents() == []


def test_a_learner_deleted_since_is_unknown_and_has_no_intents(learner: Any) -> None:
    row = make_row(learner=learner.pk)
    record_intents([row])
    learner.delete()
    assert record_intents([row])[0].errors == {"learner": [f"No user is named by {row['learner']}."]}
    assert get_latest_certain_intents(row["learner"]) == {}


def test_the_values_that_cross_the_api_are_frozen(learner: Any) -> None:
    (outcome,) = record_intents([make_row(learner=learner)])
    for value, name in ((outcome, "status"), (outcome.intent, "reason")):
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, "CHANGED")
    assert pickle.loads(pickle.dumps(outcome)) == outcome


ERRORS = [
    ProgramIntentError("one", 2),
    InvalidIntent({"reason": ["This field is required."], "learner": ["No user.", "None."]}),
    AppendOnlyError("update()"),
    ChangesError("Changes cannot be followed on oracle."),
    LoadError("a.csv: is empty."),
    SyncBusy("reports: another run is at work; --take-over ends it."),
]


def pickled(protocol: int, error: Exception) -> Any:
    return pickle.loads(pickle.dumps(error, protocol))


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle protocol {each}": partial(pickled, each) for each in range(pickle.HIGHEST_PROTOCOL + 1)},
    "args, as Celery's JSON does": lambda error: type(error)(*json.loads(json.dumps(error.args))),
}


def test_there_is_an_error_of_each_class() -> None:
    classes = [each for each in vars(exceptions).values() if isinstance(each, type) and issubclass(each, Exception)]
    assert [type(error) for error in ERRORS] == classes


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_survives_copy_and_pickle_whole(error: Exception, duplicate: Callable[[Any], Any]) -> None:
    copied = duplicate(error)
    assert (type(copied), str(copied), copied.args) == (type(error), str(error), error.args)
    assert vars(copied) == vars(error)


@pytest.mark.parametrize("duplicate", [*COPIES.values()][:-1], ids=[*COPIES][:-1])
def test_what_a_host_adds_to_an_error_survives_too(duplicate: Callable[[Any], Any]) -> None:
    for error in (InvalidIntent({"reason": ["Bad."]}), AppendOnlyError("update()")):
        error.add_note("row 5")
        assert duplicate(error).__notes__ == ["row 5"]


def test_the_messages_of_errors_say_what_was_refused() -> None:
    assert [str(error) for error in ERRORS[1:3]] == [
        "reason: This field is required.; learner: No user. None.",
        "update() is refused. Intents are never modified or deleted: "
        "record a new intent with program_intent.api.record_intent.",
    ]


def test_an_intent_as_a_dictionary_is_ready_for_json_without_a_query(learner: Any) -> None:
    intent, _ = record_intent(**make_row(learner=learner))
    with CaptureQueriesContext(connection) as queries:
        told = intent.as_dict()
    assert len(queries) == 0
    assert json.loads(json.dumps(told)) == told
    assert tuple(told) == Intent.__match_args__
    assert told == {
        "id": intent.id,
        "learner_id": learner.pk,
        "program_uuid": "51032e48-04ca-5d43-901a-80cd294a21e1",
        "reason": "BUNDLE_PURCHASE",
        "certainty": "CERTAIN_YES",
        "effective_timestamp": "2022-04-12T08:30:00.123456Z",
        "created": intent.created.isoformat().replace("+00:00", "Z"),
    }
    assert type(told["certainty"]) is str


@pytest.mark.parametrize(
    ("key", "told"),
    [
        (7, 7),
        ("ada", "ada"),
        (UUID(int=1), str(UUID(int=1))),
        (Decimal("1.50"), "1.50"),
        (Decimal("1E+2"), "100"),
        (MOMENT.date(), "2022-04-12"),
        (MOMENT.time(), "08:30:00.123456"),
        (MOMENT.astimezone(timezone(timedelta(hours=2))), "2022-04-12T08:30:00.123456Z"),
    ],
)
def test_an_intent_as_a_dictionary_has_a_key_of_any_type(key: Any, told: object) -> None:
    intent = Intent(1, key, PROGRAM, "VISITED", Certainty.MAYBE, MOMENT, MOMENT)
    assert intent.as_dict()["learner_id"] == told


def test_an_intent_tells_its_times_as_rest_does(learner: Any) -> None:
    for number in (0, 5, 120_000):
        intent, _ = record_intent(**make_row(learner=learner, effective_timestamp=MOMENT.replace(microsecond=number)))
        (answered,) = client_of(learner).get(LATEST).json()
        told = intent.as_dict()
        for name in ("effective_timestamp", "created"):
            assert answered[name] == told[name]


@pytest.mark.parametrize("name", api.__all__)
def test_every_public_name_is_there_and_explained(name: str) -> None:
    assert getattr(api, name).__doc__


def by_learner_field(field: str, name: Callable[[Any], Any]) -> Any:
    return pytest.param(field, name, id=field)


@pytest.mark.parametrize(
    ("field", "name"),
    [
        by_learner_field("pk", lambda user: user.pk),
        by_learner_field("id", lambda user: str(user.pk)),
        by_learner_field("username", lambda user: user.username),
    ],
)
def test_files_and_rest_name_a_learner_by_a_field_of_their_own(field: str, name: Callable[[Any], Any]) -> None:
    learner, other = make_user(username="ada"), make_user(username="Grace")
    rows = [make_row(learner=name(learner)), make_row(learner=other), make_row(learner=name(learner))]
    outcomes = record(rows, learner_field=field)
    assert statuses(outcomes) == ["created", "created", "duplicate"]
    assert [outcome.intent.learner_id for outcome in outcomes if outcome.intent] == [
        learner.pk,
        other.pk,
        learner.pk,
    ]


@pytest.mark.parametrize("name", ["ADA", "Ada", "ada ", " ada", "ad\u00e1", "a", "ada\0", "ada' OR 1=1 --", ""])
def test_a_learner_is_matched_exactly_not_as_a_collation_would(name: str) -> None:
    make_user(username="ada")
    (outcome,) = record([make_row(learner=name)], learner_field="username")
    assert outcome.status == "rejected"
    assert set(outcome.errors) == {"learner"}
    assert stored_intents() == []


def test_an_async_view_records_and_asks_in_the_database_of_its_request() -> None:
    learner = make_user()

    async def view() -> tuple[bool, list[UUID]]:
        _, is_new = await sync_to_async(record_intent)(**make_row(learner=learner))
        return is_new, list(await sync_to_async(get_latest_certain_intents)(learner))

    assert async_to_sync(view)() == (True, [PROGRAM])
