"""Static data in the database: loaded whole or not at all, while others read; fetched in parts; known names are not asked for."""

from __future__ import annotations

import dataclasses
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from killsync import service_health
from killsync.static_data import archive, download, geography, schedule, store
from killsync.static_data.catalog import Current, read
from killsync.static_data.update import UpdateFailed, update
from models import ItemGroup, ItemType, Region, SolarSystem, Stargate, connection
from simulator import catalog
from tests.support.resources import PROJECT

REAL = PROJECT.parent / "shared" / "static-data" / "eve-online-static-data-3650286-jsonl.zip"


@pytest.fixture
def simulated_archive(tmp_path: Path) -> Path:
    path = tmp_path / "export.zip"
    path.write_bytes(catalog.archive())
    return path


def at_simulator(against: Any, handle: Any) -> Any:
    return against(handle, STATIC_DATA_URL=f"{handle.url}/static-data")


def test_the_newest_build_is_fetched_and_loaded_once(against: Any, simulated: Any) -> None:
    settings = at_simulator(against, simulated(kills=(3,)))
    seen: list[int] = []
    outcome = update(settings, progress=lambda there, total: seen.append(there))
    assert (outcome.build.number, outcome.was_loaded) == (catalog.BUILD, False)
    assert seen[-1] == len(catalog.archive())
    with connection():
        rifter, jita = ItemType.get_by_id(587), SolarSystem.get_by_id(30000142)
        assert (rifter.name, rifter.group_id, ItemGroup.get_by_id(rifter.group_id).name) == ("Rifter", 25, "Frigate")
        assert (jita.name, Region.get_by_id(jita.region_id).name) == ("Jita", "The Forge")
        assert jita.security_status == pytest.approx(0.9459, abs=0.001)
        assert geography.load().jumps(30000142, 30000144) == 1
    again = update(settings)
    assert (again.was_loaded, again.changed) == (True, 0)


def test_names_and_types_that_killmails_mention_are_kept_and_completed(settings: Any, simulated_archive: Path) -> None:
    with connection():
        ItemType.insert_many(
            [{"type_id": 587}, {"type_id": 999_999}, {"type_id": 603, "name": "An old name"}]
        ).execute()
    update(settings, simulated_archive)
    with connection():
        found = {each.type_id: each for each in ItemType.select()}
        assert (found[587].name, found[603].name) == ("Rifter", "Merlin")
        assert (found[999_999].name, found[999_999].group_id) == (None, None), "newer than the build"
        before = {each.type_id: each.updated_at for each in ItemType.select()}
    assert update(settings, simulated_archive).changed == 0
    with connection():
        assert {each.type_id: each.updated_at for each in ItemType.select()} == before, "nothing is written twice"


def test_a_newer_build_changes_what_it_changes_and_drops_what_is_gone(settings: Any, simulated_archive: Path) -> None:
    update(settings, simulated_archive)
    data = archive.read(simulated_archive)
    moved = [(*row[:2], 26, *row[3:]) if row[0] == 587 else row for row in data.types]
    newer = dataclasses.replace(
        data, build=archive.Build(catalog.BUILD + 1, None), types=moved, stargates=data.stargates[1:],
        groups=[row for row in data.groups if row[0] != 25],
    )  # fmt: skip
    with connection():
        assert store.load(newer) == 3
        assert ItemType.get_by_id(587).group_id == 26
        assert ItemGroup.get_or_none(ItemGroup.group_id == 25) is None
        assert Stargate.select().count() == len(data.stargates) - 1
        assert store.loaded() == archive.Build(catalog.BUILD + 1, None)


def test_readers_see_the_old_build_or_the_new_one(settings: Any, simulated_archive: Path) -> None:
    """While builds are loaded in turns, every reader sees the names and the build of one of them."""
    data = archive.read(simulated_archive)
    builds = [
        dataclasses.replace(
            data, build=archive.Build(number, None), regions=[(row[0], f"{row[1]} {number}") for row in data.regions]
        )
        for number in (1, 2)
    ]
    with connection():
        store.load(builds[0])
    torn: list[Any] = []
    stopped = threading.Event()

    def read() -> None:
        while not stopped.is_set():
            with connection():
                names = {each.name.rsplit(" ", 1)[1] for each in Region.select()}
            if len(names) != 1:
                torn.append(names)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for number in range(6):
            with connection():
                store.load(builds[(number + 1) % 2])
    finally:
        stopped.set()
        for reader in readers:
            reader.join()
    assert not torn


@pytest.mark.parametrize("content", [b"", b"no zip", catalog.archive()[:5000]], ids=["empty", "no zip", "cut"])
def test_a_broken_archive_leaves_the_old_build(settings: Any, simulated_archive: Path, content: bytes) -> None:
    update(settings, simulated_archive)
    broken = simulated_archive.with_name("broken.zip")
    broken.write_bytes(content)
    with pytest.raises(UpdateFailed, match="the archive is not usable"):
        update(settings, broken)
    with pytest.raises(UpdateFailed, match="No such file"):
        update(settings, broken.with_name("absent.zip"))
    with connection():
        build = store.loaded()
        assert build is not None and build.number == catalog.BUILD
        assert ItemType.get_by_id(587).name == "Rifter"


