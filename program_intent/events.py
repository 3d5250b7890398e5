"""What events mean: ``PROGRAM_INTENT["EVENTS"]`` as pure functions, for a host with a queue of its own too."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.module_loading import import_string

from program_intent import conf

__all__ = ["learner_field", "rows"]


def rows(event_type: str, event: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows that an event becomes, none for a type that is not mapped.

    Their ``learner`` is a value of the field that :func:`learner_field` names; both go to
    :func:`~program_intent.api.record_intents`. Where the time is missing there is an empty text, which is refused: now
    would be another intent each time that the event is delivered.

    :param event: the event's data by name, with ``metadata``. A path walks mappings and attributes; where a part is
        missing, the value is None, which is refused as everywhere.
    :raises TypeError: the host's own function gives something else than rows.
    :raises Exception: whatever it raises.
    """
    mapping = conf.events().get(event_type)
    if mapping is None:
        return []
    if "rows" in mapping:
        found = _made(mapping["rows"], event)
    else:
        constants = {name: mapping[name] for name in ("reason", "certainty")}
        found = [{name: _at(mapping[name], event) for name in conf.PATHS} | constants]
    for row in found:
        if row.get("effective_timestamp") is None:
            row["effective_timestamp"] = ""
    return found


def learner_field(event_type: str) -> str:
    """The field of the user model whose values name the learners of such an event."""
    return str(conf.events().get(event_type, {}).get("learner_field") or conf.learner_lookup_field())


def _made(path: str, event: Mapping[str, Any]) -> list[dict[str, Any]]:
    given: Any = import_string(path)(event)
    rows: list[Any] = [None] if isinstance(given, Mapping) or not isinstance(given, Iterable) else list(given)
    if not all(isinstance(row, Mapping) for row in rows):
        raise TypeError(f"{path}: expected a list of rows, each a dict; an empty one if the event means none.")
    return [dict(row) for row in rows]


def _at(path: str, event: Any) -> Any:
    for part in path.split("."):
        event = event.get(part) if isinstance(event, Mapping) else getattr(event, part, None)
    return event
