"""A state of knowledge: every read answers from what had been written by then, and never answers otherwise again."""

import asyncio
import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import datetime, timedelta
from threading import Event
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import User
from django.db import connections, transaction
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from program_intent.api import (
    Clause,
    Explanation,
    Intent,
    InvalidIntent,
    as_known_at,
    count_latest_certain_intents_for_program,
    count_latest_certain_intents_for_programs,
    explain_latest_certain_intent,
    get_intent_changes,
    get_intent_history,
    get_latest_certain_intent,
    get_latest_certain_intents,
    get_latest_certain_intents_for_learners,
    iter_latest_certain_intents_for_program,
    record_intent,
    record_intents,
)
from program_intent.data import FIELDS
from program_intent.models import ProgramIntent
from program_intent.models.intent import engine_of
from program_intent.validation.judge import NewIntent
from tests.builders import MOMENT, make_row, make_user, rolled_back, spelled, store_history, write_batch
from tests.strategies import LEARNERS, PROGRAMS, Question, generated, questions

HOUR = timedelta(hours=1)
PROGRAM = PROGRAMS[0]
FIRST, SECOND, THIRD = MOMENT, MOMENT + HOUR, MOMENT + 2 * HOUR
WAIT = 60

pytestmark = pytest.mark.django_db


@pytest.fixture
def learner() -> Any:
    """Of one intent a moment, each written and true at it: A, then B, then C."""
    return learner_with_three_intents()


def row_of(learner: Any, **changes: Any) -> dict[str, Any]:
    return make_row(learner=learner, program_uuid=PROGRAM, **changes)


def learner_with_three_intents() -> Any:
    learner = make_user()
    store_history(
        ProgramIntent(**row_of(learner, reason=reason, effective_timestamp=moment), created=moment)
        for reason, moment in {"A": FIRST, "B": SECOND, "C": THIRD}.items()
    )
    return learner


@pytest.fixture
def learners() -> list[Any]:
    return [make_user() for _ in range(LEARNERS)]


def follow(known: int) -> list[Intent]:
    """The changes of which so many are known, and what else comes; while others write, a call may hold some back."""
    deadline = time.monotonic() + WAIT
    intents: list[Intent] = []
    page = get_intent_changes()
    while page.intents or (len(intents) < known and time.monotonic() < deadline):
        intents += page.intents
        page = get_intent_changes(after=page.cursor)
    return intents


Read = Callable[[Any], Iterable[Intent | None]]
# The newest intent that each read knows of, or none.
READS: dict[str, Read] = {
    "latest of all programs": lambda learner: get_latest_certain_intents(learner).values(),
    "latest of one program": lambda learner: [get_latest_certain_intent(learner, PROGRAM)],
    "latest of many learners": lambda learner: get_latest_certain_intents_for_learners([learner])[learner.pk].values(),
    "learners of a program": lambda learner: iter_latest_certain_intents_for_program(PROGRAM),
    "explanation": lambda learner: [explain_latest_certain_intent(learner, PROGRAM).winner],
    "history": lambda learner: get_intent_history(learner)[:1],
}


@pytest.fixture(params=READS)
def read(request: pytest.FixtureRequest) -> Read:
    return READS[request.param]


def reasons(intents: Iterable[Intent | None]) -> list[str]:
    return [intent.reason for intent in intents if intent]


def latest(learner: Any, known_at: datetime | None = None) -> str | None:
    """The reason of the answer."""
    intent = get_latest_certain_intent(learner, PROGRAM, known_at=known_at)
    return intent.reason if intent else None


# What the block means


def test_within_the_block_every_read_answers_from_what_was_written_by_then(learner: Any, read: Read) -> None:
    with as_known_at(SECOND):
        assert reasons(read(learner)) == ["B"]
    with as_known_at(SECOND - timedelta(microseconds=1)):
        assert reasons(read(learner)) == ["A"]
    with as_known_at(FIRST - timedelta(microseconds=1)):
        assert reasons(read(learner)) == []
    assert reasons(read(learner)) == ["C"]


