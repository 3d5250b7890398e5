from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User

from program_intent.admin import ProgramIntentsLink

admin.site.unregister(User)


@admin.register(User)
class LearnerAdmin(ProgramIntentsLink, UserAdmin):  # type: ignore[type-arg]  # generic for the type checker only
    """The page of a user leads to the learner's intents."""
