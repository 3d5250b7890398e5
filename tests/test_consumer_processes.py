"""Consumers of the event bus as real processes that meet bad luck: nothing is lost, nothing is doubled."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from io import StringIO
from pathlib import Path
from threading import Timer
from unittest import mock

import pytest
from django.core.management import call_command
from django.db import connection
from pytest_django import Settings

import test_settings
from program_intent.models import ProgramIntent, RejectedIntent, Run
from program_intent.sources import redis_streams
from tests.event_bus import (
    AWARDED,
    MAPPING,
    PERSONAL,
    PREFIX,
    STREAM,
    TOPIC,
    Bus,
    PrivateRedis,
    demand_event_bus,
    of_open_edx,
    private_redis,
)
from tests.proxy import Proxy
from tests.reports import ROOT, Loaded, make_learners, process_environment
from tests.test_load_processes import LIMIT, end, wait_until
from tests.test_sync_processes import go_on, wait_for_pause

demand_event_bus()
pytestmark = pytest.mark.django_db(transaction=True)

LEARNERS, EVENTS = 10, 100
ONCE = ("--once", "--batch", "40")


@pytest.fixture(scope="module")
def server() -> Iterator[PrivateRedis]:
    with private_redis() as redis:
        yield redis


class Consumers:
    """Processes that consume one topic, with settings and a log of their own."""

    def __init__(self, directory: Path, redis: PrivateRedis) -> None:
        self._directory = directory
        self.redis = redis
        self.log, self.log_of_stock = directory / "log", directory / "log of stock"
        settings = {
            "PROGRAM_INTENT": {"EVENTS": {AWARDED: MAPPING}},
            "EVENT_BUS_REDIS_CONNECTION_URL": redis.url,
            "EVENT_BUS_TOPIC_PREFIX": PREFIX,
        }
        of_stock = {
            "EVENT_BUS_CONSUMER": "edx_event_bus_redis.RedisEventConsumer",
            "INSTALLED_APPS": [*test_settings.INSTALLED_APPS, "openedx_events"],
            "LOGGING": {
                "version": 1,
                "handlers": {"file": {"class": "logging.FileHandler", "filename": str(self.log_of_stock)}},
                "root": {"level": "DEBUG", "handlers": ["file"]},
            },
        }
        for module, values in {"consumer_settings": settings, "stock_settings": settings | of_stock}.items():
            lines = ["from test_settings import *", *(f"{name} = {value!r}" for name, value in values.items())]
            Path(directory, f"{module}.py").write_text("\n".join(lines))

    def started(
        self, happens: str = "", *options: str, **environment: str
    ) -> AbstractContextManager["subprocess.Popen[bytes]"]:
        what = f"log {self.log}, {happens}".rstrip(", ")
        command = ("tests.consumer_process", what, "--topic", TOPIC, *options)
        return self._started("consumer_settings", *command, **environment)

    def stock(self, **environment: str) -> AbstractContextManager["subprocess.Popen[bytes]"]:
        """Open edX's own, with our receiver."""
        extra = json.dumps({"consumer_name": "one", "check_backlog": True})
        command = ("django", "consume_events", "--topic", TOPIC, "--group_id", "stock", "--extra", extra)
        return self._started("stock_settings", *command, **environment)

    @contextmanager
    def _started(self, settings: str, *command: str, **environment: str) -> Iterator["subprocess.Popen[bytes]"]:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=process_environment()
            | {"DJANGO_SETTINGS_MODULE": settings, "PYTHONPATH": f"{ROOT}{os.pathsep}{self._directory}"}
            | environment,
            cwd=ROOT,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        killer = Timer(LIMIT, process.kill)
        killer.start()
        try:
            yield process
        finally:
            killer.cancel()
            process.kill()
            process.communicate()

    def run(self, happens: str, *options: str) -> Loaded:
        with self.started(happens, *options) as process:
            return end(process)


def consume(*options: str, claimed_after: int = redis_streams.CLAIMED_AFTER) -> None:
    """In this process, which is quicker."""
    with mock.patch.object(redis_streams, "CLAIMED_AFTER", claimed_after):
        call_command("consume_program_intents", "--topic", TOPIC, *ONCE, *options, stdout=StringIO())


