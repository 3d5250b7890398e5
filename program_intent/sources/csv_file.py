"""Comma-separated values with a header, quoted as RFC 4180 has it."""

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from operator import itemgetter

from program_intent.data import FIELDS
from program_intent.exceptions import LoadError
from program_intent.sources import headers, rejects
from program_intent.sources.lines import LONGEST, Lines, is_utf8
from program_intent.sources.rows import Block, Malformed, Values

# Python's limit of 128 KiB, which a column that is ignored may exceed, is the process's: as each open file found it,
# so that it is put back with the last one, in whatever order they are closed.
_found_limits: list[int] = []
_BLANK = ("",) * len(FIELDS)


class CsvFile:
    """A CSV whose header has been read."""

    unit = "line"

    def __init__(self, lines: Lines) -> None:
        self.name, self.position, self.stored = lines.name, lines.position, lines.stored
        self._lines = lines
        self._reader = csv.reader(lines, strict=True)
        header = next(self._rows(), None)
        original = lines.take()[1]
        if header is None:
            raise LoadError(f"{self.name}: is empty; expected a header with {', '.join(FIELDS)}.")
        if plural := headers.other_separator(original):
            raise LoadError(f"{self.name}: is separated by {plural}: separate it by commas.")
        if isinstance(header, str):
            raise LoadError(f"{self.name}: the header: {header}")
        if not is_utf8(original):
            raise LoadError(f"{self.name}: the header is not UTF-8.")
        self.learner_name = headers.learner_name(header)
        self._width = len(header)
        self._pick: Callable[[Sequence[str]], Values] = itemgetter(*headers.columns(self.name, header))
        if header[: len(rejects.PLACE)] == list(rejects.PLACE):
            self._pick = rejects.unescaped(self._pick)
        _found_limits.append(csv.field_size_limit(LONGEST))

    def close(self) -> None:
        csv.field_size_limit(_found_limits.pop())
        self._lines.close()

    def blocks(self) -> Iterator[Block]:
        while lines := self._lines.ahead():
            first = self._lines.number + 1
            text = "".join(lines)
            if (rows := self._plain_rows(lines, text)) is None:
                yield from self._one_by_one(first + len(lines) - 1)
            else:
                self._lines.skip(len(lines))
                yield Block(range(first, first + len(lines)), lines, rows, None if '"' in text else self._apart)

    def _plain_rows(self, lines: list[str], text: str) -> list[Values] | None:
        """The values, if each line is a record and nothing is wrong with its form: reading them so takes a fifth."""
        try:
            rows = list(csv.reader(lines, strict=True))
        except csv.Error:
            return None
        if len(rows) != len(lines) or set(map(len, rows)) != {self._width} or not is_utf8(text):
            return None
        picked = list(map(self._pick, rows))
        return None if _BLANK in picked else picked

    def _apart(self, line: str) -> Values:
        """The values of a plain line without quotes."""
        return self._picked(line.split(","))

    def _one_by_one(self, last: int) -> Iterator[Block]:
        """The records up to the one that holds line ``last``, also those before the file breaks off."""
        records = []
        try:
            for row in self._rows():
                place, original = self._lines.take()
                records.append((place, original, self._formed(row, original)))
                if self._lines.number >= last:
                    break
        finally:
            places, originals, rows = zip(*records, strict=True) if records else ((), (), ())
            yield Block(places, originals, rows)

    def _formed(self, row: list[str] | str, original: str) -> Values | Malformed:
        if isinstance(row, str):
            return Malformed(row, self._readable(original))
        values = self._picked(row)
        if not original.isascii() and not is_utf8(original):
            return Malformed("The row is not UTF-8.", values)
        if len(row) != self._width:
            return Malformed(f"Expected {self._width} columns as in the header, found {len(row)}.", values)
        return values

    def _readable(self, original: str) -> Values:
        """The values of a badly quoted record, as far as a lenient reader finds them."""
        row: list[str] = []
        with suppress(csv.Error):
            row = next(csv.reader([original]), row)
        return self._picked(row)

    def _picked(self, row: list[str]) -> Values:
        return self._pick([*row, *[""] * (self._width - len(row))])

    def _rows(self) -> Iterator[list[str] | str]:
        """Rows that are not blank or nothing but commas; a text is what is wrong with the form of one."""
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
                if any(row) and (len(row) > 1 or row[0].strip()):
                    yield row
                else:
                    self._lines.take()
