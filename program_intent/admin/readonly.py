"""What keeps an admin of intents from changing any."""

from typing import Any, NoReturn

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

from program_intent.models import ProgramIntent

# The template of a form without the way to its history: nothing is changed there.
NO_HISTORY = "program_intent/admin/change_form.html"


class ReadOnlyIntents:
    """For a host's admin or inline of intents, before Django's class: it shows them to whoever may view intents."""

    model: Any

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever may delete a user may delete that user's intents with them: the user's admin asks about each.

        Nothing else comes of it: there is no delete button, page or action, and an inline is asked about the object
        that it is part of.
        """
        return isinstance(obj, ProgramIntent) and isinstance(obj, self.model)

    def delete_view(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise PermissionDenied

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = {**(extra_context or {}), "show_delete": False}
        response: HttpResponse = super().change_view(request, object_id, form_url, context)  # type: ignore[misc]  # of an admin; an inline has no page
        return response
