"""``manage.py export_program_intents``: a learner's own data, or everybody's under pseudonyms."""

import csv
import json
import secrets
from collections.abc import Iterable, Iterator
from io import StringIO
from itertools import chain
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import router

from program_intent import conf
from program_intent.data import RunSummary, in_json, in_utc
from program_intent.exceptions import LoadError
from program_intent.management import outputs
from program_intent.management.options import (
    WRONG_USAGE,
    add_learner_field,
    bearer,
    ended_in_one_line,
    refuse_learner_field,
)
from program_intent.models import ErasedLearner, ProgramIntent, RejectedIntent
from program_intent.read import history, pseudonyms
from program_intent.store.erase import names_borne
from program_intent.store.erased_names import ErasedNames, Names
from program_intent.store.rejected import rejected_of
from program_intent.validation.learners import Learners

_SHORTEST_KEY = 16
_HIDDEN = ("id", "key")


class Command(BaseCommand):
    help = "Write all that is stored of a learner as JSON, or everybody's intents under pseudonyms as CSV."

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--learner", metavar="LEARNER", help="Whose data is written; also of who is no user.")
        what.add_argument("--pseudonymous", action="store_true", help="All intents, a keyed hash for each learner.")
        add_learner_field(parser)
        parser.add_argument(
            "--key-file", metavar="PATH", help="The key of the hashes. Default: a random one, thrown away."
        )
        parser.add_argument("--output", metavar="PATH", help="Default: standard output.")

    def handle(self, *args: Any, **options: Any) -> None:
        _refuse_misuse(options)
        using = router.db_for_read(ProgramIntent)
        with ended_in_one_line("export", stays="what was written is not all"):
            if options["pseudonymous"]:
                pages = _as_csv(pseudonyms.pages(_key(options["key_file"]), using=using))
                begins = ",".join(pseudonyms.COLUMNS)
            else:
                told = _of_learner(options["learner"], options["learner_field"] or conf.learner_lookup_field(), using)
                pages, begins = iter([_as_json(told)]), r'{"learner": '
            self._write(pages, options, begins)

    def _write(self, pages: Iterator[str], options: dict[str, Any], begins: str) -> None:
        path = options["output"]
        if path is None:
            for page in pages:
                outputs.tell(self.stdout, page)
            return
        inputs = [options["key_file"]] if options["key_file"] else []
        with outputs.output(path, inputs, begins=begins, what="export") as file, outputs.writing(path):
            outputs.empty(file)
            file.writelines(pages)
            file.flush()


def _refuse_misuse(options: dict[str, Any]) -> None:
    one, other = ("learner_field", "--learner") if options["pseudonymous"] else ("key_file", "--pseudonymous")
    if options[one] is not None:
        raise CommandError(f"--{one.replace('_', '-')} goes with {other}.", returncode=WRONG_USAGE)
    refuse_learner_field(options["learner_field"])


def _key(path: str | None) -> bytes:
    if path is None:
        return secrets.token_bytes(32)
    try:
        key = Path(path).read_bytes().strip()
    except OSError as error:
        raise LoadError(f"{path}: cannot be read: {error.strerror}.") from error
    if len(key) < _SHORTEST_KEY:
        raise LoadError(f"{path}: expected a key of {_SHORTEST_KEY} bytes or more.")
    return key


def _as_csv(pages: Iterable[list[tuple[Any, ...]]]) -> Iterator[str]:
    for rows in chain([[pseudonyms.COLUMNS]], pages):
        text = StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        yield text.getvalue()


def _of_learner(text: str, field: str, using: str) -> dict[str, Any]:
    """All that is stored of a learner; what names them may be nobody's name."""
    learners = Learners(field, using)
    name, key = bearer(text, learners, "LEARNER")
    intents, runs = ([], {}) if key is None else history.with_runs(key, None, using=using)
    told = {run: _run(run) for run in set(runs.values())}
    named = {} if learners.are_named_by_key else {field: name}
    called = {"pk": key, **names_borne(key, using=using)} if key is not None else {}
    return {
        "learner": {"learner_id": in_json(key), **{each: in_json(value) for each, value in named.items()}},
        "intents": [{**each.as_dict(), "run": told[runs[each.id]] if each.id in runs else None} for each in intents],
        "rejected": _rejected({**called, **named}.items(), using),
        "erasures": _erasures_of_name(field, name, using) if key is None else _erasures(key, using),
    }


def _run(run: RunSummary) -> dict[str, Any]:
    """Without who started it, who is another person."""
    return {"id": run.id, "kind": run.kind, "source": run.source, "started": in_utc(run.started)}


def _rejected(names: Names, using: str) -> list[dict[str, Any]]:
    found = RejectedIntent.objects.using(using).in_bulk(list(rejected_of(names, using=using)))
    columns = [field.name for field in RejectedIntent._meta.concrete_fields if field.name not in _HIDDEN]
    return [{name: in_json(getattr(row, name)) for name in columns} for row in found.values()]


def _erasures(key: Any, using: str) -> list[dict[str, Any]]:
    columns = {"erased": "erased", "intents": "intents", "until": "key_until"}
    found = ErasedLearner.objects.using(using).filter(pk=key)
    return [{name: in_json(getattr(each, column)) for name, column in columns.items()} for each in found]


def _erasures_of_name(field: str, name: Any, using: str) -> list[dict[str, Any]]:
    return [{"until": in_json(until)} for until in ErasedNames(field, using=using).until([name]).values()]


def _as_json(told: dict[str, Any]) -> str:
    """A line for each row, so that people can look for one."""
    return "{" + ",\n".join(f"{json.dumps(name)}: {_listed(value)}" for name, value in told.items()) + "}\n"


def _listed(value: Any) -> str:
    if not isinstance(value, list):
        return json.dumps(value)
    return "[" + ",".join(f"\n{json.dumps(each)}" for each in value) + "]"
