"""The consumer of the event bus, with the producer of Open edX: none lost, none doubled, nobody named in a log."""

import logging
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.db.utils import DataError
from pytest_django import Settings

from program_intent.intake import consumer as consumer_module
from program_intent.intake import events
from program_intent.intake.consumer import Consumer
from program_intent.models import ProgramIntent, RejectedIntent, Run
from program_intent.sources import redis_streams
from program_intent.sources.redis_streams import Streams
from tests.builders import PROGRAM
from tests.event_bus import (
    AWARDED,
    ENROLLED,
    MAPPING,
    PERSONAL,
    PREFIX,
    START,
    STREAM,
    TOPIC,
    Bus,
    PrivateRedis,
    demand_event_bus,
    of_open_edx,
    private_redis,
)
from tests.reports import make_learners

demand_event_bus()
pytestmark = pytest.mark.django_db

LEARNERS = 3


@pytest.fixture(scope="module")
def server() -> Iterator[PrivateRedis]:
    with private_redis() as redis:
        yield redis


@pytest.fixture
def bus(server: PrivateRedis, settings: Settings, db: None, caplog: pytest.LogCaptureFixture) -> Iterator[Bus]:
    """Of which no test finds anybody's name in a log line."""
    make_learners(LEARNERS)
    settings.PROGRAM_INTENT = {"EVENTS": {AWARDED: MAPPING}}
    with of_open_edx(server) as found, caplog.at_level(logging.DEBUG):
        yield found
    texts = "\n".join(f"{record.getMessage()} {vars(record)} {record.exc_text}" for record in caplog.records)
    assert not [name for name in PERSONAL if name in texts]


def consume(*options: str, topics: Sequence[str] = (TOPIC,)) -> tuple[int, str]:
    """The exit status and the last line of a consumer that stores what is there."""
    try:
        call_command("consume_program_intents", "--topic", *topics, "--once", *options, stdout=StringIO())
    except CommandError as error:
        return error.returncode, str(error)
    return 0, ""


def retry() -> None:
    call_command("retry_rejected_program_intents", stdout=StringIO())


IN_SETTINGS = f"PROGRAM_INTENT[\"EVENTS\"]['{AWARDED}']"
REJECTED = (3, "1 row was rejected for the first time: the admin lists them.")


def counts() -> tuple[int, int, int]:
    return ProgramIntent.objects.count(), RejectedIntent.objects.count(), Run.objects.count()


def test_an_event_is_stored_once_and_brought_by_a_run(bus: Bus) -> None:
    bus.publish(1, 2)
    assert consume() == (0, "")
    intents = ProgramIntent.objects.order_by("learner")
    assert [(each.learner_id, each.program_uuid, each.reason) for each in intents] == [
        (1, PROGRAM, "PROGRAM_CERTIFICATE_AWARDED"),
        (2, PROGRAM, "PROGRAM_CERTIFICATE_AWARDED"),
    ]
    assert intents[0].effective_timestamp == START
    run = Run.objects.get()
    assert (run.kind, run.source, run.status) == ("events", TOPIC, "finished")
    assert (run.read, run.created, run.rejected) == (2, 2, 0)
    assert {each.run_id for each in intents} == {run.pk}
    assert bus.pending() == 0


def test_the_log_says_when_a_run_begins_and_what_it_did(
    bus: Bus, caplog: pytest.LogCaptureFixture, django_capture_on_commit_callbacks: Any
) -> None:
    bus.publish(1, 99)
    with django_capture_on_commit_callbacks(execute=True):
        consume()
    begins, ends = (record for record in caplog.records if record.name == "program_intent.events")
    key = Run.objects.get().pk
    assert (begins.getMessage(), ends.getMessage()) == (f"Run {key} begins", f"Run {key} finished")
    assert vars(ends)["counts"] == {"read": 2, "created": 1, "duplicate": 0, "rejected": 1, "erased": 0}


def test_a_consumer_that_reads_nothing_leaves_no_run(bus: Bus) -> None:
    bus.publish(1)
    assert consume() == consume() == (0, "")
    assert counts() == (1, 0, 1)


