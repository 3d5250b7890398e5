"""Report files, CSV or JSON lines, plain or gzipped: streamed as raw rows, with their place and their original text."""

import csv
import gzip
import json
import os
import sys
import zlib
from collections.abc import Iterable, Iterator
from io import BufferedReader, TextIOWrapper
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


class Record(NamedTuple):
    """A raw row: the physical line on which it starts, its text, and its values or why they cannot be had."""

    line: int
    original: str
    values: Values
    error: str | None


class Report(Protocol):
    """An open report file whose header has been read."""

    name: str

    def records(self) -> Iterator[Record]:
        """Every row but blank lines; LoadError if the file breaks off."""

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
        try:
            self._raw = cast(BufferedReader, sys.stdin.buffer) if path == "-" else open(path, "rb")  # noqa: SIM115
            is_gzip = self._raw.peek(2)[:2] == b"\x1f\x8b"
        except OSError as error:
            raise LoadError(f"{path}: cannot be read: {error.strerror}.") from error
        binary = cast(IO[bytes], gzip.GzipFile(fileobj=self._raw) if is_gzip else self._raw)
        self._text = TextIOWrapper(binary, encoding="utf-8-sig", errors="surrogateescape", newline="")

    def __iter__(self) -> Iterator[str]:
        try:
            for line in self._text:
                self.number += 1
                self.taken.append(line)
                yield line
        except (OSError, EOFError, zlib.error) as error:
            raise LoadError(f"{self.name}: breaks off after line {self.number}: {error}.") from error

    def take(self) -> str:
        """The lines read since the last call, without the last line's end."""
        text = self.taken[0] if len(self.taken) == 1 else "".join(self.taken)
        self.taken.clear()
        return text.rstrip("\r\n")

    def position(self) -> int:
        return self._raw.tell() if self.name != "-" else 0

    def close(self) -> None:
        if self.name != "-":
            self._text.close()
            self._raw.close()


class CsvReport:
    """Comma-separated values with a header, quoted as RFC 4180 has it."""

    def __init__(self, lines: _Lines) -> None:
        self.name = lines.name
        self.position, self.close = lines.position, lines.close
        self._lines = lines
        self._reader = csv.reader(lines, strict=True)
        header = next((row for row in self._rows() if isinstance(row, list)), None)
        if header is None:
            raise LoadError(f"{self.name}: is empty; expected a header with {', '.join(FIELDS)}.")
        if not _is_utf8(lines.take()):
            raise LoadError(f"{self.name}: the header is not UTF-8.")
        self._width = len(header)
        columns = _columns(self.name, header)
        self._pick = itemgetter(*(columns[field] for field in FIELDS))

    def records(self) -> Iterator[Record]:
        start = self._lines.number + 1
        for row in self._rows():
            original = self._lines.take()
            if isinstance(row, str):
                yield Record(start, original, (), row)
            elif not original.isascii() and not _is_utf8(original):
                yield Record(start, original, (), "The row is not UTF-8.")
            elif len(row) != self._width:
                error = f"Expected {self._width} columns as in the header, found {len(row)}."
                yield Record(start, original, (), error)
            else:
                yield Record(start, original, self._pick(row), None)
            start = self._lines.number + 1

    def values(self, original: str) -> Values:
        try:
            row = next(csv.reader(original.splitlines(keepends=True)), [])
        except csv.Error:
            row = []
        return self._pick([*row, *[""] * (self._width - len(row))])

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

    def records(self) -> Iterator[Record]:
        for line in self._lines:
            original = self._lines.take()
            if not line.strip():
                continue
            try:
                yield Record(self._lines.number, original, _json_values(original), None)
            except ValueError as error:
                yield Record(self._lines.number, original, (), str(error))

    def values(self, original: str) -> Values:
        try:
            return _json_values(original)
        except ValueError:
            return ("",) * len(FIELDS)


def _json_values(original: str) -> Values:
    if not _is_utf8(original):
        raise ValueError("The row is not UTF-8.")
    try:
        # Pairs, because a dict would keep the last of two values for one field in silence.
        pairs = json.loads(original, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Expected a JSON object: {error}.") from error
    if not isinstance(pairs, _Pairs):
        raise ValueError("Expected a JSON object with the fields of an intent.")
    found: dict[str, Any] = {}
    for key, value in pairs:
        field = COLUMNS.get(key.strip().lower())
        if field in found:
            raise ValueError(f"Two values for {field}.")
        if field:
            found[field] = value
    return tuple(found.get(field) for field in FIELDS)


class _Pairs(list[tuple[str, Any]]):
    """The members of a JSON object."""


def _columns(name: str, header: Iterable[str]) -> dict[str, int]:
    columns: dict[str, int] = {}
    names = [column.strip().lower() for column in header]
    for index, column in enumerate(names):
        field = COLUMNS.get(column)
        if field in columns:
            raise LoadError(f"{name}: two columns for {field}: {names[columns[field]]} and {column}.")
        if field:
            columns[field] = index
    missing = [field for field in FIELDS if field not in columns]
    if missing:
        raise LoadError(f"{name}: no column for {', '.join(missing)}; the header has {', '.join(names)}.")
    return columns


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def size(path: str) -> int:
    """Bytes of a file, 0 where that cannot be said, as for a pipe."""
    return 0 if path == "-" else os.path.getsize(path)
