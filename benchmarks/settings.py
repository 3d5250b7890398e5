"""The test project on databases of its own; ENGINE chooses sqlite, postgresql or mariadb as it does for the tests."""

import os

from test_settings import *  # noqa: F403  # Django reads whatever is there
from test_settings import database

DATABASES = {"default": database(os.environ.get("BENCHMARK_DATABASE", "program_intent_benchmark"))}
# LOAD DATA LOCAL INFILE is a baseline; the loader does not need it.
if DATABASES["default"]["ENGINE"].endswith("mysql"):
    DATABASES["default"]["OPTIONS"] = {"local_infile": True}
DEBUG = False
ALLOWED_HOSTS = ["testserver"]
