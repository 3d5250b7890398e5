"""The loader as real processes on the tests' database: how they end, what they print, killed ones, several at once."""

import gzip
import json
import os
import pty
import random
import re
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from program_intent.api import record_intents
from program_intent.data import FIELDS
from program_intent.intake.load import FIRST_TRANSACTION, LARGEST_TRANSACTION
from program_intent.models import ProgramIntent
from tests.reports import (
    AS_ON_MARIADB,
    HEADER,
    LEARNERS,
    ON_ONE_ENGINE,
    Loaded,
    StoredRow,
    as_csv,
    finished,
    make_learners,
    make_row,
    many,
    process_arguments,
    process_environment,
    run,
    stored,
    write_report,
)
from tests.test_store_concurrency import at_once

pytestmark = pytest.mark.django_db(transaction=True)

BAD = make_row(certainty="SURE")
# A process that hangs fails its test instead of the whole run.
LIMIT = 100


@pytest.fixture(autouse=True)
def learners(transactional_db: None) -> None:
    make_learners(LEARNERS)


@contextmanager
def started(*arguments: object, stdin: int | None = subprocess.DEVNULL) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        process_arguments(*arguments),
        env=process_environment(),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def end(process: "subprocess.Popen[bytes]") -> Loaded:
    stdout, stderr = process.communicate(timeout=LIMIT)
    return finished(process.returncode, stdout.decode(), stderr.decode())


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# How it ends and what it prints


@ON_ONE_ENGINE
def test_the_exit_status_is_0_when_all_are_in_and_only_the_table_is_printed(tmp_path: Path) -> None:
    loaded = run(write_report(tmp_path / "report.csv", make_row(), make_row()))
    assert (loaded.status, loaded.counts, loaded.stderr, loaded.message) == (0, (2, 1, 1, 0), "", "")
    names = [line.split()[0] for line in loaded.stdout.splitlines()]
    assert names == ["read", "created", "duplicate", "rejected", "erased", "seconds", "dry_run"]


@ON_ONE_ENGINE
def test_the_exit_status_is_3_when_some_are_rejected(tmp_path: Path) -> None:
    loaded = run(write_report(tmp_path / "report.csv", make_row(), BAD), "--rejects", tmp_path / "rejects.csv")
    assert (loaded.status, loaded.counts, loaded.stderr) == (3, (2, 1, 0, 1), "")
    assert loaded.message == f"1 row was rejected: see {tmp_path / 'rejects.csv'}."


@ON_ONE_ENGINE
def test_the_exit_status_is_1_when_it_cannot_run(tmp_path: Path) -> None:
    loaded = run(tmp_path / "missing.csv")
    assert (loaded.status, loaded.stdout, loaded.stderr) == (1, "", "")
    assert loaded.message == f"{tmp_path / 'missing.csv'}: cannot be read: No such file or directory."


@ON_ONE_ENGINE
def test_the_exit_status_is_1_when_it_was_stopped_and_the_report_is_written(tmp_path: Path) -> None:
    path, counts = write_report(tmp_path / "report.csv", make_row(), BAD, make_row(learner=2)), tmp_path / "counts.json"
    loaded = run(path, "--max-rejects", 0, "--rejects", os.devnull, "--report", counts)
    assert (loaded.status, loaded.counts, loaded.stderr) == (1, (2, 1, 0, 1), "")
    assert loaded.message == "Stopped: more than 0 rows were rejected."
    assert json.loads(counts.read_text())["read"] == 2


@ON_ONE_ENGINE
def test_a_truncated_gzip_file_keeps_what_was_good_before_the_break(tmp_path: Path) -> None:
    rows = many(10_000)
    content = gzip.compress("\n".join([HEADER, *as_csv(rows)]).encode())
    path = tmp_path / "report.csv.gz"
    path.write_bytes(content[: len(content) // 2])
    loaded = run(path)
    created = loaded.counts.created
    assert 1000 < created < 9000
    assert (loaded.status, loaded.counts, loaded.stderr) == (1, (created, created, 0, 0), "")
    assert loaded.message == (
        f"{path}: breaks off after line {created + 1}: "
        "Compressed file ended before the end-of-stream marker was reached."
    )
    assert stored() == sorted(rows[:created])


@ON_ONE_ENGINE
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), "error: the following arguments are required: PATH"),
        (("x.csv", "--database", "nowhere"), "error: argument --database: invalid choice: 'nowhere'"),
        (("x.csv", "--assume-timezone", "Mars"), "--assume-timezone: Mars is no time zone such as Europe/London."),
    ],
    ids=["no path", "database", "zone"],
)
def test_the_exit_status_is_2_for_wrong_usage(arguments: tuple[str, ...], error: str) -> None:
    loaded = run(*arguments)
    assert (loaded.status, loaded.stdout) == (2, "")
    assert error in loaded.message


