from typing import Any
from uuid import uuid4

from django.contrib.auth.models import AbstractBaseUser
from django.db import models


class Badge(models.CharField):  # type: ignore[type-arg]  # generic for the type checker only
    """Stored otherwise than it is named, as encrypted fields are."""

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else f"badge {value}"

    def from_db_value(self, value: Any, *args: object) -> Any:
        return None if value is None else value.removeprefix("badge ")


class Learner(AbstractBaseUser):
    key = models.UUIDField(primary_key=True, default=uuid4)
    username = models.CharField(max_length=150, unique=True)
    badge = Badge(max_length=50, unique=True, null=True)
    met = models.DateTimeField(unique=True, null=True)
    score = models.DecimalField(unique=True, null=True, max_digits=8, decimal_places=3)
    card = models.JSONField(null=True)
    lms_user_id = models.PositiveIntegerField(unique=True, null=True)

    USERNAME_FIELD = "username"
