"""Who is meant: users by a field of theirs, matched exactly, whatever a collation takes for equal."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from program_intent import conf, engines
from program_intent.engines.generic import column_of
from program_intent.validation.values import REQUIRED, Refused, shown, uuid_parser

_INTEGER = re.compile(r"\s*(?:0|-?[1-9][0-9]*)\s*", re.A)
# In place of a primary key: more than one user bears the name, and nobody guesses who is meant.
SEVERAL = object()
# How the messages begin that another day may prove wrong, and the one that a text never gets.
NOBODY, SOME = "No user is named by", "Several users are named by"
NO_TEXT = "Expected a text that names a user"


class ByKey(NamedTuple):
    """A learner whose primary key is known where the others are named by another field."""

    key: Any


def learner_field(name: str) -> "models.Field[Any, Any]":
    """The field of the user model that names learners; ``pk`` is its primary key."""
    meta = get_user_model()._meta
    return meta.pk if name == "pk" else meta.get_field(name)  # type: ignore[return-value]  # get_field may give a relation's far side; a system check refuses it


def key_field(name: str) -> "models.Field[Any, Any]":
    """The field that holds the values."""
    return column_of(learner_field(name))


def key_of(user: models.Model) -> Any:
    """The primary key of a user; of a child of the user model with a key of its own, the one it has as a user."""
    return getattr(user, get_user_model()._meta.pk.attname)


def field_meant(name: str) -> str:
    """The field of the user model that a column named ``learner``, ``user_id`` or ``lms_user_id`` holds.

    :raises Refused: the host's primary keys may be other numbers than those of its LMS, and nothing says so.
    """
    if name == "lms_user_id":
        if any(field.name == name for field in get_user_model()._meta.concrete_fields):
            return name
        if not conf.is_set("LEARNER_LOOKUP_FIELD"):
            raise Refused("has lms_user_id, and nothing says which field of the user model that is")
    return conf.learner_lookup_field()


def all_mean_one_field() -> bool:
    """Whether every name that a column of learners may have means the same field."""
    try:
        return field_meant("lms_user_id") == field_meant("learner")
    except Refused:
        return False


def is_unique(field: "models.Field[Any, Any]") -> bool:
    """As Django judges ``USERNAME_FIELD`` in auth.E003; the primary key is unique too."""
    constraints = field.model._meta.total_unique_constraints
    return field.unique or any(constraint.fields == (field.name,) for constraint in constraints)


def field_problem(user: type[models.Model], name: str) -> tuple[str, str]:
    """What speaks against naming learners by the field: the id of the check, and what the field is not; or nothing."""
    if name == "pk":
        return "", ""
    try:
        field = user._meta.get_field(name)
    except FieldDoesNotExist:
        return "E004", "not a field"
    if not isinstance(field, models.Field) or field.is_relation or not field.concrete:
        return "E005", "not a column but a relation"
    return ("", "") if is_unique(field) else ("W002", "not a unique field")


def problem_of_setting(where: str, name: str | None) -> str:
    """What speaks against the field, not always a unique one, that a setting names; nothing if it names none."""
    check, problem = field_problem(get_user_model(), name or "pk")
    return f"{where} is {problem} of the user model." if check.startswith("E") else ""


def problem_of_source(source: str, settings: Mapping[str, Any]) -> str:
    return problem_of_setting(
        f"PROGRAM_INTENT[\"SOURCES\"][{source!r}]['LEARNER_FIELD']", settings.get("LEARNER_FIELD")
    )


def problem_of_event(event_type: str, mapping: Mapping[str, Any]) -> str:
    return problem_of_setting(
        f"PROGRAM_INTENT[\"EVENTS\"][{event_type!r}]['learner_field']", mapping.get("learner_field")
    )


def learner_parser(name: str, connection: BaseDatabaseWrapper) -> Callable[[object], Any]:
    """How a value that names a learner by field ``name`` becomes the canonical value of that field.

    Exact by intent: ``True``, ``1.0``, ``1_000``, ``007`` and digits outside ASCII are no integers, and a text is
    taken as it stands. A user is known by primary key, whatever the field. Only for a text outside ASCII a database is
    asked, once per connection, what it can spell.
    """
    user_model = get_user_model()
    is_key, field = learner_field(name).primary_key, key_field(name)
    if isinstance(field, models.IntegerField):
        low, high = connection.ops.integer_field_range(field.get_internal_type())
        parse: Callable[[Any], Any] = partial(_parse_integer, low, high)
    elif isinstance(field, models.UUIDField):
        parse = uuid_parser(connection)
    elif isinstance(field, models.CharField | models.TextField):
        parse = partial(_parse_text, partial(engines.of(connection, user_model).can_spell, field))
    else:
        parse = partial(_parse_by_field, field, connection)

    def parse_learner(value: object) -> Any:
        if isinstance(value, user_model):
            if value.pk is None:
                raise Refused("Expected a saved user, not one without a primary key.")
            value = ByKey(value.pk)
        if isinstance(value, ByKey):
            return parse(value.key) if is_key else ByKey(learner_parser("pk", connection)(value.key))
        if isinstance(value, str) and not value and not is_key:  # who has no name is not called so
            raise Refused(REQUIRED)
        return parse(value)

    return parse_learner


def _parse_integer(low: int | None, high: int | None, value: object) -> int:
    if type(value) is str and len(value) <= 40 and _INTEGER.fullmatch(value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if (low is None or value >= low) and (high is None or value <= high):
            return int(value)
        raise Refused(unknown_learner(value))
    raise Refused(f"Expected an integer that names a user, not {shown(value)}.")


def _parse_text(can_spell: Callable[[str], bool], value: object) -> str:
    if not isinstance(value, str):
        raise Refused(f"{NO_TEXT}, not {shown(value)}.")
    if "\0" in value or not (value.isascii() or can_spell(value)):  # no database stores NUL
        raise Refused(unknown_learner(value))
    return value


def _parse_by_field(field: "models.Field[Any, Any]", connection: BaseDatabaseWrapper, value: object) -> Any:
    try:
        parsed = None if isinstance(value, bool | float) else field.to_python(value)
        field.run_validators(parsed)
        field.get_db_prep_value(parsed, connection)
        hash(parsed)  # as a name is looked up by; a list or an object of JSON has none
        if isinstance(parsed, datetime):
            parsed.astimezone(UTC)  # which drivers and Django do, and cannot at the ends of time
    except (ValidationError, TypeError, ValueError, ArithmeticError):
        parsed = None
    if parsed is None:
        raise Refused(f"Expected a value that names a user, not {shown(value)}.")
    return parsed


def unknown_learner(value: object, key: object = None) -> str:
    """The message for a name that is nobody's, or where the key says so, that of several users."""
    named = value.key if isinstance(value, ByKey) else value
    return f"{SOME if key is SEVERAL else NOBODY} {shown(named)}."


