"""Attacks of one person on others: logins, budgets, calls that hang, and whatever can be typed."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp

from simulator.faults import Fault
from tests.attack.target import Attack, Outcome, Target, judged


async def _hanging(target: Target, path: str, ask: Any) -> Outcome:
    """Eight calls that wait for somebody else; pages wait for nobody."""
    seconds = 2.0 if target.short else 25.0
    target.simulated.call(lambda simulator: simulator.faults.append(Fault(path, "latency", seconds=seconds)))
    player = await target.player()
    try:
        with target.watched() as cost:
            calls = [asyncio.ensure_future(ask(player, number)) for number in range(8)]
            await asyncio.sleep(seconds)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
    finally:
        target.simulated.call(lambda simulator: simulator.faults.clear())
        await player.browser.close()
    return judged(cost)


async def hanging_submissions(target: Target) -> Outcome:
    esi = target.simulated.url

    async def ask(player: Any, number: int) -> None:
        link = f"{esi}/killmails/{800_000_000 + number}/{number:040x}/"
        await player.graphql(f'mutation {{ submitKillmail(url: "{link}") {{ id }} }}')

    return await _hanging(target, "/killmails/", ask)


async def hanging_disconnects(target: Target) -> Outcome:
    async def ask(player: Any, _number: int) -> None:
        await player.graphql("mutation { disconnect }")

    return await _hanging(target, "/v2/oauth/revoke", ask)


async def bogus(target: Target) -> Outcome:
    """Killmails that are none, at the rate that mutations are allowed."""
    player = await target.player(1)
    esi, taken, number = target.simulated.url, 0, 28
    for turn in range(number):
        link = f"{esi}/killmails/{700_000_000 + turn}/{turn:040x}/"
        answer = await player.graphql(f'mutation {{ submitKillmail(url: "{link}") {{ id }} }}')
        taken += answer["errors"][0]["extensions"]["code"] != "RATE_LIMITED"
    await player.browser.close()
    tokens = taken * 5 + 13 * 10
    outcome = Outcome(
        f"{taken} of {number} were asked for; an account spends some {tokens} tokens in 15 minutes at most"
    )
    outcome.expect(taken <= 12, f"{taken} were asked for")
    return outcome


async def after_logout(target: Target) -> Outcome:
    """A socket that was opened before the logout."""
    player = await target.player(1)
    opened = await player.browser.ws_connect(f"{target.url}/graphql", protocols=("graphql-transport-ws",))
    await opened.send_json({"type": "connection_init"})
    await opened.receive_json(timeout=5)
    await player.browser.post(f"{target.url}/auth/logout", allow_redirects=False)
    began = time.monotonic()
    message = await opened.receive(timeout=5)
    outcome = Outcome(f"closed after {1_000 * (time.monotonic() - began):.0f} ms")
    outcome.expect(message.type is aiohttp.WSMsgType.CLOSE, "the socket stayed open")
    await player.browser.close()
    return outcome


async def absurd_webhook(target: Target) -> Outcome:
    """An age limit beyond any calendar."""
    player = await target.player(1)
    form = {
        "name": "x",
        "kind": "json",
        "url": "https://example.org/hook",
        "mine": "1",
        "age": "9" * 12,
    }
    async with player.browser.post(f"{target.url}/webhooks", data=form) as answer:
        outcome = Outcome(f"refused ({answer.status})")
        outcome.expect(answer.status == 400, f"answered {answer.status}")
    await player.browser.close()
    return outcome


ODD = (
    ("GET", "/?after=MDAwMS0wMS0wMVQwMDowMDowMCsyMzo1OXwx", {}, None),
    ("GET", "/killmails/rows?ids=" + "9" * 30, {}, None),
    ("GET", "/characters/" + "9" * 25, {}, None),
    ("GET", "/search?q=%00%ff", {}, None),
    ("POST", "/graphql", {"Content-Type": "application/json"}, b'{"query": "{ killmail(id: [1]) { id } }"}'),
    ("POST", "/graphql", {"Content-Type": "application/json"}, b'{"query": "mutation { disconnect }", "x": "\\ud800"}'),
    ("POST", "/auth/logout", {"Origin": "http://["}, b""),
    ("POST", "/me/sync", {"Content-Type": "application/x-www-form-urlencoded; charset=nonsense"}, b"character=1"),
    (
        "POST",
        "/webhooks",
        {"Content-Type": "application/x-www-form-urlencoded"},
        b"name=%00&kind=json&character=%ff%00",
    ),
    ("POST", "/auth/delete-account", {"Content-Type": "multipart/form-data; boundary="}, b"\xff"),
)


async def typed(target: Target) -> Outcome:
    player = await target.player(1)
    statuses = []
    for method, path, headers, body in ODD:
        async with player.browser.request(
            method, target.url + path, headers=headers, data=body, allow_redirects=False
        ) as answer:
            text = await answer.text(errors="replace")
            statuses.append(500 if "INTERNAL_ERROR" in text else answer.status)
    await player.browser.close()
    outcome = Outcome(f"{sum(status >= 500 for status in statuses)} of {len(ODD)} end in an error of the server")
    outcome.expect(max(statuses) < 500, f"answers {statuses}")
    return outcome


ATTACKS = (
    Attack("Eight `submitKillmail` while ESI hangs", "`/` took 29 s", hanging_submissions),
    Attack("Eight `disconnect` while EVE SSO hangs", "`/` took 13 s", hanging_disconnects),
    Attack("`submitKillmail` of what is no killmail", "2,400 of ESI's 3,600 tokens in 15 minutes", bogus),
    Attack("A WebSocket after the logout", "logged in for 10 s, and could `disconnect`", after_logout),
    Attack("A webhook with an absurd age limit", "everybody's webhooks stopped", absurd_webhook),
    Attack("Odd numbers, cursors, origins, forms", "500 with a traceback, six kinds", typed),
)
