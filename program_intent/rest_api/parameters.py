"""The parameters of the calls, each said once: for its parsing, for the schema and for the names of errors."""

from drf_spectacular.types import OpenApiTypes

from program_intent.rest_api.examples import LEARNER as LEARNER_OF_EXAMPLES
from program_intent.rest_api.examples import NEW
from program_intent.rest_api.pages import parse_limit
from program_intent.rest_api.queries import Parameter, Query, optional, parse_switch
from program_intent.rest_api.serializers import CERTAINTIES, ErrorsSerializer, ProgramIntentQuerySerializer
from program_intent.validation.times import parse_timestamp
from program_intent.validation.values import parse_certainty, parse_reason, parse_uuid

# As in bodies: a text, or an integer where a key is one.
LEARNER_TYPE = {"oneOf": [{"type": "integer"}, {"type": "string"}]}
LEARNER = Parameter(
    "learner",
    LEARNER_TYPE,
    parse=lambda query, learner: query.caller.asked(learner),
    description=(
        "The user, named by the host's `LEARNER_LOOKUP_FIELD`; the caller if left out. Others need the permission"
        " `program_intent.view_programintent`."
    ),
    example=("By primary key", LEARNER_OF_EXAMPLES),
)
PROGRAMS = Parameter(
    "program_uuid",
    OpenApiTypes.UUID,
    many=True,
    parse=lambda query, texts: list(map(parse_uuid, texts)) or None,
    description="Only this program; can be given several times. All programs if left out.",
    example=("Two programs", [NEW["program_uuid"], "51032e48-04ca-5d43-901a-80cd294a21e1"]),
)
PROGRAM = Parameter(
    "program_uuid",
    OpenApiTypes.UUID,
    required=True,
    parse=Query.program,
    description="The program.",
    example=("A program", NEW["program_uuid"]),
)
PROGRAM_IN_PATH = Parameter(
    "program_uuid",
    OpenApiTypes.UUID,
    location=Parameter.PATH,
    parse=Query.program,
    description="The program, with or without hyphens.",
    example=("A program", NEW["program_uuid"]),
)
AS_OF = Parameter(
    "as_of",
    OpenApiTypes.DATETIME,
    parse=Query.as_of,
    description="Count what was true by then; now if left out. A `+` in it is written `%2B`.",
    example=("UTC", "2026-03-01T00:00:00Z"),
)
KNOWN_AT = Parameter(
    "known_at",
    OpenApiTypes.DATETIME,
    parse=Query.known_at,
    description="Count what had been written by then; everything if left out.",
    example=("With an offset", "2100-01-01T00:00:00+02:00"),
)
CERTAINTY = Parameter(
    "certainty",
    enum=CERTAINTIES,
    parse=optional(parse_certainty),
    description="Only intents that have it; all if left out.",
    example=("Certain", "CERTAIN_YES"),
)
REASON = Parameter(
    "reason",
    parse=optional(parse_reason),
    description="Only intents with this reason; all if left out.",
    example=("A reason", "COMPLETED"),
)
EFFECTIVE_AFTER = Parameter(
    "effective_after",
    OpenApiTypes.DATETIME,
    parse=optional(parse_timestamp),
    description="Only what became true at this moment or later.",
    example=("From 2014 on", "2014-01-01T00:00:00Z"),
)
EFFECTIVE_BEFORE = Parameter(
    "effective_before",
    OpenApiTypes.DATETIME,
    parse=optional(parse_timestamp),
    description="Only what became true before this moment; not what became true at it.",
    example=("Until the end of 2014", "2015-01-01T00:00:00Z"),
)
SINCE = Parameter(
    "since",
    OpenApiTypes.DATETIME,
    parse=optional(parse_timestamp),
    description="Only what was erased at this moment or later; all if left out. A `+` in it is written `%2B`.",
    example=("A day before the last time", "2026-02-28T00:00:00Z"),
)
AFTER_LEARNER = Parameter(
    "after",
    LEARNER_TYPE,
    parse=lambda query, learner: None if learner is None else query.caller.key(learner)[1],
    description="Only learners behind this one, named by the host's `LEARNER_LOOKUP_FIELD`.",
    example=("By primary key", LEARNER_OF_EXAMPLES),
)
AFTER_CHANGES = Parameter(
    "after",
    description="The `cursor` of the answer before; from the beginning if left out.",
    example=("Behind the first intent", "1.1"),
)
CURSOR = Parameter(
    "cursor",
    description="From `next` or `previous` of a page, such as `after-58051`; the first page if left out.",
)
LIMIT = Parameter(
    "limit",
    OpenApiTypes.INT,
    parse=lambda query, text: parse_limit(text),
    description="How many are on a page: 100 if left out, at most `MAX_BATCH_SIZE`.",
    example=("A small page", 20),
)
STRICT = Parameter(
    "strict",
    OpenApiTypes.BOOL,
    parse=lambda query, text: parse_switch(text),
    description="If true, an array of which a row was rejected is answered 422, with the same body; the good are kept.",
    example=("For tools that take every 2xx for success", True),
)
IN_QUERY_BODY = tuple(ProgramIntentQuerySerializer().fields)
EVERY = (
    LEARNER,
    PROGRAMS,
    CERTAINTY,
    REASON,
    EFFECTIVE_AFTER,
    EFFECTIVE_BEFORE,
    AS_OF,
    KNOWN_AT,
    SINCE,
    AFTER_LEARNER,
    CURSOR,
    LIMIT,
)


class ProgramIntentQueryErrorsSerializer(ErrorsSerializer):
    """Parameter to messages, also of an unknown one; `non_field_errors` where the query as a whole is refused."""

    names = (*(each.name for each in EVERY), *IN_QUERY_BODY)
