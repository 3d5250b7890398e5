"""A small host on SQLite; fit for a look on your own machine, not for the internet."""

from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

DEBUG = True
SECRET_KEY = "for the example only"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "program_intent",
    "example_host",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
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
ROOT_URLCONF = "example_host.urls"
WSGI_APPLICATION = "example_host.wsgi.application"
STATIC_URL = "static/"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": BASE_DIR / "db.sqlite3",
        # Without it SQLite answers "database is locked" at once where a transaction reads before it writes.
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TIME_ZONE = "UTC"
USE_TZ = True

PROGRAM_INTENT = {
    "SOURCES": {
        "warehouse": {
            "URL": f"sqlite:///{BASE_DIR / 'warehouse.sqlite3'}",
            "QUERY": "SELECT * FROM program_intents",
            "CURSOR": "loaded_at",
        }
    },
    "EVENTS": {
        "org.openedx.learning.program.certificate.awarded.v1": {
            "learner": "program_certificate.user.id",
            "program_uuid": "program_certificate.program.uuid",
            "effective_timestamp": "metadata.time",
            "reason": "PROGRAM_CERTIFICATE_AWARDED",
            "certainty": "CERTAIN_YES",
            "learner_field": "pk",
        }
    },
}
# Those of the platform's producers, which the consumer goes by.
EVENT_BUS_REDIS_CONNECTION_URL = "redis://127.0.0.1:6379/0"
EVENT_BUS_TOPIC_PREFIX = "program-intent-demo"
SERVICE_VARIANT = "example"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.BasicAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Program intent, example host",
    "VERSION": "v1",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}
