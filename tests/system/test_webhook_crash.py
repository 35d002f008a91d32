"""Webhooks on RabbitMQ with workers that are killed: every killmail is told at least once, in order."""

from __future__ import annotations

import signal
from typing import Any

from killsync.sso.vault import Vault
from tests.support.deployment import wait_until
from tests.support.player import Player
from tests.support.receiver import receiving


async def test_a_killed_worker_loses_no_delivery_and_the_order_holds(deployment: Any) -> None:
    place = deployment({"kills": (60, 5, 5)}, WEBHOOK_ALLOW_PRIVATE="1")
    place.start_web()
    pilot = place.simulated.simulator.universe.demo_characters[0].character_id
    with receiving() as receiver:
        receiver.pause = 0.1
        receiver.script += [500, 204, "reset", 204, 204]
        async with Player(place.url) as player:
            assert (await player.log_in(pilot)).status == 302
        vault = Vault((place.settings["SECRET_KEYS"],))
        wants = '{"mine":true,"maxAgeSeconds":7776000}'
        place.sql(
            "INSERT INTO webhook (account_id, name, kind, url, url_hint) "
            "SELECT account_id, 'w', 'discord', %s, '…' FROM \"user\"",
            (vault.encrypt(f"{receiver.url}/hook?wait=true"),),
        )
        place.sql("INSERT INTO tracker (webhook_id, name, wants) SELECT id, 'w', %s FROM webhook", (wants,))
        place.start_worker("first", processes=1, threads=4)
        place.start_scheduler()
        wait_until(lambda: len(receiver.taken()) >= 12, "the first are told", 60)
        place.stop("first", signal.SIGKILL)
        place.start_worker("second", processes=1, threads=4)
        waiting = "SELECT count(*) FROM webhook_delivery WHERE ended_at IS NULL"
        wait_until(
            lambda: place.sql("SELECT count(*) FROM webhook_delivery") == [(60,)] and place.sql(waiting) == [(0,)],
            "all are told", 90,
        )  # fmt: skip
        told = [int(each.json["embeds"][0]["footer"]["text"].rsplit(" ", 1)[1]) for each in receiver.taken()]
        assert all(each.path == "/hook?wait=true" for each in receiver.requests)
    order = [number for (number,) in place.sql("SELECT killmail_id FROM webhook_delivery ORDER BY id")]
    assert list(dict.fromkeys(told)) == order, "each is told, in order"
    assert len(told) <= 60 + 2, "only what was under way at the kill may be told twice"
    assert place.sql(
        "SELECT count(*) FROM webhook_delivery d LEFT JOIN killmail k USING (killmail_id) WHERE k IS NULL"
    ) == [(0,)]
    logged = place.logs()
    assert receiver.url not in logged and "/hook" not in logged, "an address is a secret"
    assert "Traceback" not in logged
