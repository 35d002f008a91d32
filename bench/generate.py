"""Fills a PostgreSQL database with any number of killmails by SQL alone: cheap rows with the shape of real ones."""

from __future__ import annotations

import random
from typing import Any

import psycopg2

from models.killmails import INVOLVED

#: Tables that are filled here.
TABLES = ("killmail", "victim", "attacker", "killmail_item", "involved_victim", "involved_attacker", "involved_both",
          "killmail_ref", "killmail_body")  # fmt: skip
#: Systems of a constellation and of a region, and ship types of a group.
A_CONSTELLATION, A_REGION, A_GROUP = 7, 70, 10
#: Pilots, corporations, alliances, ship types and systems that take part; a few of each take part in most killmails.
PILOTS, CORPORATIONS, ALLIANCES, TYPES, SYSTEMS = 200_000, 8_000, 800, 400, 5_000
ATTACKERS = 4
#: Items of each killmail, where they are wanted.
ITEMS = 4


def _skewed(count: int, start: int, seed: str) -> str:
    """SQL for an id of *count* ones, the low ones far more often; the same for the same killmail and *seed*."""
    return f"({start} + floor({count} * power(((hashint8(g * 7919 + {seed}) & 65535) / 65536.0)::float8, 3))::bigint)"


def one_of_many(rng: random.Random, count: int, start: int) -> int:
    """The same in Python: one id of *count*."""
    return start + int(count * rng.random() ** 3)


def killmails(database: Any, first: int, last: int) -> None:
    """Add killmails *first* to *last*, one a minute back from a fixed moment."""
    cursor = database.cursor()
    span = f"generate_series({first}::bigint, {last}::bigint) g"
    moment = "(timestamptz '2026-08-01' - g * interval '20 seconds')"
    system = _skewed(SYSTEMS, 0, "1")
    cursor.execute(
        "INSERT INTO killmail (killmail_id, killmail_hash, killmail_time, solar_system_id, attacker_count, created_at, "
        "constellation_id, region_id, security, victim_category_id, npc, solo, awox, label_bits, classified_by) "
        f"SELECT g, md5(g::text) || 'abcdef01', {moment}, 30000000 + s, "
        f"CASE WHEN g % 5000 = 0 THEN 60 ELSE {ATTACKERS} END, now(), "
        f"20000000 + s / {A_CONSTELLATION}, 10000000 + s / {A_REGION}, "
        # One in a thousand is of each rare kind.
        "CASE WHEN g % 1000 = 1 THEN 'abyssal' ELSE (ARRAY['high', 'low', 'null', 'wormhole'])[1 + s % 4] END, "
        "CASE WHEN g % 1000 = 2 THEN 65 ELSE 6 END, g % 10 = 3, g % 10 = 4, g % 1000 = 4, "
        "CASE WHEN g % 1000 = 5 THEN 24 ELSE 8 END, 1 "
        f"FROM (SELECT g, {system} s FROM {span}) each"
    )
    columns = "character_id, corporation_id, alliance_id, ship_type_id"

    def party(seed: int) -> str:
        return (
            f"{_skewed(PILOTS, 2_100_000_000, str(seed))}, {_skewed(CORPORATIONS, 98_000_000, str(seed))}, "
            f"{_skewed(ALLIANCES, 99_000_000, str(seed))}, {_skewed(TYPES, 500, str(seed))}"
        )

    cursor.execute(f"INSERT INTO victim (killmail_id, {columns}, damage_taken) SELECT g, {party(11)}, 5000 FROM {span}")
    for number in range(ATTACKERS):
        cursor.execute(
            f"INSERT INTO attacker (killmail_id, {columns}, weapon_type_id, damage_done, final_blow, security_status) "
            f"SELECT g, {party(100 + number)}, 2488, 1000, {number == 0}, 0.5 FROM {span}"
        )
    cursor.execute(_involved(first, last, moment))


