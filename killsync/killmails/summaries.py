"""Killmails as rows of a list: as much of each as a row shows, however many attackers and items it has. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from peewee import fn

from killsync.killmails.cursors import read_cursor
from killsync.killmails.entity_names import PARTY_COLUMNS, EntityNames, party
from killsync.killmails.filter import Filter
from killsync.killmails.killmail import KillmailSummary
from killsync.killmails.queries import columns, page_ids
from models.expressions import one_of
from models.fields import moment
from models.killmails import VICTIM_SIDE, Attacker, Involvement, Killmail, Victim
from models.sql import fetch


@dataclass(frozen=True)
class Viewpoint:
    """Whose kills and losses a list tells apart: the ids of one kind of involvement, such as a reader's characters."""

    kind: int
    ids: tuple[int, ...]


@dataclass(frozen=True)
class SummaryPage:
    """One page, newest first."""

    killmails: list[KillmailSummary]
    has_next: bool


def page(chosen: Filter, first: int, after: str | None, viewpoint: Viewpoint | None = None) -> SummaryPage:
    """A page of at most *first* rows behind the cursor *after*.

    Raises:
        BadCursor: *after* is not one of ours.
    """
    ids = page_ids(chosen, first + 1, read_cursor(after) if after else None)
    return SummaryPage(summaries(ids[:first], viewpoint), has_next=len(ids) > first)


_KILLMAIL = columns(Killmail, "killmail_id", "killmail_time", "solar_system_id", "attacker_count")
_VICTIM = columns(Victim, *PARTY_COLUMNS)
_FINAL_BLOW = columns(Attacker, "killmail_id", *PARTY_COLUMNS)


def summaries(ids: Sequence[int], viewpoint: Viewpoint | None = None) -> list[KillmailSummary]:
    """The stored killmails of *ids* as rows, newest first; with `outcome` for whoever *viewpoint* names."""
    if not ids:
        return []
    names = EntityNames()
    newest = (
        Killmail.select(*_KILLMAIL, *_VICTIM)
        .join(Victim, on=Victim.killmail_id == Killmail.killmail_id)
        .where(one_of(Killmail.killmail_id, ids))
        .order_by(Killmail.killmail_time.desc(), Killmail.killmail_id.desc())
    )
    found = {row["killmail_id"]: _summary(row, names) for row in fetch(newest)}
    _add_classes(found)
    blows = Attacker.select(*_FINAL_BLOW).where(one_of(Attacker.killmail_id, ids) & Attacker.final_blow)
    for row in fetch(blows.order_by(Attacker.id)):
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
    )


def _add_classes(found: dict[int, KillmailSummary]) -> None:
    """`npc` and `solo`, by the rule of `killsync.killmails.queries`."""
    pilots = (
        Attacker.select(Attacker.killmail_id, fn.COUNT(Attacker.character_id).alias("pilots"))
        .where(one_of(Attacker.killmail_id, found))
        .group_by(Attacker.killmail_id)
    )
    for row in fetch(pilots):
        summary = found[row["killmail_id"]]
        summary.npc = row["pilots"] == 0
        summary.solo = row["pilots"] == 1 and summary.victim.character is not None


def _add_outcomes(found: dict[int, KillmailSummary], viewpoint: Viewpoint) -> None:
    times = [summary.killmail_time for summary in found.values()]
    involved = Involvement.select(Involvement.killmail_id, Involvement.sides).where(
        (Involvement.kind == viewpoint.kind)
        & one_of(Involvement.entity_id, viewpoint.ids)
        & (Involvement.killmail_time >= min(times))
        & (Involvement.killmail_time <= max(times))
        & one_of(Involvement.killmail_id, found)
    )
    for row in fetch(involved):
        summary = found[row["killmail_id"]]
        # Who shot at their own lost as well, and that is what they look for.
        if summary.outcome != "loss":
            summary.outcome = "loss" if row["sides"] & VICTIM_SIDE else "kill"
