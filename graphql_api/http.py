"""GraphQL over HTTP: POST with JSON, GET for queries, and the explorer for browsers. One request, one operation."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from graphql_api import share
from graphql_api.broadcast import is_refusal
from graphql_api.context import Context
from graphql_api.encoding import encode
from graphql_api.errors import ApiError, Forbidden, Invalid, RateLimited
from graphql_api.tartiflette.engine import Api, Operation, only_query
from graphql_api.websocket import talk
from killsync.access.decision import Need
from killsync.web import render, sessions
from killsync.web.guard import needs
from killsync.web.security import SETTINGS, check_rate, content_policy, same_origin
from models.errors import is_away
from models.threads import Busy

API = web.AppKey("api", Api)

GRAPHQL_JSON = "application/graphql-response+json"
PLAIN_JSON = "application/json"
#: The most bytes of a request body; a query may have 32 KiB, its variables the rest.
MOST_BODY = 131_072


class BadRequest(Exception):
    """The request is no GraphQL request. *status* is the HTTP status it is answered with."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


async def graphql_get(request: web.Request) -> web.StreamResponse:
    """GET /graphql: a WebSocket, the explorer for a browser, or a query."""
    if request.headers.get("Upgrade", "").lower() == "websocket":
        return await talk(request, request.app[API])
    if "query" not in request.query and "text/html" in request.headers.get("Accept", ""):
        return explorer(request)
    return await _answer(request, by_get=True)


async def graphql_post(request: web.Request) -> web.StreamResponse:
    """POST /graphql with application/json."""
    return await _answer(request, by_get=False)


def explorer(request: web.Request) -> web.Response:
    """GraphiQL, served from this server alone."""
    response = render.rendered(request, "explorer.html", {})
    response.headers["Content-Security-Policy"] = content_policy(request.app[SETTINGS], request.host, styles=True)
    return response


async def _answer(request: web.Request, *, by_get: bool) -> web.Response:
    api = request.app[API]
    media = _media(request)
    if media is None:
        return _json({"errors": [_error(f"the answer is {GRAPHQL_JSON} or {PLAIN_JSON}")]}, PLAIN_JSON, 406)
    try:
        given = _from_query(request) if by_get else await _from_body(request)
        query, name, variables = _parameters(given)
    except BadRequest as error:
        return _json({"errors": [_error(str(error))]}, media, error.status)
    try:
        viewer = await sessions.viewer_of(request)
        check_rate(request, "graphql", viewer.account_id if viewer else None)
        async with share.turn(request, viewer) as turn:
            operation = await api.operation(query, name, variables, turn.spend)
            _check_allowed(request, operation, by_get=by_get)
            result = await api.execute(operation, variables, Context(request), turn.spend, turn.room)
            if not is_refusal(result):
                return _response(await encode(result), media, 200)
    except RateLimited as error:
        return _too_often(await api.failure(error), media, str(error.extensions["retryAfter"]))
    except web.HTTPTooManyRequests as error:
        refusal = {"errors": [_error("too many requests", "RATE_LIMITED")]}
        return _too_often(refusal, media, error.headers["Retry-After"])
    except (ApiError, Invalid) as error:
        status = 405 if by_get and isinstance(error, Forbidden) else _status(error, media)
        return _json(await api.failure(error), media, status, allow_post=status == 405)
    except Exception as error:
        is_busy = isinstance(error, Busy) or is_away(error)
        return _json(await api.failure(error), media, 503 if is_busy else 500)
    # Its variables did not fit: nothing was executed, so the specification wants no `data`.
    result.pop("data", None)
    return _json(result, media, 400 if media == GRAPHQL_JSON else 200)


def _check_allowed(request: web.Request, operation: Operation, *, by_get: bool) -> None:
    """Refuse what may not be asked for in this way.

    Raises:
        Forbidden: it may not.
    """
    if by_get:
        only_query(operation)
    elif operation.operation_type == "mutation" and not same_origin(request):
        raise Forbidden("a mutation from another site's page is refused")
    if operation.operation_type == "subscription":
        raise Forbidden("a subscription needs a WebSocket with the subprotocol graphql-transport-ws")


