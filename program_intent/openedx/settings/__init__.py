"""What the plugin fills in where the host left it out, a module for each kind of host."""

from typing import Any


def fill(settings: Any, *, learner_lookup_field: str) -> None:
    """Set ``LEARNER_LOOKUP_FIELD`` in a settings module, unless it is there; a check tells of what is no dictionary."""
    given = getattr(settings, "PROGRAM_INTENT", {})
    if isinstance(given, dict):
        settings.PROGRAM_INTENT = {"LEARNER_LOOKUP_FIELD": learner_lookup_field, **given}
