"""Binds resolvers and scalars to the schema: Tartiflette calls `bake` once for each schema it builds.

Each resolver says in one word what it needs of who asks (`killsync.access.decision`). Fields below them need what the field
needed that led there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from tartiflette import Resolver, Scalar, Subscription

from graphql_api import mutations, queries, subscriptions
from graphql_api.context import Context
from graphql_api.tartiflette.scalars import DateTimeScalar, IntScalar
from killsync.access.decision import Need

Arguments = dict[str, Any]
Resolve = Callable[[Any, Arguments, Context, Any], Awaitable[Any]]
Source = Callable[[Any, Arguments, Context, Any], AsyncIterator[Any]]

RESOLVERS: dict[str, tuple[Need, Resolve]] = {
    "Query.me": (Need.READ, queries.me),
    "Query.myCharacters": (Need.READ, queries.my_characters),
    "Query.killmail": (Need.READ, queries.killmail),
    "Query.killmails": (Need.READ, queries.killmails),
    "Query.killmailStats": (Need.READ, queries.killmail_stats),
    "Killmail.fitting": (Need.READ, queries.fitting),
    "Query.workerStatus": (Need.READ, queries.worker_status),
    "Query.syncRuns": (Need.OWN, queries.sync_runs),
    "Mutation.syncMyKillmails": (Need.PERSON, mutations.sync_my_killmails),
    "Mutation.submitKillmail": (Need.PERSON, mutations.submit_killmail),
    "Mutation.disconnect": (Need.PERSON, mutations.disconnect),
}
SUBSCRIPTIONS: dict[str, tuple[Need, Source]] = {
    "Subscription.newKillmail": (Need.READ, subscriptions.new_killmail),
    "Subscription.syncProgress": (Need.OWN, subscriptions.sync_progress),
    "Subscription.workerStatusUpdates": (Need.READ, subscriptions.worker_status_updates),
}

_INT = '''
"""A signed whole number. Nearly all fit 32 bits as the GraphQL specification says; `damageTaken` and `damageDone` may
exceed that and are then given in full, as a JSON number. As an argument it must fit 32 bits."""
scalar Int
'''


def bake(schema_name: str, _config: dict[str, Any] | None = None) -> str:
    """Register everything for the schema *schema_name*; the SDL of what it adds: an Int that shows damage in full."""
    Scalar("DateTime", schema_name=schema_name)(DateTimeScalar())
    Scalar("Int", schema_name=schema_name)(IntScalar())
    for name, (need, resolver) in RESOLVERS.items():
        Resolver(name, schema_name=schema_name)(_resolver(need, resolver))
    for name, (need, source) in SUBSCRIPTIONS.items():
        Subscription(name, schema_name=schema_name)(_source(need, source))
        Resolver(name, schema_name=schema_name)(subscriptions.as_it_is)
    return _INT


def _resolver(need: Need, resolver: Resolve) -> Resolve:
    async def guarded(parent: Any, arguments: Arguments, context: Context, info: Any) -> Any:
        await context.allow(need)
        return await resolver(parent, arguments, context, info)

    return guarded


def _source(need: Need, source: Source) -> Source:
    """The source, until who asked may not have it any more: logged out, left, or by a key that was revoked."""

    async def guarded(parent: Any, arguments: Arguments, context: Context, info: Any) -> AsyncIterator[Any]:
        await context.allow(need)
        async with aclosing(source(parent, arguments, context, info)) as events:  # type: ignore[type-var]
            async for event in events:
                await context.go_on(need)
                yield event

    return guarded
