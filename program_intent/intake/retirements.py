"""Who is to be forgotten, as those who drive retirements say it: by keys, and by names that may be former ones."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model

from program_intent import conf
from program_intent.exceptions import InvalidIntent
from program_intent.read.parameters import Parameters, written_to
from program_intent.store.erase import erase, erase_name, names_borne
from program_intent.validation.learners import NOBODY, Learners, field_problem, learner_field
from program_intent.validation.values import LONGEST_BY, Refused

_LMS_USER_ID = "lms_user_id"
_KEYS, _USERNAMES = ("learner", "edx_lms_user_id", _LMS_USER_ID), ("username", "original_username")
SENT_AS = (*_KEYS, *_USERNAMES)


class _Named(NamedTuple):
    field: str
    name: Any
    key: Any  # of the user who bears the name, None if nobody does


def retire(sent: Mapping[str, Any], *, by: str) -> None:
    """Erase the learner for good, under each name that is sent, by its key of ``SENT_AS``; also who was never here.

    The keys of the host and of the LMS say who is meant. A user name says it where they do not, unless its bearer is
    another user of the LMS. Else it is a former name, which somebody else may bear by now.

    :raises InvalidIntent: a value is malformed, several users bear it, or the keys name several; nothing was erased.
    """
    using = written_to()
    keys, usernames = _parsed(sent, using)
    key = _meant(keys, usernames, using)
    names = [(each.field, each.name) for each in (*keys, *usernames) if not learner_field(each.field).primary_key]
    if key is None:
        for field, name in names:
            erase_name(field, name, using=using)
        return
    erase(key, using=using, by=by[:LONGEST_BY], retired=True, names=names)


def _parsed(sent: Mapping[str, Any], using: str) -> tuple[list[_Named], list[_Named]]:
    """Whom the keys name, and whom the user names do; without what no user can be called, for it was never stored."""
    given = Parameters(using)
    found = {
        name: given.parsed(name, partial(_named, _field(name), using), sent[name]) for name in SENT_AS if name in sent
    }
    given.check()
    keys, usernames = (list(filter(None, map(found.get, names))) for names in (_KEYS, _USERNAMES))
    return keys, usernames


def _field(name: str) -> str:
    """The field of the user model that holds what is sent under the name."""
    if name == "learner":
        return conf.learner_lookup_field()
    user = get_user_model()
    field, otherwise = (_LMS_USER_ID, "pk") if name in _KEYS else ("username", user.USERNAME_FIELD)
    return otherwise if field_problem(user, field)[0].startswith("E") else field


def _named(field: str, using: str, value: object) -> _Named | None:
    try:
        name, key = Learners(field, using).bearer(value)
    except Refused as refused:
        if str(refused).startswith(NOBODY):
            return None
        raise
    return _Named(field, name, key)


def _meant(keys: list[_Named], usernames: list[_Named], using: str) -> Any:
    """The primary key of the learner; None if the names are nobody's."""
    found = {each.key for each in keys} - {None}
    if len(found) > 1:
        raise InvalidIntent({"non_field_errors": [f"Expected keys of one user, not of {len(found)}."]})
    if found:
        return found.pop()
    lms_user_ids = {each.name for each in keys if each.field == _LMS_USER_ID}
    bearers = [each.key for each in usernames if each.key is not None]
    return next((key for key in bearers if _may_be(key, lms_user_ids, using)), None)


def _may_be(key: Any, lms_user_ids: set[Any], using: str) -> bool:
    """Whether the user has one of the ids, or none, where any were sent."""
    return not lms_user_ids or names_borne(key, using=using).get(_LMS_USER_ID) in (None, *lms_user_ids)
