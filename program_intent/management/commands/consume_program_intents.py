"""``manage.py consume_program_intents``: events of Open edX's bus become intents within a second."""

import argparse
import socket
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from program_intent import conf
from program_intent.intake.consumer import PATIENCE, Consumer, in_a_line
from program_intent.management import outputs
from program_intent.management.options import SOME_REJECTED, TRY_AGAIN, add_by, count, ended_in_one_line
from program_intent.management.process import finishing, terminable


class Command(BaseCommand):
    help = "Store what events of PROGRAM_INTENT['EVENTS'] mean, from Open edX's Redis streams, until it is stopped."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--topic", type=_name, nargs="+", required=True, metavar="TOPIC", help="Without the prefix."
        )
        parser.add_argument(
            "--group", type=_name, default="program_intent", metavar="NAME", help="Of consumers that share the work."
        )
        parser.add_argument(
            "--consumer",
            type=_name,
            default=socket.gethostname(),
            metavar="NAME",
            help="One of its own for each process of the group, the same at each start. Default: the machine's.",
        )
        parser.add_argument(
            "--batch", type=_batch, default=500, metavar="N", help="The most messages of a transaction. Default: 500."
        )
        parser.add_argument("--once", action="store_true", help="Store what is there, and end.")
        add_by(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        topics = list(dict.fromkeys(options["topic"]))
        if len(", ".join(topics)) > conf.LONGEST_SOURCE:
            raise CommandError(f"expected topics of {conf.LONGEST_SOURCE} characters together.", returncode=2)
        with ended_in_one_line("consumer"), terminable():
            try:
                consumer = Consumer(
                    topics,
                    group=options["group"],
                    name=options["consumer"],
                    batch=options["batch"],
                    by=options["by"],
                    settling=finishing,
                )
                consumer.run(once=options["once"])
            except Error as error:
                told = f"The database failed for {PATIENCE} seconds; start me again: {in_a_line(error)}"
                raise CommandError(told, returncode=TRY_AGAIN) from error
            counts = asdict(consumer.counts)
            table = {name: counts[name] for name in ("read", "created", "duplicate", "rejected", "erased", "seconds")}
            outputs.tell(self.stdout, outputs.as_table(table))
        if options["once"] and consumer.new_rejects:
            what = "1 row was" if consumer.new_rejects == 1 else f"{consumer.new_rejects:,} rows were"
            told = f"{what} rejected for the first time: the admin lists them."
            raise CommandError(told, returncode=SOME_REJECTED)


def _name(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise argparse.ArgumentTypeError(f"expected printable characters, not {text!r}.")
    return text


def _batch(text: str) -> int:
    found = count(text)
    if not 0 < found <= 10_000:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 10000, not {text!r}.")
    return found
