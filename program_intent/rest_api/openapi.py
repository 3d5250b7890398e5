"""What drf-spectacular says of the operations, which the views name."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiRequest,
    OpenApiResponse,
    PolymorphicProxySerializer,
    extend_schema,
)
from rest_framework.views import APIView

from program_intent.rest_api.conditional import PreconditionFailed
from program_intent.rest_api.examples import (
    BATCH,
    CHANGES,
    COUNTS,
    ERASURE,
    ETAG,
    EXPLANATION,
    INTENT,
    LEARNER,
    NEW,
    NO_CURSOR,
    NO_KEY,
    NO_MOMENT,
    NO_PROGRAM,
    REFUSED,
    RETIREMENT,
    UNKNOWN,
)
from program_intent.rest_api.refusals import (
    FORBIDDEN,
    MAY_NOT_VIEW,
    MAY_NOT_VIEW_EVERYONE,
    OF_EVERY_CALL,
    TOO_LARGE,
    detail,
    refused,
    unsupported,
)
from program_intent.rest_api.serializers import (
    NewProgramIntentSerializer,
    ProgramIntentBatchSerializer,
    ProgramIntentChangesSerializer,
    ProgramIntentCountsSerializer,
    ProgramIntentErasureSerializer,
    ProgramIntentErrorsSerializer,
    ProgramIntentExplanationSerializer,
    ProgramIntentHistorySerializer,
    ProgramIntentPageSerializer,
    ProgramIntentQuerySerializer,
    ProgramIntentRetirementErrorsSerializer,
    ProgramIntentRetirementSerializer,
    ProgramIntentSerializer,
    ProgramIntentsOfLearnerSerializer,
)

# What is not in the query.
HEADERS = {
    "latest_certain": [
        OpenApiParameter(
            "If-None-Match",
            location=OpenApiParameter.HEADER,
            description="The `ETag` of the answer that the client has.",
            examples=[OpenApiExample("One answer", ETAG)],
        ),
        OpenApiParameter(
            "ETag",
            location=OpenApiParameter.HEADER,
            description="Weak; another one when another answer would be given, also because of the time.",
            response=[200, 304],
            examples=[OpenApiExample("Weak", ETAG)],
        ),
    ]
}
OPERATIONS: dict[str, Callable[..., Callable[[Any], Any]]] = {
    "record": partial(
        extend_schema,
        summary="Record intents",
        description=(
            "An object records one intent, an array many: there the good rows are kept, the bad refused, and each has"
            " its outcome. What is stored already is no error and changes nothing. `learner` left out is the caller;"
            " naming others needs the permission `program_intent.add_programintent`. An array holds at most"
            " `MAX_BATCH_SIZE` rows, 1000 unless the host set it otherwise."
        ),
        # Forms are read too, but clients that are generated from three media types cannot record.
        request={
            "application/json": OpenApiRequest(
                PolymorphicProxySerializer(
                    component_name="NewProgramIntents",
                    serializers=[NewProgramIntentSerializer, NewProgramIntentSerializer(many=True)],
                    resource_type_field_name=None,
                    many=False,
                ),
                examples=[
                    OpenApiExample("One intent of the caller", NEW),
                    OpenApiExample("Two, one of them refused", [NEW, {**NEW, "learner": 8}]),
                ],
            ),
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
                [OpenApiExample("Stored already", INTENT), OpenApiExample("The outcomes of an array", BATCH)],
            ),
            201: OpenApiResponse(ProgramIntentSerializer, "The new intent", [OpenApiExample("The new intent", INTENT)]),
            400: OpenApiResponse(
                ProgramIntentErrorsSerializer,
                "Refused: nothing was written",
                [
                    OpenApiExample("A value is refused", REFUSED),
                    OpenApiExample(
                        "The body is refused",
                        {"non_field_errors": ["Expected at most 1000 intents in one call, not 1001."]},
                    ),
                ],
            ),
            **OF_EVERY_CALL,
            403: detail(
                FORBIDDEN,
                "Not permitted",
                "To name another learner than yourself you need the permission program_intent.add_programintent.",
            ),
            413: TOO_LARGE,
            415: unsupported("The body is neither JSON nor a form, or not in UTF-8"),
            422: OpenApiResponse(
                ProgramIntentBatchSerializer,
                "With `strict`: the outcomes of an array of which a row was rejected; the good are kept",
                [OpenApiExample("One of two was rejected", BATCH)],
            ),
        },
    ),
    "history": partial(
        extend_schema,
        summary="All that was recorded of a learner",
        description=(
            "Newest first, what is not in effect yet included: by `effective_timestamp`, then by `created`, then"
            " `CERTAIN_NO`, `CERTAIN_YES`, `MAYBE`, then by `reason`. What is written while the pages are walked moves"
            " no border between them."
        ),
        responses={
            200: OpenApiResponse(
                ProgramIntentHistorySerializer,
                "A page",
                [OpenApiExample("The only page", {"next": None, "previous": None, "results": [INTENT]})],
            ),
            400: refused("A parameter is refused, or the learner is no user", "No such learner", UNKNOWN),
            **OF_EVERY_CALL,
            403: MAY_NOT_VIEW,
        },
    ),
    "latest_certain": partial(
        extend_schema,
        summary="The latest and most certain intents of a learner",
        description=(
            "Per program: any certain intent beats every `MAYBE`; among those left the latest `effective_timestamp`"
            " counts, then the latest `created`, then `CERTAIN_NO`, then the first reason. Ordered by `program_uuid`."
        ),
        responses={
            200: OpenApiResponse(
                ProgramIntentSerializer(many=True),
                "One intent per program, ordered by `program_uuid`",
                [OpenApiExample("One program", INTENT)],
            ),
            304: OpenApiResponse(description="What the client has is still the answer"),
            400: refused("A parameter is refused, or the learner is no user", "No such learner", UNKNOWN),
            **OF_EVERY_CALL,
            403: MAY_NOT_VIEW,
            412: detail("`If-Match` was sent", "If-Match", str(PreconditionFailed.default_detail)),
        },
    ),
    "explain": partial(
        extend_schema,
        summary="Why an intent is the latest and most certain one",
        description="What won, what lost by which clause of the rule, and what does not count.",
        responses={
            200: OpenApiResponse(
                ProgramIntentExplanationSerializer,
                "The winner, and why no other won",
                [OpenApiExample("Two intents", EXPLANATION)],
            ),
            400: refused("A parameter is refused or missing, or the learner is no user", "No such learner", UNKNOWN),
            **OF_EVERY_CALL,
            403: MAY_NOT_VIEW,
        },
    ),
    "latest_certain_query": partial(
        extend_schema,
        summary="The latest and most certain intents of many learners",
        description=(
            "It only reads; the learners are in a body because they fit into no URL. At most `MAX_BATCH_SIZE` learners"
            " and as many programs. It needs the permission `program_intent.view_programintent`."
        ),
        request={
            "application/json": OpenApiRequest(
                ProgramIntentQuerySerializer,
                examples=[
                    OpenApiExample(
                        "One learner, one program", {"learners": [LEARNER], "program_uuids": [NEW["program_uuid"]]}
                    )
                ],
            )
        },
        responses={
            200: OpenApiResponse(
                ProgramIntentsOfLearnerSerializer(many=True),
                "One entry per learner, in the order asked",
                [OpenApiExample("One learner", {"learner": LEARNER, "intents": [INTENT]})],
            ),
            400: refused(
                "A value is refused, or a learner is no user", "No such learner", {"learners": UNKNOWN["learner"]}
            ),
            **OF_EVERY_CALL,
            403: MAY_NOT_VIEW_EVERYONE,
            413: TOO_LARGE,
            415: unsupported("The body is not JSON, or not in UTF-8"),
        },
    ),
    "changes": partial(
        extend_schema,
        summary="What was recorded since",
        description=(
            "Every intent once, however late it was committed; following the cursor misses none. `learner` is null"
            " where the user is gone or has no name. It needs the permission `program_intent.view_programintent`."
        ),
        responses={
            200: OpenApiResponse(
                ProgramIntentChangesSerializer,
                "Empty when there is nothing new yet",
                [OpenApiExample("One intent", CHANGES)],
            ),
            400: refused("A parameter is refused", "No cursor", NO_CURSOR),
            **OF_EVERY_CALL,
            403: MAY_NOT_VIEW_EVERYONE,
            503: detail(
                "The database cannot say what is still being written",
                "A replica",
                "Changes are followed where intents are written, and this server takes no writes.",
            ),
        },
    ),
    "program_latest_certain": partial(
        extend_schema,
        summary="The latest and most certain intents for a program",
        description=(
            "One per learner, in the order of the learners' primary keys. A page is of so many learners, so with"
            " `certainty` it may hold fewer intents, even none, while `next` goes on. `next` carries the `as_of` and"
            " the `known_at` of the first page, so all answer for the same moments. Learners whose user is gone, and"
            " those without a name of their own, are left out. It needs the permission"
            " `program_intent.view_programintent`."
        ),
        responses={
            200: OpenApiResponse(
                ProgramIntentPageSerializer,
                "A page",
                [OpenApiExample("The only page", {"next": None, "results": [INTENT]})],
            ),
            400: refused("A parameter is refused, or `after` is no user", "No UUID", NO_PROGRAM),
            **OF_EVERY_CALL,
            403: MAY_NOT_VIEW_EVERYONE,
        },
    ),
    "program_counts": partial(
        extend_schema,
        summary="How many learners mean what about a program",
        description=(
            "Learners by the certainty of their latest and most certain intent. It needs the permission"
            " `program_intent.view_programintent`."
        ),
        responses={
            200: OpenApiResponse(
                ProgramIntentCountsSerializer, "Learners per certainty", [OpenApiExample("Three learners", COUNTS)]
            ),
            400: refused("A parameter is refused", "No UUID", NO_PROGRAM),
            **OF_EVERY_CALL,
            403: MAY_NOT_VIEW_EVERYONE,
        },
    ),
    "retire": partial(
        extend_schema,
        summary="Forget a learner for good",
        description=(
            "For who drives retirements. One of the keys is enough; of several, `learner` and the ids name the learner,"
            " and a user name is one that the learner has or had. Intents go, and none of that user ever comes back;"
            " of a name that nobody bears, none in effect by now. It can be repeated. It needs the permission"
            " `program_intent.erase_learner`."
        ),
        request={
            "application/json": OpenApiRequest(
                ProgramIntentRetirementSerializer,
                examples=[OpenApiExample("By the key of the LMS and a former name", RETIREMENT)],
            )
        },
        responses={
            204: OpenApiResponse(description="Forgotten, or never known"),
            400: OpenApiResponse(
                ProgramIntentRetirementErrorsSerializer,
                "A value is refused, or names several users: nothing was erased",
                [OpenApiExample("No integer", NO_KEY)],
            ),
            **OF_EVERY_CALL,
            403: detail(FORBIDDEN, "Not permitted", "You need the permission program_intent.erase_learner."),
            413: TOO_LARGE,
            415: unsupported("The body is not JSON, or not in UTF-8"),
        },
    ),
    "erasures": partial(
        extend_schema,
        summary="Who was erased",
        description=(
            "For those who keep copies: drop the learner's intents in effect by `until`, all where it is null, and"
            " refuse them from then on. Ask `since` a day before the last time: an erasure is seen once its transaction"
            " is committed, and to apply one twice does no harm. It needs the permission"
            " `program_intent.view_programintent`."
        ),
        responses={
            200: OpenApiResponse(
                ProgramIntentErasureSerializer(many=True),
                "In the order in which they were last erased",
                [OpenApiExample("One learner", ERASURE)],
            ),
            400: refused("A parameter is refused", "No moment", NO_MOMENT),
            **OF_EVERY_CALL,
            403: MAY_NOT_VIEW_EVERYONE,
        },
    ),
}


@cache
def describe(view: type[APIView]) -> None:
    """Attach to a view's operations what is said of them here."""
    for method in (getattr(view, name) for name in view.http_method_names if hasattr(view, name)):
        if name := getattr(method, "operation", None):
            OPERATIONS[name](
                operation_id=f"program_intents_{name}",
                tags=["program-intents"],
                parameters=[*method.parameters, *HEADERS.get(name, ())],
            )(method)
