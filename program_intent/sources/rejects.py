"""The rejects file, which a load writes and which can be mended and loaded again."""

from collections.abc import Callable, Iterable, Sequence

from program_intent.sources.rows import Values

PLACE = ("file", "line", "error")
# A spreadsheet takes a cell that begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")


def escaped(cells: Iterable[str]) -> list[str]:
    return [f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells]


def unescaped(pick: Callable[[Sequence[str]], Values]) -> Callable[[Sequence[str]], Values]:
    """The same choice of cells, as they were before they were escaped."""
    return lambda row: tuple(cell.removeprefix("'") for cell in pick(row))
