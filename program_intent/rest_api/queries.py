"""What an operation is asked: a request, who asks, and the values of the parameters that it takes."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial, wraps
from typing import Any

from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiExample, OpenApiParameter
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.views import APIView

from program_intent.read.parameters import Parameters, read_from
from program_intent.rest_api.callers import VIEW, Caller
from program_intent.validation.values import REQUIRED


class Query(Parameters):
    """A request and who asks; ``check`` refuses together what is wrong with the values of its parameters."""

    def __init__(self, request: Request, caller: Caller) -> None:
        super().__init__(caller.using)
        self.request, self.caller = request, caller

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
        super().__init__(name, type, examples=[OpenApiExample(*example)], **described)
        self.parse = parse


def optional(parse: Callable[[str], Any]) -> Callable[[Query, str | None], Any]:
    return lambda query, text: None if text is None else parse(text)


def operation(
    name: str, *parameters: Parameter, permission: str = VIEW, using: Callable[[], str] = read_from
) -> Callable[[Callable[..., HttpResponseBase]], Callable[..., HttpResponseBase]]:
    """Hands a view's method the query that a request is, and the value of each parameter by its name.

    ``openapi`` describes the operation by that name; the permission is what naming other learners needs.
    """

    def decorated(method: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        @wraps(method)
        def handle(view: APIView, request: Request, **path: str) -> HttpResponseBase:
            query = Query(request, Caller(request.user, permission=permission, using=using()))
            return method(view, query, **query.values(parameters, path))

        handle.operation, handle.parameters = name, parameters  # type: ignore[attr-defined]
        return handle

    return decorated
