"""Whole columns judged at once, in a fraction of the time, with the values of the judge of rows.

A column that is not in a form in which warehouses write it is judged value by value.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timezone
from operator import attrgetter
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from django.db import models

from program_intent.validation.times import as_python_reads, parse_timestamp

T = TypeVar("T")
Parse = Callable[[object], T]

_INTEGERS = re.compile(r"[1-9][0-9]{0,18}(?:\n[1-9][0-9]{0,18})*", re.A)
# Of a thousand texts of times, one or two shapes are left: 1111-11-11T11:11:11Z.
_ONES = str.maketrans("023456789", "1" * 9)
_NO_MINUTES = re.compile("[6-9][0-9]")


def _by_value(parse: Parse[T], column: Sequence[object]) -> list[T]:
    """Where the values differ, and no form of them is known."""
    return list(map(parse, column))


def by_distinct_value(parse: Parse[T], column: Sequence[object]) -> list[T]:
    """Where few values come many times."""
    parsed = {value: parse(value) for value in set(column)}
    return list(map(parsed.__getitem__, column))


def learners_by(field: "models.Field[Any, Any]") -> Callable[[Parse[Any], Sequence[object]], list[Any]]:
    """How a column of learners is judged whose names are values of that field."""
    if isinstance(field, models.IntegerField):
        return _integers
    return _texts if isinstance(field, models.CharField | models.TextField) else _by_value


def _integers(parse: Parse[int], column: Sequence[Any]) -> list[int]:
    kinds = set(map(type, column))
    if kinds != {int} and (kinds != {str} or not _INTEGERS.fullmatch("\n".join(column))):
        return _by_value(parse, column)
    integers = list(map(int, column))
    parse(min(integers))  # what a column of the database can hold has no gap
    parse(max(integers))
    return integers


def _texts(parse: Parse[str], column: Sequence[Any]) -> list[str]:
    if set(map(type, column)) == {str} and "" not in column:
        parse("".join(column))  # refused if one of them is: it asks for characters, not for a length
        return list(column)
    return _by_value(parse, column)


def times(parse: Parse[datetime], column: Sequence[Any]) -> list[datetime]:
    """Times in UTC, or texts in any mix of spellings with an offset."""
    with suppress(ArithmeticError, TypeError, ValueError):
        moments = _in_utc(column) if set(map(type, column)) == {datetime} else _moments(column)
        if len(moments) == len(column) and set(map(attrgetter("tzinfo"), moments)) == {UTC}:
            parse(min(moments))
            parse(max(moments))
            return list(moments)
    return _by_value(parse, column)


def _in_utc(moments: Sequence[datetime]) -> Sequence[datetime]:
    """The same moments, where the zones are Python's own: drivers of warehouses give those of their session."""
    zones = set(map(attrgetter("tzinfo"), moments))
    if zones == {UTC} or not set(map(type, zones)) <= {timezone, ZoneInfo}:
        return moments
    return [moment.astimezone(UTC) for moment in moments]


def _moments(texts: Sequence[str]) -> Sequence[datetime]:
    """The moments that the texts name; an error, or another number of them, if one is spelled otherwise."""
    joined = "\n".join(texts)
    shapes = set(joined.translate(_ONES).split("\n"))
    for shape in shapes:
        parse_timestamp(f"2{shape[1:]}")  # 2111-11-11T11:11:11Z, which exists: only its spelling is judged
    readable = texts
    if any(shape != as_python_reads(shape) for shape in shapes):
        readable = as_python_reads(joined).split("\n")
    moments = list(map(datetime.fromisoformat, readable))
    if any(shape[-1] == "1" for shape in shapes):
        if _NO_MINUTES.search(" ".join({text[-2:] for text in texts})):  # +00:60, which Python takes
            return ()
        return [moment.astimezone(UTC) for moment in moments]
    return moments
