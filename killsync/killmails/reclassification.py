"""Classifying what is stored: killmails that came before static data was loaded, and those of which a newer build says
something else. In batches, beside workers that store others; whatever is done stays done, and nothing is done twice.
"""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from peewee import Entity, ValuesList, chunked, fn

from killsync.killmails import mapping
from killsync.killmails.classification import classify
from killsync.killmails.labels import VALUE_BITS
from killsync.killmails.selection import newest_ids
from killsync.leases import SharedWork
from killsync.logging import get_logger
from killsync.static_data import catalog
from killsync.static_data.catalog import Catalog
from models import Attacker, Involvement, Killmail, StaticDataBuild, StaticDataChange, Victim
from models.db import connection, in_transaction
from models.expressions import now, one_of
from models.fields import to_text
from models.killmails import INVOLVED, NO_STATIC_DATA, OF_KIND, SHIP_GROUP, UNCLASSIFIED, party_of
from models.static_data import SYSTEM, TYPE

log = get_logger("classification")

#: Killmails of one transaction.
BATCH = 500
#: Types or systems whose killmails are looked for at a time.
CHANGES = 200
#: One process classifies at a time.
_WORK = SharedWork("classify", lease_seconds=60.0, pause_seconds=60.0)
#: How long a worker is at it before others have their turn; the next sweep goes on, seconds.
SOME_SECONDS = 15.0
#: After a load, processes may store with what they knew before for so long at most, seconds. Until then it is looked again.
SETTLE_SECONDS = 600.0

#: The columns that are written, in the order of the values, and those among them that may be empty for a whole batch.
_COLUMNS = (
    "npc", "solo", "awox", "victim_category_id", "constellation_id", "region_id", "security", "label_bits",
)  # fmt: skip
_IDS = {"victim_category_id", "constellation_id", "region_id"}


def is_wanted() -> bool:
    """Whether killmails may have to be classified, and no worker is at it or just looked."""
    if not _WORK.is_free():
        return False
    return bool(_unclassified(catalog.load_number()).limit(1).exists() or StaticDataChange.select().exists())


def classify_some(seconds: float) -> int:
    """Classify for about *seconds*; how many killmails were."""
    done = _WORK.do_some(_classify_batch, seconds)
    if done:
        log.info("killmails classified", killmails=done)
    return done


def classify_all(progress: Callable[[int, int], None] = lambda done, total: None) -> int:
    """Classify until nothing is left, while workers do their own; how many killmails this call classified.

    Args:
        progress: is told how many are done, of how many.
    """
    holder, done = uuid.uuid4().hex, 0
    with connection():
        total = left = count()
    try:
        while True:
            with connection():
                is_mine = _WORK.acquire(holder)
                some = _classify_batch() if is_mine else 0
                left = left - some if is_mine else count()
            if (is_mine and not some) or (not is_mine and not left):
                return done
            done += some
            progress(max(0, total - left), total)
            if not is_mine:
                # A worker is at it.
                time.sleep(0.5)
    finally:
        with connection():
            _WORK.release(holder)


def count() -> int:
    """How many killmails are still to be classified."""
    number = catalog.load_number()
    touched = sum(_touched(load, kind, ids).count() for load, kind, ids in _changes())
    return int(_unclassified(number).count()) + touched


def _unclassified(number: int) -> Any:
    """The killmails that were classified by nothing, or without static data where some is loaded by now."""
    most = NO_STATIC_DATA if number else UNCLASSIFIED
    return Killmail.select(Killmail.killmail_id).where(Killmail.classified_by <= most)


def _changes() -> list[tuple[int, int, list[int]]]:
    """(load, TYPE or SYSTEM, ids) of all that loads changed, in parts."""
    found: dict[tuple[int, int], set[int]] = defaultdict(set)
    changes: Any = StaticDataChange.select().namedtuples()
    for change in changes:
        found[change.load_number, change.kind].add(change.entity_id)
    return [(*key, part) for key, ids in sorted(found.items()) for part in chunked(sorted(ids), CHANGES)]


def _touched(load: int, kind: int, ids: Sequence[int]) -> Any:
    """The killmails with these types or systems that were classified by a load before *load*."""
    before = Killmail.select(Killmail.killmail_id).where(
        Killmail.classified_by > NO_STATIC_DATA, Killmail.classified_by < load
    )
    if kind == SYSTEM:
        return before.where(one_of(Killmail.solar_system_id, ids))
    with_type = one_of(Involvement.ship_type_id, ids)
    return before.where(Killmail.killmail_id.in_(Involvement.select(Involvement.killmail_id).where(with_type)))


