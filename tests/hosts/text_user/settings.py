from test_settings import *  # noqa: F403
from test_settings import DATABASES

DATABASES = {"default": DATABASES["default"]}
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "program_intent",
    "tests.hosts.text_user",
]
AUTH_USER_MODEL = "text_user.Learner"