@pytest.fixture
def consumers(server: PrivateRedis, tmp_path: Path, transactional_db: None) -> Iterator[Consumers]:
    """In whose logs no test finds anybody's name."""
    make_learners(LEARNERS)
    found = Consumers(tmp_path, server)
    yield found
    text = found.log.read_text()
    assert not [name for name in PERSONAL if name in text]


@pytest.fixture
def bus(server: PrivateRedis, settings: Settings) -> Iterator[Bus]:
    settings.PROGRAM_INTENT = {"EVENTS": {AWARDED: MAPPING}}
    with of_open_edx(server) as found:
        yield found


def publish(bus: Bus, count: int = EVENTS) -> None:
    bus.publish(*(number % LEARNERS + 1 for number in range(count)))


def is_in(count: int) -> bool:
    return ProgramIntent.objects.count() == count


def expect_in(bus: Bus, count: int = EVENTS) -> None:
    """Every event is stored once, acknowledged, and brought by a run that knows of it."""
    assert (ProgramIntent.objects.count(), RejectedIntent.objects.count(), bus.pending()) == (count, 0, 0)
    for run in Run.objects.all():
        assert ProgramIntent.objects.filter(run=run).count() == run.created


KILLED = -signal.SIGKILL


@pytest.mark.parametrize(
    ("place", "stored"),
    [
        ("before commit 2", 0),  # the run
        ("before commit 3", 0),
        ("after settle 1", 40),
        ("before acknowledgement 1", 40),
        ("after acknowledgement 2", 80),
    ],
)
def test_what_a_killed_consumer_left_comes_in_by_the_next_once(
    consumers: Consumers, bus: Bus, place: str, stored: int
) -> None:
    publish(bus)
    assert consumers.run(f"kill {place}", *ONCE).status == KILLED
    assert is_in(stored)
    consume()  # of the same name
    expect_in(bus)


def test_what_is_killed_in_mid_transaction_is_not_there_and_comes_in_by_another_consumer(
    consumers: Consumers, bus: Bus
) -> None:
    publish(bus)
    assert consumers.run("kill before commit 4", *ONCE).status == KILLED  # that of the second batch
    assert is_in(40)
    consume("--consumer", "another", claimed_after=0)
    expect_in(bus)


def test_what_a_consumer_had_just_claimed_when_it_was_killed_comes_in_by_a_third(
    consumers: Consumers, bus: Bus
) -> None:
    publish(bus)
    assert consumers.run("kill before acknowledgement 1", *ONCE).status == KILLED
    assert consumers.run("claim after 0, kill after claim 1", *ONCE, "--consumer", "second").status == KILLED
    assert is_in(40)
    consume("--consumer", "third", claimed_after=0)
    expect_in(bus)


def test_three_consumers_share_the_work_and_the_others_do_that_of_one_that_is_killed(
    consumers: Consumers, bus: Bus
) -> None:
    count = 600
    with ExitStack() as stack:
        first = stack.enter_context(
            consumers.started("pause before acknowledgement 1", "--consumer", "first", "--batch", "20")
        )
        publish(bus, 20)
        wait_for_pause(first)
        others = [
            stack.enter_context(consumers.started("claim after 500", "--consumer", name, "--batch", "20"))
            for name in ("second", "third")
        ]
        bus.publish(*(number % LEARNERS + 1 for number in range(20, count)), after=20)
        first.kill()
        wait_until(lambda: is_in(count) and bus.pending() == 0)
        for process in others:
            process.terminate()
        assert [end(process).status for process in others] == [0, 0]
    expect_in(bus, count)
    assert Run.objects.count() == 3


def test_sigterm_finishes_the_batch_and_is_exit_status_0(consumers: Consumers, bus: Bus) -> None:
    publish(bus)
    with consumers.started("pause after settle 1", "--batch", "40") as process:
        wait_for_pause(process)
        process.terminate()
        go_on(process)
        ended = end(process)
    assert (ended.status, ended.stderr, ended.counts.created) == (0, "", 40)
    assert (is_in(40), bus.pending()) == (True, 0)
    assert Run.objects.get().status == "finished"


@pytest.mark.parametrize("place", ["after settle 1", "before commit 3"])
def test_ctrl_c_pressed_twice_loses_nothing_and_its_run_knows_what_is_stored(
    consumers: Consumers, bus: Bus, place: str
) -> None:
    publish(bus)
    with consumers.started(f"pause {place}", "--batch", "40") as process:
        wait_for_pause(process)
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)
        assert end(process).status == 0
    assert bus.pending() == 40
    consume()
    expect_in(bus)


