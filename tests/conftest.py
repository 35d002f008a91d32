"""Fixtures: the simulator, a database of either kind for code in this process, and whole deployments."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Code under test in this process uses the in-memory broker; processes of their own get RabbitMQ.
for _name in ("DATABASE_URL", "ESI_URL", "SSO_URL", "SECRET_KEYS", "WEB_PORT", "WEB_HOST"):
    os.environ.pop(_name, None)
os.environ["BROKER_URL"] = "memory://"

import actors  # noqa: E402, F401 - makes the in-memory broker and declares the actors
import simulator  # noqa: E402
from killsync import settings as settings_module  # noqa: E402
from killsync.sso.vault import generate_key  # noqa: E402
from tests.support.deployment import CLIENT, Deployment, deployed  # noqa: E402
from tests.support.resources import free_port, postgres_database  # noqa: E402

Simulated = Callable[..., simulator.Handle]


@pytest.fixture
def simulated() -> Iterator[Simulated]:
    """Starts simulators: `simulated(kills=(20, 5), ...)`."""
    started: list[simulator.Handle] = []

    def start(**config: Any) -> simulator.Handle:
        started.append(simulator.run_in_thread(simulator.SimulatorConfig(**{"hostile_names": True, **config})))
        return started[-1]

    yield start
    for handle in started:
        handle.stop()


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, once of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'killsync.db'}"
    else:
        with postgres_database() as url:
            yield url


@pytest.fixture
def settings(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[settings_module.Settings]:
    """Settings of this process, with the models on a migrated database; ESI and SSO are set by `against`."""
    from killsync.killmails.store import known_ids
    from killsync.observability import counters
    from models import connect, schema
    from models.db import database

    port = free_port()
    values = {
        "DATABASE_URL": database_url,
        "BROKER_URL": "memory://",
        "ESI_URL": "http://127.0.0.1:9",
        "SSO_URL": "http://127.0.0.1:9",
        "SSO_CLIENT_ID": CLIENT[0],
        "SSO_CLIENT_SECRET": CLIENT[1],
        "SSO_CALLBACK_URL": f"http://127.0.0.1:{port}/auth/callback",
        "ESI_USER_AGENT": "Killsync-Tests/1.0 (tests@localhost)",
        "SECRET_KEYS": generate_key(),
        "WEB_PORT": str(port),
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    settings_module.current.cache_clear()
    known_ids.clear()
    counters.forget()
    connect(settings_module.current())
    schema.migrate()
    yield settings_module.current()
    counters.forget()
    if not database.is_closed():
        database.close()
    close_all = getattr(database.obj, "close_all", None)
    if close_all is not None:
        close_all()
    settings_module.current.cache_clear()


@pytest.fixture
def against(
    settings: settings_module.Settings, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., settings_module.Settings]:
    """Points this process's settings at a simulator: `against(handle, MAX_PAGES="3")`."""

    def point(handle: simulator.Handle, **more: str) -> settings_module.Settings:
        for name, value in {"ESI_URL": handle.url, "SSO_URL": handle.url, **more}.items():
            monkeypatch.setenv(name, value)
        settings_module.current.cache_clear()
        return settings_module.current()

    return point


@pytest.fixture
def deployment(tmp_path: Path, simulated: Simulated) -> Iterator[Callable[..., Any]]:
    """Makes one deployment on PostgreSQL and RabbitMQ: `deployment(simulator_config, SETTING="value")`."""
    import contextlib

    with contextlib.ExitStack() as stack:

        def make(config: dict[str, Any] | None = None, **values: str) -> Deployment:
            handle = simulated(**(config or {}))
            return stack.enter_context(deployed(tmp_path, handle, **values))

        yield make
