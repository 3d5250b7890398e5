"""Many learners at once: those named, and all who have intents for a program, page by page and counted."""

import csv
import gzip
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from unittest import mock
from uuid import UUID

import pytest
from django.contrib.auth import get_user_model
from django.db import connections
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries

from program_intent import api, engines
from program_intent.data import Certainty, Intent
from program_intent.engines.generic import Generic
from program_intent.exceptions import InvalidIntent
from program_intent.models import ProgramIntent
from program_intent.read import program as reads
from tests import oracle
from tests.builders import MOMENT, PROGRAM, make_intent, make_row, make_user, rolled_back, store_history
from tests.reports import AS_ON_MARIADB, ROOT, load
from tests.strategies import LEARNERS, PROGRAMS, Question, certainties, generated, questions
from tests.test_latest import as_value
from tests.work import analyze, grew, work_of

YES, NO, MAYBE = Certainty.CERTAIN_YES, Certainty.CERTAIN_NO, Certainty.MAYBE
REAL_REPORT = ROOT / "example" / "data" / "oulad_intents.csv.gz"
OUTSIDE_THE_RFC = UUID("4a458848-f946-c657-25a7-e5df7b05272c")

pytestmark = pytest.mark.django_db


@pytest.fixture
def learners() -> list[Any]:
    return [make_user() for _ in range(LEARNERS)]


def counted(intents: list[Intent]) -> dict[Certainty, int]:
    return dict.fromkeys(Certainty, 0) | Counter(intent.certainty for intent in intents)


