"""Report files, CSV or JSON lines, plain or gzipped: streamed as raw rows, with their place and their original text."""

import csv
import errno
import gzip
import json
import os
import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from io import BufferedReader, TextIOWrapper
from itertools import islice
from operator import itemgetter
from typing import IO, Any, NamedTuple, Protocol, cast

from program_intent.data import FIELDS
from program_intent.exceptions import LoadError

# By header name in lower case; what is not listed is ignored.
COLUMNS = {
    "program_uuid": "program_uuid",
    "learner": "learner",
    "user_id": "learner",
    "lms_user_id": "learner",
    "reason": "reason",
    "intent_reason": "reason",
    "certainty": "certainty",
    "intent_certainty": "certainty",
    "effective_timestamp": "effective_timestamp",
    "effective_time": "effective_timestamp",
}
Values = tuple[Any, ...]
# Characters; it also bounds what a quote that is never closed may swallow.
LONGEST_FIELD = 16 * 2**20
# Lines read at once; where one of them is no plain record, all of them are read one by one.
BLOCK = 500


class Record(NamedTuple):
    """A raw row: the physical line on which it starts, its text, and its values or why they cannot be had."""

    line: int
    original: str
    values: Values
    error: str | None


class Block(NamedTuple):
    """Consecutive records: the line on which each starts, its text, and its values or, as a text, what is wrong."""

    lines: Sequence[int]
    originals: Sequence[str]
    rows: Sequence[Values | str]


class Report(Protocol):
    """An open report file whose header has been read."""

    name: str

    def blocks(self) -> Iterator[Block]:
        """Every row but blank lines; LoadError if the file breaks off, after the rows before the break."""

    def values(self, original: str) -> Values:
        """The values in the original text of a record, in the order of FIELDS, as far as they can be read."""

    def position(self) -> int:
        """Bytes read from the file so far, compressed ones if it is."""

    def close(self) -> None: ...


def open_report(path: str, file_format: str | None = None) -> Report:
    """Open a file, or standard input for ``-``; gzip is recognised by its content, the format by the file's name.

    :raises LoadError: it cannot be read, or its header is not one of a report.
    """
    name = path.lower().removesuffix(".gz")
    is_json_lines = file_format == "jsonl" or (file_format is None and name.endswith((".jsonl", ".ndjson")))
    lines = _Lines(path)
    try:
        return JsonLinesReport(lines) if is_json_lines else CsvReport(lines)
    except BaseException:
        lines.close()
        raise


class _Lines:
    """The physical lines of a file as text, counted; bytes that are no UTF-8 come as lone surrogates."""

    def __init__(self, path: str) -> None:
        self.name = path
        self.number = 0
        self.taken: list[str] = []
        self._ahead: deque[str] = deque()
        self._break: Exception | None = None
        try:
            self._raw = _stdin() if path == "-" else open(path, "rb")  # noqa: SIM115
            is_gzip = self._raw.peek(2)[:2] == b"\x1f\x8b"
        except OSError as error:
            raise LoadError(f"{path}: cannot be read: {error.strerror}.") from error
        binary = cast(IO[bytes], gzip.GzipFile(fileobj=self._raw) if is_gzip else self._raw)
        self._text = TextIOWrapper(binary, encoding="utf-8-sig", errors="surrogateescape", newline="")

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if not self._ahead and not self.ahead():
            raise StopIteration
        self.number += 1
        self.taken.append(self._ahead.popleft())
        return self.taken[-1]

    def ahead(self) -> list[str]:
        """The next lines, up to BLOCK, without taking them; none at the end."""
        try:
            if self._break is None:
                self._ahead.extend(islice(self._text, BLOCK - len(self._ahead)))
        except (OSError, EOFError, zlib.error) as error:
            self._break = error
        if self._break and not self._ahead:
            raise LoadError(f"{self.name}: breaks off after line {self.number}: {self._break}.") from self._break
        return list(self._ahead)

    def is_before(self, line: int) -> bool:
        return self.number < line

    def skip(self, count: int) -> None:
        """Take that many of the lines ahead."""
        self.number += count
        for _ in range(count):
            self._ahead.popleft()

    def take(self) -> tuple[int, str]:
        """The lines read since the last call, without the last line's end, and the number of the first."""
        start = self.number - len(self.taken) + 1
        text = self.taken[0] if len(self.taken) == 1 else "".join(self.taken)
        self.taken.clear()
        return start, text.rstrip("\r\n")

    def position(self) -> int:
        return self._raw.tell() if self._raw.seekable() else 0

    def close(self) -> None:
        if self.name != "-":
            self._text.close()
            self._raw.close()


def _stdin() -> BufferedReader:
    if sys.stdin is None:  # how Python starts where it is closed
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    # A reader of our own: Python would abort if a thread that outlives the load held the lock of sys.stdin's.
    stdin: Any = sys.stdin.buffer
    return BufferedReader(getattr(stdin, "raw", stdin))


