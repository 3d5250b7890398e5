"""All that was recorded of one learner, in one order, whole or by pages; and why the rule chooses as it does."""

import re
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connections
from django.db.models import CharField, F, Q, QuerySet

from program_intent.data import Certainty, Clause, Explanation, Intent, Unchosen
from program_intent.latest import FIELDS, CodePoints, to_intent
from program_intent.models import ProgramIntent
from program_intent.validation import Refused, fits_mariadb, is_mariadb, shown

# The latest to become true, then the latest written, then as the rule has it; the key decides between programs.
_NEWEST_FIRST = ("-effective_timestamp", "-created", "certainty", "reason_by_code_point", "pk")
_CURSOR = re.compile(r"(after|before)-([1-9][0-9]{0,17})", re.A)


def history(learner: Any, *, using: str, program_uuids: list[UUID] | None, known_at: datetime | None) -> list[Intent]:
    """All of a learner's intents, for these programs if any are given, newest first."""
    intents = intents_of(learner, using=using, program_uuids=program_uuids)
    return _fetched(_narrowed(intents, created__lte=known_at))


def intents_of(learner: Any, *, using: str, program_uuids: list[UUID] | None) -> "QuerySet[ProgramIntent]":
    """What :func:`history` lists and pages are of."""
    intents = ProgramIntent.objects.using(using).filter(learner_id=learner)
    if isinstance(learner, str):  # a collation may take another learner's key for this one
        key = CodePoints("learner_id", output_field=CharField())
        intents = intents.alias(exact_learner=key).filter(exact_learner=learner)
    if program_uuids is not None:
        if is_mariadb(connections[using]):  # what the column cannot hold has no intents
            program_uuids = list(filter(fits_mariadb, program_uuids))
        intents = intents.filter(program_uuid__in=program_uuids)
    return intents.annotate(reason_by_code_point=CodePoints("reason")).order_by(*_NEWEST_FIRST)


def _narrowed(intents: "QuerySet[ProgramIntent]", **lookups: Any) -> "QuerySet[ProgramIntent]":
    return intents.filter(**{lookup: value for lookup, value in lookups.items() if value is not None})


def _fetched(intents: "QuerySet[ProgramIntent]") -> list[Intent]:
    return list(map(to_intent, intents.values_list(*FIELDS)))


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
    # The reason itself, because MariaDB gives its code points as bytes, which no column of text is compared with.
    names, reason = ("effective_timestamp", "created", "certainty", "pk"), {"reason_by_code_point": F("reason")}
    found = match and intents.filter(pk=int(match[2])).values(*names, **reason).first()
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
    intents: list[Intent], *, learner: Any, program_uuid: UUID, as_of: datetime, known_at: datetime | None
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
    # The sort is stable: what is equally certain stays newest first, and then as the rule has it.
    ranked = sorted(counted, key=lambda intent: intent.certainty is Certainty.MAYBE)
    winner = ranked[0] if ranked else None
    lost = tuple(Unchosen(loser, _decided(ranked[0], loser)) for loser in ranked[1:])
    return Explanation(learner, program_uuid, as_of, known_at, winner, lost, tuple(not_counted))


def _decided(winner: Intent, loser: Intent) -> Clause:
    if winner.certainty is not Certainty.MAYBE and loser.certainty is Certainty.MAYBE:
        return Clause.CERTAIN_BEATS_MAYBE
    if winner.effective_timestamp != loser.effective_timestamp:
        return Clause.LATER_EFFECTIVE
    if winner.created != loser.created:
        return Clause.LATER_CREATED
    return Clause.FIRST_REASON if winner.certainty is loser.certainty else Clause.NO_BEFORE_YES