def test_messages_from_before_the_first_start_are_read(bus: Bus) -> None:
    bus.publish(1)
    bus.redis.xgroup_create(STREAM, "another", id="$")
    assert consume("--group", "program_intent") == (0, "")
    assert counts() == (1, 0, 1)


def test_once_ends_though_more_comes_all_the_time(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    def acknowledge_and_publish(self: Streams, stream: str, ids: list[str]) -> None:
        acknowledge(self, stream, ids)
        if bus.redis.xlen(STREAM) < 20:
            bus.put()

    acknowledge = Streams.acknowledge
    monkeypatch.setattr(Streams, "acknowledge", acknowledge_and_publish)
    bus.publish(1)
    assert consume() == (0, "")
    assert Run.objects.get().read == 1


def test_events_of_no_mapped_type_are_passed_over(bus: Bus) -> None:
    bus.enroll(1, "course-v1:edX+DS101+2026")
    bus.publish(1)
    assert consume() == (0, "")
    assert (counts(), bus.pending()) == ((1, 0, 1), 0)


def test_ten_thousand_deliveries_of_one_event_are_one_intent(bus: Bus) -> None:
    bus.publish(1)
    _, fields = bus.last()
    with bus.redis.pipeline(transaction=False) as pipeline:
        for _ in range(9_999):
            pipeline.xadd(STREAM, fields)
        pipeline.execute()
    assert consume("--batch", "2000") == (0, "")
    run = Run.objects.get()
    assert (run.read, run.created, run.duplicate, counts()) == (10_000, 1, 9_999, (1, 0, 1))


def test_an_unknown_learner_is_kept_once_and_comes_in_by_a_retry_after_signing_up(bus: Bus) -> None:
    bus.publish(1, LEARNERS + 1)
    bus.put()
    assert consume() == REJECTED
    (kept,) = RejectedIntent.objects.all()
    assert (kept.source, kept.learner_field, kept.learner) == (TOPIC, "pk", str(LEARNERS + 1))
    assert kept.error == f"learner: No user is named by {LEARNERS + 1}."
    make_learners_up_to(LEARNERS + 1)
    retry()
    assert counts()[:2] == (2, 0)
    assert Run.objects.latest("pk").kind == "retry"
    assert ProgramIntent.objects.get(learner=LEARNERS + 1).effective_timestamp == START.replace(second=1)


def make_learners_up_to(key: int) -> None:
    from django.contrib.auth.models import User

    User.objects.create(pk=key, username=f"learner{key}")


def test_a_poison_event_is_kept_as_its_five_values_and_the_others_are_stored(bus: Bus) -> None:
    bus.publish(1, program="not a program")
    bus.publish(2)
    assert consume() == REJECTED
    kept = RejectedIntent.objects.values("learner", "program_uuid", "reason", "certainty", "effective_timestamp").get()
    assert list(kept.values()) == ["1", "not a program", MAPPING["reason"], "CERTAIN_YES", str(START)]
    assert consume() == (0, "")
    assert (counts()[:2], bus.pending()) == ((1, 1), 0)


def test_an_event_without_a_program_is_rejected(bus: Bus) -> None:
    bus.publish(1, program="")
    assert consume() == REJECTED
    assert RejectedIntent.objects.get().error == "program_uuid: This field is required."


# Messages that cannot be read


def shortened(fields: Any) -> bytes:
    return bytes(fields[b"event_data"][:-5])


def lengthened(fields: Any) -> bytes:
    return bytes(fields[b"event_data"] + b"\x02")


@pytest.mark.parametrize("spoilt", [shortened, lengthened])
def test_a_message_of_another_version_is_kept_without_anything_of_it(bus: Bus, spoilt: Callable[[Any], bytes]) -> None:
    bus.publish(1)
    key = bus.put(event_data=spoilt(bus.last()[1]))
    assert consume() == REJECTED
    kept = RejectedIntent.objects.get()
    assert (kept.source, kept.key, kept.attempts) == (TOPIC, key, 1)
    assert [kept.learner, kept.program_uuid, kept.effective_timestamp] == [""] * 3
    assert kept.error.startswith("The message cannot be read: ")
    assert counts()[0] == 1
    retry()  # which reads it no better
    assert counts() == (1, 1, 1)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"type": None}, "The message has no type."),
        ({"event_data": None}, "The message cannot be read: KeyError."),
        ({"time": None}, "The message cannot be read: KeyError."),
        ({"time": b"2026-01-01T00:00:00"}, "The message cannot be read: ValueError."),
        ({"time": b"99999-01-01T00:00:00+00:00"}, "The message cannot be read: ValueError."),
        ({"time": b"-0001-01-01T00:00:00+00:00"}, "The message cannot be read: ValueError."),
        ({"sourcelib": b"[" * 100_000}, "The message cannot be read: ValueError."),
        ({"id": b"\xff"}, "The message cannot be read: UnicodeDecodeError."),
        ({"id": b"\0"}, "The message cannot be read: ValueError."),
    ],
)
def test_a_message_that_cannot_be_read_is_kept_by_its_id(bus: Bus, changes: dict[str, Any], error: str) -> None:
    bus.publish(1)
    key = bus.put(**changes)
    assert consume() == REJECTED
    assert RejectedIntent.objects.values_list("key", "error").get() == (key, error)
    assert (counts()[0], bus.pending()) == (1, 0)


