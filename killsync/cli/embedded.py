"""`killsync run` and `killsync demo`: everything in one process, against the simulator, with demo characters logged in.

The parts are the ones of production; only the database is a file, the broker lives in memory and ESI is the simulator.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
import socket
from pathlib import Path
from typing import Annotated

import aiohttp
import typer

from killsync import process
from killsync import settings as settings_module
from killsync.cli.console import console
from killsync.cli.inprocess import stop_signal, ticks, web_server, worker
from killsync.cli.progress import DemoProgress
from killsync.logging import setup_logging
from killsync.settings import Settings
from killsync.sso.vault import generate_key
from killsync.startup import connect_models, spare_garbage_collection
from killsync.static_data import update as static_data
from models import EsiBucket, in_transaction, schema

DATA = Path("data")
CLIENT_ID = "killsync-demo"
PortOption = Annotated[int | None, typer.Option(min=0, max=65535, help="Port of the web page; WEB_PORT or 8080.")]
#: Seconds between two polls of a demo character that stays busy. ESI gives a character 30 tokens a quarter of an hour; a poll
#: with news reads two pages for four, and the first walk of the longest list costs fourteen: this pace holds for ever.
POLL_SECONDS = 180
#: Seconds between two kills that arrive by themselves.
KILL_SECONDS = 30.0


def run(port: PortOption = None) -> None:
    """Run everything in this process against the simulator, with demo characters logged in."""
    raise typer.Exit(_start(port, ends=False))


def demo(port: PortOption = None) -> None:
    """The same as `run`, on a fresh database, ending by itself with a summary once all is synced."""
    raise typer.Exit(_start(port, ends=True))


def _start(port: int | None, *, ends: bool) -> int:
    """Start everything; run until Ctrl-C, or with *ends* until all demo characters are synced. The exit code."""
    import simulator

    folder = DATA / "demo" if ends else DATA
    folder.mkdir(parents=True, exist_ok=True)
    if ends:
        for stale in folder.glob("killsync.db*"):
            stale.unlink()
    secret = secrets.token_urlsafe(24)
    # New kills show that they arrive while it runs; the demo's figures must stand still to be compared.
    config = simulator.SimulatorConfig(
        seed=1, new_kill_interval=0.0 if ends else KILL_SECONDS, list_cache_seconds=300.0 if ends else 20.0,
        clients={CLIENT_ID: secret},
    )  # fmt: skip
    simulated = simulator.run_in_thread(config, "127.0.0.1", 0)
    try:
        settings = process.begin(_settings(folder, simulated.url, secret, port, ends=ends))
        setup_logging(settings)
        connect_models(settings)
        schema.migrate()
        # The simulator starts with full buckets; what is remembered of an earlier one's says nothing about them.
        in_transaction(EsiBucket.delete().execute)
        _load_static_data(settings)
        stopped = stop_signal()
        with worker(), web_server(settings), contextlib.nullcontext() if ends else ticks(settings):
            spare_garbage_collection()
            address = f"http://{settings.web_host}:{settings.web_port}"
            console.print(f"Killsync: {address}/   ESI and SSO simulator: {simulated.url}", markup=False)
            pilots = [pilot.character_id for pilot in simulated.simulator.universe.demo_characters]
            asyncio.run(log_in(address, pilots))
            progress = DemoProgress(console, simulated, pilots)
            return progress.until_synced(stopped) if ends else progress.until(stopped)
    finally:
        simulated.stop()


def _load_static_data(settings: Settings) -> None:
    """The simulator's, before anything is stored: without it the demonstration would show neither classes nor regions."""
    try:
        outcome = static_data.update(settings)
    except static_data.UpdateFailed as error:
        # A process that was killed while it loaded; the first tick looks again.
        console.print(f"Static data not loaded: {error}", markup=False, soft_wrap=True)
    else:
        console.print(f"Static data: build {outcome.build.number} of the simulator is loaded.", markup=False)


def _settings(folder: Path, simulated: str, secret: str, port: int | None, *, ends: bool) -> Settings:
    """Settings for the embedded parts, whatever `.env` says: the simulator is the only ESI that this process may ask."""
    try:
        settings = settings_module.read(
            database_url=f"sqlite:///{folder / 'killsync.db'}",
            broker_url="memory://",
            esi_url=simulated,
            sso_url=simulated,
            static_data_url=f"{simulated}/static-data",
            sso_client_id=CLIENT_ID,
            sso_client_secret=secret,
            sso_callback_url="http://127.0.0.1/auth/callback",
            esi_user_agent="Killsync/1.0 (demo@localhost)",
            secret_keys=_keys(folder),
            sync_interval_seconds=300 if ends else POLL_SECONDS,
            # Progress is printed; the log is for what goes wrong.
            log_level=os.environ.get("LOG_LEVEL") or "WARNING",
        )
    except settings_module.SettingsError as error:
        settings_module.refuse(str(error))
    host, web_port = settings.web_host, port if port is not None else settings.web_port
    problem = _bind_problem(host, web_port)
    if problem is not None and problem.errno != errno.EADDRINUSE:
        settings_module.refuse(f"{host}:{web_port} cannot be bound ({problem.strerror}): correct WEB_HOST or WEB_PORT")
    if problem is not None:
        if not ends:
            settings_module.refuse(f"port {web_port} on {host} is taken: set WEB_PORT to another")
        web_port = _free_port(host)
    callback = f"http://{host}:{web_port}/auth/callback"
    return settings.model_copy(update={"web_port": web_port, "sso_callback_url": callback})


def _keys(folder: Path) -> str:
    """The embedded mode's own key, made once and readable by its owner alone."""
    path = folder / "secret_keys"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(generate_key())
    return path.read_text().strip()


def _bind_problem(host: str, port: int) -> OSError | None:
    """Why the web server could not listen there; None when it could."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error
    return None


def _free_port(host: str) -> int:
    family, _, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    with socket.socket(family) as probe:
        probe.bind(address)
        return int(probe.getsockname()[1])


async def log_in(address: str, character_ids: list[int]) -> None:
    """Log the demo characters in as players do, each in a browser of its own: page, the simulator's SSO, callback."""
    for character_id in character_ids:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
            async with browser.get(f"{address}/auth/login", allow_redirects=False) as begun:
                chosen = f"{begun.headers['Location']}&auto_character={character_id}"
            async with browser.get(chosen, allow_redirects=False) as approved:
                back = approved.headers["Location"]
            async with browser.get(back, allow_redirects=False) as done:
                if done.status != 302:
                    raise RuntimeError(f"the demo login of {character_id} ended with {done.status}")
