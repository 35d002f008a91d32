"""What people see and do, in a real browser: Debian's chromium before a whole Killsync. Without chromium all of it skips."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from killsync.esi.errors import NoToken
from killsync.prices import fetch, revaluation
from killsync.sync.waiting import words
from models import connection
from simulator.faults import Fault
from tests.support import static_data
from tests.support.browser import DESKTOP, PHONE, WAIT_MS, Site, chromium, log_in, site
from tests.support.deployment import wait_until
from tests.support.killmails import STACK, TOP_DAMAGE, fight
from tests.support.npm import JS, npm_packages
from tests.support.resources import PROJECT

FIGHT = 990_000_001
#: Where the pictures of the documentation go, when they are asked for by KILLSYNC_PICTURES=1.
PICTURES = PROJECT / "docs" / "images" if os.environ.get("KILLSYNC_PICTURES") else None


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def place(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("browser"), kills=(90, 25, 15, 10, 5), latency=0.01) as made:
        yield made


class Reader:
    """One browser with cookies of its own; what goes wrong in its pages is kept."""

    def __init__(self, browser: Any, place: Site, **options: Any) -> None:
        self.place, self.url = place, place.url
        self.context = browser.new_context(viewport=DESKTOP, **options)
        self.context.set_default_timeout(WAIT_MS)
        self.wrong: list[str] = []
        self.page = self.open()

    def open(self, path: str | None = None) -> Any:
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", self._heard)
        page.on("dialog", lambda dialog: self.wrong.append(f"dialog: {dialog.message}") or dialog.dismiss())
        if path is not None:
            page.goto(self.url + path)
        return page

    def _heard(self, line: Any) -> None:
        # The simulator's own pages are not ours to judge.
        if line.type == "error" and line.location["url"].startswith(self.url):
            self.wrong.append(line.text)

    def go(self, path: str) -> Any:
        self.page.goto(self.url + path)
        return self.page


@pytest.fixture
def reader(browser: Any, place: Site) -> Iterator[Any]:
    """Makes browsers; a script error, a refused resource or a dialog in any of them fails the test."""
    made: list[Reader] = []

    def make(**options: Any) -> Reader:
        made.append(Reader(browser, place, **options))
        return made[-1]

    yield make
    for each in made:
        each.context.close()
    assert [line for each in made for line in each.wrong] == []


@pytest.fixture(scope="module")
def synced(browser: Any, place: Site) -> dict[str, Any]:
    """The first pilot has logged in and is synced, and there was a great fight; the browser's cookies."""
    first = Reader(browser, place)
    log_in(first.page, place, place.pilots[0].character_id)
    first.page.locator("#pilots .state", has_text="Synced").wait_for()
    fight(place.handle.simulator.universe, FIGHT)
    # What the scheduler would have workers do.
    fetch.fetch()
    with connection():
        revaluation.value_some(30.0)

    def is_named() -> bool:
        first.go("/")
        return (
            first.page.locator("#feed tr[data-killmail]").count() == 50
            and not first.page.locator("[data-unnamed]").count()
        )

    wait_until(is_named, "the first page is full and everything on it named", WAIT_MS / 1000)
    state: dict[str, Any] = first.context.storage_state()
    first.context.close()
    return state


def expect(locator: Any) -> Any:
    from playwright.sync_api import expect as made

    made.set_options(timeout=WAIT_MS)
    return made(locator)


