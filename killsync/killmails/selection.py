"""The killmails that a filter wants, newest first: one query for each page, answered from the index that fits. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add, and_, or_
from typing import Any

from peewee import Tuple, Value, fn

from killsync.killmails.clauses import (
    BOTH_SIDES,
    FACTION,
    SHIP_CATEGORY,
    WEAPON_GROUP,
    Age,
    Between,
    Clause,
    FinalBlowBy,
    Flag,
    Given,
    Involves,
    Labelled,
    Not,
    OneOf,
)
from killsync.killmails.cursors import Place, ValuePlace
from killsync.killmails.filter import KillmailFilter
from models import Attacker, Involvement, ItemGroup, ItemType, Killmail, Victim
from models.expressions import one_of, seconds_between
from models.fields import to_text
from models.killmail_log import KillmailLog
from models.killmails import ATTACKER_SIDE, SHIP_GROUP, VICTIM_SIDE, party_of

#: Parties of one clause whose newest killmails are read each by itself and put together.
MOST_MERGED = 30


def page_ids(chosen: KillmailFilter, limit: int, after: Place | None) -> list[int]:
    """The ids of a page of at most *limit* killmails behind the place *after*, newest first."""
    lead, rest = _parted(chosen)
    if lead is None:
        query = _newest(Killmail, rest, limit, after)
    elif len(lead.ids) <= 1:
        query = _led(lead, rest, limit, after)
    elif len(lead.ids) <= MOST_MERGED:
        query = _merged(lead, rest, limit, after)
    else:
        query = _led(lead, rest, limit, after).distinct()
    return [row["killmail_id"] for row in query.dicts()]


def dearest_ids(chosen: KillmailFilter, limit: int, after: ValuePlace | None) -> list[int]:
    """The ids of a page of at most *limit* killmails behind the place *after*, the dearest first, of equal ones the newest."""
    query = _wanted(chosen)
    if after is not None:
        value, number = Killmail.total_value, Killmail.killmail_id
        # The first half is what an index can begin at.
        behind = (value < after.total_value) | ((value == after.total_value) & (number < after.killmail_id))
        query = query.where((value <= after.total_value) & behind)
    query = query.order_by(Killmail.total_value.desc(), Killmail.killmail_id.desc()).limit(limit)
    return [row["killmail_id"] for row in query.dicts()]


@dataclass(frozen=True)
class Totals:
    """How many killmails a filter wants, and what they were worth together, ISK."""

    kills: int
    isk_destroyed: float


def totals(chosen: KillmailFilter) -> Totals:
    """Count and sum of all killmails that a filter wants: as long as it takes to look at each."""
    wanted = _wanted(chosen)
    found = (
        wanted.select_from(fn.COUNT(Value(1)).alias("kills"), fn.SUM(wanted.c.total_value).alias("value")).dicts().get()
    )
    return Totals(int(found["kills"]), float(found["value"] or 0))


def newest_ids(query: Any, most: int) -> list[int]:
    """The greatest ids of a query of ids: their order is nearly that of time, so what belongs to them lies together."""
    return [killmail_id for (killmail_id,) in query.order_by(Killmail.killmail_id.desc()).limit(most).tuples()]


def _wanted(chosen: KillmailFilter) -> Any:
    """All killmails that a filter wants, in no order: of the rarest party's, else of all."""
    lead, rest = _parted(chosen)
    query: Any = Killmail.select(Killmail.killmail_id, Killmail.total_value)
    if lead is not None:
        same = (Involvement.killmail_id == Killmail.killmail_id) & (Involvement.killmail_time == Killmail.killmail_time)
        query = query.join(Involvement, on=same).where(involves(Involvement, lead))
        if len(lead.ids) > 1:
            query = query.distinct()
    conditions = [_condition(clause, Killmail) for clause in rest]
    return query.where(reduce(and_, conditions)) if conditions else query


def _parted(chosen: KillmailFilter) -> tuple[Involves | None, list[Clause]]:
    """(the clause of parties to begin with, the others)."""
    clauses = chosen.clauses
    lead = next((clause for clause in clauses if isinstance(clause, Involves) and _may_lead(clause)), None)
    return lead, [clause for clause in clauses if clause is not lead]


def _may_lead(clause: Involves) -> bool:
    """Whether to begin with the parties of the clause. Many groups are on most killmails: the newest of all are looked at."""
    return clause.kind > 0 and (clause.kind != SHIP_GROUP or len(clause.ids) <= MOST_MERGED)


def _newest(source: Any, clauses: list[Clause], limit: int, after: Place | None) -> Any:
    """The newest of *source*, a table whose index has them in the order of the page."""
    # What is distinct is ordered by what it has: the moment is selected for that alone.
    query = source.select(source.killmail_id, source.killmail_time.coerce(False))
    conditions = [_condition(clause, source) for clause in clauses if _is_about(clause, source)]
    others = [_condition(clause, Killmail) for clause in clauses if not _is_about(clause, source)]
    tables = [source]
    if others:
        # By time as well: whichever of the two tables is read first gives the order of the page.
        same = (Killmail.killmail_id == source.killmail_id) & (Killmail.killmail_time == source.killmail_time)
        query = query.join(Killmail, on=same)
        conditions += others
        tables.append(Killmail)
    if after is not None:
        place = Tuple(to_text(after.killmail_time), after.killmail_id)
        conditions += [Tuple(table.killmail_time, table.killmail_id) < place for table in tables]
    if conditions:
        query = query.where(reduce(and_, conditions))
    return query.order_by(source.killmail_time.desc(), source.killmail_id.desc()).limit(limit)


