from test_settings import *  # noqa: F403
from test_settings import DATABASES, INSTALLED_APPS

DATABASES = {"default": DATABASES["default"]}
ROOT_URLCONF = "tests.hosts.own_intents.urls"
INSTALLED_APPS = [*INSTALLED_APPS, "tests.hosts.own_intents"]
