"""The rules for one value; one that breaks a rule is refused in the words that every caller shows."""

import re
from collections.abc import Callable, Collection, Iterable
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from program_intent import engines
from program_intent.data import Certainty

REQUIRED = "This field is required."
# No text that is sound is longer, once trimmed.
LONGEST = 64
# Of who is told to have started or erased something.
LONGEST_BY = 255

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}", re.I | re.A)
_REASON = re.compile(r"[A-Z][A-Z0-9_]{0,63}", re.I | re.A)


class Refused(ValueError):
    """One value breaks one rule; the message says what was expected."""


def shown(value: object) -> str:
    """The value as a message may quote it: short, and with control characters and lone surrogates escaped."""
    try:
        text = repr(value)
    except Exception:  # any class of the host may come in here; 10**5000 has no repr either
        return f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def unknown_names(names: Iterable[object], known: Collection[str]) -> dict[str, list[str]]:
    """A message under each of the names, the first ten if there are more: a body may hold a hundred thousand."""
    listed = ", ".join(known) or "none"
    return {_shown_name(name): [f"Unknown. {did_you_mean(name, known)}Known: {listed}."] for name in islice(names, 10)}


def did_you_mean(name: object, known: Collection[str]) -> str:
    """The nearest of the known names as a question, empty if none is near."""
    by_lower_case = {each.lower(): each for each in known}
    close = get_close_matches(_shown_name(name).lower(), by_lower_case, n=1)
    return f"Did you mean {by_lower_case[close[0]]}? " if close else ""


def _shown_name(name: object) -> str:
    """As :func:`shown`, without the quotes of a text."""
    text = shown(name)
    return text[1:].removesuffix(text[0]) if type(name) is str else text


def parse_uuid(value: object) -> UUID:
    """A UUID, or its text with or without hyphens in any case."""
    if isinstance(value, UUID):
        return value
    if isinstance(value, str) and len(text := value.strip()) <= LONGEST:
        return _parse_uuid_text(text)
    raise Refused(f"Expected a UUID, not {shown(value)}.")


@lru_cache(maxsize=4096)  # a report names few programs many times
def _parse_uuid_text(text: str) -> UUID:
    if not _UUID.fullmatch(text):
        raise Refused(f"Expected a UUID, with or without hyphens, not {shown(text)}.")
    return UUID(text)


def parse_reason(value: object) -> str:
    """Up to 64 characters ``[A-Z][A-Z0-9_]*``, upper-cased after trimming."""
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str) and _REASON.fullmatch(text):
        return text.upper()
    raise Refused(
        "Expected a reason of up to 64 letters, digits and underscores that starts with a letter, "
        f"such as BUNDLE_PURCHASE, not {shown(text)}."
    )


_CERTAINTIES = {each.value: each for each in Certainty}


def parse_certainty(value: object) -> Certainty:
    """One of the three certainties, spelled as they are."""
    certainty = _CERTAINTIES.get(value.strip()) if isinstance(value, str) else None
    if certainty:
        return certainty
    raise Refused(f"Expected one of {', '.join(_CERTAINTIES)}, not {shown(value)}.")


def parse_by(value: object) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_BY:
        raise Refused(f"Expected a text of up to {LONGEST_BY} characters, not {shown(value)}.")
    return value


def uuid_parser(connection: BaseDatabaseWrapper) -> Callable[[object], UUID]:
    """:func:`parse_uuid`, and the refusal of what this database's column cannot hold."""
    why_unstorable = engines.kind(connection).why_unstorable

    def parse_storable(value: object) -> UUID:
        parsed = parse_uuid(value)
        if why := why_unstorable(parsed):
            raise Refused(why)
        return parsed

    return parse_storable
