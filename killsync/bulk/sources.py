"""The documents of files, folders and archives, one after the other: what a file is, its bytes say. Touches no database.

Nothing is unpacked to disk, so a member's name is never a path: it is only printed. How much is unpacked is bounded.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from killsync.bulk import documents, tar

#: Most bytes of one killmail, and of a list of killmails that is no JSON Lines: the largest fights have a tenth of it.
MOST_DOCUMENT = 32 * 2**20
#: An archive of killmails unpacks to 10 to 30 times its size, one that is made to do harm to thousands: after the first bytes
#: no more is unpacked than so many times of what was read.
FIRST_BYTES, MOST_TIMES = 256 * 2**20, 250
#: Most members of a zip archive: its table of contents is read at once. Any other archive may have as many as it likes.
MOST_MEMBERS = 1_000_000
#: What is looked for in folders.
SUFFIXES = (".json", ".jsonl", ".ndjson", ".tar", ".tbz2", ".tgz", ".zip", ".bz2", ".gz")
#: What JSON Lines are called.
LINES = (".jsonl", ".ndjson")
_PACKED = (".bz2", ".gz")
_FIRST_OF_BZIP2, _FIRST_OF_GZIP, _FIRST_OF_ZIP = b"BZh", b"\x1f\x8b", (b"PK\x03\x04", b"PK\x05\x06")
#: What Python's readers of packed files raise for bytes that are none.
_DAMAGED = (EOFError, OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError,
            ArithmeticError, LookupError, AssertionError, struct.error)  # fmt: skip


class Found(NamedTuple):
    """A document, or why there is none: *name* says where, *text* is its JSON."""

    name: str
    text: bytes
    problem: str | None = None


class Sources:
    """The documents of *paths*, and how far they are read."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._problems: list[Found] = []
        self._files = [file for path in paths for file in self._files_of(path)]
        self.total = sum(size for _, size in self._files)
        self._before = 0
        self._place: Callable[[], int] = lambda: 0

    @property
    def done(self) -> int:
        """Bytes of the files that are read, of `total`."""
        return min(self.total, self._before + self._place())

    def _files_of(self, path: Path) -> Iterator[tuple[Path, int]]:
        if path.is_dir():
            for folder, folders, names in os.walk(path):
                folders.sort()
                for name in sorted(names):
                    if name.lower().endswith(SUFFIXES):
                        yield from self._file(Path(folder, name), is_named=False)
        else:
            yield from self._file(path, is_named=True)

    def _file(self, path: Path, *, is_named: bool) -> Iterator[tuple[Path, int]]:
        try:
            status = path.stat() if is_named else path.lstat()
        except OSError as error:
            self._problems.append(Found(str(path), b"", error.strerror or "cannot be read"))
            return
        if stat.S_ISREG(status.st_mode):
            yield path, status.st_size
        else:
            kind = "a link in a folder" if stat.S_ISLNK(status.st_mode) else "no file"
            self._problems.append(Found(str(path), b"", f"{kind}: not read"))

    def __iter__(self) -> Iterator[Found]:
        yield from self._problems
        for path, size in self._files:
            try:
                with path.open("rb") as file:
                    self._place = file.tell
                    try:
                        yield from _documents(str(path), file)
                    finally:
                        self._place = lambda: 0
            except _DAMAGED as error:
                yield Found(str(path), b"", _reason(error))
            self._before += size


class _Bounded:
    """What is unpacked of a file, bounded by what was read of it."""

    def __init__(self, stream: IO[bytes], place: Callable[[], int], began: bytes = b"") -> None:
        self._stream, self._place, self._began = stream, place, began
        self._unpacked = 0

    def read(self, count: int, /) -> bytes:
        """*count* bytes, or all that are left."""
        text = self._began[:count]
        self._began = self._began[count:]
        if len(text) < count:
            text += self._stream.read(count - len(text))
        self._count(len(text))
        return text

    def readline(self, most: int) -> bytes:
        """A line, or as much of it as may be read at once."""
        text, self._began = self._began, b""
        line, end, rest = text.partition(b"\n")
        if end:
            self._began = rest
            text = line + end
        elif len(text) < most:
            text += self._stream.readline(most - len(text))
        self._count(len(text))
        return text

    def _count(self, count: int) -> None:
        self._unpacked += count
        if self._unpacked > FIRST_BYTES and self._unpacked > MOST_TIMES * max(1, self._place()):
            raise tar.NotWhole(f"it unpacks to more than {MOST_TIMES} times its size, as no killmails do")


