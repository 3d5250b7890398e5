"""What drf-spectacular says of the calls, attached to the views; tests hold the examples against the real answers."""

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

from program_intent.rest_api.conditional import PreconditionFailed
from program_intent.rest_api.many_learners import (
    ChangesView,
    LatestCertainQueryView,
    ProgramCountsView,
    ProgramLatestCertainView,
)
from program_intent.rest_api.one_learner import ExplainView, LatestCertainIntentsView, ProgramIntentsView
from program_intent.rest_api.serializers import (
    CERTAINTIES,
    ExplanationSerializer,
    HistoryPageSerializer,
    LearnerIntentsSerializer,
    LearnersQuerySerializer,
    NewProgramIntentSerializer,
    ProgramCountsSerializer,
    ProgramIntentBatchSerializer,
    ProgramIntentChangesSerializer,
    ProgramIntentDetailSerializer,
    ProgramIntentErrorsSerializer,
    ProgramIntentQueryErrorsSerializer,
    ProgramIntentSerializer,
    ProgramPageSerializer,
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
LOSER = {
    **INTENT,
    "id": 58050,
    "certainty": "MAYBE",
    "reason": "VISITED",
    "effective_timestamp": "2026-02-02T00:00:00Z",
}
EXPLANATION = {
    "learner": 7,
    "program_uuid": NEW["program_uuid"],
    "as_of": "2026-03-01T00:00:00Z",
    "known_at": None,
    "winner": INTENT,
    "lost": [{"intent": LOSER, "clause": "CERTAIN_BEATS_MAYBE", "words": "a certain intent beats MAYBE"}],
    "not_counted": [],
}
COUNTS = {"CERTAIN_YES": 2, "CERTAIN_NO": 0, "MAYBE": 1}
CHANGES = {"intents": [INTENT], "cursor": "1.58051"}
NO_CURSOR = {"after": ["Expected a cursor that an earlier call gave, not 'x'."]}
ETAG = 'W/"5d41402abc4b2a76b9719d911017c592"'


def example(name: str, value: Any) -> OpenApiExample:
    return OpenApiExample(name, value=value)


def detail(description: str, name: str, text: str) -> OpenApiResponse:
    return OpenApiResponse(ProgramIntentDetailSerializer, description, [example(name, {"detail": text})])


FORM = OpenApiRequest(NewProgramIntentSerializer, examples=[example("One intent of the caller", NEW)])
UNAUTHENTICATED = detail("Not signed in", "Not signed in", "Authentication credentials were not provided.")
NOT_ACCEPTABLE = detail(
    "None of the host's renderers gives what `Accept` asks for",
    "Not acceptable",
    "Could not satisfy the request Accept header.",
)
THROTTLED = detail(
    "More calls than the host's throttling lets pass; `Retry-After` says for how many seconds",
    "Throttled",
    "Request was throttled. Expected available in 5 seconds.",
)
OF_EVERY_CALL = {401: UNAUTHENTICATED, 406: NOT_ACCEPTABLE, 429: THROTTLED}
FORBIDDEN = "Not permitted, or not signed in where the host's authentication names no scheme"
MAY_NOT_VIEW = detail(
    FORBIDDEN,
    "Not permitted",
    "To name another learner than yourself you need the permission program_intent.view_programintent.",
)
MAY_NOT_VIEW_EVERYONE = detail(FORBIDDEN, "Not permitted", "You need the permission program_intent.view_programintent.")
TOO_LARGE = detail(
    "The body is larger than the host's `DATA_UPLOAD_MAX_MEMORY_SIZE`",
    "Too large",
    "Request body exceeded settings.DATA_UPLOAD_MAX_MEMORY_SIZE.",
)


def unsupported(description: str) -> OpenApiResponse:
    return detail(description, "Unsupported", 'Unsupported media type "text/plain" in request.')


def refused(description: str, name: str, errors: dict[str, list[str]]) -> OpenApiResponse:
    return OpenApiResponse(ProgramIntentQueryErrorsSerializer, description, [example(name, errors)])


LEARNER = OpenApiParameter(
    "learner",
    description=(
        "The user, named by the host's `LEARNER_LOOKUP_FIELD`; the caller if left out. Others need the permission"
        " `program_intent.view_programintent`."
    ),
    examples=[example("By primary key", "7")],
)
PROGRAMS = OpenApiParameter(
    "program_uuid",
    OpenApiTypes.UUID,
    many=True,
    description="Only this program; can be given several times. All programs if left out.",
    examples=[example("Two programs", [NEW["program_uuid"], "51032e48-04ca-5d43-901a-80cd294a21e1"])],
)
AS_OF = OpenApiParameter(
    "as_of",
    OpenApiTypes.DATETIME,
    description="Count what was true by then; now if left out. A `+` in it is written `%2B`.",
    examples=[example("UTC", "2026-03-01T00:00:00Z")],
)
KNOWN_AT = OpenApiParameter(
    "known_at",
    OpenApiTypes.DATETIME,
    description="Count what had been written by then; everything if left out.",
    examples=[example("With an offset", "2026-03-01T02:00:00+02:00")],
)
CERTAINTY = OpenApiParameter(
    "certainty",
    enum=CERTAINTIES,
    description="Only intents that have it; all if left out.",
    examples=[example("Certain", "CERTAIN_YES")],
)
LIMIT = OpenApiParameter(
    "limit",
    OpenApiTypes.INT,
    description="How many are on a page: 100 if left out, at most `MAX_BATCH_SIZE`.",
    examples=[example("A small page", 20)],
)
PROGRAM = OpenApiParameter(
    "program_uuid",
    OpenApiTypes.UUID,
    OpenApiParameter.PATH,
    description="The program, with or without hyphens.",
    examples=[example("A program", NEW["program_uuid"])],
)
NO_PROGRAM = {"program_uuid": ["Expected a UUID, with or without hyphens, not 'x'."]}

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
        **OF_EVERY_CALL,
        403: detail(
            FORBIDDEN,
            "Not permitted",
            "To name another learner than yourself you need the permission program_intent.add_programintent.",
        ),
        413: TOO_LARGE,
        415: unsupported("The body is neither JSON nor a form, or not in UTF-8"),
    },
)

