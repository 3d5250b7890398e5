"""Whom a caller may name: always themself, others only with the model permission of the call."""

from collections.abc import Iterable
from contextlib import suppress
from functools import cached_property
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connections, models
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from program_intent import conf
from program_intent.validation.learners import ByKey, Learners, is_unique, key_of, learner_field, learner_parser
from program_intent.validation.values import Refused

ADD = "program_intent.add_programintent"
VIEW = "program_intent.view_programintent"
VIEW_RUN = "program_intent.view_run"
ERASE = "program_intent.erase_learner"


def has_permission(user: Any, permission: str) -> bool:
    has_perm = getattr(user, "has_perm", None)  # a user model may do without permissions
    return bool(has_perm and has_perm(permission))


def _key_of(user: Any) -> Any:
    """As it came, so perhaps the text of a token; None if there is none, as of a row that is no user's."""
    if isinstance(user, models.Model):
        return key_of(user) if isinstance(user, get_user_model()) else None
    key = getattr(user, "pk", None)
    return getattr(user, "id", None) if key is None else key


class _Needs(BasePermission):
    permission: str

    def __init__(self) -> None:
        self.message = f"You need the permission {self.permission}."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return has_permission(request.user, self.permission)


class MayViewEveryone(_Needs):
    """For what is asked of many learners at once."""

    permission = VIEW


class MayErase(_Needs):
    permission = ERASE


class Caller:
    """Who has signed in, and the learners that they name by ``LEARNER_LOOKUP_FIELD``."""

    def __init__(self, user: Any, *, permission: str, using: str) -> None:
        self.using = using
        self.field = conf.learner_lookup_field()
        self.refusal = f"To name another learner than yourself you need the permission {permission}."
        self._permission = permission
        self._user = user
        self._is_stored = isinstance(user, get_user_model()) and not user._state.adding

    @property
    def by_key(self) -> ByKey:
        """Themself as the learner of a row, which is refused if the key can be no user's."""
        return ByKey(_key_of(self._user))

    @cached_property
    def pk(self) -> Any:
        """:raises ValidationError: they come with a key, as of a token, that can be no user's, or with none."""
        try:
            return learner_parser("pk", connections[self.using])(_key_of(self._user))
        except Refused as refused:
            raise ValidationError({"learner": [str(refused)]}) from None

    @cached_property
    def learners(self) -> Learners:
        return Learners(self.field, self.using)

    @cached_property
    def name(self) -> Any:
        """None if they have none."""
        field = learner_field(self.field)
        if self._is_stored and not field.primary_key:
            name = getattr(self._user, field.attname)
            return None if name == "" else name
        with suppress(ValidationError):
            return self.pk if self._is_stored else self.names([self.pk]).get(self.pk)
        return None

    def may_name(self, learner: object) -> bool:
        """Judged without looking for the learner, so that nobody learns who exists; None is the caller."""
        return learner is None or self.is_named(learner) or self._may_name_others

    def is_named(self, learner: object) -> bool:
        try:
            return self.name is not None and bool(self.learners.parse(learner) == self.name)
        except Refused:
            return False

    @cached_property
    def _may_name_others(self) -> bool:
        return has_permission(self._user, self._permission)

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

        :raises Refused: no user is named so, or several are, the caller among them or not.
        """
        if learner is None or (is_unique(learner_field(self.field)) and self.is_named(learner)):
            return self.name, self.pk
        return self.learners.key(learner)

    def names(self, keys: Iterable[Any]) -> dict[Any, Any]:
        """The names of those of the learners that have one, and whose user is not gone."""
        return self.learners.names(set(keys))

    def own_names(self, keys: Iterable[Any]) -> dict[Any, Any]:
        """The same without the names that several users bear."""
        names = self.names(keys)
        if is_unique(learner_field(self.field)):
            return names
        bearers = self.learners.keys(list(names.values()))
        return {key: name for key, name in names.items() if bearers.get(name) == key}
