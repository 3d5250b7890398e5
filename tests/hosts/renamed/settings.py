from test_settings import *  # noqa: F403
from test_settings import DATABASES

DATABASES = {"default": DATABASES["default"]}
# The first names the tables of the others.
INSTALLED_APPS = [
    "tests.hosts.renamed",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "program_intent",
    "tests.hosts.text_user",
]
AUTH_USER_MODEL = "text_user.Learner"
