"""Every setting has a default, and is read when used."""

import pytest
from django.test import override_settings

from program_intent import checks, conf


def test_a_host_that_sets_nothing_gets_the_defaults() -> None:
    assert (conf.learner_lookup_field(), conf.max_batch_size()) == ("pk", 1000)


@pytest.mark.parametrize("configured", [{}, {"MAX_BATCH_SIZE": 5}])
def test_a_key_left_out_has_its_default(configured: dict[str, int]) -> None:
    with override_settings(PROGRAM_INTENT=configured):
        assert conf.learner_lookup_field() == "pk"


def test_a_setting_is_read_on_each_call() -> None:
    with override_settings(PROGRAM_INTENT={"LEARNER_LOOKUP_FIELD": "username", "MAX_BATCH_SIZE": 5}):
        assert (conf.learner_lookup_field(), conf.max_batch_size()) == ("username", 5)
    assert (conf.learner_lookup_field(), conf.max_batch_size()) == ("pk", 1000)


def test_a_system_check_knows_what_each_setting_has_to_be() -> None:
    assert checks._EXPECTED.keys() == conf.DEFAULTS.keys()


def test_the_defaults_pass_their_own_checks() -> None:
    with override_settings(PROGRAM_INTENT=conf.DEFAULTS):
        assert checks.check_settings() == []