class Mirror:
    """A server of static data that cuts, lies or refuses, by what a test sets."""

    def __init__(self) -> None:
        self.cuts = 0
        self.knows_ranges = True
        self.status = 200
        self.asked: list[str] = []

    async def latest(self, _request: web.Request) -> web.Response:
        return web.Response(status=self.status, body=catalog.latest())

    async def archive(self, request: web.Request) -> web.StreamResponse:
        body = catalog.archive()
        wanted = request.headers.get("Range", "")
        self.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.knows_ranges else 0
        headers = {"Content-Length": str(len(body) - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        answer = web.StreamResponse(status=206 if start else 200, headers=headers)
        await answer.prepare(request)
        if self.cuts:
            self.cuts -= 1
            await answer.write(body[start : start + 20_000])
            assert request.transport is not None
            request.transport.close()
            return answer
        await answer.write(body[start:])
        return answer


@pytest.fixture
def mirror(settings: Any, against: Any, simulated: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """(mirror, settings): the mirror runs on the simulator's loop."""
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.01)
    handle, made = simulated(kills=(3,)), Mirror()

    async def start() -> str:
        app = web.Application()
        app.router.add_get("/latest.jsonl", made.latest)
        app.router.add_get(f"/eve-online-static-data-{catalog.BUILD}-jsonl.zip", made.archive)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    return made, against(handle, STATIC_DATA_URL=handle._wait(start()))


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_cut_download_goes_on_or_begins_anew(mirror: Any, knows_ranges: bool) -> None:
    made, settings = mirror
    made.cuts, made.knows_ranges = 1, knows_ranges
    assert update(settings).build.number == catalog.BUILD
    assert made.asked == ["", "bytes=20000-"]


def test_a_download_that_never_ends_well_changes_nothing(mirror: Any) -> None:
    made, settings = mirror
    made.cuts = 1000
    made.knows_ranges = False
    with pytest.raises(UpdateFailed, match="5 times: check the network"):
        update(settings)
    made.status = 503
    with pytest.raises(UpdateFailed, match="answered 503"):
        update(settings)
    with connection():
        assert store.loaded() is None and not ItemType.select().count()


def test_a_process_sees_a_new_build_in_its_catalog(settings: Any, simulated_archive: Path) -> None:
    current = Current(read)
    assert len(current.get()) == 0 and current.get().type(587) is None
    update(settings, simulated_archive)
    assert current.get().type(587) is None, "looked a moment ago"
    current._looked_at = float("-inf")
    rifter, system = current.get().type(587), current.get().system(30000142)
    assert rifter is not None and (rifter.group_id, rifter.category_id, rifter.is_capital) == (25, 6, False)
    assert system is not None and system.region_id == 10000002
    for capital in (19720, 23757, 671):
        facts = current.get().type(capital)
        assert facts is not None and facts.is_capital, capital


def test_one_update_runs_at_a_time_and_a_dead_one_blocks_for_a_moment(
    settings: Any, simulated_archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on = threading.Event(), threading.Event()
    load = store.load

    def slow(data: Any) -> int:
        entered.set()
        assert go_on.wait(20)
        return load(data)

    monkeypatch.setattr(store, "load", slow)
    done: list[Any] = []
    first = threading.Thread(target=lambda: done.append(update(settings, simulated_archive)))
    first.start()
    assert entered.wait(20)
    with pytest.raises(UpdateFailed, match=r"another process is loading static data: .* or for \d+ s if it was killed"):
        update(settings, simulated_archive)
    go_on.set()
    first.join()
    assert done[0].build.number == catalog.BUILD
    assert update(settings, simulated_archive).changed == 0, "the right to load was given back"


def test_an_older_newest_build_does_not_replace_what_the_operator_loaded(
    against: Any, simulated: Any, simulated_archive: Path
) -> None:
    settings = at_simulator(against, simulated(kills=(3,)))
    data = dataclasses.replace(archive.read(simulated_archive), build=archive.Build(catalog.BUILD + 7, None))
    with connection():
        store.load(data)
    assert update(settings).was_loaded
    with connection():
        assert store.loaded() == data.build


def test_the_scheduler_has_one_worker_look_once_a_day(
    against: Any, simulated: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = simulated(kills=(3,))
    settings = at_simulator(against, handle)
    sent: list[str] = []
    monkeypatch.setattr(schedule, "send", sent.append)
    clock = [1_000_000.0]
    monkeypatch.setattr(service_health, "clock", lambda: clock[0])
    with connection():
        assert schedule.send_due() and not schedule.send_due()
        clock[0] += schedule.LOST_SECONDS
        assert schedule.send_due(), "a message that was lost is sent again"
        schedule.look()
        assert not schedule.send_due()
        clock[0] += schedule.LOOK_SECONDS - 1
        assert not schedule.send_due()
        clock[0] += schedule.SPREAD_SECONDS + 1
        assert schedule.send_due()
    assert sent == ["update_static_data"] * 3
    with connection():
        assert store.status().newest == catalog.BUILD and store.loaded() is not None
    # What cannot be had is tried again later and later, and at least once a day.
    against(handle, STATIC_DATA_URL=f"{handle.url}/nowhere")
    pauses = []
    with connection():
        for _ in range(10):
            schedule.look()
            pauses.append(service_health.read("static-data", schedule.Looking).next_at - clock[0])
        assert pauses[:3] == [900.0, 1800.0, 3600.0] and pauses[-1] == schedule.LOOK_SECONDS
        assert store.loaded() is not None
    assert settings.static_data_url.endswith("/static-data")


@pytest.mark.skipif(not REAL.exists(), reason="the real export is not part of the project")
def test_the_real_export_is_loaded(settings: Any) -> None:
    began = time.monotonic()
    assert update(settings, REAL).changed > 70_000
    assert time.monotonic() - began < 60
    assert update(settings, REAL).changed == 0
    with connection():
        assert geography.load().jumps(30000142, 30002187) == 11
