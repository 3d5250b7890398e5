"""``consume_program_intents`` in a process to which something happens at a place that is chosen, not met by chance.

    python -m tests.consumer_process "claim after 0, kill before commit 3" --topic certificates

As :mod:`tests.sync_process`, with places of its own. ``claim after N`` milliseconds, ``patience of N`` seconds.
"""

import sys
from typing import Any

import django
from django.core.management import execute_from_command_line
from django.db.backends.base.base import BaseDatabaseWrapper

from tests.sync_process import happen, kill, pause
from tests.sync_process import prepare as prepare_sync


def place_of(name: str) -> tuple[Any, str]:
    import redis

    from program_intent.intake.load import Load
    from program_intent.sources.redis_streams import Streams

    return {
        "commit": (BaseDatabaseWrapper, "commit"),
        "settle": (Load, "_settle"),
        "acknowledgement": (Streams, "acknowledge"),
        "claim": (redis.Redis, "xautoclaim"),
    }[name]


def prepare(what: str) -> None:
    match what.split():
        case ["claim", "after", milliseconds]:
            from program_intent.sources import redis_streams

            redis_streams.CLAIMED_AFTER = int(milliseconds)
        case ["patience", "of", seconds]:
            from program_intent.intake import consumer

            consumer.PATIENCE = int(seconds)
            consumer.PAUSE = 0.1  # type: ignore[assignment]
        case [act, when, place, number]:
            happen({"kill": kill, "pause": pause}[act], when, *place_of(place), int(number))
        case _:
            prepare_sync(what)


def main(happens: str, *arguments: str) -> None:
    django.setup()
    for what in filter(None, happens.split(", ")):
        prepare(what)
    execute_from_command_line(["manage.py", "consume_program_intents", "--skip-checks", "--by", "tests", *arguments])


if __name__ == "__main__":
    main(*sys.argv[1:])
