"""The one place where a request leaves for ESI: as it was asked for, once, and as one of few kinds of failure."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from killsync import http_session
from killsync.causes import cause
from killsync.esi import errors
from killsync.esi.responses import outcome
from killsync.esi.routes import Route
from killsync.observability import metrics
from killsync.settings import Settings


async def send(
    settings: Settings, timeouts: aiohttp.ClientTimeout, route: Route, method: str, path: str,
    headers: dict[str, str], query: dict[str, str], json: Any,
) -> tuple[int, dict[str, str], bytes]:  # fmt: skip
    """Status, lower-cased headers and body of an answer of any status.

    Raises:
        Downtime: no answer came, or none in time, or not all of it.
        Malformed: the answer is too large.
    """
    sent = {
        "User-Agent": settings.user_agent,
        "X-Compatibility-Date": settings.esi_compatibility_date,
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        **headers,
    }
    data = None
    if json is not None:
        data = msgspec.json.encode(json)
        sent["Content-Type"] = "application/json"
    came, started = "error", time.monotonic()
    try:
        async with http_session.session().request(
            method,
            URL(settings.esi_url + path, encoded=True),  # ids and hashes: there is nothing to encode
            params=query,
            headers=sent,
            data=data,
            allow_redirects=False,
            timeout=timeouts,
        ) as response:
            body = await _read(response, route.most_bytes, path)
            came = outcome(response.status)
            return response.status, {name.lower(): value for name, value in response.headers.items()}, body
    except TimeoutError:
        raise errors.Downtime(path, "no answer in time") from None
    except aiohttp.TooManyRedirects:
        raise errors.Malformed(path, "redirects without end") from None
    except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
        reason = cause(error)
        raise errors.Downtime(path, f"the connection failed ({reason})") from None
    finally:
        metrics.esi_request(route.name, came, time.monotonic() - started)


async def _read(response: aiohttp.ClientResponse, most: int, path: str) -> bytes:
    """The body of an answer.

    Raises:
        Malformed: it is larger than *most* bytes; the rest is not read.
    """
    # Most answers have arrived whole by now, and are read at once.
    parts, size = [], 0
    while not response.content.at_eof():
        parts.append(await response.content.readany())
        size += len(parts[-1])
        if size > most:
            response.close()
            raise errors.Malformed(path, f"the answer is larger than {most} bytes")
    return b"".join(parts)
