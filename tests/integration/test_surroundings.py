"""Where a killmail happened and what was lost, as pages show it: regions, classes, security, other sites, search."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from killsync.killmails.classification import SecurityBand
from killsync.names import search
from killsync.static_data.update import update
from killsync.web import space
from killsync.web.pages import elsewhere
from models import Alliance, Corporation, Killmail, connection
from models.names import ItemType
from simulator import catalog
from simulator.universe import Universe
from tests.support.web_server import fill, new_universe, served

CSS = Path(space.__file__).parent / "static" / "killsync.css"
BROWSER = {"Accept": "text/html"}
THE_FORGE, FRIGATE, JITA, RIFTER, DAMAGE_CONTROL = 10000002, 25, 30000142, 587, 2048


@pytest.fixture
def filled(settings: Any, tmp_path: Path) -> Universe:
    """Static data, and stored killmails that were classified by it."""
    export = tmp_path / "export.zip"
    export.write_bytes(catalog.archive())
    update(settings, export)
    universe = new_universe(kills=(60, 30))
    fill(universe)
    return universe


async def page(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http, http.get(url, headers=BROWSER) as answer:
        return answer.status, await answer.text()


def listed(text: str) -> list[int]:
    return [int(number) for number in re.findall(r'data-killmail="(\d+)"', text)]


async def test_a_region_a_constellation_and_a_ship_group_have_pages_with_their_killmails(
    settings: Any, filled: Universe
) -> None:
    bodies = {number: filled.body(number) for number in filled.kills}
    newest = sorted(bodies, key=lambda number: (bodies[number]["killmail_time"], number), reverse=True)
    constellation = catalog.SYSTEMS[JITA][1]
    ships = {number: [body["victim"]["ship_type_id"], *(each.get("ship_type_id") for each in body["attackers"])]
             for number, body in bodies.items()}  # fmt: skip
    expected = {
        f"/regions/{THE_FORGE}": [n for n in newest if catalog.SYSTEMS[bodies[n]["solar_system_id"]][2] == THE_FORGE],
        f"/constellations/{constellation}": [
            n for n in newest if catalog.SYSTEMS[bodies[n]["solar_system_id"]][1] == constellation
        ],
        f"/groups/{FRIGATE}": [n for n in newest if any(catalog.TYPES[s][1] == FRIGATE for s in ships[n] if s)],
    }
    async with served(settings) as url:
        for path, wanted in expected.items():
            status, text = await page(url + path)
            assert status == 200 and wanted and listed(text) == wanted[:50], path
        _, text = await page(f"{url}/regions/{THE_FORGE}")
        assert '<h1 class="name">The Forge</h1>' in text and "Region</p>" in text
        assert (
            f'href="/constellations/{constellation}">Kimotoro</a>' in text
            and f'href="/systems/{JITA}">Jita</a>' in text
        )
        _, text = await page(f"{url}/groups/{FRIGATE}")
        assert "Ship group</p>" in text and f'href="/types/{RIFTER}">Rifter</a>' in text
        _, text = await page(f"{url}/groups/{FRIGATE}?side=losses")
        assert listed(text) == [n for n in newest if catalog.TYPES[ships[n][0]][1] == FRIGATE][:50]
        for absent in ("/regions/1", "/constellations/1", "/groups/1"):
            status, text = await page(url + absent)
            assert status == 404 and "is not here" in text
        # As a filter of the list, by name.
        _, text = await page(f"{url}/?region={THE_FORGE}&group={FRIGATE}")
        both = [n for n in expected[f"/regions/{THE_FORGE}"] if n in expected[f"/groups/{FRIGATE}"]]
        assert listed(text) == both[:50] and ">The Forge</span>" in text and ">Frigate</span>" in text


async def test_rows_and_killmails_show_security_region_and_class(settings: Any, filled: Universe) -> None:
    async with served(settings) as url:
        _, text = await page(url)
        number = listed(text)[0]
        body = filled.body(number)
        name, _constellation, region, status, *_ = catalog.SYSTEMS[body["solar_system_id"]]
        shown = space.shown(status, region)
        mark = f'<span class="sec {shown.css}" title="{shown.title}">{shown.text}</span>'
        group = catalog.TYPES[body["victim"]["ship_type_id"]][1]
        for shows in (text, (await page(f"{url}/killmails/{number}"))[1]):
            assert f">{html.escape(name)}</a> {mark}" in shows
            assert f'href="/regions/{region}">{html.escape(catalog.REGIONS[region])}</a>' in shows
            assert f'href="/groups/{group}">{html.escape(catalog.GROUPS[group][0])}</a>' in shows
            assert "style=" not in shows
        _, text = await page(f"{url}/systems/{JITA}")
        assert 'class="sec sec-9" title="High security">0.9</span>' in text and "Gates to" in text
        assert (
            'href="/constellations/20000020">Kimotoro</a>' in text and 'href="/regions/10000002">The Forge</a>' in text
        )


async def test_a_type_that_is_no_ship_has_a_page_of_its_own_kind(settings: Any, filled: Universe) -> None:
    async with served(settings) as url:
        status, text = await page(f"{url}/types/{DAMAGE_CONTROL}")
        assert status == 200 and 'kind">Module</p>' in text and "Damage Control" in text
        assert ">Ship<" not in text and "Flown in kills" not in text and 'id="feed"' not in text
        assert "zkillboard.com/item/2048/" in text
        _, text = await page(f"{url}/types/{RIFTER}")
        assert 'kind">Ship</p>' in text and 'href="/groups/25">Frigate</a>' in text and 'id="feed"' in text


async def test_pages_lead_to_other_sites_which_learn_nothing_of_ours(settings: Any, filled: Universe) -> None:
    pilot = filled.demo_characters[0]
    paths = {
        f"/characters/{pilot.character_id}": ["zkillboard.com/character/", "evewho.com/character/"],
        "/corporations/98000001": [
            "zkillboard.com/corporation/98000001/",
            "dotlan.net/corp/",
            "evewho.com/corporation/",
        ],
        "/alliances/99000001": [
            "zkillboard.com/alliance/",
            "dotlan.net/alliance/Ember_Concord",
            "evewho.com/alliance/",
        ],
        f"/systems/{JITA}": ["zkillboard.com/system/30000142/", "evemaps.dotlan.net/system/Jita"],
        f"/regions/{THE_FORGE}": ["zkillboard.com/region/10000002/", "evemaps.dotlan.net/map/The_Forge"],
        f"/types/{RIFTER}": ["zkillboard.com/ship/587/"],
        f"/killmails/{next(iter(filled.kills))}": ["zkillboard.com/kill/"],
    }
    async with served(settings) as url:
        for path, wanted in paths.items():
            _, text = await page(url + path)
            for part in wanted:
                assert part in text, (path, part)
            for link in re.findall(r'<a [^>]*href="https://(?:zkill|eve)[^>]*>', text):
                assert "noopener" in link


def test_a_name_becomes_part_of_an_address_and_nothing_else() -> None:
    ((_, _), (_, dotlan), (_, _)) = elsewhere.links("corporation", 7, '"><script>/../?x=1 & more')
    assert dotlan == "https://evemaps.dotlan.net/corp/%22%3E%3Cscript%3E%2F..%2F%3Fx%3D1_%26_more"
    assert [site for site, _ in elsewhere.links("corporation", 7, None)] == ["zKillboard", "EveWho"]


def test_search_finds_regions_constellations_groups_and_tickers(settings: Any, filled: Universe) -> None:
    with connection():
        Corporation.update(ticker="X1D-K").where(Corporation.corporation_id == 98_000_002).execute()
        Alliance.update(ticker="X1D").where(Alliance.alliance_id == 99_000_001).execute()

        def found(text: str) -> list[tuple[str, int]]:
            return [(each.kind.word, each.id) for each in search.find(text, 5)]

        assert ("region", THE_FORGE) in found("the for") and ("region", THE_FORGE) in found("10000002")
        assert ("constellation", 20000020) in found("kimo")
        assert ("group", FRIGATE) in found("friga") and ("group", 60) not in found("Damage Control")
        assert found("x1d") == [("corporation", 98_000_002), ("alliance", 99_000_001)]
        assert ("alliance", 99_000_001) in found("[X1D]") and found("%1D") == []


@pytest.mark.parametrize(
    ("status", "region", "text", "css", "title"),
    [
        (1.0, 10000002, "1.0", "sec-10", "High security"),
        (0.45, 10000002, "0.5", "sec-5", "High security"),
        (0.449, 10000002, "0.4", "sec-4", "Low security"),
        (0.001, 10000002, "0.1", "sec-1", "Low security"),
        (0.0, 10000002, "0.0", "sec-0", "Null security"),
        (-0.03, 10000002, "0.0", "sec-0", "Null security"),
        (-0.35, 10000002, "-0.3", "sec-0", "Null security"),
        (-0.99, 11000001, "-1.0", "sec-0", "Wormhole space"),
        (-0.99, 12000001, "-1.0", "sec-0", "Abyssal space"),
        (-1.0, 10000070, "-1.0", "sec-0", "Pochven"),
        (0.9, None, "0.9", "sec-9", "High security"),
    ],
)
def test_security_is_shown_as_the_game_rounds_it(
    status: float, region: int | None, text: str, css: str, title: str
) -> None:
    shown = space.shown(status, region)
    assert (shown.text, shown.css, shown.title) == (text, css, title)


def test_each_security_status_can_be_read_on_every_ground() -> None:
    text = CSS.read_text()
    colours = dict(re.findall(r"--([\w-]+): light-dark\(([^)]*)\);", text))
    grounds = [colours[name].split(", ") for name in ("ground", "panel", "raised", "kill-ground", "loss-ground", "new")]
    marks = {name: pair.split(", ") for name, pair in re.findall(r"\.(sec-\d+) \{ color: light-dark\(([^)]*)\)", text)}
    assert set(marks) == {f"sec-{number}" for number in range(11)}
    for name, pair in marks.items():
        for ground in grounds:
            for scheme in (0, 1):
                assert contrast(pair[scheme], ground[scheme]) >= 4.5, (name, ground[scheme])


def contrast(one: str, other: str) -> float:
    """By WCAG 2.1."""
    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


async def test_without_static_data_nothing_is_claimed(settings: Any) -> None:
    fill(new_universe(kills=(10,)))
    with connection():
        assert not ItemType.select().where(ItemType.group_id.is_null(False)).exists()
        number = Killmail.select(Killmail.killmail_id).limit(1).scalar()
    async with served(settings) as url:
        for path in ("/", f"/killmails/{number}", f"/systems/{JITA}", f"/types/{RIFTER}"):
            status, text = await page(url + path)
            assert status in (200, 404) and 'class="sec' not in text and "/groups/" not in text, path
    assert set(SecurityBand) == set(space._WORDS)
