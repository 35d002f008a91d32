"""The pages from the server's side: what they count, find and refuse, and what stands in their HTML."""

from __future__ import annotations

import asyncio
import html
import json
import re
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from peewee import fn

from killsync.esi import errors
from killsync.killmails import activity, esi_url, summaries, whereabouts
from killsync.killmails.classification import classify
from killsync.killmails.cursors import cursor_of
from killsync.killmails.filter import KillmailFilter
from killsync.killmails.fitting_slots import section
from killsync.killmails.killmail import Attacker, Entity, Item, ItemType, KillmailSummary
from killsync.killmails.mapping import parse_time
from killsync.killmails.summaries import Viewpoint
from killsync.names import entities, search
from killsync.names.entities import ENTITY_KINDS
from killsync.sso.errors import SsoAway
from killsync.static_data import catalog
from killsync.sync import waiting
from killsync.web import filter_address
from killsync.web.pages import charts
from killsync.web.pages.killmail import lines, sections
from killsync.web.pages.sides import sides
from killsync.web.render import ago
from models import connection, utcnow
from models.db import database
from models.killmails import ALLIANCE, ATTACKER_SIDE, CHARACTER, VICTIM_SIDE
from models.sql import rows, run
from tests.support import static_data
from tests.support.killmails import STACK, TOP_DAMAGE, fight
from tests.support.player import Player
from tests.support.web_server import fill, new_universe, served

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
BROWSER = {"Accept": "text/html"}


