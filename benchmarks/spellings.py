"""Reports as warehouses write them: how fast each is loaded beside the plainest spelling of the same rows."""

import tempfile
from pathlib import Path
from statistics import median

from benchmarks import database, generate
from benchmarks.generate import PLAINEST, SPELLINGS
from benchmarks.load import into_empty
from benchmarks.results import Result


def spellings(rows: int, repeats: int) -> list[Result]:
    """Each spelling takes turns with the plainest, both into an empty table."""
    database.create(users=generate.learners(rows))
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in SPELLINGS if name != PLAINEST}
    with tempfile.TemporaryDirectory() as folder:
        paths = {
            name: Path(folder, f"{number}{spelling.suffix}")
            for number, (name, spelling) in enumerate(SPELLINGS.items())
        }
        for name, path in paths.items():
            generate.write_spelled(path, SPELLINGS[name], rows)
        into_empty(paths[PLAINEST], rows)  # the first load of all warms the server
        for _ in range(repeats):
            for name, turns in times.items():
                plainest = into_empty(paths[PLAINEST], rows)
                turns.append((plainest, into_empty(paths[name], rows, *SPELLINGS[name].options)))
    results = []
    for name, turns in times.items():
        plainest, spelled = map(median, zip(*turns, strict=True))
        detail = {"plainest": [pair[0] for pair in turns], "spelled": [pair[1] for pair in turns], "rows": rows}
        what = f"{name}, in rates of {PLAINEST}"
        results.append(Result(what, plainest / spelled, SPELLINGS[name].target, at_least=True, detail=detail))
    fastest = [plainest for turns in times.values() for plainest, _ in turns]
    return [*results, Result(f"{PLAINEST}, {rows:,} rows", rows / median(fastest), unit="/s")]
