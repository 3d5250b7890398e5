"""Which reader a file is for."""

import os

from program_intent.exceptions import LoadError
from program_intent.sources.csv_file import CsvFile
from program_intent.sources.formats import is_json
from program_intent.sources.headers import looks_like_csv
from program_intent.sources.json_lines import JsonLinesFile
from program_intent.sources.lines import Lines

ReportFile = CsvFile | JsonLinesFile


def open_file(path: str, file_format: str | None = None, *, names_mean_one_field: bool = False) -> ReportFile:
    """Open a file, or standard input for ``-``; gzip is recognised by its content, the format by the file's name.

    JSON lines may name learners by turns where all such names mean one field of the user model.

    :raises LoadError: it cannot be read, or its header is not one of a report.
    """
    name = path.lower().removesuffix(".gz")
    is_json_lines = file_format == "jsonl" or (file_format is None and name.endswith((".jsonl", ".ndjson")))
    lines = Lines(path)
    try:
        if not is_json_lines and is_json(lines.beginning):
            raise LoadError(f"{path}: looks like JSON lines: give --format jsonl, or name it .jsonl.")
        if is_json_lines and looks_like_csv(next(filter(str.strip, lines.ahead()), "")):
            raise LoadError(f"{path}: looks like CSV: give --format csv, or name it .csv.")
        return JsonLinesFile(lines, names_mean_one_field) if is_json_lines else CsvFile(lines)
    except BaseException:
        lines.close()
        raise


def size(path: str) -> int:
    """Bytes of a file, 0 for a pipe."""
    return os.path.getsize(0 if path == "-" else path)
