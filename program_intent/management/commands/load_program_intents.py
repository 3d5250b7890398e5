"""``manage.py load_program_intents``: options in, report out."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from dataclasses import asdict
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import IO, Any, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.core.management.base import BaseCommand, CommandError, CommandParser, OutputWrapper
from django.db import connections, router
from django.utils import timezone
from tqdm import tqdm

from program_intent.data import LoadReport, RunKind, RunStatus
from program_intent.exceptions import LoadError, printable
from program_intent.intake.load import Load
from program_intent.intake.runs import OpenRun
from program_intent.intake.writers import Foretelling, Storing
from program_intent.management import outputs
from program_intent.management.options import (
    SOME_REJECTED,
    WRONG_USAGE,
    add_by,
    add_learner_field,
    count,
    ended_in_one_line,
    progress_is_hidden,
    refuse_learner_field,
)
from program_intent.management.process import finishing, terminable, tuned
from program_intent.models import ProgramIntent
from program_intent.sources.files import ReportFile, open_file, size
from program_intent.sources.lines import Damaged
from program_intent.sources.rows import Source
from program_intent.validation.learners import all_mean_one_field, field_meant
from program_intent.validation.values import Refused


class Command(BaseCommand):
    help = "Load report files of program intents. Any load can be repeated: what is stored already is a duplicate."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "paths", nargs="+", metavar="PATH", help="A report file, gzipped or not; - is standard input."
        )
        parser.add_argument("--format", choices=("csv", "jsonl"), help="Default: by the file's name, else csv.")
        add_learner_field(parser)
        parser.add_argument(
            "--assume-timezone",
            metavar="ZONE",
            help="Give times without an offset this zone, e.g. Europe/London; without it they are rejected.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Count and reject as a load would; write nothing.")
        parser.add_argument(
            "--rejects", metavar="PATH", help="Write rejected rows to this CSV, to mend and load again."
        )
        parser.add_argument("--max-rejects", type=count, metavar="N", help="Stop at reject N + 1.")
        parser.add_argument("--report", metavar="PATH", help="Write the counts to this file as JSON.")
        add_by(parser)
        parser.add_argument("--database", choices=tuple(connections), metavar="ALIAS", help="Default: by the router.")
        parser.add_argument("--no-progress", action="store_true", help="No progress bar, also on a terminal.")

    def handle(self, *args: Any, **options: Any) -> None:
        self.stderr = OutputWrapper(outputs.Heard(self.stderr._out))  # type: ignore[arg-type]  # it needs no more
        refuse_learner_field(options["learner_field"])
        zone = _zone(options["assume_timezone"])
        self._shown = outputs.ShownRejects(self.stderr)
        self._run: OpenRun | None = None
        self._sources: list[ReportFile] = []
        nothing = LoadReport(0, 0, 0, 0, 0, 0.0, options["dry_run"])
        self._counts: Callable[[], LoadReport] = lambda: nothing
        self._status = "refused"
        started, message = timezone.now(), ""
        with ended_in_one_line(), ExitStack() as stack:
            stack.enter_context(terminable())
            report = _output(stack, options, "report", outputs.REPORT_BEGINS)
            try:
                with ended_in_one_line():
                    self._load(options, zone)
            except CommandError as error:
                message = str(error)
                raise
            finally:
                with finishing():
                    self._end(report, options["paths"], started, message)

    def _end(self, report: IO[str] | None, paths: list[str], started: datetime, message: str) -> None:
        counts, status = self._counts(), self._status
        try:
            if report:
                moments = {"started": started.isoformat(), "finished": timezone.now().isoformat()}
                files = {"files": list(map(printable, paths)), "status": status, "message": message}
                outputs.write_report(report, asdict(counts) | moments | files)
        finally:
            if self._run:
                why = message if status == RunStatus.STOPPED else ""
                self._run.end(counts, RunStatus(status), message=why, files=[each.stored() for each in self._sources])

    def _load(self, options: dict[str, Any], zone: ZoneInfo | None) -> None:
        with ExitStack() as stack:
            self._sources = sources = _open_all(options, stack)
            fields = [_field(source, options["learner_field"]) for source in sources]
            if options["rejects"] and options["report"]:
                outputs.refuse_overwriting(options["rejects"], [options["report"]], "the report")
            rejects = _output(stack, options, "rejects", outputs.REJECTS_BEGINS)
            if rejects and len(set(fields)) > 1:
                raise LoadError(f"{rejects.name}: cannot hold the rejects of inputs that name learners differently.")
            reject = outputs.rejects_writer(rejects, sources[0].learner_name) if rejects else self._shown
            using = options["database"] or router.db_for_write(ProgramIntent)
            if not options["dry_run"]:
                self._run = OpenRun(RunKind.FILE, using=using, by=options["by"])
            writer = Storing(lambda: run.key) if (run := self._run) else stack.enter_context(closing(Foretelling()))
            bar = stack.enter_context(_progress_bar(options))
            load = Load(
                using=using,
                zone=zone,
                writer=writer,
                max_rejects=options["max_rejects"],
                reject=reject,
                progress=lambda counts: _advance(bar, sources, counts),
                in_transaction=run.note if run else None,
                settling=finishing,
            )
            self._counts, self._status = (lambda: load.counts), RunStatus.STOPPED
            try:
                with tuned():
                    for field, some in groupby(zip(fields, sources, strict=True), key=itemgetter(0)):
                        load.run([source for _, source in some], learner_field=field)
                if rejects:
                    with outputs.writing(rejects.name):
                        rejects.flush()
                self._status = RunStatus.FINISHED
            except Damaged as error:  # a pipe; a file was verified when it was opened
                if not run:
                    raise
                raise LoadError(f"{error} What run {run.key} stored of it may be false.") from error
            finally:
                counts = load.counts
                self._counts = lambda: counts
                bar.close()
                self._print(counts, options)
        self._tell_of_rejects(counts.rejected, options)

    def _tell_of_rejects(self, rejected: int, options: dict[str, Any]) -> None:
        if rejected:
            where = f"see {printable(options['rejects'])}" if options["rejects"] else "--rejects PATH keeps them"
            again = f"; load them with --learner-field {options['learner_field']}" if options["learner_field"] else ""
            what = "1 row was rejected" if rejected == 1 else f"{rejected:,} rows were rejected"
            raise CommandError(f"{what}: {where}{again if options['rejects'] else ''}.", returncode=SOME_REJECTED)

    def _print(self, counts: LoadReport, options: dict[str, Any]) -> None:
        self._shown.tell_the_rest()
        if options["verbosity"]:
            outputs.tell(self.stdout, outputs.as_table(asdict(counts)))


def _output(stack: ExitStack, options: dict[str, Any], name: str, begins: str) -> IO[str] | None:
    """The file of an option, if it is given."""
    if options[name] is None:
        return None
    file = outputs.output(options[name], options["paths"], begins=begins, what=name)
    return stack.enter_context(file)


def _open_all(options: dict[str, Any], stack: ExitStack) -> list[ReportFile]:
    """Every file, opened and its header read, before anything is written."""
    if options["paths"].count("-") > 1:
        raise LoadError("Standard input (-) can be read only once.")
    is_one = options["learner_field"] is not None or all_mean_one_field()
    files = (open_file(path, options["format"], names_mean_one_field=is_one) for path in options["paths"])
    return [stack.enter_context(closing(file)) for file in files]


def _progress_bar(options: dict[str, Any]) -> "tqdm[NoReturn]":
    total = sum(map(size, options["paths"])) or None
    return tqdm(total=total, unit="B", unit_scale=True, disable=progress_is_hidden(options))


def _advance(bar: "tqdm[NoReturn]", sources: Iterable[Source], counts: LoadReport) -> None:
    bar.set_postfix_str(f"{counts.read:,} rows, {counts.rejected:,} rejected", refresh=False)
    bar.update(sum(source.position() for source in sources) - bar.n)


def _field(source: Source, given: str | None) -> str:
    """The field of the user model by which a source names learners."""
    try:
        return field_meant(source.learner_name) if given is None else given
    except Refused as refused:
        raise LoadError(f"{source.name}: {refused}: give --learner-field NAME, such as pk.") from None


def _zone(name: str | None) -> ZoneInfo | None:
    try:
        return None if name is None else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f"--assume-timezone: {name} is no time zone such as Europe/London."
        raise CommandError(message, returncode=WRONG_USAGE) from error
