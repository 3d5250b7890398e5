"""Every setting, its default and why it exists. Read on each call, so ``override_settings`` just works."""

from typing import Any

from django.conf import settings

DEFAULTS: dict[str, Any] = {
    # The unique field of the user model by which files, events and REST name a learner.
    "LEARNER_LOOKUP_FIELD": "pk",
    # The most rows one REST call may post, learners it may ask of, and entries of a page: bounds a request's memory and
    # lock time.
    "MAX_BATCH_SIZE": 1000,
}


def _get(key: str) -> Any:
    return getattr(settings, "PROGRAM_INTENT", {}).get(key, DEFAULTS[key])


def learner_lookup_field() -> str:
    """Name of the user model's field that identifies a learner to the outside."""
    return str(_get("LEARNER_LOOKUP_FIELD"))


def max_batch_size() -> int:
    """Largest number of rows in one REST POST."""
    return int(_get("MAX_BATCH_SIZE"))
