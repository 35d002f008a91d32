"""The operator's dashboard: who may see it, what it says is wrong, and that its charts tell the figures of the tables."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import peewee
import pytest

from killsync.leases import acquire
from killsync.observability import counters, diagnosis, overview, queries
from killsync.observability.counters import Figure
from killsync.observability.figures import Overview
from killsync.web.pages.ops_charts import BARS, charts, span
from models import connection, utcnow
from models.db import in_transaction
from models.fields import to_text
from models.sql import insert_rows, rows, run, sql_now
from tests.support.deployment import wait_until
from tests.support.player import Player
from tests.support.web_server import fill, new_universe, served

NOW = datetime(2026, 3, 4, 12, 30, 30, tzinfo=UTC)

WELL: dict[str, Any] = {
    "queues": [{"queue_name": name, "message_count": 0, "consumer_count": 2, "dead_count": 0} for name in ("a", "b")],
    "broker_in_memory": False, "database_ms": 1.0, "scheduler_seen_seconds": 5, "late_users": 0, "latest_seconds": None,
    "users": {"active": 9, "needs_login": 1, "disabled": 0}, "budgets": [{"bucket": "killmail", "blocked_seconds": 0}],
    "gate": {"blocked_seconds": 0}, "oldest_pending": None,
    "rates": {"requests_last_quarter": 100, "failures_last_quarter": 1, "errors_last_hour": {"429": 0, "420": 0}},
    "webhooks": {"oldest_seconds": None, "waiting": 0, "failing": 0, "active": 1},
}  # fmt: skip


def overview_of(data: dict[str, Any]) -> Overview:
    return msgspec.convert(data, Overview)


def test_nothing_is_wrong_when_all_is_well() -> None:
    assert diagnosis.problems(overview_of(WELL)) == []


@pytest.mark.parametrize(
    ("change", "name", "says"),
    [
        ({"broker": "RabbitMQ at host does not answer", "queues": []}, "broker", "Start RabbitMQ"),
        ({"queues": [{**each, "consumer_count": 0} for each in WELL["queues"]]}, "no workers", "dramatiq actors"),
        ({"queues": [{**WELL["queues"][0], "consumer_count": 0}, WELL["queues"][1]]}, "queue unread", "messages from a."),
        ({"queues": [{**WELL["queues"][0], "dead_count": 3}, WELL["queues"][1]]}, "dead letters", "3 in a"),
        ({"scheduler_seen_seconds": 300}, "no scheduler", "for 5 minutes"),
        ({"scheduler_seen_seconds": None}, "no scheduler", "ever ticked"),
        ({"database_ms": 900.0}, "database slow", "900 ms"),
        ({"gate": {"blocked_seconds": 40}}, "ESI away", "for 40 s"),
        ({"budgets": [{"bucket": "killmail|ip:x", "blocked_seconds": 700}]}, "budget blocked", "11 minutes on killmail|ip:x"),
        ({"syncs": {"looked_at": 5, "failing": 5, "failing_reason": "no scope"}}, "syncs failing", "5 of 5 lists failed: no scope."),
        ({"syncs": {"looked_at": 5, "failing": 1, "failing_reason": "x"}}, "syncs failing", "1 of 5"),
        ({"syncs": {"looked_at": 3, "waiting": 2, "waiting_reason": "ESI"}}, "syncs waiting", "2 of 3 lists wait: ESI."),
        ({"character_budgets": {"known": 3, "blocked": 2, "empty": 0}}, "characters blocked", "2 of 3 characters"),
        ({"users": {"active": 1, "needs_login": 1, "disabled": 0}}, "logins needed", "1 of 2"),
        ({"rates": {**WELL["rates"], "requests_last_quarter": 5, "failures_last_quarter": 5}}, "ESI failing", "5 of 5"),
        ({"late_users": 1, "latest_seconds": 9_000}, "users late", "1 users wait"),
        ({"late_users": 7, "latest_seconds": 9_000}, "users late", "7 users wait for their sync, up to 2 hours"),
        ({"users": {"active": 5, "needs_login": 5, "disabled": 0}}, "logins needed", "5 of 10"),
        ({"sso": {"doubted": 5}}, "tokens doubted", "tokens of 5 of 9"),
        ({"sso": {"doubted": 9, "trouble_seconds": 90}}, "SSO refuses", "for 90 s"),
        (
            {"names": {"trouble": ["characters"], "trouble_seconds": 9000, "unnamed": 12}},
            "names in trouble",
            "characters for 2 hours",
        ),
        ({"rates": {**WELL["rates"], "failures_last_quarter": 60}}, "ESI failing", "60 of 100"),
        ({"rates": {**WELL["rates"], "errors_last_hour": {"429": 2, "420": 1}}}, "rate limited", "3 requests"),
        ({"webhooks": {"oldest_seconds": 1000, "waiting": 4, "failing": 0, "active": 2}}, "webhooks late", "4 webhook"),
        ({"oldest_pending": {"killmail_id": 5, "seconds": 90_000, "last_error": "odd"}}, "killmail stuck", "5 has waited 25 h"),
    ],
)  # fmt: skip
def test_each_thing_that_is_wrong_is_named_with_what_to_do(change: dict[str, Any], name: str, says: str) -> None:
    found = diagnosis.problems(overview_of({**WELL, **change}))
    assert [problem.name for problem in found] == [name]
    assert says in f"{found[0].text} {found[0].what_to_do}"
    assert found[0].what_to_do.endswith((".", "it."))


def test_single_lists_of_a_great_board_are_every_days_business() -> None:
    great = {"active": 5_000, "needs_login": 20, "disabled": 0}
    for change in (
        {"syncs": {"looked_at": 500, "failing": 9, "failing_reason": "x", "waiting": 30, "waiting_reason": "y"}},
        {"character_budgets": {"known": 500, "blocked": 3, "empty": 20}}, {"late_users": 40, "latest_seconds": 300},
    ):  # fmt: skip
        assert diagnosis.problems(overview_of({**WELL, "users": great, **change})) == []


def test_the_newest_sync_of_each_list_counts(settings: Any) -> None:
    def enter(user: int, status: str, error: str | None, age: float, kind: str = "character") -> None:
        run(
            "INSERT INTO sync_run (user_id, kind, status, error, started_at, walked, pages, found, saved, skipped, errors, "
            "esi_requests, esi_tokens) VALUES (%s, %s, %s, %s, %s, 0, 0, 0, 0, 0, 0, 0, 0)",
            (user, kind, status, error, to_text(utcnow() - timedelta(seconds=age))),
        )

    with connection():
        enter(1, "failed", "an old one", 900)
        enter(1, "succeeded", None, 600)
        enter(2, "failed", "no scope", 600)
        enter(3, "waiting", "ESI", 300)
        enter(3, "failed", "no role", 200, "corporation")
        enter(4, "waiting", "for a moment", 5)
        enter(5, "failed", "long ago", 2 * 86_400)
        found = queries.syncs()
    assert (found.looked_at, found.failing, found.waiting) == (5, 2, 1)
    assert found.waiting_reason == "ESI" and found.failing_reason in ("no scope", "no role")


def test_rates_are_of_whole_minutes() -> None:
    this = NOW.replace(second=0)
    found = [
        *((this - timedelta(minutes=back), counters.KILLMAILS, "", 10) for back in range(0, 70)),
        (this - timedelta(minutes=2), counters.REQUESTS, "character killmails|304", 30),
        (this - timedelta(minutes=3), counters.REQUESTS, "character killmails|2xx", 10),
        (this - timedelta(minutes=20), counters.REQUESTS, "killmail|5xx", 5),
        (this - timedelta(minutes=3), counters.TOKENS, "killmail", 20),
    ]
    rates = overview.rates([Figure(*each) for each in found], NOW)
    assert rates.killmails_per_minute == 10 and rates.killmails_last_hour == 600
    assert rates.unchanged_share == 0.75 and rates.requests_per_minute == 8 and rates.tokens_last_hour == 20
    assert rates.errors_last_hour["5xx"] == 5 and rates.failures_last_quarter == 0


@pytest.mark.parametrize("hours", [1, 6, 24])
def test_a_chart_draws_means_by_the_minute_and_levels_at_their_highest(settings: Any, hours: int) -> None:
    this = NOW.replace(second=0)
    names = (counters.KILLMAILS, counters.PENDING)
    values = [(to_text(this - timedelta(minutes=back)), name, "", 6) for back in range(hours * 60) for name in names]
    with connection():
        in_transaction(lambda: insert_rows("tally", ("minute", "name", "detail", "number"), values))
        found = counters.slices(*span(NOW, hours))
    assert {(total, highest) for _, _, _, total, highest in found} == {(6 * hours, 6)}
    drawn = {chart.title: chart for chart in charts(found, NOW, hours)}
    for title in ("Killmails stored", "Killmails still to fetch"):
        bars = drawn[title].bars
        assert len(bars) == BARS and all(len(bar.pieces) == 1 for bar in bars)
        assert {bar.pieces[0].height for bar in bars} == {60.0}, "6 of 10"
        assert drawn[title].top == "10" and "last 6" in drawn[title].summary
    assert drawn["Webhook messages"].is_empty


def test_what_is_sampled_is_what_the_tables_hold_however_often(settings: Any) -> None:
    universe = new_universe(kills=(6,), characters=8)
    ids = fill(universe)
    with connection():
        run("UPDATE killmail_ref SET state = 'pending' WHERE killmail_id = %s", (ids[0],))
        run(
            "INSERT INTO \"user\" (character_id, character_name, next_sync_at) VALUES (1, 'Late', %s)",
            ("2020-01-01 00:00:00+00:00",),
        )
        for _ in range(3):
            counters.record_snapshot()
        sums = dict(rows("SELECT name, sum(number) FROM tally WHERE name = 'killmails' GROUP BY name"))
        assert sums == {"killmails": len(ids)}
        assert {
            number for _, name, _, number in counters.since(utcnow() - timedelta(minutes=5)) if name == counters.PENDING
        } == {1}
        assert {
            number for _, name, _, number in counters.since(utcnow() - timedelta(minutes=5)) if name == counters.LATE
        } == {1}
        run(f"UPDATE tally SET minute = {sql_now(-3 * 86_400)} WHERE name = 'late users'")
        assert in_transaction(counters.prune) >= 1


@pytest.fixture
async def place(settings: Any, against: Any, simulated: Any) -> AsyncIterator[Any]:
    handle = simulated(kills=(5, 5), characters=12)
    pilots = [pilot.character_id for pilot in handle.simulator.universe.demo_characters]
    async with (
        served(against(handle, ADMIN_CHARACTER_IDS=str(pilots[0]))) as url,
        Player(url) as admin,
        Player(url) as other,
    ):
        assert (await admin.log_in(pilots[0])).status == 302
        assert (await other.log_in(pilots[1])).status == 302
        yield admin, other
    import dramatiq

    dramatiq.get_broker().flush_all()


async def get(player: Player, path: str) -> tuple[int, str, Any]:
    async with player.browser.get(player.url + path) as answer:
        return answer.status, await answer.text(), answer.headers


async def test_the_dashboard_is_for_admins_and_says_what_is_wrong_first(
    place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from killsync.web.pages import ops

    monkeypatch.setattr(ops, "KEEP_SECONDS", 0.0)
    admin, other = place
    status, page, _ = await get(other, "/ops")
    assert status == 403 and "ADMIN_CHARACTER_IDS" in page and "Queues" not in page
    fill(new_universe(kills=(4,), characters=8))
    with connection():
        counters.record_snapshot()
        counters.add(counters.REQUESTS, "killmail|2xx", 4)
        counters.flush()
        for number in range(4):
            run(
                "INSERT INTO \"user\" (character_id, character_name, status) VALUES (%s, '<b>Gone</b>', 'needs_login')",
                (number,),
            )
        run(f'INSERT INTO sync_run (user_id, started_at) SELECT id, {sql_now()} FROM "user" WHERE character_id = 1')
        for number, until in ((98_000_001, sql_now(600)), (98_000_002, "NULL")):
            run(
                "INSERT INTO corporation_feed (corporation_id, user_id, next_sync_at, works_until) "
                f'VALUES (%s, (SELECT min(id) FROM "user"), {sql_now()}, {until})',
                (number,),
            )
    _, figures, _ = await get(admin, "/metrics")
    assert 'killsync_corporation_lists{state="read"} 1.0' in figures
    assert 'killsync_corporation_lists{state="unread"} 1.0' in figures
    status, page, headers = await get(admin, "/ops")
    assert status == 200 and headers["Cache-Control"] == "no-store"
    assert "unsafe-inline" not in headers["Content-Security-Policy"]
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", page), "nothing inline"
    assert "things need a look" in page and "No scheduler has ever ticked here" in page
    assert "4 of 6 users have to log in again" in page
    assert "&lt;b&gt;Gone" in page and "<b>Gone" not in page
    for part in (
        "esi_user_killmails",
        "Ledger",
        "Last syncs",
        "Webhooks",
        "killmails",
        "<svg",
        "4 stored",
        "Corporation lists",
        "98000002",
    ):
        assert part in page, part

    with connection():
        assert acquire("scheduler", "me", 60)
        run("DELETE FROM sync_run")
        run("DELETE FROM \"user\" WHERE status = 'needs_login'")
    status, page, _ = await get(admin, "/ops?hours=24")
    assert "All well" in page and 'href="/ops?hours=24" aria-current="true"' in page
    for odd in ("/ops?hours=99999999", "/ops?hours=-1", "/ops?hours=x"):
        assert (await get(admin, odd))[0] == 200


def test_figures_reach_the_table_by_themselves_and_survive_a_database_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(counters, "FLUSH_SECONDS", 0.05)
    monkeypatch.setattr(counters, "connection", contextlib.nullcontext)
    written: list[tuple[Any, ...]] = []
    tried: list[int] = []
    is_away = True

    def write(values: list[tuple[Any, ...]]) -> None:
        if is_away:
            tried.append(len(values))
            raise peewee.OperationalError("connection refused")
        written.extend(values)

    later = counters.BufferedSums(write)
    for _ in range(3):
        later.add(("minute", "name"), 1, 10)
    wait_until(lambda: tried == [1], "it was tried", 5)
    assert written == []
    is_away = False
    later.add(("minute", "name"), 1, 10)
    later.add(("minute", "other"), 1, 0)
    wait_until(lambda: len(written) == 2, "it is written by itself", 5)
    assert written == [("minute", "name", 4, 40), ("minute", "other", 1, 0)]
