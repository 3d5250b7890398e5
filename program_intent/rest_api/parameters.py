"""The parameters of the calls, each said once: for its parsing, for the schema and for the names of errors."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from program_intent.parameters import Parameters
from program_intent.rest_api.callers import Caller
from program_intent.rest_api.examples import CHANGES, NEW
from program_intent.rest_api.pages import parse_limit
from program_intent.rest_api.serializers import CERTAINTIES, ErrorsSerializer, LearnersQuerySerializer
from program_intent.validation import REQUIRED, parse_certainty, parse_reason, parse_timestamp, parse_uuid


class Query(Parameters):
    """A request and who asks; ``check`` refuses together what is wrong with the values of its parameters."""

    def __init__(self, request: Request, caller: Caller) -> None:
        super().__init__(caller.using)
        self.request = request
        self.caller = caller

    def values(self, parameters: Iterable["Parameter"], path: Mapping[str, str]) -> dict[str, Any]:
        """The value of each parameter by its name.

        :raises ValidationError: one is missing, or given more often than it may be.
        """
        given = self.request.query_params
        texts = {each: [path[each.name]] if each.name in path else given.getlist(each.name) for each in parameters}
        repeated = {
            each.name: [f"Expected one value, not {len(found)}."]
            for each, found in texts.items()
            if len(found) > 1 and not each.many
        }
        if repeated:
            raise ValidationError(repeated)
        return {each.name: self._value(each, found) for each, found in texts.items()}

    def _value(self, parameter: "Parameter", texts: list[str]) -> Any:
        if parameter.required and not texts:
            raise ValidationError({parameter.name: [REQUIRED]})
        given = texts if parameter.many else next(iter(texts), None)
        return self.parsed(parameter.name, partial(parameter.parse, self), given)


class Parameter(OpenApiParameter):
    """What the schema says of a parameter, and how a query parses its text: None if it was left out, a list if many.

    Without a parser the text is handed on as it is.
    """

    def __init__(
        self,
        name: str,
        type: Any = str,
        *,
        parse: Callable[[Query, Any], Any] = lambda query, text: text,
        example: tuple[str, Any],
        **described: Any,
    ) -> None:
        title, value = example
        super().__init__(name, type, examples=[OpenApiExample(title, value=value)], **described)
        self.parse = parse


def _optional(parse: Callable[[str], Any]) -> Callable[[Query, str | None], Any]:
    return lambda query, text: None if text is None else parse(text)


LEARNER = Parameter(
    "learner",
    parse=lambda query, learner: query.caller.asked(learner),
    description=(
        "The user, named by the host's `LEARNER_LOOKUP_FIELD`; the caller if left out. Others need the permission"
        " `program_intent.view_programintent`."
    ),
    example=("By primary key", "7"),
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
    example=("With an offset", "2026-03-01T02:00:00+02:00"),
)
CERTAINTY = Parameter(
    "certainty",
    enum=CERTAINTIES,
    parse=_optional(parse_certainty),
    description="Only intents that have it; all if left out.",
    example=("Certain", "CERTAIN_YES"),
)
REASON = Parameter(
    "reason",
    parse=_optional(parse_reason),
    description="Only intents with this reason; all if left out.",
    example=("A reason", "BUNDLE_PURCHASE"),
)
EFFECTIVE_AFTER = Parameter(
    "effective_after",
    OpenApiTypes.DATETIME,
    parse=_optional(parse_timestamp),
    description="Only what became true at this moment or later.",
    example=("From February on", "2026-02-01T00:00:00Z"),
)
EFFECTIVE_BEFORE = Parameter(
    "effective_before",
    OpenApiTypes.DATETIME,
    parse=_optional(parse_timestamp),
    description="Only what became true before this moment; not what became true at it.",
    example=("Until the end of February", "2026-03-01T00:00:00Z"),
)
AFTER_LEARNER = Parameter(
    "after",
    parse=lambda query, learner: None if learner is None else query.caller.key(learner)[1],
    description="Only learners behind this one, named by the host's `LEARNER_LOOKUP_FIELD`.",
    example=("By primary key", "7"),
)
AFTER_CHANGES = Parameter(
    "after",
    description="The `cursor` of the answer before; from the beginning if left out.",
    example=("Going on", CHANGES["cursor"]),
)
CURSOR = Parameter(
    "cursor",
    description="From `next` or `previous` of a page; the first page if left out.",
    example=("Older than an intent", "after-58051"),
)
LIMIT = Parameter(
    "limit",
    OpenApiTypes.INT,
    parse=lambda query, text: parse_limit(text),
    description="How many are on a page: 100 if left out, at most `MAX_BATCH_SIZE`.",
    example=("A small page", 20),
)
EVERY = (
    LEARNER,
    PROGRAMS,
    CERTAINTY,
    REASON,
    EFFECTIVE_AFTER,
    EFFECTIVE_BEFORE,
    AS_OF,
    KNOWN_AT,
    AFTER_LEARNER,
    CURSOR,
    LIMIT,
)


class ProgramIntentQueryErrorsSerializer(ErrorsSerializer):
    """Parameter to messages; `non_field_errors` where the query as a whole is refused."""

    names = (*(each.name for each in EVERY), *LearnersQuerySerializer().fields)
