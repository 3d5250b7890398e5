"""The feed of changes: a follower ends with what was committed, each once, whatever others do meanwhile."""

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain, count
from threading import Event
from typing import Any, TypeVar

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, connections, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from hypothesis import assume, given
from hypothesis import strategies as st

import test_settings
from program_intent import engines
from program_intent.api import as_known_at, get_intent_changes, record_intent, record_intents
from program_intent.data import Intent, IntentChanges
from program_intent.engines.generic import Generic
from program_intent.exceptions import ChangesError, InvalidIntent, ProgramIntentError
from program_intent.models import ProgramIntent
from program_intent.models.intent import engine_of
from program_intent.read.changes import _CURSOR, Position, _with_fence, parse_cursor
from program_intent.validation.judge import NewIntent
from tests import private_mariadb
from tests.builders import make_intent, make_row, make_user, spelled, write_batch
from tests.strategies import generated
from tests.test_multi_db import ReadsFromAReplica
from tests.test_store_concurrency import WAIT, WRITERS, at_once, only_on, table, wait_until

T = TypeVar("T")

pytestmark = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True)
others_write = pytest.mark.skipif(connection.vendor == "sqlite", reason="on SQLite no one else writes meanwhile")

_reasons = (f"R{number}" for number in count())


@pytest.fixture
def learner() -> User:
    user: User = make_user()
    return user


def another_row(learner: User) -> dict[str, Any]:
    return make_row(learner=learner, reason=next(_reasons))


def record(learner: User) -> Intent:
    intent, created = record_intent(**another_row(learner))
    assert created
    return intent


def follow(after: str | None = None, limit: int = 1000) -> list[Intent]:
    """Page by page, until one is empty and leaves the cursor where it was.

    MariaDB lists a statement for a moment after its client has the answer, so a page may wait for who has ended.
    """
    intents: list[Intent] = []
    while (page := get_intent_changes(after=after, limit=limit)).intents or page.cursor != after:
        assert len(page.intents) <= limit
        intents += page.intents
        after = page.cursor
    return intents


def by_key(intents: set[Intent]) -> list[Intent]:
    return sorted(intents, key=lambda intent: intent.id)


# One after the other


def test_every_intent_is_given_once_in_the_order_in_which_they_were_written(learner: User) -> None:
    first = record(learner)
    batch = [outcome.intent for outcome in record_intents([another_row(learner) for _ in range(3)])]
    created = make_intent(**another_row(learner))
    given = follow()
    assert given[0] == first
    assert set(given[1:4]) == set(batch)
    assert given[4].id == created.pk
    assert given == by_key(table())


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 100, 10**30])
def test_pages_of_any_size_are_all_together(learner: User, limit: int) -> None:
    record_intents([another_row(learner) for _ in range(7)])
    assert follow(limit=limit) == by_key(table())


def test_when_there_is_nothing_new_the_cursor_goes_on_where_it_was(learner: User) -> None:
    empty = get_intent_changes()
    assert empty.intents == ()
    first = record(learner)
    page = get_intent_changes(after=empty.cursor)
    assert page.intents == (first,)
    assert get_intent_changes(after=page.cursor) == IntentChanges((), page.cursor)
    second = record(learner)
    assert get_intent_changes(after=page.cursor).intents == (second,)


def test_the_same_cursor_gives_the_same_again(learner: User) -> None:
    record_intents([another_row(learner) for _ in range(3)])
    cursor = get_intent_changes(limit=1).cursor
    assert get_intent_changes(after=cursor, limit=2) == get_intent_changes(after=cursor, limit=2)


def test_duplicates_are_no_changes(learner: User) -> None:
    row = another_row(learner)
    intent, _ = record_intent(**row)
    cursor = get_intent_changes().cursor
    record_intents([row, row])
    assert get_intent_changes(after=cursor).intents == ()
    assert follow() == [intent]


