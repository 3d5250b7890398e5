"""Events of Open edX as openedx-events describes them, which hosts of Open edX have: imported when it is used."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from io import BytesIO
from typing import Any, get_origin
from uuid import UUID

from program_intent.conf import PATHS, is_set
from program_intent.exceptions import LoadError

PREFIX = "org.openedx."


class Unreadable(Exception):
    """A message is no event that the installed openedx-events can read; says why, and nothing of the message."""


def signals() -> dict[str, Any]:
    """The events that are known here, by type.

    :raises ImportError: openedx-events is not installed.
    """
    from openedx_events.tooling import OpenEdxPublicSignal, load_all_signals

    load_all_signals()
    return {signal.event_type: signal for signal in OpenEdxPublicSignal.all_events()}


def names_by_unknown_ids(event_type: str, mapping: Mapping[str, str]) -> bool:
    """Whether learners are named by the primary key of the LMS, and nothing says which field that is here."""
    is_id = event_type.startswith(PREFIX) and mapping.get("learner", "").endswith("user.id")
    return is_id and not mapping.get("learner_field") and not is_set("LEARNER_LOOKUP_FIELD")


def misfits(event_type: str, mapping: Mapping[str, str]) -> Iterator[str]:
    """What a mapping names that the event does not have.

    :raises ImportError: openedx-events is not installed.
    """
    if not event_type.startswith(PREFIX):
        return
    signal = signals().get(event_type)
    if signal is None:
        yield ": the installed openedx-events has no such event."
        return
    for name in PATHS:
        if name in mapping and not _has_value(signal, mapping[name]):
            yield f"[{name!r}]: the event has no value at {mapping[name]}."


def _has_value(signal: Any, path: str) -> bool:
    from openedx_events.data import EventsMetadata

    known: Any = {**signal.init_data, "metadata": EventsMetadata}
    for part in path.split("."):
        if isinstance(known, Mapping):
            fields = known
        elif hasattr(known, "__attrs_attrs__"):
            fields = {field.name: field.type for field in known.__attrs_attrs__}
        else:  # a dictionary, or a value of a class that is not of openedx-events
            return known is dict or get_origin(known) is dict or hasattr(known, part)
        if part not in fields:
            return False
        known = fields[part]
    return not hasattr(known, "__attrs_attrs__")  # as a text it would be all that is told of a person


class Messages:
    """Reads the messages of the event bus.

    :raises LoadError: openedx-events is not installed.
    """

    def __init__(self) -> None:
        try:
            import fastavro
            from openedx_events.event_bus.avro import deserializer

            self._signals = signals()
        except ImportError as error:
            raise LoadError(f"The events of Open edX cannot be read ({error}): pip install openedx-events") from error
        self._fastavro = fastavro
        self._deserializer = deserializer.AvroSignalDeserializer
        self._readers: dict[str, Any] = {}

    @staticmethod
    def type_of(fields: Mapping[bytes, bytes]) -> str:
        """The type of the event; empty if it has none."""
        return fields.get(b"type", b"").decode(errors="replace")

    def event(self, fields: Mapping[bytes, bytes]) -> dict[str, Any]:
        """The data of the event by name, with ``metadata``.

        :raises Unreadable: why.
        """
        event_type = self.type_of(fields)
        if not event_type:
            raise Unreadable("The message has no type.")
        if event_type not in self._signals:
            raise Unreadable(f"The installed openedx-events has no {event_type}.")
        try:
            return {**self._data(event_type, fields[b"event_data"]), "metadata": _metadata(event_type, fields)}
        except Exception as error:  # whatever another version, or another sender, put there
            raise Unreadable(f"The message cannot be read: {type(error).__name__}.") from error

    def _data(self, event_type: str, written: bytes) -> dict[str, Any]:
        if event_type not in self._readers:
            reader = self._deserializer(self._signals[event_type])
            self._readers[event_type] = reader, self._fastavro.parse_schema(json.loads(reader.schema_string()))
        reader, schema = self._readers[event_type]
        stream = BytesIO(written)
        record = self._fastavro.schemaless_reader(stream, schema)
        if stream.read(1):  # nothing says by which schema it was written, and by another one this is anything
            raise ValueError
        return dict(reader.from_dict(record))


def _metadata(event_type: str, fields: Mapping[bytes, bytes]) -> Any:
    from openedx_events.data import EventsMetadata

    texts = {name.decode(): value.decode() for name, value in fields.items() if name != b"event_data"}
    return EventsMetadata(
        event_type=event_type,
        id=UUID(texts["id"]),
        time=datetime.fromisoformat(texts["time"]),
        minorversion=int(texts.get("minorversion", 0)),
        source=texts.get("source", ""),
        sourcehost=texts.get("sourcehost", ""),
        sourcelib=tuple(map(int, texts["sourcelib"].split("."))) if texts.get("sourcelib") else (),
    )
