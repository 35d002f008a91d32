"""`killsync run` and `killsync demo`: everything in one process, against the simulator, with demo characters logged in.

The parts are the ones of production; only the database is a file, the broker lives in memory and ESI is the simulator.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from aiohttp import web
from rich.console import Console

from killsync import settings as settings_module
from killsync.cli.inprocess import choose_memory_broker, worker

DATA = Path("data")
CLIENT_ID = "killsync-demo"


def simulate(port: int, seed: int) -> None:
    """Run the simulator alone until Ctrl-C or SIGTERM. Its client is `simulator-client` / `simulator-secret`."""
    import simulator

    config = simulator.SimulatorConfig(seed=seed, new_kill_interval=45.0)
    handle = simulator.run_in_thread(config, "127.0.0.1", port)
    print(f"ESI and SSO simulator on {handle.url}; client {' / '.join(next(iter(config.clients.items())))}", flush=True)
    _signalled().wait()
    handle.stop()


def start(console: Console, port: int | None, *, ends: bool) -> int:
    """Start everything; run until Ctrl-C, or with *ends* until all demo characters are synced. The exit code."""
    import simulator

    folder = DATA / "demo" if ends else DATA
    folder.mkdir(parents=True, exist_ok=True)
    if ends:
        for stale in folder.glob("killsync.db*"):
            stale.unlink()
    host = os.environ.get("WEB_HOST") or "127.0.0.1"
    web_port = port if port is not None else int(os.environ.get("WEB_PORT") or 8080)
    if not _is_free(host, web_port):
        if not ends:
            settings_module.refuse(f"port {web_port} on {host} is taken: set WEB_PORT to another")
        web_port = _free_port(host)
    secret = secrets.token_urlsafe(24)
    # New kills show that they arrive while it runs; the demo's figures must stand still to be compared.
    config = simulator.SimulatorConfig(
        seed=1, new_kill_interval=0.0 if ends else 30.0, list_cache_seconds=300.0 if ends else 20.0,
        clients={CLIENT_ID: secret},
    )  # fmt: skip
    simulated = simulator.run_in_thread(config, "127.0.0.1", 0)
    _environment(folder, simulated.url, secret, host, web_port, interval=300 if ends else 20)
    from killsync.logging import setup_logging
    from models import connect, schema

    settings = settings_module.load("database", "esi", "sso", "secrets")
    setup_logging(settings)
    connect(settings)
    schema.migrate()
    from killsync.cli.progress import Story

    stopped = _signalled()
    try:
        with worker(), _web(settings), _ticks(settings, is_on=not ends):
            console.print(f"Killsync: http://{host}:{web_port}/   ESI and SSO simulator: {simulated.url}", markup=False)
            pilots = [pilot.character_id for pilot in simulated.simulator.universe.demo_characters]
            asyncio.run(_log_in(f"http://{host}:{web_port}", pilots))
            story = Story(console, simulated, pilots)
            return story.until_synced(stopped) if ends else story.until(stopped)
    finally:
        simulated.stop()


def _environment(folder: Path, simulated: str, secret: str, host: str, port: int, interval: int) -> None:
    """Point this process at the embedded parts, whatever `.env` says: the simulator is the only ESI it may ask."""
    choose_memory_broker()
    os.environ.update(
        DATABASE_URL=f"sqlite:///{folder / 'killsync.db'}",
        ESI_URL=simulated,
        SSO_URL=simulated,
        SSO_CLIENT_ID=CLIENT_ID,
        SSO_CLIENT_SECRET=secret,
        SSO_CALLBACK_URL=f"http://{host}:{port}/auth/callback",
        ESI_USER_AGENT="Killsync/1.0 (demo@localhost)",
        SECRET_KEYS=_keys(folder),
        WEB_HOST=host,
        WEB_PORT=str(port),
        SYNC_INTERVAL_SECONDS=str(interval),
    )
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    settings_module.current.cache_clear()


def _keys(folder: Path) -> str:
    """The embedded mode's own key, made once and readable by its owner alone."""
    from killsync.sso.vault import generate_key

    path = folder / "secret_keys"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(generate_key())
    return path.read_text().strip()


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _web(settings: settings_module.Settings) -> Iterator[None]:
    """The web server in a thread of its own while the block runs."""
    from graphql_api.app import create_app

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="web", daemon=True)
    thread.start()

    async def begin() -> web.AppRunner:
        runner = web.AppRunner(await create_app(settings), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, settings.web_host, settings.web_port).start()
        return runner

    runner = asyncio.run_coroutine_threadsafe(begin(), loop).result(timeout=30)
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(timeout=30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)


@contextlib.contextmanager
def _ticks(settings: settings_module.Settings, *, is_on: bool) -> Iterator[None]:
    """The scheduler's ticks while the block runs."""
    from killsync.scheduling.scheduler import Scheduler

    scheduler = Scheduler(settings)
    if is_on:
        scheduler.start()
    try:
        yield
    finally:
        if is_on:
            scheduler.stop()


async def _log_in(address: str, character_ids: list[int]) -> None:
    """Log the demo characters in the way a player does: through the page, the simulator's SSO and the callback."""
    import aiohttp

    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        for character_id in character_ids:
            async with browser.get(f"{address}/auth/login", allow_redirects=False) as begun:
                chosen = f"{begun.headers['Location']}&auto_character={character_id}"
            async with browser.get(chosen, allow_redirects=False) as approved:
                back = approved.headers["Location"]
            async with browser.get(back, allow_redirects=False) as done:
                if done.status != 302:
                    raise RuntimeError(f"the demo login of {character_id} ended with {done.status}")


def _signalled() -> threading.Event:
    """An event that Ctrl-C and SIGTERM set."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    return stopped
