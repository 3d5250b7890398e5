"""What is asked about one learner: the caller, or another with the permission."""

from typing import Any
from uuid import UUID

from django.db import connections
from django.db.models import CharField, QuerySet
from django.http import HttpResponseNotModified
from django.http.response import HttpResponseBase
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from program_intent import api, engines
from program_intent.exceptions import InvalidIntent
from program_intent.models import ProgramIntent
from program_intent.parameters import Parameters
from program_intent.rest_api import conditional
from program_intent.rest_api.pages import CodePoints, history_page, link, parse_cursor, parse_limit
from program_intent.rest_api.record import RecordView
from program_intent.rest_api.serializers import (
    ExplanationSerializer,
    HistoryPageSerializer,
    ProgramIntentSerializer,
)
from program_intent.rest_api.views import IntentsView, asked_learner, optional, reader, single_values
from program_intent.validation import (
    REQUIRED,
    parse_certainty,
    parse_reason,
    parse_timestamp,
    parse_uuid,
)


class LatestCertainIntentsView(IntentsView):
    def get(self, request: Request) -> HttpResponseBase:
        learner, as_of, known_at = single_values(request.query_params, "learner", "as_of", "known_at")
        name, key = asked_learner(reader(request), learner)
        programs = request.query_params.getlist("program_uuid") or None
        try:
            intents = api.get_latest_certain_intents(key, program_uuids=programs, as_of=as_of, known_at=known_at)
        except InvalidIntent as error:
            renamed = {"program_uuids": "program_uuid"}
            raise ValidationError({renamed.get(n, n): messages for n, messages in error.errors.items()}) from None
        headers = conditional.headers(request, name, intents.values())
        if conditional.is_current(request, headers.get("ETag")):
            return HttpResponseNotModified(headers=headers)
        serializer = ProgramIntentSerializer(context={"learners": {key: name}})
        # Not many=True, which makes a serializer of serializers for each answer.
        return Response(list(map(serializer.to_representation, intents.values())), headers=headers)


class ExplainView(IntentsView):
    def get(self, request: Request) -> Response:
        learner, program, as_of, known_at = single_values(
            request.query_params, "learner", "program_uuid", "as_of", "known_at"
        )
        name, key = asked_learner(reader(request), learner)
        if program is None:
            raise ValidationError({"program_uuid": [REQUIRED]})
        explanation = api.explain_latest_certain_intent(key, program, as_of=as_of, known_at=known_at)
        return Response(ExplanationSerializer(explanation, context={"learners": {key: name}}).data)


class ProgramIntentsView(RecordView):
    """What was recorded of a learner, where it is recorded."""

    def get(self, request: Request) -> Response:
        query = request.query_params
        learner, certainty, reason, since, until, cursor, limit = single_values(
            query, "learner", "certainty", "reason", "effective_after", "effective_before", "cursor", "limit"
        )
        caller = reader(request)
        name, key = asked_learner(caller, learner)
        given = Parameters(caller.using)
        programs = given.parsed("program_uuid", parse_programs, query.getlist("program_uuid"))
        history = history_of(key, programs, using=caller.using)
        filters = {
            "certainty": given.parsed("certainty", optional(parse_certainty), certainty),
            "reason": given.parsed("reason", optional(parse_reason), reason),
            "effective_timestamp__gte": given.parsed("effective_after", optional(parse_timestamp), since),
            "effective_timestamp__lt": given.parsed("effective_before", optional(parse_timestamp), until),
            "created__lte": given.known_at(None),
        }
        border = given.parsed("cursor", optional(lambda text: parse_cursor(text, history)), cursor)
        size = given.parsed("limit", parse_limit, limit)
        given.check()
        narrowed = history.filter(**{name: value for name, value in filters.items() if value is not None})
        page = history_page(narrowed, border=border, limit=size)
        answer = {
            "next": page.next and link(request, cursor=page.next),
            "previous": page.previous and link(request, cursor=page.previous),
            "results": page.intents,
        }
        return Response(HistoryPageSerializer(answer, context={"learners": {key: name}}).data)


def history_of(learner: Any, programs: list[UUID] | None, *, using: str) -> "QuerySet[ProgramIntent]":
    """A learner's intents, for these programs if any are given."""
    intents = ProgramIntent.objects.using(using).filter(learner_id=learner)
    if isinstance(learner, str):  # a collation may take another learner's key for this one
        key = CodePoints("learner_id", output_field=CharField())
        intents = intents.alias(exact_learner=key).filter(exact_learner=learner)
    if programs is None:
        return intents
    why_unstorable = engines.kind(connections[using]).why_unstorable
    programs = [program for program in programs if not why_unstorable(program)]
    return intents.filter(program_uuid__in=programs)


def parse_programs(texts: list[str]) -> list[UUID] | None:
    return list(map(parse_uuid, texts)) or None
