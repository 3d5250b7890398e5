"""The admin's page of who was erased: by key, for their names are forgotten."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from program_intent.admin.learner import key_of
from program_intent.admin.readonly import NO_HISTORY, ReadOnlyIntents
from program_intent.models import ErasedLearner
from program_intent.read.parameters import written_to


@admin.register(ErasedLearner)
class ErasedLearnerAdmin(ReadOnlyIntents, admin.ModelAdmin):  # type: ignore[type-arg]  # generic for the type checker only
    actions = None
    change_form_template = NO_HISTORY
    fields = readonly_fields = list_display = ("key", "erased", "until", "intents", "by")
    ordering = ("-erased",)
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    sortable_by = ()

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Nothing is filtered by; of a text or a number the database may be unable to spell a part."""
        return False

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> ErasedLearner | None:
        """:raises Http404: it is no primary key of a user; SQLite fails at a number that is too large."""
        return super().get_object(request, str(key_of(object_id, written_to())), from_field)

    @admin.display(description=_("learner"))
    def key(self, erased: ErasedLearner) -> Any:
        """Not the user, who may still be there and would be shown by name."""
        return erased.pk

    @admin.display(description=_("until"))
    def until(self, erased: ErasedLearner) -> Any:
        return erased.key_until or _("for ever")