def test_a_player_logs_in_and_sees_the_bar_reach_its_end_and_the_killmails_arrive(reader: Any, place: Site) -> None:
    player = reader()
    page = player.go("/")
    expect(page.locator("#feed tr[data-killmail], #empty:not([hidden])").first).to_be_visible()
    pilot = place.pilots[1]
    # Slow enough to be seen under way: killmails of one message arrive together, the fifth of them that is slow later.
    slow = Fault("/killmails/*", kind="latency", seconds=2.5, probability=0.2)
    place.handle.call(lambda simulator: simulator.faults.append(slow))
    log_in(page, place, pilot.character_id)
    page.evaluate("""() => {
        window.seen = [];
        const bar = document.querySelector("#pilots progress");
        new MutationObserver(() => window.seen.push(bar.value / bar.max)).observe(bar, {attributes: true});
    }""")
    expect(page.locator("#pilots .state")).to_contain_text(re.compile(r"Synced: \d+ new"))
    expect(page.locator("#pilots progress")).to_have_js_property("value", page.evaluate("document.querySelector('#pilots progress').max"))  # fmt: skip
    place.handle.call(lambda simulator: simulator.faults.remove(slow))
    seen = page.evaluate("window.seen")
    assert seen == sorted(seen) and seen[-1] == 1.0 and any(0 < each < 1 for each in seen), seen
    expect(page.locator("#feed tr[data-killmail]")).not_to_have_count(0)
    # Killmails that others brought and that name this pilot count as well.
    listed = {str(number) for number in place.handle.simulator.universe.by_character[pilot.character_id]}
    known = "query($pilot: ID!) { killmails(filter: {characterId: $pilot}, first: 100) { edges { node { id } } } }"
    asked = {"query": known, "variables": {"pilot": str(pilot.character_id)}}
    answer = page.request.post(f"{place.url}/graphql", data=asked).json()
    stored = {edge["node"]["id"] for edge in answer["data"]["killmails"]["edges"]}
    assert listed <= stored
    expect(page.locator("#pilots .facts")).to_contain_text(str(len(stored)))
    expect(page.locator("#feed [data-unnamed]")).to_have_count(0)
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("banner").get_by_role("link", name="Log in with EVE Online")).to_be_visible()
    expect(page.locator("#pilots")).to_have_count(0)


def days_are_headed(page: Any) -> bool:
    """Whether each day's rows stand below one heading of that day, in the order of time."""
    shown = page.locator("#feed tbody tr").evaluate_all(
        "rows => rows.map((row) => row.dataset.day || row.dataset.time)"
    )
    days = [each for each in shown if "T" not in each]
    wanted = [day for moment in shown if "T" in moment for day in [moment[:10]]]
    following = [shown[place + 1][:10] for place, each in enumerate(shown) if "T" not in each]
    return bool(days) and days == list(dict.fromkeys(wanted)) == following


def test_a_new_killmail_arrives_without_a_reload_and_opens(reader: Any, place: Site, synced: Any) -> None:
    player = reader(storage_state=synced)
    page = player.go("/?mine=1")
    expect(page.locator("#live")).to_have_text("live")
    page.evaluate("window.isTheSamePage = true")
    before = page.locator("#feed tr[data-killmail]").count()
    pilot = place.pilots[0].character_id
    kill = place.handle.call(lambda simulator: simulator.new_kill(pilot, kind="solo"))
    place.handle.call(lambda simulator: simulator.drop_caches())
    page.wait_for_timeout(1600)  # ESI's answer of before is still fresh for half a second, told in whole ones
    page.get_by_role("button", name="Sync now").click()
    row = page.locator(f'#feed tr[data-killmail="{kill.killmail_id}"]')
    expect(row).to_be_visible()
    expect(row).to_have_class(re.compile(r"\bkill\b"))
    assert page.locator("#feed tr[data-killmail]").count() == before + 1
    assert days_are_headed(page)
    expect(row.locator(".ago")).to_have_text(re.compile(r"^(just now|\d+ min ago)$"))
    assert page.evaluate("window.isTheSamePage"), "the page was not loaded anew"
    expect(page.locator("#news")).to_have_text("1 new killmail")
    row.locator("td").last.click(force=True)
    page.wait_for_url(f"**/killmails/{kill.killmail_id}")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert (
        page.get_by_role("link", name="ESI")
        .get_attribute("href")
        .endswith(f"/killmails/{kill.killmail_id}/{kill.killmail_hash}")
    )


