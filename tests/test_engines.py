"""One set of promises, kept by the engine of plain ORM and by the one of the database at hand."""

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from django.db import connection
from hypothesis import given, settings

from program_intent import engines
from program_intent.data import FIELDS, Certainty
from program_intent.engines import Engine
from program_intent.engines.generic import Generic, Prepared
from program_intent.engines.mariadb import MariaDB
from program_intent.models import ProgramIntent
from program_intent.store.batches import PreparedRows
from program_intent.validation.judge import NewIntent
from tests import strategies
from tests.builders import make_row, make_user, rolled_back, spelled, store_history
from tests.strategies import generated

NOBODY = 2**31 - 1
BEFORE = datetime(2024, 5, 6, 7, 8, 9, 123455, tzinfo=UTC)
WRITTEN = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)

pytestmark = pytest.mark.django_db


@pytest.fixture(params=["generic", "vendor"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return engine_of(request.param)


@pytest.fixture
def vendor() -> Engine:
    return engine_of("vendor")


def engine_of(name: str) -> Engine:
    return Generic(connection, ProgramIntent) if name == "generic" else engines.of(connection, ProgramIntent)


@pytest.fixture
def learner() -> int:
    return int(make_user().pk)


def judged(**changes: Any) -> NewIntent:
    return NewIntent(**make_row(**changes))


def prepare(engine: Engine, *rows: NewIntent, all_new: bool = False) -> Prepared:
    return engine.prepare(spelled(engine.speller(), rows), all_new=all_new)


def table() -> dict[int, tuple[NewIntent, datetime]]:
    rows = ProgramIntent.objects.values_list("id", "created", "learner_id", *FIELDS[1:])
    return {key: (NewIntent(*values), created) for key, created, *values in rows}


def test_the_database_at_hand_has_an_engine_of_its_own(vendor: Engine) -> None:
    assert type(vendor) is not Generic


def test_new_rows_are_stored_and_their_keys_told(engine: Engine, learner: int) -> None:
    rows = [judged(learner=learner, reason=reason) for reason in ("B", "A_B", "A1")]
    keys = engine.insert(prepare(engine, *rows), WRITTEN)
    assert keys == set(table())
    assert sorted(table().values()) == sorted((row, WRITTEN) for row in rows)


def test_new_rows_are_counted(engine: Engine, learner: int) -> None:
    rows = [judged(learner=learner, reason=reason) for reason in ("B", "A_B", "A1")]
    assert engine.count_inserted(prepare(engine, *rows), WRITTEN) == (3, set())
    assert sorted(table().values()) == sorted((row, WRITTEN) for row in rows)


@pytest.mark.parametrize("size", [1, 2])
def test_rows_stored_already_stay_as_they_were(engine: Engine, learner: int, size: int) -> None:
    rows = [judged(learner=learner, reason=reason) for reason in "AB"][:size]
    engine.insert(prepare(engine, *rows), WRITTEN)
    before = table()
    later = WRITTEN + timedelta(days=1)
    assert engine.insert(prepare(engine, *rows), later) == set()
    assert engine.count_inserted(prepare(engine, *rows), later) == (0, set())
    assert table() == before


@pytest.mark.skipif(connection.vendor == "sqlite", reason="on SQLite the first statement is the insert")
def test_a_batch_that_is_all_there_is_looked_up_once_and_no_more(
    vendor: Engine, learner: int, django_assert_num_queries: Any
) -> None:
    rows = [judged(learner=learner, reason=reason) for reason in "AB"]
    vendor.insert(prepare(vendor, *rows), WRITTEN)
    prepared = prepare(vendor, *rows)
    with django_assert_num_queries(1):
        assert vendor.count_inserted(prepared, WRITTEN) == (0, set())


@pytest.mark.parametrize("store", ["insert", "count_inserted"])
def test_of_a_half_duplicate_batch_the_new_half_is_stored(engine: Engine, learner: int, store: str) -> None:
    rows = [judged(learner=learner, reason=f"R{number}") for number in range(6)]
    engine.insert(prepare(engine, *rows[::2]), WRITTEN)
    before = set(table())
    later = WRITTEN + timedelta(days=1)
    told = getattr(engine, store)(prepare(engine, *rows), later)
    new = set(table()) - before
    assert told == (new if store == "insert" else (3, set()))
    assert {table()[key] for key in new} == {(row, later) for row in rows[1::2]}


@pytest.mark.parametrize("store", ["insert", "count_inserted"])
def test_rows_of_unknown_learners_are_left_out(engine: Engine, learner: int, store: str) -> None:
    rows = [judged(learner=key, reason=reason) for reason in "AB" for key in (NOBODY, learner)]
    told = getattr(engine, store)(prepare(engine, *rows), WRITTEN)
    assert told == (set(table()) if store == "insert" else (2, {0, 2}))
    assert sorted(row for row, _ in table().values()) == [rows[1], rows[3]]
    assert engine.refused(prepare(engine, *rows)) == {0, 2}


@pytest.mark.parametrize("learner", [NOBODY, 0, -(2**31)])
def test_a_row_alone_of_an_unknown_learner_is_left_out(engine: Engine, learner: int) -> None:
    row = prepare(engine, judged(learner=learner))
    assert engine.insert(row, WRITTEN) == set()
    assert engine.count_inserted(row, WRITTEN) == (0, {0})
    assert engine.refused(row) == {0}
    assert table() == {}


def test_a_stored_row_is_told_by_position_key_and_time_of_writing(engine: Engine, learner: int) -> None:
    rows = [judged(learner=learner, reason=f"R{number}") for number in range(4)]
    for position in (2, 0):
        written = WRITTEN + timedelta(microseconds=position)
        engine.insert(prepare(engine, rows[position]), written)
    keys = {row: key for key, (row, _) in table().items()}
    told = engine.stored(prepare(engine, *rows))
    assert sorted(told) == [
        (0, keys[rows[0]], WRITTEN),
        (2, keys[rows[2]], WRITTEN + timedelta(microseconds=2)),
    ]
    assert all(created.tzinfo is UTC for _, _, created in told)


def test_a_stored_row_whose_learner_is_gone_is_stored_and_not_unknown(engine: Engine, learner: int) -> None:
    orphan = judged(learner=NOBODY)
    store_history([as_stored(orphan)])
    prepared = prepare(engine, orphan)
    assert PreparedRows(prepared.rows, engine).refused() == (set(), set())
    assert [position for position, _, _ in engine.stored(prepared)] == [0]
    assert engine.insert(prepared, WRITTEN) == set()
    with_another = prepare(engine, orphan, judged(learner=learner))
    assert len(engine.insert(with_another, WRITTEN)) == 1


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
@pytest.mark.parametrize("writes", ["generic", "vendor"])
def test_both_engines_and_the_orm_write_a_row_alike(
    engine: Engine, writes: str, learner: int, changes: dict[str, Any]
) -> None:
    writer = engine_of(writes)
    row = judged(learner=learner, **changes)
    (key,) = writer.insert(prepare(writer, row), WRITTEN)
    assert table() == {key: (row, WRITTEN)}
    assert engine.stored(prepare(engine, row)) == [(0, key, WRITTEN)]
    assert engine.insert(prepare(engine, row), WRITTEN) == set()
    with_another = prepare(engine, row, judged(learner=learner, reason="OTHER"))
    assert engine.count_inserted(with_another, WRITTEN) == (1, set())
    assert ProgramIntent.objects.filter(effective_timestamp=row.effective_timestamp, reason=row.reason).exists()


def test_an_engine_leaves_the_callers_transaction_usable(engine: Engine, learner: int) -> None:
    row = judged(learner=learner)
    batch = prepare(engine, row, judged(learner=NOBODY))
    for _ in range(2):
        engine.insert(prepare(engine, row), WRITTEN)
        engine.count_inserted(batch, WRITTEN)
    assert len(table()) == 1


def test_an_engine_touches_no_database_while_preparing(
    engine: Engine, learner: int, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(0):
        prepare(engine, judged(learner=learner), judged(learner=NOBODY))


class Answers(NamedTuple):
    new: tuple[int, set[int]] | list[int]
    stored: list[tuple[int, datetime]]
    refused: set[int]


def answers(engine: Engine, store: str, all_new: bool, *rows: NewIntent) -> Answers:
    prepared = prepare(engine, *rows, all_new=all_new)
    told = getattr(engine, store)(prepared, WRITTEN)
    found = engine.stored(prepared)
    new = told if store == "count_inserted" else sorted(position for position, key, _ in found if key in told)
    return Answers(
        new,
        sorted((position, created) for position, _, created in found),
        engine.refused(prepared),
    )


@settings(generated, max_examples=40)
@given(already=strategies.rows(learners=3), batch=strategies.rows(learners=3).filter(bool))
@pytest.mark.parametrize(("store", "all_new"), [("insert", False), ("count_inserted", False), ("count_inserted", True)])
def test_both_engines_give_the_same_answers_also_when_wrongly_told_that_all_is_new(
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
        for name in ("generic", "vendor"):
            with rolled_back():
                told.append((answers(engine_of(name), store, all_new, *rows), sorted(table().values())))
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("4a458848-f946-c657-25a7-e5df7b05272c", False),
        ("00000000-0000-8000-0100-000000000000", False),
        ("00000000-0000-8000-8000-000000000000", False),
        ("ffffffff-ffff-ffff-80ff-ffffffffffff", False),
        ("00000000-0000-8000-0000-000000000000", True),
        ("00000000-0000-8000-8100-000000000000", True),
        ("00000000-0000-7fff-0100-000000000000", True),
        ("00000000-0000-0000-0000-000000000000", True),
        ("ffffffff-ffff-ffff-ffff-ffffffffffff", True),
        ("51032e48-04ca-5d43-901a-80cd294a21e1", True),
    ],
)
def test_which_uuids_mariadb_cannot_hold(text: str, fits: bool) -> None:
    assert bool(MariaDB.why_unstorable(UUID(text))) is not fits
