"""What the commands share: options that they have in common, and one line for whatever is refused."""

import argparse
import getpass
import os
import sqlite3
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError

from program_intent.exceptions import InvalidIntent, LoadError, printable
from program_intent.validation.learners import SOME, Learners, field_problem
from program_intent.validation.values import LONGEST_BY, Refused

# 1, Django's own, is what could not run or was stopped.
WRONG_USAGE, SOME_REJECTED = 2, 3
# What sysexits.h calls a temporary failure: try again later.
TRY_AGAIN = 75


def count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a number from 0, not {text!r}.")
    return int(text)


def refuse_unknown_sources(names: Iterable[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            told = ", ".join(known) or "none"
            raise CommandError(f"No source is called {printable(name)}. Known: {told}.", returncode=WRONG_USAGE)


def add_learner_field(parser: CommandParser) -> None:
    parser.add_argument(
        "--learner-field",
        metavar="NAME",
        help="The field of the user model that names learners. Default: LEARNER_LOOKUP_FIELD.",
    )


def refuse_learner_field(name: str | None) -> None:
    if name is None:
        return
    check, problem = field_problem(get_user_model(), name)
    if check.startswith("E"):
        raise CommandError(
            f"--learner-field: {printable(name)} is {problem} of the user model.", returncode=WRONG_USAGE
        )


def bearer(text: str, learners: Learners, what: str) -> tuple[Any, Any]:
    """As of ``learners``, but what is refused is not called by name: it may be somebody's who is to be forgotten."""
    try:
        return learners.bearer(text)
    except Refused as refused:
        problem = "is borne by several users" if str(refused).startswith(SOME) else f"is no value of {learners.field}"
        raise CommandError(f"{what} {problem}.") from None


def add_moments(parser: CommandParser) -> None:
    parser.add_argument(
        "--as-of", metavar="MOMENT", help="Count what was true by then, e.g. 2022-04-12T00:00:00Z. Default: now."
    )
    parser.add_argument(
        "--known-at", metavar="MOMENT", help="Count what had been written by then. Default: everything."
    )


def add_by(parser: CommandParser) -> None:
    parser.add_argument(
        "--by",
        type=_name,
        metavar="NAME",
        default=_user(),
        help="Who is told to have started it. Default: %(default)s.",
    )


def _name(text: str) -> str:
    if not text.strip() or len(text) > LONGEST_BY:
        raise argparse.ArgumentTypeError(f"expected 1 to {LONGEST_BY} characters.")
    return text.strip()


def _user() -> str:
    """The operating system's user; a container may have no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"user {os.getuid()}"


@contextmanager
def in_one_line() -> Iterator[None]:
    """Within the block, what is refused and what the database cannot do ends the command with exit status 1."""
    try:
        yield
    except (InvalidIntent, LoadError) as error:
        raise CommandError(str(error)) from error
    except (DatabaseError, sqlite3.Error) as error:
        raise CommandError(f"The database failed: {' '.join(str(error).split())}") from error


@contextmanager
def ended_in_one_line(what: str = "load", *, stays: str = "what was stored stays") -> Iterator[None]:
    """Whatever stops it ends the command with exit status 1."""
    try:
        with in_one_line():
            yield
    except KeyboardInterrupt as error:
        raise CommandError(f"Interrupted; {stays}, and the {what} can be run again.") from error


def progress_is_hidden(options: dict[str, Any]) -> bool:
    return bool(options["no_progress"] or options["verbosity"] == 0 or sys.stderr is None or not sys.stderr.isatty())
