"""The whole flow on a fresh database: a real report twice, a warehouse, events, answers in Python and by HTTP."""

import base64
import csv
import gzip
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import django

EXAMPLE = Path(__file__).resolve().parent
REPORT = Path("data", "oulad_intents.csv.gz")
WAREHOUSE = Path("warehouse.sqlite3")
# Of its own, because what it holds is only for a look; packages of Open edX, some of them under the AGPL.
EVENTS_ENVIRONMENT = EXAMPLE.parent / ".venv" / "event-bus"
USUAL_REDIS = ("127.0.0.1", 6379)


def main() -> None:
    os.chdir(EXAMPLE)
    Path("db.sqlite3").unlink(missing_ok=True)
    WAREHOUSE.unlink(missing_ok=True)

    say("A fresh database and its users")
    manage("migrate", "--verbosity", "0")
    manage("create_demo_users", str(REPORT))

    say("The report, and the same report once more: a load can always be repeated")
    manage("load_program_intents", str(REPORT), "--report", "report.json")
    print("report.json:", Path("report.json").read_text())
    manage("load_program_intents", str(REPORT))

    say("A warehouse: what is new there comes in by itself")
    learners, loaded_at = learners_of_the_report(3), datetime.now(UTC) - timedelta(hours=2)
    load_into_warehouse(learners[:2], loaded_at)
    manage("sync_program_intents")

    say("Now one row arrives late, and one a second time: the lag has both read, and the record keeps each once")
    load_into_warehouse([learners[2]], loaded_at - timedelta(hours=5))
    load_into_warehouse([learners[0]], loaded_at + timedelta(hours=1))
    manage("sync_program_intents")
    manage("sync_program_intents", "--status")
    manage("sync_program_intents", "--compare")

    show_event_bus(learners[0])

    say("Who brought what")
    manage("program_intent_runs")

    history = history_of_a_learner_who_came_back()
    learner = int(history[0]["learner"])
    say(f"Learner {learner} left a program and came back: the answers in Python, as of each event and now")
    ask_python(learner, [datetime.fromisoformat(row["effective_timestamp"]) for row in history])

    say("The same question over HTTP")
    with running_server() as server:
        ask_http(f"{server}/api/program-intent/v1/program-intents/latest-certain/?learner={learner}")

    say("Next: `make serve`, then open http://127.0.0.1:8000/ (the API) or http://127.0.0.1:8000/admin/")


def say(text: str) -> None:
    print(f"\n== {text}\n", flush=True)


def manage(*arguments: str, python: str = sys.executable) -> None:
    print("$ python manage.py", *arguments, flush=True)
    if status := subprocess.run([python, "manage.py", *arguments]).returncode:
        sys.exit(status)


def learners_of_the_report(count: int) -> list[tuple[str, str]]:
    """The first learners, each with a program."""
    with gzip.open(REPORT, "rt", encoding="utf-8", newline="") as file:
        found = {row["learner"]: row["program_uuid"] for _, row in zip(range(100), csv.DictReader(file), strict=False)}
    return list(found.items())[:count]


def load_into_warehouse(learners: list[tuple[str, str]], loaded_at: datetime) -> None:
    """What the platform's own pipeline does: rows of a survey, with the moment at which they were loaded."""
    rows = [
        (*learner, "SURVEY_INTERESTED", "MAYBE", "2014-11-01T00:00:00Z", f"{loaded_at:%F %T}") for learner in learners
    ]
    with closing(sqlite3.connect(WAREHOUSE)) as warehouse, warehouse:
        warehouse.execute(
            "CREATE TABLE IF NOT EXISTS program_intents "
            "(user_id, program_uuid, reason, certainty, effective_time, loaded_at)"
        )
        warehouse.executemany("INSERT INTO program_intents VALUES (?, ?, ?, ?, ?, ?)", rows)
    print("loaded into the warehouse:", *(f"{row[0]} at {row[-1]}" for row in rows), sep="\n  ", flush=True)


def show_event_bus(learner: tuple[str, str]) -> None:
    """An event of Open edX, where a Redis and its packages can be had."""
    say("The event bus: what happens on the platform is there within a second")
    try:
        if tuple(sys.version_info) < (3, 12):
            raise RuntimeError("openedx-events needs Python 3.12.")
        empty_the_topic()
        python = str(EVENTS_ENVIRONMENT / "bin" / "python")
        install = [python, "-m", "pip", "install", "--quiet", "--editable", "..", "-r", "events-requirements.txt"]
        subprocess.run([sys.executable, "-m", "venv", EVENTS_ENVIRONMENT], check=True)
        subprocess.run(install, check=True)
    except (OSError, RuntimeError, subprocess.CalledProcessError) as why:
        print(f"Left out: {why}")
        return
    manage("award_certificate", *learner, python=python)
    manage("consume_program_intents", "--topic", "certificates", "--once", python=python)
    empty_the_topic()


def empty_the_topic() -> None:
    with socket.create_connection(USUAL_REDIS, timeout=1) as redis:
        redis.sendall(b"DEL program-intent-demo-certificates\r\n")
        if not redis.recv(100).startswith(b":"):
            raise RuntimeError("Redis asks for a password.")


def history_of_a_learner_who_came_back() -> list[dict[str, str]]:
    """The rows up to the report's first completion by a learner who had registered and then left before."""
    history = defaultdict[tuple[str, str], list[dict[str, str]]](list)
    with gzip.open(REPORT, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rows = history[row["learner"], row["program_uuid"]]
            rows.append(row)
            match [earlier["reason"] for earlier in rows]:
                case ["REGISTERED", *between, "COMPLETED"] if "UNREGISTERED" in between:
                    return rows
    raise LookupError(f"nobody in {REPORT} came back")


def ask_python(learner: int, moments: list[datetime]) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_host.settings")
    django.setup()
    from program_intent.api import get_latest_certain_intents

    for moment in [*moments, datetime.now(UTC)]:
        print(f">>> get_latest_certain_intents({learner}, as_of={moment:%Y-%m-%d})")
        for intent in get_latest_certain_intents(learner, as_of=moment).values():
            print("   ", intent.program_uuid, intent.certainty, intent.reason, intent.effective_timestamp)


@contextmanager
def running_server() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*probe.getsockname())
    command = ["manage.py", "runserver", "--noreload", address]
    print("$ python", *command, flush=True)
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL) as server:
        try:
            wait_for(server, address)
            yield f"http://{address}"
        finally:
            server.terminate()


def wait_for(server: subprocess.Popen[bytes], address: str) -> None:
    host, port = address.split(":")
    deadline = time.monotonic() + 30
    while server.poll() is None and time.monotonic() < deadline:
        try:
            return socket.create_connection((host, int(port)), timeout=1).close()
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise TimeoutError(f"the server did not answer on {address}")


def ask_http(url: str) -> None:
    print(f"$ curl --user admin:admin '{url}'", flush=True)
    credentials = base64.b64encode(b"admin:admin").decode()
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {credentials}"})
    with urllib.request.urlopen(request, timeout=30) as response:
        print(json.dumps(json.load(response), indent=2), flush=True)


if __name__ == "__main__":
    main()
