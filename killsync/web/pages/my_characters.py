"""GET /me: the reader's own characters, how their syncs stand, and what can be done about them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from aiohttp import web
from dramatiq.errors import BrokerConnectionError

from killsync.accounts import accounts, people
from killsync.accounts.people import UserSummary
from killsync.settings import CORPORATION_SCOPE
from killsync.sso.refresh import revoke
from killsync.sync import run_queries, waiting
from killsync.sync.characters import request_sync
from killsync.sync.run_queries import RunSummary
from killsync.web import forms, sessions
from killsync.web.filter_address import BadAddress, read_id
from killsync.web.render import page
from killsync.web.security import check_rate, same_origin
from killsync.web.sessions import Viewer
from models import utcnow
from models.sync import WAITING
from models.threads import in_db, in_service, read_db
from models.users import ACTIVE, DISABLED, NEEDS_LOGIN, User

#: Runs that the page shows.
RUNS = 12


@dataclass(frozen=True)
class NextSync:
    """When a character's list is read next: now, while a sync of it is under way; at `at`; or, without either, not planned."""

    at: datetime | None
    is_now: bool = False


@dataclass(frozen=True)
class Pilot:
    """One of the reader's characters with its newest run."""

    user: UserSummary
    has_corporation: bool
    run: dict[str, str | int | None] | None
    next_sync: NextSync
    #: Whether the reader may disconnect or separate it.
    may_remove: bool


async def me(request: web.Request) -> web.Response:
    """GET /me."""
    check_rate(request, "page")
    viewer = await sessions.viewer_of(request)
    if viewer is None:
        return await page(request, "me.html", pilots=[], runs=[])
    return await page(request, "me.html", pilots=await pilots(viewer), runs=await _runs(viewer))


async def syncs(request: web.Request) -> web.Response:
    """GET /me/syncs: the reader's characters and, with `whole=1`, the last syncs, for the script that keeps a page up to date."""
    check_rate(request, "rows")
    viewer = await sessions.viewer_of(request)
    if viewer is None:
        raise web.HTTPForbidden(text="Log in to see your characters.\n")
    is_whole = request.query.get("whole") == "1"
    runs = await _runs(viewer) if is_whole else []
    return await page(request, "syncs.html", pilots=await pilots(viewer), runs=runs, whole=is_whole)


async def _runs(viewer: Viewer) -> list[tuple[RunSummary, str]]:
    """The last syncs, each with the name of its character."""
    found = await read_db(run_queries.run_page, viewer.user_ids, RUNS, None)
    names = {user.id: user.character_name for user in viewer.users}
    return [(run, names.get(run.user_id, "")) for run in found.runs]


async def pilots(viewer: Viewer) -> list[Pilot]:
    """The reader's characters with their newest run: what `_pilots.html` shows. First those that need something."""
    users = await read_db(people.user_summaries, viewer.user_ids)
    known = {user.id: user for user in viewer.users}
    runs = await read_db(run_queries.newest_runs, viewer.user_ids)
    return [
        Pilot(
            user,
            CORPORATION_SCOPE in known[user.id].scopes.split(),
            _script_run(runs.get(user.id)),
            _next_sync(known[user.id], user, runs.get(user.id)),
            viewer.may_remove(known[user.id]),
        )
        for user in sorted(users, key=lambda user: (user.status != NEEDS_LOGIN, user.doubted_until is None))
    ]


def _next_sync(user: User, summary: UserSummary, run: RunSummary | None) -> NextSync:
    """The next sync that is true: `next_sync_at` is that of a claim, while a message is under way."""
    if summary.status != ACTIVE:
        return NextSync(None)
    if run is not None and run.finished_at is None:
        until = waiting.until_of(run.error) if run.status == WAITING else None
        return NextSync(until, is_now=until is None)
    is_claimed = user.claimed_until is not None and user.claimed_until > utcnow()
    is_due = summary.next_sync_at is not None and summary.next_sync_at <= utcnow()
    return NextSync(None, is_now=True) if is_claimed or is_due else NextSync(summary.next_sync_at)


def _script_run(run: RunSummary | None) -> dict[str, str | int | None] | None:
    """A run for the page's script, as GraphQL gives it: the script shows it like one that a subscription brings later."""
    if run is None:
        return None
    return {
        "id": str(run.id),
        "characterId": str(run.character_id),
        "status": run.status.upper(),
        "found": run.found,
        "saved": run.saved,
        "skipped": run.skipped,
        "errors": run.errors,
        "finishedAt": _text(run.finished_at),
        "error": run.error,
    }


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


async def sync(request: web.Request) -> web.Response:
    """POST /me/sync with `character`: start a sync of it now. One that is under way is joined."""
    user = await _own(request)
    if user.status != ACTIVE:
        raise web.HTTPConflict(text=f"{user.character_name} needs to log in again first.\n")
    try:
        await in_service(request_sync, user.id, "asked for")
    except BrokerConnectionError:
        raise web.HTTPServiceUnavailable(text="No worker can be told now; the next sync comes by itself.\n") from None
    raise web.HTTPSeeOther("/me")


async def disconnect(request: web.Request) -> web.Response:
    """POST /me/disconnect with `character`: revoke and forget its tokens. Its killmails stay."""
    user = await _own(request, to_remove=True)
    if user.status != DISABLED:
        await in_service(revoke, user.id)
        await in_db(accounts.disconnect, user.id)
    raise web.HTTPSeeOther("/me")


async def split(request: web.Request) -> web.Response:
    """POST /me/split with `character`: give it an account of its own again."""
    user = await _own(request, to_remove=True)
    assert user.account_id is not None
    if not await in_db(accounts.split, user.account_id, user.id):
        raise web.HTTPConflict(text=f"{user.character_name} is the only character of its account.\n")
    raise web.HTTPSeeOther("/me")


async def _own(request: web.Request, *, to_remove: bool = False) -> User:
    """The character of the caller that a form names; *to_remove*: one that the caller may disconnect or separate."""
    viewer = await sessions.viewer_of(request)
    if viewer is None or not same_origin(request):
        raise web.HTTPForbidden(text="Log in on this site first.\n")
    check_rate(request, "mutation", viewer.account_id)
    try:
        number = read_id((await forms.read(request)).get("character", ""), "character")
    except BadAddress as error:
        raise web.HTTPBadRequest(text=f"{error}\n") from None
    for user in viewer.users:
        if user.character_id == number:
            if to_remove and not viewer.may_remove(user):
                raise web.HTTPForbidden(
                    text=f"{user.character_name} was here before the character that you logged in as.\n"
                )
            return user
    raise web.HTTPNotFound(text="None of your characters has this id.\n")


def setup(app: web.Application) -> None:
    """Add the routes."""
    app.router.add_get("/me", me)
    app.router.add_get("/me/syncs", syncs)
    app.router.add_post("/me/sync", sync)
    app.router.add_post("/me/disconnect", disconnect)
    app.router.add_post("/me/split", split)