def test_a_user_who_is_deleted_takes_intents_along_and_disturbs_no_cursor(learner: User) -> None:
    leaving: User = make_user()
    kept = record(learner)
    record(leaving)
    cursor = get_intent_changes().cursor
    leaving.delete()
    assert get_intent_changes(after=cursor).intents == ()
    added = record(learner)
    assert get_intent_changes(after=cursor).intents == (added,)
    assert follow() == [kept, added]


def test_the_follower_of_its_own_transaction_has_what_it_wrote(learner: User) -> None:
    with transaction.atomic():
        inside = record(learner)
        page = get_intent_changes()
    outside = record(learner)
    assert page.intents == (inside,)
    assert get_intent_changes(after=page.cursor).intents == (outside,)


@pytest.mark.django_db(databases=["default", "other"])
def test_changes_are_read_where_they_are_written() -> None:
    with override_settings(DATABASE_ROUTERS=[ReadsFromAReplica()]):
        intent = record(make_user())
        assert follow() == [intent]


@committed
@pytest.mark.parametrize(
    ("vendor", "with_news", "without"),
    [
        pytest.param(vendor, *budget, marks=only_on(vendor, "each database has a budget of its own"), id=vendor)
        for vendor, budget in {
            "sqlite": (["the newest key", "the intents"], ["the newest key"]),
            "postgresql": (["the newest key and the writers", "the intents"], ["the newest key and the writers"]),
            "mysql": (
                ["the server", "the newest key", "the writers", "reading the uncommitted", "the keys", "the intents"],
                ["the server", "the newest key", "the writers"],
            ),
        }.items()
    ],
)
def test_a_call_has_a_budget_of_queries(learner: User, vendor: str, with_news: list[str], without: list[str]) -> None:
    record(learner)
    with CaptureQueriesContext(connection) as queries:
        cursor = get_intent_changes().cursor
    assert len(queries) == len(with_news), queries.captured_queries
    with CaptureQueriesContext(connection) as queries:
        get_intent_changes(after=cursor)
    assert len(queries) == len(without), queries.captured_queries


# What is handed in


REFUSED = [
    "",
    "1",
    "1.",
    "2.5",
    "1.05",
    "1.-5",
    "1.5.f3",
    "1.5.f5",
    "1.5.f9_",
    "1.5.f9_3~",
    "1.5.f9_7_3",
    "1.5.f9_3_3",
    "1.5.k-0",
    "1.5 ",
    "1.5\n",
    "1.\u0665",
    "1.5\x00",
    "1.\udcff",
    f"1.{2**63}",
    f"1.5.f{2**63}",
    "1." + "9" * 5000,
    "1.5.f9" + "_3~4" * 50_000,
    b"1.5",
    5,
    10**5000,
    True,
    1.5,
    ["1.5"],
    {"after": "1.5"},
    object(),
]


@pytest.mark.parametrize("after", REFUSED, ids=lambda after: repr(after)[:20] if after != 10**5000 else "10**5000")
def test_what_is_no_cursor_is_refused(after: Any) -> None:
    with pytest.raises(InvalidIntent) as refused:
        get_intent_changes(after=after)
    ((message,),) = refused.value.errors.values()
    assert refused.value.errors == {"after": [message]}
    assert message.startswith("Expected a cursor that ")
    assert message.isprintable()
    assert len(message) < 200


def test_the_message_names_what_was_handed_in() -> None:
    with pytest.raises(InvalidIntent) as refused:
        get_intent_changes(after="yesterday")
    assert refused.value.errors == {"after": ["Expected a cursor that an earlier call gave, not 'yesterday'."]}


def test_a_page_of_none_is_refused() -> None:
    with pytest.raises(InvalidIntent) as refused:
        get_intent_changes(after="yesterday", limit=0)
    assert list(refused.value.errors) == ["after", "limit"]


anything = st.one_of(
    st.from_regex(_CURSOR, fullmatch=True),
    st.text(alphabet="0123456789.~_fk-"),
    st.text(),
    st.binary(),
    st.integers(),
    st.floats(),
    st.lists(st.integers()),
)


