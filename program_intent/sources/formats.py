"""What a file is that is neither CSV nor JSON lines, by how it begins, and what to do about it."""

import re

_UNPACK, _EXPORT, _CONVERT = "unpack it", "export it as CSV", "convert it to UTF-8"
_BEGINNINGS = (
    (rb"PK\x03\x04", "a zip archive or a spreadsheet", "unpack it, or save it as CSV"),
    (rb"\xfd7zXZ\x00", "compressed by xz", _UNPACK),
    (rb"\x28\xb5\x2f\xfd", "compressed by zstd", _UNPACK),
    (rb"BZh", "compressed by bzip2", _UNPACK),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (rb"(?s:.{257})ustar", "a tar archive", _UNPACK),
    (rb"\xd0\xcf\x11\xe0", "a spreadsheet", "save it as CSV"),
    (rb"PAR1", "Parquet", _EXPORT),
    (rb"ORC", "ORC", _EXPORT),
    (rb"Obj\x01", "Avro", _EXPORT),
    (rb"SQLite format 3\x00", "a database file", _EXPORT),
    (rb"\xff\xfe|\xfe\xff|(?s:.)?\x00", "UTF-16 or UTF-32", _CONVERT),
    (rb"(?:\xef\xbb\xbf)?\s*\[\s*[{\]]", "a JSON array", "write one object per line"),
)
# Bytes: as many as one of them looks at.
BEGINNING = 262


def other_format(beginning: bytes) -> tuple[str, str]:
    """What it is and what to do; empty texts if nothing speaks against reading it."""
    return next(((what, remedy) for pattern, what, remedy in _BEGINNINGS if re.match(pattern, beginning)), ("", ""))


def is_json(beginning: bytes) -> bool:
    return re.match(rb"(?:\xef\xbb\xbf)?\s*{", beginning) is not None
