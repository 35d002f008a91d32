"""A real browser (Debian's chromium) before a whole Killsync in this process: SQLite, workers, web server, simulator."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from killsync import settings as settings_module
from killsync.sso.vault import generate_key
from simulator import Handle, SimulatorConfig, run_in_thread
from tests.support.deployment import CLIENT
from tests.support.resources import free_port

CHROMIUM = os.environ.get("TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
#: Milliseconds a test waits for what the page is to show: long, for machines that are busy.
PATIENCE = 30_000
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 375, "height": 780}


class Site:
    """Where it is, and the simulated EVE behind it."""

    def __init__(self, url: str, handle: Handle) -> None:
        self.url, self.handle = url, handle
        self.pilots = list(handle.simulator.universe.characters.values())


@contextlib.contextmanager
def site(folder: Path, **config: Any) -> Iterator[Site]:
    """Everything of `make run` but its scheduler, on a database of its own, with nobody logged in."""
    from killsync.cli.inprocess import worker
    from killsync.killmails.store import known_ids
    from models import connect, schema

    handle = run_in_thread(
        SimulatorConfig(**{"hostile_names": True, "list_cache_seconds": 0.5, "new_kill_interval": 0.0, **config})
    )
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    values = {
        "DATABASE_URL": f"sqlite:///{folder / 'killsync.db'}", "BROKER_URL": "memory://", "ESI_URL": handle.url,
        "SSO_URL": handle.url, "SSO_CLIENT_ID": CLIENT[0], "SSO_CLIENT_SECRET": CLIENT[1],
        "SSO_CALLBACK_URL": f"{url}/auth/callback", "ESI_USER_AGENT": "Killsync-Tests/1.0 (tests@localhost)",
        "SECRET_KEYS": generate_key(), "WEB_PORT": str(port),
        "ADMIN_CHARACTER_IDS": str(handle.simulator.universe.demo_characters[0].character_id),
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        settings_module.current.cache_clear()
        known_ids.clear()
        settings = settings_module.current()
        connect(settings)
        schema.migrate()
        try:
            with worker(), _web(settings):
                yield Site(url, handle)
        finally:
            handle.stop()
    settings_module.current.cache_clear()


@contextlib.contextmanager
def _web(settings: settings_module.Settings) -> Iterator[None]:
    """The web server in a thread of its own, since playwright's plain interface has the test's."""
    from graphql_api.app import create_app

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="web", daemon=True)
    thread.start()

    async def start() -> web.AppRunner:
        runner = web.AppRunner(await create_app(settings), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", settings.web_port).start()
        return runner

    runner = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """Playwright's browser; a test that has none is skipped with what to install."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: `apt-get install chromium`, or set TEST_CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def log_in(page: Any, site: Site, character_id: int, start: str = "/") -> None:
    """Log in the way a player does: the page's button, the simulator's list of characters, and back."""
    page.goto(site.url + start)
    page.get_by_role("link", name="Log in with EVE Online").first.click()
    page.locator(f'a[href*="character={character_id}"]').click()
    page.wait_for_url(site.url + "/**")
