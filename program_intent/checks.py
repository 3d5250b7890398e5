"""System checks: a broken setting is named before the first request, with a hint how to mend it."""

from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import datetime, timedelta, tzinfo
from inspect import iscoroutinefunction
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfoNotFoundError

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections, models, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.module_loading import import_string

from program_intent.conf import (
    OF_SOURCE,
    SETTINGS,
    erasure_keys,
    is_dotted_path,
    keys_of_event,
    problems_of_event,
    problems_of_source,
)
from program_intent.models import ErasedName, ProgramIntent
from program_intent.sources import open_edx
from program_intent.sources.headers import field_named
from program_intent.store.erased_names import key_id
from program_intent.validation.learners import (
    field_problem,
    is_unique,
    key_field,
    problem_of_event,
    problem_of_source,
)
from program_intent.validation.times import EARLIEST
from program_intent.validation.values import Refused, did_you_mean, parse_certainty, parse_reason, shown

# What Django itself raises on first use of a user model, a database engine or a router that does not exist or is none.
_TOLD_BY_DJANGO = (ImproperlyConfigured, ImportError, TypeError, AttributeError)
# Of each, a call fails or does not find the learner, on one engine at least (of IP addresses, on PostgreSQL).
_NOT_TAKEN_AS_KEYS = (
    models.BinaryField,
    models.BooleanField,
    models.DateTimeField,
    models.DurationField,
    models.FileField,
    models.FloatField,
    models.GenericIPAddressField,
    models.JSONField,
)


def _holding_intents() -> list[str]:
    return [alias for alias in connections if router.allow_migrate_model(alias, ProgramIntent)]


@register()
def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """E001 to E003: ``PROGRAM_INTENT`` is a dictionary, its keys exist and its values fit."""
    configured = getattr(settings, "PROGRAM_INTENT", {})
    if not isinstance(configured, dict):
        return [
            Error(
                f"PROGRAM_INTENT is {shown(configured)}, not a dictionary.",
                hint='Write PROGRAM_INTENT = {"LEARNER_LOOKUP_FIELD": "username"}, or leave it out for the defaults.',
                id="program_intent.E001",
            )
        ]
    return [
        *(_unknown_key(key) for key in configured if key not in SETTINGS),
        *(
            Error(
                f"PROGRAM_INTENT[{key!r}] is {_shown_setting(key, configured[key])}not {setting.kind}.",
                hint=f"The default is {setting.default!r}.",
                id="program_intent.E003",
            )
            for key, setting in SETTINGS.items()
            if key in configured and not setting.fits(configured[key])
        ),
    ]


def _shown_setting(key: str, value: Any) -> str:
    """Nothing of what may hold passwords."""
    return "" if key in ("SOURCES", "EVENTS_URL", "ERASURE_KEYS") else f"{shown(value)}, "


def _unknown_key(key: Any) -> Error:
    return Error(
        f"PROGRAM_INTENT has the unknown key {shown(key)}.",
        hint=f"{did_you_mean(key, SETTINGS)}The keys are {', '.join(SETTINGS)}.",
        id="program_intent.E002",
    )


@register()
def check_sources(**kwargs: Any) -> list[CheckMessage]:
    """E010 and W005: the sources have what a sync needs, and follow the time of arrival."""
    configured = getattr(settings, "PROGRAM_INTENT", {})
    sources = configured.get("SOURCES") if isinstance(configured, dict) else None
    return list(_source_messages(sources)) if isinstance(sources, dict) else []


