from django.contrib.auth.models import AbstractBaseUser
from django.db import models


class User(AbstractBaseUser):
    """Has a key of its own, and that of the LMS as credentials has it: neither unique nor always there."""

    username = models.CharField(max_length=150, unique=True)
    lms_user_id = models.IntegerField(null=True, db_index=True)
    is_service = models.BooleanField(default=False)

    USERNAME_FIELD = "username"

    def has_perm(self, permission: str) -> bool:
        return self.is_service