class CsvReport:
    """Comma-separated values with a header, quoted as RFC 4180 has it."""

    def __init__(self, lines: _Lines) -> None:
        self.name = lines.name
        self.position, self.close = lines.position, lines.close
        self._lines = lines
        self._reader = csv.reader(lines, strict=True)
        header = next(self._rows(), None)
        if header is None:
            raise LoadError(f"{self.name}: is empty; expected a header with {', '.join(FIELDS)}.")
        if isinstance(header, str):
            raise LoadError(f"{self.name}: the header: {header}")
        if not _is_utf8(lines.take()[1]):
            raise LoadError(f"{self.name}: the header is not UTF-8.")
        self._width = len(header)
        columns = _columns(self.name, header)
        self._pick = itemgetter(*(columns[field] for field in FIELDS))

    def blocks(self) -> Iterator[Block]:
        records = self.records()
        while lines := self._lines.ahead():
            first = self._lines.number + 1
            if (rows := self._plain_rows(lines)) is None:
                yield from _blocks(records, partial(self._lines.is_before, first + len(lines) - 1))
            else:
                self._lines.skip(len(lines))
                yield Block(range(first, first + len(lines)), lines, rows)

    def _plain_rows(self, lines: list[str]) -> list[Values | str] | None:
        """The values, if each line is a record and nothing is wrong with its form: reading them so takes a fifth."""
        try:
            rows = list(csv.reader(lines, strict=True))
        except csv.Error:
            return None
        if len(rows) != len(lines) or set(map(len, rows)) != {self._width} or not _is_utf8("".join(lines)):
            return None
        return list(map(self._pick, rows))

    def records(self) -> Iterator[Record]:
        for row in self._rows():
            start, original = self._lines.take()
            if isinstance(row, str):
                yield Record(start, original, (), row)
            elif not original.isascii() and not _is_utf8(original):
                yield Record(start, original, (), "The row is not UTF-8.")
            elif len(row) != self._width:
                error = f"Expected {self._width} columns as in the header, found {len(row)}."
                yield Record(start, original, (), error)
            else:
                yield Record(start, original, self._pick(row), None)

    def values(self, original: str) -> Values:
        try:
            row = next(csv.reader([original]), [])
        except csv.Error:
            row = []
        values: Values = self._pick([*row, *[""] * (self._width - len(row))])
        return values

    def _rows(self) -> Iterator[list[str] | str]:
        """Rows that are not blank; a text is what is wrong with the form of one."""
        while True:
            start = self._lines.number + 1
            try:
                row = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                # Whatever was swallowed after an open quote are good rows too: do not skip them in silence.
                if "unexpected end" in str(error) or self._lines.number > start:
                    raise LoadError(f"{self.name}: breaks off: the quote in line {start} is not closed.") from error
                yield f"Expected values as CSV quotes them: {error}."
            else:
                if row and (len(row) > 1 or row[0].strip()):
                    yield row
                else:
                    self._lines.taken.clear()


class JsonLinesReport:
    """One JSON object a line, keys named as the columns of a CSV."""

    def __init__(self, lines: _Lines) -> None:
        self.name = lines.name
        self.position, self.close = lines.position, lines.close
        self._lines = lines

    def blocks(self) -> Iterator[Block]:
        return _blocks(self.records())

    def records(self) -> Iterator[Record]:
        for line in self._lines:
            number, original = self._lines.take()
            if not line.strip():
                continue
            try:
                yield Record(number, original, _json_values(original), None)
            except ValueError as error:
                yield Record(number, original, (), str(error))

    def values(self, original: str) -> Values:
        try:
            return _json_values(original)
        except ValueError:
            return ("",) * len(FIELDS)


def _blocks(records: Iterator[Record], wanted: Callable[[], bool] = lambda: True) -> Iterator[Block]:
    """The records in blocks, for as long as more are wanted."""
    taken: list[Record] = []
    try:
        while wanted() and (record := next(records, None)):
            taken.append(record)
            if len(taken) == BLOCK:
                yield _block(taken)
                taken = []
    except LoadError:
        yield _block(taken)
        raise
    yield _block(taken)


def _block(records: list[Record]) -> Block:
    return Block(
        [record.line for record in records],
        [record.original for record in records],
        [record.error or record.values for record in records],
    )


def _json_values(original: str) -> Values:
    if not _is_utf8(original):
        raise ValueError("The row is not UTF-8.")
    try:
        found = json.loads(original, object_pairs_hook=_Object)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Expected a JSON object: {error}.") from error
    if not isinstance(found, _Object):
        raise ValueError("Expected a JSON object with the fields of an intent.")
    values: dict[str, Any] = {}
    for key, value in found.pairs:
        field = COLUMNS.get(key.strip().lower())
        if field in values:
            raise ValueError(f"Two values for {field}.")
        if field:
            values[field] = value
    return tuple(values.get(field) for field in FIELDS)


class _Object(dict[str, Any]):
    """A JSON object that also keeps its pairs: a dict drops the first of two values for one key in silence."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def _columns(name: str, header: Iterable[str]) -> dict[str, int]:
    columns: dict[str, int] = {}
    names = [" ".join(column.lower().split()) for column in header]
    for index, column in enumerate(names):
        field = COLUMNS.get(column)
        if field in columns:
            raise LoadError(f"{name}: two columns for {field}: {names[columns[field]]} and {column}.")
        if field:
            columns[field] = index
    missing = [field for field in FIELDS if field not in columns]
    if missing:
        raise LoadError(f"{name}: no column for {', '.join(missing)}; the header has {_shortened(', '.join(names))}.")
    return columns


def _shortened(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:300]}..."


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def size(path: str) -> int:
    """Bytes of a file, 0 for a pipe."""
    return os.path.getsize(0 if path == "-" else path)
