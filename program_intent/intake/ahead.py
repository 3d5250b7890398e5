"""What is made in another thread while the database works."""

from collections.abc import Iterator
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def ahead(batches: Iterator[T]) -> Iterator[T]:
    """The same batches, each made in another thread while the database works on the one before."""
    made = _start(batches)
    while (batch := made.result()) is not None:
        made = _start(batches)
        yield batch


def _start(batches: Iterator[T]) -> "Future[T | None]":
    """Make the next batch in a thread for which nobody waits when the load stops: its input may be a silent pipe."""
    made: Future[T | None] = Future()

    def make() -> None:
        try:
            made.set_result(next(batches, None))
        except BaseException as error:
            made.set_exception(error)

    Thread(target=make, daemon=True).start()
    return made
