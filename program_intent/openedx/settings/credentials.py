"""The credentials service, whose users have primary keys of their own beside those of the LMS."""

from typing import Any

from program_intent.openedx.settings import fill


def plugin_settings(settings: Any) -> None:
    # .. setting_name: PROGRAM_INTENT['LEARNER_LOOKUP_FIELD']
    # .. setting_default: lms_user_id
    # .. setting_description: The field of the user model by which reports and REST name a learner. The other keys are
    #   in the documentation of program-intent, docs/reference/settings.rst.
    # .. setting_warning: credentials reads its YAML file after the plugins, so a PROGRAM_INTENT there replaces this one
    #   and has to name the field itself. A system check, program_intent.E012, tells where it does not.
    fill(settings, learner_lookup_field="lms_user_id")
