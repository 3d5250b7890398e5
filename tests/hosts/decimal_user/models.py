from decimal import Decimal
from itertools import count

from django.contrib.auth.models import AbstractBaseUser
from django.db import models

_numbers = count(1)


def next_key() -> Decimal:
    return next(_numbers) + Decimal("0.50")


class Learner(AbstractBaseUser):
    key = models.DecimalField(primary_key=True, max_digits=20, decimal_places=2, default=next_key)
    username = models.CharField(max_length=150, unique=True)
    born = models.DateField(unique=True, null=True)
    rises = models.TimeField(unique=True, null=True)

    USERNAME_FIELD = "username"
