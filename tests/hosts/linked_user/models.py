from django.contrib.auth.models import AbstractBaseUser
from django.db import models


class Person(models.Model):
    code = models.CharField(primary_key=True, max_length=20)

    def __str__(self) -> str:
        return self.code


class Learner(AbstractBaseUser):
    """Its primary key is the link to a person, who is named by a text."""

    person = models.OneToOneField(Person, models.CASCADE, primary_key=True)
    username = models.CharField(max_length=20, unique=True)

    USERNAME_FIELD = "username"
