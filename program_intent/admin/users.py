"""What a host adds to its admin of users."""

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets, quote
from django.db.models import Model
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from program_intent.admin.learner import page_name
from program_intent.models import ProgramIntent
from program_intent.validation.learners import key_of

if TYPE_CHECKING:  # generic for the type checker only
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = object

LINK = "program_intents_link"


class ProgramIntentsLink(ModelAdmin):
    """A mixin: a user's page leads to the learner's intents, and the page before a deletion counts them."""

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return (*fields, LINK) if obj and self._may_view_intents(request) and self._page_of(obj) else fields

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if LINK not in self.get_readonly_fields(request, obj) or LINK in flatten_fieldsets(fieldsets):
            return fieldsets
        return [*fieldsets, (_("Program intents"), {"fields": (LINK,)})]

    @admin.display(description=_("Program intents"))
    def program_intents_link(self, user: Model) -> SafeString | str:
        page = self._page_of(user)
        return format_html('<a href="{}">{}</a>', page, _("Answers and history")) if page else ""

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Intents are counted in the summary and not listed: they are many, and not everybody may view them."""
        listed, *others = super().get_deleted_objects(objs, request)
        return [*_without_intents(listed)], *others

    def _page_of(self, user: Model) -> str | None:
        """The learner's, which a host's own admin of intents may not have."""
        name = f"{self.admin_site.name}:{page_name(ProgramIntent._meta, 'learner')}"
        with suppress(NoReverseMatch):
            return reverse(name, args=[quote(key_of(user))])
        return None

    def _may_view_intents(self, request: HttpRequest) -> bool:
        site = self.admin_site
        return site.is_registered(ProgramIntent) and site.get_model_admin(ProgramIntent).has_view_permission(request)


def _without_intents(listed: list[Any]) -> Iterator[Any]:
    """Of Django's nested list of texts, each after the name of its model, those that are no intents."""
    intent = f"{capfirst(ProgramIntent._meta.verbose_name)}: "
    for each in listed:
        if not isinstance(each, list):
            if not each.startswith(intent):
                yield each
        elif kept := [*_without_intents(each)]:
            yield kept