@pytest.fixture(params=["statements", "orm"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "orm":
        monkeypatch.setattr(engines, "kind", lambda connection: Generic)


@pytest.mark.usefixtures("way")
@settings(generated, max_examples=60)
@given(question=questions(), page=st.integers(1, 3), certainty=st.none() | certainties)
def test_every_engine_gives_each_cohort_the_answers_of_the_ten_line_rule(
    learners: list[Any], question: Question, page: int, certainty: Certainty | None
) -> None:
    """Pages of any size, stitched together, are the whole answer; so are those behind any learner."""
    moments: dict[str, Any] = {"as_of": question.as_of, "known_at": question.known_at}
    keys = sorted(learner.pk for learner in learners)
    with rolled_back(), mock.patch.object(reads, "PAGE", page):
        store_history(
            ProgramIntent(**{**fields, "learner": learners[fields["learner"]]}) for fields in question.history
        )
        stored = list(map(as_value, ProgramIntent.objects.all()))
        batch = api.get_latest_certain_intents_for_learners(learners, program_uuids=question.program_uuids, **moments)
        pages = {
            (program, after): list(
                api.iter_latest_certain_intents_for_program(program, certainty=certainty, after=after, **moments)
            )
            for program in PROGRAMS
            for after in (None, *keys)
        }
        of_all = api.count_latest_certain_intents_for_programs(**moments)
        of_named = api.count_latest_certain_intents_for_programs(question.program_uuids or [], **moments)
        of_one = api.count_latest_certain_intents_for_program(PROGRAMS[0], **moments)

    def expected(key: object, programs: set[UUID] | None) -> dict[UUID, Intent]:
        return oracle.latest_certain(stored, key, question.as_of, question.known_at, programs)

    whole = {key: expected(key, None) for key in keys}
    of_program = {program: [whole[key][program] for key in keys if program in whole[key]] for program in PROGRAMS}
    assert batch == {key: expected(key, question.program_uuids) for key in keys}
    assert pages == {
        (program, after): [
            intent
            for intent in of_program[program]
            if certainty in (None, intent.certainty) and (after is None or intent.learner_id > after)
        ]
        for program, after in pages
    }
    assert of_all == {program: counted(intents) for program, intents in of_program.items() if intents}
    assert of_named == {program: counted(of_program[program]) for program in question.program_uuids or ()}
    assert of_one == counted(of_program[PROGRAMS[0]])


def test_a_batch_of_learners_is_one_query_and_nobody_is_left_out(
    learners: list[Any], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    intent = make_intent(learner=learners[0])
    nobody = 2**31 - 1
    with django_assert_num_queries(1):
        answers = api.get_latest_certain_intents_for_learners([learners[0], learners[1].pk, nobody, learners[0].pk])
    assert answers == {learners[0].pk: {PROGRAM: as_value(intent)}, learners[1].pk: {}, nobody: {}}


def test_thousands_of_learners_are_asked_about_at_once(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    intent = make_intent()
    with django_assert_num_queries(1):
        answers = api.get_latest_certain_intents_for_learners(range(intent.learner_id, intent.learner_id + 5000))
    assert len(answers) == 5000
    assert answers[intent.learner_id] == {PROGRAM: as_value(intent)}


def test_an_iteration_asks_once_for_each_page_and_no_earlier_than_needed(
    django_assert_num_queries: DjangoAssertNumQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "PAGE", 2)
    for _ in range(5):
        make_intent()
    with django_assert_num_queries(0):
        intents = api.iter_latest_certain_intents_for_program(PROGRAM)
    with django_assert_num_queries(1):
        first = list(islice(intents, 2))
    with django_assert_num_queries(2):  # the second page, and the third that is not full
        rest = list(intents)
    assert len(first + rest) == 5


@pytest.mark.usefixtures("plans_as_for_a_large_table")
def test_a_page_deep_in_a_program_costs_no_more_than_the_first() -> None:
    def work(after: int) -> int:
        return work_of(
            lambda: reads.page_of_program(
                PROGRAM, using="default", after=after, limit=10, as_of=timezone.now(), known_at=None
            )
        )

    values = make_row()
    del values["learner"]
    store_history(ProgramIntent(learner_id=key, **values) for key in range(1, 3001))
    analyze()
    first = work(after=1)
    assert [after for after in (300, 1500, 2900) if grew(first, work(after))] == []


def test_counts_are_one_query_for_one_for_many_and_for_all_programs(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    make_intent(certainty=NO)
    with django_assert_num_queries(3):
        assert api.count_latest_certain_intents_for_program(PROGRAM) == {YES: 0, NO: 1, MAYBE: 0}
        assert api.count_latest_certain_intents_for_programs([str(PROGRAM), PROGRAMS[0]]) == {
            PROGRAMS[0]: {YES: 0, NO: 0, MAYBE: 0},
            PROGRAM: {YES: 0, NO: 1, MAYBE: 0},
        }
        assert api.count_latest_certain_intents_for_programs() == {PROGRAM: {YES: 0, NO: 1, MAYBE: 0}}


def test_no_programs_have_no_counts(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(0):
        assert api.count_latest_certain_intents_for_programs([]) == {}


@pytest.mark.parametrize(("later", "certainty"), [(YES, YES), (NO, NO), (None, NO)])
def test_where_both_certain_answers_became_true_at_once_the_time_of_writing_is_counted(
    later: Certainty | None, certainty: Certainty
) -> None:
    learner = make_user()
    for each in (YES, NO):
        make_intent(learner=learner, certainty=each, created=MOMENT + timedelta(seconds=each is later))
    assert api.count_latest_certain_intents_for_program(PROGRAM)[certainty] == 1


def test_a_program_that_no_column_can_hold_has_no_intents() -> None:
    make_intent()
    learner = make_user()
    assert api.count_latest_certain_intents_for_program(OUTSIDE_THE_RFC) == dict.fromkeys(Certainty, 0)
    assert list(api.iter_latest_certain_intents_for_program(OUTSIDE_THE_RFC)) == []
    assert api.get_latest_certain_intents_for_learners([learner], program_uuids=[OUTSIDE_THE_RFC]) == {learner.pk: {}}


@pytest.mark.parametrize(
    ("call", "errors"),
    [
        (
            lambda: api.get_latest_certain_intents_for_learners([1, "x"]),
            {"learners": ["Expected an integer that names a user, not 'x'."]},
        ),
        (
            lambda: api.get_latest_certain_intents_for_learners("12"),
            {"learners": ["Expected a list of users, not one text."]},
        ),
        (
            lambda: api.iter_latest_certain_intents_for_program("x", certainty="SURE", after=True, as_of="now"),
            {
                "program_uuid": ["Expected a UUID, with or without hyphens, not 'x'."],
                "certainty": ["Expected one of CERTAIN_YES, CERTAIN_NO, MAYBE, not 'SURE'."],
                "after": ["Expected an integer that names a user, not True."],
                "as_of": ["Expected a date and time with an offset such as 2022-04-12T00:00:00Z, not 'now'."],
            },
        ),
        (
            lambda: api.count_latest_certain_intents_for_programs(7),  # type: ignore[arg-type]
            {"program_uuids": ["Expected a list of UUIDs, not 7."]},
        ),
    ],
    ids=["learner", "learners", "program", "programs"],
)
def test_what_is_malformed_is_refused_at_once_with_every_reason(call: Any, errors: dict[str, list[str]]) -> None:
    with pytest.raises(InvalidIntent) as refused:
        call()
    assert refused.value.errors == errors


@pytest.mark.django_db(transaction=True)
def test_pages_are_the_unpaged_answer_also_while_others_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a state of knowledge in the past: what is written meanwhile is not known yet."""
    monkeypatch.setattr(reads, "PAGE", 3)
    users = [make_user() for _ in range(30)]
    for number, user in enumerate(users):
        if number % 3:
            make_intent(learner=user, certainty=list(Certainty)[number % 3])
    past = datetime.now(UTC)
    moments: dict[str, Any] = {"as_of": past, "known_at": past}
    monkeypatch.setattr(reads, "PAGE", 1000)
    whole = list(api.iter_latest_certain_intents_for_program(PROGRAM, **moments))
    monkeypatch.setattr(reads, "PAGE", 3)
    stop, written = threading.Event(), threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            for user in users[:: 1 + number % 7]:
                effective = MOMENT + timedelta(seconds=number)
                api.record_intent(user, PROGRAM, reason="NEW", certainty=NO, effective_timestamp=effective)
                written.set()
                stop.wait(0.002)  # or what is read grows faster than it is read
        connections.close_all()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert written.wait(30)
        for _ in range(10):
            assert list(api.iter_latest_certain_intents_for_program(PROGRAM, **moments)) == whole
    finally:
        stop.set()
        writer.join()
    assert len(whole) == 20
    assert list(api.iter_latest_certain_intents_for_program(PROGRAM)) != whole


@AS_ON_MARIADB
@pytest.mark.slow
def test_the_real_report_counts_as_plain_python_counts_it() -> None:
    with gzip.open(REAL_REPORT, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    users = get_user_model()
    users.objects.bulk_create(users(pk=key, username=str(key)) for key in {int(row["learner"]) for row in rows})
    assert load(REAL_REPORT).counts == (58_050, 58_050, 0, 0)

    certain = {(row["program_uuid"], row["learner"]): "" for row in rows}
    latest: dict[tuple[str, str], str] = {}
    for row in sorted(rows, key=lambda row: (row["effective_timestamp"], row["certainty"] == "CERTAIN_NO")):
        if row["certainty"] != "MAYBE":
            latest[row["program_uuid"], row["learner"]] = row["certainty"]
    expected: dict[UUID, dict[Certainty, int]] = {}
    for program, learner in certain:
        counts = expected.setdefault(UUID(program), dict.fromkeys(Certainty, 0))
        counts[Certainty(latest.get((program, learner), "MAYBE"))] += 1

    assert api.count_latest_certain_intents_for_programs() == expected
    assert sum(sum(counts.values()) for counts in expected.values()) == len(certain)
    program = next(iter(expected))
    pages = Counter(intent.certainty for intent in api.iter_latest_certain_intents_for_program(program))
    assert pages == {certainty: count for certainty, count in expected[program].items() if count}


def test_what_is_written_while_pages_are_read_is_in_none_of_them(
    learners: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "PAGE", 1)
    for learner in learners:
        # Also one that another server's clock is ahead with: it is written.
        make_intent(learner=learner, certainty=YES, created=datetime.now(UTC) + timedelta(hours=1))
    answers = api.iter_latest_certain_intents_for_program(PROGRAM)
    first = next(answers)
    for learner in [*learners, make_user()]:
        make_intent(learner=learner, certainty=NO, effective_timestamp=MOMENT + timedelta(hours=1))
    rest = list(answers)
    assert counted([first, *rest])[YES] == len([first, *rest]) == len(learners)
    assert counted(list(api.iter_latest_certain_intents_for_program(PROGRAM)))[NO] == len(learners) + 1
