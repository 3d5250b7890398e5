"""The rule: what counts, and which of the intents that count is the answer."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from hypothesis import given, settings
from pytest_django import DjangoAssertNumQueries

from program_intent import api, engines
from program_intent.api import get_latest_certain_intent, get_latest_certain_intents, record_intent
from program_intent.data import Certainty, Intent
from program_intent.engines.generic import Generic
from program_intent.exceptions import InvalidIntent
from program_intent.models import ProgramIntent
from tests import oracle
from tests.builders import MOMENT, PROGRAM, make_intent, make_row, make_user, rolled_back, store_history
from tests.strategies import LEARNERS, PROGRAMS, Question, generated, questions

YES, NO, MAYBE = Certainty.CERTAIN_YES, Certainty.CERTAIN_NO, Certainty.MAYBE
HOUR = timedelta(hours=1)

pytestmark = pytest.mark.django_db


@pytest.fixture
def learner() -> Any:
    return make_user()


@pytest.fixture
def learners() -> list[Any]:
    return [make_user() for _ in range(LEARNERS)]


def as_value(intent: ProgramIntent) -> Intent:
    fields = ("program_uuid", "reason", "certainty", "effective_timestamp", "created")
    return Intent(intent.pk, intent.learner_id, *(getattr(intent, name) for name in fields))


@pytest.fixture(params=["at once", "long", "orm"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A short history is fetched at once, of a long one the candidates; the ORM serves databases without statements."""
    if request.param == "long":
        monkeypatch.setattr(engines.kind(connection), "SHORT", -1)
    elif request.param == "orm":
        monkeypatch.setattr(engines, "kind", lambda connection: Generic)
    return str(request.param)


@pytest.mark.usefixtures("way")
@settings(generated, max_examples=100)
@given(question=questions())
def test_every_engine_gives_the_answer_of_the_ten_line_rule(learners: list[Any], question: Question) -> None:
    state = (question.as_of, question.known_at, question.program_uuids)
    with rolled_back():
        store_history(
            ProgramIntent(**{**fields, "learner": learners[fields["learner"]]}) for fields in question.history
        )
        stored = list(map(as_value, ProgramIntent.objects.all()))
        answers = [ask(user, *state) for user in learners]

    expected = [oracle.latest_certain(stored, user.pk, *state) for user in learners]
    assert len(stored) == len(question.history)
    assert answers == expected


def ask(
    learner: Any, as_of: datetime, known_at: datetime | None, program_uuids: Collection[UUID] | None
) -> dict[UUID, Intent]:
    return get_latest_certain_intents(learner, program_uuids=program_uuids, as_of=as_of, known_at=known_at)


@pytest.mark.parametrize(
    ("loser", "winner"),
    [
        pytest.param({"certainty": MAYBE, "effective_timestamp": MOMENT + HOUR}, {"certainty": NO}, id="certain-no"),
        pytest.param({"certainty": MAYBE, "effective_timestamp": MOMENT + HOUR}, {"certainty": YES}, id="certain-yes"),
        pytest.param({"certainty": NO}, {"effective_timestamp": MOMENT + timedelta(microseconds=1)}, id="later"),
        pytest.param(
            {"certainty": NO, "effective_timestamp": MOMENT.replace(microsecond=0)},
            {"effective_timestamp": MOMENT.replace(microsecond=1)},
            id="later-than-a-whole-second",
        ),
        pytest.param({"certainty": NO, "created": MOMENT}, {"created": MOMENT + HOUR}, id="written-later"),
        pytest.param({"certainty": YES, "reason": "A"}, {"certainty": NO, "reason": "B"}, id="no-before-yes"),
        pytest.param({"reason": "A_B"}, {"reason": "A1"}, id="digit-before-underscore"),
        pytest.param({"reason": "A_B"}, {"reason": "AB"}, id="letter-before-underscore"),
        pytest.param({"reason": "AB"}, {"reason": "A"}, id="shorter"),
    ],
)
@pytest.mark.parametrize("winner_arrives", ["first", "last"])
def test_the_rule_step_by_step_whatever_the_order_of_arrival(
    learner: Any, loser: dict[str, Any], winner: dict[str, Any], winner_arrives: str
) -> None:
    intents = [ProgramIntent(**make_row(learner=learner, created=MOMENT) | each) for each in (loser, winner)]
    store_history(reversed(intents) if winner_arrives == "first" else intents)
    chosen = get_latest_certain_intents(learner)[PROGRAM]
    assert {name: getattr(chosen, name) for name in winner} == winner


def test_reasons_sort_by_code_point_where_the_hosts_own_texts_sort_otherwise() -> None:
    """The servers' databases are created with collations that hosts have, by which "A_B" comes before "A1"."""
    for name in ("A_B", "A1"):
        record_intent(**make_row(learner=make_user(username=name), reason=name))
    reasons = ProgramIntent.objects.order_by("reason").values_list("reason", flat=True)
    names = get_user_model().objects.order_by("username").values_list("username", flat=True)
    assert list(reasons) == ["A1", "A_B"]
    assert list(names) == (["A1", "A_B"] if connection.vendor == "sqlite" else ["A_B", "A1"])


def test_an_intent_dated_in_the_future_is_stored_and_invisible_until_its_time_comes(learner: Any) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    intent, created = record_intent(learner, PROGRAM, reason="PLAN", certainty=YES, effective_timestamp=tomorrow)
    assert created
    assert get_latest_certain_intents(learner) == {}
    assert get_latest_certain_intents(learner, as_of=tomorrow - timedelta(microseconds=1)) == {}
    assert get_latest_certain_intents(learner, as_of=tomorrow) == {PROGRAM: intent}


