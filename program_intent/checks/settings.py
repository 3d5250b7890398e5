"""What is checked of PROGRAM_INTENT: that it has its form, and fits this host."""

from collections.abc import Iterator
from contextlib import suppress
from inspect import iscoroutinefunction
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from program_intent.conf import (
    OF_SOURCE,
    SETTINGS,
    is_dotted_path,
    keys_of_event,
    problems_of_event,
    problems_of_source,
)
from program_intent.sources import open_edx
from program_intent.sources.headers import field_named
from program_intent.validation.learners import field_problem, is_unique, problem_of_event, problem_of_source
from program_intent.validation.values import Refused, did_you_mean, parse_certainty, parse_reason, shown

# What Django itself raises on first use of a user model, a database engine or a router that does not exist or is none.
TOLD_BY_DJANGO = (ImproperlyConfigured, ImportError, TypeError, AttributeError)


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
        with suppress(*TOLD_BY_DJANGO):
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
    with suppress(*TOLD_BY_DJANGO):
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
    with suppress(*TOLD_BY_DJANGO):
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
