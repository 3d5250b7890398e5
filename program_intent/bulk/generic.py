"""Any database, through Django's ORM alone: slow, plain, and the reference that the others are tested against."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from program_intent.exceptions import InvalidIntent
from program_intent.models import ProgramIntent
from program_intent.validation import NewIntent

CHUNK = 10_000


def speller(connection: BaseDatabaseWrapper) -> Callable[..., Iterator[NewIntent]]:
    return lambda *columns: map(NewIntent, *columns)


def prepare(
    rows: Sequence[NewIntent], connection: BaseDatabaseWrapper, *, all_new: bool = False
) -> Sequence[NewIntent]:
    return rows


def insert(connection: BaseDatabaseWrapper, rows: Sequence[NewIntent], created: datetime) -> set[int]:
    return {key for row in rows if (key := _insert_one(connection, row, created)) is not None}


def count_inserted(
    connection: BaseDatabaseWrapper, rows: Sequence[NewIntent], created: datetime
) -> tuple[int, set[int]]:
    new = len(insert(connection, rows, created))
    return new, {position for position, row in enumerate(rows) if not _same(connection, row)}


def stored(connection: BaseDatabaseWrapper, rows: Sequence[NewIntent]) -> list[tuple[int, int, datetime]]:
    found = ((position, _same(connection, row)) for position, row in enumerate(rows))
    return [(position, intent.pk, intent.created) for position, intent in found if intent]


def unknown(connection: BaseDatabaseWrapper, rows: Sequence[NewIntent]) -> set[int]:
    users = get_user_model()._base_manager.using(connection.alias)
    return {
        position
        for position, row in enumerate(rows)
        if row.learner not in users.filter(pk=row.learner).values_list("pk", flat=True) and not _same(connection, row)
    }


def _same(connection: BaseDatabaseWrapper, row: NewIntent) -> ProgramIntent | None:
    learner, program_uuid, reason, certainty, effective_timestamp = row
    found = ProgramIntent.objects.using(connection.alias).filter(
        learner_id=learner,
        program_uuid=program_uuid,
        reason=reason,
        certainty=certainty,
        effective_timestamp=effective_timestamp,
    )
    # A collation may take another learner's key for this one.
    return next((intent for intent in found if intent.learner_id == learner), None)


def _insert_one(connection: BaseDatabaseWrapper, row: NewIntent, created: datetime) -> int | None:
    learner, program_uuid, reason, certainty, effective_timestamp = row
    intent = ProgramIntent(
        learner_id=learner,
        program_uuid=program_uuid,
        reason=reason,
        certainty=certainty,
        effective_timestamp=effective_timestamp,
        created=created,
    )
    try:
        with transaction.atomic(using=connection.alias):
            intent.save(using=connection.alias)
    except (IntegrityError, InvalidIntent):  # stored already; no such learner
        return None
    return intent.pk
