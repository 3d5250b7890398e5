"""What a command writes besides the database: files, never over something else, and streams that may be gone."""

import csv
import errno
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any

from django.core.files import locks
from django.core.management.base import OutputWrapper
from tqdm import tqdm

from program_intent.data import FIELDS
from program_intent.exceptions import LoadError, printable
from program_intent.intake.batch import Reject
from program_intent.sources import rejects


@contextmanager
def writing(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LoadError(f"{path}: cannot be written: {error.strerror}.") from error


@contextmanager
def output(path: str, inputs: Iterable[str], *, begins: str, what: str) -> Iterator[IO[str]]:
    """The file, locked, and still with its old content: only when all are open is any of them emptied.

    :raises LoadError: it is an input or a redirected stream, another process writes it, or its content does not
        begin as what was written there earlier.
    """
    refuse_overwriting(path, (0 if each == "-" else each for each in inputs), "one of the inputs")
    if os.path.isfile(path):
        refuse_overwriting(path, (1, 2), "standard output")
    with writing(path):
        # What was not UTF-8 in an input is spelled out, so that the file can be mended and loaded again.
        file = open(path, "a", encoding="utf-8", errors="backslashreplace", newline="")  # noqa: SIM115
    try:
        if os.path.isfile(path):
            _refuse_anothers(file, begins, what)
        yield file
    finally:
        with writing(path):
            file.close()


def refuse_overwriting(path: str, others: Iterable[str | int], what: str) -> None:
    for other in others:
        if os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other):
            raise LoadError(f"{path}: is {what} and would be overwritten.")


def _refuse_anothers(file: IO[str], begins: str, what: str) -> None:
    if not locks.lock(file, locks.LOCK_EX | locks.LOCK_NB):
        raise LoadError(f"{file.name}: is being written by another process.")
    with writing(file.name), open(file.name, "rb") as old:
        beginning = old.readline(1000).decode(errors="replace")
    if beginning and not re.match(begins, beginning):
        raise LoadError(f"{file.name}: holds no earlier {what} and would be overwritten.")


def empty(file: IO[str]) -> None:
    if os.path.isfile(file.name):
        file.truncate(0)


REPORT_BEGINS, REJECTS_BEGINS = r'{"read": \d+, "created": ', ",".join((*rejects.PLACE, "program_uuid,"))


def write_report(file: IO[str], values: dict[str, Any]) -> None:
    with writing(file.name):
        empty(file)
        json.dump(values, file)
        file.flush()


def rejects_writer(file: IO[str], learner_name: str) -> Callable[[Reject], None]:
    """Writes a record as a row of the rejects file, whose column of learners bears the name it has in the inputs."""
    _learner, program, *others = FIELDS
    writer = csv.writer(file)
    with writing(file.name):
        empty(file)
        writer.writerow((*rejects.PLACE, program, learner_name, *others, "original"))

    def write(reject: Reject) -> None:
        learner, program, *others = reject.values
        place = (reject.source.name, str(reject.place), reject.error)
        with writing(file.name):
            writer.writerow(rejects.escaped((*place, program, learner, *others, reject.original)))

    return write


# Without a rejects file an operator still sees what kind of rows are refused.
SHOWN_REJECTS = 10


class ShownRejects:
    """The first of the rejects, on standard error."""

    def __init__(self, stderr: OutputWrapper) -> None:
        self._stderr = stderr
        self._count = 0

    def __call__(self, reject: Reject) -> None:
        self._count += 1
        if self._count <= SHOWN_REJECTS:
            place = f"{printable(reject.source.name)}, {reject.source.unit} {reject.place}"
            with tqdm.external_write_mode():
                self._stderr.write(f"{place}: {printable(reject.error)}")

    def tell_the_rest(self) -> None:
        if (more := self._count - SHOWN_REJECTS) > 0:
            self._stderr.write(f"... and {more:,} more")


def as_table(values: dict[str, Any]) -> str:
    shown = {name: f"{value:,}" if type(value) is int else str(value) for name, value in values.items()}
    left, right = max(10, *(len(name) + 1 for name in shown)), max(14, *map(len, shown.values()))
    return "\n".join(f"{name:<{left}}{value:>{right}}" for name, value in shown.items())


def as_columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def tell(stdout: OutputWrapper, text: str) -> None:
    """:raises LoadError: standard output is closed or full."""
    with writing("standard output"):
        if stdout._out is None:  # how Python starts where it is closed
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        try:
            encoding = getattr(stdout._out, "encoding", None) or "utf-8"
            stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
            stdout.flush()
        except OSError:
            _silence(stdout._out)
            raise


def _silence(stream: Any) -> None:
    """Or Python tries once more when it ends, and fails.

    A stream that was closed from the start is None, and its descriptor by now that of a file which was opened since.
    """
    with suppress(OSError, AttributeError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Heard:
    """A stream that may be closed or full: what it does not take is lost, and stops nothing."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, AttributeError, ValueError):
            _silence(self._stream)

    def flush(self) -> None:
        """Each write does."""

    def isatty(self) -> bool:
        return bool(self._stream and self._stream.isatty())