history = extend_schema(
    operation_id="program_intents_history",
    tags=TAGS,
    summary="All that was recorded of a learner",
    description=(
        "Newest first, what is not in effect yet included: by `effective_timestamp`, then by `created`, then"
        " `CERTAIN_NO`, `CERTAIN_YES`, `MAYBE`, then by `reason`. What is written while the pages are walked moves no"
        " border between them."
    ),
    parameters=[
        LEARNER,
        PROGRAMS,
        CERTAINTY,
        OpenApiParameter(
            "reason",
            description="Only intents with this reason; all if left out.",
            examples=[example("A reason", "BUNDLE_PURCHASE")],
        ),
        OpenApiParameter(
            "effective_after",
            OpenApiTypes.DATETIME,
            description="Only what became true at this moment or later.",
            examples=[example("From February on", "2026-02-01T00:00:00Z")],
        ),
        OpenApiParameter(
            "effective_before",
            OpenApiTypes.DATETIME,
            description="Only what became true before this moment; not what became true at it.",
            examples=[example("Until the end of February", "2026-03-01T00:00:00Z")],
        ),
        OpenApiParameter(
            "cursor",
            description="From `next` or `previous` of a page; the first page if left out.",
            examples=[example("Older than an intent", "after-58051")],
        ),
        LIMIT,
    ],
    responses={
        200: OpenApiResponse(
            HistoryPageSerializer,
            "A page",
            [example("The only page", {"next": None, "previous": None, "results": [INTENT]})],
        ),
        400: refused("A parameter is refused, or the learner is no user", "No such learner", UNKNOWN),
        **OF_EVERY_CALL,
        403: MAY_NOT_VIEW,
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
        LEARNER,
        PROGRAMS,
        AS_OF,
        KNOWN_AT,
        OpenApiParameter(
            "If-None-Match",
            location=OpenApiParameter.HEADER,
            description="The `ETag` of the answer that the client has.",
            examples=[example("One answer", ETAG)],
        ),
        OpenApiParameter(
            "ETag",
            location=OpenApiParameter.HEADER,
            description="Weak; another one when another answer would be given, also because of the time.",
            response=[200, 304],
            examples=[example("Weak", ETAG)],
        ),
    ],
    responses={
        200: OpenApiResponse(
            ProgramIntentSerializer(many=True),
            "One intent per program, ordered by `program_uuid`",
            [example("One program", INTENT)],
        ),
        304: OpenApiResponse(description="What the client has is still the answer"),
        400: refused("A parameter is refused, or the learner is no user", "No such learner", UNKNOWN),
        **OF_EVERY_CALL,
        403: MAY_NOT_VIEW,
        412: detail("`If-Match` was sent", "If-Match", str(PreconditionFailed.default_detail)),
    },
)

