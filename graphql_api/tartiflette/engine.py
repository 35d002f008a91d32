"""Tartiflette with this schema, and the one way to run an operation: bounds first, then parse, cost, execution in time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from typing import Any

from tartiflette import Engine, create_engine
from tartiflette.language.ast import OperationDefinitionNode
from tartiflette.types.exceptions.tartiflette import TartifletteError

from graphql_api import cost, fields
from graphql_api.errors import BadDocument, Forbidden, TimedOut, coerce_error
from graphql_api.tartiflette import fast_completion, lexer
from killsync.settings import project_root

#: The most time one query or mutation may take, seconds.
MOST_SECONDS = 20.0
#: Parsed documents that are kept.
REMEMBERED_DOCUMENTS = 256

Result = dict[str, Any]


class Api:
    """The schema, ready to run operations. `make` builds it; one serves a process."""

    def __init__(self, engine: Engine, parse: Callable[[str, Any], Any], *, introspection: bool) -> None:
        self._engine = engine
        self._parse = parse
        self._introspection = introspection

    @classmethod
    async def make(cls, *, introspection: bool = True) -> Api:
        """Build the schema from `schema.graphql` and the resolvers."""
        parsers: list[Callable[[str, Any], Any]] = []

        def remember(parse: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
            parsers.append(
                lru_cache(REMEMBERED_DOCUMENTS)(lambda query, schema: parse(lexer.written_out(query), schema))
            )
            return parsers[0]

        engine = await create_engine(
            sdl=str(project_root() / "graphql_api" / "schema.graphql"),
            schema_name=next(_names),
            modules=[{"name": "graphql_api.tartiflette.bindings", "config": {}}],
            error_coercer=coerce_error,  # type: ignore[arg-type]
            query_cache_decorator=remember,
            custom_default_resolver=fields.resolve,
            coerce_list_concurrently=False,
            coerce_parent_concurrently=False,
        )
        fast_completion.install(engine._schema, ("Query", "Mutation", "Subscription"))
        return cls(engine, parsers[0], introspection=introspection)

    def operation(self, query: str, name: str | None, variables: dict[str, Any] | None) -> OperationDefinitionNode:
        """The operation that *query* and *name* choose, within all bounds.

        Raises:
            ApiError: the document is too large, too deep, too costly, no GraphQL, or has no such operation.
            Invalid: the document does not fit the schema.
        """
        lexer.check(query)
        document, errors = self._parse(query, self._engine._schema)
        if errors:
            raise Invalid(errors)
        operation = _choose(document, name)
        cost.check(document, operation, variables, introspection=self._introspection)
        return operation

    async def execute(self, query: str, name: str | None, variables: dict[str, Any] | None, context: Any) -> Result:
        """Run a query or mutation whose `operation` was within bounds."""
        try:
            return await asyncio.wait_for(self._engine.execute(query, name, context, variables), MOST_SECONDS)
        except TimeoutError:
            return await self.failure(TimedOut(f"the operation took longer than {MOST_SECONDS:.0f} s"))

    def subscribe(
        self, query: str, name: str | None, variables: dict[str, Any] | None, context: Any
    ) -> AsyncIterator[Result]:
        """Run a subscription whose `operation` was within bounds: one result an event."""
        results: AsyncIterator[Result] = self._engine.subscribe(query, name, context, variables)  # type: ignore[assignment]
        return results

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


class Invalid(Exception):
    """The document does not fit the schema."""

    def __init__(self, errors: list[Exception]) -> None:
        super().__init__("the document does not fit the schema")
        self.errors = errors


class NotExecuted(Exception):
    """The operation was not executed; *errors* are as a client sees them."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__("the operation was not executed")
        self.errors = errors


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


def only_query(operation: OperationDefinitionNode) -> None:
    """Refuse what GET may not do.

    Raises:
        Forbidden: it is no query.
    """
    if operation.operation_type != "query":
        raise Forbidden(f"a {operation.operation_type} cannot be sent by GET")
