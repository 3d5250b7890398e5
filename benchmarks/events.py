"""Our reader of the event bus beside the stock one with a receiver, and how soon an event is an answer."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from io import StringIO
from statistics import quantiles
from typing import Any
from uuid import UUID

from django.core.management import call_command
from django.test.utils import override_settings

from benchmarks import database
from benchmarks.results import Result, timed
from program_intent.api import get_latest_certain_intents, record_intent
from program_intent.models import ProgramIntent
from tests.event_bus import AWARDED, MAPPING, PREFIX, STREAM, TOPIC, Bus, of_open_edx, private_redis

LEARNERS = 1000
EVENTS_PER_SECOND, SECONDS = 100, 10
CONSUMER = """
import os, django
django.setup()
from django.conf import settings
from django.core.management import call_command
settings.PROGRAM_INTENT = eval(os.environ["MAPPED"])
settings.EVENT_BUS_TOPIC_PREFIX, settings.EVENT_BUS_REDIS_CONNECTION_URL = os.environ["PREFIX"], os.environ["URL"]
call_command("consume_program_intents", "--topic", os.environ["TOPIC"], stdout=open(os.devnull, "w"))
"""


def events(rows: int) -> list[Result]:
    database.create(users=LEARNERS)
    mapped = {"EVENTS": {AWARDED: MAPPING}}
    with private_redis() as redis, override_settings(PROGRAM_INTENT=mapped), of_open_edx(redis) as bus:
        bus.publish(*(number % LEARNERS + 1 for number in range(rows)))
        ours = rows / timed(consume)
        expect(rows)
        database.empty()
        few = min(rows, 2000)
        stock = few / timed(stock_consumer(few))
        expect(few)
        database.empty()
        environment = os.environ | {"MAPPED": repr(mapped), "URL": redis.url, "PREFIX": PREFIX, "TOPIC": TOPIC}
        bus.redis.delete(STREAM)
        with subprocess.Popen([sys.executable, "-c", CONSUMER], env=environment) as process:
            seconds = answered_after(bus)
            process.terminate()
    percentile = quantiles(seconds, n=100)[98]
    told = f"from publishing to the answer, 99th percentile at {EVENTS_PER_SECOND} events/s"
    return [
        Result("rate of a reader of the bus to the stock consumer's with record_intent", ours / stock, 8, True),
        Result(f"rate of a reader of {rows:,} events", ours, unit="events/s"),
        Result(f"rate of the stock consumer, {few:,} events", stock, unit="events/s"),
        Result(told, percentile, 1, unit="s"),
    ]


def consume() -> None:
    call_command("consume_program_intents", "--topic", TOPIC, "--once", stdout=StringIO())


def expect(count: int) -> None:
    if (stored := ProgramIntent.objects.count()) != count:
        sys.exit(f"{stored:,} instead of {count:,} stored")


def stock_consumer(count: int) -> Callable[[], None]:
    """``consume_events`` as a host would use it, until it has read so many."""
    from edx_event_bus_redis.internal.consumer import RedisEventConsumer
    from openedx_events.learning.signals import PROGRAM_CERTIFICATE_AWARDED

    seen = 0

    def receive(metadata: Any, program_certificate: Any, **others: Any) -> None:
        nonlocal seen
        learner, program = program_certificate.user.id, program_certificate.program.uuid
        constants = {"reason": MAPPING["reason"], "certainty": MAPPING["certainty"]}
        record_intent(learner, program, effective_timestamp=metadata.time, **constants)
        seen += 1
        if seen == count:
            consumer._shut_down()

    PROGRAM_CERTIFICATE_AWARDED.connect(receive, weak=False)
    consumer = RedisEventConsumer(TOPIC, "stock", "one", check_backlog=True)
    return consumer.consume_indefinitely  # type: ignore[no-any-return]  # the bus has no types


def answered_after(bus: Bus) -> list[float]:
    """Seconds from publishing an event to the moment when a page that asks all the time is told."""
    published: dict[UUID, float] = {}
    found: dict[UUID, float] = {}
    bus.publish(1, program=UUID(int=0))
    while not get_latest_certain_intents(1):  # until the consumer is up
        time.sleep(0.05)
    start = time.perf_counter()
    count = EVENTS_PER_SECOND * SECONDS
    while len(found) < count:
        now = time.perf_counter()
        if len(published) < count and now >= start + len(published) / EVENTS_PER_SECOND:
            program = UUID(int=len(published) + 1)
            bus.publish(len(published) % LEARNERS + 1, program=program)
            published[program] = now
        waiting = next((each for each in published if each not in found), None)
        if waiting and waiting in get_latest_certain_intents((waiting.int - 1) % LEARNERS + 1):
            found[waiting] = time.perf_counter()
    return [found[program] - published[program] for program in found]
