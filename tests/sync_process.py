"""``sync_program_intents`` in a process to which something happens at a place that is chosen, not met by chance.

    python -m tests.sync_process "batches of 1000, kill before commit 3" --report PATH

What happens: ``kill``; ``pause``, which says so on standard output and waits for a line. Where: ``before`` or ``after``
the call with that number of one of ``PLACES``. ``batches of N`` bounds their rows, ``lease of N`` seconds is renewed
ten times as often, ``log PATH`` keeps every log record with all that it carries, and ``peak`` prints the memory's, in
megabytes.
"""

import logging
import os
import resource
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import django
from django.core.management import execute_from_command_line
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet

# Of the query of a warehouse whose engine is :func:`thinking`: at this number it pauses.
THINKS_AT = 1500


def places() -> dict[str, tuple[Any, str]]:
    from program_intent.intake.lease import Lease
    from program_intent.intake.runs import OpenRun
    from program_intent.intake.sync import Sync

    return {
        "commit": (BaseDatabaseWrapper, "commit"),
        "update": (QuerySet, "update"),
        "note": (OpenRun, "note"),
        "end": (OpenRun, "end"),
        "batch": (Sync, "_after_batch"),
        "retry": (Sync, "_retry"),
        "release": (Lease, "release"),
    }


def pause() -> None:
    os.write(1, b"paused\n")
    os.read(0, 1)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def thinking() -> Any:
    """An engine on the SQLite file ``WAREHOUSE``, with a function ``think`` that takes its time."""
    from sqlalchemy import create_engine, event

    def think(number: int) -> int:
        if number == THINKS_AT:
            pause()
        return 1

    engine = create_engine(os.environ["WAREHOUSE"])
    event.listen(engine, "connect", lambda connection, _: connection.create_function("think", 1, think))
    return engine


def prepare(what: str) -> None:
    match what.split():
        case ["batches", "of", size]:
            from program_intent.intake import load

            load.FIRST_TRANSACTION = load.LARGEST_TRANSACTION = int(size)
        case ["lease", "of", seconds]:
            from program_intent.intake import lease

            lease.LEASE, lease.RENEWED_AFTER = timedelta(seconds=int(seconds)), int(seconds) / 10  # type: ignore[assignment]
        case ["log", path]:
            handler, written = logging.FileHandler(path), logging.Formatter()
            handler.format = lambda record: f"{vars(record)} {written.format(record)}"  # type: ignore[method-assign]
            logging.basicConfig(level=logging.DEBUG, handlers=[handler], force=True)
        case [act, when, place, number]:
            owner, name = places()[place]
            happen({"kill": kill, "pause": pause}[act], when, owner, name, int(number))


def happen(act: Callable[[], None], when: str, owner: Any, name: str, number: int) -> None:
    method, calls = getattr(owner, name), 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        is_it = calls == number
        if is_it and when == "before":
            act()
        found = method(*args, **kwargs)
        if is_it and when == "after":
            act()
        return found

    setattr(owner, name, counted)


def main(happens: str, *arguments: str) -> None:
    django.setup()
    for what in happens.split(", "):
        prepare(what)
    execute_from_command_line(["manage.py", "sync_program_intents", "--skip-checks", "--by", "tests", *arguments])
    if "peak" in happens:
        megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 // 1_000_000
        sys.stdout.write(f"peak {megabytes}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
