"""What webhooks are told, with hostile names, and what keeps them from being led to places inside."""

from __future__ import annotations

import asyncio
import re
import socket
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from killsync.killmails.amounts import isk
from killsync.killmails.classification import SecurityBand
from killsync.killmails.killmail import Attacker, Entity, ItemType, Killmail, KillmailValue, SolarSystem, Victim
from killsync.static_data.catalog import Group, Named
from killsync.webhooks import formats, sender
from killsync.webhooks.formats import Place, for_discord, for_slack
from killsync.webhooks.sender import Answer, BadAddress, check_address, is_public, judge
from simulator.names import HOSTILE
from tests.support.receiver import receiving

PLACE = Place("https://killsync.example", "https://esi.example")


def killmail(name: str) -> Killmail:
    """A killmail in which everything has the same name."""
    who = {
        "character": Entity(1, name), "corporation": Entity(2, name), "alliance": Entity(3, name),
        "ship_type": ItemType(4, name),
    }  # fmt: skip
    blow = Attacker(**who, damage_done=5, final_blow=True)
    return Killmail(
        killmail_id=77, killmail_hash="ab" * 20, killmail_time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        solar_system=SolarSystem(5, name), victim=Victim(**who, damage_taken=5_000_000_000), final_blow=blow,
        attackers=[blow], attacker_count=1, solo=True, created_at=datetime(2026, 1, 2, 3, 5, tzinfo=UTC),
    )  # fmt: skip


def unescaped(text: str) -> str:
    """What Discord shows of escaped text."""
    return re.sub(r"\\([^0-9A-Za-z\s])", r"\1", text).replace("\u200b", "")


@pytest.mark.parametrize("name", HOSTILE)
def test_discord_shows_a_hostile_name_as_text_and_pings_nobody(name: str) -> None:
    message = formats.message("discord", killmail(name), PLACE, is_loss=True, delivery_id=1)
    import json

    sent = json.loads(message.body)
    assert sent["allowed_mentions"] == {"parse": []}
    text = sent["embeds"][0]["description"] + sent["embeds"][0]["title"]
    ours = text.replace("[Killmail](https://killsync.example/killmails/77)", "").replace(
        f"[ESI](https://esi.example/killmails/77/{'ab' * 20})", ""
    )
    # What is left of markup once escapes and our own bold marks are gone is none.
    left = re.sub(r"\\[^0-9A-Za-z\s]", "", ours).replace("**", "")
    assert not re.search(r"[*_~`<>\[\]|#]", left), left
    assert "@everyone" not in text and "<@" not in text and "](https://evil" not in text
    assert name in unescaped(sent["embeds"][0]["title"]) or len(name) > 100
    assert sent["embeds"][0]["url"] == "https://killsync.example/killmails/77"


@pytest.mark.parametrize("name", HOSTILE)
def test_slack_shows_a_hostile_name_as_text_and_pings_nobody(name: str) -> None:
    import json

    sent = json.loads(formats.message("slack", killmail(name), PLACE, is_loss=None, delivery_id=1).body)
    texts = [sent["text"], sent["blocks"][0]["text"]["text"]]
    for text in texts:
        assert "<" not in text and ">" not in text, "only our own links use Slack's brackets"
        assert not re.search(r"&(?!(amp|lt|gt);)", text)
        assert "@everyone" not in text and "`code`" not in text and "_under_" not in text
    links = re.findall(r"<([^|>]+)\|([^>]+)>", sent["blocks"][1]["elements"][0]["text"])
    assert [target for target, _ in links] == [
        "https://killsync.example/killmails/77", f"https://esi.example/killmails/77/{'ab' * 20}",
    ]  # fmt: skip


@given(st.text(max_size=200))
def test_any_name_stays_one_line_of_text(name: str) -> None:
    for shown in (for_discord(name), for_slack(name)):
        assert "\n" not in shown and "\r" not in shown and "\u202e" not in shown
        assert not re.search(r"@(?!\u200b)", shown)
    assert not re.search(r"(?<!\\)(?:\\\\)*[*_~`|<>\[\]()#]", for_discord(name))
    assert "<" not in for_slack(name) and ">" not in for_slack(name)


