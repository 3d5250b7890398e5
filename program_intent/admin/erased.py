"""The admin's page of who was erased: by key, for their names are forgotten."""

from typing import Any

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from program_intent.admin.readonly import ReadOnlyIntents
from program_intent.models import ErasedLearner


@admin.register(ErasedLearner)
class ErasedLearnerAdmin(ReadOnlyIntents, admin.ModelAdmin):  # type: ignore[type-arg]  # generic for the type checker only
    actions = None
    fields = readonly_fields = list_display = ("key", "erased", "until", "intents", "by")
    ordering = ("-erased",)
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    sortable_by = ()

    @admin.display(description=_("learner"))
    def key(self, erased: ErasedLearner) -> Any:
        """Not the user, who may still be there and would be shown by name."""
        return erased.pk

    @admin.display(description=_("until"))
    def until(self, erased: ErasedLearner) -> Any:
        return erased.key_until or _("for ever")