def test_after_a_sleep_the_list_reads_on_where_it_was(reader: Any, place: Site, synced: Any) -> None:
    """What was stored meanwhile comes by the subscription, from the last number that the page had."""
    sleeper = reader(storage_state=synced)
    page = sleeper.page
    page.add_init_script("""
        const Socket = window.WebSocket;
        window.sockets = [];
        window.WebSocket = class extends Socket { constructor(...given) { super(...given); window.sockets.push(this); } };
    """)
    sleeper.go("/")
    expect(page.locator("#live")).to_have_text("live")
    whole: list[str] = []
    page.on(
        "request",
        lambda request: whole.append(request.url) if "/rows" in request.url and "ids=" not in request.url else None,
    )
    page.context.set_offline(True)
    page.evaluate("window.sockets.at(-1).close()")
    expect(page.locator("#live")).to_have_text("reconnecting")
    other = reader(storage_state=synced).go("/")
    pilot = place.pilots[0].character_id
    kill = place.handle.call(lambda simulator: simulator.new_kill(pilot, kind="solo"))
    place.handle.call(lambda simulator: simulator.drop_caches())
    other.wait_for_timeout(1600)
    other.get_by_role("button", name="Sync now").click()
    expect(other.locator(f'#feed tr[data-killmail="{kill.killmail_id}"]')).to_be_visible()
    page.context.set_offline(False)
    expect(page.locator(f'#feed tr[data-killmail="{kill.killmail_id}"]')).to_be_visible()
    assert whole == [], "the list was not read anew"
    sleeper.wrong.clear()  # the browser itself reports the connections that failed


def test_a_great_fight_stays_readable_and_its_numbers_are_whole(reader: Any, synced: Any) -> None:
    page = reader().go(f"/killmails/{FIGHT}")
    places = page.locator(".items .place").all_inner_texts()
    assert places == [
        "High slots", "Mid slots", "Low slots", "Rigs", "Subsystems", "Service slots", "Drone bay", "Fighter bay", "Cargo",
        "Fleet hangar", "Implants", "Flag 250",
    ]  # fmt: skip
    guns = page.locator(".items tr", has_text="800mm Repeating Cannon II")
    name, dropped, destroyed, value = (cell.strip() for cell in guns.locator("td").all_inner_texts())
    assert (name, dropped, destroyed) == ("800mm Repeating Cannon II", "1", "1") and value.endswith("m")
    expect(page.locator(".items tr", has_text="PLEX")).to_contain_text(f"{STACK:,}")
    inside = page.locator(".items tr.inside")
    assert inside.count() == 3 and "Tritanium" in inside.first.inner_text() and "1,200,000" in inside.first.inner_text()
    expect(inside.nth(1)).to_contain_text("BPC")
    cards = page.locator(".card")
    assert cards.locator("h3").all_inner_texts() == ["Final blow", "Top damage"]
    expect(cards.nth(0)).to_contain_text("77")
    expect(cards.nth(1)).to_contain_text(f"{TOP_DAMAGE:,}")
    assert page.locator(".attackers tr:visible").count() < 30
    page.get_by_text("Show 280 more").click()
    assert page.locator(".attackers tbody tr:visible").count() == 300
    expect(page.locator(".attackers tr.final")).to_contain_text("final blow")
    expect(page.locator(".facts")).to_contain_text("734455")