def test_within_the_block_only_learners_known_by_then_are_counted(learner: Any) -> None:
    with as_known_at(FIRST):
        assert sum(count_latest_certain_intents_for_program(PROGRAM).values()) == 1
        assert list(count_latest_certain_intents_for_programs()) == [PROGRAM]
    with as_known_at(FIRST - timedelta(microseconds=1)):
        assert sum(count_latest_certain_intents_for_program(PROGRAM).values()) == 0
        assert list(count_latest_certain_intents_for_programs()) == []


def test_the_block_is_the_same_as_known_at_given_to_each_call(learner: Any) -> None:
    with as_known_at(SECOND):
        inside = answers([learner], as_of=THIRD)
    assert inside == answers([learner], as_of=THIRD, known_at=SECOND)


def test_the_history_ends_where_knowledge_ended(learner: Any) -> None:
    with as_known_at(SECOND):
        assert reasons(get_intent_history(learner)) == ["B", "A"]


@pytest.mark.usefixtures("learner")
@pytest.mark.parametrize(
    ("moment", "known"), [(FIRST - timedelta(microseconds=1), []), (FIRST, ["A"]), (SECOND, ["A", "B"])]
)
def test_the_changes_end_where_knowledge_ended(moment: datetime, known: list[str]) -> None:
    with as_known_at(moment):
        assert reasons(follow(len(known))) == known


def test_the_explanation_names_what_was_not_known_yet(learner: Any) -> None:
    with as_known_at(SECOND):
        explanation = explain_latest_certain_intent(learner, PROGRAM)
    assert explanation.known_at == SECOND
    assert [(judged.intent.reason, judged.clause) for judged in explanation.not_counted] == [
        ("C", Clause.NOT_YET_KNOWN)
    ]


def test_the_block_goes_with_as_of(learner: Any) -> None:
    with as_known_at(THIRD):
        assert reasons([get_latest_certain_intent(learner, PROGRAM, as_of=SECOND)]) == ["B"]


@pytest.mark.parametrize("inner", [SECOND, THIRD])
@pytest.mark.parametrize("outer", [FIRST, SECOND, THIRD])
def test_of_two_blocks_the_earlier_moment_counts_and_the_outer_one_comes_back(
    learner: Any, outer: datetime, inner: datetime
) -> None:
    known = {FIRST: "A", SECOND: "B", THIRD: "C"}
    with as_known_at(outer):
        with as_known_at(inner):
            assert latest(learner) == known[min(outer, inner)]
        assert latest(learner) == known[outer]
    assert latest(learner) == "C"


@pytest.mark.parametrize(("known_at", "reason"), [(FIRST, "A"), (SECOND, "B"), (THIRD, "B"), (None, "B")])
def test_a_known_at_given_within_the_block_can_only_go_further_back(
    learner: Any, known_at: datetime | None, reason: str
) -> None:
    with as_known_at(SECOND):
        answer = get_latest_certain_intent(learner, PROGRAM, known_at=known_at)
        explanation = explain_latest_certain_intent(learner, PROGRAM, known_at=known_at)
    assert reasons([answer]) == [reason]
    assert explanation.winner == answer
    assert explanation.known_at == min(known_at or SECOND, SECOND)


def test_an_exception_ends_the_block_like_any_end(learner: Any) -> None:
    with pytest.raises(ZeroDivisionError), as_known_at(THIRD), as_known_at(FIRST):
        raise ZeroDivisionError
    assert latest(learner) == "C"


def test_a_text_with_an_offset_is_a_moment(learner: Any) -> None:
    with as_known_at("2022-04-12T11:30:00.123456+02:00"):
        assert latest(learner) == "B"


@pytest.mark.parametrize(
    ("moment", "message"),
    [
        ("yesterday", "Expected a date and time with an offset such as 2022-04-12T00:00:00Z, not 'yesterday'."),
        ("2022-04-12", "Expected a time with the date, such as 2022-04-12T00:00:00Z, not '2022-04-12'."),
        (
            "2022-04-12T00:00:00",
            "Expected a time with a UTC offset, such as 2022-04-12T00:00:00Z, not '2022-04-12T00:00:00'.",
        ),
        (None, "Expected a date and time with an offset such as 2022-04-12T00:00:00Z, not None."),
    ],
)
def test_what_is_no_moment_is_refused_and_the_block_is_not_entered(moment: Any, message: str) -> None:
    with pytest.raises(InvalidIntent) as refused, as_known_at(moment):
        raise AssertionError("entered")
    assert refused.value.errors == {"known_at": [message]}


