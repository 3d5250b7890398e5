"""What all calls share: who is let in, and the shape of errors."""

from typing import Any

from django.apps import apps
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from rest_framework.exceptions import APIException, ParseError, ValidationError
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.schemas import DefaultSchema
from rest_framework.views import APIView

from program_intent.exceptions import ChangesError, InvalidIntent
from program_intent.rest_api.parsers import FormParser, JSONParser, MultiPartParser


class BodyTooLarge(APIException):
    status_code = 413
    default_code = "too_large"


class NotFollowable(APIException):
    status_code = 503
    default_code = "not_followable"


class _DescribedSchema(DefaultSchema):
    """Attaches what ``openapi`` says of a view when it is first asked for: ten times as slow to load as the rest."""

    def __get__(self, instance: Any, owner: Any) -> Any:
        from program_intent.rest_api import openapi

        openapi.describe(owner)
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
