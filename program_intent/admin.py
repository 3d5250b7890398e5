"""Intents to look at, never to change; made for tables of many millions of rows."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.core.paginator import EmptyPage, Page, Paginator
from django.db import connections
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils import timezone
from django.utils.functional import lazy
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy as _

from program_intent import timeline
from program_intent.api import count_latest_certain_intents_for_program, explain_latest_certain_intent
from program_intent.conf import learner_lookup_field
from program_intent.data import Certainty
from program_intent.learners import Learners
from program_intent.models import ProgramIntent
from program_intent.validation import (
    Refused,
    parse_reason,
    parse_timestamp,
    shown,
    uuid_parser,
)

if TYPE_CHECKING:  # generic for the type checker only
    IntentModelAdmin = admin.ModelAdmin[ProgramIntent]
    IntentPaginator = Paginator[ProgramIntent]
else:
    IntentModelAdmin, IntentPaginator = admin.ModelAdmin, Paginator

# The most intents that one page looks at. With 3 million stored, a filter that fitted none of them took 0.1 s on
# PostgreSQL and 0.2 s on SQLite; on MariaDB 0.1 s, and 9 s for a reason within a program, whose rows came one by one
# from a disk because its buffer pool (128 MiB) was smaller than the table.
MAX_EXAMINED = 50_000

# In the address: count the learners of the program searched, however many they are.
COUNT_VAR = "count"


class Input(NamedTuple):
    """One typed value of a filter: its parameter, its form field, and the lookup it becomes."""

    name: str
    label: Any
    type: str
    lookup: str
    parse: Callable[[str], Any]


class InputFilter(admin.ListFilter):
    """A filter to type into: a list of the values there are would read the whole table."""

    template = "admin/program_intent/programintent/input_filter.html"
    inputs: tuple[Input, ...]

    def __init__(
        self,
        request: HttpRequest,
        params: dict[str, list[str]],
        model: type[ProgramIntent],
        model_admin: "ProgramIntentAdmin",
    ) -> None:
        super().__init__(request, params, model, model_admin)
        self.typed = {each.name: params.pop(each.name)[-1] for each in self.inputs if each.name in params}

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return [each.name for each in self.inputs]

    def choices(self, changelist: ChangeList) -> Iterator[Mapping[str, object]]:
        """The form's fields: its inputs, and hidden ones that keep the search and the other filters."""
        for name, values in changelist.filter_params.items():
            if name not in self.expected_parameters():
                yield from ({"name": name, "value": value} for value in values)
        for each in self.inputs:
            yield {**each._asdict(), "value": self.typed.get(each.name, "")}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows that fit; none, and a message, where a value is refused."""
        for each in self.inputs:
            if text := self.typed.get(each.name, "").strip():
                try:
                    queryset = queryset.filter(**{each.lookup: each.parse(text)})
                except Refused as refused:
                    messages.error(request, f"{self.title}: {refused}")
                    return queryset.none()
        return queryset


class ReasonFilter(InputFilter):
    title = _("reason")
    inputs = (Input("reason", _("Exactly"), "text", "reason", parse_reason),)


def _moment(text: str, clock: time) -> datetime:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise Refused(f"Expected a date such as 2022-04-12, not {shown(text)}.") from None
    return parse_timestamp(datetime.combine(day, clock, timezone.get_current_timezone()))


class EffectiveFilter(InputFilter):
    """From the beginning of a day to the end of a day, in the time zone in which the list shows its times."""

    title = _("effective date")
    inputs = (
        Input("effective_from", _("From"), "date", "effective_timestamp__gte", lambda day: _moment(day, time.min)),
        Input("effective_to", _("To"), "date", "effective_timestamp__lte", lambda day: _moment(day, time.max)),
    )


class UncountedPaginator(IntentPaginator):
    """Knows of a page whether there is a next one, and nothing of what comes after; never counts."""

    object_list: QuerySet[ProgramIntent]

    @property
    def count(self) -> int:
        """No count, but what Django bounds page numbers by."""
        return MAX_EXAMINED

    def page(self, number: int | str) -> Page[ProgramIntent]:
        """The keys first, from the index alone: to sort whole rows MariaDB read them all, for 12 s instead of 0.1 s."""
        number = self.validate_number(number)
        first = (number - 1) * self.per_page
        keys = list(self.object_list.values_list("pk", flat=True)[first : first + self.per_page + 1])
        if not keys and number > 1:
            raise EmptyPage(self.error_messages["no_results"])
        self.num_pages = number + (len(keys) > self.per_page)
        shown = keys[: self.per_page]
        intents = ProgramIntent.objects.using(self.object_list.db).prefetch_related("learner").in_bulk(shown)
        return Page([intents[key] for key in shown if key in intents], number, self)


class IntentChangeList(ChangeList):
    """Knows the program that the search names, and its learners per certainty if they are few or were asked for."""

    program: UUID | None = None
    counts: dict[Certainty, int] | None = None

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        # No filter, and not for the links and forms of this page to carry along: it may cost seconds.
        for params in (self.params, self.filter_params):
            params.pop(COUNT_VAR, None)
        return super().get_queryset(request, exclude_parameters)

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        # Of this page. Equal, so that the search form says nothing of a total.
        self.result_count = self.full_result_count = len(self.result_list)
        self.program = (_sought(self.query.strip(), self.queryset.db) or {}).get("program_uuid")
        if self.program and (COUNT_VAR in request.GET or not self._is_large(self.program)):
            self.counts = count_latest_certain_intents_for_program(self.program)

    def _is_large(self, program_uuid: UUID) -> bool:
        keys = self.root_queryset.filter(program_uuid=program_uuid).order_by("learner_id").values_list("learner_id")
        return bool(keys[MAX_EXAMINED:].exists())

    @property
    def count_link(self) -> str:
        return self.get_query_string({COUNT_VAR: "1"})


def _search_help() -> str:
    learner = " or ".join(dict.fromkeys([learner_lookup_field(), "pk"]))
    return (
        f"A learner ({learner}), a program's UUID, or both in this order. Without a search, the newest "
        f"{MAX_EXAMINED:,} intents are listed and filtered."
    )


@admin.register(ProgramIntent)
class ProgramIntentAdmin(IntentModelAdmin):
    """A list whose cost does not grow with the table, and a read-only page per intent.

    No index begins with certainty, reason or time, so filtering by these alone would walk the table until a page is
    full, and for a rare reason all of it. So a page looks at ``MAX_EXAMINED`` intents at most:

    - Nothing searched: the newest, newest first, as the primary key has them. The filters choose among these.
    - A learner searched: all of that learner's, latest first. One index holds them, and they are few.
    - A program searched: all of that program's, latest first; of a program with more than ``MAX_EXAMINED`` those that
      come first in its index, which has them by learner, and a message says so.

    Nothing is counted: pages are numbered as far as the next one. Columns do not sort, the address takes no lookups
    but those of the filters, and learners come by a query of their own: a join may lead a database to begin with the
    users, and drops an intent whose learner is gone.
    """

    actions = None  # nor any that a host adds for all models
    fields = readonly_fields = (
        "id",
        "learner",
        "program_uuid",
        "reason",
        "certainty",
        "effective_timestamp",
        "created",
    )
    list_display = ("id", "learner", "program_uuid", "certainty", "reason", "effective_timestamp", "created")
    list_filter = ("certainty", ReasonFilter, EffectiveFilter)
    list_select_related = ()  # False would join the learner
    ordering = ("-pk",)
    paginator = UncountedPaginator
    search_fields = ("learner", "program_uuid")  # shows the search box; what it does is get_search_results()
    search_help_text = lazy(_search_help, str)()
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    sortable_by = ()

    class Media:
        css = {"all": ["program_intent/admin.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ProgramIntent | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ProgramIntent | None = None) -> bool:
        """Whoever may delete a user may delete that user's intents with them: the user's admin asks about each.

        Nothing else comes of it: this admin has no delete button, page or action.
        """
        return obj is not None

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> NoReturn:
        raise PermissionDenied

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "show_delete": False})

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
        own = {each.name for every in (ReasonFilter, EffectiveFilter) for each in every.inputs}
        return lookup in {"certainty__exact", *own} and "\0" not in value  # PostgreSQL takes no NUL

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[ProgramIntent], bool]:
        term = search_term.strip()
        sought = _sought(term, queryset.db)
        if sought is None:
            messages.error(request, f"No learner and no program is named by {shown(term)}.")
            return queryset.none(), False
        if "learner_id__in" not in sought:
            queryset = self._bounded(request, queryset, sought)
        # Not by primary key if searched: PostgreSQL might walk it, past all newer rows of others.
        order_by = ("-effective_timestamp", "-pk") if sought else ("-pk",)
        return queryset.filter(**sought).order_by(*order_by), False

    def _bounded(self, request: HttpRequest, queryset: QuerySet[Any], sought: dict[str, Any]) -> QuerySet[Any]:
        """The rows up to the last one that may be looked at, in the order of the index that holds what is sought."""
        column, order, lookup = ("learner_id", "learner_id", "lte") if sought else ("pk", "-pk", "gte")
        keys = self.get_queryset(request).filter(**sought).order_by(order).values_list(column, flat=True)
        last_and_next = list(keys[MAX_EXAMINED - 1 : MAX_EXAMINED + 1])
        if len(last_and_next) < 2:
            return queryset
        last = last_and_next[0]
        if sought:
            messages.warning(
                request,
                f"This program has more than {MAX_EXAMINED:,} intents: the list ends with learner {last}. "
                "Search a learner and the program to see others.",
            )
        return queryset.filter(**{f"{column}__{lookup}": last})


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
    return {"timeline": mark_safe(picture), "points": points, "left_out": left_out}


def _sought(term: str, using: str) -> dict[str, Any] | None:
    """The lookups for what a search names: a learner, a program, or a learner and then a program; None if neither."""
    if not term:
        return {}
    if learners := _learners(term, using):
        return {"learner_id__in": learners}
    learner, _space, program = term.rpartition(" ")
    try:
        program_uuid = uuid_parser(connections[using])(program)
    except Refused:
        return None
    if not learner:
        return {"program_uuid": program_uuid}
    learners = _learners(learner.strip(), using)
    return {"learner_id__in": learners, "program_uuid": program_uuid} if learners else None


def _learners(text: str, using: str) -> list[Any]:
    """The primary keys of the users whose ``LEARNER_LOOKUP_FIELD`` or primary key is exactly this text."""
    keys: set[Any] = set()
    for field in {"pk", learner_lookup_field()}:
        with suppress(Refused):
            keys.add(Learners(field, using).key(text)[1])
    return list(keys)
