"""``manage.py program_intent_runs``: what was loaded, when, by whom, with what result."""

import json
from datetime import UTC
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from program_intent.data import in_utc
from program_intent.management import outputs
from program_intent.management.options import in_one_line
from program_intent.models import Run

SHOWN = 20
_COUNTS = ("read", "created", "duplicate", "rejected", "erased")
_COLUMNS = ("run", "kind", "source", "by", "started", "status", *_COUNTS, "message")


class Command(BaseCommand):
    help = "List what brought intents in: loads, syncs, consumers and retries, the newest first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help=f"All of them as JSON; without it, the last {SHOWN}.")

    def handle(self, *args: Any, **options: Any) -> None:
        runs = Run.objects.order_by("-pk")
        with in_one_line():
            table = outputs.as_columns([_COLUMNS, *map(_row, runs[:SHOWN])])
            outputs.tell(self.stdout, _as_json(runs) if options["json"] else table)


def _as_json(runs: Any) -> str:
    return json.dumps([_told(run) for run in runs.iterator()], indent=2)


def _told(run: Run) -> dict[str, Any]:
    """Every field by its name, times in UTC, and whether nothing is heard of it."""
    values = {field.attname: getattr(run, field.attname) for field in Run._meta.concrete_fields}
    moments = {
        name: values[name] and in_utc(values[name].astimezone(UTC)) for name in ("started", "updated", "finished")
    }
    return values | moments | {"is_silent": run.is_silent}


def _row(run: Run) -> tuple[str, ...]:
    counts = (f"{getattr(run, name):,}" for name in _COUNTS)
    started = in_utc(run.started.astimezone(UTC).replace(microsecond=0))
    return str(run.pk), run.kind, run.what, run.by, started, run.told_status, *counts, run.message
