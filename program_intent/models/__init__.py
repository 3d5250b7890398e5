"""The record."""

from program_intent.models.intent import ProgramIntent
from program_intent.models.run import Run

__all__ = ["ProgramIntent", "Run"]