def test_writing_within_the_block_is_writing_today(learner: Any) -> None:
    row = row_of(learner, reason="D", effective_timestamp=THIRD + HOUR)
    with as_known_at(SECOND):
        intent, created = record_intent(**row)
        assert created
        assert record_intent(**row) == (intent, False)
        assert latest(learner) == "B"
    assert latest(learner) == "D"


# Iterators, threads and tasks


@pytest.fixture
def one_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("program_intent.read.program.PAGE", 1)


@pytest.mark.usefixtures("one_a_page")
def test_an_iterator_keeps_the_state_that_it_was_created_in() -> None:
    for _ in range(3):
        learner_with_three_intents()
    with as_known_at(FIRST):
        made_inside = iter_latest_certain_intents_for_program(PROGRAM)
        assert next(made_inside).reason == "A"
    made_outside = iter_latest_certain_intents_for_program(PROGRAM)
    assert reasons(made_inside) == ["A", "A"]
    with as_known_at(FIRST):
        assert reasons(made_outside) == ["C", "C", "C"]


def test_blocks_that_end_in_another_order_than_they_began_leave_nothing_behind(learner: Any) -> None:
    def knowing(moment: datetime) -> Generator[None]:
        with as_known_at(moment):
            yield

    first, third = knowing(FIRST), knowing(THIRD)
    next(first)
    next(third)
    assert latest(learner) == "A"
    first.close()
    assert latest(learner) == latest(learner, known_at=THIRD)
    third.close()
    assert latest(learner) == "C"
    in_another_context = knowing(FIRST)
    copy_context().run(next, in_another_context)
    in_another_context.close()
    assert latest(learner) == "C"


@pytest.mark.django_db(transaction=True)
def test_a_block_holds_in_its_own_thread_alone() -> None:
    learner = learner_with_three_intents()

    def read() -> str | None:
        try:
            return latest(learner)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        with as_known_at(FIRST):
            assert latest(learner) == "A"
            assert pool.submit(read).result(WAIT) == "C"
            assert pool.submit(copy_context().run, read).result(WAIT) == "A"
        assert pool.submit(read).result(WAIT) == "C"


def test_tasks_at_the_same_time_have_each_their_own_block(learner: Any) -> None:
    """And what a task hands to :func:`sync_to_async`, as Django's async views do, has the task's."""

    async def read_at(moment: datetime, entered: asyncio.Event, other: asyncio.Event) -> str | None:
        with as_known_at(moment):
            entered.set()
            await other.wait()
            return await sync_to_async(latest)(learner)

    async def read_all() -> list[str | None]:
        first, second = asyncio.Event(), asyncio.Event()
        inside = await asyncio.gather(read_at(FIRST, first, second), read_at(SECOND, second, first))
        return [*inside, await sync_to_async(latest)(learner)]

    assert async_to_sync(read_all)() == ["A", "B", "C"]


# What was answered stays


def answers(learners: list[Any], *, as_of: datetime, known_at: datetime | None = None) -> dict[str, Any]:
    """What every read that takes these two says of the learners and programs."""
    moments: dict[str, Any] = {"as_of": as_of, "known_at": known_at}
    pairs = [(learner, program_uuid) for learner in learners for program_uuid in PROGRAMS]
    return {
        "latest": [get_latest_certain_intents(learner, **moments) for learner in learners],
        "one": [get_latest_certain_intent(*pair, **moments) for pair in pairs],
        "explanations": [settled(explain_latest_certain_intent(*pair, **moments)) for pair in pairs],
        "many": get_latest_certain_intents_for_learners(learners, program_uuids=PROGRAMS, **moments),
        "iterated": [list(iter_latest_certain_intents_for_program(each, **moments)) for each in PROGRAMS],
        "counts": [count_latest_certain_intents_for_program(each, **moments) for each in PROGRAMS],
        "counts of these": count_latest_certain_intents_for_programs(PROGRAMS, **moments),
        "counts of all": count_latest_certain_intents_for_programs(**moments),
    }


