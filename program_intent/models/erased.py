"""Who was erased, so that nothing brings back what is to be forgotten."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from program_intent.models.fields import CodePointCharField
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
