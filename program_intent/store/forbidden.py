"""Refused rows that name somebody who was erased: whoever keeps them has a list of those who were to be forgotten."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime, tzinfo
from typing import Any

from program_intent.models import ErasedLearner
from program_intent.models.intent import engine_of
from program_intent.store.erased_names import ErasedNames
from program_intent.validation.learners import SEVERAL, Learners
from program_intent.validation.times import parse_timestamp
from program_intent.validation.values import Refused

FOR_EVER = datetime(9999, 12, 31, tzinfo=UTC)


class Forbidden:
    """Tells which rows name somebody who was erased, and no time after that; one that cannot be read is none.

    ``zone`` is given to times without an offset.
    """

    def __init__(self, learners: Learners, names: ErasedNames, *, using: str, zone: tzinfo | None) -> None:
        self._learners = learners
        self._names = names
        self._zone = zone
        self._engine = engine_of(using)
        self._erased = ErasedLearner.objects.using(using)

    def among(self, rows: Mapping[int, tuple[str, str]]) -> set[int]:
        """Those of the rows, which are the texts of a learner and a time."""
        named = {each: self._name(text) for each, (text, _) in rows.items()}
        until = self._until(set(named.values()) - {None})
        return {each for each, name in named.items() if name in until and self._is_by(until[name], rows[each][1])}

    def _name(self, text: str) -> Any:
        with suppress(Refused):
            return self._learners.parse(text)
        return None

    def _until(self, names: Collection[Any]) -> dict[Any, datetime]:
        if self._learners.are_named_by_key:
            return self._ends(names)
        keys, until = self._learners.keys(names), self._names.until(names)
        ends = self._ends({key for key in keys.values() if key is not SEVERAL})
        for name in (name for name, key in keys.items() if key in ends):
            until[name] = max(ends[keys[name]], until.get(name, ends[keys[name]]))
        return until

    def _ends(self, keys: Collection[Any]) -> dict[Any, datetime]:
        found = self._engine.rows_having(self._erased, "pk", list(keys)) if keys else ()
        return {key: end or FOR_EVER for rows in found for key, end in rows.values_list("pk", "key_until")}

    def _is_by(self, until: datetime, time: str) -> bool:
        with suppress(Refused):
            return parse_timestamp(time, self._zone) <= until
        return True
