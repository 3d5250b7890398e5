"""The app as Django sees it."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ProgramIntentConfig(AppConfig):
    name = "program_intent"
    verbose_name = _("Program intent")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from program_intent import checks  # noqa: F401  # registers them
        from program_intent.intake import receivers
        from program_intent.store import deletions

        receivers.connect()
        deletions.connect()
