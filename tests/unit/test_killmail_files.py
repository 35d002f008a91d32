"""Files, folders and archives give every document that is in them, whatever else is; what is wrong is named and harms no other."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from killsync.bulk import sources as module
from killsync.bulk import tar as tar_module
from killsync.bulk.sources import Found, Sources, printable
from tests.support.killmail_files import day, everef, tar

ONE, TWO = everef(1), everef(2)


def read(*paths: Path) -> tuple[list[bytes], list[tuple[str, str]]]:
    """The documents, and (last part of the name, problem) of what is none."""
    found = list(Sources(paths))
    problems = [(each.name.rpartition("/")[2], each.problem) for each in found if each.problem is not None]
    return [each.text.strip() for each in found if each.problem is None], problems


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def written(path: Path, text: bytes) -> Path:
    path.write_bytes(text)
    return path


LINES = ONE + b"\n\n" + TWO
MAKERS: dict[str, Callable[[Path], Path]] = {
    "one.json": lambda path: written(path, ONE),
    "list.json": lambda path: written(path, b"[" + ONE + b"," + TWO + b"]"),
    "pretty.json": lambda path: written(path, json.dumps(json.loads(ONE), indent=2).encode()),
    "lines.jsonl": lambda path: written(path, LINES),
    "lines.ndjson": lambda path: written(path, LINES + b"\r\n"),
    "lines.jsonl.gz": lambda path: written(path, gzip.compress(LINES)),
    "lines.jsonl.bz2": lambda path: written(path, bz2.compress(ONE + b"\n") + bz2.compress(TWO)),
    "day.tar": lambda path: tar(path, {"killmails/1.json": ONE, "2.json": TWO}, "w"),
    "day.tar.bz2": lambda path: tar(path, {"killmails/1.json": ONE, "2.json": TWO}),
    "day.tar.gz": lambda path: tar(path, {"killmails/1.json": ONE, "2.json": TWO}, "w:gz"),
    "of_lines.tar.gz": lambda path: tar(path, {"a.jsonl": LINES}, "w:gz"),
    "named_wrongly.json": lambda path: tar(path, {"killmails/1.json": ONE, "2.json": TWO}),
    "day.zip": lambda path: zipped(path, {"killmails/1.json": ONE, "2.json": TWO}),
}


@pytest.mark.parametrize("name", MAKERS)
def test_each_format_gives_its_documents(name: str, tmp_path: Path) -> None:
    path = MAKERS[name](tmp_path / name)
    for found in (read(path), read(tmp_path)):  # by itself, and as one of a folder
        assert not found[1]
        assert [json.loads(text) for text in found[0]] in ([json.loads(ONE)], [json.loads(ONE), json.loads(TWO)])
        assert len(found[0]) == (1 if name in ("one.json", "pretty.json") else 2)


def test_a_folder_is_read_in_order_and_links_in_it_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    day(tmp_path / "b" / "day.tar.bz2", range(10, 13))
    written(tmp_path / "b" / "one.json", ONE)
    written(tmp_path / "b" / "README", b"nothing")
    (tmp_path / "outside").mkdir()
    secret = written(tmp_path / "outside" / "secret.json", TWO)
    (tmp_path / "b" / "link.json").symlink_to(secret)
    (tmp_path / "b" / "loop").symlink_to(tmp_path / "b")
    documents, problems = read(tmp_path / "b")
    assert [json.loads(text)["killmail_id"] for text in documents] == [10, 11, 12, 1]
    assert problems == [("link.json", "a link in a folder: not read")]
    assert read(tmp_path / "b" / "link.json") == ([TWO], [])  # named by the operator


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    written(tmp_path / "1.json", ONE)
    documents, problems = read(tmp_path / "nothing", tmp_path / "1.json")
    assert documents == [ONE]
    assert problems == [("nothing", "No such file or directory")]


def test_members_that_are_no_files_are_named_and_nothing_is_written_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "day.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for kind, name in (
            (tarfile.SYMTYPE, "link.json"),
            (tarfile.LNKTYPE, "hard.json"),
            (tarfile.FIFOTYPE, "pipe.json"),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
        for name, text in (("../../../evil.json", ONE), ("/absolute/2.json", TWO), ("x" * 300 + ".json", everef(3))):
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
    documents, problems = read(path)
    assert documents == [ONE, TWO, everef(3)]
    assert [reason for _, reason in problems] == ["a link, no file", "a link, no file", "a pipe, no file"]
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["day.tar.gz"]


def test_a_link_in_a_zip_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "day.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("link.json")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("../1.json", ONE)
    assert read(path) == ([ONE], [("day.zip: link.json", "a link, no file")])


@pytest.mark.parametrize("name", ["day.tar", "day.tar.gz", "day.tar.bz2", "lines.jsonl.gz", "lines.jsonl"])
def test_what_came_before_a_cut_is_read_and_the_cut_is_named(name: str, tmp_path: Path) -> None:
    whole = tmp_path / name
    if ".tar" in name:
        mode = "w" if name.endswith(".tar") else f"w:{name.rpartition('.')[2]}"
        # Random names and bytes that do not pack well, so that the cut is in the midst of the members.
        tar(whole, {f"{n}.json": everef(n, noise=str(hash(str(n)))) for n in range(1, 2_000)}, mode)
    else:
        text = b"\n".join(everef(n, noise=str(hash(str(n)))) for n in range(1, 2_000))
        written(whole, gzip.compress(text) if name.endswith(".gz") else text)
    full = whole.read_bytes()
    whole.write_bytes(full[: len(full) * 9 // 10])
    documents, problems = read(whole)
    if name == "lines.jsonl":
        assert len(documents) in range(1_700, 1_999)  # the last of which is half a document
        return
    assert len(problems) == 1 and "cut short" in problems[0][1]
    assert 0 < len(documents) < 1_999 and documents[0] == everef(1, noise=str(hash("1")))


def test_a_zip_archive_that_was_cut_and_binary_junk_are_named(tmp_path: Path) -> None:
    cut = zipped(tmp_path / "cut.zip", {"1.json": ONE})
    cut.write_bytes(cut.read_bytes()[:-30])
    junk = written(tmp_path / "junk.tar.bz2", b"BZh9" + bytes(range(256)) * 20)
    documents, problems = read(cut, junk)
    assert not documents
    assert [name for name, _ in problems] == ["cut.zip", "junk.tar.bz2"]
    assert "without its end" in problems[0][1] and "damaged" in problems[1][1]


def test_a_damaged_member_of_a_zip_archive_harms_no_other(tmp_path: Path) -> None:
    path = zipped(tmp_path / "day.zip", {"1.json": ONE, "2.json": TWO})
    text = bytearray(path.read_bytes())
    text[60] ^= 0xFF  # within the packed bytes of the first
    path.write_bytes(text)
    documents, problems = read(path)
    assert documents == [TWO]
    assert len(problems) == 1 and problems[0][0] == "day.zip: 1.json"


def test_a_gigantic_member_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_DOCUMENT", 10_000)
    members = {"big.json": b" " * 10_001, "1.json": ONE}
    for path in (tar(tmp_path / "a.tar.gz", members, "w:gz"), zipped(tmp_path / "a.zip", members)):
        documents, problems = read(path)
        assert documents == [ONE]
        assert [reason for _, reason in problems] == ["larger than 10,000 bytes"]
    lines = written(tmp_path / "a.jsonl", b" " * 25_000 + b"\n" + ONE)
    assert read(lines) == ([ONE], [("a.jsonl, line 1", "larger than 10,000 bytes")])
    assert "JSON Lines" in read(written(tmp_path / "a.json", b" " * 10_001))[1][0][1]


@pytest.mark.parametrize("name", ["bomb.tar.gz", "bomb.tar.bz2", "bomb.jsonl.gz", "bomb.zip"])
def test_a_bomb_is_left_when_it_has_unpacked_too_much(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_BYTES", 2**20)
    path, zeros = tmp_path / name, bytes(2**22)
    if name.endswith(".zip"):
        zipped(path, {"1.json": ONE, **{f"{n}.json": zeros for n in range(2, 8)}})
    elif ".tar" in name:
        tar(path, {"1.json": ONE, **{f"{n}.json": zeros for n in range(2, 8)}}, f"w:{name.rpartition('.')[2]}")
    else:
        written(path, gzip.compress(ONE + b"\n" + zeros * 6))
    documents, problems = read(path)
    assert documents[0] == ONE
    assert "unpacks to more than 250 times its size" in problems[-1][1]
    assert len(documents) < 5


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    places=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8),
    name=st.sampled_from(["day.tar", "day.tar.gz", "day.tar.bz2", "day.zip"]),
    cut=st.integers(0, 400),
)
def test_no_damage_stops_the_reading(places: list[tuple[int, int]], name: str, cut: int, tmp_path: Path) -> None:
    path = MAKERS[name](tmp_path / name)
    text = bytearray(path.read_bytes())
    for place, value in places:
        text[place % len(text)] = value
    path.write_bytes(text[: len(text) - cut])
    sound = day(tmp_path / "sound.tar.bz2", range(5, 7))
    documents, _ = read(path, sound)
    assert documents[-2:] == [everef(5), everef(6)]


@settings(max_examples=200, deadline=None)
@given(header=st.binary(max_size=1200))
def test_any_bytes_are_an_archive_or_none(header: bytes) -> None:
    try:
        list(tar_module.members(io.BytesIO(header), 100))
    except tar_module.NotWhole:
        return


def test_the_reader_agrees_with_that_of_python(tmp_path: Path) -> None:
    members = {
        "a" * 90 + "/" + "b" * 90 + ".json": b"1",
        "c" * 200 + ".json": b"2",
        "ü ñ.json": b"3",
        "empty.json": b"",
    }
    for format_ in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=format_) as archive:
            archive.addfile(_folder())
            for name, text in members.items():
                if format_ == tarfile.USTAR_FORMAT and name.startswith("c"):
                    continue
                member = tarfile.TarInfo(name)
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text))
        buffer.seek(0)
        ours = [(each.name, each.text) for each in tar_module.members(buffer, 100)]
        buffer.seek(0)
        with tarfile.open(fileobj=buffer) as archive:
            theirs = [(each.name, archive.extractfile(each).read()) for each in archive if each.isfile()]  # type: ignore[union-attr]
        assert ours == theirs


def _folder() -> tarfile.TarInfo:
    folder = tarfile.TarInfo("killmails/")
    folder.type = tarfile.DIRTYPE
    return folder


def test_how_far_it_is_goes_from_nothing_to_all(tmp_path: Path) -> None:
    sources = Sources([day(tmp_path / "a.tar.bz2", range(1, 50)), day(tmp_path / "b.tar.bz2", range(1, 50))])
    places = []
    for found in sources:
        assert isinstance(found, Found)
        places.append(sources.done)
    assert places == sorted(places) and sources.total == sources.done > 0


def test_a_name_does_nothing_to_a_terminal() -> None:
    assert printable("a\x1b[2J\nb\u202e.json") == "a\\x1b[2J\\nb\\u202e.json"
    assert len(printable("x" * 10_000)) < 300
