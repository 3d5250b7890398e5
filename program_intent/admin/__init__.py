"""What Django's admin finds when it looks for the app's, and what hosts put into theirs."""

from program_intent.admin.erased import ErasedLearnerAdmin
from program_intent.admin.intents import ProgramIntentAdmin
from program_intent.admin.readonly import ReadOnlyIntents
from program_intent.admin.runs import RejectedIntentAdmin, RunAdmin
from program_intent.admin.users import ProgramIntentsLink

__all__ = [
    "ErasedLearnerAdmin",
    "ProgramIntentAdmin",
    "ProgramIntentsLink",
    "ReadOnlyIntents",
    "RejectedIntentAdmin",
    "RunAdmin",
]