def test_a_killmail_says_what_it_was_worth_how_it_was_fitted_and_what_it_could_do(
    reader: Any, place: Site, synced: Any
) -> None:
    player = reader(storage_state=synced, permissions=["clipboard-read", "clipboard-write"])
    query = (
        "{ killmails(first: 60, orderBy: VALUE_DESC) { edges { node { id value { total } fitting { eft high { itemType { name } } "
        + ("stats { effectiveHitPoints damagePerSecond } } } } } }")
    )

    def fitted() -> Any:
        answer = player.context.request.post(f"{player.url}/graphql", data={"query": query}).json()
        nodes = [edge["node"] for edge in answer["data"]["killmails"]["edges"]]
        return next(
            (node for node in nodes if node["value"] and node["fitting"]["eft"] and len(node["fitting"]["high"]) > 2),
            None,
        )

    wait_until(fitted, "prices are known and a killmail is valued", WAIT_MS / 1000)
    chosen = fitted()
    page = player.go(f"/killmails/{chosen['id']}")
    expect(page.locator(".figures .worth dd")).to_contain_text("ISK")
    exact = page.locator(".figures .worth dd").get_attribute("title").split(" ISK")[0].replace(",", "")
    assert abs(float(exact) - chosen["value"]["total"]) < 0.01
    high = page.locator(".rack", has_text="High slots")
    assert high.locator("li .name").first.text_content() == chosen["fitting"]["high"][0]["itemType"]["name"]
    able = page.locator(".able dl").text_content()
    for figure in ("effectiveHitPoints", "damagePerSecond"):
        assert f"{chosen['fitting']['stats'][figure]:,.0f}" in able
    assert page.locator("svg.wheel .slot:not(.empty)").count() >= 3
    page.get_by_role("button", name="Copy as EFT").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()").strip() == chosen["fitting"]["eft"].strip()
    # Without scripts the same text is there to be selected.
    plain = reader(storage_state=synced, java_script_enabled=False).go(f"/killmails/{chosen['id']}")
    assert plain.get_by_role("button", name="Copy as EFT").count() == 0
    plain.locator(".texts summary").click()
    assert plain.locator("#eft").inner_text().strip() == chosen["fitting"]["eft"].strip()


def test_the_feed_is_filtered_by_name_side_and_mine_and_goes_on_to_older_ones(reader: Any, place: Site, synced: Any) -> None:  # fmt: skip
    player = reader(storage_state=synced)
    page = player.go("/")
    rows = page.locator("#feed tr[data-killmail]")
    assert rows.count() == 50
    page.get_by_role("link", name="Older killmails").click()
    # What other tests have stored by now decides whether there is a third page.
    expect(page.locator("#more-state")).to_contain_text(re.compile("more|That was the last one"))
    ids = rows.evaluate_all("rows => rows.map((row) => row.dataset.killmail)")
    assert len(ids) == len(set(ids)) > 50
    assert days_are_headed(page)
    box = page.get_by_role("combobox", name="Filter by")
    box.press_sequentially("1dq")
    expect(page.get_by_role("option", name="1DQ1-A")).to_be_visible()
    box.press("ArrowDown")
    box.press("Enter")
    page.wait_for_url("**/?system=30004759")
    assert set(page.locator("#feed .where").all_inner_texts()) == {"1DQ1-A"}
    page.get_by_role("link", name="Mine").click()
    page.wait_for_url("**/?system=30004759&mine=1")
    page.get_by_role("link", name="Losses").click()
    page.wait_for_url("**side=losses**")
    name = place.pilots[0].name
    assert set(page.locator("#feed .victim div:first-child").all_inner_texts()) <= {name}
    page.get_by_role("link", name="Remove the filter 1DQ1-A").click()
    page.wait_for_url(re.compile(r"^(?!.*system=)"))
    expect(rows.first).to_be_visible()
    assert set(page.locator("#feed .victim div:first-child").all_inner_texts()) == {name}