class Learners:
    """The users of a database, named by a field of the user model.

    ``parse`` makes a value, or a user, the canonical name: that field's own value. It raises ``Refused``.
    """

    def __init__(self, field: str, using: str) -> None:
        self.field = field
        self.using = using
        self.are_named_by_key = learner_field(field).primary_key
        self.parse = learner_parser(field, connections[using])

    def key(self, value: object) -> tuple[Any, Any]:
        """The canonical name and the primary key of the user that a value names.

        :raises Refused: it names none, or several.
        """
        name = self.parse(value)
        key = self.keys([name]).get(name)
        if key in (None, SEVERAL):
            raise Refused(unknown_learner(name, key))
        return name, key

    def bearer(self, value: object) -> tuple[Any, Any]:
        """The canonical name and the primary key of who bears it, None if nobody does; a primary key bears itself.

        :raises Refused: it can name nobody, or several users bear it.
        """
        name = self.parse(value)
        if self.are_named_by_key:
            return name, name if self._can_be_a_key(name) else None
        key = self.keys([name]).get(name)
        if key is SEVERAL:
            raise Refused(unknown_learner(name, key))
        return name, key

    def _can_be_a_key(self, name: Any) -> bool:
        """Whether the column of primary keys holds it; of texts, SQLite's holds any."""
        field, longest = key_field("pk"), key_field("pk").max_length
        try:
            field.get_db_prep_save(name, connections[self.using])
        except ValueError:  # 0, which MariaDB and MySQL give nobody
            return False
        return not isinstance(name, str) or longest is None or len(name) <= longest or name in self.keys([name])

    def keys(self, names: Collection[Any]) -> dict[Any, Any]:
        """The primary keys of those of the canonical names that name a user, or SEVERAL."""
        found: dict[Any, Any] = {name: name.key for name in names if isinstance(name, ByKey)}
        for name, key in self._named([name for name in dict.fromkeys(names) if name not in found]):
            # Of several queries, a collation may give the same user to two.
            found[name] = key if found.get(name, key) == key else SEVERAL
        return {name: found[name] for name in names if name in found}

    def bearers(self, value: object) -> set[Any]:
        """The primary keys of all users that a text names.

        :raises Refused: it can name none.
        """
        name = self.parse(value)
        return {key for borne, key in self._named([name]) if borne == name}

    def _named(self, names: list[Any]) -> Iterator[tuple[Any, Any]]:
        """Name and primary key of the users named so, and perhaps of others whom a collation takes for them."""
        columns = ("pk",) if self.are_named_by_key else (self.field, "pk")  # Django 5.2.0 gives a double column once
        engine = engines.of(connections[self.using], get_user_model())
        for users in engine.rows_having(self._users(), self.field, names) if names else ():
            for row in users.values_list(*columns):
                yield row[0], row[-1]

    def names(self, keys: Collection[Any]) -> dict[Any, Any]:
        """The names of those of the learners that have one, and whose user is not gone, by primary key."""
        named = self._users().filter(pk__in=keys)
        if self.are_named_by_key:
            return {key: key for key in named.values_list("pk", flat=True)}
        return {key: name for key, name in named.values_list("pk", self.field) if name not in (None, "")}

    def _users(self) -> "models.QuerySet[Any]":
        return get_user_model()._base_manager.using(self.using).all()
