"""What an operation is asked: a request, who asks, and the values of the parameters that it takes."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial, wraps
from typing import Any

from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiExample, OpenApiParameter
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from program_intent import conf
from program_intent.read.parameters import Parameters, read_from
from program_intent.rest_api.callers import VIEW, Caller
from program_intent.validation.values import REQUIRED, Refused, shown, unknown_names


class Query(Parameters):
    """A request and who asks; ``check`` refuses together what is wrong with the values of its parameters."""

    def __init__(self, request: Request, caller: Caller) -> None:
        super().__init__(caller.using)
        self.request, self.caller = request, caller

    def values(self, parameters: Sequence["Parameter"], path: Mapping[str, str]) -> dict[str, Any]:
        """The value of each parameter by its name.

        :raises ValidationError: one is missing, unknown, or given more often than it may be.
        """
        given = self.request.query_params
        known = [each.name for each in parameters if each.name not in path]
        refuse_unknown(given, known, api_settings.URL_FORMAT_OVERRIDE)
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


def refuse_unknown(given: Iterable[str], known: Collection[str], *ignored: str | None) -> None:
    """:raises ValidationError: with a message under each name that is neither known nor ignored."""
    taken = {*known, *ignored, *conf.ignored_parameters()}
    if unknown := [name for name in given if name not in taken]:
        raise ValidationError(unknown_names(unknown, known))


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
        example: tuple[str, Any] | None = None,
        **described: Any,
    ) -> None:
        super().__init__(name, type, examples=[OpenApiExample(*example)] if example else [], **described)
        self.parse = parse


def optional(parse: Callable[[str], Any]) -> Callable[[Query, str | None], Any]:
    return lambda query, text: None if text is None else parse(text)


def parse_switch(text: str | None) -> bool:
    """Off if left out."""
    if text is None or text.lower() in ("true", "false"):
        return text is not None and text.lower() == "true"
    raise Refused(f"Expected true or false, not {shown(text)}.")


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
