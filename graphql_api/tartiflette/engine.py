"""Tartiflette with this schema, and the one way to run an operation: a document within bounds, its cost, execution in time."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any

import msgspec
from tartiflette import Engine, create_engine
from tartiflette.execution.execute import create_source_event_stream, execute
from tartiflette.language.ast import DocumentNode, OperationDefinitionNode
from tartiflette.types.exceptions.tartiflette import TartifletteError

from graphql_api import cost, fields
from graphql_api.broadcast import Broadcast, Text
from graphql_api.documents import Documents, Ready, Selection
from graphql_api.errors import (
    MOST_SECONDS,
    BadDocument,
    Forbidden,
    Invalid,
    NotExecuted,
    OverCost,
    TimedOut,
    coerce_error,
)
from graphql_api.tartiflette import fast_completion
from killsync.settings import project_root
from models.work import CURRENT, Lane, OverBudget, Work

#: Rows that one operation, or one event of a subscription, may read from the database.
MOST_ROWS = 60_000
#: Values that the answer of one operation, or of one event, may hold.
MOST_VALUES = 300_000
#: A text longer than this is parsed beside the event loop, characters: a shorter one takes a few milliseconds.
LONG_TEXT = 1_500

#: A document that is remembered has many users: what each of them pays for holding it.
SHARED_BY = 10

Result = dict[str, Any]
#: Told what something took of a core, seconds.
Spend = Callable[[float], None]
#: Waits until one more large operation may go on.
Room = Callable[[], Awaitable[None]]


def _free(_seconds: float) -> None:
    """For who pays nothing."""


@dataclass(frozen=True)
class Operation:
    """One operation of a document that is within all bounds. *size*: what it holds in memory, bytes; *cost*: in points."""

    document: DocumentNode
    node: OperationDefinitionNode
    name: str | None
    size: int
    cost: int
    #: What a subscription selects, with the values of its variables; None for anything else.
    selection: str | None

    @property
    def operation_type(self) -> str:
        """query, mutation or subscription."""
        return str(self.node.operation_type)


class Api:
    """The schema, ready to run operations. `make` builds it; one serves a process."""

    def __init__(self, engine: Engine, documents: Documents, *, introspection: bool) -> None:
        self._engine = engine
        self._documents = documents
        self._introspection = introspection
        #: Of several operations that need the event loop for long, one has it at a time.
        self._lane = Lane()
        self.broadcast = Broadcast()

    @classmethod
    async def make(cls, *, introspection: bool = True) -> Api:
        """Build the schema from `schema.graphql` and the resolvers."""
        path = project_root() / "graphql_api" / "schema.graphql"
        engine = await create_engine(
            sdl=str(path),
            schema_name=next(_names),
            modules=[{"name": "graphql_api.tartiflette.bindings", "config": {}}],
            error_coercer=coerce_error,  # type: ignore[arg-type]
            custom_default_resolver=fields.resolve,
            coerce_list_concurrently=False,
            coerce_parent_concurrently=False,
        )
        schema: Any = engine._schema
        fast_completion.install(schema, ("Query", "Mutation", "Subscription"))

        def knows(type_name: str, field_name: str, argument_name: str | None) -> bool:
            if not schema.has_type(type_name):
                return False
            field = schema.find_type(type_name).implemented_fields.get(field_name)
            return field is not None and (argument_name is None or argument_name in field.arguments)

        text = await asyncio.to_thread(path.read_text)
        return cls(engine, Documents(text, knows, suggest=introspection), introspection=introspection)

    async def operation(
        self, query: str, name: str | None, variables: dict[str, Any] | None, spend: Spend = _free
    ) -> Operation:
        """The operation that *query* and *name* choose, within all bounds. *spend* is told what that took of a core, seconds.

        Raises:
            ApiError: the document is too large, too deep, too costly, no GraphQL, or has no such operation.
            Invalid: the document does not fit the schema.
        """
        ready = self._documents.recall(query)
        size = ready.size // SHARED_BY if ready is not None else 0
        if ready is None:
            ready = await self._read(query, spend)
            size = ready.size
        node = _choose(ready.document, name)
        found = cost.check(ready.document, node, variables, introspection=self._introspection)
        selection = ready.selections.get(node.name.value if node.name else None)
        text = None if selection is None else _identity(selection, variables or {})
        return Operation(ready.document, node, name, size, found, text)

    async def _read(self, query: str, spend: Spend) -> Ready:
        seconds = 0.0

        def prepare() -> Ready:
            nonlocal seconds
            began = time.thread_time()
            try:
                return self._documents.prepare(query)
            finally:
                seconds = time.thread_time() - began

        try:
            if len(query) > LONG_TEXT:
                # In a thread, where it gives the event loop its turn every few milliseconds; one at a time.
                ready = await asyncio.get_running_loop().run_in_executor(_parser, prepare)
            else:
                ready = prepare()
        finally:
            spend(seconds)
        self._documents.remember(query, ready)
        return ready

    async def execute(
        self,
        operation: Operation,
        variables: dict[str, Any] | None,
        context: Any,
        spend: Spend = _free,
        room: Room | None = None,
    ) -> Result:
        """Run a query or mutation, until it is done or has used up its time, rows or values.

        A large query waits for *room* before it goes on; nothing of a mutation is done twice.
        """
        work = self._work(room if operation.operation_type == "query" else None)
        token = CURRENT.set(work)
        try:
            running = self._engine._query_executor(  # type: ignore[misc]
                *self._arguments(operation, variables, context), context_coercer=context
            )
            return await self._within(work, running)
        finally:
            CURRENT.reset(token)
            spend(work.computed)

    async def _within(self, work: Work, running: Awaitable[Result]) -> Result:
        try:
            result = await asyncio.wait_for(running, MOST_SECONDS)
        except TimeoutError:
            return await self.failure(TimedOut(MOST_SECONDS, work))
        stopped = work.reason_to_stop()
        if stopped is None:
            return result
        # Fields that were done by then are not given: the answer is whole or none.
        if isinstance(stopped, OverBudget):
            return await self.failure(OverCost(stopped))
        return await self.failure(TimedOut(MOST_SECONDS, work))

    async def subscribe(
        self, operation: Operation, variables: dict[str, Any] | None, context: Any
    ) -> AsyncIterator[Text]:
        """Run a subscription: one text an event, which is made once for all who select the same of it."""
        assert operation.selection is not None
        schema, document, _, name, context, variables, root = self._arguments(operation, variables, context)
        builder = self._engine._build_response
        source: Any = await create_source_event_stream(schema, document, builder, root, context, variables, name)  # type: ignore[arg-type]
        if isinstance(source, dict):
            yield Text(msgspec.json.encode(source), source.get("errors", []))
            return

        async def result_of(payload: Any) -> Result:
            work = self._work()
            CURRENT.set(work)  # of the task that executes this for everybody
            running = execute(schema, document, builder, payload, context, variables, name)  # type: ignore[arg-type]
            return await self._within(work, running)

        async with aclosing(source):
            async for payload in source:
                # An event has one field: that of the subscription, with the value that all subscribers of it get.
                (event,) = payload.values()
                yield await self.broadcast.text(operation.selection, event, partial(result_of, payload))

    def _work(self, room: Room | None = None) -> Work:
        return Work(self._lane, MOST_SECONDS, MOST_ROWS, MOST_VALUES, room)

    def _arguments(self, operation: Operation, variables: dict[str, Any] | None, context: Any) -> tuple[Any, ...]:
        no_errors, no_root = None, None
        return self._engine._schema, operation.document, no_errors, operation.name, context, variables, no_root

    async def failure(self, error: Exception) -> Result:
        """The response for a request that was not executed: errors and no data."""
        if isinstance(error, NotExecuted):
            return {"errors": error.errors}
        errors = error.errors if isinstance(error, Invalid) else [error]
        built = [
            each if isinstance(each, TartifletteError) else TartifletteError(str(each), original_error=each)
            for each in errors
        ]
        response: Result = await self._engine._build_response(errors=built)  # type: ignore[misc]
        return {"errors": response["errors"][:20]}


def _identity(selection: Selection, variables: dict[str, Any]) -> str:
    """A text that is the same for whoever selects the same of an event."""
    given = {name: variables[name] for name in selection.variables if name in variables}
    return sha256(selection.text.encode() + b"\0" + msgspec.json.encode(given, order="sorted")).hexdigest()


#: Parses long documents, one at a time.
_parser = ThreadPoolExecutor(1, thread_name_prefix="killsync-parser")
#: Names for Tartiflette's registry, which holds one schema a name.
_names = (f"killsync-{number}" for number in itertools.count(1))


def _choose(document: Any, name: str | None) -> OperationDefinitionNode:
    operations = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    if name is None:
        if len(operations) == 1:
            return operations[0]
        raise BadDocument(
            "the query has several operations: say which by operationName"
            if operations
            else "the query has no operation"
        )
    for operation in operations:
        if operation.name is not None and operation.name.value == name:
            return operation
    raise BadDocument(f"the query has no operation named {name[:60]}")


def only_query(operation: Operation) -> None:
    """Refuse what GET may not do.

    Raises:
        Forbidden: it is no query.
    """
    if operation.operation_type != "query":
        raise Forbidden(f"a {operation.operation_type} cannot be sent by GET")
