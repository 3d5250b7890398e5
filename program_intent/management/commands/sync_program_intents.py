"""``manage.py sync_program_intents``: what is new in the warehouses comes in; and how far they are read."""

import argparse
import json
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import asdict
from datetime import UTC, timedelta
from functools import partial
from typing import IO, Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser, OutputWrapper
from django.db import router
from django.utils import timezone
from django.utils.dateparse import parse_duration
from tqdm import tqdm

from program_intent import conf
from program_intent.data import LoadReport, SyncReport, in_utc
from program_intent.engines.generic import Spelled, UtcNow
from program_intent.exceptions import LoadError, SyncBusy, printable
from program_intent.intake.batch import Reject
from program_intent.intake.sync import Sync
from program_intent.management import outputs
from program_intent.management.options import (
    SOME_REJECTED,
    TRY_AGAIN,
    WRONG_USAGE,
    add_by,
    count,
    ended_in_one_line,
    in_one_line,
    progress_is_hidden,
    refuse_unknown_sources,
)
from program_intent.management.process import finishing, terminable, tuned
from program_intent.models import Checkpoint, ProgramIntent, RejectedIntent

# What the options of a sync are called that a status has no use for.
_OF_A_SYNC = ("full", "dry_run", "compare", "take_over", "rejects", "max_rejects", "report")
_STATUS = ("source", "cursor", "checked", "lag", "at_work", "rejected")


class Command(BaseCommand):
    help = "Bring in what is new in the warehouses of PROGRAM_INTENT['SOURCES']. Any sync can be repeated."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("sources", nargs="*", metavar="SOURCE", help="Default: all that are configured.")
        parser.add_argument("--full", action="store_true", help="Read all again, also what is behind the cursor.")
        parser.add_argument("--dry-run", action="store_true", help="Count and reject as a sync would; write nothing.")
        parser.add_argument(
            "--compare", action="store_true", help="Say by program and reason what a full sync would create."
        )
        parser.add_argument("--status", action="store_true", help="Say how far each source is read, and sync nothing.")
        parser.add_argument("--json", action="store_true", help="The status as JSON.")
        parser.add_argument(
            "--max-lag", type=_duration, metavar="DURATION", help="With --status, exit with 3 where the lag is longer."
        )
        parser.add_argument("--rejects", metavar="PATH", help="Write rows that are rejected for the first time here.")
        parser.add_argument("--max-rejects", type=count, metavar="N", help="Stop a source beyond N new rejects.")
        parser.add_argument("--report", metavar="PATH", help="Write the counts to this file as JSON.")
        parser.add_argument("--take-over", action="store_true", help="End the run that is at work, and begin.")
        add_by(parser)
        parser.add_argument("--no-progress", action="store_true", help="No progress bar, also on a terminal.")

    def handle(self, *args: Any, **options: Any) -> None:
        self.stderr = OutputWrapper(outputs.Heard(self.stderr._out))  # type: ignore[arg-type]  # it needs no more
        names = options["sources"] or list(conf.sources())
        refuse_unknown_sources(names, conf.sources())
        if not names:
            raise CommandError('PROGRAM_INTENT["SOURCES"] names no source.')
        if options["status"]:
            if any(options[name] is not None and options[name] is not False for name in _OF_A_SYNC):
                raise CommandError(
                    "--status syncs nothing: it takes --json and --max-lag alone.", returncode=WRONG_USAGE
                )
            with in_one_line():
                self._tell_status(names, options)
            return
        if options["json"] or options["max_lag"] is not None:
            raise CommandError("--json and --max-lag go with --status.", returncode=WRONG_USAGE)
        with ended_in_one_line("sync"), ExitStack() as stack:
            stack.enter_context(terminable())
            self._sync_all(dict.fromkeys(names), options, stack)

    def _tell_status(self, names: list[str], options: dict[str, Any]) -> None:
        rows = [_status(name) for name in names]
        told = json.dumps(rows, indent=2) if options["json"] else outputs.as_columns([_STATUS, *map(_cells, rows)])
        outputs.tell(self.stdout, told)
        most = options["max_lag"]
        late = [row["source"] for row in rows if most is not None and not _is_within(row["lag"], most)]
        if late:
            raise CommandError(f"Not synced within {most}: {', '.join(late)}.", returncode=SOME_REJECTED)

    def _sync_all(self, names: Iterable[str], options: dict[str, Any], stack: ExitStack) -> None:
        report = _output(stack, options, "report")
        if options["report"] and options["rejects"]:
            outputs.refuse_overwriting(options["rejects"], [options["report"]], "the report")
        rejects = _output(stack, options, "rejects")
        self._write_reject: Any = None
        self._told: dict[str, SyncReport] = {}
        started, failures = timezone.now(), {}
        for name in names:
            try:
                with ended_in_one_line("sync"):
                    self._sync(name, options, rejects)
            except CommandError as error:
                failures[name] = error
                self.stderr.write(f"{error}")
                if isinstance(error.__cause__, KeyboardInterrupt):
                    break
        if rejects:
            if self._write_reject is None:  # what an earlier sync left there is not of this one
                outputs.rejects_writer(rejects, "learner")
            with outputs.writing(rejects.name):
                rejects.flush()
        told = self._told.values()
        created, new_rejects = sum(each.created for each in told), sum(each.new_rejects for each in told)
        ending = _ending(failures, new_rejects, created, options)
        if report:
            outputs.write_report(report, _report(self._told, failures, started, options, str(ending or "")))
        if ending:
            raise ending

    def _sync(self, name: str, options: dict[str, Any], rejects: IO[str] | None) -> None:
        shown = outputs.ShownRejects(self.stderr)
        told: Counter[tuple[UUID, str, bool]] = Counter()

        def foretold(new: Iterable[Spelled], stored: Iterable[Spelled]) -> None:
            for is_new, rows in ((True, new), (False, stored)):
                told.update((UUID(program), reason, is_new) for _, program, reason, *_ in rows)

        bar = tqdm(unit=" rows", desc=name, disable=progress_is_hidden(options))

        def progress(counts: LoadReport) -> None:
            bar.set_postfix_str(f"{counts.rejected:,} rejected", refresh=False)
            bar.update(counts.read - bar.n)

        sync = Sync(
            name,
            by=options["by"],
            full=options["full"] or options["compare"],
            dry_run=options["dry_run"] or options["compare"],
            take_over=options["take_over"],
            max_rejects=options["max_rejects"],
            reject=partial(self._write, rejects) if rejects else shown,
            progress=progress,
            settling=finishing,
            foretold=foretold if options["compare"] else lambda new, stored: None,
        )
        try:
            with bar, tuned():
                counts = sync.run()
        finally:
            self._told[name] = sync.report
            shown.tell_the_rest()
        if options["verbosity"]:
            values = {name: value for name, value in asdict(counts).items() if value not in ("", None)}
            outputs.tell(self.stdout, outputs.as_table({"source": values.pop("source"), **values}))
            if options["compare"]:
                outputs.tell(self.stdout, _compared(told))

    def _write(self, rejects: IO[str], row: Reject) -> None:
        """Into the file of all sources, whose column of learners bears the name it has in the first that rejects."""
        learner_name = row.source.learner_name
        if self._write_reject is None:
            self._write_reject = outputs.rejects_writer(rejects, learner_name), learner_name
        write, name_there = self._write_reject
        if name_there != learner_name:
            raise LoadError(f"{rejects.name}: cannot hold the rejects of sources that name learners differently.")
        write(row)


