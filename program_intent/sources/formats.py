"""What a file is that is neither CSV nor JSON lines, by how it begins, and what to do about it."""

import re

_UNPACK, _EXPORT, _CONVERT = "unpack it", "export it as CSV", "convert it to UTF-8"
_ONE_PER_LINE, _GET = "write one object per line", "get the report itself"
_SEP = "a CSV with a first line for Excel"
_BOM = rb"(?:\xef\xbb\xbf)?"
_BEGINNINGS = (
    (rb"PK\x03\x04", "a zip archive or a spreadsheet", "unpack it, or save it as CSV"),
    (rb"\xfd7zXZ\x00", "compressed by xz", _UNPACK),
    (rb"\x28\xb5\x2f\xfd", "compressed by zstd", _UNPACK),
    (rb"\x1f\x8b", "gzipped twice", "unpack it once"),
    (rb"\x1f[\x9d\xa0]", "compressed by compress", _UNPACK),
    (rb"\x5d\x00\x00", "compressed by lzma", _UNPACK),
    (rb"\x04\x22\x4d\x18|\x02\x21\x4c\x18", "compressed by lz4", _UNPACK),
    (rb"BZh", "compressed by bzip2", _UNPACK),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (rb"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (rb"(?s:.{257})ustar", "a tar archive", _UNPACK),
    (rb"\xd0\xcf\x11\xe0", "a spreadsheet", "save it as CSV"),
    (rb"PAR1", "Parquet", _EXPORT),
    (rb"ORC(?![\w \"]*,)", "ORC", _EXPORT),
    (rb"Obj\x01", "Avro", _EXPORT),
    (rb"ARROW1\x00|FEA1|\xff\xff\xff\xff", "Arrow or Feather", _EXPORT),
    (rb"PGDMP", "a dump of a database", _EXPORT),
    (rb"%PDF-", "PDF", _EXPORT),
    (rb"SQLite format 3\x00", "a database file", _EXPORT),
    (rb"\xff\xfe|\xfe\xff|(?s:.)?\x00", "UTF-16 or UTF-32", _CONVERT),
    (_BOM + rb"\s*\[\s*[{\]]", "a JSON array", _ONE_PER_LINE),
    (_BOM + rb"\s*{\s*[\r\n]\s*\"", "a JSON object of several lines", _ONE_PER_LINE),
    (_BOM + rb"\s*<(?i:!doctype\s+html|html|head|body)\b", "a web page, such as one to sign in", _GET),
    (_BOM + rb"\s*<(?:\?xml\b|[a-zA-Z][^<>]*>\s*<)", "XML", _EXPORT),
    (_BOM + rb"(?i:\"?sep=,)", _SEP, "remove that line"),
    (_BOM + rb"(?i:\"?sep=[;|\t])", _SEP, "remove that line, and separate it by commas"),
)
# Bytes: as many as one of them looks at.
BEGINNING = 262


def other_format(beginning: bytes) -> tuple[str, str]:
    """What it is and what to do; empty texts if nothing speaks against reading it."""
    return next(((what, remedy) for pattern, what, remedy in _BEGINNINGS if re.match(pattern, beginning)), ("", ""))


def is_json(beginning: bytes) -> bool:
    return re.match(_BOM + rb"\s*{", beginning) is not None