@given(after=anything, limit=st.integers(1))
@generated
def test_whatever_is_handed_in_is_answered_or_refused(after: Any, limit: int) -> None:
    try:
        page = get_intent_changes(after=after, limit=limit)
    except InvalidIntent as error:
        refused = error.errors
    else:
        refused = {}
        assert page.intents == ()
        assert parse_cursor(page.cursor, known_at=None).last == parse_cursor(after, known_at=None).last
    assert set(refused) <= {"after"}


keys = st.integers(0, 2**63 - 1)
numbers = st.integers(1, 2**31)
names = st.builds("{}/{}".format, numbers, numbers) | st.builds("-1/{}".format, numbers) | st.builds(str, numbers)


@given(last=keys, fence=keys, writers=st.frozensets(names), known_at=st.none() | st.datetimes(timezones=st.just(UTC)))
@generated
def test_a_cursor_says_where_the_follower_is_in_characters_that_a_url_takes(
    last: int, fence: int, writers: frozenset[str], known_at: datetime | None
) -> None:
    assume(last < fence)
    position = Position(last, fence, writers, known_at)
    assert parse_cursor(str(position), known_at=known_at) == position
    assert set(str(position)) <= set("0123456789.~_-fk")


# As it was known


YESTERDAY = datetime(2024, 2, 28, tzinfo=UTC)
TODAY = YESTERDAY + timedelta(days=1)


def test_only_what_was_known_then_is_given(learner: User) -> None:
    moments = [YESTERDAY, TODAY, YESTERDAY - timedelta(microseconds=1), YESTERDAY + timedelta(microseconds=1)]
    stored = [make_intent(**another_row(learner), created=moment).pk for moment in moments]
    for limit in (1, 2, 1000):
        with as_known_at(YESTERDAY):
            assert [intent.id for intent in follow(limit=limit)] == [stored[0], stored[2]]


def test_what_is_written_later_and_was_known_then_is_given_later(learner: User) -> None:
    with as_known_at(TODAY):
        cursor = get_intent_changes().cursor
        make_intent(**another_row(learner), created=TODAY + timedelta(seconds=1))
        late = make_intent(**another_row(learner), created=YESTERDAY)
        assert [intent.id for intent in follow(cursor)] == [late.pk]


def test_a_cursor_serves_only_in_the_state_of_knowledge_in_which_it_was_given() -> None:
    outside = get_intent_changes().cursor
    with as_known_at(YESTERDAY):
        inside = get_intent_changes().cursor
        assert get_intent_changes(after=inside).cursor == inside
        refuses(outside)
    refuses(inside)
    with as_known_at(TODAY):
        refuses(inside)
        with as_known_at(YESTERDAY):
            assert get_intent_changes(after=inside).cursor == inside


def refuses(cursor: str) -> None:
    with pytest.raises(InvalidIntent) as refused:
        get_intent_changes(after=cursor)
    message = f"Expected a cursor that was given under the same as_known_at, not {cursor!r}."
    assert refused.value.errors == {"after": [message]}


# Others write meanwhile


class Someone:
    """Another connection, in a thread of its own, that does one thing after the other as it is told."""

    def __init__(self, learner: User) -> None:
        self.learner = learner
        self._thread = ThreadPoolExecutor(1)

    def start(self, work: Callable[[], T]) -> "Future[T]":
        return self._thread.submit(work)

    def do(self, work: Callable[[], T]) -> T:
        return self.start(work).result(WAIT)

    def begin(self) -> None:
        """From here on every statement is in a transaction."""
        self.do(partial(transaction.set_autocommit, False))

    def record(self) -> Intent:
        return self.do(partial(record, self.learner))

    def commit(self) -> None:
        self.do(transaction.commit)

    def rollback(self) -> None:
        self.do(transaction.rollback)

    def execute(self, sql: str) -> None:
        self.do(partial(execute, sql))

    def close(self) -> None:
        self.do(connections.close_all)
        self._thread.shutdown()


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.fixture
def someone(learner: User) -> Iterator[Someone]:
    with closing(Someone(learner)) as someone:
        yield someone


