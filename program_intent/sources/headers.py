"""Which of the outside's names stands for which field."""

from collections.abc import Iterable
from unicodedata import category

from program_intent.data import FIELDS
from program_intent.exceptions import LoadError

# By name in lower case; what is not listed is ignored.
_FIELDS_BY_NAME = {
    "program_uuid": "program_uuid",
    "learner": "learner",
    "user_id": "learner",
    "lms_user_id": "learner",
    "reason": "reason",
    "intent_reason": "reason",
    "certainty": "certainty",
    "intent_certainty": "certainty",
    "effective_timestamp": "effective_timestamp",
    "effective_time": "effective_timestamp",
}
_OTHER_SEPARATORS = {"\t": "tabs", ";": "semicolons", "|": "bars"}


def field_named(name: str) -> str | None:
    """The field that a column or key of this name holds."""
    return _FIELDS_BY_NAME.get(name.strip().lower())


def learner_name(names: Iterable[str]) -> str:
    """What the outside calls the learner: ``learner``, ``user_id`` or ``lms_user_id``."""
    return next((name.strip().lower() for name in names if field_named(name) == "learner"), "learner")


def other_separator(line: str) -> str:
    """What stands between the columns of a header instead of commas; empty if nothing known does."""
    return next((plural for each, plural in _OTHER_SEPARATORS.items() if _is_header(line, each)), "")


def looks_like_csv(line: str) -> bool:
    """Whether the line is a header, of commas or of what stands for them."""
    return any(_is_header(line, separator) for separator in (",", *_OTHER_SEPARATORS))


def _is_header(line: str, separator: str) -> bool:
    return set(FIELDS) <= set(map(field_named, line.replace('"', "").split(separator)))


def columns(source: str, header: Iterable[str]) -> list[int]:
    """The positions of the columns for ``FIELDS``.

    :raises LoadError: one of them is missing, or there twice.
    """
    found: dict[str, int] = {}
    names = [" ".join(name.lower().split()) for name in header]
    for index, name in enumerate(names):
        field = field_named(name)
        if field in found:
            raise LoadError(f"{source}: two columns for {field}: {names[found[field]]} and {name}.")
        if field:
            found[field] = index
    missing = [field for field in FIELDS if field not in found]
    if missing:
        raise LoadError(f"{source}: no column for {', '.join(missing)}; the header has {_shortened(', '.join(names))}.")
    if name := next(filter(_has_what_nobody_sees, names), ""):
        raise LoadError(f"{source}: a character in the header cannot be seen: {_shortened(name)}: take it out.")
    return [found[field] for field in FIELDS]


def _has_what_nobody_sees(name: str) -> bool:
    return not name.isprintable() and any(category(each) in ("Cc", "Cf") for each in name)


def _shortened(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:300]}..."
