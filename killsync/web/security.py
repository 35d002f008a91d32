"""What holds for every request: security headers, who may send from another site, how often one address or account may ask."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from aiohttp import web

from killsync.logging import get_logger
from killsync.settings import Settings
from killsync.web.rates import Limiter
from models.errors import is_away
from models.threads import Busy
from models.work import CALLER, PATIENCE, OutOfTime

log = get_logger("web")

SETTINGS = web.AppKey("settings", Settings)

#: Who watches over this process asks these as often as it likes: their answers are kept.
UNLIMITED = ("/healthz", "/readyz")
#: The longest that a page waits for one read of the database: nobody reads what takes longer, seconds.
PAGE_SECONDS = 15.0
#: How many times one visitor's rate a /48 of IPv6 has.
SITE_SCALE = 16

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HEADERS = {
    "Server": "Killsync",
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
TOO_MANY = "Too many requests; slow down."
STRICT_TRANSPORT = "max-age=31536000"
#: Addresses of which is kept what they are and which networks they are in.
KEPT_ADDRESSES = 8_192
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
    PATIENCE.set(PAGE_SECONDS)
    try:
        if request.path not in UNLIMITED:
            check_rate(request, "request")
        response = await handler(request)
    except web.HTTPException as error:
        if has_begun(request):
            return _cut_off(request, error)
        _add_headers(request, error)
        raise
    except (asyncio.CancelledError, ConnectionError):
        raise
    except Exception as error:
        if has_begun(request):
            return _cut_off(request, error)
        response = failure(error)
    if not response.prepared:
        _add_headers(request, response)
    return response


def has_begun(request: web.Request) -> bool:
    """Whether some of an answer was sent: another one would be read as a part of it."""
    return bool(request.writer.output_size)


def _cut_off(request: web.Request, error: Exception) -> web.Response:
    """End the connection of an answer that failed on its way. What is returned is sent to nobody."""
    log.error("answer cut off", path=request.path, exc_info=error)
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def failure(error: Exception) -> web.Response:
    """The answer for what nobody expected, which is logged; a database that is away is nobody's fault and passes."""
    if isinstance(error, Busy) or is_away(error):
        log.warning("not answered", reason=type(error).__name__)
        text = (
            f"{error}\n" if isinstance(error, Busy) else "The database does not answer. Please try again in a moment.\n"
        )
        return web.Response(status=503, text=text, headers={"Retry-After": "5"})
    if isinstance(error, OutOfTime):
        log.warning("not answered", reason="it takes too long")
        return web.Response(status=503, text="This takes too long: ask for less.\n", headers={"Retry-After": "60"})
    error_id = secrets.token_hex(6)
    log.error("internal error", error_id=error_id, exc_info=error)
    return web.Response(status=500, text=f"Something went wrong here; its id in the log is {error_id}.\n")


def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Content-Security-Policy", content_policy(request.app[SETTINGS], request.host))
    if is_https(request):
        response.headers.setdefault("Strict-Transport-Security", STRICT_TRANSPORT)


@lru_cache(maxsize=KEPT_ADDRESSES)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address as it is written; IPv4 in IPv6's notation is IPv4."""
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_trusted(settings: Settings, address: IPv4Address | IPv6Address | None) -> bool:
    """Whether *address* is one of TRUSTED_PROXIES."""
    return address is not None and is_within(str(address), settings.trusted_proxies)


def is_within(address: str, networks: Iterable[str]) -> bool:
    """Whether *address* is in one of *networks*, which are written as settings have them."""
    return _is_within(address, tuple(networks))


@lru_cache(maxsize=KEPT_ADDRESSES)
def _is_within(address: str, networks: tuple[str, ...]) -> bool:
    found = _address(address)
    return found is not None and any(found in ip_network(entry, strict=False) for entry in networks)


def client_ip(request: web.Request) -> str:
    """The caller's address; `X-Forwarded-For` counts only from TRUSTED_PROXIES, and of it the last untrusted entry."""
    return address_of(request, request.app[SETTINGS])


