"""System checks: a broken setting is named before the first request, with a hint how to mend it."""

from program_intent.checks import host, settings

__all__ = ["host", "settings"]