async def fetched(url: str, **headers: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http, http.get(url, headers={**BROWSER, **headers}) as answer:
        return answer.status, await answer.text()


# Counts and activity.


def test_counts_and_activity_are_those_of_the_killmails(settings: Any) -> None:
    universe = new_universe(kills=(80, 30))
    fill(universe)
    bodies = [universe.body(number) for number in universe.kills]
    with connection():
        for word, entity in (
            ("character", universe.demo_characters[0].character_id),
            ("corporation", 98_000_001),
            ("alliance", 99_000_002),
            ("ship", 587),
        ):
            kind = ENTITY_KINDS[word]
            subject = entities.find(kind, entity)
            assert subject is not None
            field = kind.field
            killed = [body for body in bodies if any(each.get(field) == entity for each in body["attackers"])]
            lost = [body for body in bodies if body["victim"].get(field) == entity]
            found = activity.counts(subject)
            assert (found.kills, found.losses, found.capped) == (len(killed), len(lost), False), word
            hours: Counter[datetime] = Counter()
            for body in killed:
                moment = datetime.fromisoformat(body["killmail_time"]).replace(minute=0, second=0)
                hours[moment.astimezone(UTC)] += 1
            active = activity.activity(subject, utcnow())
            assert {hour.start: hour.kills for hour in active.hours if hour.kills} == hours, word
            assert sum(hour.losses for hour in active.hours) == len(lost), word
        system = entities.find(ENTITY_KINDS["system"], 30000142)
        assert system is not None
        there = [body for body in bodies if body["solar_system_id"] == 30000142]
        assert activity.counts(system).killmails == len(there)


def test_counting_stops_and_says_so(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    universe = new_universe(kills=(40,))
    fill(universe)
    monkeypatch.setattr(activity, "MOST_COUNTED", 10)
    with connection():
        subject = entities.find(ENTITY_KINDS["character"], universe.demo_characters[0].character_id)
        assert subject is not None
        found = activity.counts(subject)
        assert found.killmails == 10 and found.capped and found.kills + found.losses >= 10
        active = activity.activity(subject, utcnow())
        assert active.capped and sum(hour.kills + hour.losses for hour in active.hours) >= 10


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_counts_read_the_index_alone(settings: Any) -> None:
    fill(new_universe(kills=(40,)))
    with connection():
        database.execute_sql("VACUUM ANALYZE")
        # A handful of rows is read faster than an index, and sorted faster than merged; a million are not.
        settings_of_few = ("enable_seqscan", "enable_bitmapscan", "enable_sort")
        for setting in settings_of_few:
            database.execute_sql(f"SET {setting} = off")
        for word, entity in (("alliance", 99_000_002), ("system", 30000142)):
            subject = entities.KnownEntity(ENTITY_KINDS[word], entity, None, None)
            for since in (None, utcnow()):
                newest = activity.newest_killmails(subject, 9, since)
                source, values = newest.select_from(fn.COUNT(newest.c.kill)).sql()
                plan = "\n".join(line for (line,) in rows(f"EXPLAIN {source}", values))
                nodes = re.findall(r"([A-Z][A-Za-z ]+?)(?: using .*| on .*)?  \(cost=", plan)
                read = [node for node in nodes if "Scan" in node and node != "Subquery Scan"]
                assert read and all(node.startswith("Index Only Scan") for node in read), plan
                assert not any(node.endswith("Sort") for node in nodes), plan
        for setting in settings_of_few:
            database.execute_sql(f"RESET {setting}")


def test_charts_have_a_bar_for_every_day_and_hour() -> None:
    now = datetime(2026, 8, 20, 13, 5, tzinfo=UTC)
    hours = [
        activity.Hour(datetime(2026, 8, 20, 13, tzinfo=UTC), 3, 1),
        activity.Hour(datetime(2026, 8, 19, 13, tzinfo=UTC), 1, 0),
        activity.Hour(datetime(2026, 5, 23, 0, tzinfo=UTC), 0, 2),
    ]
    days = charts.by_day(activity.Activity(hours, False), now)
    assert len(days.bars) == 90 and (days.bars[0].label, days.bars[-1].label) == ("2026-05-23", "2026-08-20")
    assert (days.bars[-1].kills, days.bars[-1].losses, days.bars[0].losses) == (3, 1, 2)
    assert days.line == 60.0 and days.bars[-1].kills_height == 60.0 and days.bars[0].losses_height == 40.0
    by_hour = charts.by_hour(activity.Activity(hours, False))
    assert len(by_hour.bars) == 24 and (by_hour.bars[13].kills, by_hour.bars[0].losses) == (4, 2)
    assert charts.by_hour(activity.Activity([], False)).is_empty


# Rows of lists.


def test_rows_walk_through_all_killmails_and_know_kill_from_loss(settings: Any) -> None:
    universe = new_universe(kills=(70, 30))
    known = static_data.load()
    newest_first = fill(universe)
    hero = universe.demo_characters[0].character_id
    with connection():
        seen: list[KillmailSummary] = []
        after = None
        while True:
            page = summaries.page(KillmailFilter(), 20, after, Viewpoint(CHARACTER, (hero,)))
            seen += page.killmails
            if not page.has_next:
                break
            after = cursor_of(page.killmails[-1])
        assert [row.killmail_id for row in seen] == newest_first
        for row in seen:
            body = universe.body(row.killmail_id)
            lost = body["victim"].get("character_id") == hero
            killed = any(each.get("character_id") == hero for each in body["attackers"])
            assert row.outcome == ("loss" if lost else "kill" if killed else None)
            kind = classify(body, parse_time(body["killmail_time"]), known)
            assert (row.npc, row.solo, row.awox) == (kind.npc, kind.solo, kind.awox)
            final = next(each for each in body["attackers"] if each["final_blow"])
            assert row.final_blow is not None
            shown = row.final_blow.character
            assert (shown and shown.id) == final.get("character_id")
        for sides in (VICTIM_SIDE, ATTACKER_SIDE):
            view = Viewpoint(ALLIANCE, (99_000_002,))
            page = summaries.page(KillmailFilter(alliance_id=99_000_002, sides=sides), 50, None, view)
            assert page.killmails and {row.outcome for row in page.killmails} <= {"kill", "loss"}


# Search.


@pytest.fixture
def named(settings: Any) -> None:
    names = [
        "Korr",
        "Korrigan",
        "Vor Korr",
        "kORr Umbra",
        "100% Korr",
        "1000 Korr",
        "Under_score",
        "UnderXscore",
        "Back\\slash",
        "龍騎",
    ]
    with connection():
        for number, name in enumerate(names, 1):
            run("INSERT INTO character (character_id, name) VALUES (%s, %s)", (number, name))
        run("INSERT INTO character (character_id) VALUES (99)")
        run("INSERT INTO corporation (corporation_id, name, ticker) VALUES (70, 'Korr Industries', 'KORR')")
        run("INSERT INTO item_type (type_id, name) VALUES (3, 'Korr Blaster'), (4, 'Korr Frigate')")
        run(
            "INSERT INTO involved_victim (ship_type_id, killmail_time, killmail_id) "
            "VALUES (4, '2026-08-18 00:00:00.000000+00:00', 1)"
        )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("korr", ["Korr", "kORr Umbra", "Korrigan", "1000 Korr", "100% Korr", "Vor Korr", "Korr Industries", "Korr Frigate"]),
        ("KORR  u", ["kORr Umbra"]), ("ko", ["Korr", "kORr Umbra", "Korrigan", "Korr Industries", "Korr Frigate"]),
        ("or", []), ("100%", ["100% Korr"]), ("%%%", []), ("r_s", ["Under_score"]), ("k\\s", ["Back\\slash"]), ("_", []),
        ("龍騎", ["龍騎"]), ("70", ["Korr Industries"]), ("' OR 1=1 --", []), ("", []), ("9" * 30, []), ("²³", []),
    ],
)  # fmt: skip
def test_names_are_found_by_beginning_and_part_and_wildcards_are_letters(
    named: None, text: str, wanted: list[str]
) -> None:
    with connection():
        found = [subject.name for subject in search.find(text, 10)]
    assert sorted(map(str, found)) == sorted(wanted)
    if text == "korr":
        assert found[0] == "Korr", "the name itself comes first"
        assert set(found[:3]) == {"Korr", "kORr Umbra", "Korrigan"}, "beginnings come before parts"


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_postgresql_finds_beginnings_and_parts_by_index(named: None) -> None:
    with connection():
        database.execute_sql("SET enable_seqscan = off")
        for pattern, index in (("kor%", "character_search"), ("%mbra%", "character_part")):
            plan = rows(
                """EXPLAIN SELECT name FROM character WHERE (lower(name) COLLATE "C") LIKE %s ESCAPE '\\'""", (pattern,)
            )
            assert index in str(plan), plan
        database.execute_sql("RESET enable_seqscan")


