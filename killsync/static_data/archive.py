"""Reading an archive of CCP's static data export: JSON Lines in a zip file, an object a line with its id as `_key`.

Source: https://developers.eveonline.com/docs/services/static-data/. Everything is checked before anything is stored. Pure: reads
a file, touches no database. Fields that Killsync has no use for are left out.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Annotated, Any, TypeVar

import msgspec

#: The longest line of a file, bytes, and the most bytes of one file unpacked: far above the real ones, far below what hurts.
MOST_LINE = 8_000_000
MOST_FILE = 2_000_000_000
#: The most entries of one file.
MOST_ENTRIES = 1_000_000

#: The longest name, characters: real ones have a hundred at most, and an index of PostgreSQL takes some thousand bytes.
MOST_NAME = 300

Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Text = Annotated[str, msgspec.Meta(max_length=MOST_NAME)]
T = TypeVar("T")


class BadArchive(ValueError):
    """The file is no whole static data export; the text says where it is wrong."""


class _Name(msgspec.Struct):
    en: Text = ""


class _Entry(msgspec.Struct, kw_only=True):
    key: Id = msgspec.field(name="_key")
    name: _Name = msgspec.field(default_factory=_Name)

    @property
    def text(self) -> str | None:
        """The English name; a NUL cannot be stored, and an empty name is none."""
        return self.name.en.replace("\x00", "").strip() or None


class _Build(msgspec.Struct, kw_only=True):
    key: str = msgspec.field(name="_key")
    build_number: Id = msgspec.field(name="buildNumber")
    release_date: datetime | None = msgspec.field(name="releaseDate", default=None)


class _Category(_Entry, kw_only=True):
    pass


class _Group(_Entry, kw_only=True):
    category_id: Id = msgspec.field(name="categoryID")


class _Type(_Entry, kw_only=True):
    group_id: Id = msgspec.field(name="groupID", default=0)
    market_group_id: Id | None = msgspec.field(name="marketGroupID", default=None)
    meta_group_id: Id | None = msgspec.field(name="metaGroupID", default=None)
    published: bool = False
    volume: float | None = None
    mass: float | None = None


class _MarketGroup(_Entry, kw_only=True):
    parent_group_id: Id | None = msgspec.field(name="parentGroupID", default=None)


class _Constellation(_Entry, kw_only=True):
    region_id: Id = msgspec.field(name="regionID")


class _Position(msgspec.Struct):
    x: float
    y: float
    z: float


class _System(_Entry, kw_only=True):
    constellation_id: Id = msgspec.field(name="constellationID")
    region_id: Id = msgspec.field(name="regionID")
    security_status: float = msgspec.field(name="securityStatus", default=0.0)
    position: _Position | None = None


class _Destination(msgspec.Struct):
    system_id: Id = msgspec.field(name="solarSystemID")


class _Stargate(_Entry, kw_only=True):
    system_id: Id = msgspec.field(name="solarSystemID")
    destination: _Destination


@dataclass(frozen=True)
class Build:
    """Which build of the game's data: its number, and when it was published."""

    number: int
    released_at: datetime | None


@dataclass(frozen=True)
class StaticData:
    """The parts of a build that Killsync keeps, each as rows by id in the order of the table's columns."""

    build: Build
    categories: list[tuple[Any, ...]]
    groups: list[tuple[Any, ...]]
    types: list[tuple[Any, ...]]
    market_groups: list[tuple[Any, ...]]
    meta_groups: list[tuple[Any, ...]]
    regions: list[tuple[Any, ...]]
    constellations: list[tuple[Any, ...]]
    systems: list[tuple[Any, ...]]
    stargates: list[tuple[Any, ...]]


def read_latest(text: bytes) -> Build:
    """The newest build, of `latest.jsonl`.

    Raises:
        BadArchive: the document does not name one.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            entry = _decode(msgspec.json.Decoder(_Build), line, "latest.jsonl", number)
            if entry.key == "sde":
                return Build(entry.build_number, entry.release_date)
    raise BadArchive("latest.jsonl names no build")


def read(path: Path) -> StaticData:
    """All that Killsync keeps of the archive at *path*.

    Raises:
        BadArchive: it is no zip file, or damaged; a file is missing, or a field has another type than it should have.
        OSError: it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive)
    except BadArchive:
        raise
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError, RuntimeError, ValueError,
            OverflowError, struct.error) as error:  # fmt: skip
        raise BadArchive(f"{path.name} is no whole zip file ({error})") from None
    except Exception as error:
        # zlib and lzma raise errors of their own for damaged bytes.
        if type(error).__module__ in ("zlib", "lzma", "_lzma", "bz2"):
            raise BadArchive(f"{path.name} is damaged ({error})") from None
        raise


