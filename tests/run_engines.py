"""Run the suite once per database engine, engines side by side; arguments go to pytest as they are.

ENGINES="sqlite postgresql mariadb mysql" demands the engines it names. Without it, those that answer are used
and the others are printed with the reason. With MariaDB goes a run of the tests of concurrency on a server that
shares its counter of primary keys, as Galera demands: another mode than the default, read when a server starts.
"""

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import test_settings
from tests import private_mariadb

KNOWN = ("sqlite", "postgresql", "mariadb", "mysql")
INTERLEAVED = "mariadb, innodb_autoinc_lock_mode = 2"
SYNCS = "tests/test_sync_processes.py::test_"
OF_CONCURRENCY = (
    "tests/test_store_concurrency.py",
    "tests/test_load_processes.py",
    "tests/test_changes.py",
    "tests/test_erasure_races.py",
    f"{SYNCS}what_is_below_the_checkpoint_of_a_killed_sync_is_stored_and_the_next_one_brings_the_rest",
    f"{SYNCS}of_two_syncs_that_want_the_lease_at_once_one_gets_it_and_the_other_ends_with_75",
    f"{SYNCS}a_sync_whose_lease_is_stolen_in_mid_run_ends_with_75_and_stores_nothing_more",
)


@dataclass(frozen=True)
class Run:
    engine: str
    output: str
    exit_status: int
    passed: int
    failed: int
    skipped: int
    seconds: float

    @property
    def ok(self) -> bool:
        return self.exit_status == 0 and self.passed > 0

    def __str__(self) -> str:
        counts = f"{self.engine}: {self.passed} passed, {self.failed} failed, {self.skipped} skipped"
        trouble = "" if self.ok else f", pytest's exit status {self.exit_status}: NOT PASSED"
        return f"{counts} in {self.seconds:.0f} s{trouble}"


def main() -> int:
    demanded = os.environ.get("ENGINES", "").split()
    if unknown := set(demanded) - set(KNOWN):
        return fail(f"ENGINES names {', '.join(sorted(unknown))}; known are {', '.join(KNOWN)}.")
    reasons = {engine: why_unreachable(engine) for engine in demanded or KNOWN}
    if reasons.get("mariadb") == "":
        reasons[INTERLEAVED] = private_mariadb.why_not()
    engines = [engine for engine, reason in reasons.items() if not reason]
    left_out = [f"{engine}: not tested, {reason}" for engine, reason in reasons.items() if reason]
    if demanded and left_out:
        return fail("ENGINES demands " + "; ".join(left_out))

    print("Engines:", *engines, *left_out, sep="\n  ", flush=True)
    runs = []
    with ThreadPoolExecutor(max_workers=len(engines)) as pool:
        pending = [pool.submit(run, engine, sys.argv[1:]) for engine in engines]
        for ended in as_completed(pending):
            runs.append(ended.result())
            print(f"\n{runs[-1].engine}\n{runs[-1].output}", flush=True)
    print(*runs, *left_out, sep="\n")
    return 0 if all(run.ok for run in runs) else 1


def fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


def why_unreachable(engine: str) -> str:
    """What the driver says when it cannot connect; empty if it can."""
    try:
        if engine == "postgresql":
            import psycopg

            settings = test_settings.postgresql("postgres")
            psycopg.connect(**login(settings), dbname=settings["NAME"], connect_timeout=5).close()
        elif engine != "sqlite":
            import MySQLdb

            server = MySQLdb.connect(**login(getattr(test_settings, engine)("")), connect_timeout=5)
            version = server.get_server_info()
            server.close()
            if ("mariadb" in version.lower()) != (engine == "mariadb"):
                return f"what answers there is {version}"
    except ModuleNotFoundError as error:
        return f"{error}: install gcc, pkg-config and libmariadb-dev, and run make test again"
    except Exception as error:  # Each driver has its own.
        return " ".join(str(error).split())
    return ""


def login(settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "host": settings["HOST"],
        "port": int(settings["PORT"]),
        "user": settings["USER"],
        "password": settings["PASSWORD"],
    }


def run(engine: str, arguments: list[str]) -> Run:
    if engine != INTERLEAVED:
        return run_pytest(engine, arguments, ENGINE=engine)
    try:
        with private_mariadb.server("--innodb-autoinc-lock-mode=2") as environment:
            return run_pytest(engine, [*arguments, *OF_CONCURRENCY], ENGINE="mariadb", **environment)
    except RuntimeError as error:
        return Run(engine, str(error), exit_status=1, passed=0, failed=0, skipped=0, seconds=0)


def run_pytest(engine: str, arguments: list[str], **environment: str) -> Run:
    with tempfile.TemporaryDirectory() as directory:
        junit = Path(directory, "junit.xml")
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", f"--junit-xml={junit}", *arguments],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        seconds = time.monotonic() - start
        counts = ElementTree.parse(junit).getroot()[0].attrib if junit.exists() else {}
    tests, skipped = int(counts.get("tests", 0)), int(counts.get("skipped", 0))
    failed = int(counts.get("failures", 0)) + int(counts.get("errors", 0))
    return Run(engine, done.stdout, done.returncode, tests - failed - skipped, failed, skipped, seconds)


if __name__ == "__main__":
    sys.exit(main())
