"""What events mean: the mapping of ``EVENTS`` as pure functions, which need neither a library nor a queue."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import override_settings

from program_intent import events
from program_intent.api import record_intents
from tests.builders import MOMENT, PROGRAM, stored_intents
from tests.reports import process_environment

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


GIVEN = [None, ROW, "rows", [None], [*ROW.items()], 7]


def given(event: dict[str, int]) -> Any:
    return GIVEN[event["place"]]


@pytest.mark.parametrize("place", range(len(GIVEN)))
def test_a_function_of_the_host_that_gives_no_rows_is_told_what_to_give(place: int) -> None:
    message = f"{__name__}.given: expected a list of rows, each a dict; an empty one if the event means none."
    with by_rows("given"), pytest.raises(TypeError) as raised:
        events.rows("of.the.host", {"place": place})
    assert str(raised.value) == message


def test_a_row_of_the_host_without_a_time_is_refused_too(ada: User) -> None:
    with by_rows("without_time", learner_field="username"):
        (outcome,) = record_intents(events.rows("of.the.host", {}), learner_field="username")
    assert outcome.errors == {"effective_timestamp": ["This field is required."]}


# The consumer, before anything is read


def consume(**settings: Any) -> str:
    with override_settings(PROGRAM_INTENT=settings), pytest.raises(CommandError) as raised:
        call_command("consume_program_intents", "--topic", "certificates", "--once")
    assert raised.value.returncode == 1
    return str(raised.value)


def test_a_consumer_without_redis_py_says_what_to_install(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    line = consume(EVENTS={AWARDED: MAPPING}, EVENTS_URL="redis://127.0.0.1")
    assert line.startswith("The event bus cannot be read (")
    assert line.endswith("): pip install 'program-intent[events]'")


def test_a_consumer_is_told_where_the_bus_is(db: None) -> None:
    line = consume(EVENTS={AWARDED: MAPPING})
    assert line == "Set EVENTS_URL, or EVENT_BUS_REDIS_CONNECTION_URL: where the event bus is."


def test_a_consumer_that_no_event_is_mapped_for_does_not_begin(db: None) -> None:
    assert consume() == 'PROGRAM_INTENT["EVENTS"] maps no event.'


def test_a_consumer_does_not_begin_with_a_mapping_that_lacks_something(db: None) -> None:
    assert consume(EVENTS={"a": {"rows": "here"}}).endswith("['rows'] is not the dotted path of a function.")


@pytest.mark.parametrize("options", [["--batch", "0"], ["--batch", "many"], ["--topic", "x" * 256]])
def test_wrong_usage_of_the_consumer_is_exit_status_2(options: list[str]) -> None:
    arguments = [sys.executable, "-m", "django", "consume_program_intents", "--topic", "a", *options]
    result = subprocess.run(arguments, env=process_environment(), capture_output=True, text=True)
    assert (result.returncode, "expected" in result.stderr) == (2, True)
