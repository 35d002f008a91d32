"""Webhooks over real HTTP, in this process: who is told what, in which order, and what a receiver may do to us."""

from __future__ import annotations

import hashlib
import hmac
import time
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from killsync.killmails import queries as killmail_queries
from killsync.killmails.filter import KillmailFilter, Parties
from killsync.killmails.store import save_killmail
from killsync.sso.vault import Vault
from killsync.webhooks import matching, queries, reader, trackers
from killsync.webhooks.index import TrackerIndex
from killsync.webhooks.subscribers import Subscriber
from killsync.webhooks.voice import Voice
from models import connection
from models.fields import from_any, utcnow
from models.killmails import ATTACKER_SIDE, VICTIM_SIDE
from models.sql import rows, run, sql_now
from tests.support.web_server import name_all
from tests.support.webhook_account import ANY, Told


def moment_of(value: Any) -> datetime:
    found = from_any(value)
    assert found is not None
    return found


def test_each_killmail_stored_is_told_once_and_in_order(told: Told) -> None:
    told.save(*told.kills[:2])
    number = told.webhook()
    told.save(*told.kills[2:12])
    told.work()
    told.save(*told.kills[12:15])
    told.work()
    told.work()
    assert told.told_ids() == told.kills[2:15], "what was stored before the webhook is none of its business"
    state = told.state(number)
    assert (state.delivered, state.waiting, state.status) == (13, 0, "active")


def test_a_generic_webhook_is_signed_over_its_time_and_body(told: Told) -> None:
    told.webhook()
    told.save(told.kills[0])
    told.work()
    got = told.receiver.requests[0]
    timestamp = got.headers["X-Killsync-Timestamp"]
    digest = hmac.new(b"hush", timestamp.encode() + b"." + got.body, hashlib.sha256).hexdigest()
    assert got.headers["X-Killsync-Signature"] == f"sha256={digest}"
    assert abs(int(timestamp) - time.time()) < 60
    assert got.headers["X-Killsync-Event"] == got.json["event"] == "killmail"
    kill = told.universe.kills[told.kills[0]]
    assert got.json["links"] == {
        "page": f"{told.settings.public_url}/killmails/{kill.killmail_id}",
        "esi": f"{told.settings.esi_url}/killmails/{kill.killmail_id}/{kill.killmail_hash}",
    }
    assert "items" not in got.json["killmail"] and got.json["killmail"]["victim"]["shipType"]["id"]


def test_filters_choose_by_side_party_ship_place_size_and_age(told: Told) -> None:
    universe, pilot = told.universe, told.pilot
    bodies = {number: universe.body(number) for number in told.kills}
    some = bodies[told.kills[3]]
    ship, system = some["victim"]["ship_type_id"], some["solar_system_id"]
    corporation = some["victim"]["corporation_id"]
    chosen = {
        told.webhook(chosen=KillmailFilter(mine=(), sides=ATTACKER_SIDE, max_age=ANY.max_age)): lambda body: any(
            each.get("character_id") == pilot for each in body["attackers"]
        ),
        told.webhook(chosen=KillmailFilter(mine=(), sides=VICTIM_SIDE, max_age=ANY.max_age)): lambda body: (
            body["victim"].get("character_id") == pilot
        ),
        told.webhook(
            chosen=KillmailFilter(sides=VICTIM_SIDE, corporation_id=corporation, max_age=ANY.max_age)
        ): lambda body: body["victim"].get("corporation_id") == corporation,
        told.webhook(
            chosen=KillmailFilter(victim=Parties(ship_type_ids=(ship, 1)), max_age=ANY.max_age)
        ): lambda body: body["victim"]["ship_type_id"] == ship,
        told.webhook(chosen=KillmailFilter(system_id=system, max_age=ANY.max_age)): lambda body: (
            body["solar_system_id"] == system
        ),
        told.webhook(chosen=KillmailFilter(min_attackers=3, max_age=ANY.max_age)): lambda body: (
            len(body["attackers"]) >= 3
        ),
        told.webhook(chosen=KillmailFilter(max_age=0)): lambda body: False,
    }
    told.save(*told.kills)
    told.work()
    with connection():
        for number, wanted in chosen.items():
            entered = [
                killmail
                for (killmail,) in rows(
                    "SELECT killmail_id FROM webhook_delivery WHERE webhook_id = %s ORDER BY id", (number,)
                )
            ]
            expected = [killmail for killmail in told.kills if wanted(bodies[killmail])]
            assert entered == expected, told.tracker_of(number).filter


