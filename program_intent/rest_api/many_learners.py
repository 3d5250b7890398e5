"""What is asked about many learners at once; all of it needs the permission."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response

from program_intent import api, conf
from program_intent.data import Certainty, Intent, in_json
from program_intent.read.parameters import written_to
from program_intent.read.program import page_of_program
from program_intent.rest_api.base import IntentsView
from program_intent.rest_api.callers import Caller, MayViewEveryone
from program_intent.rest_api.pages import link
from program_intent.rest_api.parameters import (
    AFTER_CHANGES,
    AFTER_LEARNER,
    AS_OF,
    CERTAINTY,
    IN_QUERY_BODY,
    KNOWN_AT,
    LIMIT,
    PROGRAM_IN_PATH,
)
from program_intent.rest_api.parsers import JSONParser
from program_intent.rest_api.queries import Query, operation, refuse_unknown
from program_intent.rest_api.serializers import (
    ProgramIntentChangesSerializer,
    ProgramIntentPageSerializer,
    ProgramIntentsOfLearnerSerializer,
)
from program_intent.validation.learners import SEVERAL, unknown_learner
from program_intent.validation.values import REQUIRED, Refused, shown


class ManyLearnersView(IntentsView):
    permission_classes = [IsAuthenticated, MayViewEveryone]


class ProgramLatestCertainView(ManyLearnersView):
    @operation("program_latest_certain", PROGRAM_IN_PATH, CERTAINTY, AFTER_LEARNER, LIMIT, AS_OF, KNOWN_AT)
    def get(
        self,
        query: Query,
        program_uuid: UUID,
        certainty: Certainty | None,
        after: Any,
        limit: int,
        as_of: datetime,
        known_at: datetime | None,
    ) -> Response:
        query.check()
        now = timezone.now()
        intents, names, last = program_page(
            query.caller, program_uuid, after=after, limit=limit, as_of=as_of, known_at=known_at
        )
        # Every page answers for the moments of the first.
        moments = {"as_of": as_of.isoformat(), "known_at": (known_at or now).isoformat()}
        following = None if last is None else link(query.request, after=in_json(last), **moments)
        results = [intent for intent in intents if certainty in (None, intent.certainty)]
        answer = {"next": following, "results": results}
        return Response(ProgramIntentPageSerializer(answer, context={"learners": names}).data)


class ProgramCountsView(ManyLearnersView):
    @operation("program_counts", PROGRAM_IN_PATH, AS_OF, KNOWN_AT)
    def get(self, query: Query, program_uuid: UUID, as_of: datetime, known_at: datetime | None) -> Response:
        query.check()
        counts = api.count_latest_certain_intents_for_program(program_uuid, as_of=as_of, known_at=known_at)
        return Response({certainty.value: count for certainty, count in counts.items()})


class LatestCertainQueryView(ManyLearnersView):
    """A POST, because a thousand learners fit into no URL; it only reads."""

    parser_classes = [JSONParser]

    @operation("latest_certain_query")
    def post(self, query: Query) -> Response:
        body = query.request.data
        if not isinstance(body, dict):
            message = f"Expected an object with a list of learners, not {shown(body)}."
            raise ValidationError({"non_field_errors": [message]})
        refuse_unknown(body, IN_QUERY_BODY)
        learners = query.parsed("learners", bounded_list, body.get("learners"))
        programs = body.get("program_uuids")
        if programs is not None:
            query.parsed("program_uuids", bounded_list, programs)
        query.check()
        keys = keys_of(query.caller, learners)
        answers = api.get_latest_certain_intents_for_learners(
            [key for _, key in keys], program_uuids=programs, as_of=body.get("as_of"), known_at=body.get("known_at")
        )
        context = {"learners": {key: name for name, key in keys}}
        answer = [{"learner_id": key, "intents": answers[key].values()} for _, key in keys]
        return Response(ProgramIntentsOfLearnerSerializer(answer, many=True, context=context).data)


class ChangesView(ManyLearnersView):
    # Where they are written, as the API reads them: a replica may not know a new learner yet.
    @operation("changes", AFTER_CHANGES, LIMIT, using=written_to)
    def get(self, query: Query, after: str | None, limit: int) -> Response:
        query.check()
        changes = api.get_intent_changes(after=after, limit=limit)
        context = {"learners": query.caller.own_names(intent.learner_id for intent in changes.intents)}
        return Response(ProgramIntentChangesSerializer(changes, context=context).data)


def bounded_list(value: object) -> list[Any]:
    if value is None:
        raise Refused(REQUIRED)
    if not isinstance(value, list):
        raise Refused(f"Expected a list, not {shown(value)}.")
    if len(value) > conf.max_batch_size():
        raise Refused(f"Expected at most {conf.max_batch_size()} in one call, not {len(value)}.")
    return value


def keys_of(caller: Caller, learners: list[Any]) -> list[tuple[Any, Any]]:
    """The canonical name and the primary key of each, in the same order; one query."""
    named: list[Any] = []
    refused: list[str] = []
    for learner in learners:
        try:
            named.append(caller.learners.parse(learner))
        except Refused as refusal:
            refused.append(str(refusal))
    keys = caller.learners.keys(named)
    refused += [unknown_learner(name, keys.get(name)) for name in named if keys.get(name) in (None, SEVERAL)]
    if refused:
        raise ValidationError({"learners": refused})
    return [(name, keys[name]) for name in named]


def program_page(
    caller: Caller, program_uuid: UUID, *, after: Any, limit: int, as_of: datetime, known_at: datetime | None
) -> tuple[list[Intent], dict[Any, Any], Any]:
    """The next of a program's learners who have a name of their own; from others one cannot go on.

    With the names by primary key, and that of the last learner if more follow.
    """
    while True:
        intents, _ = page_of_program(
            program_uuid, using=caller.using, after=after, limit=limit + 1, as_of=as_of, known_at=known_at
        )
        is_more, page = len(intents) > limit, intents[:limit]
        names = caller.own_names(intent.learner_id for intent in page)
        named = [intent for intent in page if intent.learner_id in names]
        if named or not is_more:
            return named, names, names[named[-1].learner_id] if is_more else None
        after = page[-1].learner_id