def test_the_search_suggests_by_keyboard_and_works_without_scripts(reader: Any, place: Site, synced: Any) -> None:
    page = reader().go("/")
    page.get_by_role("combobox").first.focus()
    page.keyboard.type(place.pilots[0].name[:6].upper())
    expect(page.get_by_role("option", name=place.pilots[0].name)).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/characters/*")
    plain = reader(java_script_enabled=False).go("/")
    box = plain.get_by_role("searchbox", name="Pilot, corporation, alliance, ship, class, system or region", exact=True)
    box.fill(place.pilots[0].name)
    box.press("Enter")
    plain.get_by_role("link", name=place.pilots[0].name, exact=True).click()
    expect(plain.get_by_role("heading", level=1)).to_have_text(place.pilots[0].name)
    plain.go_back()
    plain.goto(page.url.split("/characters")[0] + "/search?q=zzzzzz")
    expect(plain.get_by_role("heading", name="Nothing found")).to_be_visible()


def test_hostile_names_are_text_everywhere(reader: Any, place: Site, synced: Any) -> None:
    player = reader()
    script = next(pilot for pilot in place.pilots if pilot.name.startswith("<script>"))
    for path in ("/", f"/killmails/{FIGHT}", f"/characters/{script.character_id}", "/search?q=%3Cscr",
                 f"/?character={script.character_id}", "/corporations/98000003", "/search?q=%3Cimg%20src%3Dx"):  # fmt: skip
        page = player.go(path)
        assert page.locator('img[src="x"], main script, main b, main i').count() == 0, path
        if "img" not in path and "corporations" not in path:
            expect(page.get_by_text(script.name).first).to_be_visible()
    page = player.go("/")
    page.get_by_role("combobox").first.press_sequentially("<script>alert(1)")
    expect(page.get_by_role("option", name=script.name)).to_be_visible()
    hostile = player.go("/search?q=%22%3E%3Cimg%20src%3Dx%20onerror%3Dalert(3)%3E")
    assert hostile.locator('img[src="x"]').count() == 0


def test_a_player_manages_characters_and_leaves(reader: Any, place: Site) -> None:
    player = reader()
    page = player.page
    one, two = place.pilots[3], place.pilots[4]
    log_in(page, place, one.character_id, "/me")
    expect(page.locator("#pilots .state")).to_contain_text("Synced")
    page.get_by_role("link", name="Add a character").click()
    page.get_by_role("link", name="Add a character to this account").click()
    page.locator(f'a[href*="character={two.character_id}"]').click()
    page.wait_for_url("**/me")
    expect(page.locator("#pilots > li")).to_have_count(2)
    expect(page.locator("#pilots .state", has_text="Synced")).to_have_count(2)
    mine = page.locator(f'#pilots [data-character="{one.character_id}"]')
    mine.get_by_text("Disconnect…").click()
    mine.get_by_role("button", name="Disconnect").click()
    expect(mine).to_contain_text("disconnected")
    expect(mine.get_by_role("link", name="Log in again")).to_be_visible()
    other = page.locator(f'#pilots [data-character="{two.character_id}"]')
    other.get_by_role("link", name="Grant access").click()
    page.locator(f'a[href*="character={two.character_id}"]').click()
    page.wait_for_url("**/me")
    expect(other).to_contain_text(re.compile("not read yet|not a Director"))
    expect(other.get_by_role("button", name="Sync now")).to_be_enabled()
    runs = page.locator("#runs tbody tr").count()
    other.get_by_role("button", name="Sync now").click()
    expect(page.locator("#runs tbody tr")).not_to_have_count(runs)
    from models import SyncRun, User, connection

    def is_syncing() -> bool:
        with connection():
            return bool(SyncRun.select().where(SyncRun.finished_at.is_null()).exists())

    # A corporation's sync may follow the player's own: it would meet the revoked grant before the button does.
    wait_until(lambda: not is_syncing(), "nobody is syncing", 30)
    place.handle.call(lambda simulator: simulator.sso.revoke_character(two.character_id))

    with connection():
        User.update(expires_at="2020-01-01 00:00:00.000000+00:00").where(
            User.character_id == two.character_id
        ).execute()
    expect(other.get_by_role("button", name="Sync now")).to_be_enabled()
    page.wait_for_timeout(1600)  # `Expires` is in whole seconds
    place.handle.call(lambda simulator: simulator.drop_caches())
    other.get_by_role("button", name="Sync now").click()
    # One refusal may be the SSO's own trouble: the token is kept, and asked for again.
    expect(other.locator(".state")).to_contain_text("asked again in")
    page.reload()
    expect(other).to_contain_text("access in doubt")
    expect(other.locator(".todo")).to_contain_text("Logging in again with this character helps at once")
    # Who was added since may not delete the account. The first character was disconnected: it comes last when it logs in again.
    for character in (one, two):
        page.goto(place.url + "/auth/login?next=%2Fme")
        page.locator(f'a[href*="character={character.character_id}"]').click()
        page.wait_for_url("**/me")
    page.get_by_text("Delete account…").click()
    page.get_by_role("button", name="Delete my account for good").click()
    page.wait_for_url(place.url + "/")
    expect(page.get_by_role("banner").get_by_role("link", name="Log in with EVE Online")).to_be_visible()
    with connection():
        assert User.get_or_none(User.character_id == two.character_id) is None