explain = extend_schema(
    operation_id="program_intents_explain",
    tags=TAGS,
    summary="Why an intent is the latest and most certain one",
    description="What won, what lost by which clause of the rule, and what does not count.",
    parameters=[
        LEARNER,
        OpenApiParameter(
            "program_uuid",
            OpenApiTypes.UUID,
            required=True,
            description="The program.",
            examples=[example("A program", NEW["program_uuid"])],
        ),
        AS_OF,
        KNOWN_AT,
    ],
    responses={
        200: OpenApiResponse(
            ExplanationSerializer, "The winner, and why no other won", [example("Two intents", EXPLANATION)]
        ),
        400: refused("A parameter is refused or missing, or the learner is no user", "No such learner", UNKNOWN),
        **OF_EVERY_CALL,
        403: MAY_NOT_VIEW,
    },
)

latest_certain_query = extend_schema(
    operation_id="program_intents_latest_certain_query",
    tags=TAGS,
    summary="The latest and most certain intents of many learners",
    description=(
        "It only reads; the learners are in a body because they fit into no URL. At most `MAX_BATCH_SIZE` learners and"
        " as many programs. It needs the permission `program_intent.view_programintent`."
    ),
    request={
        "application/json": OpenApiRequest(
            LearnersQuerySerializer,
            examples=[example("One learner, one program", {"learners": [7], "program_uuids": [NEW["program_uuid"]]})],
        )
    },
    responses={
        200: OpenApiResponse(
            LearnerIntentsSerializer(many=True),
            "One entry per learner, in the order asked",
            [example("One learner", {"learner": 7, "intents": [INTENT]})],
        ),
        400: refused(
            "A value is refused, or a learner is no user", "No such learner", {"learners": UNKNOWN["learner"]}
        ),
        **OF_EVERY_CALL,
        403: MAY_NOT_VIEW_EVERYONE,
        413: TOO_LARGE,
        415: unsupported("The body is not JSON, or not in UTF-8"),
    },
)

changes = extend_schema(
    operation_id="program_intents_changes",
    tags=TAGS,
    summary="What was recorded since",
    description=(
        "Every intent once, however late it was committed; following the cursor misses none. `learner` is null where"
        " the user is gone. It needs the permission `program_intent.view_programintent`."
    ),
    parameters=[
        OpenApiParameter(
            "after",
            description="The `cursor` of the answer before; from the beginning if left out.",
            examples=[example("Going on", CHANGES["cursor"])],
        ),
        LIMIT,
    ],
    responses={
        200: OpenApiResponse(
            ProgramIntentChangesSerializer, "Empty when there is nothing new yet", [example("One intent", CHANGES)]
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
)

program_latest_certain = extend_schema(
    operation_id="program_intents_program_latest_certain",
    tags=TAGS,
    summary="The latest and most certain intents for a program",
    description=(
        "One per learner, in the order of the learners' primary keys. A page is of so many learners, so with"
        " `certainty` it may hold fewer intents, even none, while `next` goes on. All pages answer for the `as_of` of"
        " the first. Learners whose user is gone are left out. It needs the permission"
        " `program_intent.view_programintent`."
    ),
    parameters=[
        PROGRAM,
        CERTAINTY,
        OpenApiParameter(
            "after",
            description="Only learners behind this one, named by the host's `LEARNER_LOOKUP_FIELD`.",
            examples=[example("By primary key", "7")],
        ),
        LIMIT,
        AS_OF,
        KNOWN_AT,
    ],
    responses={
        200: OpenApiResponse(
            ProgramPageSerializer, "A page", [example("The only page", {"next": None, "results": [INTENT]})]
        ),
        400: refused("A parameter is refused, or `after` is no user", "No UUID", NO_PROGRAM),
        **OF_EVERY_CALL,
        403: MAY_NOT_VIEW_EVERYONE,
    },
)

program_counts = extend_schema(
    operation_id="program_intents_program_counts",
    tags=TAGS,
    summary="How many learners mean what about a program",
    description=(
        "Learners by the certainty of their latest and most certain intent. It needs the permission"
        " `program_intent.view_programintent`."
    ),
    parameters=[PROGRAM, AS_OF, KNOWN_AT],
    responses={
        200: OpenApiResponse(ProgramCountsSerializer, "Learners per certainty", [example("Three learners", COUNTS)]),
        400: refused("A parameter is refused", "No UUID", NO_PROGRAM),
        **OF_EVERY_CALL,
        403: MAY_NOT_VIEW_EVERYONE,
    },
)

for method, description in {
    ProgramIntentsView.post: record,
    ProgramIntentsView.get: history,
    LatestCertainIntentsView.get: latest_certain,
    LatestCertainQueryView.post: latest_certain_query,
    ExplainView.get: explain,
    ChangesView.get: changes,
    ProgramLatestCertainView.get: program_latest_certain,
    ProgramCountsView.get: program_counts,
}.items():
    description(method)  # type: ignore[type-var]  # a method is what it decorates
