"""Erasing while others write: what is erased stays erased whoever wins, and nothing else is lost."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import F
from django.utils import timezone
from pytest_django import Settings

from program_intent import api
from program_intent.data import RunKind
from program_intent.intake.events import Meant, Stored
from program_intent.intake.sync import Sync
from program_intent.models import ErasedLearner, ErasedName, ProgramIntent, RejectedIntent, Run
from program_intent.store import erase
from program_intent.store.erase import erase_forbidden, erase_orphans
from tests import test_store_concurrency
from tests.builders import PROGRAM, make_row, make_user, store_history
from tests.reports import StoredRow as Row
from tests.reports import as_csv, make_learners, run, stored, write_report
from tests.test_changes import others_write
from tests.test_store_concurrency import at_once, only_on
from tests.test_sync import Warehouse, configure

pytestmark = pytest.mark.django_db(transaction=True)

LONG_AGO, FAR_AHEAD = datetime(2022, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
EVER = datetime.min.replace(tzinfo=UTC)
WRITERS, ERASERS, DELETERS = 8, 4, 4
# Rows of each learner that applications write one by one, and those that they write together.
ALONE, TOGETHER = "ALONE", "TOGETHER"
EACH = 12
is_one_writer = connection.vendor == "sqlite"


class Size(NamedTuple):
    erased: int
    deleted: int
    seconds: float

    @property
    def learners(self) -> int:
        return 2 * self.erased + self.deleted


FULL = Size(erased=200, deleted=200, seconds=15)
SMALL = Size(erased=40, deleted=40, seconds=8)
TINY = Size(erased=16, deleted=16, seconds=3)


def rows_of(learner: int) -> Iterator[Row]:
    """Of long ago and not yet in effect, by turns."""
    for number in range(EACH):
        reason = ALONE if number % 4 < 2 else TOGETHER
        moment = (LONG_AGO, FAR_AHEAD)[number % 2] + timedelta(seconds=number)
        yield Row(learner, PROGRAM, reason, "MAYBE", moment)


def host(work: Callable[[], object]) -> None:
    """As a host does it, to whom a deadlock is raised: only who has begun a transaction can begin again."""
    for _ in range(50):
        try:
            with transaction.atomic():
                work()
            return
        except OperationalError:
            if is_one_writer:
                raise
    raise AssertionError("deadlocks without end")


class Race:
    def __init__(self, size: Size, directory: Path, settings: Settings) -> None:
        self.size, self._directory = size, directory
        make_learners(size.learners)
        self.erased = range(1, size.erased + 1)
        self.deleted = range(size.erased + 1, size.erased + size.deleted + 1)
        self.rows = [row for learner in range(1, size.learners + 1) for row in rows_of(learner)]
        self.retired = {key for key in self.erased if key % 4 == 0}
        self.is_over = Event()
        self._ended: list[int] = []
        self.warehouse = Warehouse(directory / "warehouse.sqlite3")
        for row in self.rows:
            self.warehouse.add(row.learner_id, reason=row.reason, time=row.effective_timestamp.isoformat())
        configure(settings, self.warehouse, LEARNER_FIELD="pk")

    def run(self) -> None:
        works: list[Callable[[], object]] = [lambda: None]
        works += [self._writer(seed) for seed in range(WRITERS)]
        works += [self._loader(field) for field in ("pk", "username")]
        works += [self._sync, self._consumer]
        works += [self._each(self.erased[part::ERASERS], self._erase, part) for part in range(ERASERS)]
        works += [self._each(self.deleted[part::DELETERS], self._delete, part) for part in range(DELETERS)]
        at_once(works)

    def _shuffled(self, seed: int) -> Iterator[Row]:
        chosen = random.Random(seed)
        while not self.is_over.is_set():
            yield chosen.choice(self.rows)

    def _writer(self, seed: int) -> Callable[[], None]:
        def write() -> None:
            for row in self._shuffled(seed):
                if row.reason == TOGETHER:
                    others = rows_of(row.learner_id % self.size.learners + 1)
                    api.record_intents([_told(each) for each in (row, *others) if each.reason == TOGETHER])
                elif seed % 2:
                    with suppress(api.InvalidIntent):
                        api.record_intent(**_told(row))
                else:
                    with suppress(api.InvalidIntent, IntegrityError, _deadlock()):
                        ProgramIntent.objects.create(**row._asdict())

        return write

    def _loader(self, field: str) -> Callable[[], None]:
        learner = {"pk": "%s", "username": "learner%s"}[field]
        lines = (text.split(",", 2) for text in as_csv(self.rows))
        texts = [f"{program},{learner % key},{others}" for program, key, others in lines]
        report = write_report(self._directory / f"{field}.csv", *texts)

        def load() -> None:
            while True:
                loaded = run(report, "--learner-field", field)
                if "eadlock" in loaded.message:  # where two bring the same rows, more than eight times
                    continue
                assert loaded.status in (0, 3), loaded
                assert sum(loaded.counts[1:]) + loaded.erased == loaded.counts.read == len(self.rows)
                if self.is_over.is_set():
                    return

        return load

    def _sync(self) -> None:
        while not self.is_over.is_set():
            with suppress(_deadlock()):  # a scheduler starts it again
                Sync("reports", by="tests", full=True).run()

    def _consumer(self) -> None:
        stored = Stored(RunKind.EVENTS, using="default", by="tests", source="topic")
        batch: list[Meant] = []
        for number, row in enumerate(self._shuffled(99)):
            field, name = (("pk", str(row.learner_id)), ("username", f"learner{row.learner_id}"))[number % 2]
            values = (name, str(row.program_uuid), row.reason, row.certainty, row.effective_timestamp.isoformat())
            batch = [*batch[-49:], Meant(f"{number}-0", field, [values])]
            if len(batch) == 50:
                with suppress(_deadlock()):  # what is not acknowledged is brought again
                    stored.store("topic", batch)
                    batch = []

    def _each(self, keys: range, work: Callable[[int], None], part: int) -> Callable[[], None]:
        def all_of_them() -> None:
            try:
                for key in keys:
                    time.sleep(self.size.seconds / len(keys) * random.Random(key).uniform(0, 1.5))
                    work(key)
            finally:
                self._ended.append(part)
                if len(self._ended) == ERASERS + DELETERS:
                    self.is_over.set()

        return all_of_them

    def _erase(self, key: int) -> None:
        if key in self.retired:
            api.erase_learner(key, retired=True)
            User.objects.filter(pk=key).update(username=f"retired{key}")
        elif key % 4 == 1:
            host(lambda: api.erase_learner(User.objects.get(pk=key)))
        else:
            api.erase_learner(key)
            if key % 8 == 2:
                api.erase_learner(key)

    def _delete(self, key: int) -> None:
        if key % 4 == 0:
            host(lambda: User.objects.get(pk=key).delete())
        elif key % 4 == 1:
            host(lambda: User.objects.filter(pk=key).delete())
        else:
            host(partial(self._delete_slowly, key))

    def _delete_slowly(self, key: int) -> None:
        User.objects.filter(pk=key).delete()
        time.sleep(0.1 if is_one_writer else 0.5)

    def expected(self) -> list[Row]:
        """What of all that is told again and again is to be there in the end."""
        gone = {*self.deleted, *self.retired}
        until = {key: last or FAR_AHEAD for key, last in ErasedLearner.objects.values_list("pk", "key_until")}
        staying = (row for row in self.rows if row.learner_id not in gone)
        return sorted(row for row in staying if row.effective_timestamp > until.get(row.learner_id, EVER))


def _told(row: Row) -> dict[str, Any]:
    told = row._asdict()
    return {"learner": told.pop("learner_id"), **told}


def _deadlock() -> type[Exception]:
    """What a row alone, in a transaction of Django's, is not protected from, nor a host that is SERIALIZABLE."""
    return IntegrityError if is_one_writer else OperationalError


