"""Reports as warehouses write them become raw rows, each with its place and its text."""

import gzip
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from program_intent.exceptions import LoadError
from program_intent.sources import json_lines
from program_intent.sources import lines as lines_module
from program_intent.sources.csv_file import CsvFile
from program_intent.sources.files import open_file, size
from program_intent.sources.rows import Malformed, Source, Values
from tests.reports import HEADER

VALUES = ("1", "uuid", "REASON", "MAYBE", "now")
ROW = "uuid,1,REASON,MAYBE,now"
QUOTED_HEADER, QUOTED_ROW = ('"' + line.replace(",", '","') + '"' for line in (HEADER.upper(), ROW))
OBJECT = '{"program_uuid": "uuid", "learner": 1, "reason": "R", "certainty": "MAYBE", "effective_timestamp": "now"}'

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: str | bytes, name: str = "report.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


class Record(NamedTuple):
    """What a block tells of one record, its text without the line's end; a text for values is what is wrong."""

    line: int
    original: str
    values: Values | str
    # The values as far as they can be read.
    readable: Values


def read(path: Path, file_format: str | None = None) -> list[Record]:
    return list(reading(open_file(str(path), file_format)))


def reading(source: Source) -> Iterator[Record]:
    try:
        for places, originals, rows, apart in source.blocks():
            assert originals is not None
            for line, original, row in zip(places, originals, rows, strict=True):
                values, readable = row if isinstance(row, Malformed) else (row, row)
                assert apart is None or apart(original.rstrip("\r\n")) == values
                yield Record(line, original.rstrip("\r\n"), values, readable)
    finally:
        source.close()


def read_to_the_break(path: Path) -> tuple[list[Record], str]:
    """The records before the report breaks off, and what is said about that; nothing if it does not."""
    records: list[Record] = []
    try:
        records.extend(reading(open_file(str(path))))
    except LoadError as error:
        return records, str(error)
    return records, ""


def refusal(path: Path | str) -> str:
    with pytest.raises(LoadError) as caught:
        open_file(str(path)).close()
    return str(caught.value)


# Form


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(f"{HEADER}\n{ROW}\n", id="plain"),
        pytest.param(f"{HEADER}\n{ROW}", id="no line end at the end"),
        pytest.param(f"\ufeff{HEADER}\n{ROW}\n", id="byte order mark"),
        pytest.param(f"{HEADER}\r\n{ROW}\r\n", id="CRLF"),
        pytest.param(f"{HEADER}\r{ROW}\r", id="CR"),
        pytest.param(f"{QUOTED_HEADER}\n{ROW}\n", id="quoted upper-case header"),
        pytest.param(f"{HEADER.replace(',', ' , ')} \n{ROW}\n", id="spaces around the names"),
        pytest.param(f"{HEADER}\n{QUOTED_ROW}\n", id="quoted values"),
        pytest.param(f"{HEADER},score,file\n{ROW},5,x\n", id="extra columns after"),
        pytest.param(f"score,{HEADER}\n5,{ROW}\n", id="extra columns before"),
        pytest.param(f"{HEADER},score,score,\n{ROW},5,6,\n", id="extra columns of one name, and of none"),
        pytest.param(HEADER.replace("learner", "user_id") + f"\n{ROW}", id="user_id"),
        pytest.param(HEADER.replace("learner", "LMS_User_ID") + f"\n{ROW}", id="lms_user_id"),
        pytest.param(HEADER.replace("reason", "intent_reason") + f"\n{ROW}", id="intent_reason"),
        pytest.param(HEADER.replace("certainty", "intent_certainty") + f"\n{ROW}", id="intent_certainty"),
        pytest.param(HEADER.replace("effective_timestamp", "effective_time") + f"\n{ROW}", id="effective_time"),
        pytest.param(
            "effective_time,intent_certainty,intent_reason,lms_user_id,program_uuid\nnow,MAYBE,REASON,1,uuid",
            id="another order",
        ),
    ],
)
def test_a_csv_report_is_read_as_warehouses_write_it(write: Write, content: str) -> None:
    assert [record.values for record in read(write(content))] == [VALUES]


@pytest.mark.parametrize("name", ["report.csv.gz", "REPORT.CSV.GZ", "named as no gzip file.csv"])
def test_a_gzipped_report_is_read_as_it_is(write: Write, name: str) -> None:
    assert [record.values for record in read(write(gzip.compress(f"{HEADER}\n{ROW}\n".encode()), name))] == [VALUES]


def test_a_gzipped_report_of_several_members_is_read_whole(write: Write) -> None:
    path = write(gzip.compress(f"{HEADER}\n{ROW}\n".encode()) + gzip.compress(f"{ROW}\n".encode()))
    assert [record.values for record in read(path)] == [VALUES, VALUES]


