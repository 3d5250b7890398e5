"""As lms/envs/common.py of Open edX, in what matters to a plugin."""

from test_settings import *  # noqa: F403
from test_settings import DATABASES, INSTALLED_APPS
from tests.hosts.plugins import add_plugins, get_plugin_apps

PROJECT = "lms.djangoapp"
DATABASES = {
    "default": {**DATABASES["default"], "ATOMIC_REQUESTS": True},
    "read_replica": {**DATABASES["default"], "TEST": {**DATABASES["default"]["TEST"], "MIRROR": "default"}},
}
INSTALLED_APPS = [*(app for app in INSTALLED_APPS if app != "program_intent"), "tests.hosts.lms.apps.UserApi"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
ROOT_URLCONF = "tests.hosts.lms.urls"

INSTALLED_APPS.extend(get_plugin_apps(PROJECT))
add_plugins(__name__, PROJECT, "common")