def test_what_has_no_pilot_is_sent_all_the_same() -> None:
    import json

    bare = killmail("Fortizar")
    bare.victim.character = bare.victim.alliance = None
    bare.final_blow = Attacker(damage_done=0, final_blow=True)
    for kind in ("discord", "slack", "json"):
        body = formats.message(kind, bare, PLACE, is_loss=False, delivery_id=5).body
        assert json.loads(body)
    assert b"Final blow by **Unknown**." in formats.message("discord", bare, PLACE, is_loss=None, delivery_id=5).body


def test_messages_say_what_it_was_worth_its_class_and_where_it_was() -> None:
    import json

    dear = killmail("Rifter")
    dear.value = KillmailValue(total=1_234_567_890.12, destroyed=1_000_000_000.0, dropped=234_567_890.12, fitted=5.0,
                               priced_on="2026-01-02")  # fmt: skip
    dear.victim.ship_type.group = Group(25, "Frigate")
    dear.solar_system = SolarSystem(
        30000142, "Jita", security_status=0.945, security=SecurityBand.HIGH, region=Named(10000002, "The Forge")
    )
    for kind, text in (("discord", "description"), ("slack", "text")):
        body = json.loads(formats.message(kind, dear, PLACE, is_loss=None, delivery_id=5).body)
        said = body["embeds"][0][text] if kind == "discord" else body["blocks"][0]["text"]["text"]
        said = unescaped(said).replace("*", "")
        assert "lost a Rifter (Frigate) in Jita (0.9, The Forge)." in said
        assert "Worth 1.23b ISK, of which 235m ISK dropped." in said
    sent = json.loads(formats.message("json", dear, PLACE, is_loss=None, delivery_id=5).body)["killmail"]
    assert sent["value"]["total"] == 1_234_567_890.12 and sent["value"]["pricedOn"] == "2026-01-02"
    assert sent["victim"]["shipGroup"] == {"id": "25", "name": "Frigate"}
    assert sent["solarSystem"]["security"] == "HIGH" and sent["solarSystem"]["region"]["name"] == "The Forge"


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0.01, "0.01 ISK"), (10_000, "10.0k ISK"), (999, "999 ISK"), (999_600, "1.00m ISK"), (1_234_567, "1.23m ISK"),
        (99_960_000, "100m ISK"), (1.5e12, "1.50t ISK"), (5e15, "5,000t ISK"), (0, "0.00 ISK"), (9_999_999_999, "10.0b ISK"),
    ],
)  # fmt: skip
def test_amounts_have_three_digits_and_a_unit(amount: float, text: str) -> None:
    assert isk(amount) == text


def test_the_json_message_has_the_documented_names_and_ids_as_text() -> None:
    import json

    lost = killmail("Rifter")
    lost.victim.faction = Entity(500_001)
    lost.war_id = 9
    body = json.loads(formats.message("json", lost, PLACE, is_loss=None, delivery_id=5).body)
    named = [{"id": str(number), "name": "Rifter"} for number in range(1, 6)]
    attacker = {
        "character": named[0], "corporation": named[1], "alliance": named[2], "faction": None, "factionId": None,
        "shipType": named[3], "weaponType": None, "damageDone": 5, "finalBlow": True, "securityStatus": None,
    }  # fmt: skip
    assert (body["event"], body["deliveryId"]) == ("killmail", "5")
    assert body["killmail"] == {
        "id": "77", "killmailHash": "ab" * 20, "killmailTime": "2026-01-02T03:04:05+00:00",
        "solarSystem": {**named[4], "securityStatus": None, "security": None, "constellation": None, "region": None},
        "victim": {
            "character": named[0], "corporation": named[1], "alliance": named[2],
            "faction": {"id": "500001", "name": None}, "factionId": "500001", "shipType": named[3],
            "shipGroup": None, "damageTaken": 5_000_000_000, "position": None,
        },
        "attackers": [attacker], "attackerCount": 1, "finalBlow": attacker, "solo": True, "npc": False, "warId": "9",
        "awox": False, "labels": [], "value": None,
        "moonId": None, "createdAt": "2026-01-02T03:05:00+00:00",
    }  # fmt: skip