def test_known_at_answers_as_it_would_have_been_answered_then(learner: Any) -> None:
    before, _ = record_intent(learner, PROGRAM, reason="A", certainty=YES, effective_timestamp=MOMENT)
    after, _ = record_intent(learner, PROGRAM, reason="B", certainty=NO, effective_timestamp=MOMENT + HOUR)
    assert before.created < after.created
    assert get_latest_certain_intents(learner) == {PROGRAM: after}
    assert get_latest_certain_intents(learner, known_at=before.created) == {PROGRAM: before}
    assert get_latest_certain_intents(learner, known_at=before.created - timedelta(microseconds=1)) == {}


def test_the_answer_is_ordered_by_program(learner: Any) -> None:
    programs = [uuid4() for _ in range(20)]
    for program_uuid in programs:
        record_intent(learner, program_uuid, reason="A", certainty=YES)
    assert list(get_latest_certain_intents(learner)) == sorted(programs)


def test_only_the_programs_asked_for_are_answered(learner: Any) -> None:
    intents = {program: record_intent(learner, program, reason="A", certainty=YES)[0] for program in PROGRAMS}
    first, second, _ = PROGRAMS
    as_text: list[UUID | str] = [str(first).upper(), second.hex, second]
    assert get_latest_certain_intents(learner, program_uuids=as_text) == {
        first: intents[first],
        second: intents[second],
    }
    assert get_latest_certain_intents(learner, program_uuids=[PROGRAM]) == {}
    assert get_latest_certain_intents(learner, program_uuids=[]) == {}


def test_one_program_is_answered_with_its_intent_or_none(learner: Any) -> None:
    intent, _ = record_intent(learner, PROGRAM, reason="A", certainty=MAYBE)
    assert get_latest_certain_intent(learner, str(PROGRAM)) == intent
    assert get_latest_certain_intent(learner.pk, PROGRAM, known_at=intent.created) == intent
    assert get_latest_certain_intent(learner, PROGRAM, as_of="2000-01-01T00:00:00Z") is None
    assert get_latest_certain_intent(learner, PROGRAMS[0]) is None


def test_a_moment_is_the_same_in_any_offset(learner: Any) -> None:
    intent = as_value(make_intent(learner=learner, effective_timestamp=MOMENT))
    elsewhere = MOMENT.astimezone(timezone(timedelta(hours=14)))
    assert get_latest_certain_intents(learner, as_of=elsewhere) == {PROGRAM: intent}
    assert get_latest_certain_intents(learner, as_of=elsewhere.isoformat()) == {PROGRAM: intent}
    assert get_latest_certain_intents(learner, as_of=elsewhere - timedelta(microseconds=1)) == {}


def test_what_is_answered_is_what_was_recorded_in_utc(learner: Any) -> None:
    local = datetime(2022, 7, 1, 12, tzinfo=timezone(timedelta(hours=-4)))
    intent, _ = record_intent(learner, PROGRAM, reason="A", certainty=YES, effective_timestamp=local)
    answer = get_latest_certain_intents(learner)[PROGRAM]
    assert answer == intent
    assert (answer.effective_timestamp.tzinfo, answer.created.tzinfo) == (UTC, UTC)
    assert type(answer.certainty) is Certainty


def test_learner_0_has_no_intents_also_where_the_database_counts_from_1() -> None:
    assert get_latest_certain_intents(0) == {}
    assert api.get_latest_certain_intents_for_learners([0]) == {0: {}}
    assert list(api.iter_latest_certain_intents_for_program(PROGRAM, after=0)) == []
    assert api.get_intent_history(0) == []


def test_a_learner_who_does_not_exist_has_no_intents() -> None:
    assert get_latest_certain_intents(2**31 - 1) == {}


@pytest.mark.parametrize("intents", [0, 1, 128, 129, 300])
def test_one_query_for_up_to_128_intents_and_two_beyond(
    learner: Any, intents: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    store_history(
        ProgramIntent(
            **make_row(learner=learner, program_uuid=PROGRAMS[number % 3], reason=f"R{number}"), created=MOMENT
        )
        for number in range(intents)
    )
    # SQLite is in the same process: there its long way is the faster one for any history.
    with django_assert_num_queries(2 if intents > 128 and connection.vendor != "sqlite" else 1):
        answer = get_latest_certain_intents(learner, program_uuids=PROGRAMS, known_at=MOMENT)
    assert len(answer) == min(intents, 3)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("learner", "x", "Expected an integer that names a user, not 'x'."),
        ("program_uuids", ["x"], "Expected a UUID, with or without hyphens, not 'x'."),
        ("program_uuids", str(PROGRAM), "Expected a list of UUIDs, not one text."),
        ("as_of", "x", "Expected a date and time with an offset such as 2022-04-12T00:00:00Z, not 'x'."),
        (
            "known_at",
            datetime(2022, 4, 12),  # noqa: DTZ001
            "Expected a time with a UTC offset, such as 2022-04-12T00:00:00Z, "
            "not datetime.datetime(2022, 4, 12, 0, 0).",
        ),
    ],
)
def test_a_malformed_parameter_is_refused_by_name(field: str, value: Any, message: str) -> None:
    with pytest.raises(InvalidIntent) as refused:
        get_latest_certain_intents(**{"learner": 1, field: value})
    assert refused.value.errors == {field: [message]}


def test_a_program_that_the_database_cannot_hold_has_no_intents(learner: Any) -> None:
    outside_the_rfc = "4a458848-f946-c657-25a7-e5df7b05272c"  # MariaDB's UUID column refuses it
    assert get_latest_certain_intents(learner, program_uuids=[outside_the_rfc]) == {}
