"""``manage.py load_program_intents``: options in, report out."""

import argparse
import csv
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import IO, Any, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.core.exceptions import FieldDoesNotExist
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections, router
from tqdm import tqdm

from program_intent import conf
from program_intent.data import LoadReport
from program_intent.exceptions import LoadError
from program_intent.load import Entry, Load
from program_intent.models import ProgramIntent
from program_intent.sources.report_file import Report, open_report, size
from program_intent.validation import learner_field

STOPPED, SOME_REJECTED = 1, 3
REJECT_COLUMNS = (
    "file", "line", "error", "program_uuid", "learner", "reason", "certainty", "effective_timestamp", "original",
)  # fmt: skip
# Without a rejects file an operator still sees what kind of rows are refused.
SHOWN_REJECTS = 10


class Command(BaseCommand):
    help = "Load report files of program intents. Any load can be repeated: what is stored already is a duplicate."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "paths", nargs="+", metavar="PATH", help="A report file, gzipped or not; - is standard input."
        )
        parser.add_argument("--format", choices=("csv", "jsonl"), help="Default: by the file's name, else csv.")
        parser.add_argument(
            "--learner-field",
            type=_learner_field,
            metavar="NAME",
            help="The unique field of the user model that names learners. Default: LEARNER_LOOKUP_FIELD.",
        )
        parser.add_argument(
            "--assume-timezone",
            type=_zone,
            metavar="ZONE",
            help="Give times without an offset this zone, e.g. Europe/London; without it they are rejected.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Count and reject as a load would; write nothing.")
        parser.add_argument(
            "--rejects", metavar="PATH", help="Write rejected rows to this CSV, to mend and load again."
        )
        parser.add_argument("--max-rejects", type=_count, metavar="N", help="Stop at reject N + 1.")
        parser.add_argument("--report", metavar="PATH", help="Write the counts to this file as JSON.")
        parser.add_argument("--database", choices=tuple(connections), metavar="ALIAS", help="Default: by the router.")
        parser.add_argument("--no-progress", action="store_true", help="No progress bar, also on a terminal.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._load(options)
        except LoadError as error:
            raise CommandError(str(error), returncode=STOPPED) from error

    def _load(self, options: dict[str, Any]) -> None:
        with ExitStack() as stack:
            reports = _open_all(options["paths"], options["format"], stack)
            for name in ("rejects", "report"):
                _refuse_input_as_output(options[name], options["paths"])
            rejects = stack.enter_context(_output(options["rejects"]))
            counts_file = stack.enter_context(_output(options["report"]))
            bar = stack.enter_context(_progress_bar(options))
            load = Load(
                using=options["database"] or router.db_for_write(ProgramIntent),
                learner_field=options["learner_field"] or conf.learner_lookup_field(),
                zone=options["assume_timezone"],
                dry_run=options["dry_run"],
                max_rejects=options["max_rejects"],
                reject=_rejects_writer(rejects) if rejects else self._show_reject,
                progress=lambda counts: _advance(bar, reports, counts),
            )
            try:
                load.run(reports)
            finally:
                bar.close()
                self._print(load.counts)
                if counts_file:
                    json.dump(asdict(load.counts), counts_file)
        if load.counts.rejected:
            where = f"see {options['rejects']}" if options["rejects"] else "--rejects PATH keeps them"
            raise CommandError(f"{load.counts.rejected} rows were rejected: {where}.", returncode=SOME_REJECTED)

    def _show_reject(self, entry: Entry, error: str) -> None:
        self._shown = getattr(self, "_shown", 0) + 1
        if self._shown <= SHOWN_REJECTS:
            self.stderr.write(f"{entry.report.name}, line {entry.line}: {error}")

    def _print(self, counts: LoadReport) -> None:
        for name, value in asdict(counts).items():
            shown = f"{value:,}" if type(value) is int else str(value)
            self.stdout.write(f"{name:<10}{shown:>14}")


def _open_all(paths: list[str], file_format: str | None, stack: ExitStack) -> list[Report]:
    """Every file, opened and its header read, before anything is written."""
    if paths.count("-") > 1:
        raise LoadError("Standard input (-) can be read only once.")
    reports = []
    for path in paths:
        reports.append(open_report(path, file_format))
        stack.callback(reports[-1].close)
    return reports


def _refuse_input_as_output(output: str | None, inputs: list[str]) -> None:
    for path in inputs:
        if output and path != "-" and os.path.exists(output) and os.path.samefile(output, path):
            raise LoadError(f"{output}: is one of the inputs and would be overwritten.")


@contextmanager
def _output(path: str | None) -> Iterator[IO[str] | None]:
    if path is None:
        yield None
        return
    try:
        # What was not UTF-8 in an input is spelled out, so that the file can be mended and loaded again.
        file = open(path, "w", encoding="utf-8", errors="backslashreplace", newline="")  # noqa: SIM115
    except OSError as error:
        raise LoadError(f"{path}: cannot be written: {error.strerror}.") from error
    with file:
        yield file


def _rejects_writer(file: IO[str]) -> Callable[[Entry, str], None]:
    writer = csv.writer(file)
    writer.writerow(REJECT_COLUMNS)

    def write(entry: Entry, error: str) -> None:
        learner, *values = ("" if value is None else value for value in entry.report.values(entry.original))
        program_uuid, reason, certainty, effective = values
        place = (entry.report.name, entry.line, error)
        writer.writerow((*place, program_uuid, learner, reason, certainty, effective, entry.original))

    return write


def _progress_bar(options: dict[str, Any]) -> "tqdm[NoReturn]":
    hidden = options["no_progress"] or not sys.stderr.isatty()
    total = sum(map(size, options["paths"])) or None
    return tqdm(total=total, unit="B", unit_scale=True, disable=hidden)


def _advance(bar: "tqdm[NoReturn]", reports: list[Report], counts: LoadReport) -> None:
    bar.set_postfix(rows=counts.read, rejected=counts.rejected, refresh=False)
    bar.update(sum(report.position() for report in reports) - bar.n)


def _learner_field(name: str) -> str:
    try:
        field = learner_field(name)
    except FieldDoesNotExist as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if not field.unique:
        raise argparse.ArgumentTypeError(f"{name} is no unique field of the user model.")
    return name


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise argparse.ArgumentTypeError(f"{name} is no time zone such as Europe/London.") from error


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a number from 0, not {text!r}.")
    return int(text)
