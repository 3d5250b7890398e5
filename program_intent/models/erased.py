"""Who was erased, so that nothing brings back what is to be forgotten."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connections, models
from django.db.models.signals import pre_save
from django.dispatch import receiver
from django.utils.translation import gettext_lazy as _

from program_intent.models.fields import CodePointCharField
from program_intent.validation.times import is_told
from program_intent.validation.values import LONGEST_BY


class ErasedLearner(models.Model):
    """A learner, by primary key, of whom nothing is stored that was in effect by ``key_until``.

    .. pii: the primary key of somebody who was erased, and who erased them
    .. pii_types: id, username
    .. pii_retirement: retained
    """

    learner = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        primary_key=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="+",
        help_text=_("The key of the user, who may be gone."),
    )
    key_until = models.DateTimeField(null=True, help_text=_("Intents in effect by then are refused; null: all."))
    erased = models.DateTimeField(db_index=True, help_text=_("When it was last done."))
    intents = models.BigIntegerField(default=0, help_text=_("How many were erased, in all."))
    by = models.CharField(max_length=LONGEST_BY, help_text=_("Who did it last."))

    class Meta:
        default_permissions = ("view",)
        permissions = [("erase_learner", "Can erase a learner's program intents")]
        verbose_name = _("erased learner")

    def __str__(self) -> str:
        return f"#{self.pk}"

    def strengthen(self, using: str) -> None:
        """Take over from the stored row what is stronger there."""
        stored = _rows(ErasedLearner, using).filter(pk=self.pk).first()
        is_for_ever = stored and stored.key_until is None
        self.key_until = None if is_for_ever else _latest(self, "key_until", stored)
        self.erased = _latest(self, "erased", stored)
        if stored:
            self.intents = max(self.intents, stored.intents)
            self.by = stored.by if self.erased == stored.erased else self.by


class ErasedName(models.Model):
    """What an erased learner was called, as a keyed hash: whoever reads the table learns no name.

    ``erased`` is null where nobody bore the name, and it was erased alone.

    .. pii: keyed hashes of the names of somebody who was erased
    .. pii_types: username, email_address, external_service, other
    .. pii_retirement: retained
    """

    id = models.BigAutoField(primary_key=True)
    erased = models.ForeignKey(
        ErasedLearner, on_delete=models.CASCADE, null=True, db_constraint=False, related_name="names"
    )
    field = models.CharField(max_length=255)
    hash = CodePointCharField(max_length=64, help_text=_("HMAC-SHA256 of the field and the name."))
    key_id = models.CharField(max_length=8, help_text=_("Which key it was made with."))
    until = models.DateTimeField(help_text=_("Intents of that name in effect by then are refused."))

    class Meta:
        default_permissions = ()
        # Whether a name that a row brings was erased.
        indexes = [models.Index(fields=["hash"], name="program_intent_erased_hash")]

    def __str__(self) -> str:
        return f"#{self.pk}"

    def strengthen(self, using: str) -> None:
        """Take over from the stored row of the same name what is stronger there; another's keeps its number."""
        rows = _rows(ErasedName, using)
        stored = rows.filter(erased_id=self.erased_id, field=self.field, hash=self.hash).first()
        if stored:
            self.pk = stored.pk
        elif rows.filter(pk=self.pk).exists():
            self.pk = 1 + ErasedName.objects.using(using).latest("pk").pk
        self.until = _latest(self, "until", stored)


def _rows(model: type[models.Model], using: str) -> "models.QuerySet[Any]":
    """Kept from those who erase meanwhile, where the fixture is loaded in a transaction."""
    rows = model._base_manager.using(using)
    return rows.select_for_update() if connections[using].in_atomic_block else rows


def _latest(told: models.Model, name: str, stored: models.Model | None) -> Any:
    """The later moment; of one that JSON may have cut to milliseconds, the last that it may have been."""
    field: Any = told._meta.get_field(name)
    moment, before = field.get_prep_value(getattr(told, name)), stored and getattr(stored, name)
    if moment is None:  # for ever
        return None
    if is_told(before, moment):
        return before
    if moment.microsecond % 1000 == 0:
        moment += timedelta(microseconds=999)
    return max(moment, before or moment)


@receiver(pre_save, sender=ErasedLearner)
@receiver(pre_save, sender=ErasedName)
def only_strengthen(instance: ErasedLearner | ErasedName, raw: bool, using: str, **kwargs: Any) -> None:
    """A fixture may be older than what is stored, or JSON, which cuts times: nothing is forgotten less after it."""
    if raw:
        instance.strengthen(using)
