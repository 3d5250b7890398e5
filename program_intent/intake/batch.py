"""The records of one batch, which is one transaction, and what became of each."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from itertools import chain, islice
from sys import getsizeof
from typing import Any, NamedTuple

from program_intent.data import FIELDS, LoadReport
from program_intent.engines.generic import Spelled
from program_intent.sources.rows import Block, Malformed, Source, Values
from program_intent.store.batches import Named, PreparedRows
from program_intent.validation.judge import NewIntent
from program_intent.validation.values import shown


class Erased(Enum):
    """In place of a row whose learner was erased by name, with what it tells."""

    ERASED = None


ERASED = Erased.ERASED
# A judged row, spelled for the database where the source names learners by their primary key; or why it is refused.
Judged = NewIntent | Spelled | Erased | str

_SEPARATOR = "\x1f"


class Reject(NamedTuple):
    """A rejected record: its values are texts, None an empty one, and its text is empty if the source has none."""

    source: Source
    place: Any
    error: str
    values: Values
    original: str


# Many texts, or as one, because each would take half as much memory again.
_Texts = list[str] | str


class Batch:
    """Records of sources and, for each in order, the judged row or why it is refused.

    ``named`` is who the learners are where they are named otherwise, ``rows`` the records that are not refused.
    """

    rows: PreparedRows

    def __init__(self) -> None:
        # Blocks: source, places, originals, and the values one after the other, or what takes the originals apart.
        self._kept: list[tuple[Source, Sequence[Any], _Texts, _Texts | Callable[[str], Values]]] = []
        self.judged: list[Judged] = []
        self.named = Named()
        self.bytes = 0

    def add(self, source: Source, block: Block, judged: Iterable[Judged]) -> None:
        originals = _as_one(block.originals or [""] * len(block.rows))
        values = block.apart or _as_one(_texts(block))
        self._kept.append((source, block.places, originals, values))
        self.bytes += sum(map(_bytes, (originals, values)))
        self.judged += judged

    def places(self) -> Iterator[Any]:
        return chain.from_iterable(places for _, places, *_ in self._kept)

    def rejects(self, errors: Mapping[int, str]) -> Iterator[Reject]:
        """The records whose positions have an error."""
        first = 0
        for source, places, originals, values in self._kept if errors else ():
            positions = [number for number in range(len(places)) if first + number in errors]
            records = _records(originals, values) if positions else []
            for number in positions:
                yield Reject(source, places[number], errors[first + number], *records[number])
            first += len(places)


class Settled(NamedTuple):
    """What became of a batch, up to the record where the load stops: ``errors`` by the position of the record."""

    counts: LoadReport
    batch: Batch
    size: int
    errors: Mapping[int, str]

    def rejects(self) -> Iterator[Reject]:
        return self.batch.rejects(self.errors)

    def places(self) -> Iterator[Any]:
        return islice(self.batch.places(), self.size)


def _texts(block: Block) -> list[str]:
    rows = [row.values if isinstance(row, Malformed) else row for row in block.rows]
    values = list(chain.from_iterable(rows))
    return values if set(map(type, values)) == {str} else list(map(_text, values))


def _text(value: object) -> str:
    try:
        return "" if value is None else str(value)
    except Exception:  # a function of the host's may give anything
        return shown(value)


def _as_one(texts: Sequence[str]) -> _Texts:
    text = _SEPARATOR.join(texts)
    return text if text.count(_SEPARATOR) == len(texts) - 1 else list(texts)


def _bytes(texts: _Texts | Callable[[str], Values]) -> int:
    return sum(map(getsizeof, texts)) if isinstance(texts, list) else getsizeof(texts)


def _apart(texts: _Texts) -> list[str]:
    return texts.split(_SEPARATOR) if isinstance(texts, str) else texts


def _records(originals: _Texts, values: _Texts | Callable[[str], Values]) -> list[tuple[Values, str]]:
    lines = [original.rstrip("\r\n") for original in _apart(originals)]
    if callable(values):
        return [(values(line), line) for line in lines]
    return list(zip(zip(*[iter(_apart(values))] * len(FIELDS), strict=True), lines, strict=True))
