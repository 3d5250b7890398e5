from django.contrib.auth.models import User
from django.db import models

from program_intent.models import ProgramIntent


class ProxyIntent(ProgramIntent):
    class Meta:
        proxy = True


class ChildIntent(ProgramIntent):
    note = models.TextField()


class Student(User):
    """Its primary key is another number than that of the user it is."""

    sid = models.BigAutoField(primary_key=True)
    user = models.OneToOneField(User, models.CASCADE, parent_link=True)
