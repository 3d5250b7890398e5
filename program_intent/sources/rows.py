"""What every source gives: blocks of raw rows, each with its place and, where there is one, its original text."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

# The five raw values of a record, texts or typed, in the order of ``FIELDS``.
Values = tuple[Any, ...]


class Malformed(NamedTuple):
    """What is wrong with the form of a record, and its values as far as they can be read."""

    error: str
    values: Values


class Block(NamedTuple):
    """Consecutive records: the place of each, its text unless the source has none, and its values."""

    places: Sequence[Any]
    originals: Sequence[str] | None
    rows: Sequence[Values | Malformed]
    # Takes an original apart into its values, where that needs no parser: they need not be kept beside it then.
    apart: Callable[[str], Values] | None = None


class Source(Protocol):
    """An open source of raw rows, ready to be read once."""

    name: str
    # What a place is the number of, such as "line".
    unit: str
    # What it calls the learner: learner, user_id or lms_user_id.
    learner_name: str

    def blocks(self) -> Iterator[Block]:
        """Every record; LoadError if the source breaks off, after the records before the break."""

    def position(self) -> int:
        """How far it has been read, for a progress bar; 0 if nobody knows."""

    def close(self) -> None: ...
