"""ESI's routes over the universe: checked tokens and hashes, server-side caches, ETags, both families of limits."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from simulator.buckets import Limits, cost
from simulator.headers import cache_headers, etag_of, public
from simulator.public import Public
from simulator.refusal import Refused
from simulator.sso import KILLMAIL_SCOPES

if TYPE_CHECKING:
    from simulator.app import Simulator

DATE = re.compile(r"20\d\d-[01]\d-[0-3]\d")
#: Bodies of killmails that are kept.
MOST_BODIES = 20_000
AGENT = re.compile(r"[^\s/]+/\S+ \(.+\)")


@dataclass
class Cached:
    """A page as ESI's cache holds it."""

    body: bytes
    etag: str
    made_at: float
    pages: int | None
    is_past_end: bool = False


class Esi:
    """ESI's state and routes."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self.limits = Limits(simulator.config.limits)
        self._cache: dict[tuple[str, int, int], Cached] = {}
        self._asked: dict[tuple[str, int, int], float] = {}
        self._bodies: dict[int, tuple[bytes, str]] = {}
        self._public = Public(simulator)
        #: How often each kind of request came and how it was answered, such as ("killmail", 200).
        self.answers: Counter[tuple[str, int]] = Counter()
        self.tokens: Counter[str] = Counter()
        self.details: Counter[int] = Counter()
        self.early_requests = 0

    def add_routes(self, app: web.Application) -> None:
        for path, group, handler in (
            (r"/characters/{id:\d+}/killmails/recent", "char-killmail", self._character_list),
            (r"/corporations/{id:\d+}/killmails/recent", "corp-killmail", self._corporation_list),
            (r"/killmails/{id:\d+}/{hash}", "killmail", self._killmail),
            (r"/characters/{id:\d+}/roles", None, self._roles),
            *self._public.looked_up(),
        ):
            for spelling in (path, f"{path}/"):
                app.router.add_get(spelling, self._route(path, group, handler))
        for path, handler in self._public.posted():
            for spelling in (path, f"{path}/"):
                app.router.add_post(spelling, self._route(path, None, handler))

    def _route(self, path: str, group: str | None, work: Callable[..., Any]) -> Callable[..., Any]:
        kind = group or path.split("/")[-1] if "{" not in path.split("/")[-1] else group or path.split("/")[1]

        async def handle(request: web.Request) -> web.Response:
            now = self._simulator.clock.now()
            address = self._address(request)
            errors = self.limits.errors[address].at(now)
            if self.limits.is_enforced and errors.left == 0:
                return self._answer(kind, 420, {"error": "This software has exceeded the error limit for ESI."},
                                    self._error_headers(address, now))  # fmt: skip
            bucket = None
            if group is not None:
                bucket = self.limits.bucket(group, await self._subject(request, group, address))
                if self.limits.is_enforced and bucket.is_empty(now):
                    headers = {
                        **self._bucket_headers(group, bucket, now, 0),
                        "Retry-After": str(bucket.retry_after(now)),
                    }
                    return self._answer(kind, 429, {"error": "Too many requests"}, headers)
            try:
                forced = self._simulator.forced_status(request.path)
                if forced is not None:
                    raise Refused(forced, "forced by a fault")
                self._check_caller(request)
                response: web.Response = await work(request, now)
            except Refused as error:
                response = web.json_response({"error": error.text}, status=error.status)
            if bucket is not None:
                bucket.spend(now, cost(response.status))
                self.tokens[group or ""] += cost(response.status)
                response.headers.update(self._bucket_headers(group or "", bucket, now, cost(response.status)))
            else:
                if response.status >= 400:
                    errors.errors += 1
                response.headers.update(self._error_headers(address, now))
            self.answers[kind, response.status] += 1
            return response

        return handle

    def _answer(self, kind: str, status: int, body: Any, headers: dict[str, str]) -> web.Response:
        self.answers[kind, status] += 1
        return web.json_response(body, status=status, headers=headers)

    def _address(self, request: web.Request) -> str:
        if self._simulator.config.trust_source_header and "X-Sim-Source-Ip" in request.headers:
            return request.headers["X-Sim-Source-Ip"]
        return request.remote or "?"

    async def _subject(self, request: web.Request, group: str, address: str) -> str:
        claims = self._claims(request)
        if group in ("killmail", "status"):
            return f"{address}|{claims['azp']}" if claims else address
        return f"{claims['azp']}|{claims['sub']}" if claims else address

    def _claims(self, request: web.Request) -> dict[str, Any] | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return self._simulator.sso.verify(token) if scheme.lower() == "bearer" else None

    def _bucket_headers(self, group: str, bucket: Any, now: float, spent: int) -> dict[str, str]:
        used = bucket.used(now)
        return {
            "X-Ratelimit-Group": group,
            "X-Ratelimit-Limit": f"{bucket.limit}/15m",
            "X-Ratelimit-Remaining": str(max(0, bucket.limit - used)),
            "X-Ratelimit-Used": str(spent),
        }

    def _error_headers(self, address: str, now: float) -> dict[str, str]:
        window = self.limits.errors[address].at(now)
        return {
            "X-Esi-Error-Limit-Remain": str(window.left),
            "X-Esi-Error-Limit-Reset": str(max(1, int(window.ends - now))),
        }

    def _check_caller(self, request: web.Request) -> None:
        if not AGENT.fullmatch(request.headers.get("User-Agent", "")):
            raise Refused(400, "User-Agent is missing or names no contact")
        if not DATE.fullmatch(request.headers.get("X-Compatibility-Date", "")):
            raise Refused(400, "X-Compatibility-Date is missing or wrong")

    async def _character_list(self, request: web.Request, now: float) -> web.Response:
        character_id = int(request.match_info["id"])
        claims = self._authorized(request, KILLMAIL_SCOPES[0])
        if claims["sub"] != f"CHARACTER:EVE:{character_id}":
            raise Refused(403, "the token is of another character")
        return self._list(request, "character", character_id, now)

    async def _corporation_list(self, request: web.Request, now: float) -> web.Response:
        corporation_id = int(request.match_info["id"])
        claims = self._authorized(request, KILLMAIL_SCOPES[1])
        character = self._simulator.universe.characters[int(claims["sub"].rsplit(":", 1)[1])]
        if character.corporation_id != corporation_id:
            raise Refused(403, "Character is not in the corporation")
        if not character.is_director:
            raise Refused(403, "Character does not have required role(s)")
        return self._list(request, "corporation", corporation_id, now)

    def _authorized(self, request: web.Request, scope: str) -> dict[str, Any]:
        claims = self._claims(request)
        if claims is None:
            raise Refused(401, "token is not valid")
        scopes = claims["scp"] if isinstance(claims["scp"], list) else [claims["scp"]]
        if scope not in scopes:
            raise Refused(403, "token is not valid for scope")
        return claims

    def _list(self, request: web.Request, kind: str, subject_id: int, now: float) -> web.Response:
        text = request.query.get("page", "1")
        if not text.isdecimal() or int(text) < 1:
            raise Refused(400, "page must be at least 1")
        key = (kind, subject_id, int(text))
        lifetime = self._simulator.config.list_cache_seconds
        if now < self._asked.get(key, 0.0):
            self.early_requests += 1
        cached = self._cache.get(key)
        if cached is None or now >= cached.made_at + lifetime:
            cached = self._cache[key] = self._page(kind, subject_id, int(text), now)
        expires = cached.made_at + lifetime
        self._asked[key] = expires
        if cached.is_past_end and self._simulator.config.past_end == "404":
            raise Refused(404, "Requested page does not exist!")
        headers = cache_headers(cached.etag, cached.made_at, expires, now, lifetime)
        headers["X-Pages"] = str(cached.pages)
        if request.headers.get("If-None-Match", "").removeprefix("W/").strip('"') == cached.etag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=cached.body, content_type="application/json", headers=headers)

    def _page(self, kind: str, subject_id: int, page: int, now: float) -> Cached:
        listed = self._simulator.universe.listed(kind, subject_id, now)
        size = self._simulator.config.page_size
        pages = max(1, -(-len(listed) // size))
        items = [
            {"killmail_hash": digest, "killmail_id": number}
            for number, digest in listed[(page - 1) * size : page * size]
        ]
        body = msgspec.json.encode(items)
        return Cached(body, etag_of(body), now, self._simulator.forced_pages or pages, page > pages)

    async def _killmail(self, request: web.Request, now: float) -> web.Response:
        killmail_id = int(request.match_info["id"])
        self.details[killmail_id] += 1
        kill = self._simulator.universe.kills.get(killmail_id)
        if kill is None or kill.killmail_hash != request.match_info["hash"]:
            raise Refused(422, "Invalid killmail_id and/or killmail_hash")
        body, etag = self._bodies.get(killmail_id) or self._make_body(killmail_id)
        return public(request, body, now, 30 * 86_400.0, etag)

    def _make_body(self, killmail_id: int) -> tuple[bytes, str]:
        """A killmail never changes: it is made once, so that a benchmark measures its client and not this."""
        if len(self._bodies) >= MOST_BODIES:
            self._bodies.clear()
        body = msgspec.json.encode(self._simulator.universe.body(killmail_id))
        made = self._bodies[killmail_id] = body, etag_of(body)
        return made

    async def _roles(self, request: web.Request, now: float) -> web.Response:
        claims = self._authorized(request, "esi-characters.read_corporation_roles.v1")
        character = self._simulator.universe.characters[int(request.match_info["id"])]
        if claims["sub"] != f"CHARACTER:EVE:{character.character_id}":
            raise Refused(403, "the token is of another character")
        return public(
            request, msgspec.json.encode({"roles": ["Director"] if character.is_director else []}), now, 3600.0
        )
