"""Who brought what, when, with what result."""

from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from program_intent.data import RunKind, RunStatus, RunSummary
from program_intent.validation.values import LONGEST_BY

if TYPE_CHECKING:  # generic for the type checker only
    JSONField = models.JSONField[Any, Any]
else:
    JSONField = models.JSONField

# A batch is stored within seconds, and a warehouse that thinks renews its lease each minute.
SILENCE = timedelta(minutes=10)


def _choices(values: Any) -> list[tuple[str, str]]:
    return [(each.value, each.value) for each in values]


class Run(models.Model):
    """A load, a sync, a consumption of events or a retry.

    Its counts are written in the transactions of its batches, so they are true whenever it dies. Its intents are those
    that name it, with keys behind ``first_key`` up to ``last_key``: found without an index of their own.

    .. pii: names who started it, where a person did
    .. pii_types: username
    .. pii_retirement: retained
    """

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=9, choices=_choices(RunKind))
    source = models.CharField(max_length=255, help_text=_("The name of the source or topic; empty for files."))
    files = JSONField(
        default=list,
        help_text=_("Of each file its name, and its bytes and their SHA-256 as stored, null if not read to the end."),
    )
    by = models.CharField(max_length=LONGEST_BY, help_text=_("Who started it."))
    started = models.DateTimeField()
    updated = models.DateTimeField(help_text=_("When it was last heard of."))
    finished = models.DateTimeField(null=True)
    status = models.CharField(max_length=8, choices=_choices(RunStatus), default=RunStatus.RUNNING.value)
    read = models.BigIntegerField(default=0)
    created = models.BigIntegerField(default=0, help_text=_("How many intents were new then."))
    duplicate = models.BigIntegerField(default=0)
    rejected = models.BigIntegerField(default=0)
    erased = models.BigIntegerField(
        default=0, help_text=_("How many were left out, because their learners were erased.")
    )
    message = models.TextField(help_text=_("Why it stopped."))
    first_key = models.BigIntegerField(help_text=_("The highest key of an intent before its first batch."))
    last_key = models.BigIntegerField(help_text=_("The highest key of an intent in its last batch."))

    class Meta:
        default_permissions = ("view",)
        # Every check would ask SQLite for it otherwise, in a transaction, and fail while somebody writes for longer.
        required_db_features = ("supports_json_field",)
        verbose_name = _("program intent run")

    def __str__(self) -> str:
        """Neither source nor person: whoever may view an intent sees it."""
        return f"#{self.pk}"

    @property
    def what(self) -> str:
        """The source or topic, or the names of the files."""
        return self.source or ", ".join(file["name"] for file in self.files)

    def summary(self) -> RunSummary:
        return RunSummary(self.pk, RunKind(self.kind), self.what, self.by, self.started.astimezone(UTC))

    @property
    def is_silent(self) -> bool:
        """Whether it is said to be at work and was not heard of for ten minutes: it was probably killed."""
        return self.status == RunStatus.RUNNING and timezone.now() - self.updated >= SILENCE

    @property
    def told_status(self) -> str:
        if not self.is_silent:
            return self.status
        return f"{self.status}, no news for {(timezone.now() - self.updated) // timedelta(minutes=1):,} minutes"
