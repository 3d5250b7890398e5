"""The admin's pages of intents: they show everything and change nothing."""

from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.functional import lazy
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy as _

from program_intent.admin import timeline
from program_intent.admin.filters import EffectiveFilter, InputFilter, ReasonFilter, RunFilter, among_those_of_run
from program_intent.admin.learner import forget_context, key_of, learner_context, page_name
from program_intent.admin.pages import COUNT_VAR, IntentChangeList, UncountedPaginator, bounded, search_help, sought_by
from program_intent.admin.readonly import ReadOnlyIntents
from program_intent.api import erase_learner, explain_latest_certain_intent
from program_intent.data import Certainty, Erasure
from program_intent.models import ProgramIntent
from program_intent.read.parameters import written_to
from program_intent.validation.values import LONGEST_BY, shown


@admin.register(ProgramIntent)
class ProgramIntentAdmin(ReadOnlyIntents, admin.ModelAdmin):  # type: ignore[type-arg]  # generic for the type checker only
    """A list whose cost does not grow with the table, and a read-only page per intent.

    No index begins with certainty, reason or time, so filtering by these alone would walk the table until a page is
    full, and for a rare reason all of it. So a page looks at ``MAX_EXAMINED`` intents at most:

    - Nothing searched: the newest, newest first, as the primary key has them, or the newest that were written while a
      run was at work. The filters choose among these.
    - A learner searched: all of that learner's, latest first. One index holds them, and they are few.
    - A program searched: all of that program's, latest first; of a program with more than ``MAX_EXAMINED`` those that
      come first in its index, which has them by learner, and a message says so.

    Nothing is counted: pages are numbered as far as the next one. Columns do not sort, the address takes no lookups
    but those of the filters, and learners come by a query of their own: a join may lead a database to begin with the
    users, and drops an intent whose learner is gone.
    """

    actions = None  # nor any that a host adds for all models
    change_form_template = "program_intent/admin/programintent/change_form.html"
    change_list_template = "program_intent/admin/programintent/change_list.html"
    fields = readonly_fields = (
        "id",
        "learner",
        "program_uuid",
        "reason",
        "certainty",
        "effective_time",
        "created_time",
        "run",
    )
    list_display = ("id", "learner", "program_uuid", "certainty", "reason", "effective_time", "created_time")
    list_filter = ("certainty", ReasonFilter, EffectiveFilter, RunFilter)
    list_select_related = ()  # False would join the learner
    ordering = ("-pk",)
    paginator = UncountedPaginator
    search_fields = ("learner", "program_uuid")  # shows the search box; what it does is get_search_results()
    search_help_text = lazy(search_help, str)()
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    sortable_by = ()

    class Media:
        css = {"all": ["program_intent/admin.css"]}

    @admin.display(description=_("effective timestamp"))
    def effective_time(self, intent: ProgramIntent) -> SafeString:
        return _time(intent.effective_timestamp)

    @admin.display(description=_("created"))
    def created_time(self, intent: ProgramIntent) -> SafeString:
        return _time(intent.created)

    def get_urls(self) -> list[URLPattern]:
        views = (
            ("forget", "learner/<path:key>/forget/", self.forget_view),
            ("learner", "learner/<path:key>/", self.learner_view),
        )
        return [
            *(
                path(route, self.admin_site.admin_view(view), name=page_name(self.opts, name))
                for name, route, view in views
            ),
            *super().get_urls(),
        ]

    def learner_view(self, request: HttpRequest, key: str) -> HttpResponse:
        """All that is recorded of a learner."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = learner_context(request, unquote(key))
        context["title"] = f"Intents of {context['learner']}"
        return self._page(request, "learner", context)

    def forget_view(self, request: HttpRequest, key: str) -> HttpResponse:
        """Asks, and where that was answered erases what is recorded of a learner."""
        if not (self.has_view_permission(request) and request.user.has_perm("program_intent.erase_learner")):
            raise PermissionDenied
        learner = key_of(unquote(key), written_to())
        if request.method != "POST":
            context = forget_context(learner)
            context["title"] = f"Forget {context['learner']}?"
            return self._page(request, "forget", context)
        erasure = erase_learner(learner, by=str(request.user.get_username())[:LONGEST_BY])
        messages.success(request, _told(erasure))
        return redirect(f"{self.admin_site.name}:{page_name(self.opts, 'learner')}", key=key)

    def _page(self, request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
        request.current_app = self.admin_site.name
        context = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media, **context}
        return TemplateResponse(request, f"program_intent/admin/programintent/{name}.html", context)

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: ProgramIntent | None = None,
    ) -> HttpResponse:
        """Django comes here once it has judged the permission: below the fields, what became of the intent and why."""
        if obj is not None:
            context |= _explained(obj)
        return super().render_change_form(request, context, add, change, form_url, obj)

    def get_preserved_filters(self, request: HttpRequest) -> str:
        """Without the wish to count: the way back from an intent is not to count again."""
        preserved = QueryDict(super().get_preserved_filters(request), mutable=True)
        if filters := preserved.get("_changelist_filters"):
            kept = QueryDict(filters, mutable=True)
            kept.pop(COUNT_VAR, None)
            preserved["_changelist_filters"] = kept.urlencode()
        return preserved.urlencode()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return IntentChangeList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        filters = (each for each in self.list_filter if isinstance(each, type) and issubclass(each, InputFilter))
        own = {each.name for every in filters for each in every.inputs}
        # Of another text the database may be unable to spell a character, such as NUL.
        return lookup in own or (lookup == "certainty__exact" and value in list(Certainty))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[ProgramIntent], bool]:
        term = search_term.strip()
        sought = sought_by(term, queryset.db)
        if sought is None:
            messages.error(request, f"No learner and no program is named by {shown(term)}.")
            return queryset.none(), False
        if "learner_id__in" not in sought:
            every = self.get_queryset(request)
            if not sought and (run := request.GET.get("run")):
                every = among_those_of_run(every, run)
            queryset = bounded(request, queryset, every=every, sought=sought)
        # Not by primary key if searched: PostgreSQL might walk it, past all newer rows of others.
        order_by = ("-effective_timestamp", "-pk") if sought else ("-pk",)
        return queryset.filter(**sought).order_by(*order_by), False


def _time(moment: datetime) -> SafeString:
    """Whole, because the microsecond tells two intents apart."""
    return render_to_string("program_intent/admin/programintent/time.html", {"moment": moment})


def _told(erasure: Erasure) -> str:
    until = erasure.until
    told = f"tells of {timezone.localtime(until):%Y-%m-%d %H:%M:%S %z} or before" if until else "tells of this learner"
    return f"Intents forgotten: {erasure.intents:,}. From now on, whatever {told} is refused."


def _explained(intent: ProgramIntent) -> dict[str, Any]:
    explanation = explain_latest_certain_intent(intent.learner_id, intent.program_uuid)
    points = timeline.choose(explanation, keep=intent.pk)
    picture = timeline.draw(
        points,
        now=explanation.as_of,
        zone=timezone.get_current_timezone(),
        title=f"Intents of learner {explanation.learner_id} for program {explanation.program_uuid}",
        marked=intent.pk,
    )
    left_out = bool(explanation.winner) + len(explanation.lost) + len(explanation.not_counted) - len(points)
    return {
        "timeline": mark_safe(picture),
        "answer": explanation.winner,
        "rows": [(*point, explanation.runs.get(point.intent.id)) for point in points],
        "left_out": left_out,
    }
