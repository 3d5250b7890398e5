"""The physical lines of a file, gzipped or not, or of standard input."""

import errno
import gzip
import os
import sys
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from io import BufferedReader, FileIO, RawIOBase, TextIOWrapper
from typing import Any, cast

from program_intent.exceptions import LoadError, printable
from program_intent.sources.formats import BEGINNING, other_format

# Lines read at once; where one of them is no plain record, all of them are read one by one.
BLOCK = 500
# Characters of a line, and of a record of several; a line of 16 MiB took 2.7 GB to parse.
LONGEST = 2**20
# Characters read at once, and then the rest of the last line: JSON takes 25 times as much while it is parsed.
_ENOUGH = 256 * 2**10

# Bytes read at once; each time Python has a turn.
BUFFER = 128 * 2**10
_DAMAGE = (gzip.BadGzipFile, zlib.error)


class Stored(RawIOBase):
    """The bytes of a file as they are stored, gzipped or not, counted and hashed while they are read."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._hash = sha256()
        self.bytes = 0
        self.is_read_to_end = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def readinto(self, buffer: Any) -> int | None:
        count = self._file.readinto(buffer)
        if count:
            self._hash.update(memoryview(buffer)[:count])
            self.bytes += count
        self.is_read_to_end = count == 0
        return count

    def verify(self) -> None:
        """Unpack it to its end, which alone tells whether it is as it was written, and go back; not counted.

        :raises OSError, zlib.error: it is damaged, or cannot be read. That it breaks off is told when it does.
        """
        here = self._file.tell()
        self._file.seek(here - self.bytes)
        unpacked = gzip.GzipFile(fileobj=self._file)
        with suppress(EOFError):
            while unpacked.read(BUFFER):
                pass
        self._file.seek(here)

    def sha256(self) -> str:
        return self._hash.hexdigest()

    def close(self) -> None:
        self._file.close()
        super().close()


class Damaged(LoadError):
    """What was read of it may be false."""


class Lines:
    """The physical lines of a file as text, counted; bytes that are no UTF-8 come as lone surrogates."""

    def __init__(self, path: str) -> None:
        self.name = path
        self.number = 0
        self._taken: list[str] = []
        self._size_taken = 0
        self._is_reading = False
        self._ahead: deque[str] = deque()
        self._break: LoadError | None = None
        try:
            self._stored = Stored(_stdin() if path == "-" else FileIO(path))
            self._raw = BufferedReader(self._stored, BUFFER)
            is_gzip = self._raw.peek(2)[:2] == b"\x1f\x8b"
        except OSError as error:
            raise LoadError(f"{path}: cannot be read: {error.strerror}.") from error
        unpacked = cast(BufferedReader, gzip.GzipFile(fileobj=self._raw)) if is_gzip else self._raw
        self._text = TextIOWrapper(unpacked, encoding="utf-8-sig", errors="surrogateescape", newline="")
        self.beginning = b""
        with suppress(OSError, EOFError, zlib.error):  # told when the lines are read
            self.beginning = unpacked.peek(BEGINNING)[:BEGINNING]
        try:
            self._refuse_unsound(is_gzip)
        except LoadError:
            self.close()
            raise

    def _refuse_unsound(self, is_gzip: bool) -> None:
        what, remedy = other_format(self.beginning)
        if what:
            raise LoadError(f"{self.name}: is {what}: {remedy}.")
        try:
            if is_gzip and self._stored.seekable():
                self._stored.verify()
        except _DAMAGE as error:
            raise self._damaged(error) from error
        except OSError as error:
            raise LoadError(f"{self.name}: cannot be read: {error.strerror}.") from error

    def _damaged(self, error: Exception) -> Damaged:
        return Damaged(f"{self.name}: is damaged ({error}): get it again.")

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if not self._ahead and not self.ahead():
            raise StopIteration
        line = self._ahead.popleft()
        self.number += 1
        self._taken.append(line)
        self._size_taken += len(line)
        if self._size_taken > LONGEST:
            start = self.number - len(self._taken) + 1
            raise LoadError(f"{self.name}: line {start}: the record is longer than 1 MiB; is a quote not closed?")
        return line

    def ahead(self) -> list[str]:
        """The next lines, as many as are read at once, without taking them; none at the end."""
        ahead, readline = self._ahead, self._text.readline
        size = sum(map(len, ahead))
        self._is_reading = True
        try:
            while not self._break and len(ahead) < BLOCK and size < _ENOUGH and (line := readline(LONGEST)):
                ahead.append(line)
                size += len(line)
                if len(line) == LONGEST and line[-1] not in "\r\n":
                    ahead.pop()
                    where = f"{self.name}: line {self.number + len(ahead) + 1}"
                    self._break = LoadError(f"{where} is longer than 1 MiB: write one record per line.")
        except _DAMAGE as error:
            self._break = self._damaged(error)
            self._break.__cause__ = error
        except (OSError, EOFError) as error:
            after = self.number + len(self._ahead)
            self._break = LoadError(f"{self.name}: breaks off after line {after}: {error}.")
            self._break.__cause__ = error
        self._is_reading = False
        if self._break and not self._ahead:
            raise self._break
        return list(self._ahead)

    def skip(self, count: int) -> None:
        """Take that many of the lines ahead."""
        self.number += count
        for _ in range(count):
            self._ahead.popleft()

    def take(self) -> tuple[int, str]:
        """The lines read since the last call, without the last line's end, and the number of the first."""
        start = self.number - len(self._taken) + 1
        text = self._taken[0] if len(self._taken) == 1 else "".join(self._taken)
        self._taken.clear()
        self._size_taken = 0
        return start, text.rstrip("\r\n")

    def position(self) -> int:
        return self._stored.bytes if self._stored.seekable() else 0

    def stored(self) -> dict[str, Any]:
        """The file's name, and its bytes and their SHA-256 as they are stored; None if it was not read to its end."""
        stored = self._stored
        told = (stored.bytes, stored.sha256()) if stored.is_read_to_end else (None, None)
        return {"name": printable(os.path.basename(self.name)), "bytes": told[0], "sha256": told[1]}

    def close(self) -> None:
        # Not a pipe in which a thread that outlives the load waits for more: closing would wait for that thread.
        if self.name != "-" and (self._raw.seekable() or not self._is_reading):
            self._text.close()
            self._raw.close()


def _stdin() -> FileIO:
    if sys.stdin is None:  # how Python starts where it is closed
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    # To be read by a reader of our own: Python would abort if a thread that outlives the load held the lock of this.
    stdin: Any = sys.stdin.buffer
    return getattr(stdin, "raw", stdin)  # type: ignore[no-any-return]  # a file, or what a test gives for one


def is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