def test_two_messages_that_cannot_be_read_are_two(bus: Bus) -> None:
    bus.publish(1)
    bus.put(type=None)
    bus.put(type=None)
    assert consume() == (3, "2 rows were rejected for the first time: the admin lists them.")


def test_a_mapped_type_that_openedx_events_lacks_is_kept_until_it_has_it(bus: Bus, settings: Settings) -> None:
    settings.PROGRAM_INTENT = {"EVENTS": {AWARDED: MAPPING, "of.a.newer.one": MAPPING}}
    bus.publish(1)
    bus.put(type=b"of.a.newer.one")
    assert consume() == REJECTED
    assert RejectedIntent.objects.get().error == "The installed openedx-events has no of.a.newer.one."


# A function of the host's

PROGRAM_OF_COURSE = {"course-v1:edX+DS101+2026": str(PROGRAM)}
calls: list[str] = []


def rows_of_enrollment(event: dict[str, Any]) -> list[dict[str, Any]]:
    enrollment = event["enrollment"]
    program = PROGRAM_OF_COURSE.get(str(enrollment.course.course_key))
    row = {"reason": "ENROLLED", "certainty": "MAYBE", "effective_timestamp": event["metadata"].time}
    return [{"learner": enrollment.user.id, "program_uuid": program, **row}] if program else []


class Mood:
    """What the function below raises; None if it is well."""

    error: Exception | None = None


def rows_or_not(event: dict[str, Any]) -> list[dict[str, Any]]:
    if Mood.error:
        raise Mood.error
    return rows_of_enrollment(event)


@pytest.fixture
def by_rows(bus: Bus, settings: Settings) -> Iterator[Bus]:
    mapping = {"rows": f"{__name__}.rows_or_not", "learner_field": "pk"}
    settings.PROGRAM_INTENT = {"EVENTS": {AWARDED: MAPPING, ENROLLED: mapping}}
    yield bus
    Mood.error = None


COURSE = "course-v1:edX+DS101+2026"


def test_a_function_of_the_host_maps_courses_to_programs(by_rows: Bus) -> None:
    by_rows.enroll(1, COURSE)
    by_rows.enroll(2, "course-v1:edX+Other+2026")
    assert consume() == (0, "")
    assert ProgramIntent.objects.values_list("learner", "program_uuid", "reason").get() == (1, PROGRAM, "ENROLLED")
    assert by_rows.pending() == 0


class Unspeakable:
    def __repr__(self) -> str:
        raise KeyError(PERSONAL[0])


def nested() -> Any:
    found: Any = PERSONAL[0]
    for _ in range(100_000):
        found = [found]
    return found


