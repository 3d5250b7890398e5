"""``python -m benchmarks NAME [--engine ENGINE] [--rows N] ...``: see ``make help``."""

import argparse
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.results import Result

SMALL_TABLE, LARGE_TABLE = 100_000, 10_000_000
ROWS = {"postgresql": 2_000_000, "mariadb": 1_000_000, "sqlite": 1_000_000}
NAMES = (
    "load",
    "growth",
    "spellings",
    "judge",
    "read",
    "cohorts",
    "write",
    "locks",
    "sync",
    "runs",
    "erasure",
    "events",
    "against",
)
# What a benchmark starts as a process of its own.
PARTS = ("child", "tool", "fill", "side")


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description="Ratios to a baseline of the same run.")
    parser.add_argument("name", choices=NAMES + PARTS, metavar=f"{{{','.join(NAMES)}}}")
    parser.add_argument(
        "arguments",
        nargs="*",
        help="Of against: a commit, and what to measure beside its package: read, cohorts, write, load, locks (all).",
    )
    parser.add_argument("--engine", choices=ROWS, default=os.environ.get("ENGINE", "sqlite"))
    parser.add_argument("--rows", type=int, help="Rows of a report, or of the large table that is read.")
    parser.add_argument("--repeats", type=int, help="Default: 2 for spellings, 5 for against, 3 for the others.")
    options = parser.parse_args()
    os.environ |= {"ENGINE": options.engine, "DJANGO_SETTINGS_MODULE": "benchmarks.settings"}

    import django

    django.setup()

    from benchmarks import results

    if options.name in PARTS:
        run_part(options.name, options.arguments)
    else:
        results.save(options.name, options.engine, run(options))


def run_part(name: str, arguments: list[str]) -> None:
    if name == "child":
        # Nothing else is imported: the process's memory is measured.
        from benchmarks.load import child

        return child(arguments)

    from benchmarks import against, locks

    match name:
        case "tool":
            locks.tool(*arguments)
        case "fill":
            against.fill(*arguments)
        case "side":
            against.side(*arguments)
    return None


def run(options: argparse.Namespace) -> "list[Result]":
    from benchmarks import against, cohorts, erasure, judge, load, locks, read, runs, spellings, sync, write

    rows, repeats = options.rows or ROWS[options.engine], options.repeats or 3
    match options.name:
        case "load":
            return load.first_load(rows, repeats)
        case "growth":
            return load.growing_table(options.rows or 1_000_000, steps=10)
        case "spellings":
            return spellings.spellings(options.rows or 600_000, options.repeats or 2)
        case "judge":
            return judge.judge(options.rows or 300_000, repeats)
        case "read":
            return read.reads(SMALL_TABLE, options.rows or LARGE_TABLE, calls=200)
        case "cohorts":
            return cohorts.reads(options.rows or 1_000_000, 10_000, repeats)
        case "write":
            return write.writes(calls=300)
        case "locks":
            return locks.locks(options.rows or 1_000_000)
        case "runs":
            return runs.runs(options.rows or 600_000, options.repeats or 7)
        case "erasure":
            return erasure.erasures(options.rows or 100_000, options.repeats or 5)
        case "events":
            from benchmarks.events import events  # which needs an environment of its own

            return events(options.rows or 20_000)
        case "sync":
            return sync.syncs(options.rows or 1_000_000, repeats)
        case _:
            return against.against(*options.arguments, rows=options.rows, rounds=options.repeats or 5)


main()
