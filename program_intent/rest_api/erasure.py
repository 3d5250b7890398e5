"""Who is to be forgotten, and who was, for those who keep copies."""

from datetime import datetime

from rest_framework.exceptions import ValidationError
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response

from program_intent import api
from program_intent.intake.retirements import SENT_AS, retire
from program_intent.read.parameters import written_to
from program_intent.rest_api.base import IntentsView
from program_intent.rest_api.callers import MayErase
from program_intent.rest_api.many_learners import ManyLearnersView
from program_intent.rest_api.parameters import SINCE
from program_intent.rest_api.parsers import JSONParser
from program_intent.rest_api.queries import Query, operation, refuse_unknown
from program_intent.rest_api.serializers import ProgramIntentErasureSerializer
from program_intent.validation.values import shown


class RetirementsView(IntentsView):
    permission_classes = [IsAuthenticated, MayErase]
    parser_classes = [JSONParser]

    @operation("retire", using=written_to)
    def post(self, query: Query) -> Response:
        body = query.request.data
        if isinstance(body, dict):
            refuse_unknown(body, SENT_AS)
        if not isinstance(body, dict) or not set(SENT_AS) & set(body):
            message = f"Expected an object with one of {', '.join(SENT_AS)}, not {shown(body)}."
            raise ValidationError({"non_field_errors": [message]})
        user = query.request.user
        retire(body, by=str(getattr(user, "get_username", user.__str__)()))
        return Response(status=204)


class ErasuresView(ManyLearnersView):
    @operation("erasures", SINCE, using=written_to)
    def get(self, query: Query, since: datetime | None) -> Response:
        query.check()
        return Response(ProgramIntentErasureSerializer(api.get_erasures(since=since), many=True).data)