def address_of(request: web.BaseRequest, settings: Settings) -> str:
    """The same, of a request that has not reached the application."""
    peer = _address(request.remote or "")
    if _is_trusted(settings, peer):
        # Each proxy adds its word behind the others', to the last line or as a line of its own.
        for entry in reversed(",".join(request.headers.getall("X-Forwarded-For", ())).split(",")):
            address = _address(entry)
            if address is None:
                break
            if not _is_trusted(settings, address):
                return str(address)
    return str(peer) if peer is not None else request.remote or "unknown"


def network_of(address: str) -> str:
    """What rates are counted for: an IPv4 address, or the /64 of an IPv6 one, since that is what one visitor is given."""
    found = _address(address)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((int(found) >> 64 << 64, 64)))
    return str(found) if found is not None else address


@lru_cache(maxsize=KEPT_ADDRESSES)
def networks_of(address: str) -> tuple[tuple[str, int], ...]:
    """Each network that a request counts for, and how many times one visitor's rate it has.

    Many providers give a customer a /56 or /48 of IPv6 without being asked, which is 65,536 of what one visitor has.
    """
    found = _address(address)
    if isinstance(found, IPv6Address):
        return (network_of(address), 1), (str(IPv6Network((int(found) >> 80 << 80, 48))), SITE_SCALE)
    return ((network_of(address), 1),)


def is_this_host(request: web.Request) -> bool:
    """Whether a program on this host sent the request, and no proxy handed it on."""
    peer, here = (
        (request.transport.get_extra_info(name) for name in ("peername", "sockname")) if request.transport else ((), ())
    )
    if not peer or not here:
        return False
    address = _address(peer[0])
    is_handed_on = any(name in request.headers for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"))
    return address is not None and (address.is_loopback or peer[0] == here[0]) and not is_handed_on


def is_https(request: web.Request) -> bool:
    """Whether the browser speaks https to us, by our own public address or a trusted proxy's word.

    A site whose public address is https stays so, whatever a header says.
    """
    if request.secure or is_https_site(request.app[SETTINGS]):
        return True
    if not _is_trusted(request.app[SETTINGS], _address(request.remote or "")):
        return False
    return request.headers.get("X-Forwarded-Proto", "").split(",")[0].strip().lower() == "https"


def is_https_site(settings: Settings) -> bool:
    """Whether our own public address is https."""
    return urlsplit(settings.sso_callback_url).scheme == "https"


def same_origin(request: web.Request) -> bool:
    """Whether nothing says that another site's page sent this. Programs that are no browsers send neither header."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return False
    origins = request.headers.getall("Origin", ())
    here = f"{'https' if is_https(request) else 'http'}://{request.host}"
    public = _origin(request.app[SETTINGS].sso_callback_url)
    return all(_origin(origin) is not None and _origin(origin) in (_origin(here), public) for origin in origins)


def _origin(text: str) -> tuple[str, str, int] | None:
    """(scheme, host, port) of an origin or address; None for what is none, such as `null`."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    return parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80)


LIMITER = web.AppKey("limiter", Limiter)


def check_rate(request: web.Request, kind: str, account_id: int | None = None, *, cost: float = 1.0) -> None:
    """Count this request, or *cost* for it, against its address (IPv6: its /64, and its /48), and its account if it has one.

    Raises:
        web.HTTPTooManyRequests: with Retry-After.
    """
    limiter = request.app[LIMITER]
    wait = seconds_to_wait(limiter, kind, client_ip(request), cost=cost)
    if not wait and account_id is not None:
        wait = limiter.wait(kind, f"account {account_id}", cost=cost)
    if wait:
        raise too_often(wait)


def seconds_to_wait(limiter: Limiter, kind: str, address: str, cost: float = 1.0) -> float:
    """0.0 where an address may ask now, and it is counted; else the seconds to wait."""
    wait = 0.0
    for network, scale in networks_of(address):
        wait = wait or limiter.wait(kind, network, cost=cost, scale=scale)
    return wait


def too_often(seconds: float) -> web.HTTPTooManyRequests:
    """The refusal of who asks too often; *seconds* from now it may ask again."""
    return web.HTTPTooManyRequests(headers={"Retry-After": str(int(seconds) + 1)}, text=f"{TOO_MANY}\n")


def setup(app: web.Application, settings: Settings) -> None:
    """Protect every route of *app*."""
    app[SETTINGS] = settings
    app[LIMITER] = Limiter()
    app.middlewares.append(harden)