def _led(lead: Involves, rest: list[Clause], limit: int, after: Place | None) -> Any:
    return _newest(Involvement, rest, limit, after).where(involves(Involvement, lead))


def _merged(lead: Involves, rest: list[Clause], limit: int, after: Place | None) -> Any:
    """The newest of each party, put together: a party with a million killmails gives no more than a page of them."""
    parts = []
    for entity in lead.ids:
        newest = _led(Involves(lead.kind, (entity,), lead.sides), rest, limit, after)
        parts.append(newest.select_from(newest.c.killmail_id, newest.c.killmail_time))
    together: Any = reduce(add, parts)
    # Several of the parties may stand on one killmail: it is one row of the page all the same.
    query = together.select_from(together.c.killmail_id, together.c.killmail_time).distinct()
    return query.order_by(together.c.killmail_time.desc(), together.c.killmail_id.desc()).limit(limit)


def _is_about(clause: Clause, source: Any) -> bool:
    """Whether *source* itself can say that the clause holds."""
    if source is Killmail or isinstance(clause, Involves | FinalBlowBy):
        return True
    if isinstance(clause, Not):
        return isinstance(clause.clause, Involves)
    return isinstance(clause, Between) and clause.column == "killmail_time"


def _condition(clause: Clause, source: Any) -> Any:
    """The clause as a condition of a query over *source*."""
    if isinstance(clause, Not):
        holds = _condition(clause.clause, source)
        # What is unknown of a killmail is not so.
        return ~holds if isinstance(clause.clause, Involves) else ~fn.COALESCE(holds, Value(value=False))
    if isinstance(clause, Involves):
        return takes_part(clause, source)
    if isinstance(clause, FinalBlowBy):
        members = (Attacker.corporation_id, Attacker.alliance_id, Attacker.faction_id)
        of_them = reduce(or_, [one_of(column, clause.ids) for column in members])
        blow = Attacker.select(Value(1)).where((Attacker.killmail_id == source.killmail_id) & Attacker.final_blow)
        return fn.EXISTS(blow.where(of_them))
    if isinstance(clause, Labelled):
        return source.label_bits.bin_and(clause.bit) == clause.bit
    if isinstance(clause, Age):
        return seconds_between(source.killmail_time, source.created_at) <= clause.seconds
    if clause.column == "created_at" and isinstance(clause, Between):
        # The log has what was stored lately in the order of that, and an index of its moments.
        lately = KillmailLog.select(KillmailLog.killmail_id).where(KillmailLog.created_at >= clause.least)
        return source.killmail_id.in_(lately)
    column = getattr(source, clause.column)
    if isinstance(clause, Given):
        return column.is_null(False)
    if isinstance(clause, OneOf):
        values = sorted(clause.values)
        return column.in_(values) if clause.column == "security" else one_of(column, values)
    if isinstance(clause, Flag):
        return column if clause.wanted else ~column
    bounds = [column >= clause.least] if clause.least is not None else []
    return reduce(and_, [*bounds, column <= clause.most] if clause.most is not None else bounds)


def takes_part(clause: Involves, source: Any) -> Any:
    """That one of the parties is on the killmail of a row of *source*."""
    if clause.kind > 0:
        other: Any = Involvement.alias()
        same = (other.killmail_time == source.killmail_time) & (other.killmail_id == source.killmail_id)
        return fn.EXISTS(other.select(Value(1)).where(involves(other, clause) & same))
    sides = [(Victim, VICTIM_SIDE), (Attacker, ATTACKER_SIDE)]
    found = [_of_rows(table, clause, source) for table, side in sides if clause.sides & side]
    return reduce(or_, found)


def _of_rows(table: Any, clause: Involves, source: Any) -> Any:
    """That a row of victims or attackers is what the clause says, of a kind that has no index of its own."""
    rows = table.select(Value(1)).where(table.killmail_id == source.killmail_id)
    if clause.kind == FACTION:
        return fn.EXISTS(rows.where(one_of(table.faction_id, clause.ids)))
    if clause.kind == SHIP_CATEGORY:
        rows = rows.join(ItemType, on=ItemType.type_id == table.ship_type_id)
        rows = rows.join(ItemGroup, on=ItemGroup.group_id == ItemType.group_id)
        return fn.EXISTS(rows.where(one_of(ItemGroup.category_id, clause.ids)))
    if clause.kind == WEAPON_GROUP:
        rows = rows.join(ItemType, on=ItemType.type_id == table.weapon_type_id)
        return fn.EXISTS(rows.where(one_of(ItemType.group_id, clause.ids)))
    return fn.EXISTS(rows.where(one_of(table.weapon_type_id, clause.ids)))


def involves(involvement: Any, clause: Involves) -> Any:
    """That a row of *involvement* is of one of the parties, on one of the sides."""
    condition = one_of(party_of(involvement, clause.kind), clause.ids)
    return condition if clause.sides == BOTH_SIDES else condition & (involvement.sides.bin_and(clause.sides) != 0)
