"""The `zkb` block of a killmail, as zKillboard has it: what a killboard says of it beside ESI's body. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from killsync.killmails.labels import labels_of

#: zKillboard's points come from attributes of modules that CCP's static data here does not have; this is the least it gives.
POINTS = 1


def zkb_of(row: Mapping[str, Any], esi_url: str) -> dict[str, Any]:
    """The block of one killmail.

    Args:
        row: as `killsync.feed.queries.summaries` reads it.
        esi_url: origin of the ESI API.
    """
    killmail_id, killmail_hash = row["killmail_id"], row["killmail_hash"]
    return {
        "locationID": row["moon_id"],
        "hash": killmail_hash,
        **_values(row),
        "points": POINTS,
        "npc": bool(row["npc"]),
        "solo": bool(row["solo"]),
        "awox": bool(row["awox"]),
        "labels": list(labels_of(row["label_bits"], row["victim_category_id"])),
        "attackerCount": row["attacker_count"],
        "href": f"{esi_url}/killmails/{killmail_id}/{killmail_hash}/",
    }


def _values(row: Mapping[str, Any]) -> dict[str, float]:
    """What it was worth, ISK. The one place that reads it: a value that is not known is 0, as at zKillboard."""
    return {
        f"{name}Value": float(row.get(f"{name}_value") or 0) for name in ("fitted", "dropped", "destroyed", "total")
    }
