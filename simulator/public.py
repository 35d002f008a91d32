"""ESI's public routes over the universe: names, affiliations, characters, corporations, alliances, types, systems, prices."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from simulator import catalog, names, prices
from simulator.headers import cache_headers, etag_of, public
from simulator.refusal import Refused

if TYPE_CHECKING:
    from simulator.app import Simulator

#: How long ESI keeps prices.
PRICES_SECONDS = 3600.0

Work = Callable[[web.Request, float], Awaitable[web.Response]]


class Public:
    """The routes that need no token."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._prices_body = b""
        self._prices_made_at = self._prices_asked_until = float("-inf")

    def looked_up(self) -> tuple[tuple[str, str | None, Work], ...]:
        """(path, token group, work) of each GET route."""
        return (
            ("/status", "status", self._status),
            (r"/characters/{id:\d+}", None, self._character),
            (r"/corporations/{id:\d+}", None, self._corporation),
            (r"/alliances/{id:\d+}", None, self._alliance),
            (r"/universe/types/{id:\d+}", None, self._type),
            (r"/universe/systems/{id:\d+}", None, self._system),
            ("/universe/factions", None, self._factions),
            ("/markets/prices", None, self._prices),
        )

    def posted(self) -> tuple[tuple[str, Work], ...]:
        """(path, work) of each POST route."""
        return (("/universe/names", self._names), ("/characters/affiliation", self._affiliation))

    async def _ids(self, request: web.Request) -> list[int]:
        """The ids of a bulk look-up's body."""
        try:
            ids = msgspec.json.decode(await request.read())
        except msgspec.DecodeError:
            raise Refused(400, "the body is not JSON") from None
        if not isinstance(ids, list) or not 1 <= len(ids) <= 1000 or any(type(number) is not int for number in ids):
            raise Refused(400, "1 to 1000 ids are needed")
        if len(set(ids)) != len(ids):
            raise Refused(400, "ids must be unique")
        return ids

    async def _affiliation(self, request: web.Request, now: float) -> web.Response:
        universe = self._simulator.universe
        found = []
        for character in (universe.characters.get(number) for number in await self._ids(request)):
            if character is None:
                raise Refused(400, "Invalid character ID")
            entry = {"character_id": character.character_id, "corporation_id": character.corporation_id}
            alliance = universe.corporations.get(character.corporation_id, ("", None))[1]
            found.append(entry if alliance is None else {**entry, "alliance_id": alliance})
        return public(request, msgspec.json.encode(found), now, 3600.0)

    async def _names(self, request: web.Request, now: float) -> web.Response:
        ids = await self._ids(request)
        self._simulator.names_asked.update(ids)
        found = [(number, self._simulator.universe.name_of(number)) for number in ids]
        refused, unnamed = self._simulator.unnamed_categories, self._simulator.unnamed_ids | self._simulator.newborn
        if any(known is None or known[0] in refused or number in unnamed for number, known in found):
            raise Refused(404, "Ensure all IDs are valid before resolving")
        return web.json_response(
            [{"category": known[0], "id": number, "name": known[1]} for number, known in found if known]
        )

    async def _status(self, request: web.Request, now: float) -> web.Response:
        started = datetime.fromtimestamp(now, UTC).replace(hour=11, minute=5, second=0, microsecond=0)
        body = {
            "players": 24000,
            "server_version": "3000000",
            "start_time": started.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "vip": False,
        }
        return public(request, msgspec.json.encode(body), now, 30.0)

    async def _character(self, request: web.Request, now: float) -> web.Response:
        character = self._known(self._simulator.universe.characters, request, "Character not found")
        if character.character_id in self._simulator.unnamed_ids:
            raise Refused(404, "Character not found")
        body: dict[str, Any] = {
            "achievement_score": 100, "birthday": "2015-03-24T11:37:00Z", "bloodline_id": 3,
            "corporation_id": character.corporation_id, "gender": "female", "name": character.name, "race_id": 2,
        }  # fmt: skip
        alliance = self._simulator.universe.corporations[character.corporation_id][1]
        if alliance is not None:
            body["alliance_id"] = alliance
        return public(request, msgspec.json.encode(body), now, 86_400.0)

    async def _corporation(self, request: web.Request, now: float) -> web.Response:
        name, alliance = self._known(self._simulator.universe.corporations, request, "Corporation not found")
        number = int(request.match_info["id"])
        ceo = next(iter(self._simulator.universe.characters))
        body: dict[str, Any] = {
            "ceo_id": ceo, "creator_id": ceo, "member_count": 10, "name": name, "ticker": f"C{number % 1000}",
            "tax_rates": {"isk": 10.0, "loyalty_point": 0.0}, "type": "player_owned", "friendly_fire": "legal",
            "description": "", "home_station_id": 60_003_760, "shares": 1000, "state": "active", "war_eligible": True,
        }  # fmt: skip
        if alliance is not None:
            body["alliance_id"] = alliance
        return public(request, msgspec.json.encode(body), now, 3600.0)

    async def _alliance(self, request: web.Request, now: float) -> web.Response:
        name = self._known(self._simulator.universe.alliances, request, "Alliance not found")
        ceo = next(iter(self._simulator.universe.characters))
        body = {
            "creator_corporation_id": 98_000_001, "creator_id": ceo, "date_founded": "2016-06-26T21:00:00Z",
            "name": name, "ticker": f"A{int(request.match_info['id']) % 100}",
        }  # fmt: skip
        return public(request, msgspec.json.encode(body), now, 3600.0)

    async def _type(self, request: web.Request, now: float) -> web.Response:
        number = int(request.match_info["id"])
        known = self._simulator.universe.name_of(number)
        if known is None or known[0] != "inventory_type":
            raise Refused(404, "Type not found!")
        body = {
            "description": "",
            "group_id": catalog.TYPES[number][1],
            "name": known[1],
            "published": True,
            "type_id": number,
        }
        return public(request, msgspec.json.encode(body), now, 86_400.0)

    async def _system(self, request: web.Request, now: float) -> web.Response:
        name, constellation, _region, security, x, y, z = self._known(
            catalog.SYSTEMS, request, "Solar system not found"
        )
        body = {
            "constellation_id": constellation, "name": name, "position": {"x": x, "y": y, "z": z},
            "security_status": security, "system_id": int(request.match_info["id"]),
        }  # fmt: skip
        return public(request, msgspec.json.encode(body), now, 86_400.0)

    async def _factions(self, request: web.Request, now: float) -> web.Response:
        body = [
            {"description": name, "faction_id": number, "is_unique": True, "name": name, "size_factor": 5.0,
             "station_count": 10, "station_system_count": 5}
            for number, name in names.FACTIONS.items()
        ]  # fmt: skip
        return public(request, msgspec.json.encode(body), now, 86_400.0)

    async def _prices(self, request: web.Request, now: float) -> web.Response:
        """One list for everybody until it expires; who asks for it again before that is counted."""
        if now < self._prices_asked_until:
            self._simulator.esi.early_requests += 1
        if now >= self._prices_made_at + PRICES_SECONDS:
            self._prices_made_at = now
            found = self._simulator.prices
            self._prices_body = msgspec.json.encode(prices.prices(now)) if found is None else found
        expires = self._prices_asked_until = self._prices_made_at + PRICES_SECONDS
        etag = etag_of(self._prices_body)
        headers = cache_headers(etag, self._prices_made_at, expires, now, expires - now)
        if request.headers.get("If-None-Match", "").removeprefix("W/").strip('"') == etag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=self._prices_body, content_type="application/json", headers=headers)

    def _known(self, table: dict[int, Any], request: web.Request, text: str) -> Any:
        found = table.get(int(request.match_info["id"]))
        if found is None:
            raise Refused(404, text)
        return found
