"""Write docs/performance.rst and its charts from the results: ``make bench-docs``."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "program_intent"  # the same figures give the same file

from matplotlib import pyplot  # noqa: E402  # once it knows that there is no screen

from benchmarks.results import RESULTS  # noqa: E402  # after what stands above for the same reason

DOCS = Path(__file__).parent.parent / "docs"
# Each engine with its own tool, to which loads are compared, and a colour with a contrast of 3 on white and on black.
ENGINES = {
    "postgresql": ("PostgreSQL", "COPY", "#3b82c4"),
    "mariadb": ("MariaDB", "LOAD DATA LOCAL INFILE", "#d0700a"),
    "mysql": ("MySQL", "LOAD DATA LOCAL INFILE", "#a05195"),
    "sqlite": ("SQLite", "executemany", "#2f9e63"),
}
GREY = "#777777"  # as readable on white as on black
TABLES = {
    "Loading a report": ("load", "spellings", "judge"),
    "A growing table, and those who log in meanwhile": ("growth", "locks"),
    "The one question": ("read",),
    "Many learners at once": ("cohorts",),
    "Recording, HTTP and the host's start": ("write",),
    "A sync with a warehouse, and what runs and erasures cost": ("sync", "runs", "erasure"),
    "Open edX's event bus": ("events",),
}
# Measured to explain another figure.
LEFT_OUT = re.compile(r"of the bare statement|before the first vacuum")

Run = dict[str, Any]


def main() -> None:
    found = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    page = [(Path(__file__).parent / "performance.head.rst").read_text()]
    for title, names in TABLES.items():
        runs = [found.pop(key) for name in names for engine in ENGINES if (key := f"{name}-{engine}") in found]
        if runs:
            page += [title, "-" * len(title), "", *_chart(runs), *_table(runs), ""]
    if (alternatives := RESULTS / "alternatives.rst").exists():
        page += ["What else could be installed", "-" * 28, "", alternatives.read_text()]
    (DOCS / "performance.rst").write_text("\n".join(page).rstrip() + "\n")
    if left := [name for name in found if not name.startswith("against-")]:  # those look back, the page does not
        print("Not on the page:", *left)


def _table(runs: list[Run]) -> Iterator[str]:
    engines = [engine for engine in ENGINES if any(run["engine"] == engine for run in runs)]
    figures: dict[str, dict[str, str]] = {}
    for run in runs:
        for row in run["results"]:
            if not LEFT_OUT.search(row["what"]):
                what = row["what"].strip().replace(ENGINES[run["engine"]][1], "the engine's own tool")
                if match := re.match(r"load ([\d,]+) rows, empty table(.+)", what):
                    figures.setdefault("rows of the report", {})[run["engine"]] = match[1]
                    what = f"load into an empty table{match[2]}"
                figures.setdefault(what, {})[run["engine"]] = _figure(row)
    yield from (f".. list-table:: {_measured_on(runs)}", "   :header-rows: 1")
    yield from (f"   :widths: {100 - 18 * len(engines)}{' 18' * len(engines)}", "")
    yield from _cells("", *(ENGINES[engine][0] for engine in engines))
    for what, by_engine in figures.items():
        yield from _cells(what, *(by_engine.get(engine, "") for engine in engines))


def _cells(*cells: str) -> Iterator[str]:
    for index, cell in enumerate(cells):
        yield f"   {' ' if index else '*'} - {cell}".rstrip()


def _figure(row: dict[str, Any]) -> str:
    """With its target in brackets, and bold if that was missed."""
    unit = f" {row['unit']}".removesuffix(" x").rstrip()
    figure = (f"{row['figure']:,.0f}" if row["figure"] >= 1000 else f"{row['figure']:.3g}") + unit
    shown = f"**{figure}**" if row["verdict"] == "missed" else figure
    sign = "≥" if row["at_least"] else "≤"
    return shown if row["bound"] is None else f"{shown} ({sign} {row['bound']:,g})"


def _measured_on(runs: list[Run]) -> str:
    servers = [match[0] for run in runs if (match := re.match(r"\w+ [\d.]*\d", run["server"]))]
    versions = [f"{name} {run[name.lower()]}" for run in runs for name in ("Python", "Django")]
    machines, dates = ([run[key] for run in runs] for key in ("machine", "date"))
    return "; ".join(", ".join(dict.fromkeys(each)) for each in (servers, versions, machines, dates))


def _chart(runs: list[Run]) -> list[str]:
    """It is read in light and dark mode: no background, and colours that show on both."""
    name = runs[0]["benchmark"]
    if name not in LABELS:
        return []
    figure, axes = pyplot.subplots(figsize=(7, 3.6))
    for run in [run for run in runs if run["benchmark"] == name]:
        label, _tool, color = ENGINES[run["engine"]]
        if name == "growth":
            points = run["results"][0]["detail"]["curve"]
            axes.plot([rows / 1e6 for rows, _ in points], [rate for _, rate in points], "o-", color=color, label=label)
        else:
            details = [row["detail"] for row in run["results"] if "ours" in row["detail"]]
            axes.loglog(HISTORY, [detail["ours"] for detail in details], "o-", color=color, label=label)
            loop = [detail["loop"] for detail in details]
            axes.loglog(HISTORY, loop, ".:", color=color, label=f"{label}, Python loop")
    axes.set(**LABELS[name])
    if name == "growth":
        axes.set_ylim(bottom=0)
    axes.tick_params(which="both", colors=GREY)
    axes.spines[:].set_color(GREY)
    axes.xaxis.label.set_color(GREY)
    axes.yaxis.label.set_color(GREY)
    axes.legend(fontsize="small", labelcolor=GREY, framealpha=0, edgecolor=GREY)
    figure.tight_layout()
    figure.savefig(DOCS / f"performance-{name}.svg", metadata={"Date": None}, transparent=True)
    pyplot.close(figure)
    return [f".. image:: performance-{name}.svg", f"   :alt: {LABELS[name]['ylabel']}", ""]


HISTORY = (10, 100, 1_000, 10_000)
LABELS = {
    "growth": {"xlabel": "rows in the table, millions", "ylabel": "rows loaded per second"},
    "read": {"xlabel": "intents of the learner", "ylabel": "milliseconds per call"},
}


main()
