"""Events of Open edX that are sent in this process, by the host or by the stock consumer: recorded at best effort."""

import logging
from typing import Any

from django.conf import settings
from django.db import router, transaction

from program_intent import events
from program_intent.models import ProgramIntent
from program_intent.sources import open_edx
from program_intent.store.record import record

_logger = logging.getLogger("program_intent.events")


def connect() -> None:
    """Listen to the events that are mapped, where openedx-events is installed."""
    configured = getattr(settings, "PROGRAM_INTENT", {})
    mapped = configured.get("EVENTS") if isinstance(configured, dict) else None
    if not mapped or not isinstance(mapped, dict):  # which the checks tell of
        return
    try:
        signals = open_edx.signals()
    except ImportError:
        return
    for event_type in mapped.keys() & signals.keys():
        signals[event_type].connect(receive, dispatch_uid="program_intent")


def receive(*, metadata: Any, sender: Any = None, signal: Any = None, **event: Any) -> None:
    """Record what an event means; whatever goes wrong, the sender's transaction goes on, and the event is lost here.

    In the sender's transaction the intents are rolled back with it.
    """
    event_type, using = metadata.event_type, router.db_for_write(ProgramIntent)
    try:
        with transaction.atomic(using=using):
            rows = events.rows(event_type, {**event, "metadata": metadata})
        with transaction.atomic(using=using):  # another, which on SQLite begins with its write
            outcomes = record(rows, learner_field=events.learner_field(event_type)) if rows else []
    except Exception as error:  # what it says may name people
        _logger.error("An event %s was not recorded: %s", event_type, type(error).__name__)
        return
    rejected = sum(outcome.status == "rejected" for outcome in outcomes)
    if rejected:
        _logger.warning("An event %s was not recorded: %s of its rows were rejected", event_type, rejected)
