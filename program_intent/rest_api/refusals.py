"""What several operations answer when they refuse, as drf-spectacular says it."""

from drf_spectacular.utils import OpenApiExample, OpenApiResponse

from program_intent.rest_api.parameters import ProgramIntentQueryErrorsSerializer
from program_intent.rest_api.serializers import ProgramIntentDetailSerializer


def detail(description: str, name: str, text: str) -> OpenApiResponse:
    return OpenApiResponse(ProgramIntentDetailSerializer, description, [OpenApiExample(name, {"detail": text})])


OF_EVERY_CALL = {
    401: detail("Not signed in", "Not signed in", "Authentication credentials were not provided."),
    406: detail(
        "None of the host's renderers gives what `Accept` asks for",
        "Not acceptable",
        "Could not satisfy the request Accept header.",
    ),
    429: detail(
        "More calls than the host's throttling lets pass; `Retry-After` says for how many seconds",
        "Throttled",
        "Request was throttled. Expected available in 5 seconds.",
    ),
}
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
    return OpenApiResponse(ProgramIntentQueryErrorsSerializer, description, [OpenApiExample(name, errors)])