def test_a_ticker_is_asked_for_once_by_the_page_that_shows_it(reader: Any, place: Site, synced: Any) -> None:
    player = reader()

    def asked() -> int:
        answers = place.handle.call(lambda simulator: dict(simulator.esi.answers))
        return sum(number for (kind, _), number in answers.items() if kind == "corporations")

    before = asked()
    page = player.go("/corporations/98000002")
    ticker = page.locator("h1 + .ticker")
    for _ in range(100):
        if ticker.count():
            break
        page.wait_for_timeout(100)
        page.reload()
    expect(ticker).to_have_text("[C2]")
    player.go("/corporations/98000002")
    assert asked() == before + 1


PAGES = {
    "front": "/", "mine": "/?mine=1", "filtered": "/?corporation=98000003&side=kills", "killmail": f"/killmails/{FIGHT}",
    "character": "/characters/{pilot}", "corporation": "/corporations/98000003", "alliance": "/alliances/99000001",
    "system": "/systems/30004759", "ship": "/types/670", "search": "/search?q=an", "nothing found": "/search?q=zzzzz",
    "me": "/me", "webhooks": "/webhooks", "operations": "/ops", "missing": "/killmails/5",
}  # fmt: skip
#: What axe looks at: everything, and then what the colours of the night change.
RULES: dict[str, Any] = {"light": {"resultTypes": ["violations"]}, "dark": {"runOnly": ["color-contrast"]}}
#: A few rows of a list say as much as fifty, in a fifth of the time.
FEWER = "document.querySelectorAll('tbody tr:nth-child(n+9)').forEach((row) => row.remove())"


@pytest.mark.parametrize(
    ("name", "logged_in"), [*((name, True) for name in PAGES), ("front", False), ("mine", False), ("me", False)]
)
def test_every_page_passes_the_accessibility_check_and_fits_a_phone(
    reader: Any, place: Site, synced: Any, name: str, logged_in: bool
) -> None:
    npm_packages()
    player = reader(**({"storage_state": synced} if logged_in else {}))
    player.context.add_init_script(path=str(JS / "node_modules" / "axe-core" / "axe.min.js"))
    page = player.go(PAGES[name].format(pilot=place.pilots[0].character_id))
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.set_viewport_size(DESKTOP)
    page.evaluate(FEWER)
    found = {}
    for scheme, rules in RULES.items():
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        result = page.evaluate("(options) => axe.run(document, options)", rules)
        for violation in result["violations"]:
            if violation["impact"] in ("serious", "critical"):
                found[f"{scheme}: {violation['id']}"] = [node["html"][:150] for node in violation["nodes"][:3]]
    assert found == {}, json.dumps(found, indent=1)
    if name == "missing":
        player.wrong.clear()  # the browser itself reports the 404


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (768, 1024), (390, 844)])
def test_what_opens_stays_on_the_screen_and_nothing_covers_its_neighbour(
    reader: Any, place: Site, synced: Any, width: int, height: int
) -> None:
    page = reader(storage_state=synced).go("/")
    page.set_viewport_size({"width": width, "height": height})
    expect(page.locator("#feed tr[data-killmail]").first).to_be_visible()
    for box in (page.locator(".search.narrow input[type=search]"), page.locator("header input[type=search]")):
        box.fill("a")
        expect(page.locator(".suggestions:not([hidden]) [data-href]").first).to_be_visible()
        edges = page.locator(".suggestions:not([hidden])").bounding_box()
        assert edges["x"] >= 0 and edges["x"] + edges["width"] <= width, edges
        box.fill("")
        box.blur()
    # A picture before each ship, as with EVE_IMAGES: the ship's name stays in its cell.
    page.evaluate("""() => document.querySelectorAll("#feed .what").forEach((cell) => {
        const picture = new Image(32, 32);
        picture.className = "picture";
        cell.prepend(picture);
    })""")
    covered = page.evaluate("""() => [...document.querySelectorAll("#feed tr[data-killmail]")].filter((row) => {
        const what = row.querySelector(".what > span").getBoundingClientRect(), cell = row.querySelector(".what").getBoundingClientRect();
        return what.right > cell.right + 1;
    }).length""")
    assert covered == 0
    assert page.locator("header.top").bounding_box()["height"] <= 110
    inner = page.evaluate(
        "(() => { const list = document.querySelector('#pilots'); return list.scrollHeight - list.clientHeight; })()"
    )
    assert inner <= 1, "the characters do not scroll inside the page"
    page.goto(f"{place.url}/killmails/{FIGHT}")
    name, row = page.locator(".attackers tbody tr td:first-child").first, page.locator(".attackers tbody tr").first
    if width < 500:
        assert name.bounding_box()["width"] > 0.8 * row.bounding_box()["width"]
    figures = page.locator(".cards .card .figure")
    tops = {round(figures.nth(number).bounding_box()["y"]) for number in range(figures.count())}
    assert len(tops) == 1 or width < 600, "figures of cards side by side are on one line"


