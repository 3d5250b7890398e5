"""Whom a caller may name: always themself, others only with the model permission of the call."""

from collections.abc import Iterable
from functools import cached_property
from typing import Any

from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from program_intent import conf
from program_intent.validation.learners import Learners, learner_field
from program_intent.validation.values import Refused

ADD = "program_intent.add_programintent"
VIEW = "program_intent.view_programintent"


def has_permission(user: Any, permission: str) -> bool:
    has_perm = getattr(user, "has_perm", None)  # a user model may do without permissions
    return bool(has_perm and has_perm(permission))


class MayViewEveryone(BasePermission):
    """For what is asked of many learners at once."""

    message = f"You need the permission {VIEW}."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return has_permission(request.user, VIEW)


class Caller:
    """A signed-in user, and the learners that they name by ``LEARNER_LOOKUP_FIELD``."""

    def __init__(self, user: Any, *, permission: str, using: str) -> None:
        self.user = user
        self.using = using
        self.field = conf.learner_lookup_field()
        self.name = getattr(user, learner_field(self.field).attname)
        self.refusal = f"To name another learner than yourself you need the permission {permission}."
        self._permission = permission

    @cached_property
    def learners(self) -> Learners:
        return Learners(self.field, self.using)

    def may_name(self, learner: object) -> bool:
        """Judged without looking for the learner, so that nobody learns who exists; None is the caller."""
        return learner is None or self.is_named(learner) or self._may_name_others

    def is_named(self, learner: object) -> bool:
        try:
            return bool(self.learners.parse(learner) == self.name)
        except Refused:
            return False

    @cached_property
    def _may_name_others(self) -> bool:
        return has_permission(self.user, self._permission)

    def asked(self, learner: str | None) -> tuple[Any, Any]:
        """The name and the primary key of the learner that is asked about, the caller if None."""
        if not self.may_name(learner):
            raise PermissionDenied(self.refusal)
        try:
            return self.key(learner)
        except Refused as refused:
            raise ValidationError({"learner": [str(refused)]}) from None

    def key(self, learner: object) -> tuple[Any, Any]:
        """The canonical name and the primary key of the learner, the caller if None; one query for others.

        :raises Refused: no user is named so.
        """
        if learner is None or self.is_named(learner):
            return self.name, self.user.pk
        return self.learners.key(learner)

    def names(self, keys: Iterable[Any]) -> dict[Any, Any]:
        """The names of those of the learners that have one, and whose user is not gone."""
        return self.learners.names(set(keys))
