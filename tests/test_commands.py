"""``load_program_intents`` in process: what it takes, refuses, writes and says."""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import re
import sys
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import UUID

import pytest
from django.contrib.auth import get_user_model
from django.core.files import locks
from django.core.management import CommandError, call_command
from django.db import OperationalError, models
from django.test import override_settings

from program_intent.management.commands import load_program_intents
from program_intent.models import ProgramIntent, Run
from program_intent.store.batches import PreparedRows
from program_intent.validation.learners import field_meant
from tests.builders import make_user
from tests.reports import HEADER, PROGRAM, ROW, load, make_learners, make_row, stored, write_report

BAD = make_row(certainty="SURE")
BAD_ERROR = "certainty: Expected one of CERTAIN_YES, CERTAIN_NO, MAYBE, not 'SURE'."
UNKNOWN = make_row(learner=77)
UNKNOWN_ERROR = "learner: No user is named by 77."
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "'")
# What an earlier load has left there.
EARLIER = {
    "--rejects": "file,line,error,program_uuid,learner,reason,certainty,effective_timestamp,original\n",
    "--report": '{"read": 1, "created": 1}',
}
REJECTS_HEADER = (
    "file,line,error,program_uuid,learner,reason,certainty,effective_timestamp,original".split(",")  # noqa: SIM905
)


@pytest.fixture(autouse=True)
def learners(db: None) -> None:
    make_learners(5)


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """Two good rows."""
    return write_report(tmp_path / "report.csv", make_row(), make_row(learner=2))


def read_csv(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


# Reports as warehouses write them


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2022-04-12 00:00:00 Z", datetime(2022, 4, 12, tzinfo=UTC)),
        ("2022-04-12T00:00:00.123+02:00", datetime(2022, 4, 11, 22, 0, 0, 123000, tzinfo=UTC)),
        ("2022-04-12 00:00:00.123456 UTC", datetime(2022, 4, 12, 0, 0, 0, 123456, tzinfo=UTC)),
        ("2022-04-12T00:00:00-0530", datetime(2022, 4, 12, 5, 30, tzinfo=UTC)),
    ],
)
def test_times_are_taken_as_warehouses_write_them(tmp_path: Path, text: str, moment: datetime) -> None:
    path = write_report(tmp_path / "report.csv", make_row(effective_timestamp=text))
    assert load(path).counts == (1, 1, 0, 0)
    assert [row.effective_timestamp for row in stored()] == [moment]


def test_a_whole_warehouse_report_loads_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "export.csv.gz"
    lines = [
        '"USER_ID","SCORE","PROGRAM_UUID","INTENT_REASON","INTENT_CERTAINTY","EFFECTIVE_TIME"',
        "",
        f'"1","0.5","{PROGRAM.replace("-", "").upper()}"," bundle_purchase","CERTAIN_YES","2022-04-12 00:00:00 Z"',
        "  ",
        f'"2","multi\r\nline","{PROGRAM}","Visited","MAYBE","2022-04-12T00:00:00.123+02:00"',
        "",
    ]
    path.write_bytes(gzip.compress("\ufeff".encode() + "\r\n".join(lines).encode()))
    loaded = load(path)
    assert (loaded.status, loaded.counts) == (0, (2, 2, 0, 0))
    assert stored() == [
        (1, UUID(PROGRAM), "BUNDLE_PURCHASE", "CERTAIN_YES", datetime(2022, 4, 12, tzinfo=UTC)),
        (2, UUID(PROGRAM), "VISITED", "MAYBE", datetime(2022, 4, 11, 22, 0, 0, 123000, tzinfo=UTC)),
    ]


def test_several_files_of_several_formats_are_one_load(report: Path, tmp_path: Path) -> None:
    json_lines = tmp_path / "report.jsonl.gz"
    json_lines.write_bytes(gzip.compress(json.dumps(ROW | {"learner": 3}).encode()))
    again = write_report(tmp_path / "again.csv", make_row(), make_row(learner=4))
    assert load(report, json_lines, again).counts == (5, 4, 1, 0)


def test_the_format_option_speaks_for_all_files(tmp_path: Path) -> None:
    path = tmp_path / "report.txt"
    path.write_text(json.dumps(ROW | {"learner": 3}))
    assert load(path, "--format", "jsonl").counts == (1, 1, 0, 0)


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_dash_is_standard_input(report: Path, monkeypatch: pytest.MonkeyPatch, compress: Any) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(compress(report.read_bytes()))))
    assert load("-").counts == (2, 2, 0, 0)


