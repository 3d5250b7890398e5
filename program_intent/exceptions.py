"""Every error this app raises: one root, so that a host can catch them together."""

from collections.abc import Mapping

from django.core import exceptions as of_django


class ProgramIntentError(Exception):
    """Root of all errors raised by program_intent."""


# Their message is made when it is asked for: copy, pickle and task queues make an exception again from its ``args``.


class InvalidIntent(ProgramIntentError):
    """An intent was refused; ``errors`` maps each field name to its list of messages."""

    def __init__(self, errors: Mapping[str, list[str]]) -> None:
        self.errors: dict[str, list[str]] = dict(errors)
        super().__init__(self.errors)

    def __str__(self) -> str:
        return "; ".join(f"{field}: {' '.join(messages)}" for field, messages in self.errors.items())


class AppendOnlyError(ProgramIntentError, of_django.PermissionDenied):
    """Intents are never modified or deleted: record a new intent with program_intent.api.record_intent."""

    # Nobody has the permission, so a page of the host that tries answers 403, not 500.

    def __init__(self, attempted: str) -> None:
        super().__init__(attempted)

    def __str__(self) -> str:
        return f"{self.args[0]} is refused. {type(self).__doc__}"


class ChangesError(ProgramIntentError):
    """The feed of changes cannot be followed from here; the message says why."""


def printable(text: str) -> str:
    """The text with what a terminal would obey, or not show, spelled out."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


class LoadError(ProgramIntentError):
    """A load could not run or was stopped; the message is one line for the operator."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class SyncBusy(LoadError):
    """Another run reads the source, or has taken it over."""
