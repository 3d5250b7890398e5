from program_intent.validation.learners import Learners

__all__ = ["Learners"]
