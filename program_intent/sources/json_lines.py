"""One JSON object a line, keys named as the columns of a CSV."""

import json
from collections.abc import Iterator
from typing import Any

from program_intent.data import FIELDS
from program_intent.sources.headers import field_named
from program_intent.sources.lines import Lines, is_utf8
from program_intent.sources.rows import Block, Malformed, Values


class JsonLinesFile:
    """JSON lines; a key that is missing in one is a value that is None."""

    unit = "line"

    def __init__(self, lines: Lines) -> None:
        self.name, self.position, self.close = lines.name, lines.position, lines.close
        self._lines = lines

    def blocks(self) -> Iterator[Block]:
        while lines := self._lines.ahead():
            first = self._lines.number + 1
            self._lines.skip(len(lines))
            places = [place for place, line in enumerate(lines, first) if line.strip()]
            originals = [lines[place - first] for place in places]
            yield Block(places, originals, list(map(_formed, originals)))


def _formed(line: str) -> Values | Malformed:
    try:
        return _values(line.rstrip("\r\n"))
    except ValueError as error:
        return Malformed(str(error), ("",) * len(FIELDS))


def _values(original: str) -> Values:
    if not is_utf8(original):
        raise ValueError("The row is not UTF-8.")
    try:
        found = json.loads(original, object_pairs_hook=_Object)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Expected a JSON object: {error}.") from error
    if not isinstance(found, _Object):
        raise ValueError("Expected a JSON object with the fields of an intent.")
    values: dict[str, Any] = {}
    for key, value in found.pairs:
        field = field_named(key)
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