@pytest.fixture
def another(learner: User) -> Iterator[Someone]:
    with closing(Someone(learner)) as another:
        yield another


@committed
@others_write
def test_an_intent_that_is_committed_late_is_not_missed(learner: User, someone: Someone) -> None:
    before = record(learner)
    cursor = get_intent_changes().cursor
    someone.begin()
    low = someone.record()
    high = record(learner)
    page = get_intent_changes(after=cursor)
    assert page.intents == ()
    later = get_intent_changes(after=page.cursor)
    assert later.intents == ()
    waited_for, waiting_for = (parse_cursor(at.cursor, known_at=None).writers for at in (page, later))
    assert waiting_for <= waited_for, "nobody is waited for who began after the fence"
    someone.commit()
    assert follow(page.cursor) == [low, high]
    assert follow(cursor) == [low, high], "whichever cursor is handed in"
    assert follow() == [before, low, high]


@committed
@others_write
@pytest.mark.parametrize("limit", [1, 2, 1000])
def test_a_transaction_that_is_rolled_back_does_not_stall_the_feed(learner: User, someone: Someone, limit: int) -> None:
    someone.begin()
    low = someone.record()
    high = [record(learner), record(learner)]
    page = get_intent_changes()
    assert page.intents == ()
    someone.rollback()
    assert low not in table()
    assert follow(page.cursor, limit) == high


@committed
@others_write
def test_only_who_wrote_before_is_waited_for(learner: User, someone: Someone, another: Someone) -> None:
    someone.begin()
    first, second = someone.record(), record(learner)
    page = get_intent_changes()
    another.begin()
    third, fourth = another.record(), record(learner)
    someone.commit()
    page = get_intent_changes(after=page.cursor)
    assert page.intents == (first, second)
    assert get_intent_changes(after=page.cursor).intents == ()
    another.commit()
    assert follow(page.cursor) == [third, fourth]


@committed
@others_write
def test_writers_who_never_pause_do_not_stop_a_follower(learner: User, someone: Someone, another: Someone) -> None:
    """At any moment one of two has a transaction open, and each ends after the other has begun."""
    someone.begin()
    another.begin()
    stored = [someone.record()]
    cursor: str | None = None
    given: list[Intent] = []
    for number in range(20):
        ending, beginning = (someone, another) if number % 2 == 0 else (another, someone)
        stored.append(beginning.record())
        ending.commit()
        stored.append(ending.record())
        ending.commit()
        page = get_intent_changes(after=cursor, limit=1000)
        cursor = page.cursor
        given += page.intents
        assert len(given) >= len(stored) - 6, "never more than the last rounds behind"
    someone.commit()
    another.commit()
    assert given + follow(cursor) == stored


@committed
@others_write
def test_a_transaction_that_only_reads_is_not_waited_for(learner: User, someone: Someone) -> None:
    someone.begin()
    someone.do(get_intent_changes)
    intent = record(learner)
    assert follow() == [intent]


@committed
@others_write
def test_in_a_transaction_of_ones_own_others_are_waited_for_too(learner: User, someone: Someone) -> None:
    someone.begin()
    low = someone.record()
    with transaction.atomic():
        high = record(learner)
        page = get_intent_changes()
        assert page.intents == ()
        someone.commit()
        page = get_intent_changes(after=page.cursor)
        assert page.intents == (low, high)
        after = another_row(learner)
        assert record_intents([after])[0].intent in get_intent_changes(after=page.cursor).intents


@committed
@only_on("mysql", "the others know of writers without a second look")
def test_a_page_in_a_transaction_leaves_no_connection_behind(learner: User) -> None:
    def threads() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM information_schema.PROCESSLIST WHERE DB = DATABASE()")
            return int(cursor.fetchone()[0])

    record(learner)
    with transaction.atomic():
        assert len(get_intent_changes().intents) == 1
    wait_until(lambda: threads() == 1)