def _ending(
    failures: dict[str, CommandError], new_rejects: int, created: int, options: dict[str, Any]
) -> CommandError | None:
    """What the command ends with, the worst first."""
    if failures:
        busy = all(isinstance(error.__cause__, SyncBusy) for error in failures.values())
        first = f"{len(failures)} of the sources failed." if len(failures) > 1 else f"{next(iter(failures))} failed."
        return CommandError(first, returncode=TRY_AGAIN if busy else 1)
    if options["compare"] and created:
        return CommandError(f"A full sync would create {created:,}.", returncode=SOME_REJECTED)
    if new_rejects:
        where = f"see {printable(options['rejects'])}" if options["rejects"] else "--rejects PATH writes new ones"
        what = "1 row was rejected" if new_rejects == 1 else f"{new_rejects:,} rows were rejected"
        return CommandError(f"{what} for the first time: {where}.", returncode=SOME_REJECTED)
    return None


def _report(
    told: dict[str, SyncReport], failures: dict[str, CommandError], started: Any, options: dict[str, Any], message: str
) -> dict[str, Any]:
    """The keys of a load's report, with those of each source."""
    names = ("read", "created", "duplicate", "rejected", "erased", "seconds")
    sums = {name: round(sum(getattr(each, name) for each in told.values()), 3) for name in names}
    moments = {"started": started.isoformat(), "finished": timezone.now().isoformat()}
    sources = [
        {"source": name, **(asdict(told[name]) if name in told else {})}
        | {"status": "stopped" if name in failures else "finished", "message": str(failures.get(name, ""))}
        for name in dict.fromkeys((*told, *failures))
    ]
    status = "stopped" if failures else "finished"
    dry_run = options["dry_run"] or options["compare"]
    return {**sums, "dry_run": dry_run, **moments, "sources": sources, "status": status, "message": message}


def _output(stack: ExitStack, options: dict[str, Any], name: str) -> IO[str] | None:
    if options[name] is None:
        return None
    begins = outputs.REPORT_BEGINS if name == "report" else outputs.REJECTS_BEGINS
    return stack.enter_context(outputs.output(options[name], (), begins=begins, what=name))


def _status(name: str) -> dict[str, Any]:
    using = router.db_for_write(ProgramIntent)
    found = Checkpoint.objects.using(using).filter(source=name).first() or Checkpoint(source=name)
    lag = None if found.checked is None else max(0, round((timezone.now() - found.checked).total_seconds()))
    return {
        "source": name,
        "cursor": found.cursor.partition(" ")[2] or None,
        "checked": found.checked and in_utc(found.checked.astimezone(UTC)),
        "lag": lag,
        "at_work": Checkpoint.objects.using(using).filter(source=name, lease_until__gt=UtcNow()).exists(),
        "rejected": RejectedIntent.objects.using(using).filter(source=name).count(),
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    lag = "" if row["lag"] is None else str(timedelta(seconds=row["lag"]))
    values = {**row, "lag": lag, "at_work": "yes" if row["at_work"] else ""}
    return tuple("" if value is None else str(value) for value in values.values())


def _is_within(lag: int | None, most: timedelta) -> bool:
    return lag is not None and timedelta(seconds=lag) <= most


def _compared(told: "Counter[tuple[UUID, str, bool]]") -> str:
    pairs = sorted({(program, reason) for program, reason, _ in told})
    rows = [
        (str(program), reason, f"{told[program, reason, True]:,}", f"{told[program, reason, False]:,}")
        for program, reason in pairs
    ]
    return outputs.as_columns([("program_uuid", "reason", "would_be_created", "duplicate"), *rows])


def _duration(text: str) -> timedelta:
    found = None
    with suppress(ArithmeticError, ValueError):  # more than a timedelta, or Python's integers, can be
        found = parse_duration(text.strip()) if text.strip() else None
    if found is None or found < timedelta():
        raise argparse.ArgumentTypeError(f"expected a duration such as 36:00:00 or P1DT12H, not {text!r}.")
    return found
