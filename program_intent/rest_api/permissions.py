"""Whom a caller may name: always themself, others only with the model permission of the call."""

from functools import cached_property
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connections

from program_intent import conf
from program_intent.validation import Refused, learner_field, learner_parser, unknown_learner


class Caller:
    """A signed-in user, and the learners that they name by ``LEARNER_LOOKUP_FIELD``."""

    def __init__(self, user: Any, *, permission: str, using: str) -> None:
        self.user = user
        self.using = using
        self.field = conf.learner_lookup_field()
        self.parse = learner_parser(self.field, connections[using])
        self.name = getattr(user, learner_field(self.field).attname)
        self.refusal = f"To name another learner than yourself you need the permission {permission}."
        self._permission = permission

    def may_name(self, learner: object) -> bool:
        """Judged without looking for the learner, so that nobody learns who exists; None is the caller."""
        return learner is None or self.is_named(learner) or self._may_name_others

    def is_named(self, learner: object) -> bool:
        try:
            return bool(self.parse(learner) == self.name)
        except Refused:
            return False

    @cached_property
    def _may_name_others(self) -> bool:
        has_perm = getattr(self.user, "has_perm", None)  # a user model may do without permissions
        return bool(has_perm and has_perm(self._permission))

    def key(self, learner: object) -> tuple[Any, Any]:
        """The canonical name and the primary key of the learner, the caller if None; one query for others.

        :raises Refused: no user is named so.
        """
        if learner is None or self.is_named(learner):
            return self.name, self.user.pk
        name = self.parse(learner)
        users = get_user_model()._base_manager.using(self.using).filter(**{self.field: name})
        # A collation finds Bob for bob; the dictionary does not.
        keys = dict(users.values_list(self.field, "pk"))
        if name not in keys:
            raise Refused(unknown_learner(name))
        return name, keys[name]
