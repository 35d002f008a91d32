"""Valuing what is stored: killmails that came before any price, those of whose day prices came later, and all of them when the
operator asks. In batches, beside workers that store others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from typing import Any

from peewee import Entity, Value, ValuesList

from killsync.killmails.classification import value_bits
from killsync.killmails.labels import VALUE_BITS
from killsync.killmails.mapping import types_of
from killsync.killmails.selection import newest_ids
from killsync.leases import SharedWork
from killsync.logging import get_logger
from killsync.prices import book, store
from killsync.prices.book import Book
from killsync.prices.days import reach
from killsync.prices.valuation import to_cents, to_isk, value_of
from killsync.static_data import catalog
from killsync.static_data.catalog import Catalog
from models import Killmail, KillmailItem, PriceDay, Victim
from models.db import connection, in_transaction
from models.expressions import differs, now, one_of

log = get_logger("prices")

#: Killmails of one transaction.
BATCH = 500
#: One worker values at a time.
_WORK = SharedWork("value", lease_seconds=60.0, pause_seconds=20.0)
#: How long a worker is at it before others have their turn; the next sweep goes on, seconds.
SOME_SECONDS = 15.0
#: Processes may store with the prices that they knew before for so many seconds: until then a new day is looked at again.
SETTLE_SECONDS = 300.0

_COLUMNS = ("total_value", "destroyed_value", "dropped_value", "fitted_value")


def is_wanted() -> bool:
    """Whether killmails may have to be valued, and no worker is at it or just looked."""
    if not _WORK.is_free():
        return False
    if PriceDay.select().where(PriceDay.settled_at.is_null()).exists():
        return True
    return bool(_unvalued().limit(1).exists() and PriceDay.select().exists())


def value_some(seconds: float) -> int:
    """Value for about *seconds*; how many killmails were."""

    def batch() -> int:
        ids = _next_ids()
        if ids:
            value(ids)
        return len(ids)

    done = _WORK.do_some(batch, seconds)
    if done:
        log.info("killmails valued", killmails=done)
    return done


def recompute(since: date | None = None, progress: Callable[[int, int], None] = lambda done, total: None) -> int:
    """Value every stored killmail, or those since a day (UTC), by what is known now; how many have another value than before.

    Beside workers, and it may be ended and begun again. *progress* is told how many were looked at, of how many.
    """
    book.current().look()
    chosen: Any = Killmail.select(Killmail.killmail_id)
    if since is not None:
        chosen = chosen.where(Killmail.killmail_time >= _midnight(since))
    with connection():
        total = chosen.count()
    done, changed, last = 0, 0, -1
    while True:
        with connection():
            page = chosen.where(Killmail.killmail_id > last).order_by(Killmail.killmail_id).limit(BATCH)
            ids = [killmail_id for (killmail_id,) in page.tuples()]
            if not ids:
                return changed
            changed += value(ids)
        done, last = done + len(ids), ids[-1]
        progress(done, max(done, total))


def _unvalued() -> Any:
    return Killmail.select(Killmail.killmail_id).where(Killmail.priced_on.is_null())


def _next_ids() -> list[int]:
    """Up to BATCH killmails whose value is missing or of another day than it should be, the newest first."""
    known = book.current().look()
    if not known.days:
        return []
    ids = newest_ids(_unvalued(), BATCH)
    if ids:
        return ids
    unsettled: Any = PriceDay.select(PriceDay.day).where(PriceDay.settled_at.is_null()).order_by(PriceDay.day.desc())
    for (day,) in list(unsettled.tuples()):
        if day in known.days and (ids := newest_ids(_outdated(day, known.days), BATCH)):
            return ids
    is_old = PriceDay.stored_at <= now(-SETTLE_SECONDS)
    settle = PriceDay.update(settled_at=now()).where(PriceDay.settled_at.is_null(), is_old)
    in_transaction(settle.execute)
    return []


def _outdated(day: date, days: Sequence[date]) -> Any:
    """The killmails for which the prices of *day* count, and that were valued by others."""
    first, last = reach(day, days)
    query = Killmail.select(Killmail.killmail_id).where(differs(Killmail.priced_on, Value(day.isoformat())))
    if first is not None:
        query = query.where(Killmail.killmail_time >= _midnight(first))
    if last is not None:
        query = query.where(Killmail.killmail_time < _midnight(last + timedelta(days=1)))
    return query


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time_of_day(), UTC)


def value(ids: Sequence[int]) -> int:
    """Value these stored killmails by what is known now; how many have another value than before."""
    stored = _stored(ids)
    days = {body["day"] for body in stored.values()}
    known = book.current().get().holding(days, lambda: types_of(stored.values()))
    rows = _rows(stored, known, catalog.current().get())
    if rows:
        in_transaction(lambda: _write(rows))
    return len(rows)


def _rows(stored: dict[int, dict[str, Any]], known: Book, types: Catalog) -> list[tuple[Any, ...]]:
    """(id, day, bits of labels, values) of those that change."""
    rows = []
    for killmail_id, body in stored.items():
        found = known.of(body["day"])
        if found is None:
            continue
        day, prices = found
        worth = value_of(body, prices, types)
        cents = (worth.total, worth.destroyed, worth.dropped, worth.fitted)
        if (day, cents) != (body["priced_on"], body["cents"]):
            rows.append((killmail_id, day.isoformat(), value_bits(worth.total), *map(to_isk, cents)))
    return rows


def _write(rows: list[tuple[Any, ...]]) -> None:
    # Both databases call the columns of a list of values so.
    given: dict[str, Any] = {
        name: Entity("given", f"column{place}").cast("NUMERIC(20, 2)") for place, name in enumerate(_COLUMNS, 4)
    }
    bits = Killmail.label_bits.bin_and(~VALUE_BITS).bin_or(Entity("given", "column3"))
    update: Any = Killmail.update(**given, priced_on=store.as_day(Entity("given", "column2")), label_bits=bits).from_(
        ValuesList(rows).alias("given")
    )
    update.where(Killmail.killmail_id == Entity("given", "column1")).execute()


def _stored(ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """As much of ESI's body as says what each was worth, with its day and the value that it has now."""
    bodies: dict[int, dict[str, Any]] = {}
    values = [getattr(Killmail, name) for name in _COLUMNS]
    query: Any = Killmail.select(
        Killmail.killmail_id, Killmail.killmail_time, Killmail.priced_on, *values, Victim.ship_type_id
    )
    query = query.join(Victim, on=Victim.killmail_id == Killmail.killmail_id)
    for row in query.where(one_of(Killmail.killmail_id, ids)).dicts():
        bodies[row["killmail_id"]] = {
            "day": row["killmail_time"].date(), "priced_on": row["priced_on"],
            "cents": tuple(to_cents(row[name]) for name in _COLUMNS),
            "victim": {"ship_type_id": row["ship_type_id"], "items": []},
        }  # fmt: skip
    inside: dict[int, list[dict[str, Any]]] = defaultdict(list)
    table: Any = KillmailItem
    items = table.select(
        table.id, table.killmail_id, table.parent_id, table.item_type_id, table.flag, table.singleton,
        table.quantity_dropped, table.quantity_destroyed,
    ).where(one_of(table.killmail_id, ids)).order_by(table.id)  # fmt: skip
    for row in items.dicts():
        row["items"] = inside[row["id"]]
        if row["parent_id"] is not None:
            inside[row["parent_id"]].append(row)
        elif row["killmail_id"] in bodies:
            bodies[row["killmail_id"]]["victim"]["items"].append(row)
    return bodies