@pytest.mark.parametrize(
    ("name", "file_format"),
    [
        ("report.jsonl", None),
        ("report.ndjson", None),
        ("REPORT.JSONL", None),
        ("report.jsonl.gz", None),
        ("report.txt", "jsonl"),
    ],
)
def test_json_lines_are_known_by_the_name_or_the_format(write: Write, name: str, file_format: str | None) -> None:
    content = OBJECT.encode()
    path = write(gzip.compress(content) if name.endswith(".gz") else content, name)
    assert [record.values for record in read(path, file_format)] == [(1, "uuid", "R", "MAYBE", "now")]


def test_the_format_wins_over_the_name(write: Write) -> None:
    assert [record.values for record in read(write(f"{HEADER}\n{ROW}\n", "report.jsonl"), "csv")] == [VALUES]


def test_keys_of_json_lines_are_the_columns_of_a_csv_in_any_case(write: Write) -> None:
    line = '{"PROGRAM_UUID": "u", "User_Id": 7, "intent_reason": "R", "certainty": "MAYBE", "more": {"reason": "?"}}'
    assert [record.values for record in read(write(f"\ufeff{line}\r\n\r\n", "report.jsonl"))] == [
        (7, "u", "R", "MAYBE", None)
    ]


# Place and text


def test_the_line_is_the_physical_line_on_which_the_record_starts(write: Write) -> None:
    rows = ["", HEADER, "", "  ", ROW, '"u', "", 'uid",1,REASON,MAYBE,now', "", '""', ROW, "too,short", "", ROW]
    records = read(write("\r\n".join(rows)))
    assert [record.line for record in records] == [5, 6, 11, 12, 14]
    assert [record.original for record in records] == [ROW, '"u\r\n\r\nuid",1,REASON,MAYBE,now', ROW, "too,short", ROW]


def test_the_line_of_a_json_object_counts_blank_lines(write: Write) -> None:
    records = read(write(f"\n{OBJECT}\n\n  \nnothing\n{OBJECT}", "report.jsonl"))
    assert [(record.line, record.original) for record in records] == [(2, OBJECT), (5, "nothing"), (6, OBJECT)]


@pytest.mark.parametrize("separator", ["\u2028", "\x0b", "\x0c", "\x1c", "\x85"])
def test_only_line_ends_end_a_line(write: Write, separator: str) -> None:
    path = write(f"{HEADER}\nu{separator}uid,1,REASON,MAYBE,now\n")
    (record,) = read(path)
    assert (record.line, record.values) == (2, ("1", f"u{separator}uid", *VALUES[2:]))


def test_the_values_of_a_record_are_read_as_far_as_they_can_be(write: Write) -> None:
    path = write(f'{HEADER}\n"u\n""uid""",1,REASON,MAYBE,now\nu,1\nu,1,R,M,n,more\n"u"u,1,R,M,n\n')
    assert [record.readable for record in read(path)] == [
        ("1", 'u\n"uid"', *VALUES[2:]),
        ("1", "u", "", "", ""),
        ("1", "u", "R", "M", "n"),
        ("1", "uu", "R", "M", "n"),
    ]


# A bad row is a record with an error


@pytest.mark.parametrize(
    ("row", "error"),
    [
        (b"uuid,1", "Expected 5 columns as in the header, found 2."),
        (b"uuid,1,REASON,MAYBE,now,", "Expected 5 columns as in the header, found 6."),
        (b"uuid,1,R\xe9ASON,MAYBE,now", "The row is not UTF-8."),
        (b"uuid,1,R\xed\xa0\x80ASON,MAYBE,now", "The row is not UTF-8."),
        (b'uuid,"1"1,REASON,MAYBE,now', "Expected values as CSV quotes them: ',' expected after '\"'."),
    ],
    ids=["too few", "too many", "Latin-1", "surrogate", "quote"],
)
def test_a_row_of_bad_form_is_told_and_the_next_is_read(write: Write, row: bytes, error: str) -> None:
    first, bad, last = read(write(b"\n".join([HEADER.encode(), ROW.encode(), row, ROW.encode()])))
    assert (bad.line, bad.values) == (3, error)
    assert first.values == last.values == VALUES


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"nothing", "Expected a JSON object: Expecting value: line 1 column 1 (char 0)."),
        (b'{"learner": 1', "Expected a JSON object: Expecting ',' delimiter: line 1 column 14 (char 13)."),
        (b"[1]", "Expected a JSON object with the fields of an intent."),
        (b"[]", "Expected a JSON object with the fields of an intent."),
        (b"null", "Expected a JSON object with the fields of an intent."),
        (b'{"learner": 1, "learner": 2}', "Two values for learner."),
        (b'{"learner": 1, "USER_ID ": 1}', "Two values for learner."),
        (b'{"learner": "\xe9"}', "The row is not UTF-8."),
        (b'{"LMS_user_id": 1}', "Expected the learner under learner, as in the first object, not lms_user_id."),
    ],
)
def test_a_bad_json_line_is_told_and_the_next_is_read(write: Write, line: bytes, error: str) -> None:
    first, bad, last = read(write(b"\n".join([OBJECT.encode(), line, OBJECT.encode()]), "report.jsonl"))
    assert (bad.line, bad.values) == (2, error)
    assert first.values == last.values == (1, "uuid", "R", "MAYBE", "now")