@ON_ONE_ENGINE
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_an_output_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.csv", make_row())
    with open("/dev/full", "wb") as full:
        command, environment = process_arguments(path), process_environment()
        process = subprocess.run(command, env=environment, stdout=full, stderr=subprocess.PIPE, text=True)
    message = "CommandError: standard output: cannot be written: No space left on device.\n"
    assert (process.returncode, process.stderr) == (1, message)
    assert len(stored()) == 1


@ON_ONE_ENGINE
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    ("streams", "status", "created"),
    [
        ("2>&-", 3, 1),
        ("2>/dev/full", 3, 1),
        (">&-", 1, 1),
        (">&- 2>&-", 1, 1),
        (">/dev/full 2>/dev/full", 1, 1),
        ("2>&- --max-rejects 0", 1, 1),
        ("2>/dev/full --learner-field nothing", 2, 0),
    ],
)
def test_a_stream_that_is_closed_or_full_changes_no_status_and_shows_no_traceback(
    tmp_path: Path, streams: str, status: int, created: int
) -> None:
    path = write_report(tmp_path / "report.csv", make_row(), *[BAD] * 20)
    command = ["/bin/sh", "-c", f'"$@" {streams}', "sh", *process_arguments(path)]
    result = subprocess.run(command, env=process_environment(), capture_output=True, text=True, timeout=LIMIT)
    assert (result.returncode, len(stored())) == (status, created)
    assert "Traceback" not in result.stderr + result.stdout
    if streams == ">&-":
        assert "CommandError: standard output: cannot be written: Bad file descriptor.\n" in result.stderr


@ON_ONE_ENGINE
def test_a_closed_standard_error_costs_neither_the_input_nor_the_report(tmp_path: Path) -> None:
    """The next file that is opened gets its number."""
    path, counts = write_report(tmp_path / "report.csv", BAD, *as_csv(many(20_000))), tmp_path / "counts.json"
    for options in ((), ("--report", str(counts))):
        command = ["/bin/sh", "-c", '"$@" 2>&-', "sh", *process_arguments(path, "--dry-run", *options)]
        result = subprocess.run(command, env=process_environment(), capture_output=True, text=True, timeout=LIMIT)
        assert (result.returncode, "read              20,001" in result.stdout) == (3, True)
    assert json.loads(counts.read_text())["status"] == "finished"


def test_a_database_that_cannot_be_reached_is_told_in_one_line(tmp_path: Path) -> None:
    arguments = process_arguments(write_report(tmp_path / "report.csv", make_row()))
    environment = process_environment() | {"DATABASE": "no/such/database"}
    result = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=LIMIT)
    loaded = finished(result.returncode, result.stdout, result.stderr)
    assert (loaded.status, loaded.stderr) == (1, "")
    assert loaded.message.startswith("The database failed: ")


