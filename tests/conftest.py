"""Prepares the databases and prints what they are; ENGINE, read in test_settings.py, chooses them."""

import signal
import sqlite3
from collections.abc import Iterator
from typing import Any
from unittest import mock

import django
import pytest
import rest_framework
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.management.commands import flush
from django.core.management.sql import emit_post_migrate_signal
from django.db import connection, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.dispatch import receiver
from pytest_django import DjangoDbBlocker, Settings
from pytest_django.plugin import blocking_manager_key
from rest_framework.test import APIClient

from program_intent.engines.mysql import MySQL
from tests.rest import VIEW, client_of
from tests.work import execute

# A shell starts what it puts in the background with interrupts ignored, and children inherit that: the
# loader's processes are to be interruptible however the suite was started.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup ignores

ICU_LOCALE = "en-US"
TEMPLATES = {
    "program_intent_icu": f"ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE '{ICU_LOCALE}'",
    "program_intent_latin1": "ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C'",
}


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, django_db_blocker: DjangoDbBlocker
) -> None:
    """Called by pytest-django before it creates the test databases."""
    if connection.vendor == "postgresql":
        with django_db_blocker.unblock():
            create_template(connection.settings_dict["TEST"]["TEMPLATE"])


def create_template(name: str) -> None:
    """Create a template, because Django can name one but no locale."""
    with connection._nodb_cursor() as cursor:
        # One run at a time, of those side by side.
        cursor.execute("SELECT pg_advisory_lock(hashtext(%s))", [name])
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        if cursor.fetchone() is None:
            cursor.execute(f"CREATE DATABASE {name} TEMPLATE template0 {TEMPLATES[name]}")


@pytest.fixture(scope="session", autouse=True)
def _remembered() -> Iterator[None]:
    """What migrations leave in the tables is stored again as it was, after a test of transactions has emptied them.

    Django works it out anew each time, which took a third of the time of such a test.
    """
    work_out = emit_post_migrate_signal
    known: dict[str, list[tuple[Any, list[Any]]]] = {}

    def store_again(verbosity: int, interactive: bool, db: str, **kwargs: Any) -> None:
        for model, rows in known.get(db, ()):
            model.objects.using(db).bulk_create(rows)
        if db not in known:
            work_out(verbosity, interactive, db, **kwargs)
            models = (each for each in (ContentType, Permission) if router.allow_migrate_model(db, each))
            known[db] = [(model, list(model.objects.using(db).order_by("pk"))) for model in models]

    with mock.patch.object(flush, "emit_post_migrate_signal", store_again):
        yield


@receiver(connection_created)
def ask_what_a_statement_may_be(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """At once, because a test that counts queries is not to depend on which came first on this connection."""
    if connection.vendor == "mysql":
        MySQL(connection, User)._fits(2**20)


def pytest_report_header(config: pytest.Config) -> str:
    with config.stash[blocking_manager_key].unblock():
        database = server()
    return f"database: {database}, Django {django.get_version()}, DRF {rest_framework.VERSION}"


def server() -> str:
    """The engine, its version and the collation of the test databases."""
    if connection.vendor == "sqlite":
        return f"SQLite {sqlite3.sqlite_version}, collation BINARY"
    with connection._nodb_cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT version()")
            (version,) = cursor.fetchone()
            return f"{version.split(' on ')[0]}, collation ICU {ICU_LOCALE}"
        cursor.execute("SELECT version(), @@innodb_autoinc_lock_mode")
        version, mode = cursor.fetchone()
    name = "" if "MariaDB" in version else "MySQL "
    collation = connection.settings_dict["TEST"]["COLLATION"]
    return f"{name}{version}, collation {collation}, innodb_autoinc_lock_mode {mode}"


# The people of the REST tests


@pytest.fixture
def ada(db: None) -> User:
    return User.objects.create(username="ada")


@pytest.fixture
def bob(db: None) -> User:
    return User.objects.create(username="bob")


@pytest.fixture
def as_ada(ada: User) -> APIClient:
    return client_of(ada)


@pytest.fixture
def as_staff(db: None) -> APIClient:
    return client_of(User.objects.create(username="staff"), VIEW)


@pytest.fixture
def by_username(settings: Settings) -> None:
    settings.PROGRAM_INTENT = {"LEARNER_LOOKUP_FIELD": "username"}


@pytest.fixture
def plans_as_for_a_large_table(transactional_db: None) -> Iterator[None]:
    """PostgreSQL would read a small table whole, which is in fact cheaper."""
    if connection.vendor == "postgresql":
        execute("SET enable_seqscan = off")
    yield
    if connection.vendor == "postgresql":
        execute("RESET enable_seqscan")
