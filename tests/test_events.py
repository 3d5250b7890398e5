"""What events mean: the mapping of ``EVENTS`` as pure functions, which need neither a library nor a queue."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import override_settings

from program_intent import events
from program_intent.api import record_intents
from tests.builders import MOMENT, PROGRAM, stored_intents

AWARDED = "org.openedx.learning.program.certificate.awarded.v1"
MAPPING = {
    "learner": "program_certificate.user.pii.username",
    "program_uuid": "program_certificate.program.uuid",
    "effective_timestamp": "metadata.time",
    "reason": "PROGRAM_CERTIFICATE_AWARDED",
    "certainty": "CERTAIN_YES",
    "learner_field": "username",
}
ROW = {
    "learner": "ada",
    "program_uuid": str(PROGRAM),
    "effective_timestamp": MOMENT,
    "reason": "PROGRAM_CERTIFICATE_AWARDED",
    "certainty": "CERTAIN_YES",
}


def mapped(**changes: Any) -> Any:
    return override_settings(PROGRAM_INTENT={"EVENTS": {AWARDED: MAPPING | changes}})


def by_rows(name: str, **others: str) -> Any:
    return override_settings(PROGRAM_INTENT={"EVENTS": {"of.the.host": {"rows": f"{__name__}.{name}", **others}}})


def make_event() -> dict[str, Any]:
    """As openedx-events gives one, whose values are attributes."""
    user = SimpleNamespace(id=7, pii=SimpleNamespace(username="ada", email="ada@example.org"))
    certificate = SimpleNamespace(user=user, program=SimpleNamespace(uuid=str(PROGRAM)))
    return {"program_certificate": certificate, "metadata": SimpleNamespace(time=MOMENT)}


AS_JSON = {
    "program_certificate": {"user": {"pii": {"username": "ada"}}, "program": {"uuid": str(PROGRAM)}},
    "metadata": {"time": MOMENT},
}


@pytest.mark.parametrize("event", [make_event(), AS_JSON], ids=["attributes", "mappings"])
def test_paths_lead_through_attributes_and_mappings(event: dict[str, Any]) -> None:
    with mapped():
        assert events.rows(AWARDED, event) == [ROW]


def test_an_event_of_no_mapped_type_means_nothing() -> None:
    assert events.rows(AWARDED, make_event()) == []


def test_learners_are_named_by_the_field_of_the_mapping_else_by_the_lookup_field() -> None:
    others = {"LEARNER_LOOKUP_FIELD": "email", "EVENTS": {"a": {**MAPPING}, "b": {**MAPPING, "learner_field": None}}}
    with override_settings(PROGRAM_INTENT=others):
        assert [events.learner_field(name) for name in ("a", "b", "none")] == ["username", "email", "email"]


def test_a_host_with_its_own_queue_hands_the_rows_to_record_intents(ada: User) -> None:
    with mapped():
        for status in ("created", "duplicate"):
            outcomes = record_intents(events.rows(AWARDED, make_event()), learner_field=events.learner_field(AWARDED))
            assert [outcome.status for outcome in outcomes] == [status]
    (intent,) = stored_intents()
    assert (intent.learner_id, intent.program_uuid, intent.effective_timestamp) == (ada.pk, PROGRAM, MOMENT)


@pytest.mark.parametrize("name", ["learner", "program_uuid", "effective_timestamp"])
def test_a_row_that_lacks_a_part_is_refused_under_its_name(ada: User, name: str) -> None:
    """Also the time, which for a row of the host's own would be now: another intent at each delivery."""
    with mapped(**{name: "program_certificate.nothing.here"}):
        (outcome,) = record_intents(events.rows(AWARDED, make_event()), learner_field="username")
    assert outcome.errors == {name: ["This field is required."]}


def both_programs(event: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**ROW, "program_uuid": uuid} for uuid in event["programs"]]


def without_time(event: dict[str, Any]) -> list[dict[str, Any]]:
    return [{name: value for name, value in ROW.items() if name != "effective_timestamp"}]


def test_a_function_of_the_host_makes_any_number_of_rows() -> None:
    with by_rows("both_programs"):
        found = events.rows("of.the.host", {"programs": [1, 2]})
        assert [row["program_uuid"] for row in found] == [1, 2]
        assert events.rows("of.the.host", {"programs": []}) == []


def test_a_row_of_the_host_without_a_time_is_refused_too(ada: User) -> None:
    with by_rows("without_time", learner_field="username"):
        (outcome,) = record_intents(events.rows("of.the.host", {}), learner_field="username")
    assert outcome.errors == {"effective_timestamp": ["This field is required."]}