def _too_often(body: dict[str, Any], media: str, seconds: str) -> web.Response:
    answer = _json(body, media, 429)
    answer.headers["Retry-After"] = seconds
    return answer


def _status(error: Exception, media: str) -> int:
    """400 for a document that was not executed; plain JSON keeps 200, as the specification wants for older clients."""
    if isinstance(error, Forbidden):
        return 403
    return 400 if media == GRAPHQL_JSON else 200


def _media(request: web.Request) -> str | None:
    """The answer's media type; None when the client takes neither."""
    accept = request.headers.get("Accept", "")
    if not accept.strip():
        return PLAIN_JSON
    for entry in accept.lower().split(","):
        kind, _, rest = entry.partition(";")
        kind = kind.strip()
        charset = rest.partition("charset=")[2].partition(";")[0].strip().strip('"')
        if charset not in ("", "utf-8", "utf8"):
            continue
        if kind == GRAPHQL_JSON:
            return GRAPHQL_JSON
        if kind in (PLAIN_JSON, "application/*", "*/*"):
            return PLAIN_JSON
    return None


def _from_query(request: web.Request) -> dict[str, Any]:
    given: dict[str, Any] = dict(request.query)
    for name in ("variables", "extensions"):
        if given.get(name):
            try:
                given[name] = msgspec.json.decode(given[name])
            except (ValueError, RecursionError):
                raise BadRequest(f"{name} is a JSON object") from None
    return {name: value for name, value in given.items() if value != ""}


async def _from_body(request: web.Request) -> Any:
    if request.content_type != PLAIN_JSON:
        raise BadRequest(f"send the request as {PLAIN_JSON}", 415)
    if (request.charset or "utf-8").lower() not in ("utf-8", "utf8"):
        raise BadRequest("send the request in UTF-8", 415)
    if (request.content_length or 0) > MOST_BODY:
        raise BadRequest(f"the request has {request.content_length} bytes; the limit is {MOST_BODY}", 413)
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise BadRequest(f"the request has more than {MOST_BODY} bytes", 413) from None
    except (ValueError, web.RequestPayloadError):
        raise BadRequest("the request cannot be read") from None
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError):
        raise BadRequest("the request is not JSON in UTF-8") from None


def _parameters(given: Any) -> tuple[str, str | None, dict[str, Any] | None]:
    if isinstance(given, list):
        raise BadRequest("send one operation at a time: batches are not taken")
    if not isinstance(given, dict):
        raise BadRequest("the request is a JSON object with a query")
    query, name = given.get("query"), given.get("operationName")
    variables, extensions = given.get("variables"), given.get("extensions")
    if not isinstance(query, str):
        raise BadRequest("query is missing" if query is None else "query is text")
    if name is not None and not isinstance(name, str):
        raise BadRequest("operationName is text")
    if variables is not None and not isinstance(variables, dict):
        raise BadRequest("variables is a JSON object")
    if extensions is not None and not isinstance(extensions, dict):
        raise BadRequest("extensions is a JSON object")
    return query, name, variables


def _error(message: str, code: str = "BAD_REQUEST") -> dict[str, Any]:
    return {"message": message, "extensions": {"code": code}}


def _json(body: Any, media: str, status: int, *, allow_post: bool = False) -> web.Response:
    return _response(msgspec.json.encode(body), media, status, allow_post=allow_post)


def _response(body: bytes, media: str, status: int, *, allow_post: bool = False) -> web.Response:
    headers = {"Content-Type": f"{media}; charset=utf-8", "Cache-Control": "no-store", "Vary": "Accept, Cookie"}
    if allow_post:
        headers["Allow"] = "POST"
    return web.Response(body=body, status=status, headers=headers)


def setup(app: web.Application, api: Api) -> None:
    """Add the routes."""
    app[API] = api
    app.router.add_get("/graphql", needs(Need.READ, graphql_get, handshake=Need.OPEN), allow_head=False)
    app.router.add_post("/graphql", needs(Need.READ, graphql_post))