@pytest.mark.parametrize(
    ("make", "shown"),
    [
        (lambda: 10**6000, " a int."),
        (Unspeakable, " a Unspeakable."),
        (nested, " a list."),
        (lambda: "\ud800\0", r" '\ud800\x00'."),
        (lambda: b"\xff\0", r" b'\xff\x00'."),
    ],
)
def test_a_value_that_no_text_or_no_database_can_spell_is_rejected_and_stops_nobody(
    by_rows: Bus, monkeypatch: pytest.MonkeyPatch, make: Callable[[], Any], shown: str
) -> None:
    value = make()
    row = {"learner": 1, "program_uuid": PROGRAM, "certainty": "MAYBE", "reason": "R", "effective_timestamp": START}
    monkeypatch.setitem(globals(), "rows_of_enrollment", lambda event: [row | {name: value} for name in row])
    by_rows.enroll(1, COURSE)
    by_rows.publish(2)
    assert consume() == (3, "5 rows were rejected for the first time: the admin lists them.")
    assert (counts(), by_rows.pending()) == ((1, 5, 1), 0)
    errors = RejectedIntent.objects.values_list("error", flat=True)
    assert all(error.endswith(shown) for error in errors)


@pytest.mark.parametrize("error", [KeyError(PERSONAL[0]), DataError(PERSONAL[2])])
def test_a_function_that_raises_is_tried_five_times_then_kept_and_retried_from_the_stream(
    by_rows: Bus, error: Exception
) -> None:
    Mood.error = error
    by_rows.enroll(1, COURSE)
    by_rows.publish(2)
    for _ in range(4):
        assert consume() == (0, "")
        assert (counts(), by_rows.pending()) == ((1, 0, 1), 1)
    assert consume() == REJECTED
    kept = RejectedIntent.objects.get()
    key = by_rows.redis.xrange(STREAM)[0][0].decode()
    assert (kept.key, kept.learner) == (key, "")
    assert kept.error == f"The function {__name__}.rows_or_not raised {type(error).__name__}."
    assert by_rows.pending() == 0

    retry()  # which is of no use yet
    assert counts() == (1, 1, 2)
    Mood.error = None
    retry()
    assert counts() == (2, 0, 3)
    assert Run.objects.latest("pk").kind == "retry"
    assert {run.read for run in Run.objects.filter(kind="retry")} == {1}


