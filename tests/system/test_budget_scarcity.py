"""Order when ESI's budget is short: what just happened goes before history, however much history waits."""

from __future__ import annotations

import asyncio
import statistics
from typing import Any

import pytest

from killsync.killmails import ledger
from models import connection
from models.sql import rows
from tests.support.deployment import wait_until
from tests.support.player import Player

#: Ten lists of 2,000 killmails, in pages as large as ESI's older documents allowed.
HISTORY = {"kills": (2000,) * 10, "page_size": 1000, "list_cache_seconds": 1.0, "latency": 0.02}


def test_a_claim_takes_the_fresh_before_history_priority_first_and_the_newest_first(settings: Any) -> None:
    with connection():
        for fetch_priority in (ledger.BACKLOG, ledger.BACKLOG_PRIORITY, ledger.FRESH, ledger.FRESH_PRIORITY):
            refs = [(1000 * (fetch_priority + 1) + number, "a" * 40) for number in range(3)]
            ledger.record_page(1, None, refs, fetch_priority)
        assert ledger.claim(4, backlog=False) == [1002, 1001, 1000, 2002]
        assert ledger.claim(9, backlog=False) == [2001, 2000]
        assert ledger.claim(4, backlog=True) == [3002, 3001, 3000, 4002]


def test_history_becomes_urgent_when_it_is_news_to_another_list_and_not_when_its_own_names_it_again(
    settings: Any,
) -> None:
    with connection():
        history = [(number, "a" * 40) for number in range(1, 50)]
        ledger.record_page(1, None, history, ledger.BACKLOG)
        ledger.record_page(1, None, history, ledger.FRESH)
        assert ledger.claim(5, backlog=False) == []
        ledger.record_page(2, None, [(7, "a" * 40)], ledger.FRESH_PRIORITY)
        assert ledger.claim(5, backlog=False) == [7]
        assert rows("SELECT count(*) FROM killmail_ref") == [(49,)]


def delay_of(place: Any, killmail_id: int) -> float:
    """Seconds from the moment a list named the killmail to the moment it was stored; waits for that."""
    found = (
        "SELECT extract(epoch FROM k.created_at - r.discovered_at) FROM killmail k JOIN killmail_ref r "
        "ON r.killmail_id = k.killmail_id WHERE k.killmail_id = %s"
    )
    wait_until(lambda: place.sql(found, (killmail_id,)), "the fresh killmail is stored", 30)
    return float(place.sql(found, (killmail_id,))[0][0])


@pytest.mark.slow
async def test_a_backlog_of_twenty_thousand_delays_a_fresh_killmail_by_a_few_seconds(deployment: Any) -> None:
    place = deployment(HISTORY, LOG_LEVEL="INFO")
    place.start_web()
    place.start_worker(threads=8)
    place.start_scheduler()
    pilots = [pilot.character_id for pilot in list(place.simulated.simulator.universe.characters.values())[:10]]
    async with Player(place.url) as player:
        assert (await player.log_in(pilots[0])).status == 302
        for pilot in pilots[1:]:
            assert (await player.add(pilot)).status == 302
        wait_until(lambda: place.sql("SELECT count(*) FROM killmail_ref")[0][0] >= 15_000, "the lists are read", 60)
        delays = []
        for pilot in pilots[:6]:
            kill = place.simulated.call(
                lambda sim, pilot=pilot: (sim.new_kill(pilot, kind="solo"), sim.drop_caches())[0]
            )
            place.sql("UPDATE list_page SET expires_at = NULL WHERE page = 1")
            await player.data("mutation ($who: ID) { syncMyKillmails(characterId: $who) { id } }", who=str(pilot))
            delays.append(await asyncio.to_thread(delay_of, place, kill.killmail_id))
            await asyncio.sleep(1.5)
    waiting, stored = place.sql(
        "SELECT (SELECT count(*) FROM killmail_ref WHERE state = 'pending'), count(*) FROM killmail"
    )[0]
    print(f"{waiting} wait, {stored} stored; delays of fresh killmails: {[round(delay, 2) for delay in delays]}")
    assert waiting > 10_000, "the backlog lasted"
    assert statistics.median(delays) < 5
    told_off = place.simulated.call(lambda sim: [key for key in sim.esi.answers if key[1] in (420, 429)])
    assert told_off == []