@ON_ONE_ENGINE
def test_standard_input_is_read_from_a_pipe_and_from_a_file(tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.csv", make_row())
    assert run("-", input=path.read_text()).counts == (1, 1, 0, 0)
    with path.open() as file:
        assert run("-", stdin=file).counts == (1, 0, 1, 0)


@ON_ONE_ENGINE
def test_a_pipe_given_by_name_is_read(tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.csv", make_row())
    assert run("/dev/stdin", input=path.read_text()).counts == (1, 1, 0, 0)


@ON_ONE_ENGINE
def test_standard_input_may_not_be_overwritten_either(tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.csv", make_row())
    with path.open() as file:
        loaded = run("-", "--rejects", path, stdin=file)
    assert (loaded.status, loaded.message) == (1, f"{path}: is one of the inputs and would be overwritten.")
    assert path.read_text() == f"{HEADER}\n{make_row()}\n"


@ON_ONE_ENGINE
@pytest.mark.parametrize(("option", "shown"), [((), True), (("--no-progress",), False)], ids=["bar", "no bar"])
def test_a_progress_bar_is_shown_when_a_person_watches(tmp_path: Path, option: tuple[str, ...], shown: bool) -> None:
    """No bar without a terminal: the tests above compare the whole of stderr."""
    path = write_report(tmp_path / "report.csv", *as_csv(many(2000)), BAD)
    ours, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 100))
    arguments = process_arguments(path, *option)
    process = subprocess.Popen(arguments, env=process_environment(), stdout=subprocess.PIPE, stderr=terminal, text=True)
    os.close(terminal)
    stdout, _ = process.communicate(timeout=LIMIT)
    watched = b"".join(read_terminal(ours)).decode()
    assert process.returncode == 3
    assert all(part in watched for part in ("100%|", "2,001 rows, 1 rejected", "B/s")) == shown
    assert re.search(rf"(?:^|\r|\n) *\r?{re.escape(str(path))}, line 2002: ", watched)
    assert stdout.startswith("read               2,001\n")


def read_terminal(descriptor: int) -> Iterator[bytes]:
    try:
        while block := os.read(descriptor, 65536):
            yield block
    except OSError:  # what Linux says when the other side is closed
        pass
    finally:
        os.close(descriptor)


# Killed and interrupted


@contextmanager
def in_the_middle_of(
    rows: Sequence[StoredRow], *options: object, bad: Sequence[str] = ()
) -> "Iterator[subprocess.Popen[bytes]]":
    """A load that has stored some of the rows, and cannot end because it waits for more."""
    with started("-", *options, stdin=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.write("\n".join([HEADER, *bad, *as_csv(rows), ""]).encode())
        process.stdin.flush()
        wait_until(ProgramIntent.objects.exists)
        yield process


@AS_ON_MARIADB
@pytest.mark.slow
def test_a_load_killed_in_the_middle_and_run_again_ends_with_the_rows_of_an_undisturbed_one(tmp_path: Path) -> None:
    rows = many(2 * LARGEST_TRANSACTION + 10_000)
    with in_the_middle_of(rows[: 2 * LARGEST_TRANSACTION]) as process:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    survived = ProgramIntent.objects.count()
    assert 0 < survived < len(rows)

    loaded = run(write_report(tmp_path / "report.csv", *as_csv(rows)))
    assert (loaded.status, loaded.counts) == (0, (len(rows), len(rows) - survived, survived, 0))
    assert stored() == sorted(rows)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_load_ends_with_one_line_true_counts_and_its_files(tmp_path: Path, sent: signal.Signals) -> None:
    rejects, report = tmp_path / "rejects.csv", tmp_path / "report.json"
    options = ("--report", report, "--rejects", rejects)
    with in_the_middle_of(many(2 * LARGEST_TRANSACTION), *options, bad=[BAD]) as process:
        process.send_signal(sent)
        loaded = end(process)
    assert (loaded.status, loaded.stderr) == (1, "")
    assert loaded.message == "Interrupted; what was stored stays, and the load can be run again."
    told = json.loads(report.read_text())
    assert told["created"] == loaded.counts.created == ProgramIntent.objects.count()
    assert (told["rejected"], told["status"], told["message"]) == (1, "stopped", loaded.message)
    assert len(rejects.read_text().splitlines()) == 2


@ON_ONE_ENGINE
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param("program_uuid," * 40_000, id="in the header"),
        pytest.param("\n".join([HEADER, *[make_row()] * 5000]), id="in a row"),
    ],
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_load_that_waits_for_its_input_can_be_interrupted(sent: str, number: signal.Signals) -> None:
    """What is sent is more than a pipe holds, so the process is reading when all is written."""
    with started("-", stdin=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.write(sent.encode())
        process.stdin.flush()
        time.sleep(0.3)  # Python misses a signal that comes between two reads of one line, until the next comes
        process.send_signal(number)
        process.wait(timeout=LIMIT)
        loaded = end(process)
    assert (loaded.status, loaded.stderr) == (1, "")
    assert loaded.message == "Interrupted; what was stored stays, and the load can be run again."


@ON_ONE_ENGINE
def test_a_load_of_a_pipe_by_name_that_falls_silent_can_be_terminated(tmp_path: Path) -> None:
    pipe, report = tmp_path / "pipe", tmp_path / "report.json"
    os.mkfifo(pipe)
    with started(pipe, "--report", report) as process, pipe.open("w") as file:
        file.write("\n".join([HEADER, *as_csv(many(FIRST_TRANSACTION + 2_000)), ""]))
        file.flush()
        wait_until(ProgramIntent.objects.exists)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=LIMIT)
        loaded = end(process)
    assert (loaded.status, json.loads(report.read_text())["status"]) == (1, "stopped")


@ON_ONE_ENGINE
@pytest.mark.parametrize("option", ["--rejects", "--report"])
def test_no_file_of_a_load_is_where_its_table_goes(tmp_path: Path, option: str) -> None:
    path, output = write_report(tmp_path / "report.csv", make_row(), BAD), tmp_path / "out"
    command = ["/bin/sh", "-c", f'"$@" >{output}', "sh", *process_arguments(path, option, "/dev/stdout")]
    result = subprocess.run(command, env=process_environment(), capture_output=True, text=True, timeout=LIMIT)
    expected = "CommandError: /dev/stdout: is standard output and would be overwritten.\n"
    assert (result.returncode, result.stderr, stored()) == (1, expected, [])


# Side by side


def load_side_by_side(reports: Sequence[Sequence[StoredRow]]) -> list[Loaded]:
    """A process for each, fed through pipes in turns, a thousand rows each, so that all work at the same time."""
    with ExitStack() as stack:
        processes = [stack.enter_context(started("-", stdin=subprocess.PIPE)) for _ in reports]
        for start in range(0, len(reports[0]), 1000):
            for process, rows in zip(processes, reports, strict=True):
                lines = [*([] if start else [HEADER]), *as_csv(rows[start : start + 1000]), ""]
                assert process.stdin
                process.stdin.write("\n".join(lines).encode())
        for process in processes:
            assert process.stdin
            process.stdin.close()
            process.stdin = None  # or communicate() would close it again
        return [end(process) for process in processes]


@AS_ON_MARIADB
@pytest.mark.slow
@pytest.mark.parametrize("order", ["the same order", "another order"])
def test_two_loads_of_the_same_rows_at_once_store_each_once_and_their_counts_add_up(order: str) -> None:
    rows = many(LARGEST_TRANSACTION + 10_000)
    other = rows if order == "the same order" else random.Random(1).sample(rows, len(rows))
    expect_each_once(rows, load_side_by_side([rows, other]))


@pytest.mark.slow
def test_eight_loads_of_rows_that_overlap_store_each_once_and_their_counts_add_up() -> None:
    rows = many(5_000)
    parts = [random.Random(seed).sample(rows, 4_000) for seed in range(8)]
    expect_each_once(rows, load_side_by_side(parts))


@pytest.mark.slow
def test_loads_beside_writers_of_the_same_rows_store_each_once_and_their_counts_add_up() -> None:
    """Two loads have stored the first rows, when a host begins to record what they are given next."""
    rows = many(FIRST_TRANSACTION + 4_000)
    first, rest = rows[:FIRST_TRANSACTION], rows[FIRST_TRANSACTION:]

    def shuffled(seed: int) -> list[StoredRow]:
        return random.Random(seed).sample(rest, len(rest))

    def load(process: "subprocess.Popen[bytes]", seed: int) -> int:
        assert process.stdin
        process.stdin.write("\n".join([*as_csv(shuffled(seed)), ""]).encode())
        loaded = end(process)
        assert loaded.status == 0, loaded
        return loaded.counts.created

    def write(seed: int) -> int:
        mine = [dict(zip(FIELDS, row, strict=True)) for row in shuffled(seed)]
        outcomes = [each for start in range(0, len(mine), 50) for each in record_intents(mine[start : start + 50])]
        assert {outcome.status for outcome in outcomes} <= {"created", "duplicate"}
        return sum(outcome.status == "created" for outcome in outcomes)

    with in_the_middle_of(first) as one, in_the_middle_of(first) as another:
        works = [partial(load, one, 1), partial(load, another, 2), partial(write, 3), partial(write, 4)]
        assert sum(at_once(works)) == len(rows)
    assert stored() == sorted(rows)


def expect_each_once(rows: list[StoredRow], loads: Sequence[Loaded]) -> None:
    assert {load.status for load in loads} == {0}, loads
    assert sum(load.counts.created for load in loads) == len(rows)
    assert stored() == sorted(rows)
