"""Types, groups, systems and gates of the simulated universe: a small part of the real one, with its real ids and names.

`catalog.json` holds rows in the order of the names below. The simulator serves them as CCP's static data export.
"""

from __future__ import annotations

import io
import json
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Any

BUILD = 3_650_286
RELEASED = "2026-10-27T11:00:00Z"

_TABLES: dict[str, list[list[Any]]] = json.loads((Path(__file__).parent / "catalog.json").read_text())

#: (name, group, market group, meta group, published, volume, mass) by type.
TYPES = {row[0]: tuple(row[1:]) for row in _TABLES["types"]}
#: (name, category) by group.
GROUPS = {row[0]: (row[1], row[2]) for row in _TABLES["groups"]}
#: (name, constellation, region, security, x, y, z) by system.
SYSTEMS = {row[0]: tuple(row[1:]) for row in _TABLES["systems"]}
#: (name, region) by constellation.
CONSTELLATIONS = {row[0]: (row[1], row[2]) for row in _TABLES["constellations"]}
REGIONS = {row[0]: row[1] for row in _TABLES["regions"]}
GATES = [(row[0], row[1]) for row in _TABLES["stargates"]]


def name_of(type_id: int) -> str:
    """The name of a type."""
    return str(TYPES[type_id][0])


def group_of(type_id: int) -> str:
    """The name of a type's group, such as Frigate."""
    return GROUPS[TYPES[type_id][1]][0]


def types_of(*groups: str) -> list[int]:
    """The types of the groups of these names."""
    return [type_id for type_id in TYPES if group_of(type_id) in groups]


def latest() -> bytes:
    """`latest.jsonl`: which build is the newest."""
    return _line({"_key": "sde", "buildNumber": BUILD, "releaseDate": RELEASED})


@lru_cache(maxsize=1)
def archive() -> bytes:
    """The static data export as a zip file of JSON Lines, with the fields of the real one."""
    gates = [{"_key": 50_000_000 + number, "solarSystemID": gate[0], "destination": {"solarSystemID": gate[1]}}
             for number, gate in enumerate(GATES)]  # fmt: skip
    systems = [
        {"_key": key, "name": {"en": name}, "constellationID": constellation, "regionID": region, "securityStatus": security,
         "position": {"x": x, "y": y, "z": z}}
        for key, (name, constellation, region, security, x, y, z) in SYSTEMS.items()
    ]  # fmt: skip
    types = [
        _full(_key=key, name={"en": name}, groupID=group, marketGroupID=market, metaGroupID=meta, published=published,
              volume=volume, mass=mass, portionSize=1)
        for key, (name, group, market, meta, published, volume, mass) in TYPES.items()
    ]  # fmt: skip
    files = {
        "_sde": [{"_key": "sde", "buildNumber": BUILD, "releaseDate": RELEASED}],
        "categories": [{"_key": row[0], "name": {"en": row[1]}, "published": True} for row in _TABLES["categories"]],
        "groups": [{"_key": key, "name": {"en": name}, "categoryID": category, "published": True}
                   for key, (name, category) in GROUPS.items()],
        "types": types,
        "marketGroups": [_full(_key=row[0], name={"en": row[1]}, parentGroupID=row[2], hasTypes=True)
                         for row in _TABLES["market_groups"]],
        "metaGroups": [{"_key": row[0], "name": {"en": row[1]}} for row in _TABLES["meta_groups"]],
        "mapRegions": [{"_key": key, "name": {"en": name}} for key, name in REGIONS.items()],
        "mapConstellations": [{"_key": key, "name": {"en": name}, "regionID": region}
                              for key, (name, region) in CONSTELLATIONS.items()],
        "mapSolarSystems": systems,
        "mapStargates": gates,
    }  # fmt: skip
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name, entries in files.items():
            target.writestr(f"{name}.jsonl", b"".join(map(_line, entries)))
    return packed.getvalue()


def _full(**fields: Any) -> dict[str, Any]:
    """An entry without the fields that have no value, as the export leaves them out."""
    return {name: value for name, value in fields.items() if value is not None}


def _line(entry: Any) -> bytes:
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
