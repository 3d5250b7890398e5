"""What keeps an admin of intents from changing any."""

from typing import Any

from django.http import HttpRequest


class ReadOnlyIntents:
    """For a host's inline of intents, before Django's class: it shows them to whoever may view intents."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
