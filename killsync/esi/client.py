"""The ESI client: one route a method, from worker threads, with its answer checked.

It never retries by itself (a caller defers its message instead), never follows a redirect, never asks without a
reservation, and sends the access token on the two list routes only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import aiohttp

from killsync import http_session
from killsync.esi import clock as esi_clock
from killsync.esi import errors, routes, schemas
from killsync.esi.calls import Calls
from killsync.esi.clock import Clock
from killsync.esi.errors import Cost
from killsync.esi.rate_limit.rate_limit import Reservation, Room
from killsync.esi.responses import Answer, Detail, ListAnswer, NamesAnswer, PricesAnswer, Sent, expiry
from killsync.esi.routes import Route
from killsync.process import OnePerSettings
from killsync.settings import Settings

T = TypeVar("T")

#: How long the answers that came wait for those that have not, seconds.
SLOW_SECONDS = 1.0


class EsiClient:
    """ESI for one process."""

    def __init__(
        self, settings: Settings, timeout: aiohttp.ClientTimeout | None = None, clock: Clock | None = None
    ) -> None:
        self._settings = settings
        self.clock = clock or esi_clock.shared(settings)
        self._calls = Calls(settings, timeout or http_session.TIMEOUT, self.clock)
        self.rate_limit, self.usage = self._calls.rate_limit, self._calls.usage
        self._egress = f"ip:{settings.esi_egress}"

    def killmail_list(
        self, kind: str, subject_id: int, token: str, page: int, *, payer: int, etag: str | None = None,
        last_modified: str | None = None, backlog: bool = False,
    ) -> ListAnswer:  # fmt: skip
        """One page of a character's or corporation's recent killmails.

        Args:
            kind: "character" or "corporation".
            subject_id: its id.
            token: an access token with the scope of the route.
            page: from 1.
            payer: the character whose token it is; ESI keeps the bucket by application and character.
            etag: of the page as last seen; an unchanged page then costs half.
            last_modified: the same by time, used when there was no ETag.
            backlog: a page of a first sync, which leaves tokens to polls.

        Raises:
            EsiError: by meaning, see `esi.errors`.
        """
        route = routes.CHARACTER_KILLMAILS if kind == "character" else routes.CORPORATION_KILLMAILS
        headers = {"Authorization": f"Bearer {token}"}
        if etag:
            headers["If-None-Match"] = etag
        elif last_modified:
            headers["If-Modified-Since"] = last_modified
        path = f"/{kind}s/{subject_id}/killmails/recent"
        try:
            answer = self._calls.call(
                route, f"char:{payer}", "GET", path, headers, {"page": str(page)}, backlog=backlog
            )
        except errors.NotFound as error:
            # Past the end, ESI answers 404 or an empty list; a character without killmails may have no first page either.
            return ListAnswer([], None, None, None, None, False, True, error.cost)
        pages = answer.headers.get("x-pages", "")
        return ListAnswer(
            refs=[] if answer.status == 304 else self._decoded(answer, path, schemas.killmail_refs),
            pages=int(pages) if pages.isdecimal() and len(pages) < 8 else None,
            etag=answer.headers.get("etag", etag),
            last_modified=answer.headers.get("last-modified", last_modified),
            expires_at=expiry(answer.headers, self.clock),
            not_modified=answer.status == 304,
            past_end=False,
            cost=answer.cost,
        )

    def killmail(
        self, killmail_id: int, killmail_hash: str, *, backlog: bool = False
    ) -> tuple[schemas.ServedKillmail, Cost]:
        """A killmail's detail.

        Raises:
            InvalidHash: ESI answered 422.
            EsiError: by meaning, see `esi.errors`.
        """
        (detail,) = (each for part in self.killmails([(killmail_id, killmail_hash)], backlog=backlog) for each in part)
        if isinstance(detail.outcome, Exception):
            raise detail.outcome
        return detail.outcome, detail.cost

    def killmails(self, refs: Sequence[tuple[int, str]], *, backlog: bool = False) -> Iterator[list[Detail]]:
        """Details of several killmails, asked for at the same time, in parts as the answers come.

        They are sent without a token: with one they would draw on a second bucket of the same address. Tokens are
        reserved for all of them at once, and what has a token leaves in that moment, so that nothing is left to leave
        when a 429 comes. What has none comes after the first answers, with NoToken: whatever becomes of it, what was paid
        for was asked for.
        """
        bucket = self._calls.bucket(routes.KILLMAIL, self._egress)
        granted = self.rate_limit.take_some(bucket, routes.TOKENS[2], len(refs), backlog=backlog)
        reserved, wait = granted.reservations, granted.wait
        late = [
            Detail(number, self._calls.no_token(routes.KILLMAIL, _path(number, digest), wait))
            for number, digest in refs[len(reserved) :]
        ]
        waiting: set[asyncio.Task[Any]] = set()
        if reserved:
            self._calls.is_failing |= reserved[0].failures > 0
            done, waiting = http_session.run(self._ask_for(list(zip(refs, reserved, strict=False))))
            yield [self._detail(*task.result()) for task in done]
        if late:
            yield late
        while waiting:
            done, waiting = http_session.run(_first(waiting))
            yield [self._detail(*task.result()) for task in done]

    async def _ask_for(self, calls: list[tuple[tuple[int, str], Reservation]]) -> Any:
        tasks = [asyncio.create_task(self._killmail(number, digest, taken)) for (number, digest), taken in calls]
        # One that is slow keeps the others waiting for a moment and no longer.
        return await asyncio.wait(tasks, timeout=SLOW_SECONDS)

    async def _killmail(self, number: int, digest: str, taken: Reservation) -> tuple[int, str, Reservation, Sent]:
        path = _path(number, digest)
        sent: Sent
        try:
            status, headers, body = await self._calls.send(routes.KILLMAIL, "GET", path, {}, {})
            sent = status, headers, body
            if 200 <= status < 300:
                if self._calls.is_failing:
                    # At once, in the order in which answers come: failures count as long as they are in a row.
                    await asyncio.to_thread(self._calls.succeeded)
                return number, path, taken, sent
        except errors.EsiError as error:
            sent = error
        # At once in the database for all processes, whatever else this one still waits for.
        return number, path, taken, await asyncio.to_thread(self._caught, taken, path, sent)

    def _caught(self, taken: Reservation, path: str, sent: Sent) -> errors.EsiError:
        try:
            answer = self._calls.conclude(routes.KILLMAIL, taken, path, sent)
        except errors.EsiError as error:
            return error
        return errors.Malformed(path, f"ESI answered {answer.status} to a first question", cost=answer.cost)

    def _detail(self, number: int, path: str, taken: Reservation, sent: Sent) -> Detail:
        if isinstance(sent, errors.EsiError):
            return Detail(number, sent, sent.cost)
        try:
            answer = self._calls.conclude(routes.KILLMAIL, taken, path, sent)
            body = self._decoded(answer, path, lambda data: schemas.killmail(data, number))
        except errors.EsiError as error:
            return Detail(number, error, error.cost)
        return Detail(number, body, answer.cost)

    def names(self, ids: Iterable[int]) -> NamesAnswer:
        """Names of up to 1,000 distinct ids in one request. One id that ESI does not know fails it.

        Raises:
            NotFound: ESI refuses at least one of them.
            EsiError: by meaning, see `esi.errors`.
        """
        path, asked = "/universe/names", sorted(set(ids))
        answer = self._calls.call(routes.NAMES, None, "POST", path, {}, {}, json=asked)
        found = self._decoded(answer, path, schemas.names)
        return NamesAnswer(found, set(asked) - set(found), answer.cost)

    def affiliations(self, character_ids: Sequence[int]) -> dict[int, schemas.Affiliation]:
        """Where each of up to 1,000 distinct characters belongs. One that ESI does not know fails the call."""
        path = "/characters/affiliation"
        answer = self._calls.call(routes.AFFILIATION, None, "POST", path, {}, {}, json=list(character_ids))
        return self._decoded(answer, path, schemas.affiliations)

    def corporation(self, corporation_id: int) -> schemas.Organization:
        """A corporation's public information."""
        return self._get(routes.CORPORATION, f"/corporations/{corporation_id}", schemas.organization)

    def alliance(self, alliance_id: int) -> schemas.Organization:
        """An alliance's public information."""
        return self._get(routes.ALLIANCE, f"/alliances/{alliance_id}", schemas.organization)

    def character(self, character_id: int) -> schemas.Character:
        """A character's public information."""
        return self._get(routes.CHARACTER, f"/characters/{character_id}", schemas.character)

    def prices(self) -> PricesAnswer:
        """The market's prices of all types, in one request.

        Raises:
            EsiError: by meaning, see `esi.errors`.
        """
        path = "/markets/prices"
        answer = self._calls.call(routes.PRICES, None, "GET", path, {}, {})
        return PricesAnswer(self._decoded(answer, path, schemas.prices), expiry(answer.headers, self.clock))

    def status(self) -> schemas.Status:
        """Whether Tranquility is up."""
        return self._get(routes.STATUS, "/status", schemas.status, self._egress)

    def room(self) -> Room:
        """How many killmail details could be asked for now; the wait is one of this host's clock."""
        room = self.rate_limit.room(self._calls.bucket(routes.KILLMAIL, self._egress), routes.TOKENS[2])
        return replace(room, wait=self.clock.here(room.wait))

    def _get(self, route: Route, path: str, decode: Callable[[bytes], T], subject: str | None = None) -> T:
        return self._decoded(self._calls.call(route, subject, "GET", path, {}, {}), path, decode)

    def _decoded(self, answer: Answer, path: str, decode: Callable[[bytes], T]) -> T:
        kind = answer.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind and kind != "application/json" and not kind.endswith("+json"):
            raise errors.Malformed(path, f"the answer is {kind[:40]}, not JSON", cost=answer.cost)
        try:
            return decode(answer.body)
        except schemas.NotJson:
            raise self._calls.cut_short(path, answer.cost) from None
        except schemas.ShapeError as error:
            raise errors.Malformed(path, str(error), cost=answer.cost) from None


async def _first(waiting: set[asyncio.Task[Any]]) -> Any:
    return await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)


def _path(killmail_id: int, killmail_hash: str) -> str:
    return f"/killmails/{killmail_id}/{killmail_hash}"


#: This process's client for the ESI of its settings.
shared = OnePerSettings(EsiClient)
