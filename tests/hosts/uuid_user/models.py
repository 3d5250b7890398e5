from uuid import uuid4

from django.contrib.auth.models import AbstractBaseUser
from django.db import models


class Learner(AbstractBaseUser):
    key = models.UUIDField(primary_key=True, default=uuid4)
    username = models.CharField(max_length=150, unique=True)
    lms_user_id = models.PositiveIntegerField(unique=True, null=True)

    USERNAME_FIELD = "username"
