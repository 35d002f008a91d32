"""Files of killmails as others make them, and as nobody should."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any


def killmail(killmail_id: int, **more: Any) -> dict[str, Any]:
    """A killmail as ESI gives it; *more* are other fields of it."""
    return {
        "attackers": [
            {"character_id": 2_100_000_001, "corporation_id": 98_000_001, "damage_done": 700, "final_blow": True,
             "security_status": 0.5, "ship_type_id": 587, "weapon_type_id": 3178},
            {"corporation_id": 1_000_125, "damage_done": 3, "final_blow": False, "security_status": 0.0},
        ],
        "killmail_id": killmail_id,
        "killmail_time": "2026-08-01T10:20:30Z",
        "solar_system_id": 30_004_759,
        "victim": {
            "character_id": 2_100_000_002, "corporation_id": 98_000_002, "damage_taken": 703, "ship_type_id": 603,
            "items": [
                {"flag": 5, "item_type_id": 3465, "singleton": 0, "quantity_dropped": 1,
                 "items": [{"flag": 5, "item_type_id": 34, "singleton": 0, "quantity_destroyed": 9}]},
                {"flag": 27, "item_type_id": 2929, "singleton": 0, "quantity_destroyed": 1},
            ],
            "position": {"x": 1.5, "y": -2.25, "z": 1e12},
        },
        **more,
    }  # fmt: skip


def hash_of(killmail_id: int) -> str:
    """A hash that nobody else has."""
    return hashlib.sha1(str(killmail_id).encode(), usedforsecurity=False).hexdigest()


def everef(killmail_id: int, **more: Any) -> bytes:
    """The same as in an archive of EVE Ref."""
    body = killmail(killmail_id, **more)
    body.update(killmail_hash=hash_of(killmail_id), http_last_modified="2026-08-02T00:00:00Z")
    return json.dumps(body, separators=(",", ":")).encode()


def tar(path: Path, members: dict[str, bytes], mode: str = "w:bz2") -> Path:
    """A tar archive of files by name, in which a name may be any text."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, text in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
    return path


def day(path: Path, ids: range) -> Path:
    """An archive of a day as EVE Ref makes it."""
    return tar(path, {f"killmails/{number}.json": everef(number) for number in ids})