def _source_messages(sources: dict[Any, Any]) -> Iterator[CheckMessage]:
    for name, source in sources.items():
        problems = list(problems_of_source(name, source))
        for problem in problems:
            yield Error(problem, hint=f"The keys are {', '.join(OF_SOURCE)}.", id="program_intent.E010")
        if problems:
            continue
        with suppress(*_TOLD_BY_DJANGO):
            if problem := problem_of_source(name, source):
                yield Error(problem, hint="Name a field of the user model, or leave it out.", id="program_intent.E010")
        if problem := _not_imported(source["URL"]):
            yield Error(f'PROGRAM_INTENT["SOURCES"][{name!r}]["URL"] {problem}.', id="program_intent.E010")
        if field_named(source.get("CURSOR") or "") == "effective_timestamp":
            yield Warning(
                f'PROGRAM_INTENT["SOURCES"][{name!r}] follows {source["CURSOR"]}: when a row became true, not when it '
                "arrived in the warehouse. What arrives later than LAG is never read.",
                hint="Let CURSOR name the column that says when a row was loaded.",
                id="program_intent.W005",
            )


def _not_imported(path: str) -> str:
    """What speaks against the dotted path of a function; nothing against a URL."""
    if not is_dotted_path(path):
        return ""
    try:
        found = import_string(path)
    except ImportError as error:
        return f"cannot be imported: {error}"
    except Exception as error:  # of a module of the host's
        return f"cannot be imported: {type(error).__name__}: {error}"
    if iscoroutinefunction(found):
        return f"names a function that would have to be awaited: {path}"
    return "" if callable(found) else f"names no function: {path}"


@register()
def check_events(**kwargs: Any) -> list[CheckMessage]:
    """E011 and W006: events have what makes rows of them, and name the right learners."""
    configured = getattr(settings, "PROGRAM_INTENT", {})
    events = configured.get("EVENTS") if isinstance(configured, dict) else None
    return list(_event_messages(events)) if isinstance(events, dict) else []


def _event_messages(events: dict[Any, Any]) -> Iterator[CheckMessage]:
    for event_type, mapping in events.items():
        problems = list(problems_of_event(event_type, mapping)) or list(_misfits(event_type, mapping))
        hint = f"The keys are {', '.join(keys_of_event(mapping))}."
        yield from (Error(problem, hint=hint, id="program_intent.E011") for problem in problems)
        if not problems and open_edx.names_by_unknown_ids(event_type, mapping):
            yield Warning(
                f'PROGRAM_INTENT["EVENTS"][{event_type!r}] names learners by {mapping["learner"]}, the primary key of '
                "the LMS, and nothing says which field of the user model that is.",
                hint="Give it learner_field, or set LEARNER_LOOKUP_FIELD; pk, if this is the LMS.",
                id="program_intent.W006",
            )


def _misfits(event_type: str, mapping: dict[str, str]) -> Iterator[str]:
    """What of a mapping that has its form does not fit this host."""
    where = f'PROGRAM_INTENT["EVENTS"][{event_type!r}]'
    for name, parse in (("reason", parse_reason), ("certainty", parse_certainty)):
        try:
            parse(mapping.get(name, "MAYBE"))
        except Refused as refused:
            yield f"{where}[{name!r}]: {refused}"
    with suppress(*_TOLD_BY_DJANGO):
        if problem := problem_of_event(event_type, mapping):
            yield problem
    if problem := _not_imported(mapping["rows"]) if "rows" in mapping else "":
        yield f"{where}['rows'] {problem}."
    with suppress(ImportError):  # where openedx-events is not installed
        yield from (f"{where}{misfit}" for misfit in open_edx.misfits(event_type, mapping))


@register()
def check_learner_lookup_field(**kwargs: Any) -> list[CheckMessage]:
    """E004, E005 and W002: the field that names learners is a column of the user model, and a unique one."""
    configured = getattr(settings, "PROGRAM_INTENT", {})
    name = configured.get("LEARNER_LOOKUP_FIELD") if isinstance(configured, dict) else None
    with suppress(*_TOLD_BY_DJANGO):
        user = get_user_model()
        fields = [field.name for field in user._meta.fields if not field.is_relation and is_unique(field)]
        check, problem = field_problem(user, name) if isinstance(name, str) else ("", "")
        told = f"LEARNER_LOOKUP_FIELD is {shown(name)}, {problem} of the user model {user._meta.label}."
        hint = f"Name learners by pk or by a unique field: {', '.join(fields)}."
        if check == "W002":
            hint = (
                "A name that several users bear is refused. If other services name learners so, and it has to be, "
                f"add program_intent.W002 to SILENCED_SYSTEM_CHECKS; else take a unique field: {', '.join(fields)}."
            )
            return [Warning(told, hint=hint, id="program_intent.W002")]
        return [Error(told, hint=hint, id=f"program_intent.{check}")] if check else []
    return []


