"""A learner's history, and the explanation of an answer: every intent is there, each with the right verdict."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from hypothesis import given, settings
from pytest_django import DjangoAssertNumQueries

from program_intent import engines
from program_intent.api import (
    Clause,
    InvalidIntent,
    Unchosen,
    as_known_at,
    explain_latest_certain_intent,
    get_intent_history,
    get_latest_certain_intent,
    record_intent,
)
from program_intent.data import Certainty, Explanation, Intent
from program_intent.models import ProgramIntent
from tests import oracle
from tests.builders import MOMENT, PROGRAM, make_row, make_user, rolled_back, store_history, stored_intents
from tests.strategies import LEARNERS, PROGRAMS, Question, generated, questions

YES, NO, MAYBE = Certainty.CERTAIN_YES, Certainty.CERTAIN_NO, Certainty.MAYBE
HOUR = timedelta(hours=1)
LATER = MOMENT + HOUR
OUTSIDE_THE_RFC = "4a458848-f946-c657-25a7-e5df7b05272c"  # MariaDB's UUID column refuses it

pytestmark = pytest.mark.django_db


@pytest.fixture
def learner() -> Any:
    return make_user()


@pytest.fixture
def learners() -> list[Any]:
    return [make_user() for _ in range(LEARNERS)]


def store(learner: Any, *intents: dict[str, Any]) -> None:
    """Intents that were all written and true at ``MOMENT``, but for what each says otherwise."""
    store_history(ProgramIntent(**make_row(learner=learner, created=MOMENT) | intent) for intent in intents)


def store_question(learners: list[Any], question: Question) -> list[Intent]:
    store_history(ProgramIntent(**{**fields, "learner": learners[fields["learner"]]}) for fields in question.history)
    return stored_intents()


def newest_first(intents: Iterable[Intent]) -> list[Intent]:
    def place(intent: Intent) -> tuple[object, ...]:
        ages = (oracle.END - intent.effective_timestamp, oracle.END - intent.created)
        return *ages, [NO, YES, "LIKELY", MAYBE].index(intent.certainty), intent.reason

    return sorted(intents, key=place)


def reasons(intents: Iterable[Intent]) -> list[str]:
    return [intent.reason for intent in intents]


# The history


@settings(generated, max_examples=100)
@given(question=questions())
def test_the_history_is_all_that_was_known_newest_first(learners: list[Any], question: Question) -> None:
    known_at = question.known_at or oracle.END
    with rolled_back():
        stored = store_question(learners, question)
        for learner in learners:
            own = newest_first(intent for intent in stored if intent.learner_id == learner.pk)
            known = [intent for intent in own if intent.created <= known_at]
            assert get_intent_history(learner) == own
            with as_known_at(question.known_at or datetime.now(UTC)):
                assert get_intent_history(learner) == known
                for program_uuid in PROGRAMS:
                    of_program = [intent for intent in known if intent.program_uuid == program_uuid]
                    assert get_intent_history(learner, program_uuid=program_uuid) == of_program


def test_the_history_has_what_is_not_in_effect_yet(learner: Any) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    intent, _ = record_intent(learner, PROGRAM, reason="PLAN", certainty=YES, effective_timestamp=tomorrow)
    assert get_intent_history(learner) == [intent]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        pytest.param({"certainty": YES}, {"certainty": MAYBE, "effective_timestamp": LATER}, id="true-later"),
        pytest.param({"certainty": YES}, {"certainty": MAYBE, "created": LATER}, id="written-later"),
        pytest.param({"certainty": YES}, {"certainty": NO}, id="no-before-yes"),
        pytest.param({"certainty": MAYBE}, {"certainty": YES}, id="yes-before-maybe"),
        pytest.param({"reason": "A_B"}, {"reason": "A1"}, id="reason-by-code-point"),
    ],
)
def test_the_latest_to_become_true_comes_first_then_the_latest_written_then_as_in_the_rule(
    learner: Any, earlier: dict[str, Any], later: dict[str, Any]
) -> None:
    store(learner, earlier, later)
    first, second = get_intent_history(learner)
    assert {name: getattr(first, name) for name in later} == later
    assert {name: getattr(second, name) for name in earlier} == earlier


def test_a_program_is_named_by_uuid_or_text(learner: Any) -> None:
    store(learner, {"reason": "A"}, {"reason": "B", "program_uuid": PROGRAMS[0]})
    for name in (PROGRAM, str(PROGRAM).upper(), PROGRAM.hex):
        assert reasons(get_intent_history(learner, program_uuid=name)) == ["A"]


@pytest.mark.parametrize("program_uuid", [PROGRAM, UUID(OUTSIDE_THE_RFC), OUTSIDE_THE_RFC])
def test_a_program_without_intents_has_no_history_and_no_answer_to_explain(
    learner: Any, program_uuid: UUID | str
) -> None:
    assert get_intent_history(learner, program_uuid=program_uuid) == []
    explanation = explain_latest_certain_intent(learner, program_uuid)
    assert (explanation.winner, explanation.lost, explanation.not_counted) == (None, (), ())


def test_mariadb_is_not_asked_for_a_program_that_its_column_cannot_hold_because_it_would_warn(
    learner: Any, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    if engines.kind(connection).__name__ != "MariaDB":
        pytest.skip("the other databases hold every UUID")
    with django_assert_num_queries(0):
        assert get_intent_history(learner, program_uuid=OUTSIDE_THE_RFC) == []


def test_a_learner_who_does_not_exist_has_no_history() -> None:
    assert get_intent_history(2**31 - 1) == []
    assert explain_latest_certain_intent(2**31 - 1, PROGRAM).winner is None


@pytest.mark.parametrize("intents", [0, 1, 300])
def test_one_query_each_whatever_the_history(
    learner: Any, intents: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    store(learner, *({"reason": f"R{number}"} for number in range(intents)))
    with django_assert_num_queries(1):
        assert len(get_intent_history(learner)) == intents
    with django_assert_num_queries(1):
        explanation = explain_latest_certain_intent(learner, PROGRAM, as_of=LATER, known_at=LATER)
    assert len(explanation.lost) == max(intents - 1, 0)


# The explanation

IN_THE_ORDER_OF_THE_RULE = (
    Clause.CERTAIN_BEATS_MAYBE,
    Clause.LATER_EFFECTIVE,
    Clause.LATER_CREATED,
    Clause.NO_BEFORE_YES,
    Clause.FIRST_REASON,
)


@settings(generated, max_examples=150)
@given(question=questions())
def test_every_intent_has_the_verdict_of_the_rule_and_the_winner_is_the_answer(
    learners: list[Any], question: Question
) -> None:
    as_of, known_at = question.as_of, question.known_at
    with rolled_back():
        stored = store_question(learners, question)
        for learner in learners:
            chosen = oracle.latest_certain(stored, learner.pk, as_of, known_at, None)
            for program_uuid in PROGRAMS:
                winner = chosen.get(program_uuid)
                unchosen = [
                    Unchosen(intent, verdict(intent, winner, as_of, known_at))
                    for intent in newest_first(stored)
                    if (intent.learner_id, intent.program_uuid) == (learner.pk, program_uuid) and intent != winner
                ]
                lost = [each for each in unchosen if each.clause in IN_THE_ORDER_OF_THE_RULE]
                lost.sort(key=lambda each: oracle.place(each.intent))
                not_counted = [each for each in unchosen if each.clause not in IN_THE_ORDER_OF_THE_RULE]
                explanation = explain_latest_certain_intent(learner, program_uuid, as_of=as_of, known_at=known_at)
                assert explanation == Explanation(
                    learner.pk, program_uuid, as_of, known_at, winner, tuple(lost), tuple(not_counted)
                )
                answer = get_latest_certain_intent(learner, program_uuid, as_of=as_of, known_at=known_at)
                assert explanation.winner == answer


def verdict(intent: Intent, winner: Intent | None, as_of: datetime, known_at: datetime | None) -> Clause:
    """By the oracle's order: the clause that decided is the first in which the two differ."""
    if intent.created > (known_at or oracle.END):
        return Clause.NOT_YET_KNOWN
    if intent.effective_timestamp > as_of:
        return Clause.NOT_YET_EFFECTIVE
    assert winner is not None
    places = zip(IN_THE_ORDER_OF_THE_RULE, oracle.place(winner), oracle.place(intent), strict=True)
    return next(clause for clause, one, other in places if one != other)