def test_a_row_without_a_time_is_rejected_because_now_would_double_it_on_the_second_load(tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.csv", make_row(effective_timestamp=""))
    assert load(path, "--rejects", tmp_path / "rejects.csv").counts == (1, 0, 0, 1)
    assert read_csv(tmp_path / "rejects.csv")[1][2] == "effective_timestamp: This field is required."


def test_a_repeated_load_finds_only_duplicates(report: Path) -> None:
    assert load(report).counts == (2, 2, 0, 0)
    before = stored()
    assert load(report).counts == (2, 0, 2, 0)
    assert stored() == before


def test_the_rows_of_one_batch_share_one_creation_time(report: Path) -> None:
    load(report)
    assert ProgramIntent.objects.values("created").distinct().count() == 1


# Hostile values


@pytest.mark.parametrize(
    "changes",
    [
        {"learner": "1; DROP TABLE auth_user"},
        {"learner": "1' OR '1'='1"},
        {"learner": "1\0"},
        {"learner": "\N{FULLWIDTH DIGIT ONE}"},
        {"learner": "1" * 5000},
        {"learner": "9" * 30},
        {"learner": "-1"},
        {"learner": "1.0"},
        {"learner": "1_000"},
        {"learner": "True"},
        {"program_uuid": "{" + PROGRAM + "}"},
        {"program_uuid": PROGRAM + "\0"},
        {"reason": "R\0"},
        {"reason": "R" * 65},
        {"reason": "');DELETE FROM program_intent_programintent;--"},
        {"reason": "%s"},
        {"certainty": "certain_yes"},
        {"certainty": "\\N"},
        {"effective_timestamp": "2022-04-12"},
        {"effective_timestamp": "2022-04-12T00:00:00"},
        {"effective_timestamp": "2022-04-12T00:00:00.1234567Z"},
        {"effective_timestamp": "1899-12-31T23:59:59Z"},
        {"effective_timestamp": "9999-12-31T00:00:00Z"},
        {"effective_timestamp": "2023-02-29T00:00:00Z"},
    ],
    ids=lambda changes: "-".join(f"{name} {value[:20]!a}" for name, value in changes.items()),
)
def test_a_hostile_value_is_a_rejected_row_and_its_neighbours_go_in(tmp_path: Path, changes: dict[str, str]) -> None:
    path = write_report(tmp_path / "report.csv", make_row(), make_row(**changes), make_row(learner=2))
    loaded = load(path, "--rejects", tmp_path / "rejects.csv")
    assert (loaded.status, loaded.counts) == (3, (3, 2, 0, 1))
    _, (_, line, error, *values, original) = read_csv(tmp_path / "rejects.csv")
    read = ["'" * value.startswith(FORMULAS) + value for value in (ROW | changes).values()]
    assert (line, values, original) == ("3", read, make_row(**changes))
    assert error.startswith(f"{next(iter(changes))}: ")


@pytest.mark.parametrize(
    "changes",
    [
        {"learner": True},
        {"learner": 1.0},
        {"learner": "\ud800"},
        {"learner": "1\0"},
        {"learner": {"pk": 1}},
        {"learner": None},
        {"reason": "\udce9"},
        {"reason": ["R"]},
        {"certainty": 1},
        {"effective_timestamp": 1649721600},
    ],
    ids=str,
)
def test_a_hostile_json_value_is_a_rejected_row_and_its_neighbours_go_in(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    path = tmp_path / "report.jsonl"
    rows = [ROW | {"learner": 1}, ROW | changes, ROW | {"learner": 2}]
    path.write_text("\n".join(map(json.dumps, rows)))
    loaded = load(path, "--rejects", tmp_path / "rejects.csv")
    assert (loaded.status, loaded.counts) == (3, (3, 2, 0, 1))
    _, (_, line, error, *_, original) = read_csv(tmp_path / "rejects.csv")
    assert (line, original) == ("2", json.dumps(ROW | changes))
    assert error.startswith(f"{next(iter(changes))}: ")


# Who is a learner


def test_a_learner_is_named_by_the_field_of_the_option(tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.csv", make_row(learner="learner2"), make_row(learner="2"))
    loaded = load(path, "--learner-field", "username")
    assert (loaded.status, loaded.counts) == (3, (2, 1, 0, 1))
    assert [row.learner_id for row in stored()] == [2]


def test_a_learner_is_named_by_the_field_of_the_setting_unless_the_option_says_another(tmp_path: Path) -> None:
    by_name = write_report(tmp_path / "name.csv", make_row(learner="learner2"))
    by_key = write_report(tmp_path / "key.csv", make_row(learner="3"))
    with override_settings(PROGRAM_INTENT={"LEARNER_LOOKUP_FIELD": "username"}):
        assert load(by_name).counts == (1, 1, 0, 0)
        assert load(by_key, "--learner-field", "pk").counts == (1, 1, 0, 0)
        assert load(by_key, "--learner-field", "id").counts == (1, 0, 1, 0)


@pytest.mark.parametrize("name", ["LEARNER2", "learner2 ", "lèarner2", " learner2"])
@pytest.mark.parametrize("dry_run", [True, False], ids=["dry", "real"])
def test_a_name_that_only_a_collation_takes_for_equal_names_nobody(tmp_path: Path, name: str, dry_run: bool) -> None:
    path = write_report(tmp_path / "report.csv", make_row(learner=name), make_row(learner="learner2"))
    loaded = load(path, "--learner-field", "username", "--rejects", tmp_path / "rejects.csv", dry_run=dry_run)
    assert loaded.counts == (2, 1, 0, 1)
    assert read_csv(tmp_path / "rejects.csv")[1][2] == f"learner: No user is named by {name!r}."


def test_one_learner_under_two_names_of_one_load_is_one_row(tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.csv", make_row(learner="2"), make_row(learner=" 2"))
    assert load(path, dry_run=True).counts == (2, 1, 1, 0)
    assert load(path).counts == (2, 1, 1, 0)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("nickname", "not a field"),
        ("", "not a field"),
        ("program_intents", "not a column but a relation"),
        ("groups", "not a column but a relation"),
    ],
)
def test_a_learner_field_that_is_no_column_is_wrong_usage(report: Path, name: str, problem: str) -> None:
    loaded = load(report, "--learner-field", name)
    assert (loaded.status, loaded.message) == (2, f"--learner-field: {name} is {problem} of the user model.")


# Times without an offset


def test_a_time_without_an_offset_is_given_the_assumed_zone_and_an_offset_wins(tmp_path: Path) -> None:
    path = write_report(
        tmp_path / "report.csv",
        make_row(effective_timestamp="2022-07-01 12:00:00"),
        make_row(effective_timestamp="2022-07-02 12:00:00+05:00"),
        make_row(effective_timestamp="2022-07-03 12:00:00 Z"),
    )
    assert load(path, "--assume-timezone", "Europe/London").counts == (3, 3, 0, 0)
    assert [row.effective_timestamp for row in stored()] == [
        datetime(2022, 7, 1, 11, tzinfo=UTC),
        datetime(2022, 7, 2, 7, tzinfo=UTC),
        datetime(2022, 7, 3, 12, tzinfo=UTC),
    ]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("2022-10-30T01:30:00", "'2022-10-30T01:30:00' happens twice in Europe/London: give its offset."),
        ("2022-03-27T01:30:00", "'2022-03-27T01:30:00' does not exist in Europe/London: give its offset."),
    ],
)
def test_a_local_time_that_is_ambiguous_or_skipped_is_rejected(tmp_path: Path, text: str, error: str) -> None:
    path = write_report(tmp_path / "report.csv", make_row(effective_timestamp=text))
    loaded = load(path, "--assume-timezone", "Europe/London", "--rejects", tmp_path / "rejects.csv")
    assert (loaded.status, loaded.counts) == (3, (1, 0, 0, 1))
    assert read_csv(tmp_path / "rejects.csv")[1][2] == f"effective_timestamp: {error}"


