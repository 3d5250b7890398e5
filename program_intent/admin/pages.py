"""What a page of the list looks at: never more than its bound, however many intents there are."""

from contextlib import suppress
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import get_user_model
from django.core.paginator import EmptyPage, Page, Paginator
from django.db import connections
from django.db.models import QuerySet
from django.http import HttpRequest

from program_intent.api import count_latest_certain_intents_for_program
from program_intent.conf import learner_lookup_field
from program_intent.data import Certainty
from program_intent.models import ProgramIntent
from program_intent.validation.learners import Learners, learner_field, learner_parser
from program_intent.validation.values import Refused, uuid_parser

# The most intents that one page looks at. With 3 million stored, a filter that fitted none of them took 0.1 s on
# PostgreSQL and 0.2 s on SQLite; on MariaDB 0.1 s, and 9 s for a reason within a program, whose rows came one by one
# from a disk because its buffer pool (128 MiB) was smaller than the table.
MAX_EXAMINED = 50_000

# In the address: count the learners of the program searched, however many they are.
COUNT_VAR = "count"
# Before a primary key in a search: the links of these pages mean one user, whatever others are called.
BY_KEY = "#"


class UncountedPaginator(Paginator):  # type: ignore[type-arg]  # generic for the type checker only
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

    is_uncounted = True  # asked by the template that Django takes for the pages of every admin of intents
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
        self.program = (sought_by(self.query.strip(), self.queryset.db) or {}).get("program_uuid")
        if self.program and (COUNT_VAR in request.GET or not self._is_large(self.program)):
            self.counts = count_latest_certain_intents_for_program(self.program)

    def _is_large(self, program_uuid: UUID) -> bool:
        keys = self.root_queryset.filter(program_uuid=program_uuid).order_by("learner_id").values_list("learner_id")
        return bool(keys[MAX_EXAMINED:].exists())

    @property
    def count_link(self) -> str:
        return self.get_query_string({COUNT_VAR: "1"})


def search_help() -> str:
    learner = " or ".join(_naming_fields())
    return (
        f"A learner ({learner}), a program's UUID, or both in this order. Without a search, the newest "
        f"{MAX_EXAMINED:,} intents are listed and filtered."
    )


def sought_by(term: str, using: str) -> dict[str, Any] | None:
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


def _naming_fields() -> list[str]:
    """``LEARNER_LOOKUP_FIELD``, what the host's people sign in with, which the list shows, and the primary key."""
    fields = [learner_lookup_field(), get_user_model().USERNAME_FIELD, "pk"]
    return [field for field in dict.fromkeys(fields) if not learner_field(field).is_relation or field == "pk"]


def _learners(text: str, using: str) -> list[Any]:
    """The primary keys of the users whom one of these fields names exactly so, or of the one whom a link means."""
    if text.startswith(BY_KEY):
        with suppress(Refused):
            return [learner_parser("pk", connections[using])(text.removeprefix(BY_KEY))]
    keys: set[Any] = set()
    for field in _naming_fields():
        with suppress(Refused):
            keys |= Learners(field, using).bearers(text)
    return list(keys)


def bounded(
    request: HttpRequest, queryset: QuerySet[Any], *, every: QuerySet[ProgramIntent], sought: dict[str, Any]
) -> QuerySet[Any]:
    """Those up to the last of ``every`` intent that may be looked at, in the order of the index of what is sought."""
    column, order, lookup = ("learner_id", "learner_id", "lte") if sought else ("pk", "-pk", "gte")
    keys = every.filter(**sought).order_by(order).values_list(column, flat=True)
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
