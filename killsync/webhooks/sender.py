"""Sending one message to a webhook: a single POST that reaches public addresses only, and what its answer means.

The address is checked where the connection is made, after the name was resolved, so a name that changes its mind between
a check and the call gains nothing. No redirect is followed, no proxy is used, no cookie kept, and little is read.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit
from weakref import WeakKeyDictionary

import aiohttp
from yarl import URL

from killsync import http_session

#: Seconds for all of it, and to connect. A receiver that is slower is not well.
TIMEOUT = aiohttp.ClientTimeout(total=10, connect=5, sock_connect=5, sock_read=8)
#: Bytes of an answer that are read: enough for Discord's and Slack's errors.
MOST_BYTES = 8_192
MOST_URL = 2_000
#: The longest pause that a receiver may ask for, seconds.
MOST_PAUSE = 3_600.0

_NAT64 = ip_network("64:ff9b::/96")
_NOT_PUBLIC = "is not a public address"
_INTERNAL_NAMES = ("localhost", "local", "internal", "lan", "home.arpa")


class BadAddress(ValueError):
    """This cannot be a webhook's address; the text says why and holds nothing of it."""


def check_address(text: str, *, allow_private: bool) -> str:
    """The address in its plain form.

    Raises:
        BadAddress: it is not https, carries a password, or leads to what is not public.
    """
    text = text.strip()
    if not text or len(text) > MOST_URL or any(not 32 < ord(character) < 127 for character in text) or "\\" in text:
        raise BadAddress("This is not an address: copy it from Discord, Slack or your own service.")
    try:
        parts = urlsplit(text)
        host, _ = (parts.hostname or "").rstrip("."), parts.port
        address = URL(text)
    except ValueError:
        raise BadAddress("This is not an address: copy it from Discord, Slack or your own service.") from None
    if parts.scheme not in (("https", "http") if allow_private else ("https",)) or not host or not address.host:
        raise BadAddress("The address has to begin with https://.")
    if parts.username is not None or parts.password is not None:
        raise BadAddress("The address must not hold a user name or password.")
    if not allow_private:
        literal = _literal(host)
        if host.rsplit(".", 1)[-1] in _INTERNAL_NAMES or host.endswith(".home.arpa") or "." not in host + _colon(host):
            raise BadAddress("The address has to be reachable from the internet.")
        if literal is not None and not is_public(literal):
            raise BadAddress("The address has to be reachable from the internet.")
    return urlunsplit(parts._replace(fragment=""))


def _colon(host: str) -> str:
    return "." if ":" in host else ""


def _literal(host: str) -> str | None:
    try:
        return str(ip_address(host))
    except ValueError:
        pass
    try:
        # 127.1, 0x7f000001 and 2130706433 are addresses too, to those who resolve them.
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, and not to this host, its networks or a group."""
    try:
        found: IPv4Address | IPv6Address | None = ip_address(address.split("%", 1)[0])
    except ValueError:
        return False
    if isinstance(found, IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if inner is None and found in _NAT64:
            inner = IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if found.is_site_local:
            return False
    assert found is not None
    return found.is_global and not (
        found.is_private or found.is_loopback or found.is_link_local or found.is_multicast or found.is_reserved
        or found.is_unspecified
    )  # fmt: skip


def _guarded_socket(addr_info: Any) -> socket.socket:
    """The socket of a connection about to be made, refused unless it leads to a public address."""
    family, kind, protocol, _, place = addr_info
    if not is_public(str(place[0])):
        raise OSError(f"{place[0]} {_NOT_PUBLIC}")
    return socket.socket(family=family, type=kind, proto=protocol)


@dataclass(frozen=True)
class Answer:
    """What came back. `status` is None when nothing did, and `error` says why; `forbidden`: we refused to connect."""

    status: int | None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    error: str = ""
    forbidden: bool = False


_sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[bool, aiohttp.ClientSession]] = WeakKeyDictionary()


def _session(allow_private: bool) -> aiohttp.ClientSession:
    held = _sessions.setdefault(asyncio.get_running_loop(), {})
    found = held.get(allow_private)
    if found is None or found.closed:
        factory = {} if allow_private else {"socket_factory": _guarded_socket}
        found = held[allow_private] = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=32, limit_per_host=8, ttl_dns_cache=60, **factory),  # type: ignore[arg-type]
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
        )
    return found


async def close_sessions() -> None:
    """Close the running loop's sessions, at the end of a process or a test."""
    for found in _sessions.pop(asyncio.get_running_loop(), {}).values():
        await found.close()


http_session.also_close.append(close_sessions)


