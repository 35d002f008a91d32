"""The same schema, data and reads on graphql-core, as an aiohttp server: `python -m bench.core_server PORT`.

What it leaves out (login, limits, cost, errors of our own) it does not have to pay for.
"""

from __future__ import annotations

import sys
from typing import Any

import orjson
from aiohttp import web
from graphql import build_schema, execute, parse, validate

from graphql_api.fields import attribute_of
from graphql_api.tartiflette.scalars import moment_text
from killsync import settings as settings_module
from killsync.killmails import queries
from killsync.killmails.cursors import cursor_of
from killsync.killmails.filter import KillmailFilter
from models import connect
from models.threads import read_db


def resolve(parent: Any, info: Any, **_arguments: Any) -> Any:
    """The field of a value, as `graphql_api` maps it; graphql-core's own resolver knows camelCase alone."""
    if isinstance(parent, dict):
        return parent[info.field_name]
    return getattr(parent, attribute_of(info.parent_type.name, info.field_name))


def application() -> web.Application:
    """POST /graphql."""
    schema = build_schema((settings_module.project_root() / "graphql_api" / "schema.graphql").read_text())
    schema.type_map["DateTime"].serialize = moment_text  # type: ignore[attr-defined]
    documents: dict[str, object] = {}

    async def graphql(request: web.Request) -> web.Response:
        query = orjson.loads(await request.read())["query"]
        document = documents.get(query)
        if document is None:
            document = documents[query] = parse(query)
            assert not validate(schema, document)  # type: ignore[arg-type]
        page = await read_db(queries.page, KillmailFilter(), 50, None, items=False)
        edges = [{"cursor": cursor_of(each), "node": each} for each in page.killmails]
        root = {"killmails": {"edges": edges, "pageInfo": {"hasNextPage": page.has_next, "endCursor": None}}}
        answer = execute(schema, document, root, field_resolver=resolve)  # type: ignore[arg-type]
        return web.Response(body=orjson.dumps({"data": answer.data}), content_type="application/json")  # type: ignore[union-attr]

    app = web.Application()
    app.router.add_post("/graphql", graphql)
    return app


if __name__ == "__main__":
    connect(settings_module.load("database"))
    web.run_app(application(), host="127.0.0.1", port=int(sys.argv[1]), print=None)
