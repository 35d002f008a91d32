"""Files of killmails, by the end of their names: JSON Lines, tar and zip archives. What is written is what `sources` reads."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import tarfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Literal, Protocol, cast

from killsync.bulk.sources import LINES

#: The ends of names, and what they stand for, for people.
FORMATS = ".jsonl, .jsonl.gz, .jsonl.bz2, .tar.bz2, .tar.gz or .zip"
_TARS: dict[str, Literal["w:bz2", "w:gz"]] = {".tar.bz2": "w:bz2", ".tbz2": "w:bz2", ".tar.gz": "w:gz", ".tgz": "w:gz"}
#: How hard bytes are pressed: what is harder takes several times as long for a few per cent.
_LEVEL = 6


class Writer(Protocol):
    """Takes killmails."""

    def __call__(self, killmail_id: int, moment: float, text: bytes) -> None:
        """Write a killmail of the time *moment* (Unix), *text* its JSON."""


def is_known(name: str) -> bool:
    """Whether the name says how the file is to be written."""
    lower = name.lower()
    return lower.endswith((".zip", *_TARS, *_all_lines()))


def _all_lines() -> tuple[str, ...]:
    return tuple(f"{end}{packed}" for end in LINES for packed in ("", ".gz", ".bz2"))


def writing(name: str, file: IO[bytes]) -> AbstractContextManager[Writer]:
    """A writer into *file*, as *name* says; at its end the file is whole."""
    lower = name.lower()
    if lower.endswith(".zip"):
        return _zip(file)
    for end, mode in _TARS.items():
        if lower.endswith(end):
            return _tar(file, mode)
    return _lines(file, lower)


def _gzip(file: IO[bytes]) -> AbstractContextManager[IO[bytes]]:
    # Without the time at which it was made: the same killmails make the same file.
    return cast("AbstractContextManager[IO[bytes]]", gzip.GzipFile("", "wb", _LEVEL, file, mtime=0))


@contextmanager
def _lines(file: IO[bytes], name: str) -> Iterator[Writer]:
    with contextlib.ExitStack() as stack:
        packed = file
        if name.endswith(".gz"):
            packed = stack.enter_context(_gzip(file))
        elif name.endswith(".bz2"):
            packed = stack.enter_context(bz2.BZ2File(file, "wb"))

        def write(killmail_id: int, moment: float, text: bytes) -> None:
            packed.write(text + b"\n")

        yield write


@contextmanager
def _tar(file: IO[bytes], mode: Literal["w:bz2", "w:gz"]) -> Iterator[Writer]:
    with contextlib.ExitStack() as stack:
        pressed = _gzip(file) if mode == "w:gz" else bz2.BZ2File(file, "wb")
        packed = stack.enter_context(pressed)
        archive = stack.enter_context(tarfile.open(fileobj=packed, mode="w|", format=tarfile.USTAR_FORMAT))

        def write(killmail_id: int, moment: float, text: bytes) -> None:
            member = tarfile.TarInfo(_member(killmail_id))
            member.size, member.mtime = len(text), max(0, int(moment))
            archive.addfile(member, io.BytesIO(text))
            # It would remember each of them.
            archive.members = []  # type: ignore[attr-defined]

        yield write


@contextmanager
def _zip(file: IO[bytes]) -> Iterator[Writer]:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:

        def write(killmail_id: int, moment: float, text: bytes) -> None:
            # Zip archives know no time before 1980.
            when = time.gmtime(max(moment, 315_532_800.0))[:6]
            archive.writestr(zipfile.ZipInfo(_member(killmail_id), when), text, zipfile.ZIP_DEFLATED)

        yield write


def _member(killmail_id: int) -> str:
    """As in EVE Ref's archives."""
    return f"killmails/{killmail_id}.json"


def beside(path: Path) -> Path:
    """Where a file is written before it is whole."""
    return path.with_name(path.name + ".part")
