"""One sync of a source at a time, on every engine and over poolers: a lease on the row of its checkpoint."""

from concurrent.futures import Future
from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.db.models import Q

from program_intent.engines.generic import UtcNow
from program_intent.exceptions import SyncBusy
from program_intent.intake.runs import stop_left
from program_intent.models import Checkpoint

# By the clock of the database. A run that was killed keeps others out for so long.
LEASE = timedelta(minutes=10)
# Seconds between two renewals while a warehouse thinks.
RENEWED_AFTER = 60


class Lease:
    """The right to move a checkpoint, until it is released, runs out or is taken over."""

    def __init__(self, source: str, *, using: str) -> None:
        self._source = source
        self._owner = uuid4().hex
        self._rows = Checkpoint.objects.using(using)

    def take(self, *, by: str, take_over: bool) -> Checkpoint:
        """:raises SyncBusy: another run has it."""
        self._rows.get_or_create(source=self._source)
        is_free = Q() if take_over else Q(lease_until=None) | Q(lease_until__lt=UtcNow())
        found = self._rows.filter(is_free, source=self._source)
        if not found.update(owner=self._owner, lease_until=UtcNow() + LEASE):
            raise SyncBusy(f"{self._source}: another run is at work; --take-over ends it.")
        checkpoint = self._rows.get(source=self._source)
        stop_left(checkpoint.run_id, using=self._rows.db, message=f"Taken over by {by}.")
        return checkpoint

    def write(self, **values: Any) -> None:
        """Renew it, and write what else is given.

        :raises SyncBusy: it is another's by now.
        """
        mine = self._rows.filter(source=self._source, owner=self._owner)
        if not mine.update(**{"lease_until": UtcNow() + LEASE, **values}):
            raise SyncBusy(f"{self._source}: another run has taken it over.")

    def release(self, **values: Any) -> None:
        """Write what else is given, if it is still ours."""
        self._rows.filter(source=self._source, owner=self._owner).update(owner="", lease_until=None, **values)

    def waiting(self, made: "Future[Any]") -> Any:
        """What another thread makes; renewed while that takes long."""
        while True:
            try:
                return made.result(RENEWED_AFTER)
            except TimeoutError:
                if made.done():  # its own
                    raise
                self.write()
