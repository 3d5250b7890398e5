"""Record intents: one, or many with an outcome for each."""

from collections import Counter
from typing import Any

from django.http import QueryDict
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.response import Response

from program_intent import api, conf
from program_intent.data import FIELDS, Outcome
from program_intent.read.parameters import written_to
from program_intent.rest_api.base import IntentsView
from program_intent.rest_api.callers import ADD, Caller
from program_intent.rest_api.parameters import STRICT
from program_intent.rest_api.queries import Query, operation
from program_intent.rest_api.serializers import ProgramIntentBatchSerializer, ProgramIntentSerializer
from program_intent.validation.learners import ByKey


class RecordView(IntentsView):
    @operation("record", STRICT, permission=ADD, using=written_to)
    def post(self, query: Query, strict: bool) -> Response:
        query.check()
        caller, body = query.caller, query.request.data
        if isinstance(body, QueryDict):
            body = {name: value for name, value in body.dict().items() if name != "csrfmiddlewaretoken"}
        if isinstance(body, list):
            return self._record_batch(caller, body, strict=strict)
        row = completed(caller, body)
        if not may_write(caller, row):
            raise PermissionDenied(caller.refusal)
        (outcome,) = api.record_intents([row], learner_field=caller.field)
        if outcome.intent is None:
            raise ValidationError(outcome.errors)
        context = {"learners": names(caller, [row], [outcome])}
        answer = ProgramIntentSerializer(outcome.intent, context=context).data
        return Response(answer, status=201 if outcome.status == "created" else 200)

    def _record_batch(self, caller: Caller, body: list[object], *, strict: bool) -> Response:
        if len(body) > conf.max_batch_size():
            message = f"Expected at most {conf.max_batch_size()} intents in one call, not {len(body)}."
            raise ValidationError({"non_field_errors": [message]})
        rows = [completed(caller, row) for row in body]
        allowed = [may_write(caller, row) for row in rows]
        permitted = (row for row, may in zip(rows, allowed, strict=True) if may)
        recorded = iter(api.record_intents(permitted, learner_field=caller.field))
        refusal = Outcome("rejected", None, {"learner": [caller.refusal]})
        outcomes = [next(recorded) if may else refusal for may in allowed]
        counts = Counter(outcome.status for outcome in outcomes)
        answer = {status: counts[status] for status in ("created", "duplicate", "rejected")}
        context = {"learners": names(caller, rows, outcomes)}
        told = ProgramIntentBatchSerializer({**answer, "outcomes": outcomes}, context=context).data
        return Response(told, status=422 if strict and counts["rejected"] else 200)


def completed(caller: Caller, row: Any) -> Any:
    """The row without what the host ignores, and with the caller as the learner that it leaves out."""
    if not isinstance(row, dict):
        return row
    row = {name: value for name, value in row.items() if name in FIELDS or name not in conf.ignored_parameters()}
    return row if "learner" in row else {**row, "learner": caller.by_key}


def may_write(caller: Caller, row: Any) -> bool:
    return not isinstance(row, dict) or isinstance(row["learner"], ByKey) or caller.may_name(row["learner"])


def names(caller: Caller, rows: list[Any], outcomes: list[Outcome]) -> dict[Any, Any]:
    """The name of every learner in the outcomes, as the rows gave it: a stored row's name is exact."""
    return {
        outcome.intent.learner_id: (
            caller.name if isinstance(row["learner"], ByKey) else caller.learners.parse(row["learner"])
        )
        for row, outcome in zip(rows, outcomes, strict=True)
        if outcome.intent
    }
