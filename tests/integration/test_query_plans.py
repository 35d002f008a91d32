"""What readers and workers ask PostgreSQL all day is answered from indexes, and looks at few rows, however much is stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg2
import pytest

from bench import generate
from killsync.accounts import people
from killsync.killmails import ledger, queries
from killsync.killmails.classification import SecurityBand
from killsync.killmails.cursors import cursor_of
from killsync.killmails.filter import KillmailFilter, Near, Parties
from killsync.settings import Settings
from killsync.sync import history, run_queries, user_polls
from models import connect, connection, schema
from models.db import database
from models.killmails import ATTACKER_SIDE, CHARACTER, VICTIM_SIDE
from tests.support.resources import postgres_database

STORED = 30_000
PENDING = 60_000
#: Tables that grow without end; the tables of names do too.
BIG = {
    "killmail",
    "victim",
    "attacker",
    "killmail_item",
    "involved_victim",
    "involved_attacker",
    "involved_both",
    "killmail_ref",
    "user",
    "user_killmail",
    "killmail_log",
}


@pytest.fixture(scope="module")
def filled() -> Iterator[None]:
    """A PostgreSQL with many killmails, a long ledger and many users."""
    with postgres_database() as url:
        connect(Settings(database_url=url))  # type: ignore[call-arg]
        schema.migrate()
        server = psycopg2.connect(url)
        server.autocommit = True
        generate.killmails(server, 1, STORED)
        cursor = server.cursor()
        cursor.execute(
            "INSERT INTO killmail_item (killmail_id, item_type_id, flag, quantity_dropped, singleton) "
            f"SELECT g, 500 + n, 5, 1, 0 FROM generate_series(1, {STORED}) g, generate_series(1, 4) n"
        )
        cursor.execute(
            "INSERT INTO killmail_ref (killmail_id, killmail_hash, lane, due_at) "
            f"SELECT g, md5(g::text), 1 + 2 * (g % 7 <> 0)::int, now() - interval '1 hour' FROM generate_series(1, {PENDING}) g"
        )
        cursor.execute(
            'INSERT INTO "user" (character_id, character_name, next_sync_at) '
            "SELECT 2100000000 + g, 'Pilot ' || g, now() + interval '1 second' * (g - 100) FROM generate_series(1, 20000) g"
        )
        generate.settle(server)
        server.close()
        yield
        pool: Any = database.obj
        pool.close_all()


class Seen:
    """The plans of the statements that the code under test ran, as PostgreSQL carried them out."""

    def __init__(self) -> None:
        self.plans: list[dict[str, Any]] = []

    def nodes(self) -> Iterator[dict[str, Any]]:
        waiting = [plan["Plan"] for plan in self.plans]
        while waiting:
            node = waiting.pop()
            waiting.extend(node.get("Plans", ()))
            yield node

    def scanned_whole(self) -> set[str]:
        return {
            node["Relation Name"]
            for node in self.nodes()
            if node["Node Type"] == "Seq Scan" and node["Relation Name"] in BIG
        }

    def most_rows(self) -> float:
        """The most rows that one step looked at, those that it threw away included."""
        return max(
            (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
            for node in self.nodes()
        )


@pytest.fixture
def seen(filled: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    found = Seen()
    execute = database.obj.execute_sql

    def explained(sql: str, parameters: Any = None, *more: Any) -> Any:
        if sql.lstrip().startswith(("SELECT", "UPDATE", "WITH")):
            plan = execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", parameters).fetchone()[0]
            found.plans.extend(plan if isinstance(plan, list) else json.loads(plan))
            # What a statement changed to be explained is taken back, so that it can run for its answer.
        return execute(sql, parameters, *more)

    monkeypatch.setattr(database.obj, "execute_sql", explained)
    with connection():
        yield found


def moment(month: int, day: int) -> datetime:
    return datetime(2026, month, day, tzinfo=UTC)


FILTERS = {
    "newest": KillmailFilter(),
    "character": KillmailFilter(character_id=2_100_000_003),
    "rare character": KillmailFilter(character_id=2_100_190_003),
    "corporation": KillmailFilter(corporation_id=98_000_002),
    "corporation's losses": KillmailFilter(corporation_id=98_000_002, sides=VICTIM_SIDE),
    "alliance's kills": KillmailFilter(alliance_id=99_000_001, sides=ATTACKER_SIDE),
    "ship type": KillmailFilter(ship_type_id=501),
    "system": KillmailFilter(system_id=30_000_001),
    "system and dates": KillmailFilter(system_id=30_000_001, start=moment(7, 26), end=moment(7, 30)),
    "character and dates": KillmailFilter(character_id=2_100_000_003, start=moment(7, 26), end=moment(7, 30)),
    "dates": KillmailFilter(start=moment(7, 26), end=moment(7, 27)),
    "mine": KillmailFilter(mine=(2_100_000_003, 2_100_000_004, 2_100_000_005)),
    "region": KillmailFilter(region_id=10_000_003),
    "region and dates": KillmailFilter(region_id=10_000_003, start=moment(7, 26), end=moment(7, 30)),
    "constellation": KillmailFilter(constellation_id=20_000_003),
    "ship group": KillmailFilter(ship_group_id=53),
    "lost ships of a group": KillmailFilter(victim=Parties(ship_group_ids=(53,))),
    "lost ships of some groups": KillmailFilter(victim=Parties(ship_group_ids=(50, 51, 52, 88))),
    "flown ships of many groups": KillmailFilter(attackers=Parties(ship_group_ids=tuple(range(50, 90)))),
    "group in a region": KillmailFilter(region_id=10_000_003, victim=Parties(ship_group_ids=(53,))),
    "character in a region": KillmailFilter(region_id=10_000_003, character_id=2_100_000_003),
    "security": KillmailFilter(security=(SecurityBand.LOW, SecurityBand.NULL)),
    "rare security": KillmailFilter(security=(SecurityBand.ABYSSAL,)),
    "structures": KillmailFilter(victim=Parties(ship_category_ids=(65, 22))),
    "awox": KillmailFilter(awox=True),
    "no npc": KillmailFilter(npc=False, solo=True),
    "large fights": KillmailFilter(min_attackers=50),
    "label of large fights": KillmailFilter(labels=("#:50+", "pvp")),
    "capitals": KillmailFilter(labels=("capital",)),
    "near": KillmailFilter(near=Near(30_000_001, 5, systems=frozenset(range(30_000_000, 30_000_050)))),
}


@pytest.mark.parametrize("name", FILTERS)
def test_a_page_is_read_from_indexes(seen: Seen, name: str) -> None:
    page = queries.page(FILTERS[name], 50, None)
    if page.killmails:
        queries.page(FILTERS[name], 50, cursor_of(page.killmails[-1]))
    assert seen.plans and seen.scanned_whole() == set()
    # Where two conditions meet, all of the rarer one may have to be looked at.
    assert seen.most_rows() < STORED / (4 if name == "group in a region" else 8), name


def test_a_characters_own_figures_are_read_from_indexes(seen: Seen) -> None:
    assert people.user_summaries([5])[0].killmail_count >= 0
    run_queries.run_page([5], 20, None)
    assert seen.scanned_whole() == set()


def test_what_is_due_is_found_without_sorting_all_that_waits(seen: Seen) -> None:
    assert len(ledger.claim(40, backlog=False)) == 40
    assert len(ledger.claim(200, backlog=True)) == 200
    assert ledger.has_due() and ledger.count_sent() > 0
    assert seen.scanned_whole() <= {"killmail_ref"}, "whether anything is due is answered by the first row"
    assert seen.most_rows() < 1_500


def test_due_users_are_found_by_their_index(seen: Seen) -> None:
    assert len(user_polls.claim_due_users(50, 900)) == 50
    assert seen.scanned_whole() == set()
    assert seen.most_rows() < 500


def test_evidence_and_planning_look_at_few_rows(seen: Seen) -> None:
    assert len(user_polls.users_on([2_100_000_000 + number for number in range(1, 60)])) == 59
    assert len(history.newest(CHARACTER, 2_100_000_003)) == history.MOST_RECENT
    list(history.corporations([3]))
    due = datetime(2026, 8, 18, tzinfo=UTC)
    user_polls.move_forward([(number, due) for number in range(1, 60)])
    assert seen.scanned_whole() <= {"user_killmail"}, "which is empty here"
    assert seen.most_rows() < 1_500


def test_due_users_are_counted_from_the_index(seen: Seen) -> None:
    counted = user_polls.count_due(60.0)
    assert counted.due >= counted.late >= 0
    assert seen.scanned_whole() == set()
