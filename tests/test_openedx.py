"""The plugin for Open edX, alone and in two hosts that have the app by its entry points, each a process of its own."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.apps import apps
from django.db.models import Model

import test_settings
from tests.hosts.plugins import add_plugins, plugins

ROOT = Path(__file__).parent.parent
LMS, CREDENTIALS = "lms.djangoapp", "credentials.djangoapp"
ONCE = pytest.mark.skipif(
    test_settings.ENGINE != "sqlite",
    reason="how a host starts is the same on every engine: tested once, with ENGINE=sqlite",
)


def python(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )


@pytest.mark.parametrize("host", ["lms.production", "credentials.settings"])
def test_a_host_of_open_edx_that_installs_the_package_has_the_app(host: str) -> None:
    command = ["-m", "pytest", "-q", f"--ds=tests.hosts.{host}", "tests/hosts/openedx.py"]
    result = python(*command, DATABASE=f"{test_settings.DATABASE}_{host.partition('.')[0]}")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("project", [LMS, CREDENTIALS])
def test_what_the_loader_reads_is_plain(project: str) -> None:
    """Constants of Open edX would have to be imported."""
    (app,) = (each for each in plugins(project) if each.name == "program_intent")
    assert json.loads(json.dumps(app.plugin_app)) == app.plugin_app


FILLED = [
    *((LMS, each, "pk") for each in ("common", "production", "test")),
    (CREDENTIALS, "base", "lms_user_id"),
]


@pytest.mark.parametrize(("project", "settings_type", "field"), FILLED)
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"LEARNER_LOOKUP_FIELD": ...}),
        ({"PROGRAM_INTENT": {"MAX_BATCH_SIZE": 10}}, {"LEARNER_LOOKUP_FIELD": ..., "MAX_BATCH_SIZE": 10}),
        ({"PROGRAM_INTENT": {"LEARNER_LOOKUP_FIELD": "username"}}, {"LEARNER_LOOKUP_FIELD": "username"}),
        ({"PROGRAM_INTENT": ["no dictionary"]}, ["no dictionary"]),
    ],
    ids=["nothing", "another key", "this key", "no dictionary"],
)
def test_only_what_the_host_left_out_is_filled_in(
    project: str,
    settings_type: str,
    field: str,
    given: dict[str, Any],
    expected: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = ModuleType("host_settings")
    vars(host).update(given)
    monkeypatch.setitem(sys.modules, host.__name__, host)
    add_plugins(host.__name__, project, settings_type)
    if isinstance(expected, dict):
        expected = {key: field if value is ... else value for key, value in expected.items()}
    assert expected == host.PROGRAM_INTENT


WITHOUT = """
import sys
for name in {missing}:
    sys.modules[name] = None  # as if it were not installed
from tests.hosts.lms import production
production.INSTALLED_APPS = [app for app in production.INSTALLED_APPS if app not in {missing}]
import django
django.setup()
from django.core.checks import run_checks
from django.urls import Resolver404, get_resolver
assert get_resolver().url_patterns == []
print([(each.level, each.msg, each.hint, each.id) for each in run_checks() if "program_intent" in str(each.id)])
"""


@ONCE
@pytest.mark.parametrize("missing", [["drf_spectacular"], ["rest_framework", "drf_spectacular"]], ids=" and ".join)
def test_w007_without_the_packages_of_the_rest_api_there_are_no_urls_but_a_warning(missing: list[str]) -> None:
    result = python("-c", WITHOUT.format(missing=missing), DJANGO_SETTINGS_MODULE="tests.hosts.lms.production")
    assert result.returncode == 0, result.stderr
    message = f"The REST API is not mounted, because of what is not installed: {', '.join(missing)}."
    hint = "pip install 'program-intent[openedx]', or silence the warning if you need no REST API."
    assert result.stdout.splitlines()[-1] == str([(30, message, hint, "program_intent.W007")])


TWICE = """
import django
from tests.hosts.lms import production
production.INSTALLED_APPS.insert({place}, {entry!r})
django.setup()
"""


@ONCE
@pytest.mark.parametrize(
    ("place", "entry"),
    [("0", "program_intent"), ("len(production.INSTALLED_APPS)", "program_intent.apps.ProgramIntentConfig")],
    ids=["before", "after"],
)
def test_a_host_that_lists_the_app_is_told_to_take_it_out(place: str, entry: str) -> None:
    code = TWICE.format(place=place, entry=entry)
    result = python("-c", code, DJANGO_SETTINGS_MODULE="tests.hosts.lms.production")
    assert result.stderr.splitlines()[-1] == (
        f"django.core.exceptions.ImproperlyConfigured: INSTALLED_APPS lists {entry}, but Open edX has installed the "
        "app by its entry point: take it out of INSTALLED_APPS."
    )


@pytest.mark.parametrize(
    "model", [*apps.get_app_config("program_intent").get_models()], ids=lambda model: model.__name__
)
def test_each_model_says_what_it_knows_of_people(model: type[Model]) -> None:
    """In the words of code_annotations, by which Open edX checks what it has installed."""
    words = re.findall(r"^ *\.\. (\w+):", model.__doc__ or "", re.MULTILINE)
    assert words in (["no_pii"], ["pii", "pii_types", "pii_retirement"])


def test_the_extra_openedx_brings_what_rest_brings() -> None:
    wanted = {extra: brought_by(extra) for extra in ("rest", "openedx")}
    assert wanted["openedx"] == wanted["rest"] != []


def brought_by(extra: str) -> list[str]:
    found = [each.partition(";") for each in requires("program-intent") or ()]
    return sorted(requirement for requirement, _, marker in found if f'extra == "{extra}"' in marker)
