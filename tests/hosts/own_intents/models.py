from django.db import models

from program_intent.models import ProgramIntent


class ProxyIntent(ProgramIntent):
    class Meta:
        proxy = True


class ChildIntent(ProgramIntent):
    note = models.TextField()
