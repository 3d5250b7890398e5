"""What the commands that read share: the moments asked about, and one line for whatever is refused."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError

from program_intent.exceptions import InvalidIntent, LoadError


def add_moments(parser: CommandParser) -> None:
    parser.add_argument(
        "--as-of", metavar="MOMENT", help="Count what was true by then, e.g. 2022-04-12T00:00:00Z. Default: now."
    )
    parser.add_argument(
        "--known-at", metavar="MOMENT", help="Count what had been written by then. Default: everything."
    )


@contextmanager
def in_one_line() -> Iterator[None]:
    """Within the block, what is refused and what the database cannot do ends the command with exit status 1."""
    try:
        yield
    except (InvalidIntent, LoadError) as error:
        raise CommandError(str(error)) from error
    except (DatabaseError, sqlite3.Error) as error:
        raise CommandError(f"The database failed: {' '.join(str(error).split())}") from error