@pytest.mark.parametrize("line", ["[" * 100_000, '{"learner":' * 90_000, '{"learner": %s}' % ("1" * 5000)])
def test_json_made_to_break_the_parser_is_a_bad_row(write: Write, line: str) -> None:
    bad, good = read(write(f"{line}\n{OBJECT}", "report.jsonl"))
    assert isinstance(bad.values, str)
    assert bad.values.startswith("Expected a JSON object: ")
    assert good.values == (1, "uuid", "R", "MAYBE", "now")


def test_a_json_value_is_shown_as_the_object_it_is(write: Write) -> None:
    (record,) = read(write('{"learner": {"id": [1]}}', "report.jsonl"))
    assert repr(record.values[0]) == "{'id': [1]}"


# Blocks are read at once where they are plain, else record by record: the two must agree


_lines = st.sampled_from(
    [
        ROW,
        ROW,
        ROW,
        QUOTED_ROW,
        "",
        " ",
        "too,short",
        ROW + ",more",
        '"u',
        'uid",1,R,M,n',
        '"u"u,1,R,M,n',
        "\udce9,1,R,M,n",
    ]
)


@given(lines=st.lists(_lines, max_size=12), block=st.integers(1, 5), end=st.sampled_from(["\n", "\r\n", "\r"]))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_blocks_read_at_once_are_what_they_are_record_by_record(
    tmp_path: Path, lines: list[str], block: int, end: str
) -> None:
    path = tmp_path / "report.csv"
    path.write_bytes(end.join([HEADER, *lines]).encode("utf-8", "surrogateescape"))
    with mock.patch.object(CsvFile, "_plain_rows", return_value=None):
        one_by_one = read_to_the_break(path)
    with mock.patch.object(lines_module, "BLOCK", block):
        assert read_to_the_break(path) == one_by_one


_names = st.sampled_from(
    ["program_uuid", "learner", "USER_ID ", "reason", "certainty", "effective_timestamp", "effective_time", "more", '"']
)
_values = st.recursive(
    st.sampled_from([None, True, 1, 1.5, float("nan"), "", "text", '"', "caf\u00e9", "\ud800", "\u2028", "\\"]),
    lambda values: st.lists(values, max_size=2) | st.dictionaries(st.sampled_from("ab"), values, max_size=2),
    max_leaves=3,
)


def as_object(pairs: list[tuple[str, object]], start: str, end: str) -> str:
    """JSON in which a key may be there twice."""
    return start + "{" + ", ".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in pairs) + "}" + end


_objects = st.builds(
    as_object,
    st.permutations(list(zip(HEADER.split(","), ["uuid", 1, "R", "MAYBE", "now"], strict=True)))
    | st.lists(st.tuples(_names, _values), max_size=7),
    st.sampled_from(["", "", "", " ", "\ufeff"]),
    st.sampled_from(["", "", "", " ", "x", ",{}"]),
)
_odd = st.sampled_from(
    [
        "",
        " ",
        "nothing",
        "[1]",
        '{"lms_user_id": 1}',
        '"text"',
        "1",
        '{"learner": 1',
        '{"learner": "\udce9"}',
        "[" * 9999,
    ]
)


