"""Who is meant: users by a unique field of theirs, matched exactly, whatever a collation takes for equal."""

from collections.abc import Collection
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connections, models

from program_intent.validation import learner_field


def primary_keys(names: Collection[Any], *, field: str, using: str) -> dict[Any, Any]:
    """The primary keys of those of the names that name a user, as ``validation.learner_parser`` gives them."""
    named = learner_field(field)
    columns = ("pk",) if named.primary_key else (field, "pk")  # Django 5.2.0 gives a column asked for twice once
    listed = list(names)
    size = connections[using].ops.bulk_batch_size([named], listed) or 1
    found: dict[Any, Any] = {}
    for start in range(0, len(listed), size):
        chunk = listed[start : start + size]
        rows = _users(using).filter(**{f"{field}__in": chunk}).values_list(*columns)
        found.update((row[0], row[-1]) for row in rows)
    return {name: found[name] for name in listed if name in found}


def names(keys: Collection[Any], *, field: str, using: str) -> dict[Any, Any]:
    """The names of those of the learners that have one, and whose user is not gone, by primary key."""
    named = _users(using).filter(pk__in=keys)
    if learner_field(field).primary_key:
        return {key: key for key in named.values_list("pk", flat=True)}
    return dict(named.exclude(**{field: None}).values_list("pk", field))


def _users(using: str) -> "models.QuerySet[Any]":
    return get_user_model()._base_manager.using(using).all()
