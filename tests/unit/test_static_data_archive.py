"""An archive of the static data is checked whole before anything of it is used; distances on a map."""

from __future__ import annotations

import contextlib
import io
import json
import time
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


def replaced(files: dict[str, bytes], file: str, old: bytes, new: bytes) -> None:
    """Change the first occurrence of some bytes of a file."""
    assert old in files[file]
    files[file] = files[file].replace(old, new, 1)


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
        (lambda files: first_line(files, "types.jsonl", volume=float("nan")), "types.jsonl, line 1 is no JSON"),
        (lambda files: first_line(files, "types.jsonl", mass=float("inf")), "types.jsonl, line 1 is no JSON"),
        (
            lambda files: replaced(files, "types.jsonl", b'"volume":', b'"volume":1e999,"old":'),
            "out of range - at $.volume",
        ),
        (lambda files: first_line(files, "types.jsonl", name={"en": "x" * 301}), "at $.name.en"),
        (lambda files: first_line(files, "types.jsonl", name={"en": "\ud800 and more"}), "types.jsonl, line 1"),
        (lambda files: first_line(files, "types.jsonl", _key=1.5), "at $._key"),
        (lambda files: first_line(files, "types.jsonl", _key=None), "at $._key"),
        (
            lambda files: replaced(files, "groups.jsonl", b'"categoryID"', b'"category"'),
            "missing required field categoryID",
        ),
        (lambda files: files.update({"types.jsonl": b"[1]\n"}), "types.jsonl, line 1"),
        (lambda files: files.update({"types.jsonl": b'{"_key":' * 5000 + b"\n"}), "types.jsonl, line 1"),
        (lambda files: first_line(files, "_sde.jsonl", buildNumber="newest"), "_sde.jsonl, line 1"),
        (lambda files: first_line(files, "_sde.jsonl", releaseDate="soon"), "_sde.jsonl, line 1"),
        (lambda files: first_line(files, "mapStargates.jsonl", destination=None), "at $.destination"),
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


def test_what_is_kept_may_lack_what_is_optional_and_holds_no_nul(tmp_path: Path) -> None:
    def change(files: dict[str, bytes]) -> None:
        files["types.jsonl"] = b'{"_key":1}\n\n{"_key":2,"name":{"en":" \\u0000 "},"groupID":3,"new":[{}]}\n'
        files["another.jsonl"] = b"\xff"

    data = read(rewritten(tmp_path / "a.zip", change))
    assert data.types == [(1, None, 0, None, None, False, None, None), (2, None, 3, None, None, False, None, None)]


@pytest.mark.parametrize("place", [3, 300, -30, -12, -8])
def test_an_archive_with_wrong_numbers_in_its_directory_is_refused_or_read_whole(tmp_path: Path, place: int) -> None:
    whole, path = catalog.archive(), tmp_path / "a.zip"
    for value in (0x00, 0x7F, 0xFF):
        changed = bytearray(whole)
        changed[place] = value
        path.write_bytes(changed)
        with contextlib.suppress(BadArchive, OSError):
            assert len(read(path).types) == len(catalog.TYPES)


@pytest.mark.skipif(not REAL.exists(), reason="the real export is not part of the project")
def test_the_real_export_is_read() -> None:
    data = read(REAL)
    assert (len(data.types), len(data.groups), len(data.systems), len(data.regions)) == (53_289, 1_611, 8_490, 114)
    geography = Geography(data.stargates, {row[0]: row[5:8] for row in data.systems})
    jita, amarr, thera = 30000142, 30002187, 31000005
    assert geography.jumps(jita, amarr) == 11
    assert geography.jumps(jita, thera) is None
    systems = [row[0] for row in data.systems]
    pairs = [(systems[place * 41 % len(systems)], systems[place * 89 % len(systems)]) for place in range(1000)]
    began = time.process_time()
    for origin, destination in pairs:
        geography.jumps(origin, destination)
        geography.light_years(origin, destination)
    assert (time.process_time() - began) / len(pairs) < 0.001, "a millisecond for the two of a pair"
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


def test_what_is_near_costs_by_systems_and_not_by_ways() -> None:
    """Between the corners of this map lead more ways than anybody can count."""
    size = 40
    gates = []
    for x in range(size):
        for y in range(size):
            ahead = [(x + 1, y)] * (x + 1 < size) + [(x, y + 1)] * (y + 1 < size)
            gates += [(x * 100 + y, a * 100 + b) for a, b in ahead] + [(a * 100 + b, x * 100 + y) for a, b in ahead]
    near = Geography(gates, {}).within(0, 1_000)
    assert len(near) == size * size and near[(size - 1) * 101] == 2 * (size - 1)
