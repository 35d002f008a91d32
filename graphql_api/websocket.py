"""GraphQL over WebSocket, as the protocol text of graphql-transport-ws says."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import Any

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from graphql_api import handshake, messages, share
from graphql_api.broadcast import is_refusal
from graphql_api.context import Context
from graphql_api.encoding import encode
from graphql_api.errors import NotExecuted, RateLimited, Refused
from graphql_api.messages import Close
from graphql_api.outbox import Outbox
from graphql_api.tartiflette.engine import Api, Operation
from killsync.accounts.viewer import Viewer
from killsync.logging import get_logger
from killsync.web import sessions
from killsync.web.security import LIMITER, check_rate, client_ip, network_of, same_origin
from killsync.web.shares import Held, Holder, Shares, TooMuch
from models.work import PATIENCE

log = get_logger("socket")

PROTOCOL = "graphql-transport-ws"
#: How long a client may take for `connection_init`, seconds.
INIT_SECONDS = 10.0
#: Queries and mutations of one socket that are executed, or whose answers wait to be taken, at a time.
MOST_EXECUTED = 2
MOST_MESSAGE = 131_072
#: Who selects what another one selects already pays this part of what an event costs: it is made once, and sent to each.
REPEATED = 20

SHARES = web.AppKey("shares", Shares)
_OPEN: web.AppKey[set[_Conversation]] = web.AppKey("open_sockets")
_numbers = itertools.count(1)


async def talk(request: web.Request, api: Api) -> web.StreamResponse:
    """Serve one WebSocket from handshake to close."""
    check_rate(request, "socket")
    if not same_origin(request):
        raise web.HTTPForbidden(text="This socket was opened by another site's page.\n")
    viewer = await sessions.viewer_of(request)
    holder = Holder(next(_numbers), network_of(client_ip(request)), viewer.account_id if viewer else None)
    try:
        place = request.app[SHARES].take("open sockets", holder)
    except TooMuch as error:
        raise web.HTTPServiceUnavailable(
            text=f"Too many open sockets: {error}.\n", headers={"Retry-After": "30"}
        ) from None
    PATIENCE.set(None)
    try:
        return await _talk(request, api, holder)
    finally:
        place.release()


async def _talk(request: web.Request, api: Api, holder: Holder) -> web.StreamResponse:
    # Each frame waits until the client takes it; a ping is answered by `Outbox`, which has a time limit.
    socket = web.WebSocketResponse(
        protocols=(PROTOCOL,), heartbeat=30.0, max_msg_size=MOST_MESSAGE, compress=False, autoping=False, writer_limit=0
    )
    await socket.prepare(request)
    if socket.ws_protocol != PROTOCOL:
        await socket.close(code=messages.NO_PROTOCOL, message=b"Subprotocol not acceptable")
        return socket
    conversation = _Conversation(socket, request, api, holder)
    open_sockets = request.app[_OPEN]
    open_sockets.add(conversation)
    try:
        await conversation.run()
    except Close as close:
        await conversation.outbox.close(close)
    finally:
        open_sockets.discard(conversation)
        await conversation.end()
    return socket


async def close_all(app: web.Application) -> None:
    """Ask every client to come back: this process stops."""
    restart = Close(WSCloseCode.GOING_AWAY, "The server restarts")
    open_sockets = app[_OPEN]
    for conversation in tuple(open_sockets):
        with contextlib.suppress(Exception):
            await asyncio.wait_for(conversation.outbox.close(restart), 2)


def setup(app: web.Application) -> None:
    """Keep the open sockets; close them when the process stops, and each when its session ends."""
    app[_OPEN] = set()
    app[SHARES] = Shares()
    share.setup(app)

    def session_ended(id_hash: str) -> None:
        open_sockets = app[_OPEN]
        for conversation in tuple(open_sockets):
            conversation.session_ended(id_hash)

    app[sessions.ENDED].append(session_ended)
    app.on_shutdown.append(close_all)


class _Conversation:
    """One client's operations."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request, api: Api, holder: Holder) -> None:
        self._socket = socket
        self._request = request
        self._api = api
        self._holder = holder
        self._shares = request.app[SHARES]
        self._session = sessions.session_of(request)
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._is_begun = False
        self._executed = asyncio.Semaphore(MOST_EXECUTED)
        self._ending: asyncio.Task[None] | None = None
        self.outbox = Outbox(socket, request, self._shares, holder)

    async def run(self) -> None:
        """Answer messages until the client goes; raises Close when it breaks the protocol, or takes too much."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + INIT_SECONDS
        while True:
            # Nothing is read from a client while it does not take what it was sent, or sends too much.
            await self.outbox.taken()
            await self._slow_down()
            try:
                left = None if self._is_begun else max(0.0, deadline - loop.time())
                received = await self._socket.receive(timeout=left)
            except TimeoutError:
                raise Close(messages.INIT_TIMEOUT, "Connection initialisation timeout") from None
            if received.type is WSMsgType.TEXT:
                await self._message(messages.read(received.data))
            elif received.type is WSMsgType.PING:
                await self.outbox.pong(received.data)
            elif received.type is WSMsgType.BINARY:
                raise Close(messages.INVALID, "Messages are text")
            elif received.type is not WSMsgType.PONG:
                return

    async def _slow_down(self) -> None:
        """Wait until the client's address may send one more message, and while others have their turn."""
        limiter = self._request.app[LIMITER]
        await asyncio.sleep(0)
        while True:
            wait = limiter.wait("message", self._holder.address)
            if not wait:
                return
            await asyncio.sleep(wait)

    async def end(self) -> None:
        """Cancel what is open and wait until it has let go of everything."""
        for task in tuple(self._operations.values()):
            task.cancel()
        await asyncio.gather(*self._operations.values(), return_exceptions=True)
        self._operations.clear()

    def session_ended(self, id_hash: str) -> None:
        """Close the socket if it was opened by the session that ended."""
        if self._session == id_hash and self._ending is None:
            self._ending = asyncio.create_task(self.outbox.close(Close(messages.FORBIDDEN, "Logged out")))

    async def _message(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "connection_init":
            if self._is_begun:
                raise Close(messages.DOUBLE_INIT, "Too many initialisation requests")
            await handshake.begin(self._request, message.get("payload"))
            self._is_begun = True
            await self.outbox.send({"type": "connection_ack"})
        elif kind == "ping":
            payload = {"payload": message["payload"]} if "payload" in message else {}
            await self.outbox.send({"type": "pong", **payload})
        elif kind == "pong":
            pass
        elif kind == "subscribe":
            await self._subscribe(message)
        elif kind == "complete":
            task = self._operations.pop(messages.operation_id(message), None)
            if task is not None:
                task.cancel()
        else:
            raise Close(messages.INVALID, "Unknown message type")

    async def _subscribe(self, message: dict[str, Any]) -> None:
        number = messages.operation_id(message)
        if not self._is_begun:
            raise Close(messages.UNAUTHORIZED, "Unauthorized")
        if number in self._operations:
            raise Close(messages.DOUBLE_ID, f"Subscriber for {number[:60]} already exists")
        payload = message.get("payload")
        if not isinstance(payload, dict) or not isinstance(payload.get("query"), str):
            raise Close(messages.INVALID, "A subscribe message has a payload with a query")
        name, variables = payload.get("operationName"), payload.get("variables")
        if not isinstance(name, str | None) or not isinstance(variables, dict | None):
            raise Close(messages.INVALID, "operationName is text and variables an object")
        try:
            place = self._take("open operations", 1)
        except Refused as error:
            # Answered here, before anything else is read: whoever does not take it is not heard any more.
            await self._refuse(number, error)
            return
        task = asyncio.create_task(self._operate(number, payload["query"], name, variables))
        task.add_done_callback(lambda _: place.release())
        self._operations[number] = task

    def _take(self, what: str, amount: int) -> Held:
        """Hold something for this client until it is released.

        Raises:
            Refused: one may not hold that much.
        """
        try:
            return self._shares.take(what, self._holder, amount)
        except TooMuch as error:
            raise Refused(f"{error.what} of one {error.whose}", error.found, error.limit) from None

    async def _operate(self, number: str, query: str, name: str | None, variables: dict[str, Any] | None) -> None:
        """Run one operation to its end and say so to the client."""
        try:
            await self._results(number, query, name, variables)
            await self.outbox.send({"id": number, "type": "complete"})
        except asyncio.CancelledError:
            raise
        except ConnectionError:
            pass
        except Exception as error:
            with contextlib.suppress(ConnectionError):
                await self._refuse(number, error)
        finally:
            if self._operations.get(number) is asyncio.current_task():
                del self._operations[number]

    async def _refuse(self, number: str, error: Exception) -> None:
        failure = await self._api.failure(error)
        await self.outbox.send({"id": number, "type": "error", "payload": failure["errors"]})

    async def _results(self, number: str, query: str, name: str | None, variables: dict[str, Any] | None) -> None:
        context = Context(self._request)
        # As of now: the session may have ended in another process.
        caller = await sessions.caller_within(self._request, 0.0)
        viewer = caller.viewer
        try:
            sessions.check_key_rate(self._request, caller)
            check_rate(self._request, "graphql", viewer.account_id if viewer else None)
        except web.HTTPTooManyRequests as error:
            raise RateLimited(int(error.headers["Retry-After"])) from None
        async with self._executed:
            answer = await self._execute(number, query, name, variables, context, viewer)
            if isinstance(answer, list):
                await self.outbox.send_answer(answer)
        if isinstance(answer, Operation):
            await self._events(number, answer, variables, context)

    async def _execute(
        self, number: str, query: str, name: str | None, variables: dict[str, Any] | None, context: Context, viewer: Viewer | None
    ) -> Operation | list[bytes]:  # fmt: skip
        """Execute a query or mutation: the message with its result; a subscription is given back."""
        async with share.turn(self._request, viewer) as turn:
            operation = await self._api.operation(query, name, variables, turn.spend)
            if operation.operation_type == "subscription":
                return operation
            result = await self._api.execute(operation, variables, context, turn.spend, turn.room)
            if is_refusal(result):
                raise NotExecuted(result.get("errors", []))
            return [await encode({"id": number, "type": "next", "payload": result}, 1)]

    async def _events(
        self, number: str, operation: Operation, variables: dict[str, Any] | None, context: Context
    ) -> None:
        """Send what each event gives, until the client completes it. What an event costs is counted now."""
        broadcast, selection = self._api.broadcast, operation.selection
        assert selection is not None
        with contextlib.ExitStack() as stack:
            size = operation.size + len(msgspec.json.encode(variables))
            stack.callback(self._take("bytes of open operations", size).release)
            is_first = broadcast.join(selection)
            stack.callback(broadcast.leave, selection)
            price = operation.cost if is_first else operation.cost // REPEATED + 1
            stack.callback(self._take("points of open subscriptions", price).release)
            async with contextlib.aclosing(self._api.subscribe(operation, variables, context)) as texts:  # type: ignore[type-var]
                async for text in texts:
                    if text.refusal is not None:
                        raise NotExecuted(text.refusal)
                    await self.outbox.send_result(number, text.body)