def test_back_from_a_killmail_keeps_the_loaded_rows_and_the_place(reader: Any, place: Site, synced: Any) -> None:
    page = reader(storage_state=synced).go("/")
    expect(page.locator("#live")).to_have_text("live")
    rows = page.locator("#feed tr[data-killmail]")
    page.locator("#more").click()
    # What else is loaded depends on who has logged in before: a second page, whole or not.
    expect(rows.nth(80)).to_be_attached()
    loaded = rows.count()
    row = rows.nth(80)
    number = row.get_attribute("data-killmail")
    row.scroll_into_view_if_needed()
    before = row.bounding_box()["y"]
    row.locator("a.open").click()
    page.wait_for_url(f"**/killmails/{number}")
    page.go_back()
    again = page.locator(f'#feed tr[data-killmail="{number}"]')
    expect(again).to_be_in_viewport()
    page.wait_for_timeout(1000)
    expect(rows).to_have_count(loaded)
    assert abs(again.bounding_box()["y"] - before) < 60, "where the reader was"
    page.reload()
    expect(page.locator("#live")).to_have_text("live")
    expect(page.locator("#feed tr[data-killmail]")).to_have_count(50)


def test_a_sync_that_waits_counts_down_and_is_asked_for_seldom(reader: Any, place: Site, synced: Any) -> None:
    from models import User, connection, utcnow
    from models.sync import SyncRun

    player = reader(storage_state=synced)
    with connection():
        user = User.get(User.character_id == place.pilots[0].character_id)
        text = words(NoToken("/characters/1/killmails/recent", "no token for 705 s"), 705, utcnow())
        run = SyncRun.create(user_id=user.id, status="waiting", error=text)
    asked: list[str] = []
    player.page.on(
        "request", lambda request: asked.append(request.url) if request.resource_type in ("fetch", "document") else None
    )
    page = player.go("/")
    state = page.locator("#pilots .state").first
    expect(state).to_contain_text(re.compile(r"asked only so often.*Goes on in 11 min \d+ s"))
    assert "killmails/recent" not in state.inner_text()
    first = state.inner_text()
    page.wait_for_timeout(7000)
    assert state.inner_text() != first, "it counts down"
    assert sum(url.rstrip("/") == place.url for url in asked) == 1, "the page itself is read once"
    assert sum("/me/syncs" in url for url in asked) <= 2
    with connection():
        SyncRun.delete().where(SyncRun.id == run.id).execute()
    page.goto(place.url + "/graphql")
    page.get_by_role("link", name="Back to the killmails").click()
    page.wait_for_url(place.url + "/")


