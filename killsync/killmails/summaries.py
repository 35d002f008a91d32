"""Killmails as rows of a list: as much of each as a row shows, however many attackers and items it has. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from killsync.killmails.cursors import read_cursor
from killsync.killmails.entity_names import PARTY_COLUMNS, EntityNames, party
from killsync.killmails.filter import KillmailFilter
from killsync.killmails.killmail import KillmailSummary
from killsync.killmails.queries import columns
from killsync.killmails.selection import page_ids
from models.fields import moment
from models.killmails import VICTIM_SIDE, Attacker, Involvement, Killmail, Victim, party_of
from models.prepared import Ids, Prepared


@dataclass(frozen=True)
class Viewpoint:
    """Whose kills and losses a list marks: the ids of one kind of involvement, such as a reader's characters."""

    kind: int
    ids: tuple[int, ...]


@dataclass(frozen=True)
class SummaryPage:
    """One page, newest first."""

    killmails: list[KillmailSummary]
    has_next: bool


def page(chosen: KillmailFilter, first: int, after: str | None, viewpoint: Viewpoint | None = None) -> SummaryPage:
    """A page of at most *first* rows behind the cursor *after*.

    Raises:
        BadCursor: *after* is not one of ours.
    """
    ids = page_ids(chosen, first + 1, read_cursor(after) if after else None)
    return SummaryPage(summaries(ids[:first], viewpoint), has_next=len(ids) > first)


def _summary_rows(ids: Ids) -> Any:
    mail = columns(Killmail, "killmail_id", "killmail_time", "solar_system_id", "attacker_count", "npc", "solo", "awox",
                   "total_value", "priced_on")  # fmt: skip
    query: Any = Killmail.select(*mail, *columns(Victim, *PARTY_COLUMNS))
    query = query.join(Victim, on=Victim.killmail_id == Killmail.killmail_id).where(ids.have(Killmail.killmail_id))
    return query.order_by(Killmail.killmail_time.desc(), Killmail.killmail_id.desc())


def _final_blow_rows(ids: Ids) -> Any:
    blows = Attacker.select(*columns(Attacker, "killmail_id", *PARTY_COLUMNS))
    return blows.where(ids.have(Attacker.killmail_id) & Attacker.final_blow).order_by(Attacker.id)


_SUMMARIES, _FINAL_BLOWS = Prepared(_summary_rows), Prepared(_final_blow_rows)


def summaries(ids: Sequence[int], viewpoint: Viewpoint | None = None) -> list[KillmailSummary]:
    """The stored killmails of *ids* as rows, newest first; with `outcome` for whoever *viewpoint* names."""
    if not ids:
        return []
    names = EntityNames()
    found = {row["killmail_id"]: _summary(row, names) for row in _SUMMARIES.fetch(ids)}
    for row in _FINAL_BLOWS.fetch(ids):
        found[row["killmail_id"]].final_blow = party(row, names)
    names.fill()
    if viewpoint is not None and viewpoint.ids and found:
        _add_outcomes(found, viewpoint)
    return list(found.values())


def _summary(row: dict[str, Any], names: EntityNames) -> KillmailSummary:
    return KillmailSummary(
        killmail_id=row["killmail_id"],
        killmail_time=moment(row["killmail_time"]),
        solar_system=names.systems[row["solar_system_id"]],
        victim=party(row, names),
        attacker_count=row["attacker_count"],
        npc=bool(row["npc"]),
        solo=bool(row["solo"]),
        awox=bool(row["awox"]),
        total_value=None if row["priced_on"] is None else float(row["total_value"]),
    )


def _add_outcomes(found: dict[int, KillmailSummary], viewpoint: Viewpoint) -> None:
    times = [summary.killmail_time for summary in found.values()]
    involved: Any = Involvement.select(Involvement.killmail_id, Involvement.sides).where(
        party_of(Involvement, viewpoint.kind).in_(viewpoint.ids)
        & (Involvement.killmail_time >= min(times))
        & (Involvement.killmail_time <= max(times))
        & Involvement.killmail_id.in_(list(found))
    )
    for row in involved.dicts():
        summary = found[row["killmail_id"]]
        # Who shot at their own lost as well, and that is what they look for.
        if summary.outcome != "loss":
            summary.outcome = "loss" if row["sides"] & VICTIM_SIDE else "kill"
