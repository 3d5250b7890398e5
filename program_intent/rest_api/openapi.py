"""What drf-spectacular says of the two calls; tests hold the examples against the real answers."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiRequest,
    OpenApiResponse,
    PolymorphicProxySerializer,
    extend_schema,
)

from program_intent.rest_api.serializers import (
    NewProgramIntentSerializer,
    ProgramIntentBatchSerializer,
    ProgramIntentDetailSerializer,
    ProgramIntentErrorsSerializer,
    ProgramIntentQueryErrorsSerializer,
    ProgramIntentSerializer,
)

TAGS = ["program-intents"]

NEW = {
    "program_uuid": "9a241637-6370-5561-bfb1-6dd5655333f4",
    "reason": "BUNDLE_PURCHASE",
    "certainty": "CERTAIN_YES",
    "effective_timestamp": "2026-02-01T09:00:00Z",
}
INTENT = {"id": 58051, "learner": 7, **NEW, "created": "2026-02-01T09:00:00.123456Z"}
REFUSED = {"certainty": ["Expected one of CERTAIN_YES, CERTAIN_NO, MAYBE, not 'YES'."]}
UNKNOWN = {"learner": ["No user is named by 8."]}
BATCH = {
    "created": 1,
    "duplicate": 0,
    "rejected": 1,
    "outcomes": [
        {"status": "created", "intent": INTENT, "errors": {}},
        {"status": "rejected", "intent": None, "errors": UNKNOWN},
    ],
}


def example(name: str, value: Any) -> OpenApiExample:
    return OpenApiExample(name, value=value)


def detail(description: str, name: str, text: str) -> OpenApiResponse:
    return OpenApiResponse(ProgramIntentDetailSerializer, description, [example(name, {"detail": text})])


FORM = OpenApiRequest(NewProgramIntentSerializer, examples=[example("One intent of the caller", NEW)])
UNAUTHENTICATED = detail("Not signed in", "Not signed in", "Authentication credentials were not provided.")
FORBIDDEN = "Not permitted, or not signed in where the host's authentication names no scheme"

record = extend_schema(
    operation_id="program_intents_record",
    tags=TAGS,
    summary="Record intents",
    description=(
        "An object records one intent, an array many: there the good rows are kept, the bad refused, and each has its"
        " outcome. What is stored already is no error and changes nothing. `learner` left out is the caller; naming"
        " others needs the permission `program_intent.add_programintent`. An array holds at most `MAX_BATCH_SIZE`"
        " rows, 1000 unless the host set it otherwise."
    ),
    request={
        "application/json": OpenApiRequest(
            PolymorphicProxySerializer(
                component_name="NewProgramIntents",
                serializers=[NewProgramIntentSerializer, NewProgramIntentSerializer(many=True)],
                resource_type_field_name=None,
                many=False,
            ),
            examples=[
                example("One intent of the caller", NEW),
                example("Two, one of them refused", [NEW, {**NEW, "learner": 8}]),
            ],
        ),
        "application/x-www-form-urlencoded": FORM,
        "multipart/form-data": FORM,
    },
    responses={
        200: OpenApiResponse(
            PolymorphicProxySerializer(
                component_name="RecordedProgramIntents",
                serializers=[ProgramIntentSerializer, ProgramIntentBatchSerializer],
                resource_type_field_name=None,
                many=False,
            ),
            "The stored intent, if it was there already; or the outcomes of an array",
            [example("Stored already", INTENT), example("The outcomes of an array", BATCH)],
        ),
        201: OpenApiResponse(ProgramIntentSerializer, "The new intent", [example("The new intent", INTENT)]),
        400: OpenApiResponse(
            ProgramIntentErrorsSerializer,
            "Refused: nothing was written",
            [
                example("A value is refused", REFUSED),
                example(
                    "The body is refused",
                    {"non_field_errors": ["Expected at most 1000 intents in one call, not 1001."]},
                ),
            ],
        ),
        401: UNAUTHENTICATED,
        403: detail(
            FORBIDDEN,
            "Not permitted",
            "To name another learner than yourself you need the permission program_intent.add_programintent.",
        ),
        413: detail(
            "The body is larger than the host's `DATA_UPLOAD_MAX_MEMORY_SIZE`",
            "Too large",
            "Request body exceeded settings.DATA_UPLOAD_MAX_MEMORY_SIZE.",
        ),
        415: detail(
            "The body is neither JSON nor a form, or not in UTF-8",
            "Unsupported",
            'Unsupported media type "text/plain" in request.',
        ),
    },
)

latest_certain = extend_schema(
    operation_id="program_intents_latest_certain",
    tags=TAGS,
    summary="The latest and most certain intents of a learner",
    description=(
        "Per program: any certain intent beats every `MAYBE`; among those left the latest `effective_timestamp` counts,"
        " then the latest `created`, then `CERTAIN_NO`, then the first reason. Ordered by `program_uuid`."
    ),
    parameters=[
        OpenApiParameter(
            "learner",
            description=(
                "The user, named by the host's `LEARNER_LOOKUP_FIELD`; the caller if left out. Others need the"
                " permission `program_intent.view_programintent`."
            ),
            examples=[example("By primary key", "7")],
        ),
        OpenApiParameter(
            "program_uuid",
            OpenApiTypes.UUID,
            many=True,
            description="Only this program; can be given several times. All programs if left out.",
            examples=[example("Two programs", [NEW["program_uuid"], "51032e48-04ca-5d43-901a-80cd294a21e1"])],
        ),
        OpenApiParameter(
            "as_of",
            OpenApiTypes.DATETIME,
            description="Count what was true by then; now if left out. A `+` in it is written `%2B`.",
            examples=[example("UTC", "2026-03-01T00:00:00Z")],
        ),
        OpenApiParameter(
            "known_at",
            OpenApiTypes.DATETIME,
            description="Count what had been written by then; everything if left out.",
            examples=[example("With an offset", "2026-03-01T02:00:00+02:00")],
        ),
    ],
    responses={
        200: OpenApiResponse(
            ProgramIntentSerializer(many=True),
            "One intent per program, ordered by `program_uuid`",
            [example("One program", INTENT)],
        ),
        400: OpenApiResponse(
            ProgramIntentQueryErrorsSerializer,
            "A parameter is refused, or the learner is no user",
            [example("No such learner", UNKNOWN)],
        ),
        401: UNAUTHENTICATED,
        403: detail(
            FORBIDDEN,
            "Not permitted",
            "To name another learner than yourself you need the permission program_intent.view_programintent.",
        ),
    },
)
