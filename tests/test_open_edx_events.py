"""The events that openedx-events describes: what the checks know of them, and how messages are read."""

from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import override_settings

from tests.event_bus import demand_event_bus
from tests.test_events import AWARDED, MAPPING

demand_event_bus()

ENROLLED = "org.openedx.learning.course.enrollment.created.v1"


def problems(mapping: dict[str, str], event_type: str = AWARDED) -> list[str]:
    with override_settings(PROGRAM_INTENT={"EVENTS": {event_type: mapping}}):
        messages = [message for message in run_checks() if str(message.id).startswith("program_intent.")]
    assert {message.id for message in messages} <= {"program_intent.E011"}
    return [message.msg for message in messages]


def test_e011_the_installed_openedx_events_has_no_such_event() -> None:
    event_type = AWARDED.replace("v1", "v9")
    assert problems(MAPPING, event_type) == [
        f"PROGRAM_INTENT[\"EVENTS\"]['{event_type}']: the installed openedx-events has no such event."
    ]
    assert problems(MAPPING, "com.example.awarded.v9") == []


@pytest.mark.parametrize(
    "path",
    [
        "certificate.user.id",
        "program_certificate.user.lms_user_id",
        "program_certificate.user.pii.nickname",
        "program_certificate.user.id.value",
        "metadata.moment",
        "metadata",
        "program_certificate.user",
        "program_certificate.user.pii",
    ],
)
def test_e011_the_event_does_not_have_what_a_path_leads_to(path: str) -> None:
    assert problems({**MAPPING, "learner": path}) == [
        f"PROGRAM_INTENT[\"EVENTS\"]['{AWARDED}']['learner']: the event has no value at {path}."
    ]


@pytest.mark.parametrize("path", ["program_certificate.user.id", "metadata.time", "program_certificate.url"])
def test_a_path_that_the_event_has_passes(path: str) -> None:
    assert problems({**MAPPING, "learner": path}) == []


@pytest.mark.parametrize("path", ["enrollment.course.course_key.org", "enrollment.user.pii.name"])
def test_a_path_through_a_value_of_another_package_passes(path: str) -> None:
    mapping: dict[str, Any] = {**MAPPING, "learner": path, "program_uuid": path}
    assert problems(mapping, ENROLLED) == []
