"""Receivers of Open edX's events, in a host that sends and under the stock consumer: they never raise."""

import asyncio
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import path
from pytest_django import Settings

from program_intent.intake import receivers
from program_intent.models import ProgramIntent
from tests.event_bus import (
    AWARDED,
    ENROLLED,
    MAPPING,
    PERSONAL,
    START,
    TOPIC,
    demand_event_bus,
    make_certificate,
    make_enrollment,
    of_open_edx,
    private_redis,
)
from tests.reports import make_learners

demand_event_bus()

COURSE = "course-v1:edX+DS101+2026"


def rows_that_break_the_transaction(event: dict[str, Any]) -> list[dict[str, Any]]:
    User.objects.create(pk=1, username=PERSONAL[1])  # who is there: an error of the database
    return []


@pytest.fixture(autouse=True)
def listening(db: None, settings: Settings, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    from openedx_events.tooling import OpenEdxPublicSignal

    make_learners(2)
    settings.PROGRAM_INTENT = {
        "EVENTS": {
            AWARDED: MAPPING,
            ENROLLED: {"rows": f"{__name__}.rows_that_break_the_transaction", "learner_field": "pk"},
            "of.nobody": MAPPING,
        }
    }
    receivers.connect()
    receivers.connect()  # once is enough
    with caplog.at_level(logging.DEBUG):
        yield
    for event_type in (AWARDED, ENROLLED):
        assert OpenEdxPublicSignal.get_signal_by_type(event_type).disconnect(dispatch_uid="program_intent")
    told = "\n".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    assert not [name for name in PERSONAL if name in told]


def award(key: int, second: int = 0) -> None:
    from openedx_events.learning.signals import PROGRAM_CERTIFICATE_AWARDED

    PROGRAM_CERTIFICATE_AWARDED.send_event(
        send_robust=False, time=START + timedelta(seconds=second), program_certificate=make_certificate(key)
    )


def enroll(key: int) -> None:
    from openedx_events.learning.signals import COURSE_ENROLLMENT_CREATED

    COURSE_ENROLLMENT_CREATED.send_event(send_robust=False, enrollment=make_enrollment(key, COURSE))


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "program_intent.events"]


def test_an_event_that_the_host_sends_is_recorded_once(caplog: pytest.LogCaptureFixture) -> None:
    award(1)
    award(1)
    intent = ProgramIntent.objects.get()
    assert (intent.learner_id, intent.effective_timestamp, intent.run_id) == (1, START, None)
    assert warnings(caplog) == []


def test_what_the_host_rolls_back_was_never_recorded() -> None:
    with transaction.atomic():
        award(1)
        assert ProgramIntent.objects.count() == 1
        transaction.set_rollback(True)
    assert not ProgramIntent.objects.exists()


def test_a_row_that_is_rejected_is_told_without_a_name(caplog: pytest.LogCaptureFixture) -> None:
    award(99)
    assert warnings(caplog) == [f"An event {AWARDED} was not recorded: 1 of its rows were rejected"]


def test_a_field_that_the_user_model_lacks_is_told_in_a_line(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.PROGRAM_INTENT = {"EVENTS": {AWARDED: {**MAPPING, "learner_field": "nickname"}}}
    award(1)
    assert warnings(caplog) == [f"An event {AWARDED} was not recorded: FieldDoesNotExist"]


def test_an_event_that_async_code_sends_is_told_and_raises_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def send() -> None:
        award(1)

    asyncio.run(send())
    assert warnings(caplog) == [f"An event {AWARDED} was not recorded: SynchronousOnlyOperation"]


def test_an_error_of_the_database_leaves_the_hosts_transaction_usable(caplog: pytest.LogCaptureFixture) -> None:
    with transaction.atomic():
        enroll(1)
        User.objects.create(username="after")
        award(1)
    assert User.objects.filter(username="after").exists()
    assert ProgramIntent.objects.count() == 1
    assert warnings(caplog) == [f"An event {ENROLLED} was not recorded: IntegrityError"]


def page(request: HttpRequest) -> HttpResponse:
    enroll(1)
    award(1)
    if "fail" in request.GET:
        raise RuntimeError
    return HttpResponse("")


urlpatterns = [path("page/", page)]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("query", "stored"), [("", 1), ("?fail", 0)])
def test_in_a_request_that_is_a_transaction(monkeypatch: pytest.MonkeyPatch, query: str, stored: int) -> None:
    from django.db import connection

    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    with override_settings(ROOT_URLCONF=__name__):
        client = Client(raise_request_exception=False)
        assert client.get(f"/page/{query}").status_code == (500 if query else 200)
    assert ProgramIntent.objects.count() == stored


def test_what_the_stock_consumer_reads_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    from edx_event_bus_redis.internal.consumer import RedisEventConsumer

    with private_redis() as redis, of_open_edx(redis) as bus:
        consumer = RedisEventConsumer(TOPIC, "stock", "one", check_backlog=True)
        emit = consumer.emit_signals_from_message

        def emit_the_last(message: Any) -> None:
            emit(message)
            consumer._shut_down()

        monkeypatch.setattr(consumer, "emit_signals_from_message", emit_the_last)
        bus.publish(1)
        consumer.consume_indefinitely()
        assert bus.redis.xpending("tests-certificates", "stock")["pending"] == 0
    assert ProgramIntent.objects.values_list("learner", "effective_timestamp").get() == (1, START)


@pytest.mark.parametrize("configured", [None, [], {"EVENTS": []}, {"EVENTS": {1: 2}}])
def test_settings_that_the_checks_refuse_stop_no_host_from_starting(settings: Settings, configured: Any) -> None:
    settings.PROGRAM_INTENT = configured
    receivers.connect()