def test_a_receiver_that_is_not_well_is_asked_again_and_nothing_overtakes(told: Told) -> None:
    number = told.webhook()
    told.receiver.script += [500, "reset", (503, {"Retry-After": "120"}, ""), (429, {"Retry-After": "7"}, ""), 204]
    told.save(*told.kills[:4])
    waits = []
    for _ in range(4):
        told.work()
        with connection():
            at = rows("SELECT wait_until FROM webhook WHERE id = %s", (number,))[0][0]
        waits.append((moment_of(at) - utcnow()).total_seconds())
        told.work(patient=True)
    assert len(told.receiver.requests) == 4, "while it waits nothing is sent"
    assert waits[0] > 3 and waits[1] > 8 and 110 < waits[2] <= 121 and 4 < waits[3] <= 7.5, waits
    told.work()
    assert told.told_ids() == told.kills[:4]
    assert (told.state(number).status, told.state(number).failing_since) == ("active", None)


def test_discords_rate_limit_headers_are_obeyed(told: Told) -> None:
    number = told.webhook("discord")
    other = told.webhook("discord")
    limit = {"X-RateLimit-Limit": "5", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset-After": "0.6"}
    told.receiver.script += [(200, {**limit, "X-RateLimit-Remaining": "1"}, "{}"), (200, limit, "{}")]
    told.save(*told.kills[:4])
    told.work(number)
    told.work(number, patient=True)
    assert len(told.receiver.requests) == 2, "after the last of the bucket comes a pause"
    time.sleep(0.7)
    told.receiver.script += [
        (429, {"Retry-After": "1"}, '{"retry_after": 30.5, "global": true, "message": "slow down"}')
    ]
    told.work(number, patient=True)
    told.work(number, other, patient=True)
    assert len(told.receiver.requests) == 3, "a global limit stops every webhook at Discord"
    told.work()
    assert len(told.receiver.taken()) == 2 + 2 + 4
    assert told.state(number).failing_since is None, "being limited is no failure"


def test_a_webhook_that_is_gone_is_disabled_with_its_reason_and_can_be_resumed(told: Told) -> None:
    number = told.webhook("discord")
    told.receiver.script += [404, 404, 404]
    told.save(*told.kills[:2])
    told.work()
    assert told.state(number).status == "active", "one 404 may be a slip"
    told.work()
    told.work()
    state = told.state(number)
    assert state.status == "disabled" and state.reason == "3 times in a row: there is no such webhook (any more) (404)"
    told.work()
    assert len(told.receiver.requests) == 3
    with connection():
        assert queries.resume(told.account, number)
    told.work()
    assert len(told.receiver.taken()) == 2, "what waited is told after all"


def test_one_message_that_is_refused_does_not_stop_the_next(told: Told) -> None:
    number = told.webhook("slack")
    told.receiver.script += [400, 400, 400]
    told.save(*told.kills[:3])
    for _ in range(4):
        told.work()
    assert len(told.receiver.taken()) == 2 and told.state(number).status == "active"
    with connection():
        assert rows("SELECT outcome FROM webhook_delivery ORDER BY id") == [
            ("refused",),
            ("delivered",),
            ("delivered",),
        ]


def test_after_five_days_of_failures_a_webhook_is_given_up(told: Told) -> None:
    number = told.webhook()
    told.receiver.script += [500, 500]
    told.save(told.kills[0])
    told.work()
    with connection():
        run(f"UPDATE webhook SET failing_since = {sql_now(-5 * 86_400 - 60)}")
    told.work()
    assert told.state(number).status == "disabled"
    assert told.state(number).reason == "Nothing could be delivered for 5 days: it is not well (500)"


def test_redirects_are_not_followed_and_slow_answers_are_failures(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    import aiohttp

    from killsync.webhooks import sender

    number = told.webhook()
    monkeypatch.setattr(sender, "TIMEOUT", aiohttp.ClientTimeout(total=0.4))
    told.receiver.script += [(302, {"Location": f"{told.receiver.url}/elsewhere"}, ""), 3.0, (200, {}, "x" * 5_000_000)]
    told.save(told.kills[0])
    told.work()
    assert "redirects" in str(told.state(number).last_error)
    told.work()
    assert told.state(number).last_error == "no answer within 10 seconds"
    told.work()
    assert [each.path for each in told.receiver.requests] == ["/hook"] * 3
    assert told.state(number).delivered == 1


def test_a_name_that_is_still_to_come_is_waited_for_a_moment(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    from killsync.webhooks import delivery

    told.webhook()
    monkeypatch.setattr(delivery, "NAMES_SECONDS", 60.0)
    told.save(told.kills[0])
    told.work()
    assert told.receiver.requests == []
    with connection():
        name_all(told.universe)
    told.work()
    assert told.receiver.requests[0].json["killmail"]["solarSystem"]["name"]


def test_a_pause_keeps_what_waits_and_tells_nothing_of_its_time(told: Told) -> None:
    number = told.webhook()
    told.receiver.script += [500]
    told.save(told.kills[0])
    told.work()
    with connection():
        assert queries.pause(told.account, number)
    told.save(told.kills[1])
    told.work()
    assert len(told.receiver.requests) == 1
    with connection():
        assert queries.resume(told.account, number)
        reader.begin_reading()
    told.save(told.kills[2])
    told.work()
    assert told.told_ids() == [told.kills[0], told.kills[2]]


def test_saving_a_killmail_asks_nothing_of_webhooks(told: Told) -> None:
    from models.db import database

    seen: list[str] = []
    execute = type(database.obj).execute_sql

    def spy(self: Any, sql: str, *rest: Any) -> Any:
        seen.append(sql)
        return execute(self, sql, *rest)

    told.webhook()
    kill = told.universe.kills[told.kills[0]]
    from killsync.killmails import ledger

    with connection():
        ledger.add_submitted(kill.killmail_id, kill.killmail_hash)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(database.obj), "execute_sql", spy)
            save_killmail(told.universe.body(kill.killmail_id), kill.killmail_hash)
    assert seen and not [sql for sql in seen if "webhook" in sql]


def test_deleting_an_account_deletes_its_webhooks_and_rotating_keys_keeps_them(told: Told) -> None:
    from killsync.accounts.accounts import delete_account, rotate_keys
    from killsync.sso.vault import generate_key

    number = told.webhook()
    told.receiver.script += [500]
    told.save(told.kills[0])
    told.work()
    new = generate_key()
    with connection():
        before = rows("SELECT url, secret FROM webhook")[0]
        assert all(text.startswith("gAAAA") for text in before), "at rest it is ciphertext"
        assert rotate_keys(Vault((new, *told.settings.secret_keys)).rotate) == 1
        found = queries.secrets_of(told.account, number)
        assert found is not None
        assert Vault((new,)).decrypt(found[1]) == f"{told.receiver.url}/hook"
        assert Vault((new,)).decrypt(str(found[2])) == "hush"
        delete_account(told.account)
        assert rows("SELECT count(*) FROM webhook") == rows("SELECT count(*) FROM webhook_delivery") == [(0,)]


class Messages:
    """The messages that deliveries send, run one after the other as a worker would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from killsync.webhooks import delivery

        self.waiting: list[int] = []
        self.sent = 0
        monkeypatch.setattr(delivery, "send", self.send)

    def send(self, actor: str, webhook_id: int, **_delay: Any) -> None:
        assert actor == "deliver"
        self.sent += 1
        self.waiting.append(webhook_id)

    def work(self, most: int = 500) -> None:
        """Run what was sent, and what that sends, until nothing is left."""
        from killsync.webhooks import delivery

        for _ in range(most):
            if not self.waiting:
                return
            delivery.deliver(self.waiting.pop(0))
        raise AssertionError("messages send messages for ever")


def test_while_the_slots_are_busy_webhooks_wait_in_the_table_and_not_in_messages(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    from killsync.webhooks import delivery, matching

    numbers = [told.webhook() for _ in range(20)]
    told.save(*told.kills[:2])
    messages = Messages(monkeypatch)
    slots = delivery.delivery_slots()
    with connection():
        for _ in range(delivery.SLOTS):
            assert slots.acquire(blocking=False)
        matching.announce()
        for _ in range(2):
            messages.work()
            matching.sweep()
        messages.work()
        assert messages.sent <= 3 * delivery.SLOTS, "a sweep tries as many as there may be slots, and that is all"
        assert told.receiver.requests == []
        for _ in range(delivery.SLOTS):
            slots.release()
        matching.sweep()
        messages.work()
        assert len(told.receiver.taken()) == 40
        assert messages.sent <= 3 * delivery.SLOTS + 20, "each webhook needs one message more"
    assert {told.state(number).waiting for number in numbers} == {0}


def test_whoever_ends_a_delivery_sends_the_next_webhook_that_is_due(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    from killsync.webhooks import deliveries, delivery, matching

    for _ in range(3):
        told.webhook()
    told.save(told.kills[0])
    messages = Messages(monkeypatch)
    slots = delivery.delivery_slots()
    with connection():
        held = [slots.acquire(blocking=False) for _ in range(delivery.SLOTS)]
        assert all(held)
        matching.announce()
        unclaim = deliveries.unclaim

        def unclaim_as_a_slot_becomes_free(webhook_id: int) -> None:
            unclaim(webhook_id)
            monkeypatch.setattr(deliveries, "unclaim", unclaim)
            slots.release()

        monkeypatch.setattr(deliveries, "unclaim", unclaim_as_a_slot_becomes_free)
        messages.work()
    assert len(told.receiver.taken()) == 3, "no sweep was needed"


def test_a_webhook_whose_slice_of_time_is_used_up_goes_behind_the_others(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    from killsync.webhooks import delivery, matching

    for _ in range(2):
        told.webhook()
    told.save(*told.kills[:4])
    told.receiver.pause = 0.05
    monkeypatch.setattr(delivery, "SLICE_SECONDS", 0.01)
    messages = Messages(monkeypatch)
    with connection():
        matching.announce()
        messages.work()
    assert len(told.receiver.taken()) == 8


def test_several_trackers_speak_through_one_webhook_each_in_its_own_voice(told: Told) -> None:
    hook = told.webhook("discord", voice=Voice("all"))
    loud = Voice("loud", title="Look *here*", color=0x123456, ping="role:123456789012", thread_id="987654321")
    told.tracker(hook, KillmailFilter(max_age=ANY.max_age, max_attackers=10**6), loud)
    told.tracker(hook, KillmailFilter(max_age=ANY.max_age, min_attackers=10**6), Voice("never"))
    paused = told.tracker(hook, voice=Voice("paused", ping="everyone"))
    told.save(*told.kills[:2])
    with connection():
        matching.announce()
        assert trackers.pause(told.account, paused)
    told.work()
    sent = [each.json for each in told.receiver.taken()]
    assert len(sent) == 4, "two killmails by two trackers; the paused one keeps its own"
    plain, other = sent[0], sent[1]
    assert "content" not in plain and plain["allowed_mentions"] == {"parse": []}
    assert other["content"] == "<@&123456789012> **Look \\*here\\***" and other["embeds"][0]["color"] == 0x123456
    assert other["allowed_mentions"] == {"parse": [], "roles": ["123456789012"]}
    assert [each.path for each in told.receiver.taken()] == ["/hook", "/hook?thread_id=987654321"] * 2
    with connection():
        assert trackers.resume(told.account, paused)
    told.work()
    assert len(told.receiver.taken()) == 6 and told.receiver.taken()[-1].json["content"] == "@everyone"
    assert told.receiver.taken()[-1].json["allowed_mentions"] == {"parse": ["everyone"]}
    with connection():
        assert [each.delivered for each in trackers.of_account(told.account)] == [2, 2, 0, 2]


def test_the_index_finds_every_tracker_that_wants_a_killmail(told: Told) -> None:
    bodies = [told.universe.body(number) for number in told.kills]
    some = bodies[4]
    attacker = next(each for each in some["attackers"] if each.get("corporation_id"))
    filters = [
        ANY,
        KillmailFilter(),
        KillmailFilter(min_value=Decimal(1)),
        KillmailFilter(min_value=Decimal(10**12)),
        KillmailFilter(character_id=some["victim"]["character_id"]),
        KillmailFilter(attackers=Parties(corporation_ids=(5, attacker["corporation_id"]))),
        KillmailFilter(final_blow_ids=(attacker["corporation_id"],)),
        KillmailFilter(system_ids=(some["solar_system_id"],), npc=False),
        KillmailFilter(not_system_ids=(some["solar_system_id"],)),
        KillmailFilter(mine=()),
        KillmailFilter(labels=("pvp",)),
        KillmailFilter(npc=True),
        KillmailFilter(war=True),
        KillmailFilter(war=False, solo=True),
        KillmailFilter(victim=Parties(ship_type_ids=(some["victim"]["ship_type_id"],))),
    ]
    begin = utcnow()
    known = [Subscriber(number, 1, chosen, begin) for number, chosen in enumerate(filters)]
    index = TrackerIndex(known)
    told.save(*told.kills)
    with connection():
        for killmail in killmail_queries.killmails(told.kills, items=False):
            found = index.candidates(killmail)
            wanted = [each.tracker_id for each in known if each.filter.matches(killmail)]
            assert [each.tracker_id for each in found if each.filter.matches(killmail)] == wanted
            assert all(each.filter != filters[9] for each in found), "nobody is one of none"
