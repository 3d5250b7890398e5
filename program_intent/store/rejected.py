"""The rows that were refused and name somebody who is erased: they go, too."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Q

from program_intent.models import RejectedIntent
from program_intent.store import erased_names
from program_intent.store.erased_names import ErasedNames, Names
from program_intent.validation.learners import Learners

_ROWS = 500


def forget_rejected(names: Names, using: str) -> None:
    _drop(list(rejected_of(names, using=using)), using)


def rejected_of(names: Names, *, using: str) -> Iterator[int]:
    """The keys of the rows that were refused and name the learner so; ``pk`` is the field of the primary key."""
    meant: dict[str, tuple[Learners, list[Any]]] = {}
    where = Q()
    for field, name in names:
        learners = Learners(field, using)
        # A part of the text that each spelling has: of a UUID, of a number with spaces around it; of 1.500 none has.
        part = str(name)[:8] if isinstance(name, str | int | UUID) else ""
        for called in _calls_of(learners):
            meant.setdefault(called, (learners, []))[1].append(name)
            where |= Q(learner_field=called, learner__icontains=part)
    rows = RejectedIntent.objects.using(using).filter(where) if meant else RejectedIntent.objects.none()
    for pk, called, text in rows.values_list("pk", "learner_field", "learner"):
        learners, found = meant[called]
        if erased_names.parsed(text, learners) in found:
            yield pk


def _calls_of(learners: Learners) -> set[str]:
    """What the field is called in rows that were refused: the primary key has several names."""
    keys = {field.name for field in get_user_model()._meta.concrete_fields if field.primary_key}
    return {"pk", *keys} if learners.are_named_by_key else {learners.field}


def _drop(keys: list[int], using: str) -> None:
    for start in range(0, len(keys), _ROWS):
        RejectedIntent.objects.using(using).filter(pk__in=keys[start : start + _ROWS]).delete()


def forget_rejected_of_erased(*, using: str, dry_run: bool = False) -> int:
    """Drop the rows that were refused and name somebody who was erased; how many."""
    found = list(_of_erased(using))
    if not dry_run:
        _drop(found, using)
    return len(found)


def _of_erased(using: str) -> Iterator[int]:
    rejected = RejectedIntent.objects.using(using)
    for field in list(rejected.values_list("learner_field", flat=True).distinct()):
        with suppress(FieldDoesNotExist):
            rows = list(rejected.filter(learner_field=field).values_list("pk", "learner", "effective_timestamp"))
            learners, erased = Learners(field, using), ErasedNames(field, using=using)
            are_erased = erased_names.are_told_of_erased([row[1:] for row in rows], learners, erased)
            yield from (row[0] for row, is_erased in zip(rows, are_erased, strict=True) if is_erased)
