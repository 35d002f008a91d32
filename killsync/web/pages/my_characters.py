"""GET /me: the reader's own characters, how their syncs stand, and what can be done about them."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from dramatiq.errors import ConnectionError as BrokerConnectionError

from killsync.accounts import accounts, people
from killsync.settings import CORPORATION_SCOPE
from killsync.sso.refresh import revoke
from killsync.sync import run_queries
from killsync.sync.characters import request_sync
from killsync.web import sessions
from killsync.web.filter_address import BadAddress, read_id
from killsync.web.render import page
from killsync.web.security import check_rate, same_origin
from killsync.web.sessions import Viewer
from models.threads import in_db, read_db
from models.users import ACTIVE, DISABLED, User

#: Runs that the page tells of.
RUNS = 12


async def me(request: web.Request) -> web.Response:
    """GET /me."""
    viewer = await sessions.viewer_of(request)
    if viewer is None:
        return await page(request, "me.html", pilots=[], runs=[])
    runs, _ = await read_db(run_queries.run_page, viewer.user_ids, RUNS, None)
    names = {str(user.character_id): user.character_name for user in viewer.users}
    return await page(
        request,
        "me.html",
        pilots=await pilots(viewer),
        runs=[{**run, "name": names.get(run["characterId"], "")} for run in runs],
    )


async def pilots(viewer: Viewer) -> list[dict[str, Any]]:
    """The reader's characters with their newest run: what `_pilots.html` shows. First those that need something."""
    users = await read_db(people.user_trees, viewer.user_ids)
    scopes = {str(user.character_id): user.scopes.split() for user in viewer.users}
    runs = await read_db(run_queries.newest_runs, viewer.user_ids)
    return [
        {
            **user,
            "hasCorporation": CORPORATION_SCOPE in scopes[user["characterId"]],
            "run": _told(runs.get(user["id"])),
        }
        for user in sorted(users, key=lambda user: user["status"] != "NEEDS_LOGIN")
    ]


def _told(run: dict[str, Any] | None) -> dict[str, Any] | None:
    """What the script shows of a run, with GraphQL's names, so that it paints it like one it is told of later."""
    if run is None:
        return None
    return {
        name: run[name]
        for name in ("characterId", "status", "found", "saved", "skipped", "errors", "finishedAt", "error")
    }


async def sync(request: web.Request) -> web.Response:
    """POST /me/sync with `character`: start a sync of it now. One that is under way is joined."""
    user = await _own(request)
    if user.status != ACTIVE:
        raise web.HTTPConflict(text=f"{user.character_name} needs to log in again first.\n")
    try:
        await in_db(request_sync, user.id, "asked for")
    except BrokerConnectionError:
        raise web.HTTPServiceUnavailable(text="No worker can be told now; the next sync comes by itself.\n") from None
    raise web.HTTPSeeOther("/me")


async def disconnect(request: web.Request) -> web.Response:
    """POST /me/disconnect with `character`: revoke and forget its tokens. Its killmails stay."""
    user = await _own(request)
    if user.status != DISABLED:
        await in_db(revoke, user.id)
        await in_db(accounts.disconnect, user.id)
    raise web.HTTPSeeOther("/me")


async def _own(request: web.Request) -> User:
    """The character of the caller that a form names."""
    viewer = await sessions.viewer_of(request)
    if viewer is None or not same_origin(request):
        raise web.HTTPForbidden(text="Log in on this site first.\n")
    check_rate(request, "mutation", viewer.account_id)
    wanted = (await request.post()).get("character", "")
    try:
        number = read_id(wanted if isinstance(wanted, str) else "", "character")
    except BadAddress as error:
        raise web.HTTPBadRequest(text=f"{error}\n") from None
    for user in viewer.users:
        if user.character_id == number:
            return user
    raise web.HTTPNotFound(text="None of your characters has this id.\n")


def setup(app: web.Application) -> None:
    """Add the routes."""
    app.router.add_get("/me", me)
    app.router.add_post("/me/sync", sync)
    app.router.add_post("/me/disconnect", disconnect)
