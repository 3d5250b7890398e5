"""As openedx.core.djangoapps.user_api and .plugins of Open edX, in what matters to a retirement."""

import sys
from types import ModuleType

from django.apps import AppConfig
from django.dispatch import Signal

from tests.hosts.plugins import connect_plugin_receivers

USER_RETIRE_LMS_CRITICAL = Signal()


class UserApi(AppConfig):
    name = "tests.hosts.lms"
    label = "user_api"

    def ready(self) -> None:
        signals = ModuleType("openedx.core.djangoapps.user_api.accounts.signals")
        vars(signals).update(USER_RETIRE_LMS_CRITICAL=USER_RETIRE_LMS_CRITICAL)
        sys.modules[signals.__name__] = signals
        connect_plugin_receivers("lms.djangoapp")
