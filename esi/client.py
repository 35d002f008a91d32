"""The ESI client: one call a method, from worker threads. Reserves the call's tokens, sends it, settles, says what came.

It never retries by itself (a caller puts its message back instead), never follows a redirect, never asks without a
reservation, and sends the access token on the two list routes only.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import orjson

import meters
import wire
from esi import clock, errors, parse, routes
from esi.budget import Bucket, Budget, Taken
from esi.errors import Cost
from esi.routes import Route
from esi.usage import Usage
from models.base import utcnow
from settings import Settings


@dataclass(frozen=True)
class Answer:
    """A response that arrived whole: status, lower-cased headers, body, and what it cost."""

    status: int
    headers: dict[str, str]
    body: bytes
    cost: Cost


@dataclass(frozen=True)
class ListAnswer:
    """A page of killmails/recent. `not_modified`: the page is as it was (304); `past_end`: there is no such page."""

    refs: list[tuple[int, str]]
    pages: int | None
    etag: str | None
    last_modified: str | None
    expires_at: datetime | None
    not_modified: bool
    past_end: bool
    cost: Cost


@dataclass
class NamesAnswer:
    """Names by id with their category, and the ids that ESI does not know."""

    names: dict[int, tuple[str, str]] = field(default_factory=dict)
    unknown: set[int] = field(default_factory=set)
    cost: Cost = field(default_factory=Cost)


class EsiClient:
    """ESI for one process."""

    def __init__(self, settings: Settings, timeout: aiohttp.ClientTimeout | None = None) -> None:
        self._settings = settings
        self._timeout = timeout or wire.TIMEOUT
        self.budget = Budget(settings.esi_reserve_percent)
        self.usage = Usage()
        self._egress = f"ip:{settings.esi_egress}"
        #: Groups as ESI's headers name them, where they differ from the table in `routes`.
        self._groups: dict[str, str] = {}

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
            backlog: a page of a first walk, which leaves tokens to polls.

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
            answer = self._call(route, f"char:{payer}", "GET", path, headers, {"page": str(page)}, backlog=backlog)
        except errors.NotFound as error:
            # Past the end, ESI answers 404 or an empty list; a character without killmails may have no first page either.
            return ListAnswer([], None, None, None, None, False, True, error.cost)
        pages = answer.headers.get("x-pages", "")
        return ListAnswer(
            refs=[] if answer.status == 304 else self._shaped(answer, path, parse.killmail_refs),
            pages=int(pages) if pages.isdecimal() and len(pages) < 8 else None,
            etag=answer.headers.get("etag", etag),
            last_modified=answer.headers.get("last-modified", last_modified),
            expires_at=_expiry(answer.headers),
            not_modified=answer.status == 304,
            past_end=False,
            cost=answer.cost,
        )

    def killmail(self, killmail_id: int, killmail_hash: str, *, backlog: bool = False) -> tuple[dict[str, Any], Cost]:
        """A killmail's detail. Sent without a token: with one it would draw on a second bucket of the same address.

        Raises:
            InvalidHash: ESI answered 422.
            EsiError: by meaning, see `esi.errors`.
        """
        path = f"/killmails/{killmail_id}/{killmail_hash}"
        answer = self._call(routes.KILLMAIL, self._egress, "GET", path, {}, {}, backlog=backlog)
        return self._shaped(answer, path, lambda data: parse.killmail(data, killmail_id)), answer.cost

    def names(self, ids: Iterable[int]) -> NamesAnswer:
        """Names of up to 1,000 distinct ids. One id that ESI does not know fails the call, so such a call is halved."""
        result = NamesAnswer()
        self._names(sorted(set(ids)), result)
        return result

    def _names(self, ids: list[int], result: NamesAnswer) -> None:
        if not ids:
            return
        path = "/universe/names"
        try:
            answer = self._call(routes.NAMES, None, "POST", path, {}, {}, json=ids)
        except errors.NotFound as error:
            result.cost += error.cost
            if len(ids) == 1:
                result.unknown.update(ids)
                return
            middle = len(ids) // 2
            self._names(ids[:middle], result)
            self._names(ids[middle:], result)
            return
        found = self._shaped(answer, path, parse.names)
        result.cost += answer.cost
        result.names.update(found)
        result.unknown.update(set(ids) - set(found))

    def corporation(self, corporation_id: int) -> dict[str, Any]:
        """A corporation's public information."""
        return self._object(routes.CORPORATION, f"/corporations/{corporation_id}")

    def alliance(self, alliance_id: int) -> dict[str, Any]:
        """An alliance's public information."""
        return self._object(routes.ALLIANCE, f"/alliances/{alliance_id}")

    def character(self, character_id: int) -> dict[str, Any]:
        """A character's public information."""
        return self._object(routes.CHARACTER, f"/characters/{character_id}")

    def status(self) -> dict[str, Any]:
        """Whether Tranquility is up."""
        answer = self._call(routes.STATUS, self._egress, "GET", "/status", {}, {})
        return self._shaped(answer, "/status", parse.mapping)

    def available(self, *, backlog: bool) -> int:
        """How many killmail details could be asked for now."""
        return self.budget.calls(self._bucket(routes.KILLMAIL, self._egress), routes.TOKENS[2], backlog=backlog)

    def wait(self, *, backlog: bool) -> float:
        """Seconds until the next killmail detail could be asked for."""
        return clock.here(
            self.budget.wait(self._bucket(routes.KILLMAIL, self._egress), routes.TOKENS[2], backlog=backlog)
        )

    def _object(self, route: Route, path: str) -> dict[str, Any]:
        return self._shaped(self._call(route, None, "GET", path, {}, {}), path, parse.mapping)

    def _shaped(self, answer: Answer, path: str, check: Any) -> Any:
        kind = answer.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind and kind != "application/json" and not kind.endswith("+json"):
            raise errors.Malformed(path, f"the answer is {kind[:40]}, not JSON", cost=answer.cost)
        try:
            data = parse.loads(answer.body)
        except ValueError:
            raise errors.Downtime(path, "the answer arrived cut short", retry_after=15.0, cost=answer.cost) from None
        if isinstance(data, dict) and set(data) == {"error"}:
            raise errors.Malformed(path, "an error object under status 200", cost=answer.cost)
        try:
            return check(data)
        except parse.ShapeError as error:
            raise errors.Malformed(path, str(error), cost=answer.cost) from None

    def _bucket(self, route: Route, subject: str) -> Bucket:
        return Bucket(self._groups.get(route.name, str(route.group)), subject, route.limit, route.window)

    def _call(
        self, route: Route, subject: str | None, method: str, path: str, headers: dict[str, str],
        query: dict[str, str], *, json: Any = None, backlog: bool = False,
    ) -> Answer:  # fmt: skip
        """Reserve, send, settle; the answer of a 2xx or 304, or the exception that says what came instead."""
        taken = self._reserve(route, subject, path, backlog=backlog)
        started = time.monotonic()
        try:
            status, heard, body = wire.run(self._send(route, method, path, headers, query, json))
        except errors.EsiError as error:
            meters.esi_request(route.name, "error", time.monotonic() - started)
            self._settle(route, taken, None, {})
            error.cost = Cost(1, 0)
            self.usage.add(route.name, "error", 0)
            if isinstance(error, errors.Downtime):
                error.retry_after = max(self.budget.failed(), 5.0)
            raise
        meters.esi_request(route.name, _outcome(status), time.monotonic() - started)
        tokens = routes.cost(status) if subject is not None else 0
        cost = Cost(1, tokens)
        self._settle(route, taken, status, heard)
        self.usage.add(route.name, _outcome(status), tokens)
        if status in (200, 304) or 200 <= status < 300:
            self.budget.succeeded(taken.failures if isinstance(taken, Taken) else taken)
            return Answer(status, heard, body, cost)
        raise self._refusal(route, taken, path, status, heard, cost)

    def _reserve(self, route: Route, subject: str | None, path: str, *, backlog: bool) -> Taken | int:
        if subject is None:
            taken: Taken | int | float = self.budget.take_unbucketed()
        else:
            taken = self.budget.take(self._bucket(route, subject), routes.TOKENS[2], backlog=backlog)
        if isinstance(taken, float):
            meters.budget_refusal(route.name)
            raise errors.NoToken(path, f"no token for {taken:.0f} s", retry_after=clock.here(taken))
        return taken

    def _settle(self, route: Route, taken: Taken | int, status: int | None, heard: dict[str, str]) -> None:
        if not isinstance(taken, Taken):
            left, reset = heard.get("x-esi-error-limit-remain", ""), heard.get("x-esi-error-limit-reset", "")
            if left.isdecimal() and reset.isdecimal() and (int(left) < 60 or status is None or status >= 400):
                self.budget.heard_errors(int(left), float(reset))
            return
        group = heard.get("x-ratelimit-group")
        if group and group != taken.bucket.group:
            self._groups[route.name] = group
        remaining = heard.get("x-ratelimit-remaining", "")
        left_over = int(remaining) if remaining.isdecimal() else None
        self.budget.settle(
            taken,
            routes.cost(status) if status is not None else 0,
            limit=routes.parse_limit(heard.get("x-ratelimit-limit", "")),
            remaining=left_over,
        )

    async def _send(
        self, route: Route, method: str, path: str, headers: dict[str, str], query: dict[str, str], json: Any
    ) -> tuple[int, dict[str, str], bytes]:
        sent = {
            "User-Agent": self._settings.user_agent,
            "X-Compatibility-Date": self._settings.esi_compatibility_date,
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            **headers,
        }
        data = None
        if json is not None:
            data = orjson.dumps(json)
            sent["Content-Type"] = "application/json"
        try:
            async with wire.session().request(
                method, self._settings.esi_url + path, params=query, headers=sent, data=data,
                allow_redirects=False, timeout=self._timeout,
            ) as response:  # fmt: skip
                body = await _read(response, route.most_bytes, path)
                return response.status, {name.lower(): value for name, value in response.headers.items()}, body
        except TimeoutError:
            raise errors.Downtime(path, "no answer in time") from None
        except aiohttp.TooManyRedirects:
            raise errors.Malformed(path, "redirects without end") from None
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            reason = str(error) if isinstance(error, wire.ConnectionLost) else type(error).__name__
            raise errors.Downtime(path, f"the connection failed ({reason})") from None

    def _refusal(
        self, route: Route, taken: Taken | int, path: str, status: int, heard: dict[str, str], cost: Cost
    ) -> errors.EsiError:
        if status == 429:
            seconds = _seconds(heard.get("retry-after"), 60.0)
            if isinstance(taken, Taken):
                self.budget.block(taken.bucket, seconds)
            else:
                self.budget.block_all(seconds)
            return errors.RateLimited(path, f"429 for {seconds:.0f} s", retry_after=clock.here(seconds), cost=cost)
        if status == 420:
            seconds = _seconds(heard.get("x-esi-error-limit-reset") or heard.get("retry-after"), 60.0)
            self.budget.block_all(seconds)
            return errors.ErrorLimited(path, f"420 for {seconds:.0f} s", retry_after=clock.here(seconds), cost=cost)
        if status >= 500:
            pause = max(self.budget.failed(), _seconds(heard.get("retry-after"), 5.0))
            return errors.Downtime(path, f"ESI answered {status}", retry_after=pause, cost=cost)
        if 300 <= status < 400:
            return errors.Malformed(path, f"ESI answered {status}, a redirect", cost=cost)
        kind = {
            401: errors.TokenRejected,
            403: errors.Forbidden,
            404: errors.NotFound,
            422: errors.InvalidHash if route is routes.KILLMAIL else errors.BadRequest,
        }.get(status, errors.BadRequest)
        return kind(path, f"ESI answered {status}", cost=cost)


