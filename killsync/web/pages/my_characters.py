"""GET /me: the reader's own characters, how their syncs stand, and what can be done about them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from aiohttp import web
from dramatiq.errors import BrokerConnectionError

from killsync.access import admission, keys, members
from killsync.access.decision import Need
from killsync.accounts import accounts, people
from killsync.accounts.people import UserSummary
from killsync.accounts.viewer import Viewer
from killsync.settings import CORPORATION_SCOPE
from killsync.sync import directors, run_queries, waiting
from killsync.sync.characters import request_sync
from killsync.sync.directors import Standing
from killsync.sync.run_queries import RunSummary
from killsync.web import forms, sessions
from killsync.web.filter_address import BadAddress, read_id
from killsync.web.guard import needs, whom_to_ask
from killsync.web.render import page
from killsync.web.security import SETTINGS, check_rate, client_ip, same_origin
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
    #: What its corporation's list is to it: see `_corporation`.
    corporation: str
    #: It may not log in here any more; another one of the account may.
    has_left: bool
    run: dict[str, str | int | None] | None
    next_sync: NextSync
    #: Whether the reader may disconnect or separate it.
    may_remove: bool


@dataclass(frozen=True)
class Notice:
    """What the page says above everything else; *secret* is shown this once."""

    text: str
    is_good: bool = True
    secret: str | None = None


async def me(request: web.Request) -> web.Response:
    """GET /me."""
    check_rate(request, "page")
    viewer = await sessions.viewer_of(request)
    if viewer is not None:
        return await show(request, viewer)
    if await sessions.account_of(request) is not None:
        return await page(request, "left.html", status=403, whom=await whom_to_ask(request))
    return await page(request, "me.html", pilots=[], runs=[], keys=[], notice=None)


async def show(request: web.Request, viewer: Viewer, notice: Notice | None = None, status: int = 200) -> web.Response:
    """The page of *viewer*, with what came of something above it."""
    listed = await read_db(keys.listed, viewer.account_id)
    response = await page(
        request, "me.html", status=status, viewer=viewer, pilots=await pilots(request, viewer), runs=await _runs(viewer),
        keys=listed, notice=notice,
    )  # fmt: skip
    if notice is not None:
        response.headers["Cache-Control"] = "no-store"
    return response


async def syncs(request: web.Request) -> web.Response:
    """GET /me/syncs: the reader's characters and, with `whole=1`, the last syncs, for the script that keeps a page up to date."""
    check_rate(request, "rows")
    viewer = await sessions.viewer_of(request)
    if viewer is None:
        raise web.HTTPForbidden(text="Log in to see your characters.\n")
    is_whole = request.query.get("whole") == "1"
    runs = await _runs(viewer) if is_whole else []
    return await page(request, "syncs.html", pilots=await pilots(request, viewer), runs=runs, whole=is_whole)


async def _runs(viewer: Viewer) -> list[tuple[RunSummary, str]]:
    """The last syncs, each with the name of its character."""
    found = await read_db(run_queries.run_page, viewer.user_ids, RUNS, None)
    names = {user.id: user.character_name for user in viewer.users}
    return [(run, names.get(run.user_id, "")) for run in found.runs]


async def pilots(request: web.Request, viewer: Viewer) -> list[Pilot]:
    """The reader's characters with their newest run: what `_pilots.html` shows. First those that need something."""
    users = await read_db(people.user_summaries, viewer.user_ids)
    known = {user.id: user for user in viewer.users}
    standings = await read_db(directors.standings, viewer.user_ids)
    left = await read_db(members.former, request.app[SETTINGS], viewer.character_ids)
    runs = await read_db(run_queries.newest_runs, viewer.user_ids)
    return [
        Pilot(
            user,
            _corporation(known[user.id], standings.get(user.id)),
            user.character_id in left,
            _script_run(runs.get(user.id)),
            _next_sync(known[user.id], user, runs.get(user.id)),
            viewer.may_remove(known[user.id]),
        )
        for user in sorted(users, key=lambda user: (user.status != NEEDS_LOGIN, user.doubted_until is None))
    ]


def _corporation(user: User, standing: Standing | None) -> str:
    """What a character's corporation's list is to it.

    `read`, `granted` (not read yet), `no_director` (ESI said so), `no_list` (a corporation of the game), `offer` (it may be a
    Director, and has not granted the scope), or `none`.
    """
    if user.status != ACTIVE:
        return "none"
    if standing is not None and standing.corporation_id <= directors.LAST_NPC_CORPORATION:
        return "no_list"
    if standing is not None and standing.is_refused:
        return "no_director"
    if CORPORATION_SCOPE not in user.scopes.split():
        return "offer"
    return "read" if standing is not None and standing.has_read else "granted"


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
        await in_service(admission.disconnect, user, client_ip(request))
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
    app.router.add_get("/me", needs(Need.ACCOUNT, me))
    app.router.add_get("/me/syncs", needs(Need.OWN, syncs))
    app.router.add_post("/me/sync", needs(Need.PERSON, sync))
    app.router.add_post("/me/disconnect", needs(Need.PERSON, disconnect))
    app.router.add_post("/me/split", needs(Need.PERSON, split))
