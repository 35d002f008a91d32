"""Statistics of one party or place, in the shape of zKillboard's. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_COUNTED = ("shipsDestroyed", "shipsLost", "iskDestroyed", "iskLost", "pointsDestroyed", "pointsLost")


def stats_of(kind: str, number: int, name: str | None, tallies: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The statistics.

    Args:
        kind: as addresses name it, such as `characterID`.
        number: its id.
        name: None where it is not known.
        tallies: as `killsync.feed.queries.tallies` reads them.
    """
    whole = _nothing()
    solo = {"soloKills": 0, "soloLosses": 0}
    groups: dict[str, dict[str, Any]] = {}
    months: dict[str, dict[str, Any]] = {}
    for row in tallies:
        side = "Lost" if row["is_loss"] else "Destroyed"
        month, group = str(row["month"]), row["group_id"] or 0
        of_month = months.setdefault(month, {"year": int(month[:4]), "month": int(month[4:]), **_nothing()})
        of_group = groups.setdefault(str(group), {"groupID": group, **_nothing()})
        for counted in (whole, of_month, of_group):
            counted[f"ships{side}"] += row["number"]
            counted[f"points{side}"] += row["number"]
            counted[f"isk{side}"] += float(row["value"] or 0)
        if row["solo"]:
            solo["soloLosses" if row["is_loss"] else "soloKills"] += row["number"]
    kills, losses = whole["shipsDestroyed"], whole["shipsLost"]
    return {
        "id": number,
        "type": kind,
        "info": {"id": number, "type": kind, "name": name},
        **whole,
        **solo,
        "allTimeSum": kills + losses,
        "dangerRatio": _percent(kills, kills + losses),
        "gangRatio": _percent(kills - solo["soloKills"], kills),
        "groups": groups,
        "months": dict(sorted(months.items())),
        "topLists": [],
    }


def _nothing() -> dict[str, Any]:
    return dict.fromkeys(_COUNTED, 0)


def _percent(part: int, whole: int) -> int:
    return part * 100 // whole if whole else 0