def _read(archive: zipfile.ZipFile) -> StaticData:
    builds = [entry for entry in _entries(archive, "_sde.jsonl", _Build) if entry.key == "sde"]
    if not builds:
        raise BadArchive("_sde.jsonl names no build")
    return StaticData(
        build=Build(builds[0].build_number, builds[0].release_date),
        categories=[(each.key, each.text) for each in _unique(archive, "categories.jsonl", _Category)],
        groups=[(each.key, each.text, each.category_id) for each in _unique(archive, "groups.jsonl", _Group)],
        types=[
            (each.key, each.text, each.group_id, each.market_group_id, each.meta_group_id, each.published, each.volume,
             each.mass)
            for each in _unique(archive, "types.jsonl", _Type)
        ],
        market_groups=[
            (each.key, each.text, each.parent_group_id)
            for each in _unique(archive, "marketGroups.jsonl", _MarketGroup)
        ],
        meta_groups=[(each.key, each.text) for each in _unique(archive, "metaGroups.jsonl", _Category)],
        regions=[(each.key, each.text) for each in _unique(archive, "mapRegions.jsonl", _Category)],
        constellations=[
            (each.key, each.text, each.region_id)
            for each in _unique(archive, "mapConstellations.jsonl", _Constellation)
        ],
        systems=[
            (each.key, each.text, each.constellation_id, each.region_id, each.security_status,
             *((each.position.x, each.position.y, each.position.z) if each.position else (None, None, None)))
            for each in _unique(archive, "mapSolarSystems.jsonl", _System)
        ],
        stargates=sorted(
            {
                (each.system_id, each.destination.system_id)
                for each in _unique(archive, "mapStargates.jsonl", _Stargate)
            }
        ),
    )  # fmt: skip


def _unique(archive: zipfile.ZipFile, name: str, kind: type[T]) -> list[T]:
    """The entries of a file that must hold some, by id.

    Raises:
        BadArchive: an id stands twice, or there is none.
    """
    found: dict[int, T] = {}
    for entry in _entries(archive, name, kind):
        key: int = entry.key  # type: ignore[attr-defined]
        if key in found:
            raise BadArchive(f"{name} names {key} twice")
        found[key] = entry
    if not found:
        raise BadArchive(f"{name} is empty")
    return [found[key] for key in sorted(found)]


def _entries(archive: zipfile.ZipFile, name: str, kind: type[T]) -> Iterator[T]:
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise BadArchive(f"the archive has no {name}") from None
    if info.file_size > MOST_FILE:
        raise BadArchive(f"{name} is larger than {MOST_FILE:,} bytes")
    decoder = msgspec.json.Decoder(kind)
    with archive.open(info) as file:
        for number, line in enumerate(_lines(file, name), 1):
            if number > MOST_ENTRIES:
                raise BadArchive(f"{name} has more than {MOST_ENTRIES:,} entries")
            if line.strip():
                yield _decode(decoder, line, name, number)


def _lines(file: IO[bytes], name: str) -> Iterator[bytes]:
    """Line by line, none longer than MOST_LINE: a file without line ends must not fill the memory."""
    unpacked = 0
    while line := file.readline(MOST_LINE + 1):
        unpacked += len(line)
        if len(line) > MOST_LINE:
            raise BadArchive(f"{name} has a line longer than {MOST_LINE:,} bytes")
        if unpacked > MOST_FILE:
            raise BadArchive(f"{name} is larger than {MOST_FILE:,} bytes")
        yield line


def _decode(decoder: msgspec.json.Decoder[T], line: bytes, name: str, number: int) -> T:
    try:
        return decoder.decode(line)
    except msgspec.ValidationError as error:
        raise BadArchive(f"{name}, line {number}: {str(error).replace('`', '')}") from None
    except msgspec.DecodeError:
        raise BadArchive(f"{name}, line {number} is no JSON") from None
    except UnicodeDecodeError:
        raise BadArchive(f"{name}, line {number} is no UTF-8") from None
