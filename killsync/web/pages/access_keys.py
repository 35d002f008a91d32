"""POST /me/keys and /me/keys/{id}/revoke: the access keys of the reader's programs, which /me lists."""

from __future__ import annotations

from aiohttp import web

from killsync.access import keys
from killsync.access.decision import Need
from killsync.access.keys import BadKey
from killsync.accounts.viewer import Viewer
from killsync.web import forms, sessions
from killsync.web.guard import needs
from killsync.web.pages.my_characters import Notice, show
from killsync.web.security import check_rate, same_origin
from models.access import KILLMAILS, RUNS
from models.threads import in_db


async def create(request: web.Request) -> web.Response:
    """POST /me/keys with `name`, and `runs=1` for one that reads the owner's syncs too: make a key, and show it this once."""
    viewer = await _owner(request)
    form = await forms.read(request)
    scope = RUNS if form.get("runs") == "1" else KILLMAILS
    owner = viewer.users[0]
    try:
        text = await in_db(
            _create, viewer.account_id, form.get("name", ""), scope, owner.character_name, owner.character_id
        )
    except BadKey as error:
        return await show(request, viewer, Notice(str(error), is_good=False), status=400)
    notice = Notice("This is the key. It is shown this once: copy it now.", secret=text)
    return await show(request, viewer, notice, status=201)


def _create(account_id: int, name: str, scope: str, owner: str, character_id: int) -> str:
    return keys.create(account_id, name, scope, owner=owner, character_id=character_id)


async def revoke(request: web.Request) -> web.Response:
    """POST /me/keys/{id}/revoke: the key ends at once."""
    viewer = await _owner(request)
    text = request.match_info["id"]
    number = int(text) if len(text) < 19 else 0
    if not await in_db(_revoke, number, viewer.account_id, viewer.users[0].character_name):
        raise web.HTTPNotFound(text="You have no such key.\n")
    raise web.HTTPSeeOther("/me#keys")


def _revoke(key_id: int, account_id: int, by: str) -> bool:
    return keys.revoke(key_id, account_id=account_id, by=by)


async def _owner(request: web.Request) -> Viewer:
    """The caller, who comes from a page of ours."""
    viewer = await sessions.viewer_of(request)
    if viewer is None or not same_origin(request):
        raise web.HTTPForbidden(text="This request came from another site.\n")
    check_rate(request, "mutation", viewer.account_id)
    return viewer


def setup(app: web.Application) -> None:
    """Add the routes."""
    app.router.add_post("/me/keys", needs(Need.PERSON, create))
    app.router.add_post(r"/me/keys/{id:\d+}/revoke", needs(Need.PERSON, revoke))