@pytest.mark.parametrize("zone", ["Europe/Londen", "Europe", "../passwd", ""])
def test_an_unknown_zone_is_wrong_usage(report: Path, zone: str) -> None:
    loaded = load(report, "--assume-timezone", zone)
    assert (loaded.status, loaded.message) == (
        2,
        f"--assume-timezone: {zone} is no time zone such as Europe/London.",
    )


def test_options_are_taken_as_keywords_of_call_command_too(tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.csv", make_row(learner="learner1", effective_timestamp="2022-07-01 12:00"))
    loaded = load(path, assume_timezone="Europe/London", learner_field="username", max_rejects=0, no_progress=True)
    assert loaded.counts == (1, 1, 0, 0)


# The rejects file


def test_the_rejects_file_tells_where_why_and_what(tmp_path: Path) -> None:
    first = write_report(tmp_path / "first.csv", make_row(), "", BAD, UNKNOWN, "1,2")
    second = tmp_path / "second.jsonl"
    second.write_text(json.dumps({"user_id": 2, "certainty": "NO"}) + "\nnothing\n")
    loaded = load(first, second, "--rejects", tmp_path / "rejects.csv")
    assert loaded.counts == (6, 1, 0, 5)
    assert loaded.message == f"5 rows were rejected: see {tmp_path / 'rejects.csv'}."
    assert loaded.stderr == ""
    required = "This field is required."
    assert read_csv(tmp_path / "rejects.csv") == [
        REJECTS_HEADER,
        [str(first), "4", BAD_ERROR, *BAD.split(","), BAD],
        [str(first), "5", UNKNOWN_ERROR, *UNKNOWN.split(","), UNKNOWN],
        [str(first), "6", "Expected 5 columns as in the header, found 2.", "1", "2", "", "", "", "1,2"],
        [
            str(second),
            "1",
            f"program_uuid: {required}; reason: {required}; "
            "certainty: Expected one of CERTAIN_YES, CERTAIN_NO, MAYBE, not 'NO'.; "
            f"effective_timestamp: {required}",
            *["", "2", "", "NO", ""],
            '{"user_id": 2, "certainty": "NO"}',
        ],
        [
            str(second),
            "2",
            "Expected a JSON object: Expecting value: line 1 column 1 (char 0).",
            *[""] * 5,
            "nothing",
        ],
    ]


def test_a_rejects_file_mended_in_place_goes_in_and_nothing_is_doubled(tmp_path: Path) -> None:
    path = write_report(
        tmp_path / "report.csv",
        make_row(),
        make_row(learner=2, certainty='"SU\nRE"'),
        make_row(learner=3, reason="caf\udce9"),
        make_row(learner=4) + ",more",
    )
    rejects = tmp_path / "rejects.csv"
    assert load(path, "--rejects", rejects).counts == (4, 1, 0, 3)
    text = rejects.read_text()
    assert "SU\nRE" in text
    assert r"caf\udce9" in text
    rejects.write_text(text.replace(',"SU\nRE",', ",MAYBE,").replace(r",caf\udce9,", ",CAFE,"))
    assert load(rejects, "--rejects", tmp_path / "left.csv").counts == (3, 3, 0, 0)
    assert [row.learner_id for row in stored()] == [1, 2, 3, 4]
    assert load(path, rejects).counts == (7, 0, 4, 3)


def test_mended_rejects_of_json_lines_go_in(tmp_path: Path) -> None:
    path, rejects = tmp_path / "report.jsonl", tmp_path / "rejects.csv"
    path.write_text(json.dumps(ROW | {"learner": 2, "certainty": "SURE"}))
    load(path, "--rejects", rejects)
    rejects.write_text(rejects.read_text().replace(",SURE,", ",MAYBE,"))
    assert load(rejects).counts == (1, 1, 0, 0)


def test_the_rejects_of_rejects_name_the_file_they_were_read_from(tmp_path: Path) -> None:
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    load(write_report(tmp_path / "report.csv", BAD), "--rejects", first)
    load(first, "--rejects", second)
    _, (file, line, error, *_, original) = read_csv(second)
    assert (file, line, error) == (str(first), "2", BAD_ERROR)
    assert original == first.read_text().splitlines()[1]


def test_the_rejects_file_of_a_clean_load_has_only_its_header_and_an_old_one_is_replaced(
    report: Path, tmp_path: Path
) -> None:
    rejects = tmp_path / "rejects.csv"
    rejects.write_text(",".join(REJECTS_HEADER) + "\nan old one\n" * 100)
    load(report, "--rejects", rejects)
    assert read_csv(rejects) == [REJECTS_HEADER]


def test_a_json_value_that_is_no_scalar_is_told_and_kept_as_what_it_is(tmp_path: Path) -> None:
    path, rejects = tmp_path / "report.jsonl", tmp_path / "rejects.csv"
    values: list[dict[str, Any]] = [
        {"learner": {"id": [1, None]}},
        {"certainty": ["MAYBE"]},
        {"effective_timestamp": {}},
        {"reason": []},
    ]
    path.write_text("\n".join(json.dumps(ROW | value) for value in values))
    assert load(path, "--rejects", rejects).counts == (4, 0, 0, 4)
    learner, certainty, moment, reason = read_csv(rejects)[1:]
    assert (learner[2], learner[4]) == (
        "learner: Expected an integer that names a user, not {'id': [1, None]}.",
        "{'id': [1, None]}",
    )
    assert (certainty[2], certainty[6]) == (
        "certainty: Expected one of CERTAIN_YES, CERTAIN_NO, MAYBE, not ['MAYBE'].",
        "['MAYBE']",
    )
    assert moment[2].endswith("such as 2022-04-12T00:00:00Z, not {}.")
    assert (moment[7], reason[5]) == ("{}", "[]")


def test_without_a_rejects_file_the_first_ten_are_shown(tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.csv", *[BAD] * 12)
    loaded = load(path)
    assert loaded.message == "12 rows were rejected: --rejects PATH keeps them."
    shown = [f"{path}, line {line}: {BAD_ERROR}" for line in range(2, 12)]
    assert loaded.stderr.splitlines() == [*shown, "... and 2 more"]


@pytest.mark.parametrize("option", ["--rejects", "--report"])
@pytest.mark.parametrize("name", ["report.csv", "link.csv", "hard.csv", "./x/../report.csv"])
def test_an_input_may_not_be_overwritten(
    report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, name: str
) -> None:
    Path(tmp_path, "link.csv").symlink_to(report)
    Path(tmp_path, "hard.csv").hardlink_to(report)
    Path(tmp_path, "x").mkdir()
    monkeypatch.chdir(tmp_path)
    before = report.read_bytes()
    loaded = load(write_report(tmp_path / "other.csv", make_row()), report, option, name)
    assert (loaded.status, loaded.message) == (1, f"{name}: is one of the inputs and would be overwritten.")
    assert report.read_bytes() == before
    assert stored() == []


@pytest.mark.parametrize("name", ["out", "link"])
def test_the_report_may_not_overwrite_the_rejects(report: Path, tmp_path: Path, name: str) -> None:
    Path(tmp_path, "link").symlink_to(tmp_path / "out")
    loaded = load(report, "--rejects", tmp_path / "out", "--report", tmp_path / name)
    assert (loaded.status, loaded.message) == (
        1,
        f"{tmp_path / 'out'}: is the report and would be overwritten.",
    )


# Nothing is written unless everything can be opened


_FIELDS = "learner, program_uuid, reason, certainty, effective_timestamp"
_HEADER = HEADER.replace(",", ", ")
UNSAID = (
    "has lms_user_id, and nothing says which field of the user model that is: give --learner-field NAME, such as pk."
)


PRETTY = json.dumps(ROW, indent=2).encode()


def tar(content: bytes) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        member = tarfile.TarInfo("report.csv")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return written.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("missing/report.csv", None, "cannot be read: No such file or directory."),
        (".", None, "cannot be read: Is a directory."),
        ("bad.csv", b"", f"is empty; expected a header with {_FIELDS}."),
        ("bad.csv", b"\xe9," + HEADER.encode(), "the header is not UTF-8."),
        ("bad.csv", b"a;b\n", f"no column for {_FIELDS}; the header has a;b."),
        ("bad.csv", HEADER.replace(",", ";").encode(), "is separated by semicolons: separate it by commas."),
        ("bad.tab", HEADER.replace(",", '"\t"').encode(), "is separated by tabs: separate it by commas."),
        (
            "bad.csv",
            b"\x1b[2J\x1b[31mlearner,\xe2\x80\x8bprogram_uuid",
            f"no column for {_FIELDS}; the header has \\x1b[2j\\x1b[31mlearner, \\u200bprogram_uuid.",
        ),
        (
            "bad.csv",
            b"\xef\xbb\xbf" * 2 + HEADER.encode(),
            rf"no column for program_uuid; the header has \ufeff{_HEADER}.",
        ),
        ("bad.json", b' {"learner": 1}\n', "looks like JSON lines: give --format jsonl, or name it .jsonl."),
        ("bad.jsonl", b'\n[\n{"learner": 1}', "is a JSON array: write one object per line."),
        ("bad.csv", b"[]", "is a JSON array: write one object per line."),
        ("bad.csv", b"PK\x03\x04...", "is a zip archive or a spreadsheet: unpack it, or save it as CSV."),
        ("bad.xz", lzma.compress(b"a"), "is compressed by xz: unpack it."),
        ("bad.zst", b"\x28\xb5\x2f\xfd...", "is compressed by zstd: unpack it."),
        ("bad.bz2", bz2.compress(b"a"), "is compressed by bzip2: unpack it."),
        ("bad.parquet", b"PAR1...", "is Parquet: export it as CSV."),
        ("bad.db", b"SQLite format 3\0...", "is a database file: export it as CSV."),
        ("bad.csv", HEADER.encode("utf-16"), "is UTF-16 or UTF-32: convert it to UTF-8."),
        ("bad.csv", HEADER.encode("utf-16-le"), "is UTF-16 or UTF-32: convert it to UTF-8."),
        ("bad.csv", HEADER.encode("utf-16-be"), "is UTF-16 or UTF-32: convert it to UTF-8."),
        ("bad.csv", HEADER.encode("utf-32"), "is UTF-16 or UTF-32: convert it to UTF-8."),
        ("bad.csv.gz", gzip.compress(gzip.compress(HEADER.encode())), "is gzipped twice: unpack it once."),
        ("bad.lzma", lzma.compress(b"a", lzma.FORMAT_ALONE), "is compressed by lzma: unpack it."),
        ("bad.lz4", b"\x04\x22\x4d\x18\x64\x40...", "is compressed by lz4: unpack it."),
        ("bad.Z", b"\x1f\x9d\x90...", "is compressed by compress: unpack it."),
        ("bad.rar", b"Rar!\x1a\x07\x01\0...", "is a RAR archive: unpack it."),
        ("bad.arrow", b"ARROW1\0\0\xff\xff\xff\xff...", "is Arrow or Feather: export it as CSV."),
        ("bad.feather", b"FEA1...", "is Arrow or Feather: export it as CSV."),
        ("bad.arrows", b"\xff\xff\xff\xff...", "is Arrow or Feather: export it as CSV."),
        ("bad.orc", b"ORC\n...", "is ORC: export it as CSV."),
        ("bad.pdf", b"%PDF-1.7\n...", "is PDF: export it as CSV."),
        ("bad.dump", b"PGDMP\x01\x0e\0...", "is a dump of a database: export it as CSV."),
        ("bad.csv", b"\n<!DOCTYPE html>\n<html>", "is a web page, such as one to sign in: get the report itself."),
        ("bad.csv", b"<html lang='en'>", "is a web page, such as one to sign in: get the report itself."),
        ("bad.xml", b'\xef\xbb\xbf<?xml version="1.0"?>\n<rows>', "is XML: export it as CSV."),
        ("bad.jsonl", b"<rows>\n  <row>", "is XML: export it as CSV."),
        (
            "bad.csv",
            b"sep=;\r\n" + HEADER.replace(",", ";").encode(),
            "is a CSV with a first line for Excel: remove that line, and separate it by commas.",
        ),
        (
            "bad.csv",
            b'\xef\xbb\xbf"sep=,"\r\n' + HEADER.encode(),
            "is a CSV with a first line for Excel: remove that line.",
        ),
        ("bad.jsonl", PRETTY, "is a JSON object of several lines: write one object per line."),
        ("bad.json", PRETTY, "is a JSON object of several lines: write one object per line."),
        ("bad.jsonl", b"\n" + HEADER.encode(), "looks like CSV: give --format csv, or name it .csv."),
        (
            "bad.ndjson",
            HEADER.upper().replace(",", '"\t"').encode(),
            "looks like CSV: give --format csv, or name it .csv.",
        ),
        (
            "bad.csv",
            HEADER.encode() + b",no\xe2\x80\x8bte",
            r"a character in the header cannot be seen: no\u200bte: take it out.",
        ),
        (
            "bad.csv",
            HEADER.encode() + b",no\0te\n",
            r"a character in the header cannot be seen: no\x00te: take it out.",
        ),
        ("bad.tar", tar(HEADER.encode()), "is a tar archive: unpack it."),
        ("bad.tar.gz", gzip.compress(tar(HEADER.encode())), "is a tar archive: unpack it."),
        (
            "bad.csv",
            HEADER.replace("learner", "LMS_USER_ID").encode(),
            UNSAID,
        ),
        (
            "bad.jsonl",
            b'no object\n{"lms_user_id": 1}',
            UNSAID,
        ),
        ("bad.csv", HEADER.encode() + b",user_id", "two columns for learner: learner and user_id."),
        ("bad.csv", HEADER.encode() + b',"user_id', "breaks off: the quote in line 1 is not closed."),
        (
            "bad.csv.gz",
            gzip.compress(HEADER.encode())[:-12],
            "breaks off after line 0: Compressed file ended before the end-of-stream marker was reached.",
        ),
        (
            "bad.csv.gz",
            gzip.compress(f"{HEADER}\n{make_row()}\n".encode()) + b"more",
            "is damaged (Not a gzipped file (b'mo')): get it again.",
        ),
    ],
)
def test_nothing_is_written_if_any_report_cannot_be_opened_or_has_a_bad_header(
    report: Path, tmp_path: Path, name: str, content: bytes | None, error: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    rejects, counts = tmp_path / "rejects.csv", tmp_path / "report.json"
    rejects.write_text(EARLIER["--rejects"])
    loaded = load(report, path, "--rejects", rejects, "--report", counts)
    assert (loaded.status, loaded.message) == (1, f"{path}: {error}")
    assert loaded.stdout == loaded.stderr == ""
    assert stored() == []
    assert rejects.read_text() == EARLIER["--rejects"]
    told = json.loads(counts.read_text())
    assert (told["read"], told["status"], told["message"]) == (0, "refused", loaded.message)


@pytest.mark.parametrize(
    ("option", "other", "path", "error"),
    [
        ("--rejects", "--report", "none/file", "No such file or directory"),
        ("--report", "--rejects", "none/file", "No such file or directory"),
        ("--rejects", "--report", ".", "Is a directory"),
        ("--report", "--rejects", ".", "Is a directory"),
    ],
)
def test_nothing_is_written_if_an_output_cannot_be(
    report: Path, tmp_path: Path, option: str, other: str, path: str, error: str
) -> None:
    earlier = tmp_path / "earlier"
    earlier.write_text(EARLIER[other])
    loaded = load(report, option, tmp_path / path, other, earlier)
    assert (loaded.status, loaded.message) == (1, f"{tmp_path / path}: cannot be written: {error}.")
    assert stored() == []
    if other == "--rejects":
        assert earlier.read_text() == EARLIER[other]
    else:
        assert json.loads(earlier.read_text())["message"] == loaded.message


def test_a_header_that_begins_as_another_kind_of_file_is_one(tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.csv", f"0000-0001,{make_row()}", header=f"ORCID,{HEADER.upper()}")
    assert load(path).counts == (1, 1, 0, 0)


def test_a_first_line_that_is_no_object_is_a_bad_row_and_no_csv(tmp_path: Path) -> None:
    path = tmp_path / "report.jsonl"
    path.write_text(f"learner,reason\n{json.dumps(ROW)}")
    assert load(path).counts == (2, 1, 0, 1)


def test_standard_input_is_read_only_once(report: Path) -> None:
    loaded = load("-", report, "-")
    assert (loaded.status, loaded.message) == (1, "Standard input (-) can be read only once.")


def test_a_closed_standard_input_cannot_be_read(report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    loaded = load(report, "-")
    assert (loaded.status, loaded.message) == (1, "-: cannot be read: Bad file descriptor.")
    assert load(report).counts == (2, 2, 0, 0)


# What stops a load


def test_a_file_that_breaks_off_keeps_what_was_good_before(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    rows = [make_row(), make_row(learner=2), f'"{PROGRAM}', make_row(learner=3)]
    write_report(path, *rows)
    loaded = load(path, "--rejects", tmp_path / "rejects.csv", "--report", tmp_path / "report.json")
    assert (loaded.status, loaded.message) == (1, f"{path}: breaks off: the quote in line 4 is not closed.")
    assert loaded.counts == (2, 2, 0, 0)
    assert [row.learner_id for row in stored()] == [1, 2]
    assert json.loads(Path(tmp_path, "report.json").read_text())["created"] == 2


def test_a_broken_file_also_stops_the_files_after_it(report: Path, tmp_path: Path) -> None:
    path = tmp_path / "broken.csv.gz"
    path.write_bytes(gzip.compress(f"{HEADER}\n{make_row(learner=3)}\n".encode())[:-4])
    loaded = load(path, report)
    assert (loaded.status, loaded.message) == (
        1,
        f"{path}: breaks off after line 2: Compressed file ended before the end-of-stream marker was reached.",
    )
    assert [row.learner_id for row in stored()] == [3]


@pytest.mark.parametrize("dry_run", [True, False], ids=["dry", "real"])
def test_a_bit_that_flipped_in_a_gzip_file_stores_no_intent_that_nobody_had(
    report: Path, tmp_path: Path, dry_run: bool
) -> None:
    path, counts = tmp_path / "damaged.csv.gz", tmp_path / "report.json"
    path.write_bytes(flipped())
    loaded = load(report, path, "--report", counts, dry_run=dry_run)
    assert loaded.status == 1
    assert re.fullmatch(rf"{path}: is damaged \(CRC check failed \w+ != \w+\): get it again\.", loaded.message)
    assert not stored()
    assert not Run.objects.exists()
    assert json.loads(counts.read_text())["status"] == "refused"


def flipped() -> bytes:
    """Not packed, and of the learner 2 instead of 1."""
    return gzip.compress(f"{HEADER}\n{make_row()}\n".encode(), 0).replace(b",1,", b",2,")


@pytest.mark.parametrize("dry_run", [True, False], ids=["dry", "real"])
def test_a_damaged_pipe_is_told_with_the_run_that_stored_what_may_be_false(
    monkeypatch: pytest.MonkeyPatch, dry_run: bool
) -> None:
    reader, writer = os.pipe()
    os.write(writer, flipped())
    os.close(writer)
    with open(reader) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        loaded = load("-", dry_run=dry_run)
    assert (loaded.status, loaded.counts) == (1, (1, 1, 0, 0))
    what_to_do = r"-: is damaged \(CRC check failed \w+ != \w+\): get it again\."
    if dry_run:
        assert re.fullmatch(what_to_do, loaded.message)
    else:
        run = Run.objects.get()
        assert re.fullmatch(rf"{what_to_do} What run {run.pk} stored of it may be false\.", loaded.message)
        assert (run.status, run.message) == ("stopped", loaded.message)
        assert run.program_intents.get().learner_id == 2


@pytest.mark.parametrize("dry_run", [True, False], ids=["dry", "real"])
@pytest.mark.parametrize("bad", [BAD, UNKNOWN, "too,short"], ids=["refused", "unknown learner", "short"])
def test_max_rejects_stops_at_the_reject_that_is_one_too_many(tmp_path: Path, dry_run: bool, bad: str) -> None:
    rows = [make_row(), bad, make_row(learner=2), bad, make_row(learner=3), bad, make_row(learner=4)]
    path = write_report(tmp_path / "report.csv", *rows)
    rejects, report = tmp_path / "rejects.csv", tmp_path / "report.json"
    arguments = ("--max-rejects", 1, "--rejects", rejects, "--report", report)
    loaded = load(path, *arguments, dry_run=dry_run)
    assert (loaded.status, loaded.message) == (1, "Stopped: more than 1 rows were rejected.")
    assert loaded.counts == (4, 2, 0, 2)
    assert [row[1] for row in read_csv(rejects)[1:]] == ["3", "5"]
    assert [row.learner_id for row in stored()] == ([] if dry_run else [1, 2])
    assert json.loads(report.read_text())["rejected"] == 2


@pytest.mark.parametrize("dry_run", [True, False], ids=["dry", "real"])
@pytest.mark.parametrize(("allowed", "status"), [(1, 1), (2, 3), (3, 3)])
def test_max_rejects_lets_that_many_pass(tmp_path: Path, dry_run: bool, allowed: int, status: int) -> None:
    path = write_report(tmp_path / "report.csv", BAD, make_row(), UNKNOWN, make_row(learner=2))
    assert load(path, "--max-rejects", allowed, dry_run=dry_run).status == status


@pytest.mark.parametrize("dry_run", [True, False], ids=["dry", "real"])
@pytest.mark.parametrize("option", [(), ("--max-rejects", 5)], ids=["", "max-rejects"])
def test_a_report_may_hold_nothing_that_can_be_stored(tmp_path: Path, dry_run: bool, option: tuple[object]) -> None:
    path = write_report(tmp_path / "report.csv", BAD, BAD)
    loaded = load(path, *option, dry_run=dry_run)
    assert (loaded.status, loaded.counts) == (3, (2, 0, 0, 2))
    assert load(write_report(path), *option, dry_run=dry_run).counts == (0, 0, 0, 0)


def test_max_rejects_zero_with_nothing_to_reject_loads_all(report: Path) -> None:
    loaded = load(report, "--max-rejects", 0)
    assert (loaded.status, loaded.counts) == (0, (2, 2, 0, 0))


@pytest.mark.parametrize("number", ["-1", "many", "1.5", "\N{FULLWIDTH DIGIT ONE}"])
def test_max_rejects_takes_a_number_from_zero(report: Path, number: str) -> None:
    with pytest.raises(CommandError) as caught:
        call_command("load_program_intents", report, f"--max-rejects={number}")
    assert str(caught.value) == f"Error: argument --max-rejects: expected a number from 0, not {number!r}."


def test_a_database_that_fails_is_told_in_one_line(report: Path, tmp_path: Path) -> None:
    counts = tmp_path / "report.json"
    failing = mock.patch.object(PreparedRows, "write", side_effect=OperationalError("server closed\nthe connection\n"))
    with failing:
        loaded = load(report, "--report", counts)
    assert (loaded.status, loaded.message) == (1, "The database failed: server closed the connection")
    assert json.loads(counts.read_text())["read"] == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("option", ["--rejects", "--report"])
def test_a_full_disk_is_told_in_one_line_and_the_counts_are_true(tmp_path: Path, option: str) -> None:
    path = write_report(tmp_path / "report.csv", make_row(), *[BAD] * 1000)
    loaded = load(path, option, "/dev/full")
    assert (loaded.status, loaded.message) == (1, "/dev/full: cannot be written: No space left on device.")
    assert loaded.counts == (1001, 1, 0, 1000)


def test_a_long_field_is_no_fault_of_its_row(tmp_path: Path) -> None:
    """Python's csv takes 128 KiB unless told otherwise; also over many lines, and in a rejects file loaded again."""
    notes = ["x" * 140_000, '"' + "x\n" * 70_000 + '"', "short"]
    rows = [f"{make_row(learner=number)},{note}" for number, note in enumerate(notes, start=1)]
    bad = f"{BAD},{'x' * 140_000}"
    path = write_report(tmp_path / "report.csv", *rows, bad, header=f"{HEADER},note")
    limit, rejects = csv.field_size_limit(), tmp_path / "rejects.csv"
    loaded = load(path, "--rejects", rejects)
    assert (loaded.status, loaded.counts) == (3, (4, 3, 0, 1))
    rejects.write_text(rejects.read_text().replace("SURE", "MAYBE", 2))
    assert load(rejects).counts == (1, 1, 0, 0)
    assert csv.field_size_limit() == limit


def test_a_header_is_quoted_as_far_as_a_person_reads(tmp_path: Path) -> None:
    loaded = load(write_report(tmp_path / "report.csv", header="x" * 10_000))
    assert loaded.message.startswith(f"{tmp_path / 'report.csv'}: no column for learner, program_uuid, ")
    assert len(loaded.message) < 500


# What it says


@pytest.mark.parametrize("dry_run", [True, False], ids=["dry", "real"])
def test_the_report_is_the_table_as_json(tmp_path: Path, dry_run: bool) -> None:
    path = write_report(tmp_path / "report.csv", make_row(), make_row(), BAD)
    counts = tmp_path / "report.json"
    loaded = load(path, "--report", counts, dry_run=dry_run)
    report = json.loads(counts.read_text())
    counted = {name: report.pop(name) for name in ("started", "finished", "files", "status", "message")}
    assert datetime.fromisoformat(counted["started"]) <= datetime.fromisoformat(counted["finished"])
    assert counted["files"] == [str(path)]
    assert (counted["status"], counted["message"]) == ("finished", loaded.message)
    assert list(report) == ["read", "created", "duplicate", "rejected", "erased", "seconds", "dry_run"]
    assert report | {"seconds": 0} == {
        "read": 3,
        "created": 1,
        "duplicate": 1,
        "rejected": 1,
        "erased": 0,
        "seconds": 0,
        "dry_run": dry_run,
    }
    assert 0 < report["seconds"] < 60
    table = dict(line.split() for line in loaded.stdout.splitlines())
    assert table == {name: str(value) for name, value in report.items()}


@pytest.mark.parametrize(("status", "make"), [(0, write_report), (1, lambda path: path)], ids=["loaded", "missing"])
def test_a_file_name_that_is_no_text_is_spelled_out_in_the_report(
    tmp_path: Path, status: int, make: Callable[[Path], Path]
) -> None:
    counts = tmp_path / "report.json"
    assert load(make(tmp_path / "b\udcff.csv"), "--report", counts).status == status
    assert json.loads(counts.read_text())["files"] == [f"{tmp_path}/b\\udcff.csv"]


def test_the_table_groups_thousands(tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.csv", *[make_row()] * 1234)
    assert "duplicate          1,233\n" in load(path).stdout


@pytest.mark.django_db(databases=["default", "other"])
def test_another_database_is_loaded_by_its_alias_and_asked_for_its_own_learners(tmp_path: Path) -> None:
    get_user_model().objects.using("other").create(pk=9, username="learner9")
    path = write_report(tmp_path / "report.csv", make_row(learner="learner9"), make_row(learner="learner1"))
    loaded = load(path, "--database", "other", "--learner-field", "username")
    assert loaded.counts == (2, 1, 0, 1)
    assert [row.learner_id for row in ProgramIntent.objects.using("other")] == [9]
    assert stored() == []


# Which field a column of learners holds


class OpenEdxUser(models.Model):
    """A user model with the LMS's id beside its own, as that of Open edX credentials."""

    lms_user_id = models.IntegerField(null=True, db_index=True)

    class Meta:
        app_label = "tests"
        managed = False

    def __str__(self) -> str:
        return str(self.pk)


@pytest.mark.parametrize(
    ("name", "settings", "field"),
    [
        ("learner", {}, "pk"),
        ("user_id", {"LEARNER_LOOKUP_FIELD": "username"}, "username"),
        ("lms_user_id", {"LEARNER_LOOKUP_FIELD": "pk"}, "pk"),
        ("lms_user_id", {"LEARNER_LOOKUP_FIELD": "username"}, "username"),
    ],
)
def test_a_column_of_learners_holds_the_field_that_the_host_says(
    name: str, settings: dict[str, str], field: str
) -> None:
    with override_settings(PROGRAM_INTENT=settings):
        assert field_meant(name) == field


@pytest.mark.parametrize("settings", [{}, {"LEARNER_LOOKUP_FIELD": "pk"}])
def test_lms_user_id_is_the_users_field_of_that_name_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]
) -> None:
    monkeypatch.setattr("program_intent.validation.learners.get_user_model", lambda: OpenEdxUser)
    with override_settings(PROGRAM_INTENT=settings):
        assert field_meant("lms_user_id") == "lms_user_id"
        assert field_meant("user_id") == "pk"


def test_the_learner_field_that_is_given_always_wins(tmp_path: Path) -> None:
    header = HEADER.replace("learner", "lms_user_id")
    path = write_report(tmp_path / "report.csv", make_row(learner="learner2"), header=header)
    assert load(path, "--learner-field", "username").counts == (1, 1, 0, 0)
    assert [row.learner_id for row in stored()] == [2]


@override_settings(PROGRAM_INTENT={"LEARNER_LOOKUP_FIELD": "username"})
def test_inputs_that_name_learners_by_different_fields_are_loaded_and_share_no_rejects_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_name = write_report(tmp_path / "by_name.csv", make_row(learner="learner1"), BAD)
    by_id = write_report(tmp_path / "by_id.csv", make_row(learner=2), header=HEADER.replace("learner", "lms_user_id"))
    fields = {"learner": "username", "lms_user_id": "pk"}
    monkeypatch.setattr(load_program_intents, "field_meant", fields.__getitem__)
    rejects = tmp_path / "rejects.csv"
    loaded = load(by_name, by_id, "--rejects", rejects)
    expected = f"{rejects}: cannot hold the rejects of inputs that name learners differently."
    assert (loaded.status, loaded.message, stored()) == (1, expected, [])
    loaded = load(by_name, by_id, by_name)
    assert (loaded.status, loaded.counts) == (3, (5, 2, 1, 2))
    assert [row.learner_id for row in stored()] == [1, 2]


def test_rejects_keep_the_name_of_their_learner_column_and_say_to_repeat_the_option(tmp_path: Path) -> None:
    path = write_report(
        tmp_path / "report.csv", make_row(learner="nobody"), header=HEADER.replace("learner", "Lms_User_Id")
    )
    rejects = tmp_path / "rejects.csv"
    loaded = load(path, "--learner-field", "username", "--rejects", rejects)
    assert loaded.message == f"1 row was rejected: see {rejects}; load them with --learner-field username."
    assert read_csv(rejects)[0][4] == "lms_user_id"
    assert load(rejects).status == 1
    make_user(username="nobody")
    assert load(rejects, "--learner-field", "username").counts == (1, 1, 0, 0)


# What a spreadsheet makes of the rejects


@pytest.mark.parametrize("begins", FORMULAS)
def test_a_cell_that_a_spreadsheet_would_obey_is_escaped_and_comes_back_as_it_was(tmp_path: Path, begins: str) -> None:
    name = f"{begins}2+3"
    cell = f'"{name}"' if begins == "\r" else name
    others = [field for field in ROW if field != "learner"]
    row = ",".join([cell, *(ROW[field] for field in others)])
    path = write_report(tmp_path / "report.csv", row, header=",".join(["learner", *others]))
    rejects = tmp_path / "rejects.csv"
    load(path, "--learner-field", "username", "--rejects", rejects)
    ((*_, learner, _, _, _, original),) = read_csv(rejects)[1:]
    assert learner == f"'{name}"
    assert original == ("" if cell.startswith('"') else "'") + row
    make_user(username=name)
    assert load(rejects, "--learner-field", "username").counts == (1, 1, 0, 0)
    assert load(path, "--learner-field", "username").counts == (1, 0, 1, 0)


def test_only_a_rejects_file_is_unescaped(tmp_path: Path) -> None:
    make_user(username="'ada")
    assert load(write_report(tmp_path / "a.csv", make_row(learner="'ada")), "--learner-field", "username").status == 0


# Files that are somebody else's


@pytest.mark.parametrize("option", ["--rejects", "--report"])
@pytest.mark.parametrize(
    "content", [b"SQLite format 3\0...", b"learner,note\n", b"{}", b"file,line,error_count\n", b'{"read": 1}']
)
def test_what_is_no_output_of_an_earlier_load_is_not_overwritten(
    report: Path, tmp_path: Path, option: str, content: bytes
) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(content)
    loaded = load(report, option, precious)
    what = option.removeprefix("--")
    expected = f"{precious}: holds no earlier {what} and would be overwritten."
    assert (loaded.status, loaded.message, stored()) == (1, expected, [])
    assert precious.read_bytes() == content


@pytest.mark.parametrize("option", ["--rejects", "--report"])
def test_what_another_load_is_writing_is_left_alone(report: Path, tmp_path: Path, option: str) -> None:
    path = tmp_path / "file"
    with path.open("w") as held:
        assert locks.lock(held, locks.LOCK_EX)
        loaded = load(report, option, path)
    assert (loaded.status, loaded.message) == (1, f"{path}: is being written by another process.")
    assert stored() == []
    assert load(report, option, path).status == 0


# Lines that are none, and too long ones


def test_rows_of_nothing_but_commas_are_blank_lines(tmp_path: Path) -> None:
    path = write_report(
        tmp_path / "report.csv", make_row(), ",,,,", ",,,,\r", '"",,,,', ",,", make_row(learner=2), ",,,,"
    )
    assert load(path).counts == (2, 2, 0, 0)


@pytest.mark.parametrize("name", ["report.csv", "report.jsonl"])
def test_a_line_of_more_than_a_mebibyte_stops_the_load_with_its_number(tmp_path: Path, name: str) -> None:
    as_json = json.dumps(ROW | {"learner": 1})
    header, row = (HEADER, make_row()) if name == "report.csv" else (as_json, as_json)
    path = write_report(tmp_path / name, row, f"{row[:-1]}{' ' * 2**20}{row[-1]}", row, header=header)
    loaded = load(path, "--report", tmp_path / "report.json")
    number = 3
    assert (loaded.status, loaded.message) == (
        1,
        f"{path}: line {number} is longer than 1 MiB: write one record per line.",
    )
    assert loaded.counts.created == 1
    assert json.loads((tmp_path / "report.json").read_text())["status"] == "stopped"


def test_a_quote_that_is_never_closed_is_told_with_the_line_where_it_opens(tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.csv", make_row(), f'"{PROGRAM}', *[make_row()] * 20_000)
    loaded = load(path)
    assert (loaded.status, loaded.counts.created) == (1, 1)
    assert loaded.message == f"{path}: line 3: the record is longer than 1 MiB; is a quote not closed?"


# What a person sees


def test_no_table_is_printed_at_verbosity_0(tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.csv", make_row())
    assert load(path, verbosity=0).stdout == ""
    assert len(stored()) == 1


def test_a_name_of_a_file_is_told_without_what_a_terminal_obeys(tmp_path: Path) -> None:
    path = write_report(tmp_path / "a\x1b[2J\u202e.csv", BAD)
    loaded = load(path)
    assert loaded.stderr == f"{tmp_path}/a\\x1b[2J\\u202e.csv, line 2: {BAD_ERROR}\n"
    assert load(tmp_path / "\x1b[2J").message == f"{tmp_path}/\\x1b[2J: cannot be read: No such file or directory."


@pytest.mark.parametrize("settings", [{}, {"LEARNER_LOOKUP_FIELD": "pk"}])
def test_json_lines_may_name_learners_by_turns_only_where_all_names_mean_one_field(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    others = {name: value for name, value in ROW.items() if name != "learner"}
    path = tmp_path / "report.jsonl"
    named = [("user_id", 1), ("lms_user_id", 2), ("learner", 3)]
    path.write_text("\n".join(json.dumps({**others, name: key}) for name, key in named))
    rejects = tmp_path / "rejects.csv"
    with override_settings(PROGRAM_INTENT=settings):
        loaded = load(path, "--rejects", rejects, "--dry-run")
        assert loaded.counts == ((3, 3, 0, 0) if settings else (3, 2, 0, 1))
        assert load(path, "--learner-field", "pk").counts == (3, 3, 0, 0)
    if not settings:
        (reject,) = read_csv(rejects)[1:]
        assert reject[3:8] == [PROGRAM, "", ROW["reason"], ROW["certainty"], ROW["effective_timestamp"]]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_under_the_rejects_is_no_finished_load(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    loaded = load(write_report(tmp_path / "report.csv", BAD), "--rejects", "/dev/full", "--report", report)
    assert (loaded.status, json.loads(report.read_text())["status"]) == (1, "stopped")
