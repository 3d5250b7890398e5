"""One JSON object a line, keys named as the columns of a CSV."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from itertools import chain, repeat
from operator import call, itemgetter
from typing import Any

from program_intent.data import FIELDS
from program_intent.sources.headers import field_named, learner_name
from program_intent.sources.lines import Lines, is_utf8
from program_intent.sources.rows import Block, Malformed, Values

_DECODER = json.JSONDecoder()


class NoScalar:
    """In place of a value that is an array or object, its text: parsed, it would take 25 times as much memory."""

    __hash__ = None  # type: ignore[assignment]  # as that of what it stands for

    def __init__(self, value: object) -> None:
        try:
            self._text = repr(value)
        except RecursionError:
            self._text = f"a {type(value).__name__}"

    def __repr__(self) -> str:
        return self._text


class JsonLinesFile:
    """JSON lines; a key that is missing in one is a value that is None."""

    unit = "line"

    def __init__(self, lines: Lines, names_mean_one_field: bool = False) -> None:
        self.name, self.position, self.stored, self.close = lines.name, lines.position, lines.stored, lines.close
        self._lines = lines
        objects = (_first_object(line) for line in lines.ahead())
        self.learner_name = learner_name(next(filter(None, objects), ()))
        self._only = None if names_mean_one_field else self.learner_name

    def blocks(self) -> Iterator[Block]:
        while lines := self._lines.ahead():
            first = self._lines.number + 1
            self._lines.skip(len(lines))
            if rows := _plain_rows(lines, self._only):
                yield Block(range(first, first + len(lines)), lines, rows)
            else:
                places = [place for place, line in enumerate(lines, first) if line.strip()]
                originals = [lines[place - first] for place in places]
                yield Block(places, originals, [_row(original, self._only) for original in originals])


def _first_object(line: str) -> dict[str, Any]:
    with suppress(ValueError, RecursionError):
        if isinstance(found := json.loads(line), dict):
            return found
    return {}


def _plain_rows(lines: list[str], learner: str | None) -> list[Values] | None:
    """The values, if each line is an object that no rule forbids: reading them so takes a third of the time."""
    text = "".join(lines)
    try:
        objects, ends = zip(*map(_DECODER.raw_decode, lines), strict=True)
        if set(map(type, objects)) != {dict} or not is_utf8(text):
            return None
        rows = list(map(call, map(_picker, map(tuple, objects), repeat(learner)), objects))
    except (ValueError, RecursionError):
        return None
    nothing_follows = sum(ends) + text.count("\n") + text.count("\r") == len(text)
    # A text has two quotes, so there are more of them than texts where a dict dropped the first of two equal keys.
    types = list(map(type, chain.from_iterable(map(dict.values, objects))))
    no_key_is_lost = text.count('"') == 2 * (len(types) + types.count(str))
    if not (nothing_follows and no_key_is_lost):
        return None
    return list(map(_without_objects, rows)) if dict in types or list in types else rows


@lru_cache(maxsize=8)
def _picker(keys: tuple[str, ...], learner: str | None) -> Callable[[dict[str, Any]], Values]:
    """What picks the values from an object with these keys.

    :raises ValueError: two of them hold one field, or the learner is named otherwise than in the first object.
    """
    names: dict[str, str] = {}
    for key in keys:
        field = field_named(key)
        if field in names:
            raise ValueError(f"Two values for {field}.")
        if field:
            names[field] = key
    other = learner_name(keys) if "learner" in names else learner
    if learner and "lms_user_id" in {learner, other} and other != learner:
        raise ValueError(f"Expected the learner under {learner}, as in the first object, not {other}.")
    if len(names) == len(FIELDS):
        return itemgetter(*map(names.__getitem__, FIELDS))
    return lambda found: tuple(found[names[field]] if field in names else None for field in FIELDS)


def _without_objects(values: Values) -> Values:
    return tuple(NoScalar(value) if isinstance(value, dict | list) else value for value in values)


def _row(line: str, learner: str | None) -> Values | Malformed:
    try:
        keys, found = _parsed(line.rstrip("\r\n"))
    except ValueError as error:
        return Malformed(str(error), ("",) * len(FIELDS))
    try:
        return _without_objects(_picker(tuple(keys), learner)(found))
    except ValueError as error:
        named = {field_named(key): found[key] for key in keys}
        # Of whom it is, is what may not be said.
        values = tuple("" if field == "learner" else named.get(field) for field in FIELDS)
        return Malformed(str(error), _without_objects(values))


def _parsed(original: str) -> tuple[list[str], dict[str, Any]]:
    """The keys of the object, those that are there twice included, and the object."""
    if not is_utf8(original):
        raise ValueError("The row is not UTF-8.")
    keys: list[str] = []

    def dict_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """Called for the outermost object last; a dict drops the first of two values for one key in silence."""
        keys[:] = [key for key, _ in pairs]
        return dict(pairs)

    try:
        found = json.loads(original, object_pairs_hook=dict_of)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Expected a JSON object: {error}.") from error
    if not isinstance(found, dict):
        raise ValueError("Expected a JSON object with the fields of an intent.")
    return keys, found
