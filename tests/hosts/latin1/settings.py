from test_settings import *  # noqa: F403
from test_settings import DATABASES

CHARSET = "latin1"
TESTS = {
    "mysql": {"CHARSET": CHARSET, "COLLATION": "latin1_swedish_ci"},
    "postgresql": {"TEMPLATE": "program_intent_latin1"},
}
DATABASES = {"default": {**DATABASES["default"], "TEST": TESTS[DATABASES["default"]["ENGINE"].rpartition(".")[2]]}}
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "program_intent", "tests.hosts.text_user"]
AUTH_USER_MODEL = "text_user.Learner"
