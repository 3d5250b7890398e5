"""Pages whose borders are values, not numbers of rows: what is written in the meantime moves none."""

import re
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F, Func, Q, QuerySet
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from program_intent import conf, engines
from program_intent.data import Intent
from program_intent.engines.generic import to_intent
from program_intent.models import ProgramIntent
from program_intent.validation import Refused, shown


class CodePoints(Func):
    """A text in code-point order, whatever the collation of the database."""

    arity = 1

    def as_sql(self, compiler: Any, connection: BaseDatabaseWrapper, **context: Any) -> Any:  # type: ignore[override]
        return super().as_sql(compiler, connection, template=engines.kind(connection).exact("%(expressions)s"))


DEFAULT_LIMIT = 100

# As api.get_intent_history; the key decides between programs.
_NEWEST_FIRST = ("-effective_timestamp", "-created", "certainty", "reason_by_code_point", "pk")
_CURSOR = re.compile(r"(after|before)-([1-9][0-9]{0,17})", re.A)


def parse_limit(text: str | None) -> int:
    """How many are on a page: as many as one may post, if asked for."""
    most = conf.max_batch_size()
    if text is None:
        return min(DEFAULT_LIMIT, most)
    if re.fullmatch("[1-9][0-9]{0,8}", text, re.A) and int(text) <= most:
        return int(text)
    raise Refused(f"Expected an integer from 1 to {most}, not {shown(text)}.")


def link(request: Request, **changes: Any) -> str:
    """The URL of the request with other values of these parameters."""
    url: str = request.build_absolute_uri()
    for name, value in changes.items():
        url = replace_query_param(url, name, value)
    return url


class HistoryPage(NamedTuple):
    """``next`` and ``previous`` are cursors; None where there is no more."""

    intents: list[Intent]
    next: str | None
    previous: str | None


class Border(NamedTuple):
    """The intent that a page begins behind: ``values`` in the order of the history."""

    is_backwards: bool
    values: dict[str, Any]


def parse_cursor(text: str, intents: "QuerySet[ProgramIntent]") -> Border:
    """The border that a cursor names; an intent never changes, so its key says where it stands for good.

    :raises Refused: it is no cursor that was given out for these intents.
    """
    match = _CURSOR.fullmatch(text)
    # The reason itself, because MariaDB gives its code points as bytes, which no column of text is compared with.
    names, reason = ("effective_timestamp", "created", "certainty", "pk"), {"reason_by_code_point": F("reason")}
    found = match and intents.filter(pk=int(match[2])).values(*names, **reason).first()
    if not match or not found:
        raise Refused(f"Expected a cursor that an earlier call gave, not {shown(text)}.")
    return Border(match[1] == "before", found)


def history_page(intents: "QuerySet[ProgramIntent]", *, border: Border | None, limit: int) -> HistoryPage:
    is_backwards = border is not None and border.is_backwards
    ordered = _in_order(intents).order_by(*_NEWEST_FIRST)
    if is_backwards:
        ordered = ordered.reverse()
    if border:
        ordered = ordered.filter(_behind(border))
    found = [to_intent(row) for row in ordered.values_list(*Intent.__match_args__)[: limit + 1]]
    is_more, page = len(found) > limit, found[:limit]
    if is_backwards:
        page.reverse()
    if not page:
        return HistoryPage([], None, None)
    has_next, has_previous = (True, is_more) if is_backwards else (is_more, border is not None)
    return HistoryPage(
        page,
        f"after-{page[-1].id}" if has_next else None,
        f"before-{page[0].id}" if has_previous else None,
    )


def _in_order(intents: "QuerySet[ProgramIntent]") -> "QuerySet[ProgramIntent]":
    return intents.annotate(reason_by_code_point=CodePoints("reason"))


def _behind(border: Border) -> Q:
    """Equal up to some value of the order, and behind in the next."""
    behind, equal = Q(), Q()
    for place in _NEWEST_FIRST:
        name = place.removeprefix("-")
        is_smaller = place.startswith("-") != border.is_backwards
        behind |= equal & Q((f"{name}__{'lt' if is_smaller else 'gt'}", border.values[name]))
        equal &= Q((name, border.values[name]))
    return behind