async def _read(response: aiohttp.ClientResponse, most: int, path: str) -> bytes:
    chunks = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        chunks += chunk
        if len(chunks) > most:
            response.close()
            raise errors.Malformed(path, f"the answer is larger than {most} bytes")
    return bytes(chunks)


def _outcome(status: int) -> str:
    return str(status) if status in (304, 420, 429) else f"{status // 100}xx"


def _seconds(text: str | None, default: float) -> float:
    return float(min(int(text), 86_400)) if text and text.isdecimal() else default


def _expiry(headers: dict[str, str]) -> datetime | None:
    """`Expires` on our clock: its distance from the answer's own `Date`, so that a wrong clock of ours does not matter."""
    try:
        expires = parsedate_to_datetime(headers["expires"])
        date = parsedate_to_datetime(headers["date"]) if "date" in headers else datetime.now(UTC)
        ahead = max(timedelta(0), min(expires - date, timedelta(days=1)))
        return utcnow() + timedelta(seconds=clock.here(ahead.total_seconds()))
    except (KeyError, ValueError, TypeError):
        return None


_clients: dict[str, EsiClient] = {}
_clients_lock = threading.Lock()


def shared(settings: Settings) -> EsiClient:
    """This process's client for the ESI of *settings*."""
    with _clients_lock:
        found = _clients.get(settings.esi_url)
        if found is None or found._settings is not settings:
            found = _clients[settings.esi_url] = EsiClient(settings)
        return found