@given(
    objects=st.lists(st.just(OBJECT) | _objects | _odd, max_size=8),
    block=st.integers(1, 4),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_json_lines_read_at_once_are_what_they_are_one_by_one(
    tmp_path: Path, objects: list[str], block: int, end: str
) -> None:
    path = tmp_path / "report.jsonl"
    path.write_bytes(end.join(objects).encode("utf-8", "surrogateescape"))
    with mock.patch.object(lines_module, "BLOCK", block):
        with mock.patch.object(json_lines, "_plain_rows", return_value=None):
            one_by_one = read(path)
        assert repr(read(path)) == repr(one_by_one)  # as texts, because no NaN equals another


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(OBJECT, id="plain"),
        pytest.param(OBJECT.replace(", ", ",").replace(": ", ":"), id="compact"),
        pytest.param(OBJECT.replace("uuid", "\\u00e9"), id="escaped"),
        pytest.param(OBJECT.replace('"learner"', '"more": null, "USER_ID"'), id="another name and key"),
    ],
)
def test_json_lines_as_warehouses_write_them_are_read_at_once(write: Write, line: str) -> None:
    path = write(f"{line}\n{OBJECT}\r\n{line}", "report.jsonl")
    with mock.patch.object(json_lines, "_row", side_effect=AssertionError):
        assert len(read(path)) == 3


# What cannot be opened


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    assert refusal(path) == f"{path}: cannot be read: No such file or directory."


def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path}: cannot be read: Is a directory."


def test_a_file_that_may_not_be_read_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:  # the tests may run as root, who may read anything
        raise PermissionError(13, "Permission denied")

    path = write(HEADER)
    monkeypatch.setattr("program_intent.sources.lines.FileIO", refuse)
    assert refusal(path) == f"{path}: cannot be read: Permission denied."


@pytest.mark.parametrize("content", [b"", b"\n \r\n", b"\xef\xbb\xbf", gzip.compress(b"")])
def test_an_empty_report_is_refused(write: Write, content: bytes) -> None:
    path = write(content)
    assert refusal(path) == (
        f"{path}: is empty; expected a header with learner, program_uuid, reason, certainty, effective_timestamp."
    )


def test_a_header_that_is_not_utf8_is_refused(write: Write) -> None:
    path = write(f"{HEADER},\udce9\n{ROW},1\n".encode("utf-8", "surrogateescape"))
    assert refusal(path) == f"{path}: the header is not UTF-8."


@pytest.mark.parametrize(
    ("header", "error"),
    [
        ("learner;program_uuid", "no column for learner, program_uuid, reason, certainty, effective_timestamp"),
        (HEADER.replace("learner,", ""), "no column for learner"),
        (HEADER.replace(",effective_timestamp", ""), "no column for effective_timestamp"),
    ],
)
def test_a_header_without_a_needed_column_is_refused(write: Write, header: str, error: str) -> None:
    path = write(f"{header}\n{ROW}\n")
    assert refusal(path) == f"{path}: {error}; the header has {header.replace(',', ', ')}."


def test_the_message_about_a_header_is_one_line(write: Write) -> None:
    path = write(f'"Learner\n of\tthe year",reason\n{ROW}\n')
    assert refusal(path) == (
        f"{path}: no column for learner, program_uuid, certainty, effective_timestamp; "
        "the header has learner of the year, reason."
    )


@pytest.mark.parametrize(
    ("header", "error"),
    [
        (f"{HEADER},user_id", "two columns for learner: learner and user_id"),
        (f"LMS_user_ID,{HEADER}", "two columns for learner: lms_user_id and learner"),
        (f"{HEADER},Reason", "two columns for reason: reason and reason"),
        (f"{HEADER},effective_time", "two columns for effective_timestamp: effective_timestamp and effective_time"),
    ],
)
def test_two_columns_for_one_field_are_refused(write: Write, header: str, error: str) -> None:
    path = write(f"{header}\n{ROW},1\n")
    assert refusal(path) == f"{path}: {error}."


def test_a_badly_quoted_header_is_refused_and_not_taken_from_the_next_row(write: Write) -> None:
    path = write(f'"learner"s,reason\n{HEADER}\n{ROW}\n')
    assert refusal(path) == (f"{path}: the header: Expected values as CSV quotes them: ',' expected after '\"'.")


# What breaks off


