"""What is checked of the host: its users, databases and admins, and what is stored there."""

from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfoNotFoundError

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DatabaseError, connections, models, router
from django.db.backends.base.base import BaseDatabaseWrapper

from program_intent.checks.settings import TOLD_BY_DJANGO
from program_intent.conf import erasure_keys
from program_intent.models import ErasedName, ProgramIntent
from program_intent.store.erased_names import key_id
from program_intent.validation.learners import key_field
from program_intent.validation.times import EARLIEST
from program_intent.validation.values import shown

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
    with suppress(*TOLD_BY_DJANGO):
        key, model = key_field("pk"), get_user_model()._meta.label
        if isinstance(key, _NOT_TAKEN_AS_KEYS) or _writes_otherwise(key):
            return [
                Warning(
                    f"The primary key of the user model {model} is a {type(key).__name__}, by which not every call "
                    "finds a learner.",
                    hint="Take an integer, a UUID or a text. Decimals, dates and times of day are taken too.",
                    id="program_intent.W004",
                )
            ]
    return []


def _writes_otherwise(field: "models.Field[Any, Any]") -> bool:
    """Whether a class of the host's own may store another value than it shows."""
    methods = (getattr(type(field), name, None) for name in ("get_prep_value", "get_db_prep_value", "from_db_value"))
    return not all(method is None or method.__module__.startswith("django.") for method in methods)


@register()
def check_times_of_databases(**kwargs: Any) -> list[CheckMessage]:
    """E006 and W003: where times are stored without an offset, two moments are never stored as one."""
    with suppress(*TOLD_BY_DJANGO):
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
    with suppress(*TOLD_BY_DJANGO):
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
    with suppress(*TOLD_BY_DJANGO):
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
    with suppress(*TOLD_BY_DJANGO, DatabaseError):
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
