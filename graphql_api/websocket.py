"""GraphQL over WebSocket, as the protocol text of graphql-transport-ws says."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from graphql_api.context import Context
from graphql_api.errors import NotExecuted, RateLimited, Refused
from graphql_api.tartiflette.engine import Api
from killsync.logging import get_logger
from killsync.web import sessions
from killsync.web.security import check_rate, same_origin

log = get_logger("socket")

PROTOCOL = "graphql-transport-ws"
#: How long a client may take for `connection_init`, seconds.
INIT_SECONDS = 10.0
#: How long a client may take to read one message before it is cut off, seconds.
SEND_SECONDS = 20.0
#: Operations one socket may have open.
MOST_OPERATIONS = 100
MOST_MESSAGE = 131_072
#: Sockets one process serves.
MOST_SOCKETS = 5_000

INVALID, UNAUTHORIZED, NO_PROTOCOL, INIT_TIMEOUT, DOUBLE_ID, DOUBLE_INIT = 4400, 4401, 4406, 4408, 4409, 4429

_OPEN = web.AppKey("open_sockets", set[web.WebSocketResponse])


class _Close(Exception):
    """The client broke the protocol: the socket closes with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


async def talk(request: web.Request, api: Api) -> web.StreamResponse:
    """Serve one WebSocket from handshake to close."""
    check_rate(request, "socket")
    if not same_origin(request):
        raise web.HTTPForbidden(text="This socket was opened by another site's page.\n")
    open_sockets = request.app[_OPEN]
    if len(open_sockets) >= MOST_SOCKETS:
        raise web.HTTPServiceUnavailable(text="Too many open sockets.\n", headers={"Retry-After": "30"})
    await sessions.viewer_of(request)
    socket = web.WebSocketResponse(protocols=(PROTOCOL,), heartbeat=30.0, max_msg_size=MOST_MESSAGE, compress=False)
    await socket.prepare(request)
    if socket.ws_protocol != PROTOCOL:
        await socket.close(code=NO_PROTOCOL, message=b"Subprotocol not acceptable")
        return socket
    open_sockets.add(socket)
    conversation = _Conversation(socket, request, api)
    try:
        await conversation.run()
    except _Close as close:
        await socket.close(code=close.code, message=str(close).encode()[:120])
    finally:
        open_sockets.discard(socket)
        await conversation.end()
    return socket


async def close_all(app: web.Application) -> None:
    """Ask every client to come back: this process stops."""
    open_sockets = app[_OPEN]
    for socket in tuple(open_sockets):
        with contextlib.suppress(Exception):
            await asyncio.wait_for(socket.close(code=WSCloseCode.GOING_AWAY, message=b"The server restarts"), 2)


def setup(app: web.Application) -> None:
    """Keep the open sockets, and close them when the process stops."""
    app[_OPEN] = set()
    app.on_shutdown.append(close_all)