def test_a_picture_that_does_not_exist_is_asked_for_in_another_variation(reader: Any, place: Site, synced: Any) -> None:
    player = reader(storage_state=synced)
    page = player.page
    asked: list[str] = []

    def answer(route: Any) -> None:
        asked.append(route.request.url)
        route.fulfill(status=400)

    page.route("**/pictures-of-tests/**", answer)
    page.goto(place.url + "/")
    page.evaluate("""() => {
        const picture = new Image(32, 32);
        picture.className = "picture";
        picture.dataset.or = "icon bp";
        picture.src = "/pictures-of-tests/types/1/render?size=32";
        document.querySelector("main").append(picture);
        const script = document.createElement("script");
        script.type = "module";
        script.src = "/static/pictures.js";
        document.head.append(script);
    }""")
    expect(page.locator("img.picture")).to_have_css("visibility", "hidden")
    assert [url.split("/1/")[1] for url in asked] == ["render?size=32", "icon?size=32", "bp?size=32"]
    player.wrong.clear()  # the browser itself reports the 400s


def test_the_front_page_does_not_move_while_it_loads(reader: Any, synced: Any) -> None:
    player = reader(storage_state=synced)
    page = player.go("/")
    expect(page.locator("#live")).to_have_text("live")
    page.wait_for_timeout(300)
    moved = page.evaluate("""() => new Promise((resolve) => {
        let sum = 0;
        new PerformanceObserver((list) => list.getEntries().forEach((each) => { sum += each.value; }))
            .observe({type: "layout-shift", buffered: true});
        setTimeout(() => resolve(sum), 200);
    })""")
    assert moved < 0.02


def test_the_explorer_runs_a_query_and_shows_the_documentation(reader: Any, synced: Any) -> None:
    page = reader().go("/graphql")
    expect(page.locator(".graphiql-container")).to_be_visible()
    page.get_by_role("button", name="Execute query").click()
    page.get_by_role("menuitem", name="Newest").click()
    expect(page.locator(".result-window")).to_contain_text("killmailTime")
    page.get_by_role("button", name="Show Documentation Explorer").click()
    expect(page.locator(".graphiql-doc-explorer")).to_contain_text("KillmailFilter")
    page.get_by_role("link", name="Query", exact=True).click()
    expect(page.locator(".graphiql-doc-explorer")).to_contain_text("What can be read")


@pytest.mark.skipif(PICTURES is None, reason="pictures for docs/images are made with KILLSYNC_PICTURES=1")
def test_pictures_for_the_documentation(reader: Any, place: Site, synced: Any) -> None:
    from killsync.killmails import queries, reclassification
    from killsync.killmails.filter import KillmailFilter
    from models.sql import run

    assert PICTURES is not None
    with connection():
        for table in ("killmail", "involved_victim", "involved_attacker", "involved_both"):
            run(f"DELETE FROM {table} WHERE killmail_id = %s", (FIGHT,))
    static_data.load()
    reclassification.classify_all()
    # One of a frigate or cruiser with most of its slots filled, and with company.
    with connection():
        stored = queries.page(KillmailFilter(min_attackers=4), 100, None).killmails
    shown = max(stored, key=lambda each: len({item.flag for item in each.items if 11 <= item.flag < 35}))
    for name, path, scheme, size in (
        ("page", "/", "light", {"width": 1200, "height": 760}),
        ("killmail", f"/killmails/{shown.killmail_id}", "dark", {"width": 1200, "height": 900}),
        ("corporation", "/corporations/98000001", "light", {"width": 1200, "height": 760}),
        ("phone", "/", "dark", PHONE),
    ):
        player = reader(storage_state=synced, color_scheme=scheme)
        page = player.page
        page.set_viewport_size(size)
        page.goto(place.url + path)
        if name != "killmail":
            expect(page.locator("#live")).to_have_text("live")
        page.screenshot(path=Path(PICTURES) / f"{name}.png")
