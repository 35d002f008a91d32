"""What holds for every request: security headers, who may send from another site, how often one address or account may ask."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from aiohttp import web

from killsync.logging import get_logger
from killsync.settings import Settings
from models.errors import is_away
from models.threads import Busy
from models.work import CALLER

log = get_logger("web")

SETTINGS = web.AppKey("settings", Settings)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'{styles}; img-src 'self' data:{images}; font-src 'self' data:; "
    "connect-src 'self'{sockets}; worker-src 'self' blob:; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
IMAGES = " https://images.evetech.net"


def content_policy(settings: Settings, host: str, *, styles: bool = False) -> str:
    """The Content-Security-Policy of a page; *styles* admits style attributes, which only the explorer's library needs."""
    return _POLICY.format(
        styles=" 'unsafe-inline'" if styles else "",
        images=IMAGES if settings.eve_images else "",
        sockets=f" ws://{host} wss://{host}"
        if host and "'" not in host and " " not in host and ";" not in host
        else "",
    )


@web.middleware
async def harden(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Add the security headers to every answer; threads are shared among callers by their addresses."""
    CALLER.set(network_of(client_ip(request)))
    try:
        response = await handler(request)
    except web.HTTPException as error:
        _add_headers(request, error)
        raise
    except (asyncio.CancelledError, ConnectionError):
        raise
    except Exception as error:
        response = failure(error)
    if not response.prepared:
        _add_headers(request, response)
    return response


def failure(error: Exception) -> web.Response:
    """The answer for what nobody expected, which is logged; a database that is away is nobody's fault and passes."""
    if isinstance(error, Busy) or is_away(error):
        log.warning("not answered", reason=type(error).__name__)
        text = (
            f"{error}\n" if isinstance(error, Busy) else "The database does not answer. Please try again in a moment.\n"
        )
        return web.Response(status=503, text=text, headers={"Retry-After": "5"})
    error_id = secrets.token_hex(6)
    log.error("internal error", error_id=error_id, exc_info=error)
    return web.Response(status=500, text=f"Something went wrong here; its id in the log is {error_id}.\n")


def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Content-Security-Policy", content_policy(request.app[SETTINGS], request.host))
    if is_https(request):
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address as it is written; IPv4 in IPv6's notation is IPv4."""
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_trusted(request: web.Request, address: IPv4Address | IPv6Address | None) -> bool:
    """Whether *address* is one of TRUSTED_PROXIES."""
    trusted = request.app[SETTINGS].trusted_proxies
    return address is not None and any(address in ip_network(entry, strict=False) for entry in trusted)


def client_ip(request: web.Request) -> str:
    """The caller's address; `X-Forwarded-For` counts only from TRUSTED_PROXIES, and of it the last untrusted entry."""
    peer = _address(request.remote or "")
    if _is_trusted(request, peer):
        for entry in reversed(request.headers.get("X-Forwarded-For", "").split(",")):
            address = _address(entry)
            if address is None:
                break
            if not _is_trusted(request, address):
                return str(address)
    return str(peer) if peer is not None else request.remote or "unknown"


def network_of(address: str) -> str:
    """What rates are counted for: an IPv4 address, or the /64 of an IPv6 one, since that is what one visitor is given."""
    found = _address(address)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((int(found) >> 64 << 64, 64)))
    return str(found) if found is not None else address


def is_https(request: web.Request) -> bool:
    """Whether the browser speaks https to us, by a trusted proxy's word or our own public address."""
    if _is_trusted(request, _address(request.remote or "")) and request.headers.get("X-Forwarded-Proto"):
        return request.headers["X-Forwarded-Proto"].split(",")[0].strip() == "https"
    return request.secure or urlsplit(request.app[SETTINGS].sso_callback_url).scheme == "https"


def same_origin(request: web.Request) -> bool:
    """Whether nothing says that another site's page sent this. Programs that are no browsers send neither header."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    public = urlsplit(request.app[SETTINGS].sso_callback_url).netloc
    return urlsplit(origin).netloc in {request.host, public}


@dataclass(frozen=True)
class Rate:
    """At most *burst* at once, and *per_minute* after that."""

    burst: int
    per_minute: float


RATES = {
    "login": Rate(120, 60),
    "callback": Rate(240, 120),
    "mutation": Rate(30, 30),
    "graphql": Rate(300, 1200),
    "socket": Rate(60, 60),
    "search": Rate(60, 240),
    "rows": Rate(200, 600),
    "page": Rate(120, 600),
    "webhooks": Rate(60, 30),
    "webhook_test": Rate(10, 6),
    "metrics": Rate(30, 60),
    "feed": Rate(600, 1200),
    "api": Rate(60, 120),
    "stream": Rate(1200, 120),
}


class Limiter:
    """Counts what each address or account asks for; remembers the busiest few thousand, in this process."""

    def __init__(self, size: int = 20_000) -> None:
        self._size = size
        self._state: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def wait(self, kind: str, who: str, now: float | None = None) -> float:
        """0.0 when *who* may do *kind* now, and it is counted; else the seconds to wait."""
        rate = RATES[kind]
        now = time.monotonic() if now is None else now
        left, at = self._state.pop((kind, who), (float(rate.burst), now))
        left = min(float(rate.burst), left + (now - at) * rate.per_minute / 60)
        is_allowed = left >= 1
        self._state[kind, who] = (left - 1 if is_allowed else left, now)
        while len(self._state) > self._size:
            self._state.popitem(last=False)
        return 0.0 if is_allowed else (1 - left) * 60 / rate.per_minute


LIMITER = web.AppKey("limiter", Limiter)


def check_rate(request: web.Request, kind: str, account_id: int | None = None) -> None:
    """Count this request against its address (IPv6: its /64), and its account if it has one.

    Raises:
        web.HTTPTooManyRequests: with Retry-After.
    """
    limiter = request.app[LIMITER]
    wait = limiter.wait(kind, network_of(client_ip(request)))
    if not wait and account_id is not None:
        wait = limiter.wait(kind, f"account {account_id}")
    if wait:
        raise web.HTTPTooManyRequests(
            headers={"Retry-After": str(int(wait) + 1)}, text="Too many requests; slow down.\n"
        )


def setup(app: web.Application, settings: Settings) -> None:
    """Protect every route of *app*."""
    app[SETTINGS] = settings
    app[LIMITER] = Limiter()
    app.middlewares.append(harden)
