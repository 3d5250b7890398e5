"""What a query finds in a data warehouse, read through SQLAlchemy as one stream."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from decimal import Decimal
from itertools import chain
from operator import itemgetter
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from django.utils.module_loading import import_string

from program_intent.conf import is_dotted_path
from program_intent.data import FIELDS
from program_intent.exceptions import LoadError
from program_intent.sources import headers
from program_intent.sources.cursors import Cursor, as_integer, kind
from program_intent.sources.rows import Block, Malformed, Values

if TYPE_CHECKING:
    from sqlalchemy import URL, CursorResult, Engine

# Rows that are fetched at once; if one of them cannot be, none of them is given.
PARTITION = 1000
# Seconds that a warehouse is waited for when its connection is closed.
CLOSED_WITHIN = 1
# Characters of a value: a column mapped by mistake may hold documents.
LONGEST_VALUE = 10_000
# What may stand behind a query, which is to be a subquery.
_ENDING = "; \t\r\n"
# What SQLite adds to the second of two columns of a subquery that bear one name.
_NUMBER = re.compile(r":\d+$")
# The parameters of a URL whose values are not to be told.
_SECRET = re.compile("pass|pwd|secret|token|key|odbc_connect", re.I)


def engine_of(name: str, url: str) -> "Engine":
    """The engine that an SQLAlchemy URL names, or that the function of a dotted path returns.

    :raises LoadError: what it needs is not installed, or there is none.
    """
    try:
        from sqlalchemy import Engine, create_engine, make_url
        from sqlalchemy.exc import NoSuchModuleError
        from sqlalchemy.pool import NullPool
    except ModuleNotFoundError as error:
        remedy = "pip install 'program-intent[warehouse]'"
        raise LoadError(f"{name}: a warehouse cannot be read ({error}): {remedy}") from error
    if is_dotted_path(url):
        try:
            engine = import_string(url)()
        except Exception as error:  # the host's own
            raise LoadError(f"{name}: cannot be read: {_reason(error, ())}.") from error
        if not isinstance(engine, Engine):
            raise LoadError(f"{name}: URL: {url} returned no Engine of SQLAlchemy's.")
        return engine
    try:
        parsed = make_url(url)
    except Exception:  # whose words may have the password
        expected = "dialect+driver://user:password@host/database, or the dotted path of a function"
        raise LoadError(f"{name}: URL: expected one such as {expected}.") from None
    if "@" in (parsed.host or ""):
        raise LoadError(f"{name}: URL: write an @ in the password as %40.")
    try:
        # Without a pool, so that what is closed is gone.
        return create_engine(parsed, poolclass=NullPool)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        needed = getattr(error, "name", None) or f"the package with SQLAlchemy's dialect {parsed.drivername}"
        raise LoadError(f"{name}: cannot be read: {needed} is not installed: pip install it.") from error
    except Exception as error:  # a parameter that the dialect does not know
        raise LoadError(f"{name}: cannot be read: {_reason(error, _secrets(parsed))}.") from error


class Warehouse:
    """The rows that a query finds, in the order of its column ``cursor``; it runs when the instance is made.

    Rows whose cursor is lower than ``after`` are left out; those without one are given each time. The places are the
    values of the cursor as the driver gives them, or the numbers of the rows where no cursor is named.
    """

    unit = "row"

    def __init__(
        self, name: str, *, engine: "Engine", query: str, cursor: str | None = None, after: Cursor | None = None
    ) -> None:
        """:raises LoadError: the warehouse refuses, or the result lacks a column."""
        self.name = name
        self._cursor = cursor
        self._kind, self._reached = kind(after), after
        self._read = 0
        self._secrets = _secrets(engine.url)
        self._is_closed = False
        self._in_use = Lock()
        try:
            with ExitStack() as opened:
                self._connection = opened.enter_context(engine.connect())
                rows = _escaped(f"SELECT * FROM ({query.rstrip(_ENDING)}\n) q")
                with closing(self._run(f"{rows} WHERE 1 = 0")) as empty:
                    names = _as_written(list(empty.keys()))
                self.learner_name = headers.learner_name(names)
                self._pick = itemgetter(*headers.columns(name, names))
                if cursor:
                    position = self._position_of(cursor, names)
                    self._pick_cursor = itemgetter(position)
                    column = _escaped(f"q.{self._quoted(names[position])}")
                    beginning = "" if after is None else f" WHERE {column} >= :after OR {column} IS NULL"
                    rows = f"{rows}{beginning} ORDER BY {column}"
                self._result = self._run(rows, after=after)
                opened.pop_all()
        except LoadError:
            raise
        except Exception as error:  # each driver has its own
            raise self._unreadable(error) from error

    def _run(self, statement: str, **parameters: Any) -> "CursorResult[Any]":
        from sqlalchemy import text

        return self._connection.execute(text(statement), parameters, execution_options={"yield_per": PARTITION})

    def _quoted(self, column: str) -> str:
        """Quoted, and a percent sign as it is: what makes SQLAlchemy's text a statement doubles it."""
        quote = self._connection.dialect.identifier_preparer.quote
        return quote(column).replace("%%", "%") if "%%" in quote("%") else quote(column)

    def _position_of(self, cursor: str, names: Sequence[str]) -> int:
        found = [position for position, name in enumerate(names) if name.lower() == cursor.lower()]
        if not found:
            raise LoadError(f"{self.name}: no column {cursor} for CURSOR; the result has {', '.join(names)}.")
        if len(found) > 1:
            raise LoadError(f"{self.name}: two columns for CURSOR: {' and '.join(names[each] for each in found)}.")
        return found[0]

    def blocks(self) -> Iterator[Block]:
        while fetched := self._fetched():
            first = self._read + 1
            self._read += len(fetched)
            places: Sequence[Any] = range(first, self._read + 1)
            if self._cursor:
                places = list(map(self._pick_cursor, fetched))
                self._follow(places)
            rows: Sequence[Values | Malformed] = list(map(self._pick, fetched))
            if not all(map(_is_plain, zip(*rows, strict=True))):
                rows = list(map(_plain, rows))
            yield Block(places, None, rows)

    def _fetched(self) -> Sequence[Any]:
        if not self._in_use.acquire(blocking=False):
            return ()
        try:
            return self._result.fetchmany(PARTITION)
        except Exception as error:
            if not self._read:
                raise self._unreadable(error) from error
            place = f"row {self._read}" if self._reached is None else f"{self._cursor} {self._reached}"
            raise LoadError(f"{self.name}: breaks off after {place}: {_reason(error, self._secrets)}.") from error
        finally:
            self._in_use.release()
            if self._is_closed:
                self.close()

    def _follow(self, values: Iterable[Any]) -> None:
        for value in values:
            if value is None:
                continue
            found = kind(value)
            if found is None:
                expected = "a time, a date or an integer: cast it in QUERY"
                raise LoadError(f"{self.name}: the cursor {self._cursor} is {_shown(value)}, not {expected}.")
            if self._kind and found != self._kind:
                change = f"from {_shown(self._reached)} to {_shown(value)}"
                expected = "expected one type and one spelling: cast it in QUERY"
                raise LoadError(f"{self.name}: the cursor {self._cursor} changes {change}; {expected}.")
            self._kind, self._reached = found, value

    def position(self) -> int:
        return self._read

    def close(self) -> None:
        """A silent warehouse is not waited for, nor the thread that reads: it closes when it has its rows."""
        self._is_closed = True
        if self._in_use.acquire(blocking=False):
            closing = Thread(target=self._close, daemon=True)
            closing.start()
            closing.join(CLOSED_WITHIN)

    def _close(self) -> None:
        """Some drivers ask the warehouse for it, or read on to the end of the result."""
        with suppress(Exception):  # of which SQLAlchemy would log the traceback, where the connection is cut
            if cursor := self._result.cursor:
                cursor.close()
        with suppress(Exception):
            self._connection.close()

    def _unreadable(self, error: Exception) -> LoadError:
        return LoadError(f"{self.name}: cannot be read: {_reason(error, self._secrets)}.")


