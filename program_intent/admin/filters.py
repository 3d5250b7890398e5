"""The filters of the list."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time
from typing import Any, NamedTuple

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from program_intent.models import ProgramIntent, Run
from program_intent.validation.times import parse_timestamp
from program_intent.validation.values import Refused, parse_reason, shown


class Input(NamedTuple):
    """One typed value of a filter: its parameter, its form field, and the condition it becomes."""

    name: str
    label: Any
    type: str
    condition: Callable[[str], Q]


class InputFilter(admin.ListFilter):
    """A filter to type into: a list of the values there are would read the whole table."""

    template = "program_intent/admin/programintent/input_filter.html"
    parameter_name: str  # read by admin themes, not by Django
    inputs: tuple[Input, ...]

    def __init__(
        self,
        request: HttpRequest,
        params: dict[str, list[str]],
        model: type[ProgramIntent],
        model_admin: "admin.ModelAdmin[ProgramIntent]",
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
            yield {"name": each.name, "label": each.label, "type": each.type, "value": self.typed.get(each.name, "")}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows that fit; none, and a message, where a value is refused."""
        for each in self.inputs:
            if text := self.typed.get(each.name, "").strip():
                try:
                    queryset = queryset.filter(each.condition(text))
                except Refused as refused:
                    messages.error(request, f"{self.title}: {refused}")
                    return queryset.none()
        return queryset


class ReasonFilter(InputFilter):
    title = _("reason")
    parameter_name = "reason"
    inputs = (Input("reason", _("Exactly"), "text", lambda text: Q(reason=parse_reason(text))),)


def _moment(text: str, clock: time) -> datetime:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise Refused(f"Expected a date such as 2022-04-12, not {shown(text)}.") from None
    return parse_timestamp(datetime.combine(day, clock, timezone.get_current_timezone()))


class EffectiveFilter(InputFilter):
    """From the beginning of a day to the end of a day, in the time zone in which the list shows its times."""

    title = _("effective date")
    parameter_name = "effective"
    inputs = (
        Input("effective_from", _("From"), "date", lambda day: Q(effective_timestamp__gte=_moment(day, time.min))),
        Input("effective_to", _("To"), "date", lambda day: Q(effective_timestamp__lte=_moment(day, time.max))),
    )


class RunFilter(InputFilter):
    title = _("run")
    parameter_name = "run"
    inputs = (Input("run", _("Number"), "number", lambda text: Q(run=_run(text)) & _keys_of(_run(text))),)


def among_those_of_run(queryset: QuerySet[Any], text: str) -> QuerySet[Any]:
    """Those written while a run was at work, if the text is the number of one."""
    try:
        return queryset.filter(_keys_of(_run(text)))
    except Refused:  # and the filter says so
        return queryset


def _keys_of(run: Run) -> Q:
    return Q(pk__gt=run.first_key, pk__lte=run.last_key)


def _run(text: str) -> Run:
    found = Run.objects.filter(pk=int(text)).first() if re.fullmatch("[0-9]{1,18}", text, re.A) else None
    if not found:
        raise Refused(f"Expected the number of a run, not {shown(text)}.")
    return found
