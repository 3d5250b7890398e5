"""Rows of real warehouses: SQLite and DuckDB files, Parquet, and databases on PostgreSQL, MariaDB and MySQL servers."""

import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Thread
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from sqlalchemy import URL, Engine, create_engine, text
from sqlalchemy.pool import NullPool

import test_settings
from program_intent.exceptions import LoadError
from program_intent.intake.ahead import ahead, in_thread
from program_intent.sources.cursors import Cursor, dump, highest, load, lowered
from program_intent.sources.rows import Malformed
from program_intent.sources.warehouse import LONGEST_VALUE, PARTITION, Warehouse, engine_of
from tests.proxy import Proxy
from tests.reports import PROGRAM, ROOT
from tests.test_load_processes import wait_until

pytestmark = pytest.mark.skipif(
    test_settings.ENGINE != "sqlite",
    reason="warehouses are read the same whatever the app's own database is: tested once, with ENGINE=sqlite",
)

NOW = datetime(2025, 1, 1, tzinfo=UTC)
NO_DIALECT = "cannot be read: the package with SQLAlchemy's dialect {} is not installed: pip install it."
# What each row has besides a learner and a cursor.
OTHERS = f"'{PROGRAM}' AS program_uuid, 'VISITED' AS intent_reason, 'MAYBE' AS certainty, 'now' AS effective_time"


class Place(NamedTuple):
    """Where a table of a warehouse is."""

    url: str
    table: str

    @property
    def query(self) -> str:
        return f"SELECT user_id, {OTHERS}, loaded_at FROM {self.table}"


# A server of a warehouse's that this run does not demand is tried, and says why it cannot be used.
DEMANDED = {test_settings.ENGINE, *os.environ.get("ENGINES", "").split()}
DRIVERS = {"postgresql": "postgresql+psycopg", "mariadb": "mariadb+pymysql", "mysql": "mysql+pymysql"}


@contextmanager
def database(server: str) -> Iterator[URL]:
    """A database of the warehouse's own, not the one that intents are stored in."""
    settings = getattr(test_settings, server)("postgres" if server == "postgresql" else "")
    login = URL.create(
        DRIVERS[server],
        username=settings["USER"],
        password=settings["PASSWORD"],
        host=settings["HOST"],
        port=int(settings["PORT"]),
        database=settings["NAME"],
    )
    # Runs of several engines side by side do not meet.
    name = f"test_{test_settings.DATABASE}_{test_settings.ENGINE}_warehouse"
    try:
        engine = create_engine(login, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        engine.connect().close()
    except Exception as error:  # each driver has its own
        if server in DEMANDED:
            raise
        pytest.skip(f"{server} does not answer: {' '.join(str(error).split())}")
    quoted = engine.dialect.identifier_preparer.quote_identifier(name)
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {quoted}"))
        connection.execute(text(f"CREATE DATABASE {quoted}"))
        yield login.set(database=name)
        connection.execute(text(f"DROP DATABASE {quoted}"))


@pytest.fixture(scope="module")
def postgresql() -> Iterator[URL]:
    with database("postgresql") as url:
        yield url


@pytest.fixture(scope="module")
def mariadb() -> Iterator[URL]:
    with database("mariadb") as url:
        yield url


@pytest.fixture(scope="module")
def mysql() -> Iterator[URL]:
    with database("mysql") as url:
        yield url


@pytest.fixture
def sqlite(tmp_path: Path) -> URL:
    return URL.create("sqlite", database=str(tmp_path / "warehouse.sqlite3"))


@pytest.fixture
def duckdb(tmp_path: Path) -> URL:
    return URL.create("duckdb", database=str(tmp_path / "warehouse.duckdb"))


def written(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def execute(url: URL, *statements: str) -> None:
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement.replace(":", r"\:")))


def fill(url: URL, cursor_type: str, *cursors: str | None) -> Place:
    """A table whose learners are numbered from 1, each with its cursor."""
    rows = (f"({key}, {'NULL' if each is None else repr(each)})" for key, each in enumerate(cursors, start=1))
    execute(
        url,
        "DROP TABLE IF EXISTS intents",
        f"CREATE TABLE intents (user_id bigint, loaded_at {cursor_type} NULL)",
        f"INSERT INTO intents VALUES {', '.join(rows)}",
    )
    return Place(written(url), "intents")


def as_parquet(url: URL, place: Place, path: Path) -> Place:
    execute(url, f"COPY {place.table} TO '{path}' (FORMAT parquet)")
    return Place("duckdb:///:memory:", f"read_parquet('{path}')")


