"""All that was recorded of one learner, in one order, whole or by pages; and why the rule chooses as it does."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import CharField, Func, Q, QuerySet

from program_intent import engines, rule
from program_intent.data import Clause, Explanation, Intent, RunSummary, Unchosen
from program_intent.engines.generic import expression, to_intent
from program_intent.models import ProgramIntent, Run
from program_intent.models.intent import engine_of
from program_intent.read.latest import storable
from program_intent.validation.values import Refused, shown

# The rule's order without what puts the certain first; the key decides between programs.
_PLACES = {f"{key.column}_place": expression(key) for key in rule.NEWEST_FIRST if key.places}
_NEWEST_FIRST = (
    *("-" * key.is_latest_first + key.column + "_place" * bool(key.places) for key in rule.NEWEST_FIRST),
    "pk",
)
_CURSOR = re.compile(r"(after|before)-([1-9][0-9]{0,17})", re.A)


class CodePoints(Func):
    """A text in code-point order, whatever the collation of the database."""

    arity = 1

    def as_sql(self, compiler: Any, connection: BaseDatabaseWrapper, **context: Any) -> Any:  # type: ignore[override]
        return super().as_sql(compiler, connection, template=engines.kind(connection).exact("%(expressions)s"))


def history(learner: Any, *, using: str, program_uuids: list[UUID] | None, known_at: datetime | None) -> list[Intent]:
    """All of a learner's intents, for these programs if any are given, newest first."""
    intents = intents_of(learner, using=using, program_uuids=program_uuids)
    return _fetched(_narrowed(intents, created__lte=known_at))


def with_runs(
    learner: Any, program_uuids: list[UUID] | None, *, using: str
) -> tuple[list[Intent], dict[int, RunSummary]]:
    """What :func:`history` lists, and which runs brought it, by the keys of the intents."""
    intents = intents_of(learner, using=using, program_uuids=program_uuids)
    found = list(intents.values_list(*Intent.__match_args__, "run_id"))
    runs = Run.objects.using(using).in_bulk({run for *_, run in found} - {None})
    summaries = {key: run.summary() for key, run in runs.items()}
    brought = {key: summaries[run] for key, *_, run in found if run in summaries}
    return [to_intent(tuple(values)) for *values, _ in found], brought


def intents_of(learner: Any, *, using: str, program_uuids: list[UUID] | None) -> "QuerySet[ProgramIntent]":
    """What :func:`history` lists and pages are of."""
    intents = ProgramIntent.objects.using(using).filter(learner_id=learner)
    if isinstance(learner, str):  # a collation may take another learner's key for this one
        key = CodePoints("learner_id", output_field=CharField())
        intents = intents.alias(exact_learner=key).filter(exact_learner=learner)
    if program_uuids is not None:
        intents = intents.filter(program_uuid__in=storable(program_uuids, engine_of(using)) or [])
    return intents.annotate(**_PLACES).order_by(*_NEWEST_FIRST)


def _narrowed(intents: "QuerySet[ProgramIntent]", **lookups: Any) -> "QuerySet[ProgramIntent]":
    return intents.filter(**{lookup: value for lookup, value in lookups.items() if value is not None})


def _fetched(intents: "QuerySet[ProgramIntent]") -> list[Intent]:
    return list(map(to_intent, intents.values_list(*Intent.__match_args__)))


class Page(NamedTuple):
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
    names = (place.removeprefix("-") for place in _NEWEST_FIRST)
    found = match and intents.filter(pk=int(match[2])).values(*names).first()
    if not match or not found:
        raise Refused(f"Expected a cursor that an earlier call gave, not {shown(text)}.")
    return Border(match[1] == "before", found)


def page_of(intents: "QuerySet[ProgramIntent]", *, border: Border | None, limit: int, **lookups: Any) -> Page:
    """The next of the intents behind the border that fit the lookups; one that is None takes all.

    A border is a value, not a number of rows: what is written in the meantime moves none.
    """
    is_backwards = border is not None and border.is_backwards
    narrowed = _narrowed(intents, **lookups)
    if border:
        narrowed = narrowed.filter(_behind(border))
    found = _fetched((narrowed.reverse() if is_backwards else narrowed)[: limit + 1])
    is_more, page = len(found) > limit, found[:limit]
    if is_backwards:
        page.reverse()
    if not page:
        return Page([], None, None)
    has_next, has_previous = (True, is_more) if is_backwards else (is_more, border is not None)
    return Page(
        page,
        f"after-{page[-1].id}" if has_next else None,
        f"before-{page[0].id}" if has_previous else None,
    )


def _behind(border: Border) -> Q:
    """Equal up to some value of the order, and behind in the next."""
    behind, equal = Q(), Q()
    for place in _NEWEST_FIRST:
        name = place.removeprefix("-")
        is_smaller = place.startswith("-") != border.is_backwards
        behind |= equal & Q((f"{name}__{'lt' if is_smaller else 'gt'}", border.values[name]))
        equal &= Q((name, border.values[name]))
    return behind


def explain(
    intents: list[Intent],
    runs: Mapping[int, RunSummary],
    *,
    learner: Any,
    program_uuid: UUID,
    as_of: datetime,
    known_at: datetime | None,
) -> Explanation:
    """What the rule says of each of a learner's intents for a program, given newest first."""
    counted, not_counted = [], []
    for intent in intents:
        if known_at is not None and intent.created > known_at:
            not_counted.append(Unchosen(intent, Clause.NOT_YET_KNOWN))
        elif intent.effective_timestamp > as_of:
            not_counted.append(Unchosen(intent, Clause.NOT_YET_EFFECTIVE))
        else:
            counted.append(intent)
    ranked = rule.in_order(counted)
    winner = ranked[0] if ranked else None
    lost = tuple(Unchosen(loser, rule.deciding(winner, loser)) for loser in ranked[1:])
    return Explanation(learner, program_uuid, as_of, known_at, winner, lost, tuple(not_counted), runs)
