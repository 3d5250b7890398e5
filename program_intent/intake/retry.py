"""What was refused is tried again: whose learner is known by now, and what can be read by now, comes in."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from zoneinfo import ZoneInfo

from django.core.exceptions import FieldDoesNotExist
from django.db.models import QuerySet

from program_intent import conf
from program_intent.data import LoadReport, RunKind, RunStatus
from program_intent.intake.batch import Settled
from program_intent.intake.events import Meant, RowsFailed, Stored, in_words, meant, streams
from program_intent.intake.load import Load
from program_intent.intake.refused import RefusedRows, kept_of_known_learners
from program_intent.intake.runs import RunOfRows
from program_intent.intake.writers import Storing
from program_intent.models import RejectedIntent
from program_intent.sources.open_edx import Messages, Unreadable
from program_intent.validation.learners import Learners

_logger = logging.getLogger("program_intent.sync")


def retry(
    rows: "QuerySet[RejectedIntent]",
    *,
    source: str,
    by: str,
    learner_field: str | None = None,
    first: Callable[..., None] = lambda **values: None,
) -> LoadReport:
    """Store those of a source's rejected rows that can be by now, as a run of their own if there is one.

    Learners are named by ``learner_field``, or else by what the source says now, or said when a row was refused.
    ``first`` is called first in each transaction, and with the run in that which begins it.
    """
    using = rows.db
    refused = RefusedRows(source, using=using)
    run = RunOfRows(RunKind.RETRY, using=using, by=by, source=source, first=first)

    def note(settled: Settled) -> None:
        refused.settle(settled)
        run.note(settled)

    settings = conf.source(source) if source in conf.sources() else {}
    zone = settings.get("ASSUME_TIMEZONE")
    field_now = learner_field or settings.get("LEARNER_FIELD")
    load = Load(
        using=using,
        zone=ZoneInfo(zone) if zone else None,
        writer=Storing(run.key, first),
        max_rejects=None,
        reject=lambda reject: None,
        progress=lambda counts: None,
        in_transaction=note,
    )
    status = RunStatus.STOPPED
    try:
        for field in rows.order_by("learner_field").values_list("learner_field", flat=True).distinct():
            _retry_by(field_now or field, rows.filter(learner_field=field), load)
        status = RunStatus.FINISHED
    finally:
        run.end(load.counts, status)
    return load.counts


def _retry_by(learner_field: str, rows: "QuerySet[RejectedIntent]", load: Load) -> None:
    try:
        learners = Learners(learner_field, rows.db)
    except FieldDoesNotExist:
        _logger.warning("Rejected rows cannot be tried again: the user model has no field %s", learner_field)
        return
    for kept in kept_of_known_learners(rows, learners):
        load.run([kept], learner_field=learner_field)


def retry_messages(rows: "QuerySet[RejectedIntent]", *, source: str, by: str) -> LoadReport:
    """Read those messages of a topic again that could not be read, as a run of their own if there is one.

    :raises LoadError: the event bus, or what reads it, is not there.
    """
    stored = Stored(RunKind.RETRY, using=rows.db, by=by, source=source)
    found = list(_read_again(list(rows.filter(key__contains="-").values_list("key", flat=True)), source))
    status = RunStatus.STOPPED
    try:
        stored.store(source, found)
        rows.filter(key__in=[each.id for each in found]).delete()
        status = RunStatus.FINISHED
    finally:
        stored.end(status)
    return stored.counts


def _read_again(ids: Sequence[str], topic: str) -> Iterator[Meant]:
    """What those of the messages mean that are still there, whose type is mapped, and that can be read by now."""
    if not ids:
        return
    bus, reader = streams(), Messages()
    with closing(bus):
        for each in ids:
            with suppress(Unreadable, RowsFailed), in_words(bus):
                message = bus.message(conf.stream(topic), each)
                if reader.type_of(message.fields) in conf.events():
                    yield meant(message, reader)
