"""The LMS, whose users' primary keys are what everybody else calls ``lms_user_id``."""

from typing import Any

from program_intent.openedx.settings import fill


def plugin_settings(settings: Any) -> None:
    # .. setting_name: PROGRAM_INTENT['LEARNER_LOOKUP_FIELD']
    # .. setting_default: pk
    # .. setting_description: The field of the user model by which reports and REST name a learner. Said outright, it
    #   lets a report's column lms_user_id name learners by primary key. The other keys are in the documentation of
    #   program-intent, docs/reference/settings.rst.
    fill(settings, learner_lookup_field="pk")
