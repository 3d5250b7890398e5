"""The records of one batch, which is one transaction, and what became of each."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from program_intent.data import FIELDS
from program_intent.sources.rows import Block, Malformed, Source, Values
from program_intent.store import PreparedRows, Spelled
from program_intent.validation import NewIntent

# A judged row, spelled for the database where the source names learners by their primary key; or why it is refused.
Verdict = NewIntent | Spelled | str

_SEPARATOR = "\x1f"


class Reject(NamedTuple):
    """A rejected record: its values are texts, None an empty one, and its text is empty if the source has none."""

    source: Source
    place: Any
    error: str
    values: Values
    original: str


class _Kept(NamedTuple):
    source: Source
    places: Sequence[Any]
    originals: str | list[str]
    # In one sequence, record after record; or how the originals come apart into them.
    values: str | list[str] | Callable[[str], Values]


class Batch:
    """Records of sources and, for each in order, the verdict.

    ``rows`` are those that are not refused, once the learners' primary keys are known.
    """

    def __init__(self) -> None:
        self._kept: list[_Kept] = []
        self.verdicts: list[Verdict] = []
        self.rows: PreparedRows | None = None

    def add(self, source: Source, block: Block, verdicts: Iterable[Verdict]) -> None:
        originals = _as_one(block.originals or [""] * len(block.rows))
        self._kept.append(_Kept(source, block.places, originals, block.apart or _as_one(_texts(block))))
        self.verdicts += verdicts

    def rejects(self, errors: Mapping[int, str]) -> Iterator[Reject]:
        """The records whose positions have an error."""
        first = 0
        for kept in self._kept:
            positions = [number for number in range(len(kept.places)) if first + number in errors]
            records = list(_records(kept)) if positions else []
            for number in positions:
                values, original = records[number]
                yield Reject(kept.source, kept.places[number], errors[first + number], values, original)
            first += len(kept.places)


def _texts(block: Block) -> list[str]:
    rows = [row.values if isinstance(row, Malformed) else row for row in block.rows]
    values = list(chain.from_iterable(rows))
    return values if set(map(type, values)) == {str} else ["" if value is None else str(value) for value in values]


def _as_one(texts: Sequence[str]) -> str | list[str]:
    """Texts of their own would take half as much memory again."""
    text = _SEPARATOR.join(texts)
    return text if text.count(_SEPARATOR) == len(texts) - 1 else list(texts)


def _apart(texts: str | list[str]) -> list[str]:
    return texts.split(_SEPARATOR) if isinstance(texts, str) else texts


def _records(kept: _Kept) -> Iterator[tuple[Values, str]]:
    originals = [original.rstrip("\r\n") for original in _apart(kept.originals)]
    if callable(kept.values):
        values: Iterable[Values] = map(kept.values, originals)
    else:
        values = zip(*[iter(_apart(kept.values))] * len(FIELDS), strict=True)
    return zip(values, originals, strict=True)
