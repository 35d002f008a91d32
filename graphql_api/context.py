"""Who asks, and what they gave: the context of an operation, and reading its arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from graphql_api.errors import ApiError, BadInput, Forbidden, NeedsLogin, RateLimited, Unauthenticated
from graphql_api.queue_status import QUEUE_STATUS, QueueStatus
from killsync.access.decision import Need, Refusal
from killsync.accounts.viewer import Viewer
from killsync.events.hub import HUB, Hub
from killsync.killmails.filter import KillmailFilter
from killsync.killmails.filter_forms import OWN, BadFilter, from_graphql
from killsync.killmails.own import own_of
from killsync.settings import Settings
from killsync.web import guard, sessions
from killsync.web.security import LIMITER, SETTINGS, check_rate
from models.threads import read_db
from models.users import ACTIVE, User

#: A WebSocket stays open for long: who is behind it is read anew this often, seconds.
KEEP_SECONDS = 2.0
_MOST_ID = 2**63 - 1


@dataclass
class Context:
    """One operation's context. What a resolver needs is said in `tartiflette.bindings`, and asked for here before it runs."""

    request: web.Request

    @property
    def settings(self) -> Settings:
        return self.request.app[SETTINGS]

    @property
    def hub(self) -> Hub:
        return self.request.app[HUB]

    @property
    def queue_status(self) -> QueueStatus:
        return self.request.app[QUEUE_STATUS]

    async def allow(self, need: Need) -> None:
        """Let the caller have what needs *need*.

        Raises:
            Unauthenticated: a visitor.
            Forbidden: it is not for this caller.
            RateLimited: too many wrong keys came from there.
        """
        try:
            refusal = await guard.refusal_of(self.request, need, KEEP_SECONDS)
        except web.HTTPTooManyRequests as error:
            raise RateLimited(int(error.headers["Retry-After"])) from None
        if refusal is not None:
            raise refused(refusal)

    async def go_on(self, need: Need) -> None:
        """The same for each event of a subscription."""
        refusal = await guard.ending_of(self.request, need, KEEP_SECONDS)
        if refusal is not None:
            raise refused(refusal)

    async def viewer(self) -> Viewer | None:
        """Who is asking; None for a visitor."""
        return await sessions.viewer_within(self.request, KEEP_SECONDS)

    async def person(self) -> Viewer:
        """Who is asking.

        Raises:
            Unauthenticated: a visitor.
        """
        viewer = await self.viewer()
        if viewer is None:
            raise Unauthenticated
        return viewer

    async def changer(self) -> Viewer:
        """Who wants to change something: a person, and not too often.

        Raises:
            Unauthenticated: a visitor.
            RateLimited: too often; says when to come back.
        """
        # As of now: on a WebSocket it was perhaps found out before a logout.
        await sessions.viewer_within(self.request, 0.0)
        viewer = await self.person()
        try:
            check_rate(self.request, "mutation", viewer.account_id)
        except web.HTTPTooManyRequests as error:
            raise RateLimited(int(error.headers["Retry-After"])) from None
        return viewer

    def spend_tokens(self, viewer: Viewer, tokens: int) -> None:
        """Take tokens of ESI from what people may spend by asking for killmails: each account, and all together.

        Raises:
            RateLimited: that is spent; says when to come back.
        """
        limiter = self.request.app[LIMITER]
        wait = limiter.wait("submit", f"account {viewer.account_id}", cost=tokens)
        if not wait:
            wait = limiter.wait("submit_in_all", "all", cost=tokens)
        if wait:
            raise RateLimited(int(wait) + 1)

    def give_tokens_back(self, viewer: Viewer, tokens: int) -> None:
        """Give back what was taken and not needed."""
        limiter = self.request.app[LIMITER]
        limiter.charge("submit", f"account {viewer.account_id}", -tokens)
        limiter.charge("submit_in_all", "all", -tokens)


def refused(refusal: Refusal) -> ApiError:
    """The error by which a client learns of *refusal*."""
    return Unauthenticated() if refusal is Refusal.LOGIN else Forbidden(refusal.value)


def number(value: str, name: str) -> int:
    """An id that a client wrote.

    Raises:
        BadInput: it is no whole number of at most 63 bits.
    """
    if value.isascii() and value.isdigit() and len(value) <= 19 and int(value) <= _MOST_ID:
        return int(value)
    raise BadInput(f"{name} is a whole number up to {_MOST_ID}", argument=name)


def first(arguments: dict[str, Any], default: int) -> int:
    """How many a page is to hold.

    Raises:
        BadInput: it is not from 1 to 100.
    """
    value = arguments.get("first")
    value = default if value is None else value
    if not 1 <= value <= 100:
        raise BadInput("first is from 1 to 100", argument="first")
    return int(value)


async def killmail_filter(given: dict[str, Any] | None, context: Context) -> KillmailFilter:
    """The filter that a client gave.

    Raises:
        BadInput: a clause has no sensible value, or two contradict each other.
        Unauthenticated: `mine` and its like without a login.
    """
    given = given or {}
    viewer = None
    if any(given.get(word) for _, word, *_ in OWN):
        await context.allow(Need.OWN)
        viewer = await context.person()
    try:
        if viewer is None and "nearSystemId" not in given:
            return from_graphql(given)
        # In a thread: which systems are near, and in which corporations the caller is, may have to be read.
        return await read_db(_read_filter, given, viewer)
    except BadFilter as error:
        raise BadInput(str(error), argument=error.clause) from None


def _read_filter(given: dict[str, Any], viewer: Viewer | None) -> KillmailFilter:
    return from_graphql(given, own_of(viewer.character_ids) if viewer is not None else None)


def one_user(viewer: Viewer, character_id: str | None) -> User:
    """The character of the caller that is meant: the named one, else the one that logged in last.

    Raises:
        BadInput: the caller has no such character.
    """
    if character_id is None:
        return next((user for user in viewer.users if user.status == ACTIVE), viewer.users[0])
    wanted = number(character_id, "characterId")
    for user in viewer.users:
        if user.character_id == wanted:
            return user
    raise BadInput("none of your characters has this id", argument="characterId")


def active(user: User) -> User:
    """*user*, if it can be synced.

    Raises:
        NeedsLogin: its tokens are no longer valid, or it was disconnected.
    """
    if user.status != ACTIVE:
        raise NeedsLogin(f"{user.character_name} needs to log in again")
    return user
