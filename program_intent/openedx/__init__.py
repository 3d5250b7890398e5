"""A home in Open edX: an LMS or a credentials service that installs the package has the app. Imports none of theirs."""

from importlib.util import find_spec


def missing_for_rest() -> list[str]:
    """The packages of the extra ``rest`` that are not installed; imports none of them."""
    return [name for name in ("rest_framework", "drf_spectacular") if find_spec(name) is None]
