"""Hosts with models of their own; a process has one AUTH_USER_MODEL and one list of apps, so each host is a process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection

import test_settings
from tests.reports import AS_ON_MARIADB

ROOT = Path(__file__).parent.parent


ON_SERVERS = pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no character sets but Unicode's")


@pytest.mark.parametrize(
    "host",
    [
        "uuid_user",
        "text_user",
        *(
            pytest.param(host, marks=[AS_ON_MARIADB, pytest.mark.slow])
            for host in ("decimal_user", "linked_user", "inherited_user", "renamed")
        ),
        pytest.param("latin1", marks=[AS_ON_MARIADB, ON_SERVERS, pytest.mark.slow]),
    ],
)
def test_a_host_with_a_user_model_of_its_own_is_promised_the_same(host: str) -> None:
    run(host, "promises")


def test_a_host_that_subclasses_the_record_finds_its_doors_shut() -> None:
    run("own_intents", "subclasses")


def run(host: str, promises: str) -> None:
    settings = f"--ds=tests.hosts.{host}.settings"
    command = [sys.executable, "-m", "pytest", "-q", settings, f"tests/hosts/{promises}.py"]
    environment = {**os.environ, "DATABASE": f"{test_settings.DATABASE}_{host}"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


USE = """
import django
django.setup()
from django.contrib.auth import get_user_model
from django.core.management import call_command
from program_intent.api import erase_learner, get_latest_certain_intents, record_intent
call_command("migrate", run_syncdb=True, verbosity=0, skip_checks=False)
ada = get_user_model().objects.create(key="a", username="ada")
record_intent(ada, "51032e48-04ca-5d43-901a-80cd294a21e1", reason="BUNDLE_PURCHASED", certainty="CERTAIN_YES")
print(len(get_latest_certain_intents(ada)), erase_learner(ada).intents)
"""


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the migration needs the same apps on every engine")
def test_a_host_without_the_app_of_djangos_users_migrates_records_and_erases() -> None:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.hosts.without_auth.settings"}
    result = subprocess.run([sys.executable, "-c", USE], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("1 1\n", "")