@committed
@only_on("mysql", "on PostgreSQL a row's writer is known before it takes a key")
def test_a_statement_that_may_have_taken_a_key_is_waited_for(learner: User, someone: Someone) -> None:
    """Its row is nowhere to be seen yet, not even uncommitted: only that it is at work."""
    lock = f"changes-{connection.settings_dict['NAME']}"
    execute(f"DO GET_LOCK('{lock}', {WAIT})")
    columns = "program_uuid, certainty, effective_timestamp, created"
    copied = record(learner)
    at_work = someone.start(
        partial(
            execute,
            f"INSERT INTO {ProgramIntent._meta.db_table} (learner_id, reason, {columns})"
            f" SELECT i.learner_id, 'SLOW', {columns} FROM {ProgramIntent._meta.db_table} i"
            f" JOIN (SELECT GET_LOCK('{lock}', {WAIT}) AS got) l ON l.got = 1 WHERE i.id = {copied.id}",
        )
    )
    waiting = "SELECT 1 FROM information_schema.PROCESSLIST WHERE STATE = 'User lock' AND DB = DATABASE()"
    try:
        wait_until(lambda: bool(rows(waiting)))
        record(learner)
        page = get_intent_changes()
        assert page.intents == ()
    finally:
        execute(f"DO RELEASE_LOCK('{lock}')")
        at_work.result(WAIT)
    # The server answers a statement a moment before it takes it off the list.
    wait_until(lambda: bool(get_intent_changes(after=page.cursor).intents))
    assert follow(page.cursor) == by_key(table())
    assert len(table()) == 3