def test_sigterm_ends_a_consumer_that_waits_for_news_at_once(consumers: Consumers, bus: Bus) -> None:
    publish(bus, 1)
    with consumers.started() as process:
        wait_until(lambda: is_in(1) and bus.pending() == 0)
        start = time.monotonic()
        process.terminate()
        assert end(process).status == 0
        assert time.monotonic() - start < 3  # a read waits for five seconds


def test_a_redis_that_restarts_with_its_data_loses_nothing(consumers: Consumers, bus: Bus) -> None:
    publish(bus)
    with consumers.started("pause before acknowledgement 1, claim after 0", "--batch", "40") as process:
        wait_for_pause(process)
        consumers.redis.stop()
        go_on(process)
        wait_until(lambda: "The event bus is away" in consumers.log.read_text())
        consumers.redis.start()
        wait_until(lambda: is_in(EVENTS) and bus.pending() == 0)
        bus.publish(1, after=EVENTS)
        wait_until(lambda: is_in(EVENTS + 1) and bus.pending() == 0)
        process.terminate()
        assert end(process).status == 0
    expect_in(bus, EVENTS + 1)


def test_a_redis_that_restarts_without_its_data_is_told_and_listened_to(consumers: Consumers, bus: Bus) -> None:
    publish(bus)
    with consumers.started() as process:
        wait_until(lambda: is_in(EVENTS) and bus.pending() == 0)
        consumers.redis.stop()
        consumers.redis.lose_data()
        consumers.redis.start()
        bus.publish(1, after=EVENTS)
        wait_until(lambda: is_in(EVENTS + 1) and bus.pending() == 0)
        process.terminate()
        assert end(process).status == 0
    assert f"{STREAM}: was read before, and has no such group" in consumers.log.read_text()


def test_a_group_that_is_deleted_under_a_waiting_consumer_is_told_and_made_again(
    consumers: Consumers, bus: Bus
) -> None:
    publish(bus)
    with consumers.started() as process:
        wait_until(lambda: is_in(EVENTS) and bus.pending() == 0)
        bus.redis.xgroup_destroy(STREAM, "program_intent")
        wait_until(lambda: f"{STREAM}: was read before, and has no such group" in consumers.log.read_text())
        bus.publish(1, after=EVENTS)
        wait_until(lambda: is_in(EVENTS + 1) and bus.pending() == 0)
        process.terminate()
        assert end(process).status == 0
    expect_in(bus, EVENTS + 1)


def test_a_redis_that_is_away_at_the_start_is_waited_for(consumers: Consumers, bus: Bus) -> None:
    publish(bus)
    consumers.redis.stop()
    with consumers.started() as process:
        wait_until(lambda: consumers.log.exists() and "The event bus is away" in consumers.log.read_text())
        consumers.redis.start()
        wait_until(lambda: is_in(EVENTS) and bus.pending() == 0)
        process.terminate()
        assert end(process).status == 0
    expect_in(bus)


def test_a_redis_that_stays_away_is_exit_status_1(consumers: Consumers, bus: Bus) -> None:
    publish(bus)
    with consumers.started("patience of 1") as process:
        wait_until(lambda: is_in(EVENTS) and bus.pending() == 0)
        consumers.redis.stop()
        ended = end(process)
    consumers.redis.start()
    assert (ended.status, ended.message.startswith("The event bus is away: ")) == (1, True)
    run = Run.objects.get()
    assert (run.status, run.message) == ("stopped", ended.message)


# The database

needs_a_server = pytest.mark.skipif(
    test_settings.ENGINE == "sqlite", reason="no line leads to SQLite: ENGINE=postgresql and the like"
)
VARIABLES = {"postgresql": "PG", "mariadb": "MARIADB_", "mysql": "MYSQL_"}


@pytest.fixture
def line() -> Iterator[Proxy]:
    """Between the consumers and their database."""
    found = Proxy(int(connection.settings_dict["PORT"]))
    yield found
    found.close()


def through(line: Proxy) -> dict[str, str]:
    variables = VARIABLES[test_settings.ENGINE]
    return {f"{variables}HOST": "127.0.0.1", f"{variables}PORT": str(line.port)}


