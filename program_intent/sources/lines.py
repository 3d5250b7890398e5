"""The physical lines of a file, gzipped or not, or of standard input."""

import errno
import gzip
import os
import sys
import zlib
from collections import deque
from collections.abc import Iterator
from io import BufferedReader, TextIOWrapper
from itertools import islice
from typing import IO, Any, cast

from program_intent.exceptions import LoadError

# Lines read at once; where one of them is no plain record, all of them are read one by one.
BLOCK = 500


class Lines:
    """The physical lines of a file as text, counted; bytes that are no UTF-8 come as lone surrogates."""

    def __init__(self, path: str) -> None:
        self.name = path
        self.number = 0
        self.taken: list[str] = []
        self._ahead: deque[str] = deque()
        self._break: Exception | None = None
        try:
            self._raw = _stdin() if path == "-" else open(path, "rb")  # noqa: SIM115
            is_gzip = self._raw.peek(2)[:2] == b"\x1f\x8b"
        except OSError as error:
            raise LoadError(f"{path}: cannot be read: {error.strerror}.") from error
        binary = cast(IO[bytes], gzip.GzipFile(fileobj=self._raw) if is_gzip else self._raw)
        self._text = TextIOWrapper(binary, encoding="utf-8-sig", errors="surrogateescape", newline="")

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if not self._ahead and not self.ahead():
            raise StopIteration
        self.number += 1
        self.taken.append(self._ahead.popleft())
        return self.taken[-1]

    def ahead(self) -> list[str]:
        """The next lines, up to BLOCK, without taking them; none at the end."""
        try:
            if self._break is None:
                self._ahead.extend(islice(self._text, BLOCK - len(self._ahead)))
        except (OSError, EOFError, zlib.error) as error:
            self._break = error
        if self._break and not self._ahead:
            raise LoadError(f"{self.name}: breaks off after line {self.number}: {self._break}.") from self._break
        return list(self._ahead)

    def skip(self, count: int) -> None:
        """Take that many of the lines ahead."""
        self.number += count
        for _ in range(count):
            self._ahead.popleft()

    def take(self) -> tuple[int, str]:
        """The lines read since the last call, without the last line's end, and the number of the first."""
        start = self.number - len(self.taken) + 1
        text = self.taken[0] if len(self.taken) == 1 else "".join(self.taken)
        self.taken.clear()
        return start, text.rstrip("\r\n")

    def position(self) -> int:
        return self._raw.tell() if self._raw.seekable() else 0

    def close(self) -> None:
        if self.name != "-":
            self._text.close()
            self._raw.close()


def _stdin() -> BufferedReader:
    if sys.stdin is None:  # how Python starts where it is closed
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    # A reader of our own: Python would abort if a thread that outlives the load held the lock of sys.stdin's.
    stdin: Any = sys.stdin.buffer
    return BufferedReader(getattr(stdin, "raw", stdin))


def is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
