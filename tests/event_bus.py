"""Open edX's event bus with its own producer, on a Redis of our own: EVENT_BUS=redis demands it."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from django.test import override_settings

from tests.builders import PROGRAM
from tests.private_mariadb import free_port

MISSING = [name for name in ("redis", "openedx_events", "edx_event_bus_redis") if find_spec(name) is None]
MISSING += [name for name in ("redis-server",) if shutil.which(name) is None]


def demand_event_bus() -> None:
    """Skips the module where the bus is missing."""
    if MISSING and not os.environ.get("EVENT_BUS"):
        pytest.skip(f"not installed: {', '.join(MISSING)}; tox -m events", allow_module_level=True)


AWARDED = "org.openedx.learning.program.certificate.awarded.v1"
REVOKED = "org.openedx.learning.program.certificate.revoked.v1"
ENROLLED = "org.openedx.learning.course.enrollment.created.v1"
MAPPING = {
    "learner": "program_certificate.user.id",
    "program_uuid": "program_certificate.program.uuid",
    "effective_timestamp": "metadata.time",
    "reason": "PROGRAM_CERTIFICATE_AWARDED",
    "certainty": "CERTAIN_YES",
    "learner_field": "pk",
}
PREFIX, TOPIC = "tests", "certificates"
STREAM = f"{PREFIX}-{TOPIC}"
# What no log line may show.
PERSONAL = ("Lovelace", "ada-of-the-bus", "bus@example.org")
START = datetime(2026, 1, 1, tzinfo=UTC)


class PrivateRedis:
    """A server that can be stopped and started again, with or without its data."""

    def __init__(self, directory: str) -> None:
        self.port = free_port()
        self._directory = directory
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        options = {"port": self.port, "dir": self._directory, "save": "", "appendonly": "yes", "appendfsync": "always"}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        self._process = subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL)
        client = self.client()
        deadline = time.monotonic() + 20
        while True:
            with suppress(Exception):
                client.ping()
                break
            assert time.monotonic() < deadline, "redis-server does not answer"
            time.sleep(0.02)
        client.close()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def lose_data(self) -> None:
        shutil.rmtree(self._directory)
        Path(self._directory).mkdir()

    def client(self) -> Any:
        import redis

        return redis.Redis.from_url(self.url, protocol=2)


@contextmanager
def private_redis() -> Iterator[PrivateRedis]:
    if MISSING:
        pytest.fail(f"EVENT_BUS demands the event bus; not installed: {', '.join(MISSING)}")
    with TemporaryDirectory() as directory:
        server = PrivateRedis(directory)
        try:
            yield server
        finally:
            server.stop()


class Bus:
    """What the platform's services put on the bus, by their own producer."""

    def __init__(self, redis: Any) -> None:
        from edx_event_bus_redis import create_producer
        from openedx_events.tooling import load_all_signals

        load_all_signals()
        self.redis = redis
        self._producer = create_producer()

    def publish(self, *keys: int, event_type: str = AWARDED, program: object = PROGRAM, after: int = 0) -> None:
        """A certificate for each of the learners, the first of them awarded so many seconds after ``START``."""
        for second, key in enumerate(keys, start=after):
            self.send(event_type, {"program_certificate": make_certificate(key, program)}, second)

    def enroll(self, key: int, course: str, second: int = 0) -> None:
        self.send(ENROLLED, {"enrollment": make_enrollment(key, course)}, second)

    def send(self, event_type: str, data: dict[str, Any], second: int = 0) -> None:
        from openedx_events.tooling import OpenEdxPublicSignal

        signal = OpenEdxPublicSignal.get_signal_by_type(event_type)
        metadata = signal.generate_signal_metadata(time=START + timedelta(seconds=second))
        sent = self.redis.xlen(STREAM)
        self._producer.send(signal=signal, topic=TOPIC, event_key_field="", event_data=data, event_metadata=metadata)
        assert self.redis.xlen(STREAM) == sent + 1  # it only logs what it cannot send

    def last(self) -> tuple[str, Mapping[bytes, bytes]]:
        ((key, fields),) = self.redis.xrevrange(STREAM, count=1)
        return key.decode(), fields

    def put(self, **changes: bytes | None) -> str:
        """The last message once more, with other fields; its id."""
        fields = {**self.last()[1], **{name.encode(): value for name, value in changes.items()}}
        return str(
            self.redis.xadd(STREAM, {name: value for name, value in fields.items() if value is not None}).decode()
        )

    def pending(self, group: str = "program_intent") -> int:
        return int(self.redis.xpending(STREAM, group)["pending"])

    def acknowledged(self, group: str = "program_intent") -> int:
        (last,) = [
            each["last-delivered-id"] for each in self.redis.xinfo_groups(STREAM) if each["name"].decode() == group
        ]
        return len(self.redis.xrange(STREAM, max=last)) - self.pending(group)


def make_user_data(key: int) -> Any:
    from openedx_events.learning.data import UserData, UserPersonalData

    name, username, email = PERSONAL
    return UserData(pii=UserPersonalData(username=username, email=email, name=name), id=key, is_active=True)


def make_certificate(key: int, program: object = PROGRAM) -> Any:
    from openedx_events.learning.data import ProgramCertificateData, ProgramData

    return ProgramCertificateData(
        user=make_user_data(key),
        program=ProgramData(uuid=str(program), title="Data Science", program_type="MicroMasters"),
        uuid="ec9e51e5-3b3b-4a3b-8f3b-3b3b3b3b3b3b",
        status="awarded",
        url="https://credentials.example.org/ec9e51e5",
    )


def make_enrollment(key: int, course: str) -> Any:
    from opaque_keys.edx.keys import CourseKey
    from openedx_events.learning.data import CourseData, CourseEnrollmentData

    return CourseEnrollmentData(
        user=make_user_data(key),
        course=CourseData(course_key=CourseKey.from_string(course), display_name="A course"),
        mode="verified",
        is_active=True,
        creation_date=START,
    )


@contextmanager
def of_open_edx(redis: PrivateRedis) -> Iterator[Bus]:
    """A host whose settings are those of the platform's producers."""
    names: dict[str, Any] = {
        "EVENT_BUS_REDIS_CONNECTION_URL": redis.url,
        "EVENT_BUS_TOPIC_PREFIX": PREFIX,
        "SERVICE_VARIANT": "credentials",
        "EVENT_BUS_REDIS_STREAM_MAX_LEN": 100_000,
    }
    with override_settings(**names):
        client = redis.client()
        client.flushall()
        yield Bus(client)
        client.close()
