"""Binds resolvers and scalars to the schema: Tartiflette calls `bake` once for each schema it builds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tartiflette import Resolver, Scalar, Subscription

from graphql_api import mutations, queries, subscriptions
from graphql_api.tartiflette.scalars import DateTimeScalar, IntScalar

_RESOLVERS: dict[str, Callable[..., Any]] = {
    "Query.me": queries.me,
    "Query.myCharacters": queries.my_characters,
    "Query.killmail": queries.killmail,
    "Query.killmails": queries.killmails,
    "Query.killmailStats": queries.killmail_stats,
    "Killmail.fitting": queries.fitting,
    "Query.workerStatus": queries.worker_status,
    "Query.syncRuns": queries.sync_runs,
    "Mutation.syncMyKillmails": mutations.sync_my_killmails,
    "Mutation.submitKillmail": mutations.submit_killmail,
    "Mutation.disconnect": mutations.disconnect,
    "Subscription.newKillmail": subscriptions.as_it_is,
    "Subscription.syncProgress": subscriptions.as_it_is,
    "Subscription.workerStatusUpdates": subscriptions.as_it_is,
}
_SUBSCRIPTIONS = {
    "Subscription.newKillmail": subscriptions.new_killmail,
    "Subscription.syncProgress": subscriptions.sync_progress,
    "Subscription.workerStatusUpdates": subscriptions.worker_status_updates,
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
    for name, resolver in _RESOLVERS.items():
        Resolver(name, schema_name=schema_name)(resolver)
    for name, source in _SUBSCRIPTIONS.items():
        Subscription(name, schema_name=schema_name)(source)
    return _INT