def rows(sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


@committed
@only_on("mysql", "on PostgreSQL the rows of a page are settled before it is read")
def test_a_row_rolled_back_while_the_page_is_read_ends_the_page(learner: User, someone: Someone) -> None:
    someone.begin()
    first, gone, last = record(learner), someone.record(), record(learner)

    def between(execute: Any, sql: str, *rest: Any) -> Any:
        if "effective_timestamp" in sql:
            someone.rollback()
        return execute(sql, *rest)

    with connection.execute_wrapper(between):
        page = get_intent_changes()
    assert page.intents == (first,)
    assert gone not in follow(page.cursor)
    assert follow(page.cursor) == [last]


PREPARE = {
    "postgresql": ([], ["PREPARE TRANSACTION 'late'"], "COMMIT PREPARED 'late'"),
    "mysql": (["XA START 'late'"], ["XA END 'late'", "XA PREPARE 'late'"], "XA COMMIT 'late'"),
}


@committed
@others_write
def test_a_transaction_prepared_for_two_phase_commit_is_waited_for(learner: User, someone: Someone) -> None:
    if connection.vendor == "postgresql" and rows("SHOW max_prepared_transactions") == [("0",)]:
        pytest.skip("max_prepared_transactions is 0 on this server, its default")
    start, prepare, commit = PREPARE[connection.vendor]
    if connection.vendor == "postgresql":
        someone.begin()
    for statement in start:
        someone.execute(statement)
    low = someone.record()
    high = record(learner)
    page = get_intent_changes()
    for statement in prepare:
        someone.execute(statement)
    for _ in range(3):
        page = get_intent_changes(after=page.cursor)
        assert page.intents == ()
    if connection.vendor == "postgresql":
        someone.do(partial(transaction.set_autocommit, True))
    someone.execute(commit)
    assert follow(page.cursor) == [low, high]


def test_whoever_may_have_been_prepared_is_waited_for_under_the_new_name() -> None:
    """A prepared transaction of PostgreSQL gets another name, and nothing says which it had."""
    position = Position(5, 9, frozenset({"3/11", "-1/701"}))
    position = _with_fence(position, 12, frozenset({"4/1", "-1/701", "-1/702"}))
    assert position == Position(5, 9, frozenset({"-1/701", "-1/702"}))
    position = _with_fence(position, 13, frozenset({"4/2", "-1/702", "-1/703"}))
    assert position == Position(5, 9, frozenset({"-1/702"})), "no further ones: nobody is left who could be prepared"
    assert _with_fence(position, 14, frozenset({"4/2", "-1/703"})).writers == frozenset()


# Where it cannot be known


@committed
@only_on("postgresql", "MariaDB holds back what such a transaction does not see")
@pytest.mark.parametrize("isolation", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_transaction_that_does_not_see_what_others_commit_is_refused(isolation: str) -> None:
    with transaction.atomic():
        execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}")
        with pytest.raises(ChangesError) as refused:
            get_intent_changes()
    assert isinstance(refused.value, ProgramIntentError)
    assert str(refused.value) == (
        f"Changes cannot be followed in a transaction that is {isolation}: it does not see what others commit "
        "meanwhile."
    )


@committed
@only_on("postgresql", "the default of PostgreSQL's sessions is meant")
@pytest.mark.parametrize("isolation", ["REPEATABLE READ", "SERIALIZABLE"])
def test_outside_a_transaction_any_isolation_will_do(learner: User, someone: Someone, isolation: str) -> None:
    someone.begin()
    low = someone.record()
    try:
        execute(f"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {isolation}")
        high = record(learner)
        page = get_intent_changes()
        assert page.intents == ()
        someone.commit()
        assert follow(page.cursor) == [low, high]
    finally:
        connection.close()


@committed
@only_on("mysql", "PostgreSQL refuses")
def test_a_transaction_with_a_snapshot_holds_back_and_misses_nothing(learner: User, someone: Someone) -> None:
    someone.begin()
    low = someone.record()
    high = record(learner)
    try:
        execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        with transaction.atomic():
            assert table() == {high}
            someone.commit()
            page = get_intent_changes()
            assert page.intents == ()
        assert follow(page.cursor) == [low, high]
    finally:
        connection.close()


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no replicas")
@pytest.mark.parametrize("value", ["1", "'ON'"])
def test_a_server_that_takes_no_writes_is_refused(value: str) -> None:
    def on_a_replica(execute: Any, sql: str, *rest: Any) -> Any:
        sql = sql.replace("pg_is_in_recovery()", "true").replace("@@global.read_only", value)
        return execute(sql, *rest)

    with connection.execute_wrapper(on_a_replica), pytest.raises(ChangesError) as refused:
        get_intent_changes()
    assert str(refused.value) == "Changes are followed where intents are written, and this server takes no writes."


SEVERAL_SERVERS = {
    "mysql": {
        "wsrep_on ON": "a Galera cluster",
        "group_replication_single_primary_mode OFF": "Group Replication with several primaries",
        "version 8.0.11-TiDB-v7.5.0": "TiDB",
        "version 8.0.30-Vitess": "Vitess",
        "version_comment SingleStoreDB source distribution": "SingleStore",
    },
    "postgresql": {
        "CockroachDB CCL v23.1.11 (x86_64-pc-linux-gnu)": "CockroachDB",
        "PostgreSQL 11.2-YB-2.18.0.0-b0 on x86_64-pc-linux-gnu": "YB",
        "PostgreSQL 15.2 (Yugabyte 2.25)": "Yugabyte",
    },
}


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no servers")
@pytest.mark.parametrize(("told", "cluster"), SEVERAL_SERVERS.get(connection.vendor, {"": ""}).items())
def test_where_several_servers_give_keys_the_feed_is_refused_with_the_way_out(told: str, cluster: str) -> None:
    def on_a_cluster(execute: Any, sql: str, params: Any, *rest: Any) -> Any:
        if "SHOW VARIABLES" in sql:
            versions = {"version": "8.4.1", "version_comment": "any"} | dict([told.split(maxsplit=1)])
            sql, params = " UNION ALL ".join(["SELECT %s, %s"] * len(versions)), [*chain(*versions.items())]
        return execute(sql.replace("version()", f"'{told}'"), params, *rest)

    with connection.execute_wrapper(on_a_cluster), pytest.raises(ChangesError) as refused:
        get_intent_changes()
    assert str(refused.value) == (
        f"Changes cannot be followed on {cluster}: several servers give keys there, so a lower one may be committed "
        "later. Ask for the answers instead, by iter_latest_certain_intents_for_program."
    )


@pytest.mark.slow
@pytest.mark.skipif(test_settings.ENGINE != "mariadb", reason="Galera is MariaDB's")
def test_a_real_galera_server_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with private_mariadb.server("--wsrep-on=ON", "--wsrep-provider=none", "--binlog-format=ROW") as server:
        cluster = connection.copy()
        cluster.settings_dict |= {"NAME": "mysql", "HOST": "127.0.0.1", "PORT": server["MARIADB_PORT"]}
        cluster.settings_dict |= {"USER": "root", "PASSWORD": ""}
        with closing(cluster), pytest.raises(ChangesError, match="on a Galera cluster"):
            engines.of(cluster, ProgramIntent).newest_and_writers()


def test_a_database_of_which_it_is_not_known_who_writes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "kind", lambda connection: Generic)
    monkeypatch.setattr(connection, "vendor", "oracle")
    with pytest.raises(ChangesError) as refused:
        get_intent_changes()
    assert str(refused.value) == "Changes cannot be followed on oracle."


