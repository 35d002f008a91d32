"""Everything through a PgBouncer in transaction mode: no process keeps a state in its session, but for LISTEN, which goes past it."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest
from gql import Client, GraphQLRequest
from gql.transport.aiohttp_websockets import AIOHTTPWebsocketsTransport

from tests.support.deployment import wait_until
from tests.support.player import Player
from tests.support.resources import free_port

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
pytestmark = pytest.mark.skipif(
    PGBOUNCER is None, reason="pgbouncer is not installed (Debian: apt-get install pgbouncer)"
)


@contextmanager
def bouncer(folder: Path, database_url: str) -> Iterator[str]:
    """The URL of the same database through a PgBouncer of its own, with few server connections that change hands."""
    there, port = urlsplit(database_url), free_port()
    folder.mkdir()
    password = f" password={there.password}" if there.password else ""
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={there.hostname or '/var/run/postgresql'} port={there.port or 5432} "
        f"user={there.username}{password}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        "pool_mode = transaction\ndefault_pool_size = 4\nmax_client_conn = 300\nserver_reset_query =\n"
    )
    command = [str(PGBOUNCER), str(folder / "pgbouncer.ini")]
    if os.geteuid() == 0:
        # It refuses to be root.
        other = next(name for name in ("postgres", "nobody") if name in {each.pw_name for each in pwd.getpwall()})
        for path in (folder.parent, folder, folder / "pgbouncer.ini"):
            path.chmod(0o755)
        command += ["-u", other]
    with (folder / "pgbouncer.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    url = urlunsplit(there._replace(netloc=f"{there.username}@127.0.0.1:{port}"))
    try:
        wait_until(lambda: _answers(url), f"pgbouncer answers: {(folder / 'pgbouncer.log').read_text()}", 15)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=10)


def _answers(url: str) -> bool:
    try:
        psycopg2.connect(url, connect_timeout=2).close()
    except psycopg2.Error:
        return False
    return True


@pytest.mark.timeout(240)
async def test_from_login_to_a_subscriber_through_a_transaction_pool(deployment: Any, tmp_path: Path) -> None:
    place = deployment({"kills": (60, 40, 20), "list_cache_seconds": 2.0}, LOG_LEVEL="INFO", SYNC_INTERVAL_SECONDS="2")
    direct = place.settings["DATABASE_URL"]
    with bouncer(tmp_path / "bouncer", direct) as pooled:
        place.settings.update(DATABASE_URL=pooled, DATABASE_LISTEN_URL=direct)
        assert "up to date" in place.command("killsync", "migrate").stdout
        place.start_web()
        place.start_worker(processes=2, threads=6)
        place.start_scheduler()
        try:
            await _whole_path(place)
            # Before the end: a worker that is told to stop in a sync says so with a traceback of its own.
            assert "Traceback" not in place.logs()
        finally:
            place.stop_all()


async def _whole_path(place: Any) -> None:
    pilots = [pilot.character_id for pilot in place.simulated.simulator.universe.demo_characters]
    async with Player(place.url) as player:
        for pilot in pilots:
            assert (await player.log_in(pilot)).status == 302
        expected = place.simulated.call(
            lambda sim: {n for pilot in pilots for n, _ in sim.universe.listed("character", pilot, sim.clock.now())}
        )
        wait_until(lambda: place.sql("SELECT count(*) FROM killmail")[0][0] >= len(expected), "all is stored", 90)
        transport = AIOHTTPWebsocketsTransport(
            url=place.url.replace("http", "ws") + "/graphql", subprotocols=["graphql-transport-ws"]
        )
        async with Client(transport=transport) as client:
            query = "subscription ($who: ID) { newKillmail(filter: {characterId: $who}) { id } }"
            events = client.subscribe(GraphQLRequest(query, variable_values={"who": str(pilots[0])}))
            first = asyncio.ensure_future(anext(events))
            await asyncio.sleep(1.0)
            kill = place.simulated.call(lambda sim: sim.new_kill(pilots[0]))
            event = await asyncio.wait_for(first, 60)  # the scheduler finds that the pilot is due
            assert event["newKillmail"]["id"] == str(kill.killmail_id)
            await events.aclose()
