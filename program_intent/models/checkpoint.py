"""How far a source has been read, and who is reading it."""

from django.db import models

from program_intent.models.fields import CodePointCharField
from program_intent.models.run import Run


class Checkpoint(models.Model):
    """One row per source of a warehouse; all below its cursor is stored.

    ``lease_until`` is by the clock of this database, the only one that all who sync share.

    .. no_pii:
    """

    id = models.BigAutoField(primary_key=True)
    source = CodePointCharField(max_length=255, unique=True)
    cursor = models.TextField()
    # SHA-256 of what the cursor is of: another query's is worth nothing.
    query = models.CharField(max_length=64)
    owner = models.CharField(max_length=32)
    lease_until = models.DateTimeField(null=True)
    run = models.ForeignKey(
        Run, on_delete=models.SET_NULL, null=True, db_constraint=False, db_index=False, related_name="+"
    )
    # When a sync last came to its end, also one that found nothing, and when what was refused was last tried again.
    checked = models.DateTimeField(null=True)
    retried = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.source