@needs_a_server  # where writers need not queue
def test_two_consumers_that_refuse_the_same_event_at_once_keep_it_once_and_neither_fails(
    consumers: Consumers, bus: Bus
) -> None:
    bus.publish(LEARNERS + 1)
    with consumers.started("pause before settle 1", "--consumer", "second") as second:
        wait_for_pause(second)
        bus.put()
        with consumers.started("pause before commit 3", "--consumer", "first") as first:
            wait_for_pause(first)
            go_on(second)
            time.sleep(0.5)  # until it waits for the first
            go_on(first)
            wait_until(lambda: bus.pending() == 0)
            for process in (first, second):
                process.terminate()
            assert [end(process).status for process in (first, second)] == [0, 0]
    assert (ProgramIntent.objects.count(), RejectedIntent.objects.count()) == (0, 1)
    assert list(Run.objects.values_list("read", "rejected")) == [(1, 1), (1, 1)]
    assert "The database failed" not in consumers.log.read_text()


@needs_a_server
def test_a_database_that_is_away_for_a_while_is_waited_for_by_the_same_process(
    consumers: Consumers, bus: Bus, line: Proxy
) -> None:
    with consumers.started("pause before settle 1", "--batch", "40", **through(line)) as process:
        publish(bus)
        wait_for_pause(process)
        line.go_down()
        go_on(process)
        wait_until(lambda: consumers.log.read_text().count("The database failed: ") > 1)
        assert is_in(0)
        line.come_up()
        wait_until(lambda: is_in(EVENTS) and bus.pending() == 0)
        process.terminate()
        assert end(process).status == 0
    expect_in(bus)


@needs_a_server
def test_what_the_stock_consumer_loses_and_tells_of_people_with_the_database_away_ours_does_not(
    consumers: Consumers, bus: Bus, line: Proxy
) -> None:
    count = 10
    with consumers.stock(**through(line)):
        publish(bus, 1)
        wait_until(lambda: is_in(1))
        line.go_down()
        bus.publish(*range(1, count + 1), after=1)
        wait_until(lambda: bus.acknowledged("stock") == count + 1)
        line.come_up()
        publish(bus, 1)
        wait_until(lambda: bus.acknowledged("stock") == count + 2)
    assert is_in(1)  # though the receiver is ours
    told, (name, _, email) = consumers.log_of_stock.read_text(), PERSONAL
    assert (told.count("Error consuming event from Redis"), told.count(name), told.count(email)) == (count,) * 3

    with consumers.started("pause before settle 1", **through(line)) as process:
        wait_for_pause(process)
        line.go_down()
        go_on(process)
        wait_until(lambda: "The database failed: " in consumers.log.read_text())
        assert is_in(1)
        line.come_up()
        wait_until(lambda: is_in(count + 1) and bus.acknowledged() == count + 2)


@needs_a_server
def test_a_database_that_stays_away_is_exit_status_75_and_the_next_start_brings_all(
    consumers: Consumers, bus: Bus, line: Proxy
) -> None:
    with consumers.started("patience of 1, pause before settle 2", "--batch", "40", **through(line)) as process:
        publish(bus)
        wait_for_pause(process)
        line.go_down()
        go_on(process)
        ended = end(process)
    assert ended.status == 75
    assert ended.message.startswith("The database failed for ")
    assert (is_in(40), bus.pending()) == (True, 40)
    consume()
    expect_in(bus)


@needs_a_server
def test_a_database_that_is_away_at_the_start_is_exit_status_75(consumers: Consumers, bus: Bus, line: Proxy) -> None:
    publish(bus)
    line.go_down()
    with consumers.started("patience of 1", **through(line)) as process:
        assert end(process).status == 75
    consume()
    expect_in(bus)


@needs_a_server
def test_sigterm_ends_a_consumer_that_waits_for_its_database(consumers: Consumers, bus: Bus, line: Proxy) -> None:
    with consumers.started("pause before settle 1", **through(line)) as process:
        publish(bus)
        wait_for_pause(process)
        line.go_down()
        go_on(process)
        wait_until(lambda: "The database failed: " in consumers.log.read_text())
        process.terminate()
        assert end(process).status == 0
    assert is_in(0)
    consume()
    expect_in(bus)
