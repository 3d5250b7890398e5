"""Write docs/performance.rst and its charts from the results: ``make bench-docs``."""

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "program_intent"  # the same figures give the same file

from matplotlib import pyplot  # noqa: E402

from benchmarks.results import RESULTS  # noqa: E402

DOCS = Path(__file__).parent.parent / "docs"
ENGINES = {"postgresql": "PostgreSQL", "mariadb": "MariaDB", "sqlite": "SQLite"}
TITLES = {
    "load": "Loading into an empty table",
    "growth": "Loading into a growing table",
    "read": "The one question",
    "cohorts": "Many learners at once",
    "write": "Recording, HTTP and the host's start",
    "locks": "While a load runs",
}


def main() -> None:
    found = {
        (name, engine): json.loads(path.read_text())
        for name in TITLES
        for engine in ENGINES
        if (path := RESULTS / f"{name}-{engine}.json").exists()
    }
    page = [(Path(__file__).parent / "performance.head.rst").read_text()]
    for name, title in TITLES.items():
        runs = [found[name, engine] for engine in ENGINES if (name, engine) in found]
        if runs:
            page += [title, "-" * len(title), "", *_chart(name, runs)]
            page += [line for run in runs for line in _table(run)]
    (DOCS / "performance.rst").write_text("\n".join(page))


def _table(run: dict[str, Any]) -> list[str]:
    versions = f"{run['server']}, Python {run['python']}, Django {run['django']}"
    lines = [
        f".. list-table:: {versions}; {run['machine']}; {run['date']}",
        "   :header-rows: 1",
        "   :widths: 60 14 16 10",
        "",
        "   * - what",
        "     - figure",
        "     - target",
        "     - verdict",
    ]
    for row in run["results"]:
        figure = f"{row['figure']:,.0f}" if row["figure"] >= 1000 else f"{row['figure']:.3g}"
        unit = f" {row['unit']}".rstrip()
        cells = (row["what"].strip(), f"{figure}{unit}", row["target"], row["verdict"])
        lines += [f"   {'*' if not index else ' '} - {cell}" for index, cell in enumerate(cells)]
    return [*lines, ""]


def _chart(name: str, runs: list[dict[str, Any]]) -> list[str]:
    if name not in ("growth", "read"):
        return []
    figure, axes = pyplot.subplots(figsize=(7, 3.6))
    for run in runs:
        label = ENGINES[run["engine"]]
        if name == "growth":
            points = run["results"][0]["detail"]["curve"]
            axes.plot([rows / 1e6 for rows, _ in points], [rate for _, rate in points], marker="o", label=label)
        else:
            details = [row["detail"] for row in run["results"] if "ours" in row["detail"]]
            (line,) = axes.loglog(HISTORY, [detail["ours"] for detail in details], marker="o", label=label)
            loop = [detail["loop"] for detail in details]
            axes.loglog(HISTORY, loop, marker=".", linestyle=":", color=line.get_color(), label=f"{label}, Python loop")
    axes.set(**LABELS[name])
    if name == "growth":
        axes.set_ylim(bottom=0)
    axes.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(DOCS / f"performance-{name}.svg", metadata={"Date": None})
    pyplot.close(figure)
    return [f".. image:: performance-{name}.svg", f"   :alt: {LABELS[name]['ylabel']}", ""]


HISTORY = (10, 100, 1_000, 10_000)
LABELS = {
    "growth": {"xlabel": "rows in the table, millions", "ylabel": "rows loaded per second"},
    "read": {"xlabel": "intents of the learner", "ylabel": "milliseconds per call"},
}


main()