def _documents(name: str, file: IO[bytes]) -> Iterator[Found]:
    """The documents of one open file."""
    first = file.read(4)
    file.seek(0)
    if first in _FIRST_OF_ZIP:
        yield from _of_zip(name, file)
        return
    stream: IO[bytes] = file
    if first.startswith(_FIRST_OF_BZIP2):
        stream = bz2.BZ2File(file)
    elif first.startswith(_FIRST_OF_GZIP):
        stream = cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    begin = stream.read(tar.BLOCK)
    bounded = _Bounded(stream, file.tell, begin)
    if tar.is_header(begin):
        for member in tar.members(bounded, MOST_DOCUMENT):
            yield from _of_member(f"{name}: {member.name}", member.text, member.problem)
    else:
        yield from _of_text(name, bounded)


def _of_member(name: str, text: bytes | None, problem: str | None) -> Iterator[Found]:
    if text is None:
        yield Found(name, b"", problem)
    elif name.lower().endswith(LINES):
        yield from _of_text(name, _Bounded(io.BytesIO(text), lambda: len(text)))
    elif documents.is_list(text):
        yield from _of_list(name, text)
    elif name.lower().endswith(".json"):
        yield Found(name, text)
    else:
        yield Found(name, b"", "neither .json nor .jsonl: not read")


def _of_text(name: str, stream: _Bounded) -> Iterator[Found]:
    """The documents of JSON or JSON Lines."""
    plain = name.lower()
    for end in _PACKED:
        plain = plain.removesuffix(end)
    if plain.endswith(LINES):
        yield from _of_lines(name, stream)
        return
    text = stream.read(MOST_DOCUMENT + 1)
    if len(text) > MOST_DOCUMENT:
        yield Found(name, b"", f"larger than {MOST_DOCUMENT:,} bytes: as JSON Lines (.jsonl) it may be of any size")
    elif documents.is_list(text):
        yield from _of_list(name, text)
    else:
        yield Found(name, text)


def _of_list(name: str, text: bytes) -> Iterator[Found]:
    try:
        entries = documents.entries(text)
    except documents.BrokenDocument as error:
        yield Found(name, b"", str(error))
        return
    for number, entry in enumerate(entries, 1):
        yield Found(f"{name}, entry {number}", entry)


def _of_lines(name: str, stream: _Bounded) -> Iterator[Found]:
    number = 0
    while line := stream.readline(MOST_DOCUMENT + 1):
        number += 1
        called = f"{name}, line {number}"
        if len(line) > MOST_DOCUMENT:
            yield Found(called, b"", f"larger than {MOST_DOCUMENT:,} bytes")
            while line and not line.endswith(b"\n"):
                line = stream.readline(MOST_DOCUMENT)
        elif not line.isspace():
            yield Found(called, line)


def _of_zip(name: str, file: IO[bytes]) -> Iterator[Found]:
    try:
        archive = zipfile.ZipFile(file)
    except _DAMAGED as error:
        yield Found(name, b"", f"{_reason(error)}: a zip archive without its end cannot be read")
        return
    with archive:
        entries = archive.infolist()
        if len(entries) > MOST_MEMBERS:
            yield Found(name, b"", f"more than {MOST_MEMBERS:,} members: use .tar.bz2 or .tar.gz")
            return
        unpacked = 0
        size = max(1, os.fstat(file.fileno()).st_size)
        for entry in entries:
            if entry.is_dir():
                continue
            called = f"{name}: {entry.filename}"
            if stat.S_ISLNK(entry.external_attr >> 16):
                yield Found(called, b"", "a link, no file")
                continue
            try:
                with archive.open(entry) as member:
                    text = member.read(MOST_DOCUMENT + 1)
            except _DAMAGED as error:
                yield Found(called, b"", _reason(error))
                continue
            unpacked += len(text)
            if unpacked > FIRST_BYTES and unpacked > MOST_TIMES * size:
                raise tar.NotWhole(f"it unpacks to more than {MOST_TIMES} times its size, as no killmails do")
            if len(text) > MOST_DOCUMENT:
                yield Found(called, b"", f"larger than {MOST_DOCUMENT:,} bytes")
            else:
                yield from _of_member(called, text, None)


def _reason(error: Any) -> str:
    if isinstance(error, tar.NotWhole):
        return str(error)
    if isinstance(error, EOFError):
        return "it was cut short"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"it is damaged ({error})"


def printable(name: str) -> str:
    """*name* for a terminal: without characters that would do something there, and no longer than a line or two."""
    text = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in name)
    return text if len(text) <= 300 else f"{text[:200]}…{text[-90:]}"
