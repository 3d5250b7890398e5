"""As credentials/settings/base.py of Open edX, in what matters to a plugin."""

from test_settings import *  # noqa: F403
from test_settings import DATABASES
from tests.hosts.plugins import add_plugins, get_plugin_apps

PROJECT = "credentials.djangoapp"
DATABASES = {"default": DATABASES["default"]}
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "rest_framework",
    "drf_spectacular",
    "tests.hosts.credentials",
]
AUTH_USER_MODEL = "credentials.User"
ROOT_URLCONF = "tests.hosts.credentials.urls"

INSTALLED_APPS.extend(get_plugin_apps(PROJECT))
add_plugins(__name__, PROJECT, "base")