def settled(explanation: Explanation) -> tuple[Any, ...]:
    """Without what was written after the moment, which an explanation lists and which grows."""
    known = [judged for judged in explanation.not_counted if judged.clause is not Clause.NOT_YET_KNOWN]
    return explanation.winner, explanation.lost, known


def answers_of_the_block(learners: list[Any], *, as_of: datetime, known_at: datetime) -> dict[str, Any]:
    known = ProgramIntent.objects.filter(created__lte=known_at).count()
    with as_known_at(known_at):
        return answers(learners, as_of=as_of) | {
            "histories": [get_intent_history(learner) for learner in learners],
            "changes": follow(known),
        }


def record(rows: list[dict[str, Any]]) -> None:
    written = record_intents({name: row[name] for name in FIELDS} for row in rows)
    assert {outcome.status for outcome in written} <= {"created", "duplicate"}


def load(rows: list[dict[str, Any]]) -> None:
    distinct = {NewIntent(*(row["learner"].pk, *(row[name] for name in FIELDS[1:]))) for row in rows}
    _new, unknown = write_batch(spelled(engine_of("default").speller(), distinct) if distinct else [], "default")
    assert unknown == set()


@settings(generated, max_examples=60)
@given(question=questions(), batches=st.lists(st.tuples(st.sampled_from([record, load]), questions()), max_size=3))
def test_with_both_moments_in_the_past_no_answer_ever_changes_whatever_is_written(
    learners: list[Any], question: Question, batches: list[tuple[Callable[[list[dict[str, Any]]], None], Question]]
) -> None:
    """Not even where the answer was given just before the writing; ``as_of`` and true times are any in the past."""
    with rolled_back():
        store_history(
            ProgramIntent(**{**fields, "learner": learners[fields["learner"]]}) for fields in question.history
        )
        moments = {"as_of": question.as_of, "known_at": question.known_at or timezone.now()}
        given = answers(learners, **moments)
        given_in_block = answers_of_the_block(learners, **moments)
        for write, more in batches:
            write([{**fields, "learner": learners[fields["learner"]]} for fields in more.history])
        assert answers(learners, **moments) == given
        assert answers_of_the_block(learners, **moments) == given_in_block
    assert {name: given_in_block[name] for name in given} == given


def test_what_is_written_later_changes_todays_answers_and_not_those_of_the_past(learner: Any) -> None:
    moments = {"as_of": timezone.now(), "known_at": timezone.now()}
    given = answers_of_the_block([learner], **moments)
    new = make_user()
    for write, reason in ((record, "RECORDED"), (load, "LOADED")):
        write(
            [
                row_of(each, reason=reason, certainty=certainty, effective_timestamp=THIRD + HOUR)
                for each in (learner, new)
                for certainty in ("CERTAIN_NO", "CERTAIN_YES")
            ]
        )
        today = answers_of_the_block([learner], as_of=timezone.now(), known_at=timezone.now())
        assert [name for name in given if today[name] == given[name]] == []
        assert answers_of_the_block([learner], **moments) == given


@pytest.mark.django_db(transaction=True)
def test_a_transaction_open_across_the_moment_still_adds_to_what_was_known_by_then() -> None:
    """The one edge: ``created`` is taken before the commit. A moment before the write began is settled."""
    learner = make_user()
    written, go_on = Event(), Event()

    def write_slowly() -> Intent:
        try:
            with transaction.atomic():
                intent, _ = record_intent(learner, PROGRAM, reason="SLOW", certainty="CERTAIN_YES")
                written.set()
                assert go_on.wait(WAIT)
            return intent
        finally:
            connections.close_all()

    before = timezone.now()
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write_slowly)
        assert written.wait(WAIT)
        moment = timezone.now()
        while_open = get_latest_certain_intents(learner, as_of=moment, known_at=moment)
        go_on.set()
        late = writing.result(WAIT)
    assert before < late.created < moment
    assert while_open == {}
    assert get_latest_certain_intents(learner, as_of=moment, known_at=moment) == {PROGRAM: late}
    assert get_latest_certain_intents(learner, as_of=moment, known_at=before) == {}


def test_deleting_a_user_is_privacy_and_takes_the_past_along(learner: Any) -> None:
    assert User.objects.filter(pk=learner.pk).delete()
    assert get_latest_certain_intents(learner.pk, as_of=SECOND, known_at=SECOND) == {}
