"""The how-to about other queues: its code, with real workers on a Redis of our own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from program_intent.models import ProgramIntent
from tests.builders import PROGRAM
from tests.event_bus import PrivateRedis, demand_event_bus, private_redis
from tests.reports import ROOT, make_learners, process_environment
from tests.test_docs import DOCS, blocks
from tests.test_load_processes import LIMIT, wait_until

demand_event_bus()
pytestmark = pytest.mark.django_db(transaction=True)

BOUGHT = "com.example.shop.bundle.bought"
EVENT = {"buyer": {"username": "learner1"}, "program": str(PROGRAM), "paid_at": "2026-01-01T10:00:00Z"}
RUN = "import asyncio, stream; asyncio.run(stream.app.run())"
SETTINGS = "from test_settings import *"
CELERY = """
import celery
app = celery.Celery(broker={url!r})
app.conf.imports = ["tasks"]
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PrivateRedis]:
    with private_redis() as redis:
        yield redis


@pytest.fixture
def host(tmp_path: Path, transactional_db: None) -> Path:
    """A directory with what the page shows as modules, and its settings."""
    make_learners(1)
    shown = {block.caption: block.text for block in blocks(Path(DOCS, "how-tos/events-from-another-queue.rst"))}
    for name in ("tasks.py", "stream.py"):
        Path(tmp_path, name).write_text(shown[name])
    Path(tmp_path, "host_settings.py").write_text(f"{SETTINGS}\n{shown['settings.py']}")
    return tmp_path


@contextmanager
def worker(host: Path, *arguments: str, **environment: str) -> Iterator[None]:
    path = os.pathsep.join([str(host), str(ROOT)])
    settings = {"DJANGO_SETTINGS_MODULE": "host_settings", "PYTHONPATH": path, **environment}
    everything: Any = {"cwd": host, "env": process_environment() | settings}
    with Path(host, "output").open("wb") as output:
        process = subprocess.Popen([sys.executable, *arguments], stdout=output, stderr=output, **everything)
        try:
            yield
        finally:
            process.terminate()
            process.wait(LIMIT)


def is_in(count: int) -> bool:
    return ProgramIntent.objects.count() == count


def test_the_celery_task_records_an_event_once(server: PrivateRedis, host: Path) -> None:
    Path(host, "worker.py").write_text(CELERY.format(url=server.url))
    events = [EVENT, EVENT, {**EVENT, "paid_at": "2026-01-02T10:00:00Z"}]
    send = f"for event in {events!r}: tasks.record_event.delay({BOUGHT!r}, event)"
    command = [sys.executable, "-c", f"import django; django.setup(); import worker, tasks\n{send}"]
    path = {"DJANGO_SETTINGS_MODULE": "host_settings", "PYTHONPATH": os.pathsep.join([str(host), str(ROOT)])}
    subprocess.run(command, cwd=host, env=process_environment() | path, check=True)
    with worker(host, "-m", "celery", "-A", "worker", "worker", "--pool", "solo"):
        wait_until(lambda: is_in(2))


def send(redis: Any, event: Mapping[str, Any]) -> None:
    """As FastStream's own producers do."""
    redis.xadd("shop", {"__data__": json.dumps({"type": BOUGHT, "event": event})})


def test_the_faststream_subscribers_record_an_event_once(server: PrivateRedis, host: Path) -> None:
    client = server.client()
    environment = {"SHOP_EVENTS_URL": server.url, "CONSUMER": "one"}
    with worker(host, "-c", RUN, **environment):
        wait_until(lambda: bool(client.exists("shop")))
        time.sleep(0.1)
        for event in (EVENT, EVENT, {**EVENT, "paid_at": "2026-01-02T10:00:00Z"}):
            send(client, event)
        wait_until(lambda: is_in(2) and client.xpending("shop", "program_intent")["pending"] == 0)
    client.close()