def _reason(error: Exception, secrets: Iterable[str]) -> str:
    """The driver's words on one line; SQLAlchemy would add the statement with its values."""
    driver = getattr(error, "orig", None)
    text = " ".join(map(str, driver.args)) if driver else str(error)
    for secret in secrets:
        text = text.replace(secret, "***")
    return " ".join(text.split()).rstrip(".") or type(error).__name__


def _as_written(names: list[str]) -> list[str]:
    """The names as the query has them, where the warehouse numbers those that come twice."""
    return [written if (written := _NUMBER.sub("", name)) in names else name for name in names]


def _is_plain(column: Sequence[Any]) -> bool:
    """Whether the values of a column, of a block, are as the judge takes them."""
    kinds = set(map(type, column))
    if str in kinds:
        return len(kinds) == 1 and max(map(len, column)) <= LONGEST_VALUE
    return kinds.isdisjoint((Decimal, memoryview, bytes))


def _plain(row: Values) -> Values | Malformed:
    """The row as the judge takes it: without buffers, which are other objects each time, nor documents."""
    values = tuple(bytes(each) if isinstance(each, memoryview) else as_integer(each) for each in row)
    for name, value in zip(FIELDS, values, strict=True):
        if isinstance(value, str | bytes) and len(value) > LONGEST_VALUE:
            told = f"{name}: Expected up to {LONGEST_VALUE:,} characters, not {len(value):,}."
            cut = (each[:LONGEST_VALUE] if isinstance(each, str | bytes) else each for each in values)
            return Malformed(told, tuple(cut))
    return values


def _escaped(sql: str) -> str:
    """Without what SQLAlchemy would take for a parameter."""
    return sql.replace(":", r"\:")


def _secrets(url: "URL") -> list[str]:
    """The password of a URL and the values of its parameters that are not to be told."""
    hidden = [[value] if isinstance(value, str) else value for name, value in url.query.items() if _SECRET.search(name)]
    return [secret for secret in (url.password, *chain.from_iterable(hidden)) if secret]


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
