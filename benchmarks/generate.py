"""Reports of any size with the shape of the OULAD report: its share of rows per program, its rows per learner."""

import csv
import gzip
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
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


def _shape() -> tuple[list[tuple[str, str]], list[int], list[UUID]]:
    with gzip.open(OULAD, "rt", newline="") as file:
        report = list(csv.DictReader(file))
    kinds = [(row["reason"], row["certainty"]) for row in report]
    activity = list(Counter(row["learner"] for row in report).values())
    shares = [row["program_uuid"] for row in report]
    copies = [uuid5(NAMESPACE, f"{program} {copy}") for copy in range(COPIES_OF_A_PROGRAM) for program in shares[::100]]
    return kinds, activity, copies