@pytest.mark.parametrize(
    ("loser", "winner", "clause", "words"),
    [
        pytest.param(
            {"certainty": MAYBE, "effective_timestamp": LATER, "created": LATER},
            {"certainty": NO},
            Clause.CERTAIN_BEATS_MAYBE,
            "a certain intent beats MAYBE",
            id="certain-beats-maybe",
        ),
        pytest.param(
            {"certainty": NO, "created": LATER},
            {"effective_timestamp": MOMENT + timedelta(microseconds=1)},
            Clause.LATER_EFFECTIVE,
            "the winner became true later",
            id="later-effective",
        ),
        pytest.param(
            {"certainty": NO},
            {"created": LATER},
            Clause.LATER_CREATED,
            "the winner was written later",
            id="later-created",
        ),
        pytest.param(
            {"certainty": YES, "reason": "A"},
            {"certainty": NO, "reason": "B"},
            Clause.NO_BEFORE_YES,
            "CERTAIN_NO before CERTAIN_YES",
            id="no-before-yes",
        ),
        pytest.param(
            {"reason": "A_B"}, {"reason": "A1"}, Clause.FIRST_REASON, "the winner's reason is first", id="first-reason"
        ),
        pytest.param(
            {"certainty": MAYBE, "reason": "B"},
            {"certainty": MAYBE, "reason": "A"},
            Clause.FIRST_REASON,
            "the winner's reason is first",
            id="first-reason-of-two-maybes",
        ),
    ],
)
def test_a_loser_is_told_what_decided_against_it(
    learner: Any, loser: dict[str, Any], winner: dict[str, Any], clause: Clause, words: str
) -> None:
    store(learner, loser, winner)
    explanation = explain_latest_certain_intent(learner, PROGRAM)
    (lost,) = explanation.lost
    assert {name: getattr(explanation.winner, name) for name in winner} == winner
    assert {name: getattr(lost.intent, name) for name in loser} == loser
    assert (lost.clause, lost.clause.words) == (clause, words)
    assert explanation.not_counted == ()


