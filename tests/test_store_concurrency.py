"""Once, whoever writes at the same moment; threads with connections of their own, committed for real."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from threading import Barrier, Event
from typing import Any, TypeVar

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, OperationalError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from program_intent import engines
from program_intent.api import record_intent, record_intents
from program_intent.data import Certainty, Intent, Outcome
from program_intent.engines import Engine
from program_intent.engines.mariadb import MariaDB
from program_intent.engines.mysql import MySQL
from program_intent.engines.postgresql import PostgreSQL
from program_intent.models import ProgramIntent
from program_intent.models.intent import engine_of
from program_intent.store.retrying import retrying
from program_intent.validation.judge import NewIntent
from tests.builders import MOMENT, make_intent, make_row, make_user, spelled, write_batch

T = TypeVar("T")

WRITERS = 8
WAIT = 60

pytestmark = pytest.mark.django_db(transaction=True)
needs_row_locks = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite has one writer at a time: nothing to deadlock with"
)


def at_once(works: Sequence[Callable[[], T]]) -> list[T]:
    """What each returns; all start together, each in a thread with connections of its own."""
    start = Barrier(len(works), timeout=WAIT)

    def run(work: Callable[[], T]) -> T:
        try:
            start.wait()
            return work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result(WAIT) for future in [pool.submit(run, work) for work in works]]


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    """Neighbours in the unique index, of two learners."""
    learners = [make_user().pk, make_user().pk]
    return [
        make_row(learner=learner, certainty=certainty, effective_timestamp=MOMENT + timedelta(microseconds=number))
        for learner in learners
        for certainty in Certainty
        for number in range(8)
    ]


def table() -> set[Intent]:
    fields = ("learner_id", "program_uuid", "reason", "certainty", "effective_timestamp", "created")
    return {Intent(row.pk, *(getattr(row, name) for name in fields)) for row in ProgramIntent.objects.all()}


def portions(rows: list[dict[str, Any]], shuffled: random.Random) -> list[list[dict[str, Any]]]:
    """All rows in a random order: some alone, the others in overlapping batches."""
    shuffled.shuffle(rows := list(rows))
    batches = [rows[start : start + 12] for start in range(0, len(rows), 8)]
    singles = [[row] for row in rows[:8]]
    shuffled.shuffle(both := batches + singles)
    return both


def record(portion: list[dict[str, Any]]) -> list[Outcome]:
    if len(portion) > 1:
        return record_intents(portion)
    intent, created = record_intent(**portion[0])
    return [Outcome("created" if created else "duplicate", intent)]


def inside_atomic(work: Callable[[], T]) -> T:
    """As a caller does, to whom a deadlock is raised: only the caller can start again."""
    for _ in range(20):
        try:
            with transaction.atomic():
                return work()
        except OperationalError:
            if connection.vendor == "sqlite":  # "database is locked", and it is promised not to be
                raise
    raise AssertionError("deadlocks without end")


def record_inside_atomic(portion: list[dict[str, Any]]) -> list[Outcome]:
    return inside_atomic(lambda: record(portion))


def record_after_reading(portion: list[dict[str, Any]]) -> list[Outcome]:
    """As a view does under ATOMIC_REQUESTS: the session and the user are read first."""

    def read_and_record() -> list[Outcome]:
        assert User.objects.exists()
        return record(portion)

    return inside_atomic(read_and_record)


def record_in_a_deferred_transaction(portion: list[dict[str, Any]]) -> list[Outcome]:
    """Without ``"transaction_mode": "IMMEDIATE"``: what is read before the write makes SQLite give up at once.

    A refused row comes first, and must not be the first to read.
    """
    connection.ensure_connection()
    connection.transaction_mode = None  # type: ignore[attr-defined]  # SQLite's, as with no such option

    def refuse_and_record() -> list[Outcome]:
        (refused,) = record_intents([make_row(learner=2**31 - 1)])
        assert refused.status == "rejected"
        return record(portion)

    return inside_atomic(refuse_and_record)


def record_serializably(portion: list[dict[str, Any]]) -> list[Outcome]:
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE")
    return record(portion)


def only_on(vendor: str, why: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(connection.vendor != vendor, reason=why)


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(record, id="on their own"),
        pytest.param(record_inside_atomic, id="inside atomic()"),
        pytest.param(record_after_reading, id="inside atomic() after reading"),
        pytest.param(
            record_in_a_deferred_transaction,
            id="inside a deferred atomic()",
            marks=only_on("sqlite", "only SQLite has deferred transactions"),
        ),
        pytest.param(
            record_serializably,
            id="serializably",
            marks=only_on("postgresql", "PostgreSQL alone fails instead of waiting"),
        ),
    ],
)
def test_whoever_writes_at_once_every_intent_is_created_once(
    rows: list[dict[str, Any]], write: Callable[[list[dict[str, Any]]], list[Outcome]]
) -> None:
    def writer(seed: int) -> Callable[[], list[Outcome]]:
        mine = portions(rows, random.Random(seed))
        return lambda: [outcome for portion in mine for outcome in write(portion)]

    outcomes = [each for those in at_once([writer(seed) for seed in range(WRITERS)]) for each in those]
    stored = table()
    created = [outcome.intent for outcome in outcomes if outcome.status == "created"]
    assert {outcome.status for outcome in outcomes} == {"created", "duplicate"}
    assert set(created) <= stored, "an outcome says created and nothing is stored"
    assert Counter(created) == Counter(stored)
    assert {outcome.intent for outcome in outcomes} == stored
    assert len(stored) == len(rows)


def test_batches_of_loaders_at_once_count_what_each_has_added(rows: list[dict[str, Any]]) -> None:
    unknown = make_row(learner=2**31 - 1)
    batch = spelled(engine_of("default").speller(), [NewIntent(**row) for row in [*rows, unknown]])

    def load(seed: int) -> Callable[[], int]:
        mine = random.Random(seed).sample(batch, len(batch))

        def counted() -> int:
            added = 0
            for start in range(0, len(mine), 10):
                count, refused = write_batch(mine[start : start + 20], "default")
                assert refused <= {batch[-1]}
                added += count
            return added

        return counted

    assert sum(at_once([load(seed) for seed in range(WRITERS)])) == len(rows) == len(table())


def test_hosts_and_loaders_that_write_at_once_create_every_intent_once(rows: list[dict[str, Any]]) -> None:
    """Half of the writers are a host's, by the intent and by batches; half are loads, some told that all is new."""
    batch = spelled(engine_of("default").speller(), [NewIntent(**row) for row in rows])

    def host(seed: int) -> Callable[[], int]:
        mine = portions(rows, random.Random(seed))
        return lambda: sum(outcome.status == "created" for portion in mine for outcome in record(portion))

    def load(seed: int) -> Callable[[], int]:
        mine = random.Random(seed).sample(batch, len(batch))
        parts = [mine[start : start + 20] for start in range(0, len(mine), 10)]
        return lambda: sum(write_batch(part, all_new=seed % 2 == 0)[0] for part in parts)

    writers = [(host, load)[seed % 4 // 2](seed) for seed in range(WRITERS)]
    assert sum(at_once(writers)) == len(rows) == len(table())


def test_many_rows_in_small_shuffled_batches_are_all_created_once_and_none_is_refused() -> None:
    """With MariaDB's ``innodb_autoinc_lock_mode = 2`` INSERT ... SELECT lost rows and called their learners unknown."""
    learners = [make_user() for _ in range(20)]
    rows = [
        make_row(learner=learner, effective_timestamp=MOMENT + timedelta(seconds=number))
        for learner in learners
        for number in range(50)
    ]

    def writer(seed: int) -> Callable[[], list[Outcome]]:
        mine = random.Random(seed).sample(rows, len(rows))
        parts = [mine[start : start + 50] for start in range(0, len(mine), 50)]
        return lambda: [outcome for part in parts for outcome in record_intents(part)]

    outcomes = [each for those in at_once([writer(seed) for seed in range(6)]) for each in those]
    assert Counter(each.status for each in outcomes) == {"created": len(rows), "duplicate": 5 * len(rows)}
    assert {each.intent for each in outcomes} == table()


@needs_row_locks
def test_overlapping_batches_of_many_writers_hardly_ever_deadlock(monkeypatch: pytest.MonkeyPatch) -> None:
    learners = [make_user().pk for _ in range(20)]
    rows = [
        make_row(learner=learner, effective_timestamp=MOMENT + timedelta(seconds=number))
        for learner in learners
        for number in range(20)
    ]
    retries: list[float] = []
    monkeypatch.setattr(time, "sleep", retries.append)

    def writer(seed: int) -> Callable[[], list[Outcome]]:
        chosen = random.Random(seed)
        return lambda: [outcome for _ in range(20) for outcome in record_intents(chosen.sample(rows, 60))]

    outcomes = [each for those in at_once([writer(seed) for seed in range(WRITERS)]) for each in those]
    assert Counter(each.intent for each in outcomes if each.status == "created") == Counter(table())
    assert len(retries) <= 3, "of 160 calls"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.15)  # InnoDB refreshes innodb_trx only after 0.1 seconds without a reader


def session() -> int:
    """How the server calls this thread's connection."""
    connection.ensure_connection()
    raw: Any = connection.connection
    return int(raw.info.backend_pid if connection.vendor == "postgresql" else raw.thread_id())


WAITS_FOR_A_LOCK = {
    "postgresql": "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid = %s",
    "mysql": "SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT' AND trx_mysql_thread_id = %s",
}


def waits_for_a_lock(of: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(WAITS_FOR_A_LOCK[connection.vendor], [of])
        return cursor.fetchone() is not None


class Rival:
    """Another transaction that has written one row, and writes another when we wait for the first."""

    def __init__(self, learner: User, *, holds: str = "B", wants: str = "A") -> None:
        self.learner = learner
        self.holds, self.wants = holds, wants

    def meet(self, us: Callable[[], T]) -> T:
        """What we return or raise: of a deadlock we are the victim, who waits longer and has written less."""
        written = Event()
        ours = session()

        def rival() -> None:
            with transaction.atomic():
                for number in range(50):
                    make_intent(learner=self.learner, reason=f"Z{number}")
                make_intent(learner=self.learner, reason=self.holds)
                written.set()
                wait_until(lambda: waits_for_a_lock(ours))
                make_intent(learner=self.learner, reason=self.wants)

        def closing() -> None:
            try:
                rival()
            finally:
                connections.close_all()

        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(closing)
            assert written.wait(WAIT)
            try:
                return us()
            finally:
                future.result(WAIT)


@needs_row_locks
def test_a_deadlock_outside_a_transaction_is_tried_again() -> None:
    rival = Rival(make_user())
    rows = [make_row(learner=rival.learner, reason=reason) for reason in "AB"]
    outcomes = rival.meet(lambda: record_intents(rows))
    assert [outcome.status for outcome in outcomes] == ["duplicate", "duplicate"]
    assert {outcome.intent for outcome in outcomes} < table()


@needs_row_locks
def test_a_deadlock_inside_the_callers_transaction_is_raised() -> None:
    rival = Rival(make_user())
    rows = [make_row(learner=rival.learner, reason=reason) for reason in "AB"]

    def inside() -> None:
        with transaction.atomic():
            record_intents(rows)

    with pytest.raises(OperationalError, match=r"(?i)deadlock"):
        rival.meet(inside)
    assert len(table()) == 52


@only_on("postgresql", "SQLite has one writer at a time; MariaDB's lock on the counter of keys deadlocks in any order")
def test_batches_that_overlap_wait_for_each_other_and_do_not_deadlock() -> None:
    """A batch is written in the order of the unique index: while we wait for a row, we have none that follows it."""
    rival = Rival(make_user(), holds="B", wants="C")
    backwards = [make_row(learner=rival.learner, reason=reason) for reason in "CBA"]

    def inside() -> list[Outcome]:
        with transaction.atomic():
            return record_intents(backwards)

    assert [outcome.status for outcome in rival.meet(inside)] == ["duplicate", "duplicate", "created"]


class Cause(Exception):
    def __init__(self, sqlstate: str) -> None:
        self.sqlstate = sqlstate


def transient(code: int | str = 1213) -> OperationalError:
    """As the drivers raise it: MySQL's has a number, PostgreSQL's a cause with a state."""
    if isinstance(code, int):
        return OperationalError(code, "Deadlock found when trying to get lock")
    error = OperationalError("deadlock detected")
    error.__cause__ = Cause(code)
    return error


class Work:
    """Writes a row and then fails the first times."""

    def __init__(self, failures: int, error: Callable[[], Exception] = transient) -> None:
        self.failures = failures
        self.error = error
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        make_user(username=f"written-{self.calls}")
        if self.calls <= self.failures:
            raise self.error()
        return "done"


@pytest.fixture
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


@pytest.fixture
def mysql_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "kind", lambda connection: MySQL)


def written() -> list[str]:
    return sorted(User.objects.filter(username__startswith="written").values_list("username", flat=True))


@pytest.mark.usefixtures("no_sleep")
@pytest.mark.parametrize(
    ("kind", "code"),
    [
        pytest.param(PostgreSQL, "40P01", id="PostgreSQL: deadlock"),
        pytest.param(PostgreSQL, "40001", id="PostgreSQL: serialization failure"),
        pytest.param(MySQL, 1213, id="MySQL: deadlock"),
        pytest.param(MySQL, 1467, id="MySQL: deadlock over the auto-increment counter"),
        pytest.param(MariaDB, 1020, id="MariaDB: record changed since the last read"),
    ],
)
def test_work_that_meets_another_is_tried_again_from_the_start(
    monkeypatch: pytest.MonkeyPatch, kind: type[Engine], code: int | str
) -> None:
    monkeypatch.setattr(engines, "kind", lambda connection: kind)
    work = Work(failures=3, error=lambda: transient(code))
    assert retrying("default", work) == "done"
    assert written() == ["written-4"]


@pytest.mark.usefixtures("no_sleep", "mysql_errors")
def test_work_that_deadlocks_without_end_is_given_up_and_raised() -> None:
    work = Work(failures=1000)
    with pytest.raises(OperationalError, match=r"(?i)deadlock"):
        retrying("default", work)
    assert 3 <= work.calls <= 20
    assert written() == []


@pytest.mark.usefixtures("mysql_errors")
@pytest.mark.parametrize(
    "error",
    [
        pytest.param(lambda: DatabaseError("disk full"), id="another failure of the database"),
        pytest.param(lambda: OperationalError(2013, "Lost connection"), id="a lost connection"),
        pytest.param(lambda: ValueError("1213"), id="no failure of the database"),
    ],
)
def test_work_that_fails_otherwise_is_not_tried_again(error: Callable[[], Exception]) -> None:
    work = Work(failures=1, error=error)
    with pytest.raises(type(error())):
        retrying("default", work)
    assert work.calls == 1
    assert written() == []


@pytest.mark.usefixtures("mysql_errors")
def test_inside_the_callers_transaction_work_is_done_once() -> None:
    work = Work(failures=1)
    with pytest.raises(OperationalError), transaction.atomic():
        retrying("default", work)
    assert work.calls == 1


@pytest.mark.usefixtures("mysql_errors")
def test_a_transaction_without_autocommit_is_the_callers_too() -> None:
    work = Work(failures=1)
    transaction.set_autocommit(False)
    try:
        make_user(username="written-by-the-caller")
        with pytest.raises(OperationalError):
            retrying("default", work)
        transaction.commit()
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    assert work.calls == 1
    assert "written-by-the-caller" in written()


@only_on("postgresql", "PostgreSQL alone fails instead of waiting")
def test_a_serialization_failure_is_tried_again() -> None:
    """Our snapshot is taken, and the row that we then meet is newer."""
    row = make_row(learner=make_user())
    ours = session()
    written = Event()
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ")

    def rival() -> None:
        try:
            with transaction.atomic():
                make_intent(**row)
                written.set()
                wait_until(lambda: waits_for_a_lock(ours))
        finally:
            connections.close_all()

    try:
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(rival)
            assert written.wait(WAIT)
            intent, created = record_intent(**row)
            future.result(WAIT)
    finally:
        connection.close()
    assert not created
    assert table() == {intent}


@pytest.fixture
def old_snapshots(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As a host has them on MariaDB and MySQL that does not keep Django's default, READ COMMITTED."""
    connection.close()
    if connection.vendor == "mysql":
        monkeypatch.setitem(connection.settings_dict["OPTIONS"], "isolation_level", "repeatable read")
    yield
    connection.close()


@pytest.mark.usefixtures("old_snapshots")
@pytest.mark.skipif(connection.vendor == "sqlite", reason="on SQLite no one else writes meanwhile")
def test_a_row_newer_than_the_callers_snapshot_is_a_duplicate() -> None:
    row = make_row(learner=make_user())
    many = [row, {**row, "reason": "OTHER"}]
    with transaction.atomic():
        assert table() == set()
        (theirs,) = at_once([lambda: record_intents(many)])
        assert record_intent(**row) == (theirs[0].intent, False)
        assert record_intents(many) == [Outcome("duplicate", outcome.intent) for outcome in theirs]


@pytest.mark.usefixtures("old_snapshots")
@pytest.mark.skipif(connection.vendor == "sqlite", reason="on SQLite no one else writes meanwhile")
def test_a_learner_newer_or_gone_since_the_callers_snapshot_is_known_or_unknown() -> None:
    gone = make_user().pk
    with transaction.atomic():
        assert User.objects.count() == 1
        at_once([lambda: User.objects.filter(pk=gone).delete()])
        (newer,) = at_once([lambda: int(make_user().pk)])
        outcomes = record_intents([make_row(learner=gone), make_row(learner=newer)])
        assert [outcome.status for outcome in outcomes] == ["rejected", "created"]


@only_on("mysql", "MariaDB and MySQL alone have a counter of keys that INSERT ... SELECT locks")
def test_many_rows_take_their_keys_without_the_lock_for_which_every_other_insert_waits() -> None:
    rows = [make_row(learner=make_user().pk, reason=reason) for reason in "ABC"]
    batch = spelled(engine_of("default").speller(), [NewIntent(**row) for row in rows])
    writes: list[Callable[[], object]] = [
        partial(write_batch, batch, all_new=True),
        partial(write_batch, batch),
        partial(record_intents, rows),
    ]
    for write in writes:
        with transaction.atomic(), CaptureQueriesContext(connection) as statements:
            write()
            assert len(table()) == 3
            transaction.set_rollback(True)
        inserts = [each["sql"] for each in statements if "INSERT INTO" in each["sql"]]
        assert len(inserts) == 1
        assert "SELECT" not in inserts[0]
