"""Where the entry points of Open edX lead; its loader reads ``plugin_app`` while the host's settings are being made."""

from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from program_intent import apps
from program_intent.openedx import missing_for_rest

LMS, CREDENTIALS = "lms.djangoapp", "credentials.djangoapp"
RETIREMENT = "openedx.core.djangoapps.user_api.accounts.signals.USER_RETIRE_LMS_CRITICAL"


class ProgramIntentConfig(apps.ProgramIntentConfig):
    # In the words of edx_django_utils.plugins; paths are relative to the package.
    plugin_app = {
        "settings_config": {
            # An LMS reads its YAML between common and production.
            LMS: {each: {"relative_path": "openedx.settings.lms"} for each in ("common", "production", "test")},
            CREDENTIALS: {"base": {"relative_path": "openedx.settings.credentials"}},
        },
        # Without what they need there are none, and a check says so: a URLconf that cannot be read takes the host down.
        "url_config": {
            project: {"regex": "^api/program-intent/", "relative_path": "rest_api.urls"}
            for project in (LMS, CREDENTIALS)
            if not missing_for_rest()
        },
        # Without this signal a retirement would leave the intents, so an LMS that has it no more is not to start.
        "signals_config": {
            LMS: {
                "relative_path": "openedx.receivers",
                "receivers": [{"receiver_func_name": "forget_retired", "signal_path": RETIREMENT}],
            }
        },
    }

    def __init__(self, app_name: str, app_module: Any) -> None:
        """:raises ImproperlyConfigured: the host lists the app, too."""
        super().__init__(app_name, app_module)
        own = f"{__name__}.{type(self).__name__}"
        listed = [each for each in settings.INSTALLED_APPS if each.split(".")[0] == self.name and each != own]
        if listed:
            raise ImproperlyConfigured(
                f"INSTALLED_APPS lists {', '.join(listed)}, but Open edX has installed the app by its entry point: "
                "take it out of INSTALLED_APPS."
            )

    def ready(self) -> None:
        super().ready()
        from program_intent.openedx import checks  # noqa: F401  # registers them