def _classify_batch() -> int:
    """Classify up to BATCH killmails, the newest first; how many there were."""
    known = catalog.current().look()
    ids = newest_ids(_unclassified(known.load_number), BATCH)
    former: set[int] = set()
    if not ids:
        for load, kind, changed in _changes():
            ids = newest_ids(_touched(load, kind, changed), BATCH) if load <= known.load_number else []
            if ids:
                former = _former_groups()
                break
        else:
            _forget_changes(known.load_number)
            return 0
    # What killmails say never changes: it is read before the transaction, which is short for those who store others.
    values, groups = _classified(ids, known)
    if values:
        in_transaction(lambda: _write(ids, values, groups, known.load_number, former))
    return len(values)


def _former_groups() -> set[int]:
    changes: Any = StaticDataChange.select(StaticDataChange.former_group_id).where(StaticDataChange.kind == TYPE)
    return {group_id for (group_id,) in changes.distinct().tuples()}


def _forget_changes(load_number: int) -> None:
    """Forget what changed when no process can store any more with what it knew before."""
    is_settled = StaticDataBuild.select().where(StaticDataBuild.loaded_at <= now(-SETTLE_SECONDS))
    in_transaction(
        StaticDataChange.delete().where(StaticDataChange.load_number <= load_number, fn.EXISTS(is_settled)).execute
    )


def _classified(ids: list[int], known: Catalog) -> tuple[list[tuple[Any, ...]], list[Any]]:
    """(id, values of _COLUMNS) of each killmail, and the rows of its ship groups."""
    values: list[tuple[Any, ...]] = []
    groups: list[Any] = []
    for killmail_id, moment, body in _bodies(ids):
        kind = classify(body, moment, known)
        values.append((killmail_id, *(getattr(kind, name) for name in _COLUMNS)))
        parties = mapping.involved(body["victim"], body["attackers"], known)
        of_ships = {party: side for party, side in parties.items() if party[0] == SHIP_GROUP}
        groups += mapping.involvement_rows(of_ships, to_text(moment), killmail_id)
    return values, groups


def _write(
    ids: list[int], values: list[tuple[Any, ...]], groups: list[Any], load_number: int, former: set[int]
) -> None:
    # Both databases call the columns of a list of values so. A column in which everything is empty has no type of its own.
    given: dict[str, Any] = {name: Entity("given", f"column{place}") for place, name in enumerate(_COLUMNS, 2)}
    given.update({name: given[name].cast("BIGINT") for name in _IDS})
    # What it was worth is not asked here, and stays.
    given["label_bits"] = Killmail.label_bits.bin_and(VALUE_BITS).bin_or(given["label_bits"])
    update: Any = Killmail.update(**given, classified_by=load_number).from_(ValuesList(values).alias("given"))
    is_older = Killmail.classified_by < load_number
    update.where(Killmail.killmail_id == Entity("given", "column1"), is_older).execute()
    if former:
        _remove_groups(ids, former | {row.ship_group_id for row in groups}, [row.killmail_time for row in groups])
    if groups:
        for table, rows in mapping.in_tables(groups):
            if rows:
                table.insert_many(rows, list(table._meta.sorted_fields)).on_conflict_ignore().execute()


def _remove_groups(ids: list[int], groups: set[int], moments: list[str]) -> None:
    if not moments:
        return
    for table in INVOLVED.values():
        theirs = (
            one_of(table.ship_group_id, sorted(groups))
            & table.killmail_time.between(min(moments), max(moments))
            & one_of(table.killmail_id, ids)
        )
        others = [party_of(table, kind) for kind in OF_KIND if kind != SHIP_GROUP]
        table.delete().where(theirs & (fn.COALESCE(*others).is_null())).execute()
        table.update(ship_group_id=None).where(theirs).execute()


def _bodies(ids: list[int]) -> Iterator[tuple[int, datetime, dict[str, Any]]]:
    """(id, time, as much of ESI's body as says what it is about) of each killmail."""
    attackers: dict[int, list[dict[str, Any]]] = defaultdict(list)
    table: Any = Attacker
    for row in table.select(
        table.killmail_id, table.character_id, table.corporation_id, table.ship_type_id, table.final_blow
    ).where(one_of(table.killmail_id, ids)).order_by(table.id).dicts():  # fmt: skip
        attackers[row["killmail_id"]].append(row)
    query: Any = Killmail.select(
        Killmail.killmail_id, Killmail.killmail_time, Killmail.solar_system_id, Killmail.war_id,
        Victim.character_id, Victim.corporation_id, Victim.ship_type_id,
    )  # fmt: skip
    query = query.join(Victim, on=Victim.killmail_id == Killmail.killmail_id)
    for row in query.where(one_of(Killmail.killmail_id, ids)).dicts():
        body = {
            "victim": {name: row[name] for name in ("character_id", "corporation_id", "ship_type_id")},
            "attackers": attackers[row["killmail_id"]],
            "solar_system_id": row["solar_system_id"],
            "war_id": row["war_id"],
        }
        yield row["killmail_id"], row["killmail_time"], body
