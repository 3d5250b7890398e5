"""The admin's pages of runs, each run's intents one click away, and of what sources brought and was refused."""

from datetime import timedelta

from django.contrib import admin
from django.template.defaultfilters import filesizeformat
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from program_intent.admin.readonly import NO_HISTORY, ReadOnlyIntents
from program_intent.data import FIELDS
from program_intent.models import RejectedIntent, Run


@admin.register(Run)
class RunAdmin(ReadOnlyIntents, admin.ModelAdmin):  # type: ignore[type-arg]  # generic for the type checker only
    """A run is one row however much it brought, so Django's own list will do."""

    actions = None
    change_form_template = NO_HISTORY
    fields = readonly_fields = (
        "id",
        "kind",
        "source",
        "read_files",
        "by",
        "started",
        "updated",
        "finished",
        "told",
        "message",
        "read",
        "created",
        "duplicate",
        "rejected",
        "erased",
        "intents",
    )
    list_display = (
        *("id", "kind", "what", "by", "started", "took", "told"),
        *("read", "new", "duplicate", "rejected", "erased"),
    )
    list_filter = ("kind", "status")
    ordering = ("-pk",)
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ()

    @admin.display(description=_("source"))
    def what(self, run: Run) -> str:
        return run.what

    @admin.display(description=_("files"))
    def read_files(self, run: Run) -> SafeString | str:
        lines = ((each["name"], filesizeformat(each["bytes"]), each["sha256"]) for each in run.files if each["sha256"])
        unread = ((each["name"],) for each in run.files if not each["sha256"])
        return format_html_join("", "<div>{}, {}, SHA-256 {}</div>", lines) + format_html_join(
            "", "<div>{}, not read to the end</div>", unread
        )

    @admin.display(description=_("took"))
    def took(self, run: Run) -> timedelta:
        """Up to its end, or to when it was last heard of; whole seconds."""
        took = (run.finished or run.updated) - run.started
        return timedelta(seconds=round(took.total_seconds()))

    @admin.display(description=_("status"))
    def told(self, run: Run) -> str:
        return run.told_status

    @admin.display(description=_("created"))
    def new(self, run: Run) -> SafeString | str:
        return self._link(run, str(run.created))

    @admin.display(description=_("intents"))
    def intents(self, run: Run) -> SafeString | str:
        return self._link(run, "Those that it brought")

    def _link(self, run: Run, text: str) -> SafeString | str:
        """To the intents, unless this admin does not have them."""
        try:
            url = reverse(f"{self.admin_site.name}:program_intent_programintent_changelist")
        except NoReverseMatch:
            return text
        return format_html('<a href="{}?run={}">{}</a>', url, run.pk, text)


@admin.register(RejectedIntent)
class RejectedIntentAdmin(ReadOnlyIntents, admin.ModelAdmin):  # type: ignore[type-arg]  # generic for the type checker only
    actions = None
    change_form_template = NO_HISTORY
    list_display = ("id", "source", *FIELDS, "error", "last_seen")
    list_filter = ("source",)
    ordering = ("-pk",)
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    sortable_by = ()