async def post(url: str, body: bytes, headers: dict[str, str], *, allow_private: bool) -> Answer:
    """POST once. Never raises for what the other side does, and what it says of that never names the address."""
    sent = {"Content-Type": "application/json", "Accept-Encoding": "identity", "Accept": "application/json", **headers}
    try:
        check_address(url, allow_private=allow_private)
        async with _session(allow_private).post(
            url, data=body, headers=sent, allow_redirects=False, timeout=TIMEOUT
        ) as response:
            found = {name.lower(): value for name, value in response.headers.items()}
            start = await response.content.read(MOST_BYTES)
            if not response.content.at_eof():
                response.close()
            return Answer(response.status, found, start)
    except BadAddress as error:
        return Answer(None, error=str(error), forbidden=True)
    except TimeoutError:
        return Answer(None, error="no answer within 10 seconds")
    except aiohttp.ClientConnectorCertificateError:
        return Answer(None, error="its certificate is not valid")
    except (aiohttp.InvalidURL, ValueError):
        return Answer(None, error="the address is not valid", forbidden=True)
    except (aiohttp.ClientError, OSError) as error:
        if _NOT_PUBLIC in f"{error} {getattr(error, 'os_error', '')}":
            return Answer(None, error="its name leads to an address that is not public", forbidden=True)
        return Answer(None, error=_in_words(error))


def _in_words(error: Exception) -> str:
    """Why no answer came, for the webhook's owner: nothing of the address, and no name of ours for it."""
    cause = getattr(error, "os_error", error)
    if isinstance(error, aiohttp.ClientConnectorDNSError) or isinstance(cause, socket.gaierror):
        return "its name is not known"
    if isinstance(error, aiohttp.ClientSSLError) or isinstance(cause, ssl.SSLError):
        return "no secure connection could be made"
    if isinstance(cause, ConnectionRefusedError):
        return "it refuses the connection"
    if isinstance(error, aiohttp.ServerDisconnectedError) or isinstance(cause, (ConnectionResetError, BrokenPipeError)):
        return "it ended the connection without an answer"
    if isinstance(error, (aiohttp.ClientResponseError, aiohttp.ClientPayloadError)):
        return "its answer is no HTTP"
    return "the connection failed"


@dataclass(frozen=True)
class Verdict:
    """What an answer means.

    Attributes:
        kind: "taken"; "later": the receiver asks for a pause; "failed": it is not well; "refused": it does not take
            this message; "lost": it takes no message at this address.
        pause: seconds until the next call may be made; None when the answer does not say.
        reason: for the webhook's owner.
        everywhere: the pause holds for every webhook of this kind (Discord's global limit).
    """

    kind: Literal["taken", "later", "failed", "refused", "lost"]
    reason: str = ""
    pause: float | None = None
    everywhere: bool = False


def judge(answer: Answer) -> Verdict:
    """What *answer* means. Rules: Discord's rate limits, Slack's `Retry-After`, and HTTP for the rest."""
    status = answer.status
    if answer.forbidden:
        return Verdict("lost", f"not sent: {answer.error}")
    if status is None:
        return Verdict("failed", answer.error)
    if 200 <= status < 300:
        is_last = answer.headers.get("x-ratelimit-remaining", "").strip() == "0"
        return Verdict("taken", pause=_seconds(answer.headers.get("x-ratelimit-reset-after")) if is_last else None)
    if status == 429:
        said = _json_object(answer.body)
        pause = _seconds(said.get("retry_after"), answer.headers.get("retry-after"),
                         answer.headers.get("x-ratelimit-reset-after"))  # fmt: skip
        is_global = said.get("global") is True or answer.headers.get("x-ratelimit-global", "").lower() == "true"
        return Verdict("later", "it asks for a pause (429)", 5.0 if pause is None else pause, everywhere=is_global)
    if status in (401, 403, 404, 410):
        meaning = {401: "it wants other credentials", 403: "it forbids it", 404: "there is no such webhook (any more)",
                   410: "it is gone"}[status]  # fmt: skip
        return Verdict("lost", f"{meaning} ({status})")
    if 300 <= status < 400:
        return Verdict("lost", f"it redirects elsewhere ({status}), which is not followed")
    if 400 <= status < 500 and status not in (408, 425):
        return Verdict("refused", f"it did not take the message ({status})")
    return Verdict("failed", f"it is not well ({status})", _seconds(answer.headers.get("retry-after")))


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _seconds(*candidates: Any) -> float | None:
    for candidate in candidates:
        try:
            seconds = float(candidate)
        except (TypeError, ValueError, OverflowError):
            continue
        if seconds >= 0:
            return min(seconds, MOST_PAUSE)
    return None