def _involved(first: int, last: int, moment: str) -> str:
    """SQL that enters who took part, as `killsync.killmails.mapping` does: parties of the same sides side by side."""
    of_kind = ("character_id", "corporation_id", "alliance_id", "ship_type_id", f"ship_type_id / {A_GROUP}")
    parties = " UNION ALL ".join(
        f"SELECT killmail_id g, {kind} kind, {column} entity, {side} side FROM {table} "
        f"WHERE killmail_id BETWEEN {first} AND {last}"
        for kind, column in enumerate(of_kind)
        for side, table in ((1, "victim"), (2, "attacker"))
    )
    columns = ", ".join(f"max(entity) FILTER (WHERE kind = {kind}) party{kind}" for kind in range(len(of_kind)))
    entered = [
        f"INSERT INTO {table._meta.table_name} SELECT {', '.join(f'party{kind}' for kind in range(len(of_kind)))}, {moment}, g "
        f"FROM involved WHERE sides = {sides}"
        for sides, table in INVOLVED.items()
    ]
    return (
        f"WITH involved AS MATERIALIZED (SELECT {columns}, g, sides FROM (SELECT *, "
        "row_number() OVER (PARTITION BY g, kind, sides ORDER BY entity) place FROM ("
        f"SELECT g, kind, entity, bit_or(side) sides FROM ({parties}) party GROUP BY g, kind, entity) once) numbered "
        "GROUP BY g, sides, place ORDER BY g, sides, place"
        f"), victims AS ({entered[0]}), attackers AS ({entered[1]}) {entered[2]}"
    )


def items(database: Any, first: int, last: int) -> None:
    """Add what the victims of killmails *first* to *last* carried."""
    span = f"generate_series({first}::bigint, {last}::bigint) g, generate_series(1, {ITEMS}) i"
    database.cursor().execute(
        "INSERT INTO killmail_item (killmail_id, item_type_id, flag, quantity_dropped, singleton) "
        f"SELECT g, {_skewed(TYPES, 500, 'i * 13')}, 5, 1, 0 FROM {span}"
    )


def ledger(database: Any, first: int, last: int) -> None:
    """Add the ledger rows of killmails *first* to *last*."""
    database.cursor().execute(
        "INSERT INTO killmail_ref (killmail_id, killmail_hash, state, attempts) "
        f"SELECT g, md5(g::text) || 'abcdef01', 'fetched', 1 FROM generate_series({first}::bigint, {last}::bigint) g"
    )


def settle(database: Any) -> None:
    """Let PostgreSQL look at what it has."""
    database.cursor().execute("VACUUM ANALYZE")


def fill(database_url: str, size: int) -> None:
    """Store *size* killmails; indexes and constraints are made after, which is much the quicker way."""
    database = psycopg2.connect(database_url)
    database.autocommit = True
    cursor = database.cursor()
    cursor.execute(
        "SELECT conrelid::regclass, conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype IN ('p', 'f') "
        f"AND conrelid::regclass::text IN {TABLES} ORDER BY contype DESC"
    )
    constraints = [row for row in cursor.fetchall() if row[1] != "victim_pkey"]  # filling reads by these two
    cursor.execute(
        f"SELECT indexname, indexdef FROM pg_indexes WHERE tablename IN {TABLES} "
        "AND indexname NOT IN (SELECT conname FROM pg_constraint)"
    )
    indexes = [row for row in cursor.fetchall() if row[0] not in ("attacker_killmail", "victim_pkey")]
    for table, name, _ in sorted(constraints, key=lambda row: "FOREIGN" not in row[2]):
        cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    for name, _ in indexes:
        cursor.execute(f"DROP INDEX {name}")
    for start in range(1, size + 1, 100_000):
        for kind in (killmails, items, ledger):
            kind(database, start, min(size, start + 99_999))
    cursor.execute("SET maintenance_work_mem = '512MB'")
    for table, name, definition in constraints:
        cursor.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
    for _, definition in indexes:
        cursor.execute(definition)
    cursor.execute("REINDEX INDEX attacker_killmail")
    settle(database)
    database.close()
