"""``manage.py program_intent_counts``: programs in, learners per certainty out."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandParser

from program_intent import api
from program_intent.data import Certainty
from program_intent.management import outputs
from program_intent.management.options import add_moments, in_one_line

COLUMNS = ("program_uuid", *(each.value for each in Certainty))


def _as_json(rows: list[tuple[Any, ...]]) -> str:
    return json.dumps([dict(zip(COLUMNS, row, strict=True)) for row in rows], indent=2)


def _as_csv(rows: list[tuple[Any, ...]]) -> str:
    return "\n".join(",".join(map(str, row)) for row in [COLUMNS, *rows])


def _as_table(rows: list[tuple[Any, ...]]) -> str:
    lines = []
    for program_uuid, *counts in [COLUMNS, *rows]:
        cells = (f"{count:,}" if isinstance(count, int) else count for count in counts)
        lines.append(f"{program_uuid:<36}" + "".join(f"{cell:>14}" for cell in cells))
    return "\n".join(lines)


_FORMATS = {"table": _as_table, "json": _as_json, "csv": _as_csv}


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
        parser.add_argument("--format", choices=tuple(_FORMATS), default="table", help="Default: table.")

    def handle(self, *args: Any, **options: Any) -> None:
        with in_one_line():
            counts = api.count_latest_certain_intents_for_programs(
                options["program_uuids"] or None, as_of=options["as_of"], known_at=options["known_at"]
            )
            rows = [_row(program_uuid, by_certainty) for program_uuid, by_certainty in counts.items()]
            outputs.tell(self.stdout, _FORMATS[options["format"]](rows))


def _row(program_uuid: UUID, counts: Mapping[Certainty, int]) -> tuple[Any, ...]:
    return str(program_uuid), *(counts[each] for each in Certainty)