def test_the_first_of_the_losers_would_win_if_the_winner_were_not_there(learner: Any) -> None:
    store(
        learner,
        {"reason": "WINNER", "effective_timestamp": LATER},
        {"reason": "NEWER", "certainty": MAYBE, "effective_timestamp": LATER},
        {"reason": "SURER"},
    )
    assert [each.intent.reason for each in explain_latest_certain_intent(learner, PROGRAM).lost] == [
        "SURER",
        "NEWER",
    ]


def test_each_loser_is_compared_with_the_winner_and_not_with_its_neighbour(learner: Any) -> None:
    store(
        learner,
        {"reason": "WINNER", "effective_timestamp": LATER},
        {"reason": "SECOND", "created": LATER},
        {"reason": "THIRD"},
    )
    lost = explain_latest_certain_intent(learner, PROGRAM).lost
    assert [(each.intent.reason, each.clause) for each in lost] == [
        ("SECOND", Clause.LATER_EFFECTIVE),
        ("THIRD", Clause.LATER_EFFECTIVE),
    ]


@pytest.mark.parametrize(
    ("intent", "clause"),
    [
        ({"effective_timestamp": LATER}, Clause.NOT_YET_EFFECTIVE),
        ({"created": LATER}, Clause.NOT_YET_KNOWN),
        ({"effective_timestamp": LATER, "created": LATER}, Clause.NOT_YET_KNOWN),
    ],
    ids=["future", "unknown", "both"],
)
def test_what_is_not_counted_says_why(learner: Any, intent: dict[str, Any], clause: Clause) -> None:
    store(learner, intent)
    explanation = explain_latest_certain_intent(learner, PROGRAM, as_of=MOMENT, known_at=MOMENT)
    assert (explanation.winner, explanation.lost) == (None, ())
    assert [each.clause for each in explanation.not_counted] == [clause]


def test_the_moments_are_those_that_were_asked_about(learner: Any) -> None:
    before = datetime.now(UTC)
    explanation = explain_latest_certain_intent(learner, PROGRAM)
    assert before <= explanation.as_of <= datetime.now(UTC)
    assert explanation.known_at is None
    text = "2022-04-12T10:30:00.123456+02:00"
    explanation = explain_latest_certain_intent(learner, PROGRAM, as_of=text, known_at=text)
    assert (explanation.as_of, explanation.known_at) == (MOMENT, MOMENT)


