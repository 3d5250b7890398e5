from test_settings import *  # noqa: F403
from test_settings import DATABASES

DATABASES = {"default": DATABASES["default"]}
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "program_intent", "tests.hosts.decimal_user"]
AUTH_USER_MODEL = "decimal_user.Learner"
