"""The web server in the tests' own loop, over a filled database, without workers: for tests of what readers see."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from functools import cache
from typing import Any

from tartiflette.schema import transformer

from killsync.killmails import ledger
from killsync.killmails.store import save_killmail
from killsync.names.wanted import store_names
from killsync.settings import Settings
from killsync.web.connections import listen
from models import connection
from models.sql import run
from simulator import Handle, SimulatorConfig
from simulator.universe import Universe

# Tartiflette parses the schema's text anew for each server, and only reads what that gives.
transformer.parse_to_document = cache(transformer.parse_to_document)


@contextlib.asynccontextmanager
async def served(settings: Settings, made: list[Any] | None = None) -> AsyncIterator[str]:
    """The address of a web server on *settings*; its application is put into *made*."""
    from graphql_api.app import create_app

    runner = await listen(await create_app(settings), "127.0.0.1", settings.web_port)
    if made is not None:
        made.append(runner.app)
    try:
        yield f"http://127.0.0.1:{settings.web_port}"
    finally:
        await runner.cleanup()


def fill(universe: Universe, *, named: bool = True) -> list[int]:
    """Store every killmail of a universe; their ids, newest first."""
    with connection():
        for kill in universe.kills.values():
            ledger.add_submitted(kill.killmail_id, kill.killmail_hash, proven=True)
            save_killmail(universe.body(kill.killmail_id), kill.killmail_hash)
        if named:
            name_all(universe)
    newest = sorted(universe.kills.values(), key=lambda kill: (-kill.time, -kill.killmail_id))
    return [kill.killmail_id for kill in newest]


def name_all(universe: Universe) -> None:
    """Fill in every name."""
    from models.names import NAME_KEYS
    from models.sql import rows

    ids = {number for table, key in NAME_KEYS.items() for (number,) in rows(f"SELECT {key} FROM {table}")}
    known = {number: universe.name_of(number) for number in ids}
    store_names({number: found[1] for number, found in known.items() if found})


def save_one(universe: Universe, killmail_id: int) -> None:
    """Store one killmail, with its event."""
    kill = universe.kills[killmail_id]
    with connection():
        ledger.add_submitted(kill.killmail_id, kill.killmail_hash, proven=True)
        save_killmail(universe.body(kill.killmail_id), kill.killmail_hash)


def new_universe(**config: Any) -> Universe:
    """A universe of its own, without any server."""
    import time

    return Universe(SimulatorConfig(**{"hostile_names": True, **config}), time.time())


def forget(handle: Handle, table: str) -> None:
    """Empty a table."""
    with connection():
        run(f"DELETE FROM {table}")
