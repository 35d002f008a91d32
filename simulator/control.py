"""Control routes under `/_sim/` for tests and demonstrations that run in another process than the simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from simulator.faults import Fault

if TYPE_CHECKING:
    from simulator.app import Simulator


def figures(simulator: Simulator) -> dict[str, Any]:
    """What was asked and answered so far."""
    esi = simulator.esi
    return {
        "answers": {f"{kind} {status}": number for (kind, status), number in sorted(esi.answers.items())},
        "requests": sum(esi.answers.values()),
        "tokens": dict(esi.tokens),
        "early_requests": esi.early_requests,
        "details_asked_twice": sum(1 for number in esi.details.values() if number > 1),
        "refreshes": simulator.sso.refreshes,
    }


def add_control_routes(app: web.Application, simulator: Simulator) -> None:
    """Add the control routes."""

    async def stats(_request: web.Request) -> web.Response:
        return web.json_response(figures(simulator))

    async def characters(_request: web.Request) -> web.Response:
        return web.json_response(
            [
                {"character_id": character.character_id, "name": character.name,
                 "killmails": len(simulator.universe.listed("character", character.character_id, simulator.clock.now()))}
                for character in simulator.universe.characters.values()
            ]
        )  # fmt: skip

    async def kill(request: web.Request) -> web.Response:
        data = await request.json()
        age = float(data.get("age", 0))
        made = (
            simulator.late_kill(data["character_id"], age) if age else simulator.new_kill(data["character_id"])
        )  # fmt: skip
        if data.get("drop_caches", True):
            simulator.drop_caches()
        return web.json_response({"killmail_id": made.killmail_id, "killmail_hash": made.killmail_hash})

    async def set_faults(request: web.Request) -> web.Response:
        simulator.faults.append(Fault(**await request.json()))
        return web.json_response({"faults": len(simulator.faults)})

    async def clear_faults(_request: web.Request) -> web.Response:
        simulator.faults.clear()
        return web.json_response({"faults": 0})

    async def settings(request: web.Request) -> web.Response:
        data = await request.json()
        if "down" in data:
            simulator.is_down = bool(data["down"])
        if "auto_approve" in data:
            simulator.sso.auto_approve = data["auto_approve"]
        if "advance" in data:
            simulator.clock.advance(float(data["advance"]))
        if "revoke" in data:
            simulator.sso.revoke_character(int(data["revoke"]))
        return web.json_response({})

    async def issued(_request: web.Request) -> web.Response:
        return web.json_response(simulator.sso.issued)

    app.router.add_get("/_sim/stats", stats)
    app.router.add_get("/_sim/characters", characters)
    app.router.add_post("/_sim/kills", kill)
    app.router.add_post("/_sim/faults", set_faults)
    app.router.add_delete("/_sim/faults", clear_faults)
    app.router.add_post("/_sim/settings", settings)
    app.router.add_get("/_sim/issued", issued)
