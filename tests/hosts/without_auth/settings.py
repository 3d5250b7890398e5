SECRET_KEY = "of a host without django.contrib.auth"
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
INSTALLED_APPS = ["django.contrib.contenttypes", "program_intent", "tests.hosts.without_auth"]
AUTH_USER_MODEL = "without_auth.Learner"
