"""What all calls share: who is let in, what is read, and the shape of errors."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from django.apps import apps
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.db import router
from django.http import QueryDict
from rest_framework.exceptions import APIException, ParseError, PermissionDenied, ValidationError
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.schemas import DefaultSchema
from rest_framework.views import APIView

from program_intent.exceptions import ChangesError, InvalidIntent
from program_intent.models import ProgramIntent
from program_intent.rest_api.parsers import FormParser, JSONParser, MultiPartParser
from program_intent.rest_api.permissions import VIEW, Caller
from program_intent.validation import Refused

T = TypeVar("T")


class BodyTooLarge(APIException):
    status_code = 413
    default_code = "too_large"


class NotFollowable(APIException):
    status_code = 503
    default_code = "not_followable"


class _DescribedSchema(DefaultSchema):
    """Attaches what ``openapi`` says of the views when it is first asked for: it takes as long to load as the rest."""

    def __get__(self, instance: Any, owner: Any) -> Any:
        import_module("program_intent.rest_api.openapi")
        return super().__get__(instance, owner)


class IntentsView(APIView):
    schema = _DescribedSchema()
    permission_classes = [IsAuthenticated]  # the host's default may be AllowAny
    parser_classes = [JSONParser, FormParser, MultiPartParser]
    versioning_class = None  # the version is in the path

    def get_renderers(self) -> list[BaseRenderer]:
        """The host's, but for pages whose templates a host without ``rest_framework`` among its apps does not find."""
        renderers = super().get_renderers()
        if apps.is_installed("rest_framework"):
            return renderers
        return [renderer for renderer in renderers if not isinstance(renderer, BrowsableAPIRenderer)]

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Keep every answer out of caches that others are served from, and have it asked for each time."""
        response.headers.setdefault("Cache-Control", "private, no-cache")
        return super().finalize_response(request, response, *args, **kwargs)

    def handle_exception(self, exc: Exception) -> Response:
        """Give an unreadable request, and what the API refuses, the same shape of 400 as a refused value."""
        if isinstance(exc, RequestDataTooBig):
            exc = BodyTooLarge(str(exc))
        elif isinstance(exc, ParseError | TooManyFieldsSent | TooManyFilesSent):
            exc = ValidationError({"non_field_errors": [str(exc)]})
        elif isinstance(exc, InvalidIntent):
            exc = ValidationError(exc.errors)
        elif isinstance(exc, ChangesError):
            exc = NotFollowable(str(exc))
        return super().handle_exception(exc)


def reader(request: Request) -> Caller:
    return Caller(request.user, permission=VIEW, using=router.db_for_read(ProgramIntent))


def asked_learner(caller: Caller, learner: str | None) -> tuple[Any, Any]:
    """The name and the primary key of the learner that is asked about, the caller if None."""
    if not caller.may_name(learner):
        raise PermissionDenied(caller.refusal)
    try:
        return caller.key(learner)
    except Refused as refused:
        raise ValidationError({"learner": [str(refused)]}) from None


def single_values(parameters: QueryDict, *names: str) -> list[str | None]:
    counts = {name: len(parameters.getlist(name)) for name in names}
    repeated = {name: [f"Expected one value, not {n}."] for name, n in counts.items() if n > 1}
    if repeated:
        raise ValidationError(repeated)
    return [parameters.get(name) for name in names]


def optional(parse: Callable[[Any], T]) -> Callable[[Any], T | None]:
    """None for a parameter that was left out."""
    return lambda value: None if value is None else parse(value)