def test_a_consumer_that_goes_on_takes_up_again_what_raised(
    by_rows: Bus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(redis_streams, "CLAIMED_AFTER", 0)  # not after a minute
    Mood.error = KeyError()
    by_rows.enroll(1, COURSE)
    consumer = Consumer([TOPIC], group="program_intent", name="here", batch=10, by="tests")
    consumer._begin()
    for _ in range(5):
        consumer._round(is_patient=False)
    assert RejectedIntent.objects.exists()
    assert [line.partition("try ")[2][:6] for line in told(caplog)] == ["1 of 5", "2 of 5", "3 of 5", "4 of 5"]


def test_what_a_retry_reads_and_refuses_is_kept_as_its_values(by_rows: Bus) -> None:
    Mood.error = KeyError()
    by_rows.enroll(LEARNERS + 1, COURSE)
    for _ in range(5):
        consume()
    Mood.error = None
    retry()
    assert RejectedIntent.objects.get().learner == str(LEARNERS + 1)


def test_a_broker_that_is_away_while_messages_are_retried_stops_no_other_source(
    by_rows: Bus, settings: Settings
) -> None:
    Mood.error = KeyError()
    by_rows.enroll(1, COURSE)
    by_rows.publish(LEARNERS + 1)
    for _ in range(5):
        consume()
    RejectedIntent.objects.exclude(learner="").update(source="warehouse")
    make_learners_up_to(LEARNERS + 1)
    settings.EVENT_BUS_REDIS_CONNECTION_URL = "redis://127.0.0.1:1/0"
    with pytest.raises(CommandError, match="The event bus cannot be read: ") as raised:
        retry()
    assert raised.value.returncode == 1
    assert counts()[:2] == (1, 1)


def test_a_message_whose_type_is_not_mapped_while_it_is_retried_stays_kept(by_rows: Bus, settings: Settings) -> None:
    Mood.error = KeyError()
    by_rows.enroll(1, COURSE)
    for _ in range(5):
        consume()
    Mood.error = None
    mapped, settings.PROGRAM_INTENT = settings.PROGRAM_INTENT, {}
    retry()
    assert RejectedIntent.objects.exists()
    settings.PROGRAM_INTENT = mapped
    retry()
    assert counts()[:2] == (1, 0)


def test_a_message_that_was_trimmed_before_it_is_retried_stays_told(by_rows: Bus) -> None:
    Mood.error = KeyError()
    by_rows.enroll(1, COURSE)
    for _ in range(5):
        consume()
    by_rows.redis.xtrim(STREAM, maxlen=0)
    Mood.error = None
    retry()
    assert counts() == (0, 1, 1)


AWAY = (
    75,
    "The database failed for 60 seconds; start me again: "
    "The function tests.test_consumer.rows_or_not raised OperationalError.",
)


def test_a_function_that_finds_the_database_away_is_no_try(by_rows: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_module, "PATIENCE", 0)
    Mood.error = OperationalError(PERSONAL[0])
    by_rows.enroll(1, COURSE)
    for _ in range(6):
        assert consume() == AWAY
    Mood.error = KeyError()
    consume()
    assert counts() == (0, 0, 0)
    Mood.error = None
    assert consume() == (0, "")
    assert counts() == (1, 0, 1)


# What is lost is told


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


SYNC = "comes in by sync_program_intents."


def test_messages_that_were_trimmed_before_they_were_read_are_told_once(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    bus.publish(1)
    consume()
    bus.publish(2, 3, after=10)
    bus.redis.xtrim(STREAM, maxlen=1, approximate=False)
    consume()
    consume()
    assert told(caplog) == [f"{STREAM}: Messages were trimmed before they were stored. What they said {SYNC}"]
    assert counts()[0] == 2


def test_messages_that_were_trimmed_after_they_were_stored_are_not_told(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    bus.publish(1, 2)
    consume()
    bus.redis.xtrim(STREAM, maxlen=0, approximate=False)
    consume()
    bus.publish(3, after=10)
    consume()
    is_counted = int(bus.redis.info("server")["redis_version"].split(".")[0]) >= 7
    line = f"{STREAM}: Messages were trimmed before they were stored. What they said {SYNC}"
    assert (told(caplog), counts()[0]) == ([] if is_counted else [line], 3)  # 6.2 cannot know


@pytest.mark.parametrize("reader", ["own", "another"])
def test_pending_messages_that_were_trimmed_are_told(
    bus: Bus, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    monkeypatch.setattr(redis_streams, "CLAIMED_AFTER", 0)
    bus.publish(1, 2)
    bus.redis.xgroup_create(STREAM, "program_intent", id="0")
    bus.redis.xreadgroup("program_intent", "own", {STREAM: ">"})
    bus.redis.xtrim(STREAM, maxlen=0, approximate=False)
    consume("--consumer", reader)
    assert told(caplog) == [f"{STREAM}: 2 messages were trimmed before they were stored. What they said {SYNC}"]
    assert bus.pending() == 0


def test_pending_messages_that_were_trimmed_are_found_by_the_answer_of_redis_6_2(
    server: PrivateRedis, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus.publish(1, 2)
    streams = redis_streams.Streams(server.url, group="program_intent", consumer="own", batch=10)
    streams.open(STREAM)
    given = [message.id for _, messages in streams.new([STREAM], is_patient=False) for message in messages]
    bus.redis.xtrim(STREAM, maxlen=1, approximate=False)
    # Of two parts, and of a message that is gone there is nothing; the last was in use a moment ago.
    monkeypatch.setattr(streams._redis, "xautoclaim", lambda *args, **options: [b"0-0", [(None, None)]])
    first, *rest = streams.claimed(STREAM)
    assert first == []
    assert [(message.id, bool(message.fields)) for batch in rest for message in batch] == [
        (given[0], False),
        (given[1], True),
    ]


def test_a_redis_that_came_back_empty_is_told_and_read_from_its_beginning(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    consume()  # the first start is nothing to tell of
    bus.publish(1)
    consume()
    assert told(caplog) == []
    bus.redis.flushall()
    bus.publish(2, after=10)
    consume()
    (line,) = told(caplog)
    assert line.startswith(f"{STREAM}: was read before, and has no such group: Redis came back without its data")
    assert line.endswith(SYNC)
    assert counts()[0] == 2


# Consumers


def test_what_another_left_is_taken_over_and_no_consumer_is_deleted(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    bus.publish(1, 2)
    bus.redis.xgroup_create(STREAM, "program_intent", id="0")
    bus.redis.xreadgroup("program_intent", "gone", {STREAM: ">"})
    consume("--consumer", "here")
    assert counts()[0] == 0  # it may be at work
    monkeypatch.setattr(redis_streams, "CLAIMED_AFTER", 0)
    consume("--consumer", "here")
    assert (counts()[0], bus.pending()) == (2, 0)
    assert [each["name"] for each in bus.redis.xinfo_consumers(STREAM, "program_intent")] == [b"gone", b"here"]


def test_own_pending_messages_are_read_at_once(bus: Bus) -> None:
    bus.publish(*([1] * 5))
    bus.redis.xgroup_create(STREAM, "program_intent", id="0")
    bus.redis.xreadgroup("program_intent", "own", {STREAM: ">"})
    consume("--consumer", "own", "--batch", "2")
    assert (counts()[0], bus.pending()) == (5, 0)


def test_several_topics_and_two_fields_that_name_learners_in_one_run(bus: Bus, settings: Settings) -> None:
    by_name = {**MAPPING, "learner": "program_certificate.user.pii.username", "learner_field": "username"}
    settings.PROGRAM_INTENT = {"EVENTS": {AWARDED: MAPPING, AWARDED.replace("awarded", "revoked"): by_name}}
    bus.publish(1)
    bus.publish(2, event_type=AWARDED.replace("awarded", "revoked"), after=5)
    bus.redis.xadd("tests-others", bus.redis.xrange(STREAM)[0][1])
    status, _ = consume(topics=[TOPIC, "others"])
    assert status == 3
    run = Run.objects.get()
    assert (run.source, run.read, run.created, run.duplicate) == (f"{TOPIC}, others", 3, 1, 1)
    assert RejectedIntent.objects.get().learner_field == "username"


# What is missing


def test_a_broker_that_stays_away_is_one_line_and_exit_status_1(
    bus: Bus, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("program_intent.intake.consumer.PATIENCE", 0)
    settings.PROGRAM_INTENT = {"EVENTS": {AWARDED: MAPPING}, "EVENTS_URL": "redis://ada:s3cret@127.0.0.1:1/0"}
    status, line = consume()
    assert (status, line.startswith("The event bus is away: "), "\n" in line) == (1, True, False)
    assert "s3cret" not in line


def test_a_broker_that_refuses_the_password_is_told_at_once(bus: Bus, server: PrivateRedis, settings: Settings) -> None:
    settings.PROGRAM_INTENT = {
        "EVENTS": {AWARDED: MAPPING},
        "EVENTS_URL": f"redis://ada:s3cret@127.0.0.1:{server.port}/0",
    }
    status, line = consume()
    assert (status, line.startswith("The event bus cannot be read: "), "s3cret" in line) == (1, True, False)


def test_a_key_that_is_no_stream_is_named(bus: Bus) -> None:
    bus.redis.set(STREAM, "a text")
    status, line = consume()
    assert (status, line.startswith(f"The event bus cannot be read: {STREAM}: WRONGTYPE ")) == (1, True)


@pytest.fixture
def full(server: PrivateRedis) -> Iterator[Callable[[], None]]:
    """Lets the memory of Redis be full, until the test ends."""
    client = server.client()
    yield lambda: client.config_set("maxmemory", 1)
    client.config_set("maxmemory", 0)
    client.close()


@pytest.mark.parametrize("consumer", ["own", "another"])
def test_a_redis_whose_memory_is_full_is_read(bus: Bus, full: Callable[[], None], consumer: str) -> None:
    consume("--consumer", "own")
    bus.publish(1)
    full()
    assert consume("--consumer", consumer) == (0, "")
    assert (counts()[0], bus.pending()) == (1, 0)


@pytest.mark.parametrize("wrong", ["port/0", "99999/0", "6379/0?colour=s3cret", "6379/0?protocol=3"])
def test_a_url_that_is_none_is_told_without_its_password(bus: Bus, settings: Settings, wrong: str) -> None:
    url = f"redis://ada:s3c@ret@127.0.0.1:{wrong}"
    settings.PROGRAM_INTENT = {"EVENTS": {AWARDED: MAPPING}, "EVENTS_URL": url}
    assert consume() == (1, "EVENTS_URL: expected one such as redis://user:password@host:6379/0.")


def test_what_a_url_says_of_reading_and_waiting_is_not_for_the_consumer(
    server: PrivateRedis, bus: Bus, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{server.url}?socket_timeout=0.1&decode_responses=true&max_connections=1"
    settings.PROGRAM_INTENT = {"EVENTS": {AWARDED: MAPPING}, "EVENTS_URL": url}
    monkeypatch.setattr(redis_streams, "BLOCK", 500)
    bus.publish(1)
    assert consume() == (0, "")
    streams = events.streams(group="program_intent", consumer="own", batch=10)
    assert streams.new([STREAM], is_patient=True) == []
    streams.close()


@pytest.mark.parametrize("option", ["--topic", "--group", "--consumer"])
@pytest.mark.parametrize("name", ["", " ", "a\nb", "\0", "\udcff"])
def test_a_name_that_cannot_be_told_is_refused(bus: Bus, option: str, name: str) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("consume_program_intents", "--topic", TOPIC, "--once", option, name)
    assert str(refused.value) == f"Error: argument {option}: expected printable characters, not {name!r}."


def test_a_topic_with_spaces_is_one(bus: Bus) -> None:
    bus.publish(1)
    bus.redis.rename(STREAM, f"{PREFIX}-of {TOPIC}")
    assert consume(topics=[f"of {TOPIC}"]) == (0, "")
    assert Run.objects.get().source == f"of {TOPIC}"


@pytest.mark.parametrize(
    ("mapped", "lookup", "line"),
    [
        ({"learner_field": "nickname"}, "pk", f"{IN_SETTINGS}['learner_field'] is not a field of the user model."),
        ({"learner_field": "groups"}, "pk", f"{IN_SETTINGS}['learner_field'] is not a column but a relation of"),
        ({"learner_field": []}, "pk", f"{IN_SETTINGS}['learner_field'] is not a str that names a field of"),
        ({}, "nickname", "LEARNER_LOOKUP_FIELD is not a field of the user model."),
    ],
)
def test_a_field_that_the_user_model_lacks_is_told_in_the_words_of_the_check_and_nothing_is_lost(
    bus: Bus, settings: Settings, mapped: dict[str, Any], lookup: str, line: str
) -> None:
    bus.publish(1)
    bus.put(type=None)
    settings.PROGRAM_INTENT = {"EVENTS": {AWARDED: MAPPING | mapped}, "LEARNER_LOOKUP_FIELD": lookup}
    status, told = consume()
    assert (status, told.startswith(line), "\n" in told) == (1, True, False)
    settings.PROGRAM_INTENT = {"EVENTS": {AWARDED: MAPPING}}
    assert consume() == REJECTED
    settings.PROGRAM_INTENT = {"EVENTS": {AWARDED: MAPPING | mapped}, "LEARNER_LOOKUP_FIELD": lookup}
    with pytest.raises(CommandError, match=re.escape(line)):
        retry()
    assert counts()[:2] == (1, 1)


def test_what_reads_the_messages_is_missing(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openedx_events.event_bus.avro", None)
    status, line = consume()
    assert (status, line.startswith("The events of Open edX cannot be read (")) == (1, True)
    assert line.endswith("): pip install openedx-events")


def test_an_idle_run_is_told_to_be_at_work(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "NEWS_AFTER", 0)
    bus.publish(1)
    consumer = Consumer([TOPIC], group="program_intent", name="here", batch=10, by="tests")
    consumer._begin()
    consumer._round(is_patient=False)
    Run.objects.update(updated=START)
    consumer._round(is_patient=False)
    run = Run.objects.get()
    assert (run.read, run.updated > START) == (1, True)


def test_a_run_that_ends_by_an_error_of_ours_is_told_as_stopped(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    bus.publish(1)

    def fail(*arguments: object) -> None:
        raise KeyError(PERSONAL[0])

    monkeypatch.setattr(Consumer, "_patiently", lambda self, work: work())
    monkeypatch.setattr(events.Stored, "tell_that_it_is_at_work", fail)
    with pytest.raises(KeyError):
        consume()
    run = Run.objects.get()
    assert (run.status, run.message, run.created) == ("stopped", "KeyError", 1)
