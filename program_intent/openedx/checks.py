"""System checks of a host that has the app by an entry point."""

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Warning, register

from program_intent import conf
from program_intent.openedx import missing_for_rest


@register()
def check_names_of_learners(**kwargs: Any) -> list[CheckMessage]:
    """E012: where users have keys of their own beside the LMS's, it is said which of them names a learner."""
    is_told = not isinstance(getattr(settings, "PROGRAM_INTENT", {}), dict) or conf.is_set("LEARNER_LOOKUP_FIELD")
    if is_told or "lms_user_id" not in {field.name for field in get_user_model()._meta.fields}:
        return []
    return [
        Error(
            "PROGRAM_INTENT has no LEARNER_LOOKUP_FIELD, so learners are named by a primary key that is not the LMS's.",
            hint="It was filled in, and then PROGRAM_INTENT was set anew, as by a YAML file. Add to it there: "
            "LEARNER_LOOKUP_FIELD: lms_user_id.",
            id="program_intent.E012",
        )
    ]


@register()
def check_rest_api(**kwargs: Any) -> list[CheckMessage]:
    """W007: the REST API is mounted."""
    missing = missing_for_rest()
    if not missing:
        return []
    return [
        Warning(
            f"The REST API is not mounted, because of what is not installed: {', '.join(missing)}.",
            hint="pip install 'program-intent[openedx]', or silence the warning if you need no REST API.",
            id="program_intent.W007",
        )
    ]
