"""Faults of ESI and of EVE's login."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from killsync.sso.refresh import MARGIN
from simulator import Fault as Trouble
from tests.chaos.play import Fault, Stage
from tests.support.deployment import wait_until

#: Tokens that are renewed after six seconds.
SHORT_TOKENS = {"access_token_seconds": MARGIN.total_seconds() + 6.0}


def trouble(stage: Stage, seconds: float, *troubles: Trouble) -> None:
    """Have ESI or the SSO make trouble for some seconds."""
    stage.sim(lambda simulator: simulator.faults.extend(troubles))
    time.sleep(seconds)
    stage.sim(lambda simulator: [simulator.faults.remove(each) for each in troubles if each in simulator.faults])


def downtime(stage: Stage) -> None:
    """Ten minutes on the simulated clock, which runs twenty times as fast."""
    began = stage.sim(lambda simulator: simulator.clock.now())
    stage.sim(lambda simulator: setattr(simulator, "is_down", True))
    wait_until(lambda: stage.sim(lambda simulator: simulator.clock.now()) - began >= 600, "ten minutes pass", 60)
    stage.sim(lambda simulator: setattr(simulator, "is_down", False))


def half_502(stage: Stage) -> None:
    trouble(stage, 20, Trouble("*killmails*", "html", 502, probability=0.5))


def right_hashes_refused(stage: Stage) -> None:
    """422 for right hashes; then two hours pass, as the ledger sees them."""
    stage.sim(lambda simulator: simulator.faults.append(Trouble("/killmails/*", "status", 422, count=40)))
    world = stage.world
    refused = "SELECT count(*) FROM killmail_ref WHERE refused_at IS NOT NULL"
    wait_until(lambda: world.sql(refused)[0][0] >= 40, "forty are refused", 60)
    assert world.sql("SELECT count(*) FROM killmail_ref WHERE state = 'invalid'") == [(0,)]
    world.sql(
        "UPDATE killmail_ref SET due_at = due_at - interval '2 hours', refused_at = refused_at - interval '2 hours' "
        "WHERE refused_at IS NOT NULL AND state = 'pending'"
    )


def error_limited(stage: Stage) -> None:
    trouble(stage, 5, Trouble("/killmails/*", "status", 420, count=3))


def rate_limited(stage: Stage) -> None:
    trouble(stage, 15, Trouble("*killmails*", "no headers 429", probability=0.3))


def bodies_cut(stage: Stage) -> None:
    trouble(stage, 15, Trouble("*", "cut", probability=0.3))


def slow(stage: Stage) -> None:
    trouble(stage, 25, Trouble("*killmails*", "latency", seconds=20.0))


def sso_down(stage: Stage) -> None:
    trouble(stage, 20, Trouble("/v2/oauth/token", "html", 502), Trouble("/.well-known/*", "html", 502))
    _refreshes_go_on(stage)


def refresh_500(stage: Stage) -> None:
    trouble(stage, 20, Trouble("/v2/oauth/token", "status", 500))
    _refreshes_go_on(stage)


def _refreshes_go_on(stage: Stage) -> None:
    before = stage.sim(lambda simulator: simulator.sso.refreshes)
    wait_until(lambda: stage.sim(lambda simulator: simulator.sso.refreshes) > before, "a token is refreshed again", 90)
    assert stage.world.sql("SELECT count(*) FROM \"user\" WHERE status <> 'active'") == [(0,)]


def revoked(stage: Stage) -> None:
    """A player takes every token back while the list is walked, and logs in again later: the doubt ends with that."""
    world = stage.world
    pilot = world.pilots[0]
    stage.sim(lambda simulator: simulator.sso.revoke_character(pilot))
    state: tuple[Any, ...] = (pilot,)
    refused = 'SELECT status, refusals FROM "user" WHERE character_id = %s'
    wait_until(lambda: world.sql(refused, state) == [("active", 1)], "the token is doubted", 60)
    time.sleep(3)
    asyncio.run(world.log_in(pilot))


FAULTS = (
    Fault("ESI down for 10 minutes", "nothing is counted against anybody; goes on afterwards",
          "503 everywhere for 10 simulated minutes at 20-fold speed", downtime,
          config={"speed": 20.0, "list_cache_seconds": 60.0}, hooks={"CHAOS_FAST": "{started!r}:20.0"}, seconds=180),
    Fault("half of all answers are 502", "everything comes in the end", "every second killmail request for 20 s",
          half_502, seconds=180),
    Fault("422 for right hashes", "asked again two hours later, never called invalid",
          "40 right hashes refused; the ledger set two hours back", right_hashes_refused, counted=True),
    Fault("420, the error limit", "nothing is sent before its reset", "420 three times, up to 60 s each", error_limited,
          seconds=180),
    Fault("429 without headers", "waits as long as asked", "30 % of requests for 15 s", rate_limited, seconds=120),
    Fault("bodies cut short", "asked again", "30 % of all answers for 15 s", bodies_cut, seconds=180),
    Fault("answers after 20 s", "waits, asks nothing twice", "each killmail request for 25 s", slow, seconds=120),
    Fault("EVE SSO down", "tokens are kept; syncs wait", "502 for 20 s, with tokens that need a refresh", sso_down,
          config=SHORT_TOKENS, seconds=120),
    Fault("refreshes answered 500", "tokens are kept; syncs wait", "500 for 20 s", refresh_500, config=SHORT_TOKENS,
          seconds=120),
    Fault("tokens revoked in a walk", "the walk goes on after the next login", "every token revoked, login 3 s later",
          revoked, config={"latency": 0.1}),
)  # fmt: skip
