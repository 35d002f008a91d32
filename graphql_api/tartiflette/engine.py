"""Tartiflette with this schema, and the one way to run an operation: a document within bounds, its cost, execution in time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from tartiflette import Engine, create_engine
from tartiflette.language.ast import DocumentNode, OperationDefinitionNode
from tartiflette.types.exceptions.tartiflette import TartifletteError

from graphql_api import cost, fields
from graphql_api.documents import Documents
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
MOST_VALUES = 400_000
#: A text longer than this is parsed only when no other long one is, characters: a shorter one takes a few milliseconds.
LONG_TEXT = 1_500

Result = dict[str, Any]


@dataclass(frozen=True)
class Operation:
    """One operation of a document that is within all bounds."""

    document: DocumentNode
    node: OperationDefinitionNode
    name: str | None

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

    async def operation(self, query: str, name: str | None, variables: dict[str, Any] | None) -> Operation:
        """The operation that *query* and *name* choose, within all bounds.

        Raises:
            ApiError: the document is too large, too deep, too costly, no GraphQL, or has no such operation.
            Invalid: the document does not fit the schema.
        """
        document = self._documents.recall(query)
        if document is None:
            if len(query) > LONG_TEXT:
                await self._lane.turn()
            document = self._documents.read(query)
        node = _choose(document, name)
        cost.check(document, node, variables, introspection=self._introspection)
        return Operation(document, node, name)

    async def execute(self, operation: Operation, variables: dict[str, Any] | None, context: Any) -> Result:
        """Run a query or mutation, until it is done or has used up its time, rows or values."""
        work = self._work()
        token = CURRENT.set(work)
        try:
            running = self._engine._query_executor(  # type: ignore[misc]
                *self._arguments(operation, variables, context), context_coercer=context
            )
            result: Result = await asyncio.wait_for(running, MOST_SECONDS)
        except TimeoutError:
            return await self.failure(TimedOut(MOST_SECONDS, work))
        finally:
            CURRENT.reset(token)
        stopped = work.reason_to_stop()
        if stopped is None:
            return result
        # Fields that were done by then are not given: the answer is whole or none.
        if isinstance(stopped, OverBudget):
            return await self.failure(OverCost(stopped))
        return await self.failure(TimedOut(MOST_SECONDS, work))

    async def subscribe(
        self, operation: Operation, variables: dict[str, Any] | None, context: Any
    ) -> AsyncIterator[Result]:
        """Run a subscription: one result an event, each with rows and values of its own."""
        results = self._engine._subscription_executor(  # type: ignore[misc]
            *self._arguments(operation, variables, context), context_coercer=context
        )
        work = self._work(seconds=float("inf"))
        CURRENT.set(work)
        try:
            async for result in results:
                yield result
                work.renew()
        finally:
            await results.aclose()

    def _work(self, seconds: float | None = None) -> Work:
        return Work(self._lane, MOST_SECONDS if seconds is None else seconds, MOST_ROWS, MOST_VALUES)

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
