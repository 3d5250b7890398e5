"""As lms/envs/production.py of Open edX: its YAML replaces whole settings, and then the plugins are asked once more."""

from tests.hosts.lms.common import *  # noqa: F403
from tests.hosts.lms.common import PROJECT
from tests.hosts.plugins import add_plugins

PROGRAM_INTENT = {"MAX_BATCH_SIZE": 10}

add_plugins(__name__, PROJECT, "production")
