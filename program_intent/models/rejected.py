"""What a source brought and was refused, once, until it comes in or is forgotten."""

from django.db import models

from program_intent.models.fields import CodePointCharField


class RejectedIntent(models.Model):
    """The five values as they were read, as texts, and never more of what brought them.

    Of a message that cannot be read there are none.

    .. pii: names a learner as the source does, with the program they may mean to complete; goes with an erasure of
        that name or key, and is forgotten after REJECTED_KEPT_DAYS
    .. pii_types: id, username, email_address, other
    .. pii_retirement: local_api
    """

    id = models.BigAutoField(primary_key=True)
    source = CodePointCharField(max_length=255)
    key = models.CharField(max_length=64, help_text="SHA-256 of the five values; an unreadable message's id.")
    learner_field = models.CharField(max_length=255)
    learner = models.TextField()
    program_uuid = models.TextField()
    reason = models.TextField()
    certainty = models.TextField()
    effective_timestamp = models.TextField()
    error = models.TextField()
    attempts = models.PositiveIntegerField(default=1)
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField(help_text="Written once a day at most.")

    class Meta:
        default_permissions = ("view",)
        verbose_name = "rejected program intent"
        constraints = [
            # "Once": a row that a sync meets again every night is not new.
            models.UniqueConstraint(fields=["source", "key"], name="program_intent_rejected_once"),
        ]

    def __str__(self) -> str:
        return f"#{self.pk}"
