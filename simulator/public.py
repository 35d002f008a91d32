"""What ESI tells anybody about the game: names, characters, corporations, types, systems, prices."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web

from simulator import names
from simulator.answers import Refused, cacheable
from simulator.universe import Universe


class Public:
    """The routes that need no token."""

    def __init__(self, universe: Universe) -> None:
        self._universe = universe

    async def names(self, request: web.Request, now: float) -> web.Response:
        try:
            ids = orjson.loads(await request.read())
        except orjson.JSONDecodeError:
            raise Refused(400, "the body is not JSON") from None
        if not isinstance(ids, list) or not 1 <= len(ids) <= 1000 or any(type(number) is not int for number in ids):
            raise Refused(400, "1 to 1000 ids are needed")
        if len(set(ids)) != len(ids):
            raise Refused(400, "ids must be unique")
        found = [(number, self._universe.name_of(number)) for number in ids]
        if any(known is None for _, known in found):
            raise Refused(404, "Ensure all IDs are valid before resolving")
        return web.json_response(
            [{"category": known[0], "id": number, "name": known[1]} for number, known in found if known]
        )

    async def status(self, request: web.Request, now: float) -> web.Response:
        started = datetime.fromtimestamp(now, UTC).replace(hour=11, minute=5, second=0, microsecond=0)
        body = {
            "players": 24000,
            "server_version": "3000000",
            "start_time": started.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "vip": False,
        }
        return cacheable(request, orjson.dumps(body), now, 30.0)

    async def character(self, request: web.Request, now: float) -> web.Response:
        character = self._known(self._universe.characters, request, "Character not found")
        body: dict[str, Any] = {
            "achievement_score": 100, "birthday": "2015-03-24T11:37:00Z", "bloodline_id": 3,
            "corporation_id": character.corporation_id, "gender": "female", "name": character.name, "race_id": 2,
        }  # fmt: skip
        alliance = self._universe.corporations[character.corporation_id][1]
        if alliance is not None:
            body["alliance_id"] = alliance
        return cacheable(request, orjson.dumps(body), now, 86_400.0)

    async def corporation(self, request: web.Request, now: float) -> web.Response:
        name, alliance = self._known(self._universe.corporations, request, "Corporation not found")
        number = int(request.match_info["id"])
        ceo = next(iter(self._universe.characters))
        body: dict[str, Any] = {
            "ceo_id": ceo, "creator_id": ceo, "member_count": 10, "name": name, "ticker": f"C{number % 1000}",
            "tax_rates": {"isk": 10.0, "loyalty_point": 0.0}, "type": "player_owned", "friendly_fire": "legal",
            "description": "", "home_station_id": 60_003_760, "shares": 1000, "state": "active", "war_eligible": True,
        }  # fmt: skip
        if alliance is not None:
            body["alliance_id"] = alliance
        return cacheable(request, orjson.dumps(body), now, 3600.0)

    async def alliance(self, request: web.Request, now: float) -> web.Response:
        name = self._known(self._universe.alliances, request, "Alliance not found")
        ceo = next(iter(self._universe.characters))
        body = {
            "creator_corporation_id": 98_000_001, "creator_id": ceo, "date_founded": "2016-06-26T21:00:00Z",
            "name": name, "ticker": f"A{int(request.match_info['id']) % 100}",
        }  # fmt: skip
        return cacheable(request, orjson.dumps(body), now, 3600.0)

    async def type(self, request: web.Request, now: float) -> web.Response:
        number = int(request.match_info["id"])
        known = self._universe.name_of(number)
        if known is None or known[0] != "inventory_type":
            raise Refused(404, "Type not found!")
        body = {"description": "", "group_id": 25, "name": known[1], "published": True, "type_id": number}
        return cacheable(request, orjson.dumps(body), now, 86_400.0)

    async def system(self, request: web.Request, now: float) -> web.Response:
        name = self._known(names.SYSTEMS, request, "Solar system not found")
        body = {
            "constellation_id": 20_000_020, "name": name, "position": {"x": 1.0, "y": 2.0, "z": 3.0},
            "security_status": 0.9, "system_id": int(request.match_info["id"]),
        }  # fmt: skip
        return cacheable(request, orjson.dumps(body), now, 86_400.0)

    async def factions(self, request: web.Request, now: float) -> web.Response:
        body = [
            {"description": name, "faction_id": number, "is_unique": True, "name": name, "size_factor": 5.0,
             "station_count": 10, "station_system_count": 5}
            for number, name in names.FACTIONS.items()
        ]  # fmt: skip
        return cacheable(request, orjson.dumps(body), now, 86_400.0)

    async def prices(self, request: web.Request, now: float) -> web.Response:
        body = [
            {"type_id": number, "average_price": number * 10.5, "adjusted_price": number * 10.0}
            for number in names.ITEMS
        ]
        return cacheable(request, orjson.dumps(body), now, 3600.0)

    @staticmethod
    def _known(table: dict[int, Any], request: web.Request, text: str) -> Any:
        found = table.get(int(request.match_info["id"]))
        if found is None:
            raise Refused(404, text)
        return found
