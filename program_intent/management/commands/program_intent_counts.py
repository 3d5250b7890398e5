"""``manage.py program_intent_counts``: programs in, learners per certainty out."""

import csv
import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandParser

from program_intent import api
from program_intent.data import Certainty
from program_intent.management.options import add_moments, in_one_line

COLUMNS = ("program_uuid", *(each.value for each in Certainty))


class Command(BaseCommand):
    help = "Count the learners of each program by the certainty of their latest and most certain intent."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "program_uuids",
            nargs="*",
            metavar="PROGRAM_UUID",
            help="The programs. Default: all that have an intent that counts.",
        )
        add_moments(parser)
        parser.add_argument("--format", choices=("table", "json", "csv"), default="table", help="Default: table.")

    def handle(self, *args: Any, **options: Any) -> None:
        with in_one_line():
            counts = api.count_latest_certain_intents_for_programs(
                options["program_uuids"] or None, as_of=options["as_of"], known_at=options["known_at"]
            )
        rows = [_row(program_uuid, by_certainty) for program_uuid, by_certainty in counts.items()]
        if options["format"] == "json":
            self.stdout.write(json.dumps([dict(zip(COLUMNS, row, strict=True)) for row in rows], indent=2))
        elif options["format"] == "csv":
            csv.writer(self.stdout, lineterminator="\n").writerows([COLUMNS, *rows])
        else:
            self._print(rows)

    def _print(self, rows: list[tuple[Any, ...]]) -> None:
        for program_uuid, *counts in [COLUMNS, *rows]:
            cells = (f"{count:,}" if isinstance(count, int) else count for count in counts)
            self.stdout.write(f"{program_uuid:<36}" + "".join(f"{cell:>14}" for cell in cells))


def _row(program_uuid: UUID, counts: Mapping[Certainty, int]) -> tuple[Any, ...]:
    return str(program_uuid), *(counts[each] for each in Certainty)
