"""What a benchmark found: figures beside their targets, as a table for people and as JSON for the documentation."""

import json
import os
import platform
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import django

RESULTS = Path(__file__).parent / "results"


@dataclass
class Result:
    """One figure: a ratio within this run unless ``unit`` says otherwise; the target is met at or beyond ``bound``."""

    what: str
    figure: float
    bound: float | None = None
    at_least: bool = False
    unit: str = "x"
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        if self.bound is None:
            return "reported"
        met = self.figure >= self.bound if self.at_least else self.figure <= self.bound
        return "met" if met else "missed"

    @property
    def target(self) -> str:
        if self.bound is None:
            return ""
        return f"{'at least' if self.at_least else 'at most'} {self.bound:g} {self.unit}"


def alternate(repeats: int, **cases: Callable[[], float]) -> dict[str, float]:
    """The median seconds of each case, which times itself; the cases take turns."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(repeats):
        for name, case in cases.items():
            times[name].append(case())
    return {name: median(seconds) for name, seconds in times.items()}


def timed(work: Callable[..., Any], *arguments: Any) -> float:
    start = perf_counter()
    work(*arguments)
    return perf_counter() - start


def save(benchmark: str, engine: str, results: Iterable[Result]) -> None:
    rows = list(results)
    print(f"\n{benchmark} on {engine}")
    for row in rows:
        print(f"  {row.what:<78} {row.figure:>9.3g} {row.unit:<3} {row.target:<18} {row.verdict}")
    RESULTS.mkdir(exist_ok=True)
    content = {
        "benchmark": benchmark,
        "engine": engine,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine(),
        "python": platform.python_version(),
        "django": django.get_version(),
        "server": server(),
        "results": [asdict(row) | {"verdict": row.verdict, "target": row.target} for row in rows],
    }
    (RESULTS / f"{benchmark}-{engine}.json").write_text(json.dumps(content, indent=1) + "\n")


def machine() -> str:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"{os.cpu_count()} cores ({platform.machine()}), {memory / 2**30:.0f} GiB"


def server() -> str:
    from django.db import connection

    is_file = connection.vendor == "sqlite"
    query = "SELECT sqlite_version()" if is_file else "SELECT version()"
    # Of the server: the database of a benchmark may be one of its own.
    with connection.cursor() if is_file else connection._nodb_cursor() as cursor:
        cursor.execute(query)
        version = str(cursor.fetchone()[0]).split(" on ")[0]
        name = cursor.db.display_name
        return f"{name} {version.removeprefix(name).strip()}"
