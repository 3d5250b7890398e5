"""The record."""

from program_intent.models.checkpoint import Checkpoint
from program_intent.models.erased import ErasedLearner, ErasedName
from program_intent.models.intent import ProgramIntent
from program_intent.models.rejected import RejectedIntent
from program_intent.models.run import Run

__all__ = ["Checkpoint", "ErasedLearner", "ErasedName", "ProgramIntent", "RejectedIntent", "Run"]
