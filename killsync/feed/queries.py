"""What the feeds read of the tables. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from peewee import JOIN, Case, fn

from killsync.feed.search import Search
from killsync.killmails.clauses import Involves
from killsync.killmails.queries import columns
from killsync.killmails.selection import involves, takes_part
from models.expressions import either, one_of
from models.killmails import ATTACKER_SIDE, VICTIM_SIDE, Involvement, Killmail, KillmailBody, Victim
from models.names import ItemType
from models.prepared import Ids, Prepared

_SUMMARY = (
    "killmail_id", "killmail_hash", "moon_id", "attacker_count", "npc", "solo", "awox", "label_bits", "victim_category_id",
    "sequence", "created_at", "total_value", "destroyed_value", "dropped_value", "fitted_value",
)  # fmt: skip


def _summary_rows(ids: Ids) -> Any:
    body = KillmailBody.body.alias("body")
    query: Any = Killmail.select(*columns(Killmail, *_SUMMARY), body)
    query = query.join(KillmailBody, JOIN.LEFT_OUTER, on=KillmailBody.killmail_id == Killmail.killmail_id)
    return query.where(ids.have(Killmail.killmail_id))


_SUMMARIES = Prepared(_summary_rows)


def summaries(killmail_ids: Sequence[int]) -> list[dict[str, Any]]:
    """What a `zkb` block is made of, and ESI's text where it was kept, of the killmails in the order of *killmail_ids*."""
    found = {row["killmail_id"]: row for row in _SUMMARIES.fetch(killmail_ids)}
    return [found[killmail_id] for killmail_id in killmail_ids if killmail_id in found]


def found(search: Search) -> list[int]:
    """The ids of a page of killmails, the newest first unless the search says otherwise."""
    source: Any = Involvement if search.parties else Killmail
    query = source.select(source.killmail_id, source.killmail_time.coerce(False))
    if search.parties:
        (kind, ids), *others = search.parties
        query = query.where(involves(source, Involves(kind, ids, search.sides)))
        if len(ids) > 1:
            query = query.distinct()
        for kind, ids in others:
            query = query.where(takes_part(Involves(kind, ids, search.sides), source))
        if search.columns or search.flags:
            query = query.join(Killmail, on=Killmail.killmail_id == source.killmail_id)
    for column, values in search.columns:
        query = query.where(one_of(getattr(Killmail, column), values))
    for column, wanted in search.flags:
        query = query.where(getattr(Killmail, column) == wanted)
    if search.start is not None:
        query = query.where(source.killmail_time >= search.start)
    if search.end is not None:
        query = query.where(source.killmail_time < search.end)
    if search.before_id is not None:
        query = query.where(source.killmail_id < search.before_id)
    if search.after_id is not None:
        query = query.where(source.killmail_id > search.after_id)
    place = (source.killmail_time, source.killmail_id)
    order = place if search.is_ascending else tuple(each.desc() for each in place)
    query = query.order_by(*order).limit(search.limit).offset((search.page - 1) * search.limit)
    return [row["killmail_id"] for row in query.dicts()]


def history(day: datetime) -> dict[str, str]:
    """The hash of each killmail of a day by its id, as text; *day* is its first moment."""
    of_day: Any = Killmail.select(Killmail.killmail_id, Killmail.killmail_hash).where(
        Killmail.killmail_time >= day, Killmail.killmail_time < day + timedelta(days=1)
    )
    rows = of_day.order_by(Killmail.killmail_id).tuples().iterator()
    return {str(killmail_id): killmail_hash for killmail_id, killmail_hash in rows}


def tallies(search: Search) -> list[dict[str, Any]]:
    """How many killmails of one party or place there are, by month, group of what was lost, solo, and side.

    Rows of `month` (YYYYMM), `group_id`, `solo`, `is_loss`, `number` and `value` (ISK; None for nothing valued); who stands on
    both sides is in two rows.
    """
    counted = []
    for side, is_loss in ((ATTACKER_SIDE, False), (VICTIM_SIDE, True)):
        if not search.sides & side:
            continue
        source: Any = Involvement if search.parties else Killmail
        time = source.killmail_time
        month = either(
            postgres=fn.to_char(fn.timezone("UTC", time), "YYYYMM"),
            sqlite=fn.substr(time, 1, 4).concat(fn.substr(time, 6, 2)),
        ).coerce(False)
        solo = Case(None, [(Killmail.solo, 1)], 0)
        query: Any = source.select(
            month.alias("month"),
            ItemType.group_id,
            solo.alias("solo"),
            fn.COUNT(Victim.killmail_id).alias("number"),
            fn.SUM(Killmail.total_value).alias("value"),
        )
        if search.parties:
            query = query.where(involves(source, Involves(*search.parties[0], side)))
            query = query.join(Killmail, on=Killmail.killmail_id == source.killmail_id)
        query = query.join(Victim, on=Victim.killmail_id == source.killmail_id)
        query = query.join(ItemType, JOIN.LEFT_OUTER, on=ItemType.type_id == Victim.ship_type_id)
        for column, values in search.columns:
            query = query.where(one_of(getattr(Killmail, column), values))
        rows = query.group_by(month, ItemType.group_id, solo).dicts()
        counted += [{**row, "is_loss": is_loss} for row in rows]
    return counted
