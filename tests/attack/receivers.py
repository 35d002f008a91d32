"""Attacks on those who wait for webhooks: receivers that take their time, told by a worker of its own process."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable

from tests.attack.target import Attack, Outcome, Target
from tests.support.receiver import Received, receiving

#: Receivers on this host.
PRIVATE: dict[str, str] = {"WEBHOOK_ALLOW_PRIVATE": "1"}
#: Receivers of the attacker: as many as an account may have.
SLOW = 20
#: Longer than a delivery waits for an answer, seconds.
NEVER = 40.0
#: The longest that the other account waits to be told, seconds.
LONGEST = 8.0


async def _webhooks(target: Target, number: int, url: str, how_many: int) -> None:
    player = await target.player(number)
    form = {"name": "all", "kind": "json", "url": f"{url}/hook", "attackers-from": "1", "age": "604800"}

    async def add() -> None:
        async with player.browser.post(f"{target.url}/webhooks", data=form) as answer:
            assert answer.status == 201, await answer.text()

    await asyncio.gather(*(add() for _ in range(how_many)))
    await player.browser.close()


def _told_at(received: list[Received], killmail_id: int) -> float | None:
    """When a killmail was told of, by this process's clock."""
    return next((each.at for each in tuple(received) if str(killmail_id).encode() in each.body), None)


async def _until(condition: Callable[[], object], seconds: float) -> None:
    ends = time.monotonic() + seconds
    while not condition() and time.monotonic() < ends:
        await asyncio.sleep(0.02)


async def slow_receivers(target: Target) -> Outcome:
    """Twenty of one account, with a backlog, that never answer in time; and one of another account."""
    run = asyncio.get_running_loop().run_in_executor
    await run(None, target.place.start_worker, "webhooks", 1, 8)
    waited: list[float] = []
    try:
        with receiving() as slow, receiving() as quick:
            slow.pause = NEVER
            await _webhooks(target, 0, slow.url, SLOW)
            await run(None, target.store_one, 2)
            await _until(lambda: len(slow.requests) >= 2, 30)
            asked = len(slow.requests)
            await _webhooks(target, 1, quick.url, 1)
            for _ in range(2 if target.short else 6):
                killmail_id = await run(None, target.store_one, 2)
                began = time.monotonic()
                await _until(lambda number=killmail_id: _told_at(quick.requests, number), 60)
                waited.append((_told_at(quick.requests, killmail_id) or time.monotonic()) - began)
    finally:
        await run(None, target.place.stop, "webhooks", signal.SIGKILL)
    outcome = Outcome(f"told after {max(waited):.1f} s at most, while {SLOW} receivers of another do not answer")
    outcome.expect(asked >= 2, "the slow ones were not asked")
    outcome.expect(max(waited) <= LONGEST, f"one waited for {max(waited):.1f} s")
    return outcome


ATTACKS = (Attack("Twenty receivers that never answer", "another account's webhook waited for 95 s", slow_receivers),)
