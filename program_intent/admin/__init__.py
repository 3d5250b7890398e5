"""What Django's admin finds when it looks for the app's."""

from program_intent.admin.intents import ProgramIntentAdmin

__all__ = ["ProgramIntentAdmin"]
