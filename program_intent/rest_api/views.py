"""Two calls: record intents, and ask for the latest and most certain ones."""

from collections import Counter
from typing import Any

from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.db import router
from django.http import QueryDict
from rest_framework.exceptions import APIException, ParseError, PermissionDenied, ValidationError
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from program_intent import api, conf, store
from program_intent.data import Outcome
from program_intent.exceptions import InvalidIntent
from program_intent.models import ProgramIntent
from program_intent.rest_api import openapi
from program_intent.rest_api.parsers import FormParser, JSONParser, MultiPartParser
from program_intent.rest_api.permissions import Caller
from program_intent.rest_api.serializers import ProgramIntentBatchSerializer, ProgramIntentSerializer
from program_intent.validation import Refused


class BodyTooLarge(APIException):
    status_code = 413
    default_code = "too_large"


class IntentsView(APIView):
    """What both calls share: who is let in, what is read, and the shape of errors."""

    permission_classes = [IsAuthenticated]  # the host's default may be AllowAny
    parser_classes = [JSONParser, FormParser, MultiPartParser]
    versioning_class = None  # the version is in the path

    def handle_exception(self, exc: Exception) -> Response:
        """Give an unreadable request the same shape of 400 as a refused value."""
        if isinstance(exc, RequestDataTooBig):
            exc = BodyTooLarge(str(exc))
        elif isinstance(exc, ParseError | TooManyFieldsSent | TooManyFilesSent):
            exc = ValidationError({"non_field_errors": [str(exc)]})
        return super().handle_exception(exc)


class RecordIntentsView(IntentsView):
    @openapi.record
    def post(self, request: Request) -> Response:
        using = router.db_for_write(ProgramIntent)
        caller = Caller(request.user, permission="program_intent.add_programintent", using=using)
        body = request.data.dict() if isinstance(request.data, QueryDict) else request.data
        if isinstance(body, list):
            return self._record_batch(caller, body)
        row = completed(caller, body)
        if not may_write(caller, row):
            raise PermissionDenied(caller.refusal)
        (outcome,) = store.record([row], learner_field=caller.field)
        if outcome.intent is None:
            raise ValidationError(outcome.errors)
        context = {"learners": names(caller, [row], [outcome])}
        answer = ProgramIntentSerializer(outcome.intent, context=context).data
        return Response(answer, status=201 if outcome.status == "created" else 200)

    def _record_batch(self, caller: Caller, body: list[object]) -> Response:
        if len(body) > conf.max_batch_size():
            message = f"Expected at most {conf.max_batch_size()} intents in one call, not {len(body)}."
            raise ValidationError({"non_field_errors": [message]})
        rows = [completed(caller, row) for row in body]
        allowed = [may_write(caller, row) for row in rows]
        permitted = (row for row, may in zip(rows, allowed, strict=True) if may)
        judged = iter(store.record(permitted, learner_field=caller.field))
        refusal = Outcome("rejected", None, {"learner": [caller.refusal]})
        outcomes = [next(judged) if may else refusal for may in allowed]
        counts = Counter(outcome.status for outcome in outcomes)
        answer = {status: counts[status] for status in ("created", "duplicate", "rejected")}
        context = {"learners": names(caller, rows, outcomes)}
        return Response(ProgramIntentBatchSerializer({**answer, "outcomes": outcomes}, context=context).data)


def completed(caller: Caller, row: Any) -> Any:
    """The row, with the caller as the learner that it leaves out."""
    if isinstance(row, dict) and row.get("learner") is None:
        return {**row, "learner": caller.name}
    return row


def may_write(caller: Caller, row: Any) -> bool:
    return not isinstance(row, dict) or caller.may_name(row["learner"])


def names(caller: Caller, rows: list[Any], outcomes: list[Outcome]) -> dict[Any, Any]:
    """The name of every learner in the outcomes, as the rows gave it: a stored row's name is exact."""
    return {
        outcome.intent.learner_id: caller.parse(row["learner"])
        for row, outcome in zip(rows, outcomes, strict=True)
        if outcome.intent
    }


class LatestCertainIntentsView(IntentsView):
    @openapi.latest_certain
    def get(self, request: Request) -> Response:
        using = router.db_for_read(ProgramIntent)
        caller = Caller(request.user, permission="program_intent.view_programintent", using=using)
        learner, as_of, known_at = single_values(request.query_params, "learner", "as_of", "known_at")
        if not caller.may_name(learner):
            raise PermissionDenied(caller.refusal)
        try:
            name, key = caller.key(learner)
        except Refused as refused:
            raise ValidationError({"learner": [str(refused)]}) from None
        programs = request.query_params.getlist("program_uuid") or None
        try:
            intents = api.get_latest_certain_intents(key, program_uuids=programs, as_of=as_of, known_at=known_at)
        except InvalidIntent as error:
            renamed = {"program_uuids": "program_uuid"}
            raise ValidationError({renamed.get(n, n): messages for n, messages in error.errors.items()}) from None
        context = {"learners": {key: name}}
        return Response(ProgramIntentSerializer(intents.values(), many=True, context=context).data)


def single_values(parameters: QueryDict, *names: str) -> list[str | None]:
    counts = {name: len(parameters.getlist(name)) for name in names}
    repeated = {name: [f"Expected one value, not {n}."] for name, n in counts.items() if n > 1}
    if repeated:
        raise ValidationError(repeated)
    return [parameters.get(name) for name in names]
