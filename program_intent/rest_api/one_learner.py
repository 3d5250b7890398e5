"""What is asked about one learner: the caller, or another with the permission."""

from dataclasses import fields, replace
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.http import HttpResponseNotModified
from django.http.response import HttpResponseBase
from rest_framework.response import Response

from program_intent import api, conf
from program_intent.data import Certainty, Explanation
from program_intent.read.history import intents_of, page_of, parse_cursor
from program_intent.rest_api import conditional
from program_intent.rest_api.base import IntentsView
from program_intent.rest_api.callers import VIEW_RUN, has_permission
from program_intent.rest_api.pages import link
from program_intent.rest_api.parameters import (
    AS_OF,
    CERTAINTY,
    CURSOR,
    EFFECTIVE_AFTER,
    EFFECTIVE_BEFORE,
    KNOWN_AT,
    LEARNER,
    LIMIT,
    PROGRAM,
    PROGRAMS,
    REASON,
)
from program_intent.rest_api.queries import Query, operation
from program_intent.rest_api.record import RecordView
from program_intent.rest_api.serializers import (
    ProgramIntentExplanationSerializer,
    ProgramIntentHistorySerializer,
    ProgramIntentSerializer,
)


class LatestCertainIntentsView(IntentsView):
    @operation("latest_certain", LEARNER, PROGRAMS, AS_OF, KNOWN_AT)
    def get(
        self,
        query: Query,
        learner: tuple[Any, Any],
        program_uuid: list[UUID] | None,
        as_of: datetime,
        known_at: datetime | None,
    ) -> HttpResponseBase:
        query.check()
        name, key = learner
        intents = api.get_latest_certain_intents(key, program_uuids=program_uuid, as_of=as_of, known_at=known_at)
        headers = conditional.headers(query.request, name, intents.values())
        if conditional.is_current(query.request, headers.get("ETag")):
            return HttpResponseNotModified(headers=headers)
        serializer = ProgramIntentSerializer(context={"learners": {key: name}})
        # Not many=True, which makes a serializer of serializers for each answer.
        return Response(list(map(serializer.to_representation, intents.values())), headers=headers)


class ExplainView(IntentsView):
    @operation("explain", LEARNER, PROGRAM, AS_OF, KNOWN_AT)
    def get(
        self, query: Query, learner: tuple[Any, Any], program_uuid: UUID, as_of: datetime, known_at: datetime | None
    ) -> Response:
        query.check()
        name, key = learner
        explanation = api.explain_latest_certain_intent(key, program_uuid, as_of=as_of, known_at=known_at)
        answer = bounded(explanation, conf.max_batch_size())
        if answer["runs"] and not has_permission(query.request.user, VIEW_RUN):
            answer["runs"] = {key: replace(run, source=None, by=None) for key, run in answer["runs"].items()}
        return Response(ProgramIntentExplanationSerializer(answer, context={"learners": {key: name}}).data)


class ProgramIntentsView(RecordView):
    """What was recorded of a learner, where it is recorded."""

    @operation("history", LEARNER, PROGRAMS, CERTAINTY, REASON, EFFECTIVE_AFTER, EFFECTIVE_BEFORE, CURSOR, LIMIT)
    def get(
        self,
        query: Query,
        learner: tuple[Any, Any],
        program_uuid: list[UUID] | None,
        certainty: Certainty | None,
        reason: str | None,
        effective_after: datetime | None,
        effective_before: datetime | None,
        cursor: str | None,
        limit: int,
    ) -> Response:
        name, key = learner
        intents = intents_of(key, using=query.using, program_uuids=program_uuid)
        parse = partial(parse_cursor, intents=intents)
        border = None if cursor is None else query.parsed("cursor", parse, cursor)
        known_at = query.known_at(None)
        query.check()
        page = page_of(
            intents,
            border=border,
            limit=limit,
            certainty=certainty,
            reason=reason,
            effective_timestamp__gte=effective_after,
            effective_timestamp__lt=effective_before,
            created__lte=known_at,
        )
        answer = {
            "next": page.next and link(query.request, cursor=page.next),
            "previous": page.previous and link(query.request, cursor=page.previous),
            "results": page.intents,
        }
        return Response(ProgramIntentHistorySerializer(answer, context={"learners": {key: name}}).data)


def bounded(explanation: Explanation, most: int) -> dict[str, Any]:
    """The explanation by field, with the first of what lost and of what does not count, and how many were left out."""
    told = {field.name: getattr(explanation, field.name) for field in fields(explanation)}
    for name in ("lost", "not_counted"):
        told[f"{name}_left_out"] = max(0, len(told[name]) - most)
        told[name] = told[name][:most]
    shown = [explanation.winner, *(each.intent for name in ("lost", "not_counted") for each in told[name])]
    told["runs"] = {each.id: explanation.runs[each.id] for each in shown if each and each.id in explanation.runs}
    return told
