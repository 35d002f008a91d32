"""A real browser (Debian's chromium) before a whole Killsync in this process: SQLite, workers, web server, simulator."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from killsync.cli.inprocess import web_server, worker
from simulator import Handle, SimulatorConfig, run_in_thread
from tests.support.process import begin, end, settings_for

CHROMIUM = os.environ.get("TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
#: Milliseconds a test waits for what the page is to show: long, for machines that are busy.
WAIT_MS = 30_000
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 375, "height": 780}


class Site:
    """Where it is, and the simulated EVE behind it."""

    def __init__(self, url: str, handle: Handle) -> None:
        self.url, self.handle = url, handle
        self.pilots = list(handle.simulator.universe.characters.values())


@contextlib.contextmanager
def site(folder: Path, values: dict[str, str] | None = None, **config: Any) -> Iterator[Site]:
    """Everything of `make run` but its scheduler, on a database of its own, with nobody logged in."""
    handle = run_in_thread(
        SimulatorConfig(**{"hostile_names": True, "list_cache_seconds": 0.5, "new_kill_interval": 0.0, **config})
    )
    admin = handle.simulator.universe.demo_characters[0].character_id
    settings = begin(
        settings_for(
            f"sqlite:///{folder / 'killsync.db'}",
            ESI_URL=handle.url,
            SSO_URL=handle.url,
            ADMIN_CHARACTER_IDS=str(admin),
            **(values or {}),
        )
    )
    try:
        with worker(), web_server(settings):
            yield Site(settings.public_url, handle)
    finally:
        handle.stop()
        end()


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
