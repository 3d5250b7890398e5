"""Every setting has a default, and is read when used."""

import pytest
from django.test import override_settings

from program_intent import conf
from program_intent.checks.settings import check_settings


def test_a_host_that_sets_nothing_gets_the_defaults() -> None:
    assert (conf.learner_lookup_field(), conf.max_batch_size(), conf.ignored_parameters()) == ("pk", 1000, ())


@pytest.mark.parametrize("configured", [{}, {"MAX_BATCH_SIZE": 5}])
def test_a_key_left_out_has_its_default(configured: dict[str, int]) -> None:
    with override_settings(PROGRAM_INTENT=configured):
        assert conf.learner_lookup_field() == "pk"


def test_a_setting_is_read_on_each_call() -> None:
    with override_settings(PROGRAM_INTENT={"LEARNER_LOOKUP_FIELD": "username", "MAX_BATCH_SIZE": 5}):
        assert (conf.learner_lookup_field(), conf.max_batch_size()) == ("username", 5)
    assert (conf.learner_lookup_field(), conf.max_batch_size()) == ("pk", 1000)


@pytest.mark.parametrize("key", conf.SETTINGS)
def test_each_default_is_of_the_kind_that_is_checked(key: str) -> None:
    setting = conf.SETTINGS[key]
    assert setting.fits(setting.default)
    with override_settings(PROGRAM_INTENT={key: object()}):
        (error,) = check_settings()
        assert f"not {setting.kind}." in error.msg
