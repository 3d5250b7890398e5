"""``python -m benchmarks NAME [--engine ENGINE] [--rows N] ...``: see ``make help``."""

import argparse
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.results import Result

SMALL_TABLE, LARGE_TABLE = 100_000, 10_000_000
ROWS = {"postgresql": 2_000_000, "mariadb": 1_000_000, "sqlite": 1_000_000}


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description="Ratios to a baseline of the same run.")
    parser.add_argument("name", choices=("load", "growth", "read", "cohorts", "write", "locks", "child", "tool"))
    parser.add_argument("paths", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--engine", choices=ROWS, default=os.environ.get("ENGINE", "sqlite"))
    parser.add_argument("--rows", type=int, help="Rows of a report, or of the large table that is read.")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    os.environ |= {"ENGINE": options.engine, "DJANGO_SETTINGS_MODULE": "benchmarks.settings"}

    import django

    django.setup()

    from benchmarks import results

    results.save(options.name, options.engine, run(options)) if not options.paths else run(options)


def run(options: argparse.Namespace) -> "list[Result]":
    if options.name == "child":
        # Nothing else is imported: the process's memory is measured.
        from benchmarks.load import child

        child(options.paths)
        return []

    from benchmarks import cohorts, load, locks, read, write

    rows = options.rows or ROWS[options.engine]
    match options.name:
        case "load":
            return load.first_load(rows, options.repeats)
        case "growth":
            return load.growing_table(options.rows or 1_000_000, steps=10)
        case "read":
            return read.reads(SMALL_TABLE, options.rows or LARGE_TABLE, calls=200)
        case "cohorts":
            return cohorts.reads(options.rows or 1_000_000, 10_000, options.repeats)
        case "write":
            return write.writes(calls=300)
        case "locks":
            return locks.locks(options.rows or 1_000_000)
        case "tool":
            locks.tool(*options.paths)
    return []


main()
