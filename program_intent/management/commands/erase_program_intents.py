"""``manage.py erase_program_intents``: learners are forgotten; none is called by name in what the command tells."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC
from functools import partial
from typing import Any, TypeVar

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import router, transaction
from django.utils import timezone

from program_intent import conf
from program_intent.data import Erasure, in_json, in_utc
from program_intent.exceptions import printable
from program_intent.management import outputs
from program_intent.management.options import (
    SOME_REJECTED,
    WRONG_USAGE,
    add_by,
    add_learner_field,
    bearer,
    ended_in_one_line,
    refuse_learner_field,
)
from program_intent.management.process import finishing, terminable
from program_intent.models import ProgramIntent
from program_intent.store.erase import erase_forbidden, erase_named, erase_orphans, lift
from program_intent.store.rejected import forget_rejected_of_erased
from program_intent.validation.learners import Learners
from program_intent.validation.values import Refused

T = TypeVar("T")
# One step, and what it has done.
Work = Callable[[], dict[str, Any]]
_REPORT_BEGINS = r'{"action": "'


class Command(BaseCommand):
    help = "Forget what is stored of learners, for good. Any erasure can be repeated."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("learners", nargs="*", metavar="LEARNER", help="Who is erased; also who is no user.")
        add_learner_field(parser)
        parser.add_argument(
            "--retired", action="store_true", help="Their accounts are nobody's any more: refuse their keys for ever."
        )
        instead = parser.add_mutually_exclusive_group()
        instead.add_argument("--again", action="store_true", help="All erasures once more, after a restore.")
        instead.add_argument("--lift", action="store_true", help="Take the erasure of each LEARNER back.")
        instead.add_argument(
            "--orphans", action="store_true", help="Erase the intents of learners who are no users or were erased."
        )
        parser.add_argument("--dry-run", action="store_true", help="Tell what would be done; change nothing.")
        add_by(parser)
        parser.add_argument("--report", metavar="PATH", help="Write what was done to this file as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        action = next((name for name in ("again", "lift", "orphans") if options[name]), "erase")
        _refuse_misuse(action, options)
        self._done: list[dict[str, Any]] = []
        with _in_one_line(), terminable(), ExitStack() as stack:
            path, file = options["report"], None
            if path is not None:
                file = stack.enter_context(outputs.output(path, (), begins=_REPORT_BEGINS, what="report"))
            told = {"action": action, **{name: options[name] for name in ("dry_run", "retired", "by")}}
            told |= {"started": in_utc(timezone.now()), "message": ""}
            try:
                with _in_one_line():
                    self._do(action, options)
            except CommandError as error:
                told["message"] = str(error)
                raise
            finally:
                if file:
                    outputs.write_report(file, told | {"finished": in_utc(timezone.now()), "done": self._done})

    def _do(self, action: str, options: dict[str, Any]) -> None:
        try:
            for work in _WORKS[action](options):
                with finishing() as commits:
                    commits()  # from here on, in several transactions
                    self._done.append(work())
        finally:
            if self._done and options["verbosity"]:
                outputs.tell(self.stdout, outputs.as_columns([tuple(self._done[0]), *map(_cells, self._done)]))
        if any(row.get("lifted") is False for row in self._done):
            raise CommandError("Not all of them had been erased: lifted is no.", returncode=SOME_REJECTED)


def _in_one_line() -> Any:
    return ended_in_one_line("erasure", stays="what was erased stays so")


def _refuse_misuse(action: str, options: dict[str, Any]) -> None:
    names_learners = action in ("erase", "lift")
    problem = ""
    if names_learners and not options["learners"]:
        problem = "Name a LEARNER, or give --again or --orphans."
    elif not names_learners and (options["learners"] or options["learner_field"] is not None):
        problem = f"--{action} is about all learners, and takes neither LEARNER nor --learner-field."
    elif action != "erase" and options["retired"]:
        problem = f"--retired does not go with --{action}."
    if problem:
        raise CommandError(problem, returncode=WRONG_USAGE)
    refuse_learner_field(options["learner_field"])


def _named(texts: Iterable[str], learners: Learners) -> dict[Any, Any]:
    """The primary keys by canonical name, None where nobody bears it; all of them are sound before one is erased."""
    named, problems = {}, []
    for number, text in enumerate(texts, 1):
        try:
            name, key = bearer(text, learners, f"LEARNER {number}")
            named[name] = key
        except CommandError as error:
            problems.append(str(error))
    if problems:
        raise CommandError(f"Nothing was done. {' '.join(problems)}")
    return named


def _using() -> str:
    return router.db_for_write(ProgramIntent)


def _learners(options: dict[str, Any]) -> Learners:
    return Learners(options["learner_field"] or conf.learner_lookup_field(), _using())


def _erase(options: dict[str, Any]) -> Iterator[Work]:
    learners = _learners(options)
    told = {"using": _using(), "by": options["by"], "retired": options["retired"]}
    for name in _named(options["learners"], learners):
        yield partial(_erased, partial(erase_named, learners.field, name, **told), options["dry_run"])


def _erased(work: Callable[[], Erasure], dry_run: bool) -> dict[str, Any]:
    try:
        erasure = _undone(work) if dry_run else work()
    except Refused:  # since they were looked up
        raise CommandError("Several users bear a name by now: run it again.") from None
    until = erasure.until and in_utc(erasure.until.astimezone(UTC))
    return {"learner_id": in_json(erasure.learner_id), "intents": erasure.intents, "until": until}


def _lift(options: dict[str, Any]) -> Iterator[Work]:
    learners = _learners(options)
    for name, key in _named(options["learners"], learners).items():
        names = () if learners.are_named_by_key else ((learners.field, name),)
        yield partial(_lifted, key, partial(lift, key, using=_using(), names=names), options["dry_run"])


def _lifted(key: Any, work: Callable[[], bool], dry_run: bool) -> dict[str, Any]:
    return {"learner_id": in_json(key), "lifted": _undone(work) if dry_run else work()}


def _again(options: dict[str, Any]) -> Iterator[Work]:
    how = {"using": _using(), "dry_run": options["dry_run"]}
    yield lambda: {"intents": erase_forbidden(**how), "rejected": forget_rejected_of_erased(**how)}


def _orphans(options: dict[str, Any]) -> Iterator[Work]:
    how = {"using": _using(), "dry_run": options["dry_run"]}
    yield lambda: {
        "orphans": erase_orphans(**how),
        "forbidden": erase_forbidden(**how),
        "rejected": forget_rejected_of_erased(**how),
    }


_WORKS = {"erase": _erase, "lift": _lift, "again": _again, "orphans": _orphans}


def _undone(work: Callable[[], T]) -> T:
    """What the work would do: it is done, and rolled back."""
    using = _using()
    with transaction.atomic(using=using):
        done = work()
        transaction.set_rollback(True, using=using)
    return done


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(_cell(name, value) for name, value in row.items())


def _cell(name: str, value: Any) -> str:
    if value is None:
        return {"learner_id": "nobody", "until": "for ever"}[name]
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if name in ("intents", "rejected", "orphans", "forbidden") else printable(str(value))
