"""What those who were erased were called: kept as keyed hashes, by which a name is known again and never told."""

import hmac
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.db.models.functions import Left
from django.utils import timezone

from program_intent import conf
from program_intent.models import ErasedLearner, ErasedName, RejectedIntent
from program_intent.models.intent import engine_of
from program_intent.validation.learners import ByKey, Learners, field_problem, is_unique, learner_field
from program_intent.validation.times import LATEST, parse_timestamp
from program_intent.validation.values import Refused

# What a learner is called, canonical, each with its field; also formerly, so two may be by one field.
Names = Collection[tuple[str, Any]]
# So many names are asked for without looking first which of them may be there.
_FEW = 500
# Three bytes of a hash tell names apart well enough: of 100,000 erased, one in 170 is taken for another.
_BITS = 2**24
# So long may it take until others see that somebody was erased: clocks differ, and the host's transaction goes on.
OF_LATE = timedelta(minutes=10)
# A database may give equal values in other forms than a text means: 1.500 for 1.5, noon in another zone.
_ALIKE: dict[type, Callable[[Any], object]] = {
    datetime: lambda moment: moment.astimezone(UTC),
    Decimal: Decimal.as_integer_ratio,
    memoryview: bytes,
}


def fields(using: str) -> list[str]:
    """The fields of the user model by which learners are, were or could be named; but for the primary key."""
    user = get_user_model()
    unique = [field.name for field in user._meta.concrete_fields if is_unique(field)]
    sources = [source.get("LEARNER_FIELD") for source in conf.sources().values()]
    events = [mapping.get("learner_field") for mapping in conf.events().values()]
    email = getattr(user, "EMAIL_FIELD", None)  # which a report may name, also where two may share one
    rejected = RejectedIntent.objects.using(using).values_list("learner_field", flat=True).distinct()
    setting = conf.learner_lookup_field()
    named = dict.fromkeys([*unique, setting, "lms_user_id", email, *sources, *events, *rejected])
    usable = [name for name in named if name and not field_problem(user, name)[0].startswith("E")]
    return [name for name in usable if not learner_field(name).primary_key]


def key_id(key: bytes) -> str:
    """What tells keys apart, and says nothing of them."""
    return hmac.digest(key, b"program_intent", "sha256").hex()[:8]


def hashed(key: bytes, field: str, name: Any) -> str:
    """HMAC-SHA256 of the field and the canonical name, in hexadecimal digits."""
    return _hash(_begun(key, field), name)


def hashes(field: str, names: Collection[Any]) -> dict[str, Any]:
    """The names by their hashes, under each key."""
    begun = [_begun(key, field) for key in conf.erasure_keys()]
    return {_hash(each, name): name for each in begun for name in names}


def _begun(key: bytes, field: str) -> hmac.HMAC:
    return hmac.new(key, f"{field}\0".encode(), "sha256")


def _hash(begun: hmac.HMAC, name: Any) -> str:
    """By a copy, which takes half as long as beginning anew."""
    each = begun.copy()
    each.update(str(_ALIKE.get(type(name), str)(name)).encode())
    return each.hexdigest()


class ErasedNames:
    """The names of a field that were erased, for who asks once, or about many names again and again."""

    def __init__(self, field: str, *, using: str) -> None:
        self._field = field
        self._using = using
        self._bits = bytearray()
        self._read: datetime | None = None

    def until(self, names: Collection[Any]) -> dict[Any, datetime]:
        """Of those of the canonical names that were erased, until when."""
        names = [name for name in names if not isinstance(name, ByKey)]
        if not names:
            return {}
        by_hash = hashes(self._field, names) if len(names) <= _FEW else self._hashes_of_many(names)
        until: dict[Any, datetime] = {}
        for rows in engine_of(self._using).rows_having(self._rows, "hash", list(by_hash)) if by_hash else ():
            for each, last in rows.values_list("hash", "until"):
                name = by_hash[each]
                until[name] = max(last, until.get(name, last))
        return until

    def _hashes_of_many(self, names: Collection[Any]) -> dict[str, Any]:
        """Of those that may have been erased."""
        begun = [_begun(key, self._field) for key in conf.erasure_keys()] if self._are_any() else []
        return {hashed: name for each in begun for name in names if self._may_be(hashed := _hash(each, name))}

    @property
    def _rows(self) -> "QuerySet[ErasedName]":
        return ErasedName.objects.using(self._using).filter(field=self._field)

    def _are_any(self) -> bool:
        """Reads what is new since it was last asked; no erasure has an earlier end than when it was made."""
        rows, self._read = self._rows, self._read and self._read - OF_LATE
        if self._read:
            rows = rows.filter(until__gte=self._read)
        self._read = timezone.now()
        for begin in rows.values_list(Left("hash", 6), flat=True).iterator():
            self._bits = self._bits or bytearray(_BITS // 8)
            place = int(begin, 16)
            self._bits[place >> 3] |= 1 << (place & 7)
        return bool(self._bits)

    def _may_be(self, each: str) -> bool:
        place = int(each[:6], 16)
        return bool(self._bits[place >> 3] & (1 << (place & 7)))


def are_told_of_erased(
    rows: Sequence[tuple[str, str]], learners: Learners, erased: ErasedNames, zone: tzinfo | None = None
) -> list[bool]:
    """Of rows that are refused, as the texts of learner and time, which tell what was erased; also where the time
    cannot be read."""
    names = [parsed(learner, learners) for learner, _ in rows]
    some = {name for name in names if name is not None}
    until = _keys_until(some, learners.using) if learners.are_named_by_key else erased.until(some)
    return [
        name in until and not _is_after(time, until[name], zone) for name, (_, time) in zip(names, rows, strict=True)
    ]


def parsed(learner: str, learners: Learners) -> Any:
    """The canonical name, None if it is none."""
    with suppress(Refused):
        return learners.parse(learner)
    return None


def _keys_until(keys: Collection[Any], using: str) -> dict[Any, datetime]:
    erased = ErasedLearner.objects.using(using)
    if not keys or not erased.exists():
        return {}
    parts = engine_of(using).rows_having(erased, "pk", list(keys))
    return {key: last or LATEST for part in parts for key, last in part.values_list("pk", "key_until")}


def _is_after(time: str, until: datetime, zone: tzinfo | None) -> bool:
    with suppress(Refused):
        return parse_timestamp(time, zone) > until
    return False
