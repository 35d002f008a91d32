"""No secret leaves: everything a full run produced is searched for every token the SSO ever issued."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pika

from simulator.faults import Fault
from tests.support.deployment import CLIENT, wait_until
from tests.support.player import Player

#: The secret part of a webhook's address.
WEBHOOK = "b7Kq0-webhook-token-Zx81"
QUEUES = (
    "esi_enqueue_queue", "esi_user_killmails_queue", "esi_killmail_details_queue", "esi_enrichment_queue",
    "notifications_queue",
)  # fmt: skip


def messages(place: Any) -> bytes:
    """Every message that waits in any queue, with its properties."""
    connection = pika.BlockingConnection(pika.URLParameters(place.settings["BROKER_URL"]))
    channel = connection.channel()
    found = b""
    for queue in QUEUES:
        for name in (queue, f"{queue}.DQ", f"{queue}.XQ"):
            try:
                while True:
                    method, properties, body = channel.basic_get(name)
                    if method is None:
                        break
                    found += body + repr(properties).encode()
            except pika.exceptions.ChannelClosedByBroker:
                channel = connection.channel()
    connection.close()
    return found


def database(place: Any) -> bytes:
    """Every row of every table as text."""
    found = b""
    for (table,) in place.sql("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'"):
        for (row,) in place.sql(f"SELECT t::text FROM {table} t"):
            found += row.encode() + b"\n"
    return found


async def bodies(place: Any, player: Player) -> bytes:
    """What the web server answers, to the owner of the tokens and with faults."""
    found = b""
    async with aiohttp.ClientSession() as http:
        for path in ("/", "/ops", "/webhooks", "/metrics", "/readyz", "/healthz", "/auth/callback?code=x&state=y"):
            for session in (http, player.browser):
                async with session.get(place.url + path) as answer:
                    found += await answer.read()
    for query in (
        "{ me { id characterName status } syncRuns { edges { node { id error } } } workerStatus { queueName } }",
        "{ __schema { types { name fields { name } } } }",
        '{ killmails(after: "x") { edges { cursor } } }',
        'mutation { submitKillmail(url: "https://evil.example/") { id } }',
        "mutation { syncMyKillmails { id error } }",
    ):
        found += repr(await player.graphql(query)).encode()
    return found


async def test_no_token_is_in_any_log_message_table_or_answer(deployment: Any) -> None:
    place = deployment({"kills": (30, 20, 10), "access_token_seconds": 100.0}, LOG_LEVEL="DEBUG")
    place.start_web()
    produced = b""
    pilots = [pilot.character_id for pilot in place.simulated.simulator.universe.demo_characters]
    async with Player(place.url) as player:
        assert (await player.log_in(pilots[0])).status == 302
        for pilot in pilots[1:]:
            assert (await player.add(pilot)).status == 302
        hook = {"name": "w", "kind": "json", "url": f"https://webhook.invalid/{WEBHOOK}", "mine": "1", "age": "604800"}
        async with player.browser.post(f"{place.url}/webhooks", data=hook) as answer:
            assert answer.status == 201
        queued = messages(place)
        assert b"sync_user_killmails" in queued and b"user_id" in queued
        produced += queued
        place.command("killsync", "queue", "user-killmails")
        place.start_worker()
        place.start_scheduler()
        wait_until(
            lambda: place.sql("SELECT count(*) FROM sync_run WHERE status = 'succeeded'")[0][0] >= 3, "syncs end"
        )
        # Refreshes that succeed, fail and are refused; a list that refuses the token; an SSO that answers nonsense.
        for fault in (Fault("/v2/oauth/token", "status", 500, count=2), Fault("/v2/oauth/token", "html", 502, count=1),
                      Fault("/characters/*", "status", 403, count=2), Fault("/v2/oauth/token", "cut", count=1)):  # fmt: skip
            place.simulated.call(lambda simulator, fault=fault: simulator.faults.append(fault))
            place.simulated.call(lambda simulator: simulator.drop_caches())
            place.sql("UPDATE list_page SET expires_at = now() - interval '1 hour'")
            place.command("killsync", "queue", "user-killmails")
            produced += await bodies(place, player)
            await asyncio.sleep(2)
        place.simulated.call(lambda simulator: simulator.sso.revoke_character(pilots[0]))
        place.sql('UPDATE "user" SET expires_at = now()')
        place.command("killsync", "queue", "user-killmails", check=False)
        await asyncio.sleep(2)
        produced += await bodies(place, player)
        for command in (
            ["killsync", "status"],
            ["killsync", "status", "--json"],
            ["killsync", "doctor"],
            ["killsync", "ledger"],
        ):
            done = place.command(*command, check=False)
            produced += (done.stdout + done.stderr).encode()
    for number in range(20):
        if len(place.simulated.call(lambda simulator: list(simulator.sso.issued))) > 8:
            break
        place.simulated.call(lambda simulator: (simulator.faults.clear(), simulator.drop_caches()))
        place.sql("UPDATE list_page SET expires_at = now() - interval '1 hour'")
        place.command("killsync", "queue", "user-killmails", "--character", str(pilots[1 + number % 2]))
        await asyncio.sleep(1)
    place.stop_all()
    produced += messages(place) + database(place) + place.logs().encode()
    issued = place.simulated.call(lambda simulator: list(simulator.sso.issued))
    assert len(issued) > 8 and len(produced) > 100_000
    assert b"token refreshed" in produced, "the debug log was on"
    assert b"webhook not delivered" in produced, "the webhook was tried"
    secrets = [WEBHOOK, *issued, CLIENT[1], *place.settings["SECRET_KEYS"].split(",")]
    for secret in secrets:
        assert secret.encode() not in produced, "a secret was found where none may be"
        signature = secret.rsplit(".", 1)[-1]
        assert signature.encode() not in produced, "a part of a token was found"
