"""The webhooks page as its owner, another player, a visitor and another site see it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from killsync.sso.vault import Vault
from killsync.web.pages import previews
from models import connection
from models.names import NAME_KEYS
from models.sql import rows
from tests.support.player import Player
from tests.support.receiver import receiving
from tests.support.web_server import fill, served

#: The statements behind the page run on both databases in the tests of deliveries.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
async def place(settings: Any, against: Any, simulated: Any) -> AsyncIterator[Any]:
    handle = simulated(kills=(5, 5), characters=12)
    chosen = against(handle, WEBHOOK_ALLOW_PRIVATE="1")
    fill(handle.simulator.universe)
    async with served(chosen) as url:
        pilots = [pilot.character_id for pilot in handle.simulator.universe.demo_characters]
        async with Player(url) as owner, Player(url) as other:
            assert (await owner.log_in(pilots[0])).status == 302
            assert (await other.log_in(pilots[1])).status == 302
            yield chosen, owner, other
    import dramatiq

    dramatiq.get_broker().flush_all()


def form(url: str, **more: str) -> dict[str, str]:
    return {"name": "my channel", "kind": "discord", "url": url, "mine": "1", "age": "3600", **more}


async def post(player: Player, path: str, data: dict[str, str] | None = None, **headers: str) -> tuple[int, str]:
    async with player.browser.post(
        player.url + path, data=data or {}, headers=headers, allow_redirects=False
    ) as answer:
        return answer.status, await answer.text()


async def get(player: Player, path: str) -> tuple[int, str]:
    async with player.browser.get(player.url + path) as answer:
        return answer.status, await answer.text()


def stored(column: str) -> list[Any]:
    with connection():
        return [value for (value,) in rows(f"SELECT {column} FROM webhook ORDER BY id")]


async def test_a_webhook_is_added_tried_changed_paused_and_deleted(place: Any) -> None:
    settings, owner, _ = place
    with receiving() as receiver:
        status, page = await post(owner, "/webhooks", form(f"{receiver.url}/api/webhooks/1/top-secret-token"))
        assert status == 201 and "The webhook was added" in page
        assert "top-secret" not in page and "127.0.0.1/…oken" in page
        assert Vault(settings.secret_keys).decrypt(stored("url")[0]).endswith("/top-secret-token?wait=true")
        number = stored("id")[0]

        status, page = await post(owner, f"/webhooks/{number}/test")
        assert status == 200 and "took the test message (204)" in page
        sent = receiver.requests[0].json
        assert "Killsync reaches this channel" in sent["content"] and sent["allowed_mentions"] == {"parse": []}
        receiver.script.append(404)
        assert (
            "did not take the test message: there is no such webhook"
            in (await post(owner, f"/webhooks/{number}/test"))[1]
        )

        with connection():
            corporation, system, ship = (
                rows(f"SELECT name FROM {table} WHERE name IS NOT NULL ORDER BY {NAME_KEYS[table]} LIMIT 1")[0][0]
                for table in ("corporation", "solar_system", "item_type")
            )
        more = {"corporation": corporation.upper(), "systems": system, "victim-ship": f"{ship}, 587", "side": "losses"}
        assert (await post(owner, f"/webhooks/{number}", form("", name="renamed")))[0] == 303
        tracker = tracker_ids()[0]
        assert (await post(owner, f"/trackers/{tracker}", form("", webhook=str(number), **more)))[0] == 303
        page = (await get(owner, f"/trackers/{tracker}"))[1]
        assert f'value="{system}"' in page and "top-secret" not in page
        assert Vault(settings.secret_keys).decrypt(stored("url")[0]).endswith("/top-secret-token?wait=true"), "kept"
        page = (await get(owner, "/webhooks"))[1]
        assert "one of my characters is the victim" in page and f"in {system}" in page and "renamed" in page

        assert (await post(owner, f"/webhooks/{number}/pause"))[0] == 303 and stored("status") == ["paused"]
        assert (await post(owner, f"/webhooks/{number}/resume"))[0] == 303 and stored("status") == ["active"]
        assert (await post(owner, f"/webhooks/{number}/delete"))[0] == 303 and stored("id") == []


async def test_a_json_webhook_shows_its_secret_once(place: Any) -> None:
    settings, owner, _ = place
    status, page = await post(owner, "/webhooks", form("http://127.0.0.1:9/hook", kind="json"))
    secret = Vault(settings.secret_keys).decrypt(stored("secret")[0])
    assert status == 201 and secret in page
    assert secret not in (await get(owner, "/webhooks"))[1]
    status, page = await post(owner, f"/webhooks/{stored('id')[0]}/secret")
    new = Vault(settings.secret_keys).decrypt(stored("secret")[0])
    assert new != secret and new in page and secret not in page


BAD: list[tuple[dict[str, str], str]] = [
    ({"name": " "}, "Give it a name"),
    ({"kind": "pigeon"}, "Choose Discord"),
    ({"side": "neither"}, "“Which side” is kills or losses"),
    ({"url": "ftp://example.org/"}, "has to begin with https"),
    ({"url": "https://user:hush@example.org/"}, "must not hold a user name"),
    ({"corporation": "<b>Nobody</b>"}, "“Corporation”: nothing called"),
    ({"attackers-from": "-1"}, "“Attackers, at least” is a whole number"),
    ({"attackers-from": "²"}, "“Attackers, at least” is a whole number"),
    (
        {"attackers-from": "5", "attackers-to": "4"},
        "“Attackers, at least” and “Attackers, at most” contradict each other",
    ),
    ({"age": "99999999999"}, "“Not older than, when stored” is"),
    ({"victim-ship": ",".join(str(number) for number in range(101))}, "takes at most 100 names"),
    ({"labels": "nonsense"}, "knows no “nonsense”"),
    ({"ping": "role", "role": "Fleet"}, "enter the id of the role"),
    ({"with_color": "1", "color": "red"}, "write it as # and six digits"),
    ({"thread": "x"}, "Thread: enter its id"),
]


async def test_what_cannot_be_a_webhook_is_refused_with_what_to_mend(place: Any) -> None:
    _, owner, _ = place
    for more, says in BAD:
        status, page = await post(owner, "/webhooks", {**form("http://127.0.0.1:9/hook"), **more})
        assert status == 400 and says in page and stored("id") == [], more
        assert "<b>Nobody" not in page and "hush" not in page


def tracker_ids() -> list[int]:
    with connection():
        return [value for (value,) in rows("SELECT id FROM tracker ORDER BY id")]


async def test_webhooks_are_their_owners_alone(place: Any) -> None:
    _, owner, other = place
    assert (await post(owner, "/webhooks", form("http://127.0.0.1:9/hook", name="mine-alone")))[0] == 201
    number = stored("id")[0]
    assert "mine-alone" not in (await get(other, "/webhooks"))[1]
    assert (await get(other, f"/webhooks/{number}"))[0] == 404
    for path in (
        f"/webhooks/{number}",
        *(f"/webhooks/{number}/{a}" for a in ("pause", "delete", "test", "secret", "resume")),
    ):
        assert (await post(other, path, form("http://127.0.0.1:9/x")))[0] == 404
        assert (await post(owner, path, form(""), **{"Sec-Fetch-Site": "cross-site"}))[0] == 403
        assert (await post(owner, path, form(""), Origin="https://evil.example"))[0] == 403
    async with aiohttp.ClientSession() as visitor:
        async with visitor.get(f"{owner.url}/webhooks") as answer:
            assert answer.status == 403 and "Log in" in await answer.text()
        async with visitor.post(f"{owner.url}/webhooks", data=form("http://127.0.0.1:9/x")) as answer:
            assert answer.status == 403
    assert stored("status") == ["active"] and stored("name") == ["mine-alone"]


async def test_an_account_has_so_many_webhooks_and_no_more(place: Any) -> None:
    _, owner, _ = place
    answers = [(await post(owner, "/webhooks", form("http://127.0.0.1:9/hook")))[0] for _ in range(21)]
    assert answers == [201] * 20 + [400]


async def test_private_addresses_are_refused_without_the_setting_for_tests(
    settings: Any, against: Any, simulated: Any
) -> None:
    handle = simulated(kills=(2,), characters=5)
    async with served(against(handle)) as url, Player(url) as owner:
        assert (await owner.log_in(handle.simulator.universe.demo_characters[0].character_id)).status == 302
        for address in (
            "http://1.1.1.1/x",
            "https://127.0.0.1/x",
            "https://[::1]/",
            "https://localhost/x",
            "https://169.254.1.1/",
        ):
            status, page = await post(owner, "/webhooks", form(address))
            assert status == 400 and stored("id") == [] and "169.254" not in page


async def test_a_misspelt_name_keeps_the_address_that_was_pasted(place: Any) -> None:
    _, owner, _ = place
    address = "http://127.0.0.1:9/api/webhooks/1/pasted-token"
    for more in ({"corporation": "Nobody at all"}, {"victim-ship": "Rifter of old"}, {"name": ""}, {"age": "x"}):
        status, page = await post(owner, "/webhooks", {**form(address), **more})
        assert status == 400 and f'value="{address}"' in page, more
    assert (await post(owner, "/webhooks", form(address)))[0] == 201
    number = stored("id")[0]
    assert "pasted-token" not in (await get(owner, "/webhooks"))[1] + (await get(owner, f"/webhooks/{number}"))[1]
    status, page = await post(owner, f"/webhooks/{number}", {**form(address + "2"), "name": ""})
    assert status == 400 and f'value="{address}2"' in page
    status, page = await post(owner, "/webhooks", {**form("http://me:pasted-word@127.0.0.1/"), "name": ""})
    assert status == 400 and "pasted-word" not in page, "what has to be another address is not shown again"


async def test_why_a_test_message_did_not_arrive_is_said_in_words(place: Any) -> None:
    _, owner, _ = place
    with receiving() as receiver:
        await post(owner, "/webhooks", form(f"{receiver.url}/hook"))
        number = stored("id")[0]
        receiver.script.append("reset")
        assert "it ended the connection without an answer" in (await post(owner, f"/webhooks/{number}/test"))[1]
    said = (await post(owner, f"/webhooks/{number}/test"))[1]
    assert "it refuses the connection" in said and "Error" not in said
    await post(owner, f"/webhooks/{number}", form("https://nobody.invalid/hook"))
    said = (await post(owner, f"/webhooks/{number}/test"))[1]
    assert "its name is not known" in said and "Error" not in said


async def test_a_test_message_that_meets_a_limit_makes_deliveries_wait_too(place: Any) -> None:
    _, owner, _ = place
    with receiving() as receiver:
        await post(owner, "/webhooks", form(f"{receiver.url}/hook"))
        receiver.script.append((429, {"Retry-After": "30"}, ""))
        await post(owner, f"/webhooks/{stored('id')[0]}/test")
    assert stored("wait_until") != [None]


async def test_a_form_that_cannot_be_read_is_refused(place: Any) -> None:
    _, owner, _ = place
    for kind, body in (
        ("application/x-www-form-urlencoded; charset=nothing", b"name=x"),
        ("application/x-www-form-urlencoded; charset=utf-16", b"\xff"),
        ("application/x-www-form-urlencoded", b"name=%ff%fe\xff"),
        ("multipart/form-data; boundary=x", b"--y"),
    ):
        async with owner.browser.post(
            f"{owner.url}/webhooks", data=body, headers={"Content-Type": kind}, allow_redirects=False
        ) as answer:
            assert answer.status == 400, (kind, body)


async def test_a_filter_that_cannot_be_used_is_shown_and_can_be_mended(place: Any) -> None:
    from models.sql import run

    _, owner, _ = place
    await post(owner, "/webhooks", form("http://127.0.0.1:9/hook"))
    number, tracker = stored("id")[0], tracker_ids()[0]
    for wants in ('{"max_age":1e400}', "[" * 5_000, '{"side":"up"}', '{"ship_type_ids":7}', "null"):
        with connection():
            run("UPDATE tracker SET wants = %s", (wants,))
        status, page = await get(owner, "/webhooks")
        assert status == 200 and "its filter cannot be used" in page
        assert (await get(owner, f"/trackers/{tracker}"))[0] == 200
    assert (await post(owner, f"/trackers/{tracker}", form("", webhook=str(number))))[0] == 303
    assert "its filter cannot be used" not in (await get(owner, "/webhooks"))[1]


async def test_a_tracker_is_previewed_saved_copied_paused_and_deleted(place: Any) -> None:
    _, owner, other = place
    await post(owner, "/webhooks", form("http://127.0.0.1:9/hook"))
    hook = str(stored("id")[0])
    values = {"name": "dear ones", "webhook": hook, "attackers-from": "1", "ping": "here", "title": "Look"}
    status, page = await post(owner, "/trackers", {**values, "do": "preview", "victim-group": "Titann"})
    assert (
        status == 200
        and "nothing called “Titann”" in page
        and 'value="Titann"' in page
        and "at least 1 attacker" in page
    )
    assert len(tracker_ids()) == 1, "nothing was saved"
    status, page = await post(owner, "/trackers", {**values, "do": "preview"})
    assert "In the last 7 days this would have told you of <strong>" in page and "/killmails/" in page
    assert (await post(owner, "/trackers", values))[0] == 303
    made = tracker_ids()[1]
    assert "dear ones" in (await get(owner, "/webhooks"))[1]
    for path in (f"/trackers/{made}", f"/trackers/{made}/delete", f"/trackers/{made}/duplicate"):
        assert (await post(other, path, values))[0] == 404
    assert (await get(other, f"/trackers/{made}"))[0] == 404
    assert (await post(other, "/trackers", values))[0] == 400, "another's webhook is none of his"
    assert (await post(owner, f"/trackers/{made}/duplicate"))[0] == 303
    copy = tracker_ids()[2]
    page = (await get(owner, f"/trackers/{copy}"))[1]
    assert "dear ones (copy)" in page and ">Resume<" in page and 'value="Look"' in page
    assert (await post(owner, f"/trackers/{copy}/resume"))[0] == 303
    assert (await post(owner, f"/trackers/{copy}/delete"))[0] == 303 and tracker_ids() == [tracker_ids()[0], made]


async def test_the_first_tracker_of_a_webhook_is_previewed_before_anything_is_saved(place: Any) -> None:
    _, owner, _ = place
    typed = form("https://discord.com/api/webhooks/1/pasted", name="", mine="", systems="30000142", age="")
    status, page = await post(owner, "/webhooks", {**typed, "do": "preview"})
    assert status == 200 and stored("id") == []
    assert "In the last 7 days this would have told you of" in page and 'id="sentence"' in page
    assert 'value="https://discord.com/api/webhooks/1/pasted"' in page and "Give it a name" not in page
    status, page = await post(owner, "/webhooks", {**typed, "systems": "Jitaaaa", "do": "preview"})
    assert status == 200 and "nothing called “Jitaaaa” is known" in page and 'value="Jitaaaa"' in page


async def test_previews_of_an_account_are_made_one_at_a_time_on_whatever_page(
    place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, owner, _ = place
    preview, at_work, most = previews.preview, 0, 0

    def slowly(chosen: Any) -> Any:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        time.sleep(0.1)
        at_work -= 1
        return preview(chosen)

    monkeypatch.setattr(previews, "preview", slowly)
    typed = form("https://discord.com/api/webhooks/1/t", do="preview", systems="30000142")
    paths = ["/webhooks", "/trackers/preview", "/webhooks", "/trackers"]
    answers = await asyncio.gather(*(post(owner, path, typed) for path in paths))
    assert [status for status, _ in answers] == [200] * 4
    assert most == 1


async def test_the_bounds_of_a_number_are_said_in_plain_words(place: Any) -> None:
    _, owner, _ = place
    wrong = {"value-from": "5 billion", "attackers-to": "99999999999999999999", "light-years": "-1", "near": "30000142"}
    status, page = await post(owner, "/webhooks", form("https://discord.com/api/webhooks/1/t", **wrong))
    assert status == 400 and stored("id") == []
    assert "“Worth at least, ISK” is a number of ISK from 0 to " in page
    assert "“Light years, at most” is a number from 0 to " in page
    assert "One place, or a time: Not" not in page, "no field of that name was filled in"
    later = {"from": "2026-02-02", "to": "2026-01-01"}
    status, page = await post(owner, "/webhooks", form("https://discord.com/api/webhooks/1/t", **later))
    assert status == 400 and "Not before”" in page and "Not after”" in page


async def test_the_filter_of_a_list_becomes_a_tracker(place: Any) -> None:
    _, owner, _ = place
    await post(owner, "/webhooks", form("http://127.0.0.1:9/hook"))
    page = (await get(owner, "/?security=low&attackers-from=3"))[1]
    assert (
        "/trackers/new?attackers-from=3&amp;security=low" in page
        or "/trackers/new?security=low&amp;attackers-from=3" in page
    )
    page = (await get(owner, "/trackers/new?security=low&attackers-from=3"))[1]
    assert "in low security; at least 3 attackers; stored within 1 hour" in page


async def test_names_are_suggested_for_a_field(place: Any) -> None:
    _, owner, _ = place
    with connection():
        number, name = rows("SELECT type_id, name FROM item_type WHERE name IS NOT NULL ORDER BY type_id LIMIT 1")[0]
    async with owner.browser.get(f"{owner.url}/filter/names", params={"of": "victim-ship", "q": str(number)}) as answer:
        found = (await answer.json())["results"]
    assert {"name": name, "id": str(number)}.items() <= found[0].items() if found else True


async def test_clauses_of_a_newer_version_survive_a_change_and_are_said(place: Any) -> None:
    from models.sql import run

    _, owner, _ = place
    await post(owner, "/webhooks", form("http://127.0.0.1:9/hook"))
    tracker = tracker_ids()[0]
    with connection():
        run("""UPDATE tracker SET wants = '{"minPoints":50,"minAttackers":2}', version = version + 1""")
    assert "This version cannot use minPoints" in (await get(owner, "/webhooks"))[1]
    values = form("", webhook=str(stored("id")[0]), **{"attackers-from": "4"})
    assert (await post(owner, f"/trackers/{tracker}", values))[0] == 303
    with connection():
        assert '"minPoints":50' in rows("SELECT wants FROM tracker")[0][0]


async def test_the_filter_panel_makes_an_address_that_can_be_shared(place: Any) -> None:
    _, owner, _ = place
    with connection():
        system_id, system = rows("SELECT system_id, name FROM solar_system WHERE name IS NOT NULL ORDER BY 1 LIMIT 1")[
            0
        ]
    async with aiohttp.ClientSession() as visitor:
        asked = {"systems": system, "security.low": "1", "attackers-from": "2", "do": "show"}
        async with visitor.get(f"{owner.url}/filter", params=asked, allow_redirects=False) as answer:
            assert answer.status == 303
            where = answer.headers["Location"]
        assert set(where.removeprefix("/?").split("&")) == {f"systems={system_id}", "security=low", "attackers-from=2"}
        async with visitor.get(owner.url + where) as answer:
            assert answer.status == 200 and "Change the filter" in await answer.text()
        async with visitor.get(owner.url + where.replace("/?", "/filter?")) as answer:
            page = await answer.text()
            assert f'value="{system}"' in page and "at least 2 attackers" in page
        wrong = {**asked, "systems": "Jitta", "do": "show"}
        async with visitor.get(f"{owner.url}/filter", params=wrong, allow_redirects=False) as answer:
            page = await answer.text()
            assert (
                answer.status == 400 and "nothing called “Jitta”" in page and 'name="attackers-from" value="2"' in page
            )
