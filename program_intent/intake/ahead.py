"""What is made in another thread while the database works."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from threading import Thread
from typing import Any, TypeVar

from program_intent.exceptions import LoadError

T = TypeVar("T")


def ahead(batches: Iterator[T], waiting: "Callable[[Future[Any]], Any]" = Future.result) -> Iterator[T]:
    """The same batches, each made in another thread while the database works on the one before."""
    make = partial(next, batches, None)
    made = in_thread(make)
    while (batch := waiting(made)) is not None:
        made = in_thread(make)
        yield batch


def worked_on_ahead(
    work: Callable[[T], T], batches: Iterator[T], waiting: "Callable[[Future[Any]], Any]" = Future.result
) -> Iterator[T]:
    """The same batches, each worked on in another thread while the database works on the one before."""
    made: Future[T] | None = None
    try:
        for batch in batches:
            following = in_thread(partial(work, batch))
            if made:
                yield waiting(made)
            made = following
    except LoadError:  # after the batches before the break
        if made:
            yield waiting(made)
        raise
    if made:
        yield waiting(made)


def in_thread(work: Callable[[], T]) -> "Future[T]":
    """Do the work in a thread for which nobody waits when the load stops: its input may be a silent pipe."""
    made: Future[T] = Future()

    def make() -> None:
        try:
            made.set_result(work())
        except BaseException as error:
            made.set_exception(error)

    Thread(target=make, daemon=True).start()
    return made
