"""Fields of the record. Migrations name these classes, so they stay where they are, for ever."""

from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from program_intent import engines

if TYPE_CHECKING:  # generic for the type checker only
    CharField = models.CharField[str, str]
else:
    CharField = models.CharField


class CodePointCharField(CharField):
    """A text compared and sorted by code point, whatever the collation of the database."""

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        return {**super().db_parameters(connection), "collation": engines.code_points(connection)}
