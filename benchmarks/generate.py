"""Reports of any size with the shape of the OULAD report: its share of rows per program, its rows per learner."""

import csv
import gzip
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

OULAD = Path(__file__).parent.parent / "example" / "data" / "oulad_intents.csv.gz"
NAMESPACE = UUID("51032e48-04ca-5d43-901a-80cd294a21e1")
HEADER = ("program_uuid", "learner", "reason", "certainty", "effective_timestamp")
START = datetime(2012, 1, 1, tzinfo=UTC)
# OULAD has seven programs; a platform has more, popular in the same proportions.
COPIES_OF_A_PROGRAM = 30
OULAD_ROWS_PER_LEARNER = 58_050 / 28_785

Row = tuple[UUID, int, str, str, datetime]


def rows(count: int, *, seed: int = 1, first: int = 0) -> Iterator[Row]:
    """``count`` distinct rows in the random order of a report; other ``first`` rows are others of the same learners.

    Learners are users 1 to ``learners(count)``. No two rows share a time, so no row is there twice.
    """
    chance = random.Random(f"{seed} {first}")
    kinds, activity, programs = _shape()
    people = learners(count)
    picked = [learner for learner in range(1, people + 1) for _ in range(chance.choice(activity))]
    picked = (picked * (count // len(picked) + 1))[:count]
    chance.shuffle(picked)
    spread = chance.choices(programs, k=count)
    what = chance.choices(kinds, k=count)
    for index, (learner, program, (reason, certainty)) in enumerate(zip(picked, spread, what, strict=True)):
        moment = START + timedelta(seconds=chance.randrange(400_000_000), microseconds=(first + index) % 1_000_000)
        yield program, learner, reason, certainty, moment


def learners(count: int) -> int:
    """How many learners a report of so many rows has."""
    return max(1, round(count / OULAD_ROWS_PER_LEARNER))


def write_csv(path: Path, count: int, *, seed: int = 1, first: int = 0) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        writer.writerows(
            (program, learner, reason, certainty, f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}")
            for program, learner, reason, certainty, moment in rows(count, seed=seed, first=first)
        )


@dataclass(frozen=True)
class Spelling:
    """How a warehouse writes a report, and its target in rates of the plainest."""

    target: float
    time: Callable[[datetime], str] = "{:%Y-%m-%dT%H:%M:%SZ}".format
    program: Callable[[UUID], str] = str
    learner: Callable[[int], object] = str
    header: str = ",".join(HEADER)
    record: Callable[[Any], str] = ",".join
    options: tuple[str, ...] = ()
    suffix: str = ".csv"


SPELLINGS = {
    "2022-04-12T00:00:00Z": Spelling(1.0),
    "quoted upper-case header, UUIDs without hyphens, 2022-04-12 00:00:00 Z": Spelling(
        0.9,
        time="{:%Y-%m-%d %H:%M:%S Z}".format,
        program=lambda program: program.hex,
        header=",".join(f'"{name.upper()}"' for name in HEADER),
    ),
    "2022-04-12 00:00:00Z": Spelling(0.9, time="{:%Y-%m-%d %H:%M:%SZ}".format),
    "2022-04-12 00:00:00+00:00": Spelling(0.9, time="{:%Y-%m-%d %H:%M:%S+00:00}".format),
    "2022-04-12T02:00:00+02:00": Spelling(
        0.9, time=lambda moment: f"{moment.astimezone(timezone(timedelta(hours=2))):%Y-%m-%dT%H:%M:%S}+02:00"
    ),
    "2022-04-12 00:00:00.123Z": Spelling(
        0.9, time=lambda moment: f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond % 1000:03}Z"
    ),
    "JSON lines": Spelling(
        0.85,
        learner=int,
        record=lambda values: json.dumps(dict(zip(HEADER, values, strict=True))),
        suffix=".jsonl",
    ),
    "learners by username": Spelling(
        0.75, learner=lambda learner: f"u{learner}", options=("--learner-field", "username")
    ),
}
PLAINEST = next(iter(SPELLINGS))


def write_spelled(path: Path, spelling: Spelling, count: int) -> None:
    """The same rows in every spelling, shuffled, at whole seconds except where the spelling has milliseconds."""
    with path.open("w") as file:
        if spelling.suffix == ".csv":
            print(spelling.header, file=file)
        for program, learner, reason, certainty, moment in rows(count):
            values = spelling.program(program), spelling.learner(learner), reason, certainty, spelling.time(moment)
            print(spelling.record(values), file=file)


def _shape() -> tuple[list[tuple[str, str]], list[int], list[UUID]]:
    with gzip.open(OULAD, "rt", newline="") as file:
        report = list(csv.DictReader(file))
    kinds = [(row["reason"], row["certainty"]) for row in report]
    activity = list(Counter(row["learner"] for row in report).values())
    shares = [row["program_uuid"] for row in report]
    copies = [uuid5(NAMESPACE, f"{program} {copy}") for copy in range(COPIES_OF_A_PROGRAM) for program in shares[::100]]
    return kinds, activity, copies