def test_a_truncated_gzip_file_gives_its_rows_up_to_the_break(write: Write) -> None:
    rows = [f"{os.urandom(16).hex()},1,REASON,MAYBE,now" for _ in range(5000)]
    content = gzip.compress("\n".join([HEADER, *rows]).encode())
    path = write(content[: len(content) // 2])
    records, error = read_to_the_break(path)
    assert [record.original for record in records] == rows[: len(records)]
    assert 2000 < len(records) < 3000
    assert error == (
        f"{path}: breaks off after line {len(records) + 1}: "
        "Compressed file ended before the end-of-stream marker was reached."
    )


_WHOLE = gzip.compress(f"{HEADER}\n{ROW}\n{ROW}\n".encode())
# Not packed, so that each line of it is a row nevertheless.
_FLIPPED = gzip.compress(f"{HEADER}\n{ROW}\n{ROW}\n".encode(), 0).replace(b",1,", b",3,", 1)
_DAMAGED = pytest.mark.parametrize(
    ("content", "error"),
    [
        pytest.param(_FLIPPED, "CRC check failed", id="a bit flipped"),
        pytest.param(_WHOLE + _FLIPPED + _WHOLE, "CRC check failed", id="a bit flipped in a later member"),
        pytest.param(_WHOLE[:-1] + b"\1", "Incorrect length of data produced", id="another length"),
        pytest.param(
            _WHOLE + _WHOLE[:10] + b"\xff" * 20,
            "Error -3 while decompressing data: invalid block type",
            id="badly packed",
        ),
        pytest.param(_WHOLE + b"no gzip", "Not a gzipped file (b'no')", id="followed by something else"),
    ],
)


def is_told(message: str, path: object, error: str) -> bool:
    return message.startswith(f"{path}: is damaged ({error}") and message.endswith("): get it again.")


@_DAMAGED
def test_a_damaged_gzip_file_is_refused_before_a_row_of_it_is_read(write: Write, content: bytes, error: str) -> None:
    path = write(content)
    assert is_told(refusal(path), path, error)


@_DAMAGED
def test_damage_of_a_file_that_is_standard_input_is_found_where_it_is_read_from(
    write: Write, monkeypatch: pytest.MonkeyPatch, content: bytes, error: str
) -> None:
    with write(b"read before" + content).open() as file:
        file.buffer.raw.seek(len("read before"))  # type: ignore[attr-defined]  # as head -c does
        monkeypatch.setattr(sys, "stdin", file)
        assert is_told(refusal("-"), "-", error)


def test_a_file_that_is_standard_input_is_read_from_where_it_is(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    with write(b"read before" + _WHOLE).open() as file:
        file.buffer.raw.seek(len("read before"))  # type: ignore[attr-defined]
        monkeypatch.setattr(sys, "stdin", file)
        source = open_file("-")
        assert [record.values for record in reading(source)] == [VALUES, VALUES]
        assert source.stored() == {"name": "-", "bytes": len(_WHOLE), "sha256": sha256(_WHOLE).hexdigest()}


@_DAMAGED
@pytest.mark.parametrize("name", ["pipe", "/dev/fd/{}"])
def test_a_damaged_pipe_gives_its_rows_up_to_where_the_damage_shows(
    tmp_path: Path, name: str, content: bytes, error: str
) -> None:
    """It can be read only once."""
    reader, writer = os.pipe()
    path = tmp_path / name.format(reader)
    if name == "pipe":
        os.mkfifo(path)
        threading.Thread(target=path.write_bytes, args=(content,)).start()
    os.write(writer, content)
    os.close(writer)
    records, message = read_to_the_break(path)
    assert [record.line for record in records[:2]] == [2, 3]
    assert is_told(message, path, error)
    os.close(reader)


def test_a_gzip_file_that_breaks_off_in_its_header_is_refused(write: Write) -> None:
    path = write(gzip.compress(HEADER.encode())[:12])
    assert refusal(path) == (
        f"{path}: breaks off after line 0: Compressed file ended before the end-of-stream marker was reached."
    )


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param(f'"uuid,1,REASON,MAYBE,now\n{ROW}\n', id="to the end"),
        pytest.param(f'"uuid,1,REASON,MAYBE,now\n{ROW}\n"{ROW}"\n', id="to the quote of a later row"),
        pytest.param('"uuid,1,REASON,MAYBE,now\n' + f"{ROW}\n" * 10_000, id="past the longest field"),
    ],
)
def test_a_quote_that_is_not_closed_breaks_the_report_off_in_the_line_where_it_opened(write: Write, rest: str) -> None:
    path = write(f"{HEADER}\n{ROW}\n\n{rest}")
    records, error = read_to_the_break(path)
    assert [record.values for record in records] == [VALUES]
    assert error == f"{path}: breaks off: the quote in line 4 is not closed."


# Progress


def test_the_position_is_counted_in_bytes_of_the_file(write: Write) -> None:
    content = gzip.compress("\n".join([HEADER, *[ROW] * 100_000]).encode(), compresslevel=0)
    path = write(content)
    source = open_file(str(path))
    assert size(str(path)) == len(content)
    records = reading(source)
    next(records)
    assert 0 < source.position() < len(content)
    assert len(list(records)) == 99_999


def test_a_pipe_is_read_and_has_neither_size_nor_position(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=(f"{HEADER}\n{ROW}\n",))
    writer.start()
    source = open_file(str(path))
    assert source.position() == size(str(path)) == 0
    assert [record.values for record in reading(source)] == [VALUES]
    writer.join()