@register()
def check_time_zones(**kwargs: Any) -> list[CheckMessage]:
    """E007: times are stored aware."""
    if settings.USE_TZ is True:
        return []
    return [
        Error(
            f"USE_TZ is {shown(settings.USE_TZ)}, not True.",
            hint="Set USE_TZ = True: the times of an intent are aware.",
            id="program_intent.E007",
        )
    ]


@register()
def check_key_of_users(**kwargs: Any) -> list[CheckMessage]:
    """W004: a learner is found by the primary key of users, in every call and on every database."""
    with suppress(*_TOLD_BY_DJANGO):
        key, model = key_field("pk"), get_user_model()._meta.label
        if isinstance(key, _NOT_TAKEN_AS_KEYS):
            return [
                Warning(
                    f"The primary key of the user model {model} is a {type(key).__name__}, by which not every call "
                    "finds a learner.",
                    hint="Take an integer, a UUID or a text. Decimals, dates and times of day are taken too.",
                    id="program_intent.W004",
                )
            ]
    return []


@register()
def check_times_of_databases(**kwargs: Any) -> list[CheckMessage]:
    """E006 and W003: where times are stored without an offset, two moments are never stored as one."""
    with suppress(*_TOLD_BY_DJANGO):
        return [message for alias in _holding_intents() for message in _repeated_hours(connections[alias])]
    return []