@pytest.fixture
def isolation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    connection.close()
    if request.param:
        monkeypatch.setitem(connection.settings_dict["OPTIONS"], "isolation_level", request.param)
    yield
    connection.close()


not_on_postgresql = pytest.mark.skipif(connection.vendor == "postgresql", reason="there it runs in full")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("isolation", "size"),
    [
        pytest.param(None, SMALL, marks=not_on_postgresql, id="small"),
        pytest.param(4, TINY, marks=only_on("postgresql", "psycopg's number of it"), id="serializable"),
        pytest.param("repeatable read", TINY, marks=only_on("mysql", "Django's name of it"), id="repeatable read"),
        pytest.param(None, FULL, marks=only_on("postgresql", "it takes minutes: once"), id="full"),
    ],
    indirect=["isolation"],
)
@pytest.mark.usefixtures("isolation")
def test_whoever_writes_meanwhile_what_is_erased_stays_erased_and_all_else_is_there(
    size: Size, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(test_store_concurrency, "WAIT", 600)
    race = Race(size, tmp_path, settings)
    with closing(race.warehouse):
        race.run()
    # Nobody is called so any more, and what is not yet in effect was not erased.
    assert not RejectedIntent.objects.exclude(effective_timestamp__startswith="2100").exists()
    assert User.objects.count() == size.learners - size.deleted
    assert set(ErasedLearner.objects.values_list("pk", flat=True)) == {*race.erased, *race.deleted}
    expected = race.expected()
    left = [row for row in stored() if row not in set(expected)]
    brought = ProgramIntent.objects.exclude(run=None).values_list("learner_id", "effective_timestamp", "reason")
    assert {row.reason for row in left} <= {ALONE}
    assert not {(row.learner_id, row.effective_timestamp, row.reason) for row in left} & set(brought)
    erase_forbidden(using="default")
    erase_orphans(using="default")
    assert stored() == expected
    assert not Run.objects.exclude(read=F("created") + F("duplicate") + F("rejected") + F("erased")).exists()


# One after the other, as others would come between


@pytest.fixture
def learner() -> User:
    user: User = make_user()
    return user


def both(learner: User, **changes: Any) -> list[dict[str, Any]]:
    return [make_row(learner=learner, effective_timestamp=moment, **changes) for moment in (LONG_AGO, FAR_AHEAD)]


def erased_by_another(learner: User, *, is_gone: bool) -> None:
    """As another process that commits first would leave it."""
    ErasedLearner.objects.create(pk=learner.pk, key_until=timezone.now(), erased=timezone.now())
    if is_gone:
        User.objects.filter(pk=learner.pk)._raw_delete("default")


@pytest.mark.parametrize(("is_gone", "left"), [(True, set()), (False, {FAR_AHEAD})])
def test_who_stores_many_rows_sweeps_those_of_who_went_meanwhile_whenever_they_are_in_effect(
    learner: User, is_gone: bool, left: set[datetime]
) -> None:
    with transaction.atomic():
        assert {outcome.status for outcome in api.record_intents(both(learner))} == {"created"}
        erased_by_another(learner, is_gone=is_gone)
    assert {row.effective_timestamp for row in stored()} == left
    assert ErasedLearner.objects.get().intents == 2 - len(left)


def test_a_deletion_sweeps_what_others_committed_before_it_whenever_that_is_in_effect(learner: User) -> None:
    key = learner.pk
    with transaction.atomic():
        learner.delete()
        store_history([ProgramIntent(**{**row, "learner": None}, learner_id=key) for row in both(learner)])
    assert stored() == []
    assert ErasedLearner.objects.get().intents == 2


def test_who_is_deleted_and_created_again_in_one_transaction_keeps_what_is_new(learner: User) -> None:
    key = learner.pk
    with transaction.atomic():
        learner.delete()
        User.objects.create(pk=key, username="anew")
        api.record_intents([{**row, "learner": key} for row in both(learner)])
    assert [row.effective_timestamp for row in stored()] == [FAR_AHEAD]


def test_an_erasure_that_is_committed_late_is_of_late_for_whoever_began_to_write_meanwhile(
    learner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erase, "OF_LATE", timedelta(seconds=0.2))
    with transaction.atomic():
        api.erase_learner(learner)
        time.sleep(0.3)
        since = timezone.now()
    assert ErasedLearner.objects.get().erased > since
    store_history([ProgramIntent(**both(learner)[0])])
    assert erase_forbidden(using="default", since=since) == 1


def test_who_was_erased_long_ago_is_not_looked_at_after_each_batch(learner: User) -> None:
    api.erase_learner(learner)
    ErasedLearner.objects.update(erased=timezone.now() - timedelta(hours=1))
    store_history([ProgramIntent(**both(learner)[0])])
    api.record_intents(both(make_user()))
    assert len(stored()) == 3
    assert erase_forbidden(using="default", dry_run=True) == 1
    assert erase_forbidden(using="default") == 1
    assert ErasedLearner.objects.get().intents == 1


def test_erasures_of_one_learner_at_once_wait_for_each_other_and_do_not_deadlock(learner: User) -> None:
    api.erase_learner(learner)

    def again() -> None:
        for _ in range(5):
            with transaction.atomic():
                api.erase_learner(learner)

    at_once([again] * 6)
    assert ErasedLearner.objects.count() == 1
    assert ErasedName.objects.filter(field="username").count() == 1


@only_on("sqlite", "only SQLite has deferred transactions")
@pytest.mark.parametrize("work", [api.erase_learner, User.delete])
def test_in_a_transaction_that_has_not_written_yet_it_waits_for_who_writes(
    learner: User, work: Callable[[User], object]
) -> None:
    is_written = Event()

    def hold() -> None:
        with transaction.atomic():
            make_user()
            is_written.set()
            time.sleep(0.5)

    def wait() -> None:
        assert is_written.wait(20)
        connection.ensure_connection()
        connection.transaction_mode = None  # type: ignore[attr-defined]  # SQLite's, as with no such option
        with transaction.atomic():
            work(learner)

    at_once([hold, wait])
    assert ErasedLearner.objects.count() == 1


@pytest.mark.parametrize("work", [api.erase_learner, User.delete])
def test_a_transaction_without_autocommit_is_the_callers(learner: User, work: Callable[[User], object]) -> None:
    api.record_intents(both(learner))
    for end in (transaction.rollback, transaction.commit):
        transaction.set_autocommit(False)
        try:
            work(User.objects.get())
            end()
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)
        assert len(stored()) == (0 if end is transaction.commit else 2)
    assert ErasedLearner.objects.get().intents == 2


