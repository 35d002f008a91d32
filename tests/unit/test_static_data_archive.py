"""An archive of the static data is checked whole before anything of it is used; distances on a map."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from killsync.static_data import archive as archive_module
from killsync.static_data.archive import BadArchive, read, read_latest
from killsync.static_data.geography import LIGHT_YEAR, Geography
from simulator import catalog
from tests.support.resources import PROJECT

REAL = PROJECT.parent / "shared" / "static-data" / "eve-online-static-data-3650286-jsonl.zip"


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The simulator's archive after *change* of its files."""
    with zipfile.ZipFile(io.BytesIO(catalog.archive())) as source:
        files = {name: source.read(name) for name in source.namelist()}
    change(files)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in files.items():
            target.writestr(name, content)
    return path


def first_line(files: dict[str, bytes], file: str, /, **fields: Any) -> None:
    """Change fields of the first entry of a file."""
    line, _, rest = files[file].partition(b"\n")
    files[file] = json.dumps({**json.loads(line), **fields}).encode() + b"\n" + rest


def test_the_simulators_archive_is_read_whole(tmp_path: Path) -> None:
    data = read(rewritten(tmp_path / "a.zip", lambda files: None))
    assert data.build.number == catalog.BUILD
    assert {row[0]: row[1] for row in data.types}[587] == "Rifter"
    assert len(data.types) == len(catalog.TYPES) and len(data.stargates) == len(catalog.GATES)
    assert {row[0] for row in data.systems} == set(catalog.SYSTEMS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda files: files.pop("types.jsonl"), "the archive has no types.jsonl"),
        (lambda files: files.pop("_sde.jsonl"), "the archive has no _sde.jsonl"),
        (lambda files: files.update({"groups.jsonl": b""}), "groups.jsonl is empty"),
        (lambda files: files.update({"_sde.jsonl": b'{"_key": "other", "buildNumber": 1}\n'}), "names no build"),
        (
            lambda files: first_line(files, "types.jsonl", groupID="25"),
            "types.jsonl, line 1: Expected int, got str - at $.groupID",
        ),
        (lambda files: first_line(files, "types.jsonl", groupID=True), "types.jsonl, line 1: Expected int, got bool"),
        (lambda files: first_line(files, "types.jsonl", _key=2**63), "types.jsonl, line 1"),
        (lambda files: first_line(files, "types.jsonl", _key=-1), "types.jsonl, line 1"),
        (lambda files: first_line(files, "types.jsonl", name="Rifter"), "at $.name"),
        (lambda files: first_line(files, "mapSolarSystems.jsonl", position=[1, 2, 3]), "at $.position"),
        (lambda files: files.update({"types.jsonl": files["types.jsonl"][:-20]}), "is no JSON"),
        (lambda files: files.update({"types.jsonl": b"\xff\xfe\n"}), "types.jsonl, line 1"),
        (lambda files: files.update({"metaGroups.jsonl": files["metaGroups.jsonl"] * 2}), "twice"),
    ],
)
def test_a_broken_archive_says_where(tmp_path: Path, change: Any, said: str) -> None:
    with pytest.raises(BadArchive) as error:
        read(rewritten(tmp_path / "a.zip", change))
    assert said in str(error.value)


def test_what_is_no_whole_zip_file_is_refused(tmp_path: Path) -> None:
    whole = catalog.archive()
    damaged = bytearray(whole)
    for place in range(2000, len(damaged) // 2, 97):
        damaged[place] ^= 0xFF
    for content in (b"", b"PK", b"no zip at all", whole[: len(whole) // 2], bytes(damaged)):
        path = tmp_path / "a.zip"
        path.write_bytes(content)
        with pytest.raises(BadArchive):
            read(path)


def test_a_file_without_line_ends_and_a_bomb_do_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "MOST_LINE", 10_000)
    with pytest.raises(BadArchive, match="a line longer than"):
        read(rewritten(tmp_path / "a.zip", lambda files: files.update({"types.jsonl": b" " * 50_000})))
    monkeypatch.setattr(archive_module, "MOST_FILE", 20_000)
    with pytest.raises(BadArchive, match="larger than"):
        read(rewritten(tmp_path / "b.zip", lambda files: files.update({"types.jsonl": b"\n" * 50_000})))


def test_the_newest_build_is_named_by_latest() -> None:
    assert read_latest(catalog.latest()).number == catalog.BUILD
    for text in (b"", b"\n", b"<html>", b'{"_key": "sde"}', b'{"_key": "x", "buildNumber": 1}\n'):
        with pytest.raises(BadArchive):
            read_latest(text)


@pytest.mark.skipif(not REAL.exists(), reason="the real export is not part of the project")
def test_the_real_export_is_read() -> None:
    data = read(REAL)
    assert (len(data.types), len(data.groups), len(data.systems), len(data.regions)) == (53_289, 1_611, 8_490, 114)
    geography = Geography(data.stargates, {row[0]: row[5:8] for row in data.systems})
    jita, amarr, thera = 30000142, 30002187, 31000005
    assert geography.jumps(jita, amarr) == 11
    assert geography.jumps(jita, thera) is None
    assert 15 < (geography.light_years(jita, amarr) or 0) < 25


def test_jumps_are_the_fewest_and_wormholes_have_none() -> None:
    ring = [(number, number % 10 + 1) for number in range(1, 11)]
    both_ways = [*ring, *((two, one) for one, two in ring)]
    geography = Geography(
        both_ways, {number: (number * LIGHT_YEAR, 0.0, 0.0) for number in [*range(1, 11), 31_000_005]}
    )
    for start in range(1, 11):
        for end in range(1, 11):
            apart = abs(start - end)
            assert geography.jumps(start, end) == min(apart, 10 - apart)
    assert geography.jumps(1, 31_000_005) is None and geography.jumps(31_000_005, 31_000_005) == 0
    assert geography.jumps(77, 78) is None and geography.jumps(77, 77) is None
    assert geography.light_years(1, 4) == pytest.approx(3.0)
    assert geography.light_years(1, 77) is None
    assert geography.within(1, 2) == {1: 0, 2: 1, 10: 1, 3: 2, 9: 2}
