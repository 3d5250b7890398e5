"""``manage.py load_program_intents``: options in, report out."""

import argparse
import csv
import json
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from typing import IO, Any, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connections, router
from tqdm import tqdm

from program_intent import conf
from program_intent.checks import field_problem
from program_intent.data import LoadReport
from program_intent.exceptions import LoadError
from program_intent.intake.batch import Reject
from program_intent.intake.load import Load
from program_intent.intake.writers import Foretelling, Storing
from program_intent.management.process import finishing, tuned
from program_intent.models import ProgramIntent
from program_intent.sources.files import open_file, size
from program_intent.sources.rows import Source

STOPPED, WRONG_USAGE, SOME_REJECTED = 1, 2, 3
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
            metavar="NAME",
            help="The field of the user model that names learners. Default: LEARNER_LOOKUP_FIELD.",
        )
        parser.add_argument(
            "--assume-timezone",
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
        except (DatabaseError, sqlite3.Error) as error:
            raise CommandError(f"The database failed: {' '.join(str(error).split())}", returncode=STOPPED) from error
        except KeyboardInterrupt as error:
            message = "Interrupted; what was stored stays, and the load can be run again."
            raise CommandError(message, returncode=STOPPED) from error

    def _load(self, options: dict[str, Any]) -> None:
        learner_field, zone = _learner_field(options["learner_field"]), _zone(options["assume_timezone"])
        with ExitStack() as stack:
            sources = _open_all(options["paths"], options["format"], stack)
            _refuse_overwriting(options)
            rejects, counts_file = (stack.enter_context(_output(options[name])) for name in ("rejects", "report"))
            for file in filter(None, (rejects, counts_file)):
                if os.path.isfile(file.name):
                    file.truncate(0)
            writer = stack.enter_context(closing(Foretelling())) if options["dry_run"] else Storing()
            bar = stack.enter_context(_progress_bar(options))
            load = Load(
                using=options["database"] or router.db_for_write(ProgramIntent),
                learner_field=learner_field,
                zone=zone,
                writer=writer,
                max_rejects=options["max_rejects"],
                reject=_rejects_writer(rejects, options["rejects"]) if rejects else self._show_reject,
                progress=lambda counts: _advance(bar, sources, counts),
                settling=finishing,
            )
            try:
                with tuned():
                    load.run(sources)
            finally:
                bar.close()
                counts = load.counts
                if counts_file:
                    json.dump(asdict(counts), counts_file)
                self._print(counts)
        if load.counts.rejected:
            where = f"see {options['rejects']}" if options["rejects"] else "--rejects PATH keeps them"
            raise CommandError(f"{load.counts.rejected} rows were rejected: {where}.", returncode=SOME_REJECTED)

    def _show_reject(self, reject: Reject) -> None:
        self._shown = getattr(self, "_shown", 0) + 1
        if self._shown <= SHOWN_REJECTS:
            self.stderr.write(f"{reject.source.name}, {reject.source.unit} {reject.place}: {reject.error}")

    def _print(self, counts: LoadReport) -> None:
        shown = {name: f"{value:,}" if type(value) is int else str(value) for name, value in asdict(counts).items()}
        with _writing("standard output"):
            try:
                self.stdout.write("\n".join(f"{name:<10}{value:>14}" for name, value in shown.items()))
                self.stdout.flush()
            except OSError:
                # Or Python tries once more when it ends.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.stdout.fileno())
                raise


def _open_all(paths: list[str], file_format: str | None, stack: ExitStack) -> list[Source]:
    """Every file, opened and its header read, before anything is written."""
    if paths.count("-") > 1:
        raise LoadError("Standard input (-) can be read only once.")
    return [stack.enter_context(closing(open_file(path, file_format))) for path in paths]


def _refuse_overwriting(options: dict[str, Any]) -> None:
    rejects, report = options["rejects"], options["report"]
    for output in filter(None, (rejects, report)):
        for path in options["paths"]:
            if os.path.exists(output) and os.path.samefile(output, 0 if path == "-" else path):
                raise LoadError(f"{output}: is one of the inputs and would be overwritten.")
    if rejects and report and os.path.realpath(rejects) == os.path.realpath(report):
        raise LoadError(f"{report}: is the rejects file and would be overwritten.")


@contextmanager
def _output(path: str | None) -> Iterator[IO[str] | None]:
    """The file, still with its old content: only when all are open is any of them emptied."""
    if path is None:
        yield None
        return
    with _writing(path):
        # What was not UTF-8 in an input is spelled out, so that the file can be mended and loaded again.
        file = open(path, "a", encoding="utf-8", errors="backslashreplace", newline="")  # noqa: SIM115
    try:
        yield file
    finally:
        with _writing(path):
            file.close()


@contextmanager
def _writing(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LoadError(f"{path}: cannot be written: {error.strerror}.") from error


def _rejects_writer(file: IO[str], path: str) -> Callable[[Reject], None]:
    writer = csv.writer(file)
    writer.writerow(REJECT_COLUMNS)

    def write(reject: Reject) -> None:
        learner, program_uuid, *others = reject.values
        with _writing(path):
            writer.writerow(
                (reject.source.name, reject.place, reject.error, program_uuid, learner, *others, reject.original)
            )

    return write


def _progress_bar(options: dict[str, Any]) -> "tqdm[NoReturn]":
    hidden = options["no_progress"] or not sys.stderr.isatty()
    total = sum(map(size, options["paths"])) or None
    return tqdm(total=total, unit="B", unit_scale=True, disable=hidden)


def _advance(bar: "tqdm[NoReturn]", sources: list[Source], counts: LoadReport) -> None:
    bar.set_postfix(rows=counts.read, rejected=counts.rejected, refresh=False)
    bar.update(sum(source.position() for source in sources) - bar.n)


def _learner_field(name: str | None) -> str:
    if name is None:
        return conf.learner_lookup_field()
    check, problem = field_problem(get_user_model(), name)
    if check.startswith("E"):
        raise CommandError(f"--learner-field: {name} is {problem} of the user model.", returncode=WRONG_USAGE)
    return name


def _zone(name: str | None) -> ZoneInfo | None:
    try:
        return None if name is None else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f"--assume-timezone: {name} is no time zone such as Europe/London."
        raise CommandError(message, returncode=WRONG_USAGE) from error


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a number from 0, not {text!r}.")
    return int(text)