def opened_at(url: str, **asked: Any) -> Warehouse:
    return Warehouse("reports", engine=engine_of("reports", url), **asked)


class Read(NamedTuple):
    learners: list[Any]
    places: list[Any]


def read(
    place: Place, after: Cursor | None = None, *, cursor: str | None = "loaded_at", query: str | None = None
) -> Read:
    found = Read([], [])
    for values, row_place in reading(place.url, query or place.query, cursor, after):
        found.learners.append(values[0])
        found.places.append(row_place)
    return found


def reading(
    url: str, query: str, cursor: str | None = None, after: Cursor | None = None
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    with closing(opened_at(url, query=query, cursor=cursor, after=after)) as warehouse:
        count = 0
        for block in warehouse.blocks():
            assert block.originals is None
            count += len(block.rows)
            assert warehouse.position() == count
            for row, place in zip(block.rows, block.places, strict=True):
                assert type(row) is tuple
                yield row, place


def refusal(url: str | URL, query: str = f"SELECT 1 AS learner, {OTHERS}", cursor: str | None = None) -> str:
    with pytest.raises(LoadError) as caught:
        list(reading(url if isinstance(url, str) else written(url), query, cursor))
    return one_line(caught.value)


def one_line(error: LoadError) -> str:
    assert "\n" not in str(error)
    assert "\\n" not in str(error)  # nor one that is spelled out
    return str(error)


# Cursors. In each table the second and the third row have the same, and the last has none.

TIMES = ["2024-01-01 10:00:00.5", "2024-01-02 10:00:00.25", "2024-01-02 10:00:00.25", "2024-01-02 10:00:00.250001"]
ISO_TIMES = [
    "2024-01-01T10:00:00.500Z",
    "2024-01-02T10:00:00.250Z",
    "2024-01-02T10:00:00.250Z",
    "2024-01-03T00:00:00.000Z",
]
DATES = ["2024-01-01", "2024-01-02", "2024-01-02", "2024-01-03"]
NUMBERS = ["-1", "8", "8", "9"]
MIDDLE = datetime(2024, 1, 2, 10, microsecond=250_000, tzinfo=UTC)
NAIVE = MIDDLE.replace(tzinfo=None)
HUGE = 10**20

KINDS: dict[str, list[tuple[str, list[str], Cursor]]] = {
    "sqlite": [
        ("timestamp", ISO_TIMES, ISO_TIMES[1]),
        ("timestamp", [time.replace("T", " ").replace("Z", "") for time in ISO_TIMES], "2024-01-02 10:00:00.250"),
        ("text", [time.replace("T", " ").replace("Z", " Z") for time in ISO_TIMES], "2024-01-02 10:00:00.250 Z"),
        ("text", [time.replace("Z", "+00:00") for time in ISO_TIMES], "2024-01-02T10:00:00.250+00:00"),
        ("date", DATES, date(2024, 1, 2).isoformat()),
        ("integer", NUMBERS, 8),
    ],
    "duckdb": [
        ("timestamptz", [f"{time}+00" for time in TIMES], MIDDLE),
        ("timestamp", TIMES, NAIVE),
        ("date", DATES, date(2024, 1, 2)),
        ("bigint", NUMBERS, 8),
        ("decimal(38, 0)", ["-1", str(HUGE), str(HUGE), str(HUGE + 1)], HUGE),
        ("varchar", ISO_TIMES, ISO_TIMES[1]),
    ],
    "postgresql": [
        ("timestamptz", [f"{time}+00" for time in TIMES], MIDDLE),
        ("timestamp", TIMES, NAIVE),
        ("date", DATES, date(2024, 1, 2)),
        ("bigint", NUMBERS, 8),
        ("numeric(38, 0)", ["-1", str(HUGE), str(HUGE), str(HUGE + 1)], HUGE),
        ("varchar", ISO_TIMES, ISO_TIMES[1]),
    ],
    "mariadb": [
        ("timestamp(6)", TIMES, NAIVE),
        ("datetime(6)", TIMES, NAIVE),
        ("date", DATES, date(2024, 1, 2)),
        ("bigint", NUMBERS, 8),
        ("decimal(38, 0)", ["-1", str(HUGE), str(HUGE), str(HUGE + 1)], HUGE),
        ("varchar(40)", ISO_TIMES, ISO_TIMES[1]),
    ],
}
KINDS["parquet"] = KINDS["duckdb"]
KINDS["mysql"] = KINDS["mariadb"]


@pytest.mark.parametrize(
    ("warehouse", "cursor_type", "cursors", "middle"),
    [
        pytest.param(warehouse, *kind, id=f"{warehouse} {kind[0]} {kind[2]}")
        for warehouse, kinds in KINDS.items()
        for kind in kinds
    ],
)
def test_rows_are_followed_by_each_kind_of_cursor_that_a_warehouse_has(
    warehouse: str, cursor_type: str, cursors: list[str], middle: Cursor, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("duckdb" if warehouse == "parquet" else warehouse)
    place = fill(url, cursor_type, *cursors, None)
    if warehouse == "parquet":
        place = as_parquet(url, place, tmp_path / "intents.parquet")
    found = read(place)
    assert sorted(found.learners) == [1, 2, 3, 4, 5]
    assert [learner for learner in found.learners if learner != 5] in ([1, 2, 3, 4], [1, 3, 2, 4])
    reached = highest(found.places[: found.learners.index(4)], NOW, None)
    assert (type(reached), reached) == (type(middle), middle)
    assert reached is not None
    again = load(dump(reached))
    assert sorted(read(place, again).learners) == [2, 3, 4, 5]
    lag = middle + 1 if isinstance(middle, int) else timedelta(days=1)
    assert sorted(read(place, lowered(again, lag)).learners) == [1, 2, 3, 4, 5]


KATHMANDU = "Asia/Kathmandu"


@pytest.mark.parametrize("zone", ["UTC", KATHMANDU, "America/New_York"])
@pytest.mark.parametrize(("cursor_type", "offset"), [("timestamptz", "+00"), ("timestamp", "")])
def test_the_zone_of_a_session_moves_no_border_on_postgresql(
    postgresql: URL, cursor_type: str, offset: str, zone: str
) -> None:
    url = postgresql.update_query_dict({"options": f"-c TimeZone={zone}"})
    place = fill(postgresql, cursor_type, *(f"{time}{offset}" for time in TIMES))._replace(url=written(url))
    reached = highest(read(place).places[:2], NOW, None)
    assert isinstance(reached, datetime)
    assert read(place, load(dump(reached))).learners == [2, 3, 4]
    assert read(place, reached + timedelta(microseconds=1)).learners == [4]


@pytest.mark.parametrize("zone", ["+00:00", "+05:45", "-05:00"])
@pytest.mark.parametrize("cursor_type", ["timestamp(6)", "datetime(6)"])
@pytest.mark.parametrize("server", ["mariadb", "mysql"])
def test_the_zone_of_a_session_moves_no_border_on_mariadb_and_mysql(
    server: str, cursor_type: str, zone: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(server).update_query_dict({"init_command": f"SET time_zone = '{zone}'"})
    place = fill(url, cursor_type, *TIMES)
    reached = highest(read(place).places[:2], NOW, None)
    assert isinstance(reached, datetime)
    assert read(place, load(dump(reached))).learners == [2, 3, 4]
    assert read(place, reached + timedelta(microseconds=1)).learners == [4]


def test_an_aware_cursor_is_read_on_in_another_zone_of_the_session(postgresql: URL) -> None:
    place = fill(postgresql, "timestamptz", *(f"{time}+00" for time in TIMES))
    there = place._replace(url=written(postgresql.update_query_dict({"options": f"-c TimeZone={KATHMANDU}"})))
    reached = read(there).places[1]
    assert reached.utcoffset() == timedelta(hours=5, minutes=45)
    assert read(place, load(dump(reached))).learners == [2, 3, 4]


def test_without_a_cursor_all_rows_are_read_and_numbered(sqlite: URL) -> None:
    place = fill(sqlite, "text", *["x"] * 2500)
    assert read(place, cursor=None) == (list(range(1, 2501)), list(range(1, 2501)))


@pytest.mark.parametrize("cursor", ["LOADED_AT", "Loaded_At", "loaded_at"])
@pytest.mark.parametrize("column", ["loaded_at", "Loaded_At", "order", "with space", "a:b", "a%b", 'quo"te'])
def test_the_cursor_may_be_any_column_in_any_case(postgresql: URL, column: str, cursor: str) -> None:
    quoted = column.replace('"', '""')
    query = f'SELECT number AS user_id, {OTHERS}, number AS "{quoted}" FROM generate_series(1, 3) number'
    named = cursor if column.lower() == "loaded_at" else column
    assert read(Place(written(postgresql), ""), 2, cursor=named, query=query).learners == [2, 3]


@pytest.mark.parametrize(
    ("cursor_type", "values", "expected"),
    [
        ("text", ["abc"], "is 'abc', not a time, a date or an integer: cast it in QUERY."),
        ("real", ["1.5"], "is 1.5, not a time, a date or an integer: cast it in QUERY."),
        ("blob", ["x" * 200], f"is '{'x' * 76}..., not a time, a date or an integer: cast it in QUERY."),
        (
            "text",
            ["2024-01-01 10:00:00", "2024-01-02T10:00:00"],
            "changes from '2024-01-01 10:00:00' to '2024-01-02T10:00:00'; "
            "expected one type and one spelling: cast it in QUERY.",
        ),
        (
            "",
            ["2024-01-01 10:00:00", "2024-01-01 10:00:00.5"],
            "changes from '2024-01-01 10:00:00' to '2024-01-01 10:00:00.5'; "
            "expected one type and one spelling: cast it in QUERY.",
        ),
    ],
)
def test_a_cursor_by_which_rows_cannot_be_followed_is_refused(
    sqlite: URL, cursor_type: str, values: list[str], expected: str
) -> None:
    place = fill(sqlite, cursor_type, *values)
    assert refusal(place.url, place.query, "loaded_at") == f"reports: the cursor loaded_at {expected}"


def test_a_cursor_that_is_of_another_kind_than_where_the_last_run_ended_is_refused(sqlite: URL) -> None:
    place = fill(sqlite, "blob", "2024-01-01")  # a column that is compared with anything
    with pytest.raises(LoadError) as caught:
        read(place, 7)
    assert one_line(caught.value) == (
        "reports: the cursor loaded_at changes from 7 to '2024-01-01'; "
        "expected one type and one spelling: cast it in QUERY."
    )


def test_a_spelling_that_changes_on_the_way_is_told_after_the_rows_before(sqlite: URL) -> None:
    place = fill(sqlite, "text", *["2024-01-01 10:00:00"] * 2 * PARTITION, "2024-01-02T10:00:00")
    rows = reading(place.url, place.query, "loaded_at")
    for _ in range(2 * PARTITION):
        next(rows)
    with pytest.raises(LoadError, match="changes from"):
        next(rows)


# Queries


@pytest.mark.parametrize(
    "query",
    [
        "{select};",
        "\n {select} ; \n",
        "{select};;",
        "{select} -- what marketing wants",
        "-- what marketing wants\n{select} /* 100 % : all */",
        "{select} WHERE '5%' LIKE '_%' AND 'a:b' = 'a:b' AND ':after' <> '%s' AND '%(x)' <> '%%'",
        "WITH wanted AS ({select}) SELECT * FROM wanted",
        "{select} ORDER BY 1",
    ],
)
@pytest.mark.parametrize("warehouse", ["sqlite", "duckdb", "postgresql", "mariadb", "mysql"])
def test_a_query_runs_as_it_is_written(warehouse: str, query: str, request: pytest.FixtureRequest) -> None:
    place = fill(request.getfixturevalue(warehouse), "bigint", "1", "2")
    assert read(place, 2, query=query.format(select=place.query)).learners == [2]


@pytest.mark.parametrize("warehouse", ["duckdb", "postgresql"])
def test_what_the_driver_gives_is_not_changed(warehouse: str, request: pytest.FixtureRequest) -> None:
    query = f"""SELECT 5::bigint AS learner, '{PROGRAM}'::uuid AS program_uuid, 'VISITED'::varchar AS reason,
        'MAYBE' AS certainty, '2024-01-01 10:00:00+00'::timestamptz AS effective_timestamp"""
    ((row, place),) = reading(written(request.getfixturevalue(warehouse)), query)
    assert (row, place) == ((5, UUID(PROGRAM), "VISITED", "MAYBE", datetime(2024, 1, 1, 10, tzinfo=UTC)), 1)
    assert list(map(type, row[:2])) == [int, UUID]


def giving_buffers() -> Engine:
    """As psycopg2 gives a bytea."""

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(":memory:", check_same_thread=False)
        connection.text_factory = lambda data: memoryview(data) if data == b"x" else data.decode()
        return connection

    return create_engine("sqlite://", creator=connect, poolclass=NullPool)


def test_a_buffer_is_its_bytes_and_not_another_object_each_time() -> None:
    ((row, _place),) = reading(f"{__name__}.giving_buffers", f"SELECT 'x' AS learner, {OTHERS}")
    assert row[0] == b"x"


def test_a_document_in_place_of_a_value_is_refused_and_not_kept_in_memory(postgresql: URL) -> None:
    query = f"SELECT 1 AS learner, repeat('x', 20000000) || {OTHERS}"
    with closing(opened_at(written(postgresql), query=query)) as warehouse:
        ((row,),) = [block.rows for block in warehouse.blocks()]
    assert isinstance(row, Malformed)
    assert row.error == "program_uuid: Expected up to 10,000 characters, not 20,000,036."
    assert list(map(len, map(str, row.values)))[:3] == [1, LONGEST_VALUE, 7]


@pytest.mark.parametrize(
    ("learner", "expected"),
    [
        ("5::numeric", 5),
        ("5.00::numeric(10, 2)", 5),
        ("5.5::numeric", Decimal("5.5")),
        ("'NaN'::numeric", Decimal("NaN")),
        ("'Infinity'::numeric", Decimal("Infinity")),
        ("1e5000::numeric", Decimal("1" + "0" * 5000)),
        ("5::float8", 5.0),
        ("'5'", "5"),
        ("NULL", None),
    ],
)
def test_an_integral_decimal_is_an_integer_and_nothing_else_becomes_one(
    postgresql: URL, learner: str, expected: object
) -> None:
    ((row, _place),) = reading(written(postgresql), f"SELECT {learner} AS lms_user_id, {OTHERS}")
    assert (type(row[0]), repr(row[0])) == (type(expected), repr(expected))


@pytest.mark.parametrize("name", ["learner", "user_id", "LMS_User_ID"])
def test_the_learner_is_known_by_the_columns_name(sqlite: URL, name: str) -> None:
    with closing(opened_at(written(sqlite), query=f"SELECT 1 AS {name}, {OTHERS}")) as warehouse:
        assert (warehouse.name, warehouse.learner_name, warehouse.position()) == ("reports", name.lower(), 0)


# What cannot be read is told before there is a row


@pytest.mark.parametrize(
    ("query", "cursor", "expected"),
    [
        (f"SELECT {OTHERS}, 1 AS x", None, "no column for learner; the header has "
            "program_uuid, intent_reason, certainty, effective_time, x."),
        (f"SELECT 1 AS learner, 2 AS user_id, {OTHERS}", None, "two columns for learner: learner and user_id."),
        (
            f"SELECT 1 AS learner, {OTHERS}",
            "loaded_at",
            "no column loaded_at for CURSOR; the result has "
            "learner, program_uuid, intent_reason, certainty, effective_time.",
        ),
        (f'SELECT 1 AS learner, {OTHERS}, 1 AS at, 2 AS "AT"', "at", "two columns for CURSOR: at and AT."),
    ],
)  # fmt: skip
def test_a_result_that_lacks_a_column_or_has_it_twice_is_refused(
    postgresql: URL, query: str, cursor: str | None, expected: str
) -> None:
    with pytest.raises(LoadError) as caught:
        opened_at(written(postgresql), query=query, cursor=cursor)
    assert one_line(caught.value) == f"reports: {expected}"


@pytest.mark.parametrize("name", ["user_id", "loaded_at"])
def test_a_column_that_is_there_twice_is_refused_also_where_a_subquery_numbers_it(sqlite: URL, name: str) -> None:
    query = f"SELECT 1 AS user_id, {OTHERS}, 1 AS loaded_at, 2 AS {name}"
    field = {"user_id": "learner", "loaded_at": "CURSOR"}[name]
    assert refusal(sqlite, query, "loaded_at") == f"reports: two columns for {field}: {name} and {name}."


@pytest.mark.parametrize("query", ["", ";", "hello", "DELETE FROM intents", "DROP TABLE intents", "SELECT 1) q --"])
@pytest.mark.parametrize("warehouse", ["sqlite", "duckdb", "postgresql", "mariadb", "mysql"])
def test_what_is_no_query_is_refused_and_does_nothing(
    warehouse: str, query: str, request: pytest.FixtureRequest
) -> None:
    place = fill(request.getfixturevalue(warehouse), "bigint", "1")
    assert refusal(place.url, query).startswith("reports: ")
    assert read(place).learners == [1]


def test_a_table_that_is_not_there_is_told_in_the_words_of_the_driver(sqlite: URL) -> None:
    assert refusal(sqlite, "SELECT * FROM nowhere") == "reports: cannot be read: no such table: nowhere."


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("nosuch://u:geheim@h/d", NO_DIALECT.format("nosuch")),
        ("sqlite+nosuch:///x", NO_DIALECT.format("sqlite+nosuch")),
        ("oracle+oracledb://u:geheim@h/d", "cannot be read: oracledb is not installed: pip install it."),
        ("postgresql+psycopg://u:ge@heim@h/d", "URL: write an @ in the password as %40."),
        *(
            (url, "URL: expected one such as dialect+driver://user:password@host/database, "
            "or the dotted path of a function.")
            for url in ("", "geheim", "u:geheim@host/database", "postgresql://u:geheim", "postgresql://u:geheim@h:x/d")
        ),
        ("tests.nowhere.engine", "cannot be read: No module named 'tests.nowhere'."),
        (f"{__name__}.nothing", f'cannot be read: Module "{__name__}" does not define a "nothing" attribute/class.'),
        (f"{__name__}.no_engine", f"URL: {__name__}.no_engine returned no Engine of SQLAlchemy's."),
        (f"{__name__}.fails", "cannot be read: no key today."),
    ],
)  # fmt: skip
def test_a_url_that_leads_nowhere_is_told_without_its_password(url: str, expected: str) -> None:
    assert refusal(url) == f"reports: {expected}"


def no_engine() -> str:
    return "sqlite://"


def fails() -> Engine:
    raise OSError("no key\ntoday")


def in_memory() -> Engine:
    """To be closed in another thread than opened, as with any warehouse; SQLite in memory refuses that by itself."""
    return create_engine("sqlite://", poolclass=NullPool, connect_args={"check_same_thread": False})


def test_a_function_of_the_host_makes_the_engine() -> None:
    ((row, _place),) = reading(f"{__name__}.in_memory", f"SELECT 1 AS learner, {OTHERS}")
    assert row == (1, PROGRAM, "VISITED", "MAYBE", "now")


SECRET = "ge:heim/+ %"


@pytest.mark.parametrize("server", ["postgresql", "mariadb", "mysql"])
@pytest.mark.parametrize(
    "change",
    [
        {"port": 1, "password": SECRET},
        {"host": "nowhere.invalid", "password": SECRET},
        {"username": f"nobody {SECRET}", "password": SECRET},
        {"database": f"nowhere {SECRET}", "password": SECRET},
        {"query": {"password": SECRET, "no_such_option": SECRET}},
    ],
    ids=["port", "host", "user", "database", "option"],
)
def test_a_warehouse_that_is_away_is_told_without_its_password(
    server: str, change: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    message = refusal(request.getfixturevalue(server).set(**change))
    assert message.startswith("reports: cannot be read: ")
    assert "heim" not in message


def test_without_sqlalchemy_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    assert refusal("sqlite://").endswith(": pip install 'program-intent[warehouse]'")


# What breaks on the way is told after the rows before it


def read_to_the_break(place: Place, query: str, cursor: str | None = "loaded_at") -> tuple[int, str]:
    count = 0
    with pytest.raises(LoadError) as caught:  # noqa: PT012
        for _row in reading(place.url, query, cursor):
            count += 1
    return count, one_line(caught.value)


def series(count: int, effective_time: str = "'now'", more: str = "") -> str:
    return (
        f"SELECT number AS user_id, '{PROGRAM}' AS program_uuid, 'VISITED' AS reason, 'MAYBE' AS certainty, "
        f"{effective_time} AS effective_time, number AS loaded_at {more} FROM generate_series(1, {count}) AS s(number)"
    )


@pytest.mark.parametrize(
    ("cursor", "reached"), [("loaded_at", "loaded_at 2000"), (None, "row 2000")], ids=["cursor", "no cursor"]
)
@pytest.mark.parametrize("value", ["infinity", "-infinity", "0044-03-15 BC"])
def test_a_value_that_no_driver_can_read_ends_it(postgresql: URL, value: str, cursor: str | None, reached: str) -> None:
    query = series(3000, f"CASE number WHEN 2500 THEN '{value}' ELSE '2024-01-01' END::timestamptz")
    count, message = read_to_the_break(Place(written(postgresql), ""), query, cursor)
    assert count == 2000
    assert message.startswith(f"reports: breaks off after {reached}: timestamp too ")


def test_an_error_of_the_query_before_its_first_row_is_told_as_such(postgresql: URL) -> None:
    place = Place(written(postgresql), "")
    found = read_to_the_break(place, series(10, "(1 / (number - 5))"))
    assert found == (0, "reports: cannot be read: division by zero.")


def test_a_text_that_is_no_utf8_ends_it(sqlite: URL) -> None:
    place = fill(sqlite, "integer", *map(str, range(1500)))
    query = place.query.replace("'VISITED'", "CASE user_id WHEN 1200 THEN CAST(x'ff' AS text) END")
    count, message = read_to_the_break(place, query)
    assert count == 1000
    assert message.startswith("reports: breaks off after loaded_at 999: Could not decode to UTF-8 column")


@contextmanager
def cut_after(count: int, server: tuple[str, int]) -> Iterator[tuple[str, int]]:
    """The address of a proxy that closes once it has handed on so many bytes from the server."""
    is_over = Event()

    def hand_on(source: socket.socket, target: socket.socket, limit: float) -> None:
        with suppress(OSError):
            while limit > 0 and (data := source.recv(65536)):
                target.sendall(data)
                limit -= len(data)
        is_over.set()

    def serve(listening: socket.socket) -> None:
        client, _address = listening.accept()
        with client, socket.create_connection(server) as upstream:
            for arguments in ((client, upstream, float("inf")), (upstream, client, count)):
                Thread(target=hand_on, args=arguments, daemon=True).start()
            is_over.wait(60)
            for each in (client, upstream):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        thread = Thread(target=serve, args=(listening,))
        thread.start()
        yield listening.getsockname()[:2]
        is_over.set()
        thread.join()


# PyMySQL complains on stderr of its own when it forgets a connection that was cut.
NEEDS_MYSQLCLIENT = pytest.mark.skipif(find_spec("MySQLdb") is None, reason="only mariadb and mysql have mysqlclient")
NUMBERED = "JSON_TABLE(CONCAT('[', REPEAT('0,', 99999), '0]'), '$[*]' COLUMNS (number FOR ORDINALITY))"


SERVERS = [
    pytest.param(
        "postgresql", "postgresql+psycopg", "(SELECT generate_series(1, 100000) AS number)", id="postgresql psycopg"
    ),
    *(
        pytest.param(server, f"{server}+mysqldb", NUMBERED, marks=NEEDS_MYSQLCLIENT, id=f"{server} mysqldb")
        for server in ("mariadb", "mysql")
    ),
]


@pytest.mark.parametrize(("server", "driver", "table"), SERVERS)
def test_a_connection_that_is_cut_ends_it(
    server: str,
    driver: str,
    table: str,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    url = request.getfixturevalue(server).set(drivername=driver)
    query = f"SELECT number AS user_id, {OTHERS}, number AS loaded_at FROM {table} s"
    with cut_after(2_000_000, (url.host, url.port)) as (host, port):
        count, message = read_to_the_break(Place(written(url.set(host=host, port=port)), ""), query)
    assert 10_000 < count < 90_000
    assert count % PARTITION == 0
    assert message.startswith(f"reports: breaks off after loaded_at {count}: ")
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


# Closing


@pytest.mark.parametrize("warehouse", ["sqlite", "duckdb", "postgresql", "mariadb", "mysql"])
def test_it_can_be_closed_before_its_end(
    warehouse: str, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    place = fill(request.getfixturevalue(warehouse), "integer", *map(str, range(3000)))
    opened = opened_at(place.url, query=place.query, cursor="loaded_at")
    blocks = opened.blocks()
    assert len(next(blocks).rows) == PARTITION
    opened.close()
    opened.close()
    assert list(blocks) == []
    del blocks, opened
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("warehouse", ["sqlite", "duckdb", "postgresql", "mariadb", "mysql"])
def test_each_block_may_be_read_in_another_thread(warehouse: str, request: pytest.FixtureRequest) -> None:
    place = fill(request.getfixturevalue(warehouse), "integer", *map(str, range(2500)))
    with closing(opened_at(place.url, query=place.query, cursor="loaded_at")) as opened:
        assert [len(block.rows) for block in ahead(opened.blocks())] == [PARTITION, PARTITION, 500]


def test_nobody_waits_for_a_warehouse_that_thinks(postgresql: URL) -> None:
    """The thread that reads closes the connection once the warehouse has answered."""
    query = series(1500, more=", pg_sleep(CASE number WHEN 1200 THEN 2 ELSE 0 END)")
    opened = opened_at(written(postgresql), query=query)
    blocks = opened.blocks()
    next(blocks)
    rest: list[Any] = []
    thread = Thread(target=lambda: rest.extend(blocks))
    thread.start()
    while not opened._in_use.locked():
        pass
    start = datetime.now(UTC)
    opened.close()
    assert datetime.now(UTC) - start < timedelta(seconds=1)
    thread.join()
    assert [len(block.rows) for block in rest] == [500]
    assert opened._connection.closed


@pytest.mark.parametrize(
    ("server", "driver", "table"),
    [
        *SERVERS,
        pytest.param("mariadb", "mariadb+pymysql", NUMBERED, id="mariadb pymysql"),
        pytest.param("mysql", "mysql+pymysql", NUMBERED, id="mysql pymysql"),
    ],
)
def test_nobody_waits_for_a_silent_warehouse_that_is_to_be_closed(
    server: str,
    driver: str,
    table: str,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Some drivers read to the end of the result before they close."""
    url = request.getfixturevalue(server).set(drivername=driver)
    with closing(proxy_of(url)) as proxy:
        opened = opened_at(written(through(proxy, url)), query=heavy(table))
        next(opened.blocks())
        proxy.fall_silent()
        in_thread(opened.close).result(10)
        assert not opened._connection.closed
        proxy.speak()
        wait_until(lambda: opened._connection.closed)
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def proxy_of(url: URL) -> Proxy:
    assert url.host
    assert url.port
    return Proxy(url.port, url.host)


def through(proxy: Proxy, url: URL) -> URL:
    return url.set(host="127.0.0.1", port=proxy.port)


def heavy(table: str) -> str:
    """More than fits on the way to a client."""
    return f"SELECT number AS user_id, {OTHERS}, REPEAT('x', 2000) AS more FROM {table} s LIMIT 20000"


# Silence


def test_connect_timeout_ends_the_silence_of_a_postgresql_that_is_connected_to(postgresql: URL) -> None:
    with closing(proxy_of(postgresql)) as proxy:
        proxy.fall_silent()
        url = through(proxy, postgresql).update_query_dict({"connect_timeout": "2"})
        assert in_thread(partial(refusal, url)).result(20) == "reports: cannot be read: connection timeout expired."


@pytest.mark.parametrize(("server", "driver", "table"), SERVERS[1:])
def test_connect_timeout_with_read_timeout_ends_any_silence_of_mariadb_and_mysql(
    server: str, driver: str, table: str, request: pytest.FixtureRequest
) -> None:
    limits = {"connect_timeout": "1", "read_timeout": "1"}
    url = request.getfixturevalue(server).set(drivername=driver).update_query_dict(limits)
    with closing(proxy_of(url)) as proxy:
        rows = reading(written(through(proxy, url)), heavy(table))
        next(rows)
        proxy.fall_silent()
        with pytest.raises(LoadError, match=r"breaks off after row \d+000: 2013 Lost connection to server"):
            in_thread(partial(list, rows)).result(20)
        told = in_thread(partial(refusal, through(proxy, url))).result(20)
        assert told.startswith("reports: cannot be read: 2013 Lost connection to server")


# Memory

MEASURE = """
import resource, sys
from program_intent.sources.warehouse import Warehouse, engine_of
warehouse = Warehouse("reports", engine=engine_of("reports", sys.argv[1]), query=sys.argv[2], cursor="loaded_at")
print(sum(len(block.rows) for block in warehouse.blocks()), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
warehouse.close()
"""


def measured(place: Place) -> list[int]:
    """The rows read, and the peak of a process of its own; why a shell stands between, test_load_memory.py says."""
    command = ["/bin/sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", MEASURE, place.url, place.query]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, result.stderr
    return list(map(int, result.stdout.split()))


# DuckDB sorts in our process, in a memory whose limit is DuckDB's.
@pytest.mark.slow
@pytest.mark.parametrize("warehouse", ["sqlite", "postgresql", "mariadb", "mysql"])
def test_memory_does_not_grow_with_the_result(warehouse: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(warehouse)
    place = fill(url, "integer", *map(str, range(300)))
    peaks = []
    for count, copies in ((30_000, 99), (300_000, 9)):
        others = f"(SELECT 1 FROM intents LIMIT {copies}) others"
        execute(url, f"INSERT INTO intents SELECT intents.user_id, intents.loaded_at FROM intents, {others}")
        rows, peak = measured(place)
        assert rows == count
        peaks.append(peak)
    assert peaks[1] < 1.1 * peaks[0]
