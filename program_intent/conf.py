"""Every setting, in the one table that the system checks and the documentation are made from.

Settings are read on each call, so ``override_settings`` just works.
"""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings


class Setting(NamedTuple):
    default: Any
    kind: str  # what a value has to be, in words
    fits: Callable[[Any], bool]  # the same as a test
    why: str


_SHORTEST_KEY = 16


def _is_key(value: Any) -> bool:
    return isinstance(value, str) and len(value) >= _SHORTEST_KEY and value.encode("utf-8", "replace").decode() == value


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
    "SOURCES": Setting(
        default={},
        kind="a dict of warehouses by name",
        fits=lambda value: isinstance(value, dict),
        why="The warehouses that ``sync_program_intents`` reads, each a dictionary of the keys below.",
    ),
    "REJECTED_KEPT_DAYS": Setting(
        default=90,
        kind="an int from 1 to 36500",
        fits=lambda value: type(value) is int and 0 < value <= 36_500,
        why="How many days after it was last seen a row that a warehouse or an event brought and that was refused is "
        "forgotten.",
    ),
    "ERASURE_KEYS": Setting(
        default=None,
        kind="a list or tuple of str, each of 16 characters or more that UTF-8 can spell",
        fits=lambda value: (
            value is None or (isinstance(value, list | tuple) and bool(value) and all(map(_is_key, value)))
        ),
        why="The secrets by which the names of those who were erased are kept as hashes: the last one signs, all are "
        "tried. Left out: ``SECRET_KEY_FALLBACKS`` and ``SECRET_KEY``.",
    ),
    "EVENTS": Setting(
        default={},
        kind="a dict of mappings by event type",
        fits=lambda value: isinstance(value, dict),
        why="What events mean, by their types: each a dictionary of the keys below. ``program_intent.events.rows`` and "
        "``consume_program_intents`` go by it.",
    ),
    "EVENTS_URL": Setting(
        default=None,
        kind="a URL of Redis such as redis://user:password@host:6379/0",
        fits=lambda value: value is None or (isinstance(value, str) and bool(value)),
        why="Where ``consume_program_intents`` reads Open edX's event bus. Left out: the host's "
        "``EVENT_BUS_REDIS_CONNECTION_URL``.",
    ),
}

_DOTTED_PATH = re.compile(r"\w+(\.\w+)+")


def is_dotted_path(text: str) -> bool:
    return bool(_DOTTED_PATH.fullmatch(text))


# The keys of a source; those without a default are needed.
NEEDED = object()
LONGEST_SOURCE = 255
OF_SOURCE = {
    "URL": Setting(
        default=NEEDED,
        kind="an SQLAlchemy URL, or the dotted path of a function that returns an SQLAlchemy Engine",
        fits=lambda value: isinstance(value, str) and ("://" in value or is_dotted_path(value)),
        why="Where the warehouse is. Its driver is yours to install.",
    ),
    "QUERY": Setting(
        default=NEEDED,
        kind="an SQL query",
        fits=lambda value: isinstance(value, str) and bool(value.strip("; \t\r\n")),
        why="What gives the rows, in columns by the names that files have.",
    ),
    "CURSOR": Setting(
        default=None,
        kind="a str that names a column of the query's result",
        fits=lambda value: value is None or (isinstance(value, str) and bool(value)),
        why="The column that says when a row arrived in the warehouse: only what is newer is read. Left out, all is "
        "read each time.",
    ),
    "LAG": Setting(
        default=None,
        kind="a timedelta or, for a cursor that is a number, an int, neither below zero",
        fits=lambda value: (
            value is None
            or (isinstance(value, timedelta) and value >= timedelta())
            or (type(value) is int and 0 <= value < 2**63)
        ),
        why="How far behind the cursor rows are read again, because some arrive late. Left out: a day, or for a cursor "
        "that is a number nothing.",
    ),
    "LEARNER_FIELD": Setting(
        default=None,
        kind="a str that names a field of the user model",
        fits=lambda value: value is None or isinstance(value, str),
        why="The field by which the warehouse names learners. Left out: as for the column of a file.",
    ),
    "ASSUME_TIMEZONE": Setting(
        default=None,
        kind="a str that names a time zone, such as Europe/London",
        fits=lambda value: value is None or _is_zone(value),
        why="The zone of times without an offset. Left out, they are refused.",
    ),
}

# The values of an intent that are found in an event; the others are constants.
PATHS = ("learner", "program_uuid", "effective_timestamp")
_PATH = "a dotted path into the event, such as metadata.time"


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and all(value.split("."))


