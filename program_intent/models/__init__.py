"""The record."""

from program_intent.models.intent import ProgramIntent

__all__ = ["ProgramIntent"]