def _repeated_hours(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    zone = None
    if connection.settings_dict["TIME_ZONE"] and not connection.features.supports_timezones:
        with suppress(ZoneInfoNotFoundError, TypeError, ValueError, OSError):  # Django raises it on the first query
            zone = connection.timezone
    repeats = zone is not None and _puts_clocks_back(zone, 1970, 2100)
    if zone is None or not (repeats or _puts_clocks_back(zone, EARLIEST.year, 1970)):
        return
    level, check, when = (Error, "E006", "are put back") if repeats else (Warning, "W003", "were put back before 1970")
    yield level(
        f"The database {connection.alias!r} stores times without an offset, in {zone}, where clocks {when}: "
        "two moments of a repeated hour become one.",
        hint=f'Leave out DATABASES[{connection.alias!r}]["TIME_ZONE"], or name a zone such as Etc/GMT+5, where clocks '
        "are never put back. Convert the times that are stored already.",
        id=f"program_intent.{check}",
    )


def _puts_clocks_back(zone: tzinfo, first: int, last: int) -> bool:
    """Whether an offset falls from the first year to the end of the last.

    Looked at every third day: in the time zone database nearly four lie between a fall and the rise that would hide it.
    """
    start, end = datetime(first, 1, 1, tzinfo=zone), datetime(last + 1, 1, 1, tzinfo=zone)
    offsets = ((start + timedelta(days=day)).utcoffset() or timedelta() for day in range(0, (end - start).days + 3, 3))
    return any(later < earlier for earlier, later in pairwise(offsets))


@register()
def check_one_database(**kwargs: Any) -> list[CheckMessage]:
    """E008: users and intents are written to one database, because an insert looks up the learner."""
    with suppress(*_TOLD_BY_DJANGO):
        users, intents = router.db_for_write(get_user_model()), router.db_for_write(ProgramIntent)
        if users != intents:
            return [
                Error(
                    f"Intents are written to the database {intents!r}, not to {users!r} as users are.",
                    hint="Let DATABASE_ROUTERS name one database for both.",
                    id="program_intent.E008",
                )
            ]
    return []


@register()
def check_sqlite_transactions(**kwargs: Any) -> list[CheckMessage]:
    """W001: on SQLite a request's transaction waits for its turn to write and does not fail."""
    with suppress(*_TOLD_BY_DJANGO):
        return [
            Warning(
                f"The SQLite database {alias!r} has ATOMIC_REQUESTS, and its transactions are DEFERRED, not IMMEDIATE.",
                hint=f'Set DATABASES[{alias!r}]["OPTIONS"]["transaction_mode"] = "IMMEDIATE", '
                "or concurrent writes fail with 'database is locked', whatever the timeout.",
                id="program_intent.W001",
            )
            for alias in _holding_intents()
            if _reads_before_writing(connections[alias])
        ]
    return []


def _reads_before_writing(connection: BaseDatabaseWrapper) -> bool:
    options = connection.settings_dict["OPTIONS"]
    mode = str(options.get("transaction_mode")).upper() if isinstance(options, dict) else ""
    atomic = connection.settings_dict["ATOMIC_REQUESTS"]
    return connection.vendor == "sqlite" and atomic and mode not in ("IMMEDIATE", "EXCLUSIVE")


@register(Tags.database)
def check_erasure_keys(databases: Collection[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """W008: every name of those who were erased can be known again."""
    with suppress(*_TOLD_BY_DJANGO, DatabaseError):
        asked = [alias for alias in _holding_intents() if alias in (databases or ())]
        return [message for alias in asked for message in _lost_names(alias)]
    return []


def _lost_names(alias: str) -> Iterator[CheckMessage]:
    if ErasedName._meta.db_table not in connections[alias].introspection.table_names():
        return
    known = list(map(key_id, erasure_keys()))
    lost = ErasedName.objects.using(alias).exclude(key_id__in=known).count()
    if lost:
        what = "1 name of an erased learner was" if lost == 1 else f"{lost:,} names of erased learners were"
        yield Warning(
            f"In the database {alias!r}, {what} hashed with a key that is no longer known: what names a learner so "
            "would be stored again.",
            hint='Put the key that was in use back before the others in PROGRAM_INTENT["ERASURE_KEYS"], or, where that '
            "is left out, in SECRET_KEY_FALLBACKS.",
            id="program_intent.W008",
        )


@register()
def check_admins(**kwargs: Any) -> list[CheckMessage]:
    """E009: no admin of intents, nor an inline, offers to a superuser what the record refuses."""
    if not apps.is_installed("django.contrib.admin"):
        return []
    from django.contrib.admin.options import BaseModelAdmin  # not where the host has no admin
    from django.contrib.admin.sites import all_sites

    admins = [each for site in all_sites for each in site._registry.values()]
    inlines = {admin: admin.inlines if isinstance(admin.inlines, list | tuple) else () for admin in admins}
    classes = [
        each
        for admin in admins
        for each in (type(admin), *inlines[admin])
        # Django's own checks tell of an inline that is none.
        if isinstance(each, type) and issubclass(each, BaseModelAdmin) and _shows_intents(each, admin)
    ]
    return [
        Error(
            f"{each.__module__}.{each.__qualname__} would add, change or delete intents.",
            hint="Derive it from program_intent.admin.ReadOnlyIntents first.",
            id="program_intent.E009",
        )
        for each in dict.fromkeys(classes)
        if any(
            getattr(getattr(each, f"has_{act}_permission"), "__module__", "") == _ADMIN
            for act in ("add", "change", "delete")
        )
    ]


# Where Django's own permission methods are, by which a superuser may do everything.
_ADMIN = "django.contrib.admin.options"


def _shows_intents(each: Any, admin: Any) -> bool:
    model = admin.model if each is type(admin) else getattr(each, "model", None)
    return isinstance(model, type) and issubclass(model, ProgramIntent)
