"""The rule, once: its order as data, and the choice in Python.

What a database sorts by and what an explanation says are made from it too. It imports nothing of the package, because
everything else, ``data`` included, stands on it (docs/decisions/0012).
"""

from collections.abc import Iterable
from enum import StrEnum
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

# From the most certain to the least: whatever their times, a certainty beats those of later ranks. Of one rank, the
# first comes first where the times are equal.
RANKS: tuple[tuple[str, ...], ...] = (
    ("CERTAIN_NO", "CERTAIN_YES"),
    ("MAYBE",),
)


class Clause(StrEnum):
    """What of the rule put an intent behind the winner, or left it uncounted.

    One that is neither known nor in effect yet is NOT_YET_KNOWN, so that what is said of the intents known at a past
    moment never changes.
    """

    CERTAIN_BEATS_MAYBE = "CERTAIN_BEATS_MAYBE"
    LATER_EFFECTIVE = "LATER_EFFECTIVE"
    LATER_CREATED = "LATER_CREATED"
    NO_BEFORE_YES = "NO_BEFORE_YES"
    FIRST_REASON = "FIRST_REASON"
    NOT_YET_EFFECTIVE = "NOT_YET_EFFECTIVE"
    NOT_YET_KNOWN = "NOT_YET_KNOWN"

    @property
    def words(self) -> str:
        """For people, short enough for a column of a table."""
        return _WORDS[self]


_WORDS = {
    Clause.CERTAIN_BEATS_MAYBE: "a certain intent beats " + ", which beats ".join(chain(*RANKS[1:])),
    Clause.LATER_EFFECTIVE: "the winner became true later",
    Clause.LATER_CREATED: "the winner was written later",
    Clause.NO_BEFORE_YES: " before ".join(RANKS[0]),
    Clause.FIRST_REASON: "the winner's reason is first",
    Clause.NOT_YET_EFFECTIVE: "not counted: not yet true",
    Clause.NOT_YET_KNOWN: "not counted: not yet known",
}


class Key(NamedTuple):
    """A step of the order: it decides between two intents that are equal in all steps before."""

    clause: Clause
    column: str
    is_latest_first: bool = False
    places: dict[str, int] | None = None  # of the column's values; None where they sort as they are

    def of(self, intent: Any) -> Any:
        value = getattr(intent, self.column)
        return value if self.places is None else self.places[value]


_RANK = {certainty: rank for rank, certainties in enumerate(RANKS) for certainty in certainties}
_PLACE = {certainty: place for place, certainty in enumerate(chain(*RANKS))}

ORDER = (
    Key(Clause.CERTAIN_BEATS_MAYBE, "certainty", places=_RANK),
    Key(Clause.LATER_EFFECTIVE, "effective_timestamp", is_latest_first=True),
    Key(Clause.LATER_CREATED, "created", is_latest_first=True),
    Key(Clause.NO_BEFORE_YES, "certainty", places=_PLACE),
    Key(Clause.FIRST_REASON, "reason"),
)
# Of a history: without the step that puts what is certain first.
NEWEST_FIRST = ORDER[1:]


def in_order(intents: Iterable[T], order: Iterable[Key] = ORDER) -> list[T]:
    """The intents, or whatever has their attributes, in the order of the rule."""
    found = list(intents)
    for key in reversed(tuple(order)):
        found.sort(key=key.of, reverse=key.is_latest_first)
    return found


def choose(intents: Iterable[Any]) -> list[Any]:
    """The first by the rule for each program; all that are given count."""
    chosen: dict[object, Any] = {}
    for intent in intents:
        best = chosen.get(intent.program_uuid)
        if best is None or _beats(intent, best):
            chosen[intent.program_uuid] = intent
    return list(chosen.values())


def _beats(intent: Any, other: Any) -> bool:
    for key in ORDER:
        value, others = key.of(intent), key.of(other)
        if value != others:
            return bool((value > others) is key.is_latest_first)
    return False


def deciding(winner: Any, loser: Any) -> Clause:
    """The clause by which one of two intents for a program comes first."""
    return next((key.clause for key in ORDER if key.of(winner) != key.of(loser)), ORDER[-1].clause)


def order_by(columns: str = "{}", order: Iterable[Key] = ORDER) -> str:
    """The order as SQL; ``columns`` says how a column is written, such as ``t.{}``."""
    return ", ".join(map(partial(_sql, columns), order))


def _sql(columns: str, key: Key) -> str:
    column = columns.format(key.column)
    if key.places is None:
        return f"{column} DESC" if key.is_latest_first else column
    whens = " ".join(f"WHEN '{value}' THEN {place}" for value, place in key.places.items())
    return f"CASE {column} {whens} END"
