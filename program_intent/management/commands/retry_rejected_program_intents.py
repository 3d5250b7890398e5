"""``manage.py retry_rejected_program_intents``: what sources brought and was refused is tried again, or forgotten."""

from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import router

from program_intent import conf
from program_intent.exceptions import LoadError
from program_intent.intake.refused import RefusedRows
from program_intent.intake.retry import retry, retry_messages
from program_intent.management import outputs
from program_intent.management.options import add_by, ended_in_one_line, refuse_unknown_sources
from program_intent.management.process import terminable
from program_intent.models import ProgramIntent, RejectedIntent

_TOLD = ("read", "created", "duplicate", "rejected", "erased")


class Command(BaseCommand):
    help = (
        "Try rejected rows again whose learner is a user by now, and messages that could not be read; what comes in is "
        "kept no longer."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--source", metavar="NAME", help="Only this one's. Default: every source's.")
        parser.add_argument("--purge", action="store_true", help="Then drop what was not seen for REJECTED_KEPT_DAYS.")
        add_by(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        using = router.db_for_write(ProgramIntent)
        kept = RejectedIntent.objects.using(using)
        failed: LoadError | None = None
        with ended_in_one_line(), terminable():
            names = list(kept.order_by("source").values_list("source", flat=True).distinct())
            if options["source"]:
                refuse_unknown_sources([options["source"]], sorted({*names, *conf.sources()}))
                names = [options["source"]]
            for name in names:
                rows = {"rows": kept.filter(source=name), "source": name, "by": options["by"]}
                done = [retry(**rows)]
                try:
                    done.append(retry_messages(**rows))
                except LoadError as error:  # those of a warehouse need no event bus
                    failed = error
                told = {each: sum(asdict(counts)[each] for counts in done) for each in _TOLD}
                if options["purge"]:
                    told["purged"] = RefusedRows(name, using=using).forget()
                told["kept"] = kept.filter(source=name).count()
                outputs.tell(self.stdout, outputs.as_table({"source": name, **told}))
            if failed:
                raise failed
