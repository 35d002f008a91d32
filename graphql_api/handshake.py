"""Who opens a WebSocket: the session of the handshake, or an access key that comes in `connection_init`.

Browsers cannot send a header with the handshake, and programs put their key where their library lets them.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from graphql_api.context import KEEP_SECONDS
from graphql_api.messages import FORBIDDEN, Close
from killsync.access.decision import Need
from killsync.web import guard, sessions


async def begin(request: web.Request, payload: Any) -> None:
    """Let a client begin that may read.

    Raises:
        Close: it may not, or its key is none.
    """
    key = access_key(payload)
    if key is not None:
        sessions.present_key(request, key)
    if sessions.key_of(request) is None and not guard.is_asked(request, Need.READ):
        return
    try:
        caller = await sessions.caller_of(request)
        if caller.is_wrong_key:
            raise Close(FORBIDDEN, "This access key is not valid")
        sessions.check_key_rate(request, caller)
        refusal = await guard.refusal_of(request, Need.READ, KEEP_SECONDS)
    except web.HTTPTooManyRequests:
        raise Close(FORBIDDEN, "Too many requests; slow down") from None
    if refusal is not None:
        raise Close(FORBIDDEN, refusal.value)


def access_key(payload: Any) -> str | None:
    """The access key of a `connection_init`: its `Authorization`, or that of its `headers`, as HTTP would have it.

    Raises:
        Close: there is an Authorization, and it is none.
    """
    if not isinstance(payload, dict):
        return None
    headers = payload.get("headers")
    for given in (payload, headers if isinstance(headers, dict) else {}):
        for name, value in given.items():
            if name.lower() != "authorization" or value is None:
                continue
            if not isinstance(value, str) or not value.lower().startswith("bearer "):
                raise Close(FORBIDDEN, "Authorization is Bearer and an access key")
            return value[len("bearer ") :].strip()
    return None