@others_write
def test_an_erasure_waits_for_who_is_writing_one_row(learner: User) -> None:
    written, erased = Event(), Event()

    def write() -> None:
        with transaction.atomic():
            api.record_intent(**both(learner)[0])
            written.set()
            assert not erased.wait(1)

    def erase_it() -> None:
        assert written.wait(20)
        api.erase_learner(learner)
        erased.set()

    at_once([write, erase_it])
    assert stored() == []
    assert ErasedLearner.objects.get().intents == 1


@only_on("postgresql", "MariaDB and MySQL wait for the rows, and give up as they are told")
def test_whoever_writes_for_longer_is_not_waited_for_and_that_is_told(
    learner: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(erase, "LONGEST_WAIT", 0.2)
    meanwhile(lambda: api.record_intent(**both(learner)[0]), lambda: api.erase_learner(learner))
    assert "run erase_program_intents --orphans" in caplog.text
    assert len(stored()) == 1
    assert erase_forbidden(using="default") == 1


@only_on("mysql", "PostgreSQL does not wait for rows that are not committed")
def test_an_erasure_that_waits_for_a_row_for_too_long_has_erased_nothing_and_can_be_done_again(learner: User) -> None:
    api.record_intent(**both(learner, reason="OTHER")[0])

    def give_up() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET innodb_lock_wait_timeout = 1")
        with pytest.raises(OperationalError, match="Lock wait timeout"):
            api.erase_learner(learner)

    meanwhile(lambda: api.record_intent(**both(learner)[0]), give_up)
    assert len(stored()) == 2
    assert not ErasedLearner.objects.exists()
    assert api.erase_learner(learner).intents == 2


def meanwhile(write: Callable[[], object], work: Callable[[], object]) -> None:
    """Do the work while another has written, and not committed."""
    written, done = Event(), Event()

    def hold() -> None:
        with transaction.atomic():
            write()
            written.set()
            assert done.wait(20)

    def do() -> None:
        assert written.wait(20)
        try:
            work()
        finally:
            done.set()

    at_once([hold, do])
