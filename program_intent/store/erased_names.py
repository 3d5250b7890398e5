"""What those who were erased were called: kept as keyed hashes, by which a name is known again and never told."""

import hmac
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime, tzinfo
from typing import Any

from django.contrib.auth import get_user_model

from program_intent import conf
from program_intent.models import ErasedLearner, ErasedName
from program_intent.models.intent import engine_of
from program_intent.validation.learners import ByKey, Learners, field_problem, is_unique, learner_field
from program_intent.validation.times import LATEST, parse_timestamp
from program_intent.validation.values import Refused

# To ask whether there is any of a field is quicker than to make so many hashes.
_MANY = 100


def fields() -> list[str]:
    """The fields of the user model by which learners are, or could be, named; but for the primary key."""
    user = get_user_model()
    unique = [field.name for field in user._meta.concrete_fields if is_unique(field)]
    sources = [source.get("LEARNER_FIELD") for source in conf.sources().values()]
    events = [mapping.get("learner_field") for mapping in conf.events().values()]
    email = getattr(user, "EMAIL_FIELD", None)  # which a report may name, also where two may share one
    named = dict.fromkeys([*unique, conf.learner_lookup_field(), "lms_user_id", email, *sources, *events])
    usable = [name for name in named if name and not field_problem(user, name)[0].startswith("E")]
    return [name for name in usable if not learner_field(name).primary_key]


def key_id(key: str) -> str:
    """What tells keys apart, and says nothing of them."""
    return hmac.digest(key.encode(), b"program_intent", "sha256").hex()[:8]


def hashed(key: str, field: str, name: Any) -> str:
    """HMAC-SHA256 of the field and the canonical name, in hexadecimal digits."""
    return hmac.digest(key.encode(), f"{field}\0{name}".encode(), "sha256").hex()


def hashes(field: str, names: Collection[Any]) -> dict[str, Any]:
    """The names by their hashes, under each key."""
    return {hashed(key, field, name): name for key in conf.erasure_keys() for name in names}


def erased_until(field: str, names: Collection[Any], *, using: str) -> dict[Any, datetime]:
    """Of those of the canonical names that were erased, until when."""
    found = ErasedName.objects.using(using).filter(field=field)
    names = [name for name in names if not isinstance(name, ByKey)]
    if not names or (len(names) > _MANY and not found.exists()):
        return {}
    by_hash, until = hashes(field, names), dict[Any, datetime]()
    for part in engine_of(using).rows_having(found, "hash", list(by_hash)):
        for each, last in part.values_list("hash", "until"):
            name = by_hash[each]
            until[name] = max(last, until.get(name, last))
    return until


def are_told_of_erased(rows: Sequence[tuple[str, str]], learners: Learners, zone: tzinfo | None = None) -> list[bool]:
    """Of rows that are refused, as the texts of learner and time, which tell what was erased; also where the time
    cannot be read."""
    names = [parsed(learner, learners) for learner, _ in rows]
    until = _until({name for name in names if name is not None}, learners)
    return [
        name in until and not _is_after(time, until[name], zone) for name, (_, time) in zip(names, rows, strict=True)
    ]


def parsed(learner: str, learners: Learners) -> Any:
    """The canonical name, None if it is none."""
    with suppress(Refused):
        return learners.parse(learner)
    return None


def _until(names: Collection[Any], learners: Learners) -> dict[Any, datetime]:
    if not learners.are_named_by_key:
        return erased_until(learners.field, names, using=learners.using)
    erased = ErasedLearner.objects.using(learners.using)
    if not names or not erased.exists():
        return {}
    parts = engine_of(learners.using).rows_having(erased, "pk", list(names))
    return {key: last or LATEST for part in parts for key, last in part.values_list("pk", "key_until")}


def _is_after(time: str, until: datetime, zone: tzinfo | None) -> bool:
    with suppress(Refused):
        return parse_timestamp(time, zone) > until
    return False
