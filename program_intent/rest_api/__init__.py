"""The optional REST layer; a host includes ``program_intent.rest_api.urls`` under a prefix of its choice."""

from django.core.exceptions import ImproperlyConfigured

try:
    import drf_spectacular  # noqa: F401
    import rest_framework  # noqa: F401
except ModuleNotFoundError as error:
    raise ImproperlyConfigured(
        f"program_intent.rest_api cannot be used ({error}): pip install 'program-intent[rest]'"
    ) from error
