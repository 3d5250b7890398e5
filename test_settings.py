"""Settings of the test project; ENGINE chooses the database server: sqlite (default), postgresql, mariadb or mysql.

DATABASE names the database, so that runs side by side do not meet. A child process that is to see the
tests' own database is started with DATABASE=test_program_intent: it works on every engine.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

ENGINE = os.environ.get("ENGINE", "sqlite")
DATABASE = os.environ.get("DATABASE", "program_intent")
SQLITE_DIRECTORY = Path(tempfile.gettempdir(), "program_intent_sqlite")


def sqlite(name: str) -> dict[str, Any]:
    """A file, not memory: concurrency is tested by threads and processes with connections of their own."""
    SQLITE_DIRECTORY.mkdir(exist_ok=True)
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": SQLITE_DIRECTORY / f"{name}.sqlite3",
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
        "TEST": {"NAME": SQLITE_DIRECTORY / f"test_{name}.sqlite3"},
    }


def postgresql(name: str) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "HOST": os.environ.get("PGHOST", "127.0.0.1"),
        "PORT": os.environ.get("PGPORT", "5432"),
        "USER": os.environ.get("PGUSER", "postgres"),
        "PASSWORD": os.environ.get("PGPASSWORD", ""),
        # Django can only name a template; tests/conftest.py creates this one, with ICU as hosts have it.
        "TEST": {"TEMPLATE": "program_intent_icu"},
    }


def mariadb(name: str, *, variables: str = "MARIADB", port: str = "3306") -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.mysql",
        "NAME": name,
        "HOST": os.environ.get(f"{variables}_HOST", "127.0.0.1"),
        "PORT": os.environ.get(f"{variables}_PORT", port),
        "USER": os.environ.get(f"{variables}_USER", "root"),
        "PASSWORD": os.environ.get(f"{variables}_PASSWORD", ""),
        "TEST": {"CHARSET": "utf8mb4", "COLLATION": "utf8mb4_unicode_ci"},
    }


def mysql(name: str) -> dict[str, Any]:
    """On the port that .ci/mysql starts it on, beside a MariaDB."""
    return mariadb(name, variables="MYSQL", port="3307")


database = {"sqlite": sqlite, "postgresql": postgresql, "mariadb": mariadb, "mysql": mysql}[ENGINE]
DATABASES = {"default": database(DATABASE), "other": database(f"{DATABASE}_other")}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "program_intent",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "tests.urls"
STATIC_URL = "static/"
SECRET_KEY = "for tests only"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Not UTC, so that a local time mistaken for UTC shows.
TIME_ZONE = "America/New_York"
USE_TZ = True

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}
SPECTACULAR_SETTINGS = {"TITLE": "Program intent", "VERSION": "v1"}
