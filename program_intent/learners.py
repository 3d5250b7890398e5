"""Who is meant: users by a field of theirs, matched exactly, whatever a collation takes for equal."""

from collections.abc import Collection, Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connections, models

from program_intent.validation import Refused, learner_field, learner_parser, unknown_learner


class Learners:
    """The users of a database, named by a field of the user model.

    ``parse`` makes a value, or a user, the canonical name: that field's own value. It raises ``Refused``, and asks no
    database.
    """

    def __init__(self, field: str, using: str) -> None:
        self._field = field
        self._using = using
        self.are_named_by_key = learner_field(field).primary_key
        self.parse = learner_parser(field, connections[using])

    def key(self, value: object) -> tuple[Any, Any]:
        """The canonical name and the primary key of the user that a value names.

        :raises Refused: it names none.
        """
        name = self.parse(value)
        keys = self.keys([name])
        if name not in keys:
            raise Refused(unknown_learner(name))
        return name, keys[name]

    def keys(self, names: Iterable[Any]) -> dict[Any, Any]:
        """The primary keys of those of the canonical names that name a user."""
        listed = list(dict.fromkeys(names))
        columns = ("pk",) if self.are_named_by_key else (self._field, "pk")  # Django 5.2.0 gives a double column once
        size = connections[self._using].ops.bulk_batch_size([learner_field(self._field)], listed) or 1
        found: dict[Any, Any] = {}
        for start in range(0, len(listed), size):
            rows = self._users().filter(**{f"{self._field}__in": listed[start : start + size]}).values_list(*columns)
            found.update((row[0], row[-1]) for row in rows)
        return {name: found[name] for name in listed if name in found}

    def names(self, keys: Collection[Any]) -> dict[Any, Any]:
        """The names of those of the learners that have one, and whose user is not gone, by primary key."""
        named = self._users().filter(pk__in=keys)
        if self.are_named_by_key:
            return {key: key for key in named.values_list("pk", flat=True)}
        return dict(named.exclude(**{self._field: None}).values_list("pk", self._field))

    def _users(self) -> "models.QuerySet[Any]":
        return get_user_model()._base_manager.using(self._using).all()
