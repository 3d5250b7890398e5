"""What was refused is tried again: whose learner is known by now comes in."""

from collections.abc import Callable
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import QuerySet

from program_intent import conf
from program_intent.data import LoadReport, RunKind, RunStatus
from program_intent.intake.batch import Settled
from program_intent.intake.load import Load
from program_intent.intake.refused import RefusedRows, kept_of_known_learners
from program_intent.intake.runs import OpenRun
from program_intent.intake.writers import Storing
from program_intent.models import RejectedIntent


def retry(
    rows: "QuerySet[RejectedIntent]", *, source: str, by: str, first: Callable[..., None] = lambda **values: None
) -> LoadReport:
    """Store those of a source's rejected rows that can be by now, as a run of their own if there is one.

    ``first`` is called first in each transaction, and with the run in that which begins it.
    """
    using = rows.db
    refused = RefusedRows(source, using=using)
    run: OpenRun | None = None

    def run_key() -> int:
        nonlocal run
        if run is None:
            with transaction.atomic(using=using):
                opened = OpenRun(RunKind.RETRY, using=using, by=by, source=source)
                first(run=opened.key)
            run = opened
        return run.key

    def note(settled: Settled) -> None:
        refused.let_in(settled)
        if run:
            run.note(settled)

    zone = conf.source(source)["ASSUME_TIMEZONE"] if source in conf.sources() else None
    load = Load(
        using=using,
        zone=ZoneInfo(zone) if zone else None,
        writer=Storing(run_key, first),
        max_rejects=None,
        reject=lambda reject: None,
        progress=lambda counts: None,
        in_transaction=note,
    )
    status = RunStatus.STOPPED
    try:
        for field in rows.order_by("learner_field").values_list("learner_field", flat=True).distinct():
            for kept in kept_of_known_learners(rows, field):
                load.run([kept], learner_field=field)
        status = RunStatus.FINISHED
    finally:
        if run:
            run.end(load.counts, status)
    return load.counts
