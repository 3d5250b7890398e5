"""Every setting, in the one table that the system checks and the documentation are made from.

Settings are read on each call, so ``override_settings`` just works.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from django.conf import settings


class Setting(NamedTuple):
    default: Any
    kind: str  # what a value has to be, in words
    fits: Callable[[Any], bool]  # the same as a test
    why: str


SETTINGS = {
    "LEARNER_LOOKUP_FIELD": Setting(
        default="pk",
        kind="a str that names a field",
        fits=lambda value: isinstance(value, str),
        why="The field of the host's user model by which files and REST name a learner; a name that several users bear "
        "is refused. Python takes a user or a primary key, whatever is set here.",
    ),
    "MAX_BATCH_SIZE": Setting(
        default=1000,
        kind="an int from 1 to 2147483647",
        fits=lambda value: type(value) is int and 0 < value < 2**31,
        why="The most rows that one REST call may post, the most learners that it may ask about, and the most entries "
        "of a page. It bounds a request's memory and lock time. A load's batches have bounds of their own.",
    ),
    "IGNORED_PARAMETERS": Setting(
        default=(),
        kind="a list or tuple of str",
        fits=lambda value: isinstance(value, list | tuple) and all(isinstance(each, str) for each in value),
        why="Names that REST ignores in a query and in a body, such as what a gateway adds to each URL; any other that "
        "a call does not know is refused.",
    ),
}


def _get(key: str) -> Any:
    return getattr(settings, "PROGRAM_INTENT", {}).get(key, SETTINGS[key].default)


def is_set(key: str) -> bool:
    return key in getattr(settings, "PROGRAM_INTENT", {})


def learner_lookup_field() -> str:
    return str(_get("LEARNER_LOOKUP_FIELD"))


def max_batch_size() -> int:
    return int(_get("MAX_BATCH_SIZE"))


def ignored_parameters() -> tuple[str, ...]:
    return tuple(_get("IGNORED_PARAMETERS"))
