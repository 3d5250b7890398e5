"""One set of promises, run for the plain ORM module and for the one of the database at hand."""

from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from django.db import connection
from hypothesis import given, settings

from program_intent import bulk
from program_intent.bulk import generic
from program_intent.data import FIELDS, Certainty
from program_intent.models import ProgramIntent
from program_intent.validation import NewIntent
from tests import strategies
from tests.builders import make_row, make_user, rolled_back, spelled, store_history
from tests.strategies import generated

VENDOR = bulk.for_connection(connection)
NOBODY = 2**31 - 1
BEFORE = datetime(2024, 5, 6, 7, 8, 9, 123455, tzinfo=UTC)
WRITTEN = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)

pytestmark = pytest.mark.django_db


@pytest.fixture(params=[generic, VENDOR], ids=["generic", "vendor"])
def module(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def learner() -> int:
    return int(make_user().pk)


def judged(**changes: Any) -> NewIntent:
    return NewIntent(**make_row(**changes))


def prepare(module: ModuleType, *rows: NewIntent, all_new: bool = False) -> Any:
    return module.prepare(spelled(module.speller(connection), rows), connection, all_new=all_new)


def table() -> dict[int, tuple[NewIntent, datetime]]:
    rows = ProgramIntent.objects.values_list("id", "created", "learner_id", *FIELDS[1:])
    return {key: (NewIntent(*values), created) for key, created, *values in rows}


def test_the_database_at_hand_has_a_module_of_its_own() -> None:
    assert VENDOR is not generic


def test_new_rows_are_stored_and_their_keys_told(module: Any, learner: int) -> None:
    rows = [judged(learner=learner, reason=reason) for reason in ("B", "A_B", "A1")]
    keys = module.insert(connection, prepare(module, *rows), WRITTEN)
    assert keys == set(table())
    assert sorted(table().values()) == sorted((row, WRITTEN) for row in rows)


def test_new_rows_are_counted(module: Any, learner: int) -> None:
    rows = [judged(learner=learner, reason=reason) for reason in ("B", "A_B", "A1")]
    assert module.count_inserted(connection, prepare(module, *rows), WRITTEN) == (3, set())
    assert sorted(table().values()) == sorted((row, WRITTEN) for row in rows)


@pytest.mark.parametrize("size", [1, 2])
def test_rows_stored_already_stay_as_they_were(module: Any, learner: int, size: int) -> None:
    rows = [judged(learner=learner, reason=reason) for reason in "AB"][:size]
    module.insert(connection, prepare(module, *rows), WRITTEN)
    before = table()
    later = WRITTEN + timedelta(days=1)
    assert module.insert(connection, prepare(module, *rows), later) == set()
    assert module.count_inserted(connection, prepare(module, *rows), later) == (0, set())
    assert table() == before


@pytest.mark.skipif(connection.vendor == "sqlite", reason="on SQLite the first statement is the insert")
def test_a_batch_that_is_all_there_is_looked_up_once_and_no_more(learner: int, django_assert_num_queries: Any) -> None:
    rows = [judged(learner=learner, reason=reason) for reason in "AB"]
    VENDOR.insert(connection, prepare(VENDOR, *rows), WRITTEN)
    prepared = prepare(VENDOR, *rows)
    with django_assert_num_queries(1):
        assert VENDOR.count_inserted(connection, prepared, WRITTEN) == (0, set())


@pytest.mark.parametrize("store", ["insert", "count_inserted"])
def test_of_a_half_duplicate_batch_the_new_half_is_stored(module: Any, learner: int, store: str) -> None:
    rows = [judged(learner=learner, reason=f"R{number}") for number in range(6)]
    module.insert(connection, prepare(module, *rows[::2]), WRITTEN)
    before = set(table())
    later = WRITTEN + timedelta(days=1)
    told = getattr(module, store)(connection, prepare(module, *rows), later)
    new = set(table()) - before
    assert told == (new if store == "insert" else (3, set()))
    assert {table()[key] for key in new} == {(row, later) for row in rows[1::2]}


@pytest.mark.parametrize("store", ["insert", "count_inserted"])
def test_rows_of_unknown_learners_are_left_out(module: Any, learner: int, store: str) -> None:
    rows = [judged(learner=key, reason=reason) for reason in "AB" for key in (NOBODY, learner)]
    told = getattr(module, store)(connection, prepare(module, *rows), WRITTEN)
    assert told == (set(table()) if store == "insert" else (2, {0, 2}))
    assert sorted(row for row, _ in table().values()) == [rows[1], rows[3]]
    assert module.unknown(connection, prepare(module, *rows)) == {0, 2}


@pytest.mark.parametrize("learner", [NOBODY, 0, -(2**31)])
def test_a_row_alone_of_an_unknown_learner_is_left_out(module: Any, learner: int) -> None:
    row = prepare(module, judged(learner=learner))
    assert module.insert(connection, row, WRITTEN) == set()
    assert module.count_inserted(connection, row, WRITTEN) == (0, {0})
    assert module.unknown(connection, row) == {0}
    assert table() == {}


def test_a_stored_row_is_told_by_position_key_and_time_of_writing(module: Any, learner: int) -> None:
    rows = [judged(learner=learner, reason=f"R{number}") for number in range(4)]
    for position in (2, 0):
        written = WRITTEN + timedelta(microseconds=position)
        module.insert(connection, prepare(module, rows[position]), written)
    keys = {row: key for key, (row, _) in table().items()}
    told = module.stored(connection, prepare(module, *rows))
    assert sorted(told) == [
        (0, keys[rows[0]], WRITTEN),
        (2, keys[rows[2]], WRITTEN + timedelta(microseconds=2)),
    ]
    assert all(created.tzinfo is UTC for _, _, created in told)


def test_a_stored_row_whose_learner_is_gone_is_stored_and_not_unknown(module: Any, learner: int) -> None:
    orphan = judged(learner=NOBODY)
    store_history([as_stored(orphan)])
    prepared = prepare(module, orphan)
    assert module.unknown(connection, prepared) == set()
    assert [position for position, _, _ in module.stored(connection, prepared)] == [0]
    assert module.insert(connection, prepared, WRITTEN) == set()
    with_another = prepare(module, orphan, judged(learner=learner))
    assert len(module.insert(connection, with_another, WRITTEN)) == 1


def as_stored(row: NewIntent) -> ProgramIntent:
    values = row._asdict()
    return ProgramIntent(learner_id=values.pop("learner"), created=BEFORE, **values)


@pytest.mark.parametrize(
    "changes",
    [
        {"effective_timestamp": datetime(1900, 1, 1, tzinfo=UTC)},
        {"effective_timestamp": datetime(2022, 4, 12, tzinfo=UTC)},
        {"effective_timestamp": datetime(2022, 4, 12, 0, 0, 0, 1, tzinfo=UTC)},
        {"effective_timestamp": datetime(2022, 4, 12, 0, 0, 0, 120000, tzinfo=UTC)},
        {"effective_timestamp": datetime(9999, 12, 30, 23, 59, 59, 999999, tzinfo=UTC)},
        {"program_uuid": UUID(int=0)},
        {"program_uuid": UUID(int=2**128 - 1)},
        {"program_uuid": UUID("00000000-0000-0000-0000-00000000000a")},
        {"reason": "Z" * 64},
        {"certainty": Certainty.CERTAIN_NO},
        {"certainty": Certainty.MAYBE},
    ],
    ids=str,
)
@pytest.mark.parametrize("writer", [generic, VENDOR], ids=["generic writes", "vendor writes"])
def test_both_modules_and_the_orm_write_a_row_alike(
    module: Any, writer: Any, learner: int, changes: dict[str, Any]
) -> None:
    row = judged(learner=learner, **changes)
    (key,) = writer.insert(connection, prepare(writer, row), WRITTEN)
    assert table() == {key: (row, WRITTEN)}
    assert module.stored(connection, prepare(module, row)) == [(0, key, WRITTEN)]
    assert module.insert(connection, prepare(module, row), WRITTEN) == set()
    with_another = prepare(module, row, judged(learner=learner, reason="OTHER"))
    assert module.count_inserted(connection, with_another, WRITTEN) == (1, set())
    assert ProgramIntent.objects.filter(effective_timestamp=row.effective_timestamp, reason=row.reason).exists()


def test_a_module_leaves_the_callers_transaction_usable(module: Any, learner: int) -> None:
    row = judged(learner=learner)
    batch = prepare(module, row, judged(learner=NOBODY))
    for _ in range(2):
        module.insert(connection, prepare(module, row), WRITTEN)
        module.count_inserted(connection, batch, WRITTEN)
    assert len(table()) == 1


def test_a_module_touches_no_database_while_preparing(
    module: Any, learner: int, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(0):
        prepare(module, judged(learner=learner), judged(learner=NOBODY))


class Answers(NamedTuple):
    new: tuple[int, set[int]] | list[int]
    stored: list[tuple[int, datetime]]
    unknown: set[int]


def answers(module: ModuleType, store: str, all_new: bool, *rows: NewIntent) -> Answers:
    prepared = prepare(module, *rows, all_new=all_new)
    told = getattr(module, store)(connection, prepared, WRITTEN)
    found = module.stored(connection, prepared)
    new = told if store == "count_inserted" else sorted(position for position, key, _ in found if key in told)
    return Answers(
        new,
        sorted((position, created) for position, _, created in found),
        module.unknown(connection, prepared),
    )


@settings(generated, max_examples=40)
@given(already=strategies.rows(learners=3), batch=strategies.rows(learners=3).filter(bool))
@pytest.mark.parametrize(("store", "all_new"), [("insert", False), ("count_inserted", False), ("count_inserted", True)])
def test_both_modules_give_the_same_answers_also_when_wrongly_told_that_all_is_new(
    store: str, all_new: bool, already: list[dict[str, Any]], batch: list[dict[str, Any]]
) -> None:
    with rolled_back():
        learners = [make_user().pk, make_user().pk, NOBODY]
        before, rows = (
            list(dict.fromkeys(NewIntent(**row | {"learner": learners[row["learner"]]}) for row in rows))
            for rows in (already, batch)
        )
        store_history(map(as_stored, before))
        told = []
        for module in (generic, VENDOR):
            with rolled_back():
                told.append((answers(module, store, all_new, *rows), sorted(table().values())))
    assert told[0] == told[1]