def test_an_explanation_prints_as_a_table_for_a_supporter(learner: Any) -> None:
    store(
        learner,
        {"certainty": MAYBE, "reason": "VISITED", "created": LATER},
        {"reason": "BUNDLE_PURCHASE"},
        {"effective_timestamp": MOMENT.replace(microsecond=0), "certainty": NO, "reason": "REFUNDED"},
        {"effective_timestamp": LATER + HOUR, "reason": "PLAN"},
        {"created": LATER + HOUR, "reason": "FOUND_OUT"},
    )
    explanation = explain_latest_certain_intent(learner, PROGRAM, as_of=LATER, known_at=LATER)
    assert (
        str(explanation)
        == f"""\
Learner {learner.pk}, program {PROGRAM}, as of 2022-04-12T09:30:00.123456Z, as known at 2022-04-12T09:30:00.123456Z:
verdict                       certainty    effective_timestamp          created                      reason
the answer                    CERTAIN_YES  2022-04-12T08:30:00.123456Z  2022-04-12T08:30:00.123456Z  BUNDLE_PURCHASE
the winner became true later  CERTAIN_NO   2022-04-12T08:30:00Z         2022-04-12T08:30:00.123456Z  REFUNDED
a certain intent beats MAYBE  MAYBE        2022-04-12T08:30:00.123456Z  2022-04-12T09:30:00.123456Z  VISITED
not counted: not yet true     CERTAIN_YES  2022-04-12T10:30:00.123456Z  2022-04-12T08:30:00.123456Z  PLAN
not counted: not yet known    CERTAIN_YES  2022-04-12T08:30:00.123456Z  2022-04-12T10:30:00.123456Z  FOUND_OUT"""
    )


def test_an_explanation_without_an_answer_says_so(learner: Any) -> None:
    store(learner, {"effective_timestamp": LATER})
    explanation = explain_latest_certain_intent(learner, PROGRAM, as_of=MOMENT)
    assert str(explanation).splitlines() == [
        f"Learner {learner.pk}, program {PROGRAM}, as of 2022-04-12T08:30:00.123456Z:",
        "no intent counts",
        "verdict                    certainty    effective_timestamp          created                      reason",
        "not counted: not yet true  CERTAIN_YES  2022-04-12T09:30:00.123456Z  2022-04-12T08:30:00.123456Z"
        "  BUNDLE_PURCHASE",
    ]
    nothing = str(explain_latest_certain_intent(learner, PROGRAMS[0], as_of=MOMENT))
    assert nothing.splitlines()[1:] == ["no intent counts"]


def test_a_key_of_any_characters_stays_on_its_line() -> None:
    explanation = Explanation("ada\n\x1b[2J", PROGRAM, MOMENT, None, None, (), ())
    assert str(explanation).startswith(r"Learner 'ada\n\x1b[2J', program ")


# Parameters


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("learner", "x", "Expected an integer that names a user, not 'x'."),
        ("program_uuid", "x", "Expected a UUID, with or without hyphens, not 'x'."),
        ("as_of", "2022-04-12", "Expected a time with the date, such as 2022-04-12T00:00:00Z, not '2022-04-12'."),
        ("known_at", "x", "Expected a date and time with an offset such as 2022-04-12T00:00:00Z, not 'x'."),
    ],
)
def test_a_malformed_parameter_is_refused_by_name(field: str, value: str, message: str) -> None:
    parameters: dict[str, Any] = {"learner": 1, "program_uuid": PROGRAM, field: value}
    with pytest.raises(InvalidIntent) as refused:
        explain_latest_certain_intent(**parameters)
    assert refused.value.errors == {field: [message]}
    if field in ("learner", "program_uuid"):
        with pytest.raises(InvalidIntent) as refused:
            get_intent_history(**parameters)
        assert refused.value.errors == {field: [message]}


def test_all_malformed_parameters_are_refused_together() -> None:
    with pytest.raises(InvalidIntent) as refused:
        explain_latest_certain_intent("x", "x", as_of="x", known_at="x")
    assert list(refused.value.errors) == ["learner", "program_uuid", "as_of", "known_at"]
