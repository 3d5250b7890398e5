"""The URLs of the test project, mounted as a host would."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

from program_intent.admin import ProgramIntentAdmin, ProgramIntentsLink, ReadOnlyIntents
from program_intent.models import ErasedLearner, ProgramIntent


class IntentInline(ReadOnlyIntents, admin.TabularInline):  # type: ignore[type-arg]  # generic for the type checker only
    model = ProgramIntent


class LinkedUserAdmin(ProgramIntentsLink, UserAdmin):  # type: ignore[type-arg]  # generic for the type checker only
    inlines = (IntentInline,)


# A second site, so that a link which leads to the first shows.
support = admin.AdminSite(name="support")
support.register(User, LinkedUserAdmin)
support.register(ProgramIntent, ProgramIntentAdmin)


class OwnAdmin(ReadOnlyIntents, admin.ModelAdmin):  # type: ignore[type-arg]  # generic for the type checker only
    """As a host may write it in the place of ours."""

    list_per_page = 1


own = admin.AdminSite(name="own")
own.register(User, LinkedUserAdmin)
own.register([ProgramIntent, ErasedLearner], OwnAdmin)

urlpatterns = [
    path("admin/", admin.site.urls),
    path("support/", support.urls),
    path("own/", own.urls),
    path("api/program-intent/", include("program_intent.rest_api.urls")),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
]