PRIVATE = (
    "127.0.0.1", "127.8.8.8", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
    "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fc00::1",
    "fd12:3456::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::", "2001:0:7f00:1::", "fec0::1", "::127.0.0.1", "2001:db8::1", "nonsense",
)  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_no_address_inside_is_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "162.159.128.233", "2606:4700::1111", "64:ff9b::101:101"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "", "hooks.slack.com", "http://discord.com/api/webhooks/1/x", "ftp://discord.com/x", "https://", "https:///x",
        "https://user:secret@discord.com/x", "https://localhost/x", "https://x.localhost/", "https://db.internal/",
        "https://router/", "https://127.0.0.1/", "https://[::1]/", "https://[::ffff:10.0.0.1]/", "https://2130706433/",
        "https://0x7f.1/", "https://127.1/", "https://10.0.0.1:8443/", "https://discord.com:99999/", "https://a b.example/",
        "https://evil.example\\@127.0.0.1/", "https://exa\nmple.com/", "javascript:alert(1)", "https://" + "a" * 2100 + ".example/",
    ],
)  # fmt: skip
def test_addresses_that_cannot_be_a_webhook_are_refused_without_repeating_them(url: str) -> None:
    with pytest.raises(BadAddress) as refused:
        check_address(url, allow_private=False)
    assert "secret" not in str(refused.value) and "127.0.0.1" not in str(refused.value)


def test_a_good_address_is_taken_as_it_is() -> None:
    for url in (
        "https://discord.com/api/webhooks/1/abc?thread_id=5",
        "https://example.org:8443/hook",
        "https://1.1.1.1/x",
    ):
        assert check_address(f" {url}#part ", allow_private=False) == url


async def test_a_name_that_leads_inside_is_refused_where_the_connection_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with receiving() as receiver:
        port = int(receiver.url.rsplit(":", 1)[1])
        real = asyncio.get_running_loop().getaddrinfo

        async def rebound(host: Any, *rest: Any, **more: Any) -> Any:
            if host == "innocent.example.com":
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
            return await real(host, *rest, **more)

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", rebound)
        await sender.close_sessions()
        answer = await sender.post(f"https://innocent.example.com:{port}/x", b"{}", {}, allow_private=False)
        assert answer.forbidden and answer.status is None
        assert judge(answer).kind == "lost"
        assert judge(answer).reason == "not sent: its name leads to an address that is not public"
        for url in (f"https://127.0.0.1:{port}/", receiver.url, f"https://[::ffff:127.0.0.1]:{port}/"):
            assert (await sender.post(url, b"{}", {}, allow_private=False)).forbidden
        # Past the first check, at the connection itself.
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=sender._guarded_socket)) as http:
            with pytest.raises(aiohttp.ClientConnectorError) as refused:
                await http.post(f"http://127.0.0.1:{port}/")
            assert str(refused.value.os_error) == "127.0.0.1 is not a public address"
        assert receiver.requests == []
        await sender.close_sessions()


def test_answers_are_judged_by_what_they_mean() -> None:
    def kind(status: int | None, **headers: str) -> str:
        return judge(Answer(status, {name.replace("_", "-"): value for name, value in headers.items()})).kind

    assert [kind(status) for status in (200, 204, 301, 400, 401, 403, 404, 408, 410, 413, 429, 500, 503, None)] == [
        "taken", "taken", "lost", "refused", "lost", "lost", "lost", "failed", "lost", "refused", "later", "failed",
        "failed", "failed",
    ]  # fmt: skip
    assert judge(Answer(429, {"retry-after": "3"}, b"<html>")).pause == 3
    assert judge(Answer(429, {}, b'{"retry_after": 1.5, "global": true}')) == sender.Verdict(
        "later", "it asks for a pause (429)", 1.5, True
    )
    assert judge(Answer(429, {"retry-after": "-5"}, b"[1]")).pause == 5.0
    assert judge(Answer(429, {"retry-after": "99999999"})).pause == sender.MOST_PAUSE