class _Conversation:
    """One client's operations."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request, api: Api) -> None:
        self._socket = socket
        self._request = request
        self._api = api
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._is_begun = False
        self._sending = asyncio.Lock()

    async def run(self) -> None:
        """Answer messages until the client goes; raises _Close when it breaks the protocol."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + INIT_SECONDS
        while True:
            try:
                left = None if self._is_begun else max(0.0, deadline - loop.time())
                received = await self._socket.receive(timeout=left)
            except TimeoutError:
                raise _Close(INIT_TIMEOUT, "Connection initialisation timeout") from None
            if received.type is WSMsgType.TEXT:
                await self._message(_read(received.data))
            elif received.type is WSMsgType.BINARY:
                raise _Close(INVALID, "Messages are text")
            else:
                return

    async def end(self) -> None:
        """Cancel what is open and wait until it has let go of everything."""
        for task in tuple(self._operations.values()):
            task.cancel()
        await asyncio.gather(*self._operations.values(), return_exceptions=True)
        self._operations.clear()

    async def _message(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "connection_init":
            if self._is_begun:
                raise _Close(DOUBLE_INIT, "Too many initialisation requests")
            self._is_begun = True
            await self._send({"type": "connection_ack"})
        elif kind == "ping":
            await self._send({"type": "pong", **({"payload": message["payload"]} if "payload" in message else {})})
        elif kind == "pong":
            pass
        elif kind == "subscribe":
            self._subscribe(message)
        elif kind == "complete":
            task = self._operations.pop(_id(message), None)
            if task is not None:
                task.cancel()
        else:
            raise _Close(INVALID, "Unknown message type")

    def _subscribe(self, message: dict[str, Any]) -> None:
        number = _id(message)
        if not self._is_begun:
            raise _Close(UNAUTHORIZED, "Unauthorized")
        if number in self._operations:
            raise _Close(DOUBLE_ID, f"Subscriber for {number[:60]} already exists")
        payload = message.get("payload")
        if not isinstance(payload, dict) or not isinstance(payload.get("query"), str):
            raise _Close(INVALID, "A subscribe message has a payload with a query")
        name, variables = payload.get("operationName"), payload.get("variables")
        if not isinstance(name, str | None) or not isinstance(variables, dict | None):
            raise _Close(INVALID, "operationName is text and variables an object")
        task = asyncio.create_task(self._operate(number, payload["query"], name, variables))
        self._operations[number] = task

    async def _operate(self, number: str, query: str, name: str | None, variables: dict[str, Any] | None) -> None:
        """Run one operation to its end and say so to the client."""
        try:
            await self._results(number, query, name, variables)
            await self._send({"id": number, "type": "complete"})
        except asyncio.CancelledError:
            raise
        except ConnectionError:
            pass
        except Exception as error:
            failure = await self._api.failure(error)
            with contextlib.suppress(ConnectionError):
                await self._send({"id": number, "type": "error", "payload": failure["errors"]})
        finally:
            if self._operations.get(number) is asyncio.current_task():
                del self._operations[number]

    async def _results(self, number: str, query: str, name: str | None, variables: dict[str, Any] | None) -> None:
        if len(self._operations) > MOST_OPERATIONS:
            raise Refused("open operations on this socket", len(self._operations), MOST_OPERATIONS)
        context = Context(self._request)
        viewer = await context.viewer()
        try:
            check_rate(self._request, "graphql", viewer.account_id if viewer else None)
        except web.HTTPTooManyRequests as error:
            raise RateLimited(int(error.headers["Retry-After"])) from None
        operation = await self._api.operation(query, name, variables)
        if operation.operation_type != "subscription":
            result = await self._api.execute(operation, variables, context)
            self._check(result)
            await self._next(number, result)
            return
        async with contextlib.aclosing(self._api.subscribe(operation, variables, context)) as results:  # type: ignore[type-var]
            async for result in results:
                self._check(result)
                await self._next(number, result)

    @staticmethod
    def _check(result: dict[str, Any]) -> None:
        """Raise what kept the operation from being executed at all: the protocol has a message of its own for that."""
        if result.get("data") is None and not any(error.get("path") for error in result.get("errors", ())):
            raise NotExecuted(result.get("errors", []))

    async def _next(self, number: str, result: dict[str, Any]) -> None:
        await self._send({"id": number, "type": "next", "payload": result})

    async def _send(self, message: dict[str, Any]) -> None:
        text = msgspec.json.encode(message).decode()
        try:
            async with self._sending:
                await asyncio.wait_for(self._socket.send_str(text), SEND_SECONDS)
        except TimeoutError:
            log.info("slow client cut off")
            if self._request.transport is not None:
                self._request.transport.abort()
            raise ConnectionResetError("the client does not read") from None


def _read(text: str) -> dict[str, Any]:
    try:
        message = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        raise _Close(INVALID, "Messages are JSON") from None
    if not isinstance(message, dict):
        raise _Close(INVALID, "Messages are JSON objects")
    return message


def _id(message: dict[str, Any]) -> str:
    number = message.get("id")
    if not isinstance(number, str) or not 0 < len(number) <= 200:
        raise _Close(INVALID, "A message of this type has an id")
    return number