# All at once


class RolledBackError(Exception):
    pass


class Writer:
    """Writes by every door, in transactions of random length; some are rolled back."""

    TRANSACTIONS = 12

    def __init__(self, seed: int) -> None:
        self.learner: User = make_user()
        self.chance = random.Random(seed)

    def __call__(self) -> None:
        for _ in range(self.TRANSACTIONS):
            with suppress(RolledBackError, OperationalError):  # a deadlock on MariaDB rolls back too
                if self.chance.random() < 0.2:
                    self.act()
                else:
                    self.act_in_a_transaction()

    def act_in_a_transaction(self) -> None:
        with transaction.atomic():
            for _ in range(self.chance.randint(1, 5)):
                self.act()
                time.sleep(self.chance.uniform(0, 0.01))
            if self.chance.random() < 0.25:
                raise RolledBackError

    def act(self) -> None:
        door = self.chance.choice([self.record, self.record_many, self.create, self.load])
        door()

    def rows(self) -> list[dict[str, Any]]:
        return [another_row(self.learner) for _ in range(self.chance.randint(2, 12))]

    def record(self) -> None:
        record(self.learner)

    def record_many(self) -> None:
        record_intents(self.rows())

    def create(self) -> None:
        make_intent(**another_row(self.learner))

    def load(self) -> None:
        intents = [NewIntent(**{**row, "learner": self.learner.pk}) for row in self.rows()]
        write_batch(spelled(engine_of("default").speller(), intents), "default")


@committed
@pytest.mark.parametrize("seed", range(3))
def test_a_follower_of_many_writers_ends_with_what_was_committed_each_once(seed: int) -> None:
    chance = random.Random(seed)
    writers = [Writer(seed * WRITERS + number) for number in range(WRITERS)]
    have_ended = Event()

    def write() -> None:
        try:
            at_once(writers)
        finally:
            have_ended.set()

    given: list[Intent] = []
    met_while_writing = 0
    cursor: str | None = None
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        while True:
            is_over = have_ended.is_set()
            page = get_intent_changes(after=cursor, limit=chance.randint(1, 25))
            cursor = page.cursor
            given += page.intents
            if not is_over:
                met_while_writing = len(given)
            elif not page.intents and not parse_cursor(cursor, known_at=None).writers:
                break
        writing.result(WAIT)
    assert given == by_key(table())
    assert met_while_writing > 0, "it never read beside a writer"
    assert len(given) > WRITERS * Writer.TRANSACTIONS