_LEARNER_FIELD_OF_EVENT = Setting(
    default=None,
    kind="a str that names a field of the user model",
    fits=lambda value: value is None or isinstance(value, str),
    why="The field by which the event names learners. Left out: ``LEARNER_LOOKUP_FIELD``.",
)
# The keys of an event that is an intent, and those of one whose rows a function of the host's makes.
OF_EVENT = {
    "learner": Setting(default=NEEDED, kind=_PATH, fits=_is_path, why="Where the event names the learner."),
    "program_uuid": Setting(default=NEEDED, kind=_PATH, fits=_is_path, why="Where it names the program."),
    "effective_timestamp": Setting(
        default=NEEDED,
        kind=_PATH,
        fits=_is_path,
        why="Where it says when this became true; ``metadata`` is part of it.",
    ),
    "reason": Setting(
        default=NEEDED,
        kind="a reason such as PROGRAM_CERTIFICATE_AWARDED",
        fits=lambda value: isinstance(value, str),
        why="The reason of each such intent.",
    ),
    "certainty": Setting(
        default=NEEDED,
        kind="one of CERTAIN_YES, CERTAIN_NO, MAYBE",
        fits=lambda value: isinstance(value, str),
        why="The certainty of each such intent.",
    ),
    "learner_field": _LEARNER_FIELD_OF_EVENT,
}
OF_EVENT_WITH_ROWS = {
    "rows": Setting(
        default=NEEDED,
        kind="the dotted path of a function",
        fits=lambda value: isinstance(value, str) and is_dotted_path(value),
        why="Takes the event, gives a list of rows, each a dict of the five values of an intent; an empty one if it "
        "means none.",
    ),
    "learner_field": _LEARNER_FIELD_OF_EVENT,
}


def _is_zone(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(ZoneInfo(value))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False


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


def rejected_kept_days() -> int:
    return int(_get("REJECTED_KEPT_DAYS"))


def erasure_keys() -> list[bytes]:
    """The one that signs last. Django's own may be texts or bytes."""
    keys = _get("ERASURE_KEYS") or [*settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY]
    return [key.encode() if isinstance(key, str) else key for key in keys]


def sources() -> dict[str, dict[str, Any]]:
    """The warehouses by name, as they are set."""
    return dict(_get("SOURCES"))


def source(name: str) -> dict[str, Any]:
    """Every key of a source whose settings have no problem."""
    return {key: setting.default for key, setting in OF_SOURCE.items()} | sources()[name]


def events() -> dict[str, dict[str, Any]]:
    """The mappings of events by type, as they are set."""
    return dict(_get("EVENTS"))


def events_url() -> str | None:
    return _get("EVENTS_URL") or getattr(settings, "EVENT_BUS_REDIS_CONNECTION_URL", None)


def stream(topic: str) -> str:
    """What Open edX calls the stream of a topic."""
    prefix = getattr(settings, "EVENT_BUS_TOPIC_PREFIX", None)
    return f"{prefix}-{topic}" if prefix else topic


def problems_of_source(name: Any, value: Any) -> Iterator[str]:
    """What is wrong with the settings of a source; a URL, which may hold a password, is not shown."""
    where = f'PROGRAM_INTENT["SOURCES"][{name!r}]'
    is_name = isinstance(name, str) and 0 < len(name) <= LONGEST_SOURCE
    if not is_name or not name.isprintable() or name != name.strip():
        yield f"{where}: expected a name of 1 to {LONGEST_SOURCE} printable characters, with no space around it."
    yield from _problems(where, value, OF_SOURCE)


def keys_of_event(value: Any) -> dict[str, Setting]:
    return OF_EVENT_WITH_ROWS if isinstance(value, dict) and "rows" in value else OF_EVENT


def problems_of_event(event_type: Any, value: Any) -> Iterator[str]:
    """What is wrong with the form of an event's mapping."""
    where = f'PROGRAM_INTENT["EVENTS"][{event_type!r}]'
    if not isinstance(event_type, str):
        yield f"{where}: expected the type of an event, a str."
    yield from _problems(where, value, keys_of_event(value))


def _problems(where: str, value: Any, keys: dict[str, Setting]) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where} is not a dictionary."
        return
    for key in value:
        if key not in keys:
            yield f"{where} has the unknown key {key!r}. The keys are {', '.join(keys)}."
    for key, setting in keys.items():
        if key not in value and setting.default is NEEDED:
            yield f"{where} has no {key}: {setting.kind}."
        elif key in value and not setting.fits(value[key]):
            yield f"{where}[{key!r}] is not {setting.kind}."