@ON_SQLITE
async def test_the_search_answers_pages_and_scripts_and_is_rate_limited(
    settings: Any, named: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from killsync.web import rates

    async with served(settings) as url:
        async with aiohttp.ClientSession() as http, http.get(f"{url}/search?q=korr+i") as answer:
            assert answer.content_type == "application/json"
            assert await answer.json() == {
                "results": [
                    {"name": "Korr Industries", "noun": "Corporation", "ticker": "KORR", "href": "/corporations/70"}
                ]
            }
        status, text = await fetched(f"{url}/search?q=korr+i&for=feed&system=30000142&mine=1")
        assert status == 200 and "/?system=30000142&amp;corporation=70&amp;mine=1" in text
        monkeypatch.setitem(rates.RATES, "search", rates.Rate(2, 1))
        statuses = [(await fetched(f"{url}/search?q=a"))[0] for _ in range(4)]
        assert statuses[-1] == 429
        assert "Too many requests" in (await fetched(f"{url}/search?q=a"))[1]


# Pages.


@ON_SQLITE
async def test_addresses_that_cannot_be_are_refused_with_a_page(settings: Any) -> None:
    async with served(settings) as url:
        for path, status in (
            ("/killmails/x", 400), (f"/killmails/{2**63}", 400), ("/killmails/5", 404), ("/characters/5", 404),
            ("/?character=x", 400), ("/?side=both", 400), ("/?after=xxxx", 400), ("/types/-1", 400), ("/nowhere", 404),
            ("/killmails/rows?ids=1,x", 400), ("/killmails/rows?about=ship", 400), ("/systems/%F0%9F%92%A5", 400),
        ):  # fmt: skip
            got, text = await fetched(url + path)
            assert got == status and "<h1>" in text and 'class="top"' in text, path
            assert "Traceback" not in text
        async with aiohttp.ClientSession() as http, http.get(f"{url}/killmails/rows?mine=1") as answer:
            assert answer.status == 403 and "<" not in await answer.text()


@ON_SQLITE
async def test_faults_of_ours_and_a_database_that_is_away_have_their_pages(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import peewee

    universe = new_universe(kills=(3,))
    newest = fill(universe)[0]
    async with served(settings) as url:
        for fault, status, words in (
            (ZeroDivisionError("secret"), 500, "its id in the log is"),
            (peewee.OperationalError("connection refused, secret"), 503, "Back in a moment"),
        ):

            def fail(*_any: Any, fault: Exception = fault) -> None:
                raise fault

            monkeypatch.setattr("killsync.web.pages.killmail.sections", fail)
            got, text = await fetched(f"{url}/killmails/{newest}")
            assert got == status and words in text and "<h1>" in text and "secret" not in text
            got, text = await fetched(f"{url}/killmails/{newest}", Accept="*/*")
            assert got == status and "<" not in text


@ON_SQLITE
async def test_a_killmail_that_is_listed_but_not_fetched_is_on_its_way(settings: Any) -> None:
    with connection():
        run("INSERT INTO killmail_ref (killmail_id, killmail_hash) VALUES (5, 'abc')")
    async with served(settings) as url:
        status, text = await fetched(f"{url}/killmails/5")
    assert status == 404 and "on its way" in text


async def test_every_kind_of_page_shows_its_killmails_and_escapes_names(settings: Any) -> None:
    universe = new_universe(kills=(30,))
    fill(universe)
    fight(universe, 990_000_001)
    script = next(pilot for pilot in universe.characters.values() if pilot.name.startswith("<script>"))
    async with served(settings) as url:
        for path in ("/", "/killmails/990000001", f"/characters/{script.character_id}", "/corporations/98000003",
                     "/systems/30004759", "/types/23919", "/killmails/rows?ids=990000001"):  # fmt: skip
            status, text = await fetched(url + path)
            assert status == 200, path
            assert html.escape(script.name) in text and script.name not in text, path
            assert "/killmails/990000001" in text or path == "/killmails/990000001", path
            assert "style=" not in text and not re.search(r"\son\w+=", text), "the policy allows neither"
        _, text = await fetched(f"{url}/killmails/990000001")
        for figure in (f"{STACK:,}", f"{TOP_DAMAGE:,}", "Final blow", "Top damage", "734455"):
            assert figure in text
        _, fragment = await fetched(f"{url}/killmails/rows?ids=990000001")
        assert fragment.strip().startswith("<tr")


async def test_a_list_has_a_heading_for_each_day_and_says_how_long_ago_and_which_ticker(settings: Any) -> None:
    universe = new_universe(kills=(60,))
    ids = fill(universe)
    newest = universe.body(ids[0])
    with connection():
        run("UPDATE corporation SET ticker = '<C&>' WHERE corporation_id = %s", (newest["victim"]["corporation_id"],))
    async with served(settings) as url:
        _, text = await fetched(f"{url}/")
        _, fragment = await fetched(f"{url}/killmails/rows?ids={ids[0]}")
        _, detail = await fetched(f"{url}/killmails/{ids[0]}")
    shown = re.findall(r'data-day="([^"]+)"|data-killmail="(\d+)"', text)
    days = [universe.body(int(number))["killmail_time"][:10] for _, number in shown if number]
    day = ""
    for heading, number in shown:
        day = heading or day
        assert not number or universe.body(int(number))["killmail_time"].startswith(day)
    assert [heading for heading, _ in shown if heading] == list(dict.fromkeys(days)) and len(set(days)) > 1
    moment = datetime.fromisoformat(newest["killmail_time"])
    assert f">{moment:%Y-%m-%d, %A}</th>" in fragment
    assert re.search(
        rf'<time class="ago dim" datetime="{newest["killmail_time"]}">(just now|\d+ \w+ ago)</time>', fragment
    )
    for place in (text, fragment, detail):
        assert html.escape("[<C&>]") in place and "[<C&>]" not in place


async def test_a_page_of_a_ship_says_where_it_flew_most_often(settings: Any) -> None:
    universe = new_universe(kills=(60,))
    static_data.load()
    fill(universe)
    bodies = [universe.body(number) for number in universe.kills]
    ships = Counter(body["victim"]["ship_type_id"] for body in bodies)
    ship = ships.most_common(1)[0][0]
    there = Counter(
        body["solar_system_id"]
        for body in bodies
        if ship in {party.get("ship_type_id") for party in (body["victim"], *body["attackers"])}
    )
    with connection():
        subject = entities.find(ENTITY_KINDS["ship"], ship)
        assert subject is not None
        found = whereabouts.whereabouts(subject)
    most = sorted(there.items(), key=lambda pair: (-pair[1], pair[0]))
    assert [(system.id, count) for system, count in found.systems] == most[: whereabouts.MOST_PLACES]
    assert found.regions and found.regions[0][1] >= found.systems[0][1]
    async with served(settings) as url:
        _, text = await fetched(f"{url}/types/{ship}")
        _, other = await fetched(f"{url}/systems/{most[0][0]}")
    part = text.partition("Where it flew")[2].partition("</section>")[0]
    assert f'/systems/{most[0][0]}"' in part and f">{most[0][1]}</span>" in part and "/regions/" in part
    assert "Where it flew" not in other


@ON_SQLITE
async def test_an_answer_is_quick_and_packed(settings: Any) -> None:
    universe = new_universe(kills=(120,))
    fill(universe)
    async with served(settings) as url, aiohttp.ClientSession(auto_decompress=False) as http:
        times = []
        for _ in range(6):
            began = time.perf_counter()
            async with http.get(f"{url}/", headers={**BROWSER, "Accept-Encoding": "gzip"}) as answer:
                packed = await answer.read()
                assert answer.headers["Content-Encoding"] == "gzip"
            times.append(time.perf_counter() - began)
    assert min(times) < 0.1 and len(packed) < 20_000


@ON_SQLITE
@pytest.mark.parametrize("shown", ["0", "1"])
async def test_pictures_come_only_when_they_are_switched_on(
    against: Any, simulated: Any, monkeypatch: pytest.MonkeyPatch, shown: str
) -> None:
    universe = new_universe(kills=(5,))
    handle = simulated(kills=(1,))
    async with served(against(handle, EVE_IMAGES=shown)) as url:
        newest = fill(universe)[0]
        for path in ("/", f"/killmails/{newest}", f"/characters/{universe.demo_characters[0].character_id}"):
            _, text = await fetched(url + path)
            tags = re.findall(r"<img [^>]*>", text)
            assert bool(tags) == (shown == "1")
            for tag in tags:
                assert 'src="https://images.evetech.net/' in tag and 'loading="lazy"' in tag
                assert re.search(r'width="\d+" height="\d+"', tag) and 'alt=""' in tag


@ON_SQLITE
async def test_names_that_came_later_are_told(settings: Any) -> None:
    universe = new_universe(kills=(3,))
    fill(universe, named=False)
    hero = universe.demo_characters[0]
    async with served(settings) as url:
        _, text = await fetched(f"{url}/characters/{hero.character_id}")
        assert f'data-unnamed="character:{hero.character_id}"' in text
        asked = f"{url}/names?of=character:{hero.character_id},system:30000142,nonsense:1,character:x,"
        assert json.loads((await fetched(asked))[1]) == {}
        with connection():
            run("UPDATE character SET name = %s WHERE character_id = %s", (hero.name, hero.character_id))
        assert json.loads((await fetched(asked))[1]) == {f"character:{hero.character_id}": hero.name}


@ON_SQLITE
async def test_forms_of_a_character_want_its_owner_on_this_site(against: Any, simulated: Any) -> None:
    handle = simulated(kills=(3, 3))
    one, two = (pilot.character_id for pilot in handle.simulator.universe.demo_characters[:2])
    async with served(against(handle)) as url, Player(url) as player, Player(url) as other:
        await player.log_in(one)
        await other.log_in(two)
        for path in ("/me/sync", "/me/disconnect"):
            for browser, form, headers, status in (
                (player, {"character": str(two)}, {}, 404), (player, {}, {}, 400), (player, {"character": "x"}, {}, 400),
                (player, {"character": str(one)}, {"Origin": "https://evil.example"}, 403),
                (player, {"character": str(one)}, {"Sec-Fetch-Site": "cross-site"}, 403),
                (player, {"character": str(one)}, {}, 303),
            ):  # fmt: skip
                async with browser.browser.post(
                    url + path, data=form, headers=headers, allow_redirects=False
                ) as answer:
                    assert answer.status == status, (path, form, headers)
        async with player.browser.post(f"{url}/me/sync", data={"character": str(one)}, allow_redirects=False) as answer:
            assert answer.status == 409, "a disconnected character is not synced"
        async with (
            aiohttp.ClientSession() as visitor,
            visitor.post(f"{url}/me/sync", data={"character": str(one)}) as answer,
        ):
            assert answer.status == 403
        assert (await other.data("{ me { status } }"))["me"]["status"] == "ACTIVE"


# Tickers.


def test_a_ticker_waits_for_a_token_only_so_often(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from dramatiq.errors import Retry

    from killsync.broker.running import RunningMessage
    from killsync.esi.errors import NoToken
    from killsync.names import tickers

    class EmptyBudget:
        def alliance(self, number: int) -> Any:
            raise NoToken(f"/alliances/{number}", "no token", retry_after=5.0)

    message = RunningMessage()
    monkeypatch.setattr(tickers, "shared", lambda _settings: EmptyBudget())
    monkeypatch.setattr(tickers, "running_message", lambda: message)
    with connection():
        run("INSERT INTO alliance (alliance_id, name) VALUES (99000001, 'A')")
        with pytest.raises(Retry):
            tickers.fetch_ticker("alliance", 99000001)
        message.options["retries"] = tickers.MOST_WAITS
        tickers.fetch_ticker("alliance", 99000001)


def test_a_ticker_is_asked_for_once_a_day(settings: Any, against: Any, simulated: Any) -> None:
    from killsync.names.tickers import fetch_ticker

    handle = simulated(kills=(3,))
    against(handle)
    kind = ENTITY_KINDS["alliance"]
    with connection():
        run("INSERT INTO alliance (alliance_id, name) VALUES (99000001, 'A'), (99009999, 'Unknown to ESI')")
        known, unknown = (entities.find(kind, number) for number in (99000001, 99009999))
        assert known and unknown
        assert entities.claim_ticker(known) and not entities.claim_ticker(known)
        fetch_ticker("alliance", known.id)
        fetch_ticker("alliance", known.id)
        found = entities.find(kind, known.id)
        assert found is not None and found.ticker == "A1" and not entities.claim_ticker(found)
        assert entities.claim_ticker(unknown)
        fetch_ticker("alliance", unknown.id)
        assert not entities.claim_ticker(unknown)
        run("UPDATE alliance SET ticker_asked_at = '2020-01-01 00:00:00.000000+00:00'")
        assert entities.claim_ticker(unknown)
        answers = handle.call(lambda simulator: dict(simulator.esi.answers))
        assert {key: number for key, number in answers.items() if key[0] == "alliances"} == {
            ("alliances", 200): 1, ("alliances", 404): 1,
        }  # fmt: skip


# What first readers stumbled on.


async def test_error_pages_know_who_reads_them(against: Any, simulated: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = simulated(kills=(1,))
    async with served(against(handle)) as url, Player(url) as player:
        await player.log_in(handle.simulator.universe.demo_characters[0].character_id)
        for path, status in (("/nowhere", 404), ("/killmails/x", 400), ("/?after=xxxx", 400), ("/characters/5", 404)):
            async with player.browser.get(url + path, headers=BROWSER) as answer:
                text = await answer.text()
                assert answer.status == status and "Log out" in text and "Log in" not in text, path

        # Who has a session that cannot be looked up now is not told to log in.
        async def away(*_any: Any) -> None:
            raise TimeoutError

        monkeypatch.setattr("killsync.web.sessions.in_db", away)
        async with player.browser.get(f"{url}/nowhere", headers=BROWSER) as answer:
            text = await answer.text()
            assert answer.status == 404 and "Log in" not in text


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_a_locked_table_gives_a_page_that_says_so_and_ends_the_statement(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg2

    monkeypatch.setattr("killsync.web.pages.messages.PAGE_SECONDS", 0.8)
    holder = psycopg2.connect(settings.database_url)
    async with served(settings) as url:
        holder.cursor().execute("LOCK TABLE killmail IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        async with aiohttp.ClientSession() as http, http.get(f"{url}/", headers=BROWSER) as answer:
            text = await answer.text()
            assert answer.status == 503 and answer.headers["Retry-After"] == "5"
        assert "<h1>Back in a moment</h1>" in text and "takes longer than a page may" in text
        assert time.monotonic() - began < 5
        watching = psycopg2.connect(settings.database_url)
        watching.autocommit = True  # within a transaction it would see the same each time
        watcher = watching.cursor()
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        for _ in range(40):
            watcher.execute(waiting)
            if watcher.fetchone() == (0,):
                break
            await asyncio.sleep(0.1)
        else:
            raise AssertionError("the statement goes on")
        assert (await fetched(f"{url}/killmails/rows", Accept="*/*"))[0] == 503
        holder.rollback()
        assert (await fetched(f"{url}/"))[0] == 200
    watching.close()
    holder.close()


async def test_a_script_reads_the_syncs_alone(against: Any, simulated: Any) -> None:
    handle = simulated(kills=(3,))
    pilot = handle.simulator.universe.demo_characters[0]
    async with served(against(handle)) as url, Player(url) as player, Player(url) as visitor:
        async with visitor.browser.get(f"{url}/me/syncs") as answer:
            assert answer.status == 403
        await player.log_in(pilot.character_id)
        with connection():
            run("UPDATE sync_run SET status = 'waiting', error = 'why; it goes on at 2030-01-02 03:04:05 EVE time'")
            run(
                "INSERT INTO sync_run (user_id, kind, status, started_at, walked, pages, found, saved, skipped, errors, "
                "esi_requests, esi_tokens) SELECT user_id, 'corporation', 'succeeded', started_at, 1, 1, 7, 7, 0, 0, 8, 16 "
                "FROM sync_run"
            )
        async with player.browser.get(f"{url}/me/syncs?whole=1") as answer:
            text = html.unescape(await answer.text())
    assert '<table id="feed"' not in text and "<header" not in text, "no page, and no list of killmails"
    assert '"status":"WAITING"' in text and '"found":7' not in text, "a corporation's run is not the pilot's own"
    assert "the corporation, read by" in text
    assert re.search(r"Next sync</dt><dd><time[^>]*>2030-01-02 03:04:05", text), "when it goes on, not the claim's end"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            errors.NoToken("/characters/9/killmails/recent", "no token for 705 s"),
            "ESI lets this list be asked only so often",
        ),
        (errors.RateLimited("/characters/9/killmails/recent", "429"), "has asked for a pause"),
        (errors.ErrorLimited("/x", "420"), "asked everybody here"),
        (errors.Downtime("/x", "503"), "ESI does not answer"),
        (errors.Malformed("/x", "HTML"), "cannot be read"),
        (SsoAway("HTML"), "EVE's login server does not answer"),
    ],
)
def test_waiting_is_said_in_words_and_until_when(error: Exception, says: str) -> None:
    now = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
    text = waiting.words(error, 705, now)
    assert (
        says in text and "killmails/recent" not in text and text.endswith("it goes on at 2026-03-04 12:11:45 EVE time")
    )
    assert waiting.until_of(text) == datetime(2026, 3, 4, 12, 11, 45, tzinfo=UTC)
    assert waiting.until_of("another reason") is None and waiting.until_of(None) is None


async def test_a_sync_that_waits_says_so_on_its_run(against: Any, simulated: Any) -> None:
    from dramatiq.errors import Retry

    from killsync.sync.characters import sync_user
    from killsync.sync.runs import open_run
    from simulator import Fault

    handle = simulated(kills=(3,))
    async with served(against(handle)) as url, Player(url) as player:
        await player.log_in(handle.simulator.universe.demo_characters[0].character_id)
    handle.call(lambda simulator: simulator.faults.append(Fault("/characters/*", kind="status", status=503)))
    with connection():
        (user_id,) = rows('SELECT id FROM "user"')[0]
        run_id = open_run(user_id)
        with pytest.raises(Retry):
            sync_user(user_id, run_id)
        status, error = rows("SELECT status, error FROM sync_run WHERE id = %s", (run_id,))[0]
    assert status == "waiting" and error.startswith("ESI does not answer") and waiting.until_of(error) is not None


async def test_a_type_is_a_ship_only_where_it_is_one(settings: Any) -> None:
    universe = new_universe(kills=(5,))
    fill(universe)
    with connection():
        flown = rows("SELECT ship_type_id FROM victim LIMIT 1")[0][0]
        run("INSERT INTO item_type (type_id, name) VALUES (900448, 'A module')")
        run(
            "INSERT INTO item_group (group_id, name, category_id) VALUES (90052, 'Scrambler', 7), (91657, 'Citadel', 65)"
        )
    async with served(settings) as url:
        assert '<p class="dim kind">Type</p>' in (await fetched(f"{url}/types/900448"))[1], (
            "no static data: nobody flew it"
        )
        assert '<p class="dim kind">Ship</p>' in (await fetched(f"{url}/types/{flown}"))[1]
        with connection():
            run("UPDATE item_type SET group_id = 90052 WHERE type_id = 900448")
            run("UPDATE item_type SET group_id = 91657 WHERE type_id = %s", (flown,))
            name = rows("SELECT name FROM item_type WHERE type_id = %s", (flown,))[0][0]
        catalog.current.renew()
        assert '<p class="dim kind">Module</p>' in (await fetched(f"{url}/types/900448"))[1]
        assert '<p class="dim kind">Structure</p>' in (await fetched(f"{url}/types/{flown}"))[1]
        found = json.loads((await fetched(f"{url}/search?q={name}", Accept="application/json"))[1])["results"]
        assert {each["noun"] for each in found if each["name"] == name} == {"Structure"}


async def test_links_of_the_game_are_understood(settings: Any) -> None:
    universe = new_universe(kills=(2,))
    newest = fill(universe)[0]
    digest = "0123456789abcdef" * 2 + "01234567"
    for text in (
        f"killReport:{newest}:{digest}", f" killreport:{newest}:{digest.upper()} ",
        f"<url=killReport:{newest}:{digest}>Kill: Somebody (Drake)</url>", f"https://esi.evetech.net/killmails/{newest}/{digest}",
    ):  # fmt: skip
        assert esi_url.parse(text, settings.esi_url) == (newest, digest)
    for text in (
        f"killReport:{newest}",
        f"killReport:{2**63}:{digest}",
        f"killReport:1:{digest[:-1]}",
        f"x killReport:1:{digest}",
    ):
        with pytest.raises(esi_url.BadUrl):
            esi_url.parse(text, settings.esi_url)
    async with (
        served(settings) as url,
        aiohttp.ClientSession() as http,
        http.get(f"{url}/search", params={"q": f"killReport:{newest}:{digest}"}) as answer,
    ):
        assert (await answer.json())["results"][0]["href"] == f"/killmails/{newest}"


@ON_SQLITE
async def test_every_page_carries_ccps_notice_and_pictures_have_others_to_try(against: Any, simulated: Any) -> None:
    universe = new_universe(kills=(5,))
    handle = simulated(kills=(1,))
    async with served(against(handle, EVE_IMAGES="1")) as url:
        newest = fill(universe)[0]
        for path in ("/", f"/killmails/{newest}", "/search?q=a", "/nowhere", "/me"):
            assert "registered trademarks of CCP hf" in (await fetched(url + path))[1], path
        _, text = await fetched(f"{url}/killmails/{newest}")
        assert re.search(r'/render\?size=512" data-or="icon bp"', text) and "/static/pictures.js" in text
        assert "Fitting and cargo" in text
        _, text = await fetched(f"{url}/me")
    assert "public record" not in text


# Pure parts.


def test_flags_are_read_in_the_order_of_a_fit() -> None:
    order = [27, 19, 11, 92, 125, 164, 87, 159, 158, 5, 155, 89, 9_999]
    titles = {134: "Mining hold", 164: "Service slots", 180: "Core room", 182: "Mining hold (asteroids)",
              185: "Infrastructure hangar", 186: "Moon material bay", 187: "Capsuleer deliveries", 188: "Expedition hold"}  # fmt: skip
    assert {flag: section(flag).title for flag in titles} == titles
    positions = [section(flag).position for flag in order]
    assert positions == sorted(positions) and len(set(positions)) == len(positions)
    assert section(34).title == "High slots" and section(5).title == "Cargo" and section(9_999).title == "Flag 9999"


def test_equal_items_are_one_line_and_containers_stay_whole() -> None:
    def item(kind: int, flag: int, dropped: int | None = None, destroyed: int | None = None, inside: Any = ()) -> Any:
        return Item(item_type=ItemType(kind), flag=flag, quantity_dropped=dropped, quantity_destroyed=destroyed,
                    singleton=0, items=list(inside))  # fmt: skip

    found = sections(
        [
            item(1, 27, destroyed=1), item(2, 5, dropped=2**40), item(1, 28, dropped=1), item(1, 30),
            item(3, 5, dropped=1, inside=[item(2, 5, dropped=5)]), item(3, 5, destroyed=1, inside=[item(2, 5, destroyed=6)]),
        ]
    )  # fmt: skip
    assert [place.title for place, _ in found] == ["High slots", "Cargo"]
    (guns,) = found[0][1]
    assert (guns.dropped, guns.destroyed, guns.is_vague) == (1, 1, True)
    stack, first, second = found[1][1]
    assert stack.dropped == 2**40 and [line.inside[0].dropped for line in (first, second)] == [5, 0]
    assert lines([]) == []


def test_attackers_are_counted_by_alliance_and_corporation_with_their_share_of_the_damage() -> None:
    def party(damage: int, **who: int) -> Attacker:
        return Attacker(damage_done=damage, final_blow=False, **{word: Entity(number) for word, number in who.items()})

    attackers = [
        party(10, alliance=1, corporation=5), party(50, alliance=1, corporation=6), party(30, corporation=7),
        party(0, faction=9), party(10),
    ]  # fmt: skip
    found = sides(attackers)
    assert [(side.word, side.entity and side.entity.id, side.pilots, side.share(100)) for side in found] == [
        ("alliance", 1, 2, "60.0 %"), ("corporation", 7, 1, "30.0 %"), ("", None, 1, "10.0 %"), ("faction", 9, 1, "0.0 %"),
    ]  # fmt: skip
    assert [(part.entity and part.entity.id, part.damage) for part in found[0].parts] == [(6, 50), (5, 10)]
    assert found[1].parts == [] and found[0].share(0) == ""


def test_how_long_ago_it_was_is_said_in_one_unit() -> None:
    now = datetime(2026, 11, 26, 12, tzinfo=UTC)
    for seconds, words in ((-5, "just now"), (59, "just now"), (60, "1 min ago"), (300, "5 min ago"), (7_300, "2 hours ago"),
                           (86_400, "1 day ago"), (90 * 86_400, "90 days ago"), (800 * 86_400, "2 years ago")):  # fmt: skip
        assert ago(now - timedelta(seconds=seconds), now) == words


@ON_SQLITE
def test_a_filter_survives_its_address(settings: Any) -> None:
    chosen = filter_address.read(
        {"corporation": "98000001", "system": "30000142", "side": "losses", "mine": "1", "after": "x"}
    )
    assert chosen.query() == "?corporation=98000001&system=30000142&side=losses&mine=1"
    assert chosen.variables() == {"corporationId": "98000001", "systemId": "30000142", "side": "VICTIM", "mine": True}
    assert chosen.filter((5,)) == KillmailFilter(
        corporation_id=98000001, system_id=30000142, sides=VICTIM_SIDE, mine=(5,)
    )
    assert chosen.filter(None).mine == (), "a visitor's own killmails are none, and never everybody's"
    alone = chosen.of_mine(False).without("corporation")
    assert (alone.query(), alone.has_party) == ("?system=30000142", False), "a side without a party means nothing"
    about = filter_address.read({"side": "kills"}, ("alliance", 99000001))
    assert about.query() == "?side=kills" and about.viewpoint((1,)) == Viewpoint(ALLIANCE, (99000001,))
    assert about.rows_query() == "?about=alliance&alliance=99000001&side=kills"
    again = filter_address.read(dict(pair.split("=") for pair in about.rows_query()[1:].split("&")))
    assert again == about


def test_other_clauses_of_an_address_survive_it_and_reach_the_query_and_the_subscription(settings: Any) -> None:
    static_data.load()
    text = {
        "near": "30000142",
        "jumps": "2",
        "security": "low,null",
        "npc": "0",
        "attackers-from": "3",
        "system": "30000142",
    }
    chosen = filter_address.read(text)
    assert not chosen.is_everything and filter_address.read(dict(chosen.pairs())) == chosen
    assert dict(chosen.pairs()) == text
    assert chosen.variables() == {
        "systemId": "30000142", "nearSystemId": "30000142", "maxJumps": 2, "security": ["LOW", "NULL"], "npc": False,
        "minAttackers": 3,
    }  # fmt: skip
    with connection():
        made = chosen.filter(None)
    assert (made.system_id, made.npc, made.min_attackers) == (30000142, False, 3)
    assert made.near is not None and 30000144 in made.near.systems
    assert dict(chosen.without("jumps").pairs()).keys() == text.keys() - {"near", "jumps"}
    for wrong in ({"security": "lowish"}, {"jumps": "3"}, {"npc": "maybe"}):
        with pytest.raises(filter_address.BadAddress):
            filter_address.read(wrong)


@ON_SQLITE
async def test_a_page_shows_what_its_clauses_let_through_and_how_to_take_each_away(settings: Any) -> None:
    known = static_data.load()
    universe = new_universe(kills=(60,))
    newest = fill(universe)
    wanted = {
        number
        for number in newest[:50]
        if classify(body := universe.body(number), parse_time(body["killmail_time"]), known).security == "low"
    }
    async with served(settings) as url:
        status, text = await fetched(f"{url}/?security=low")
        assert status == 200
        shown = {int(number) for number in re.findall(r'href="/killmails/(\d+)"', text)}
        assert wanted and wanted <= shown
        assert not shown & (set(newest[:50]) - wanted)
        assert 'aria-label="Remove the filter Low"' in text
        assert (await fetched(f"{url}/?security=lowish"))[0] == 400
        assert (await fetched(f"{url}/killmails/rows?near=30000142&jumps=1"))[0] == 200


@ON_SQLITE
async def test_every_clause_of_a_filter_is_said_in_words(settings: Any) -> None:
    static_data.load()
    fill(new_universe(kills=(5,)))
    systems = ",".join(str(number) for number in (30000142, 30000144, 5, 6, 7))
    chips = {
        f"systems={systems}": 'Systems</span> <span class="name">Jita, Perimeter, 5 and 2 more<',
        "security=low,null": 'Kinds of space</span> <span class="name">Low, Null<',
        "value-from=1.5b": 'Worth at least</span> <span class="name">1.50b ISK<',
        "npc=0": 'By NPCs</span> <span class="name">none of those<',
        "age=3600": 'Not older than, when stored</span> <span class="name">1 hour<',
        "age=7": 'Not older than, when stored</span> <span class="name">7 seconds<',
        "attackers-from=12": 'Attackers, at least</span> <span class="name">12<',
        "final-blow=98000001": 'Who did it: Final blow by</span> <span class="name">',
        "system=5": 'System</span> <span class="name">System 5<',
    }
    async with served(settings) as url:
        for query, chip in chips.items():
            status, text = await fetched(f"{url}/?{query}")
            assert status == 200 and chip in text, (query, re.findall('<ul class="chips".*?</ul>', text, re.DOTALL))
