"""Fixtures: the simulator, a database of either kind for code in this process, and whole deployments."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import structlog

from killsync import http_session, process
from killsync.settings import Settings
from simulator import Handle, SimulatorConfig, run_in_thread
from tests.support import migrated, shuffle
from tests.support.deployment import Deployment, deployed
from tests.support.process import NOTHING, begin, change_settings, end, settings_for
from tests.support.resources import postgres_database

# As in every process of Killsync's: structlog's own way of writing an error prints the values around it, which takes seconds.
structlog.configure(processors=[structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)])
# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")
# Code under test in this process uses the in-memory broker; processes of their own get RabbitMQ.
process.begin(NOTHING)
import actors  # noqa: E402, F401 - makes the broker of the settings and declares the actors


def pytest_addoption(parser: pytest.Parser) -> None:
    shuffle.add_option(parser)
    parser.addoption(
        "--interleavings", metavar="SEED|all", help="which points of tests/integration/test_sync_interleavings.py"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    shuffle.choose_seed(config)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    shuffle.give_seed(node)


def pytest_report_header(config: pytest.Config) -> str | None:
    return f"shuffled: --shuffle {config.option.shuffle}" if config.option.shuffle is not None else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    shuffle.spread(items)
    shuffle.shuffle(config, items)


@pytest.fixture
async def sessions_closed() -> AsyncIterator[None]:
    """Closes what the test's own loop has asked ESI or the SSO with, as a process does at its end."""
    yield
    await http_session.close_session()


@pytest.fixture(autouse=True)
def sessions_closed_after_tests_with_a_loop(request: pytest.FixtureRequest) -> None:
    if inspect.iscoroutinefunction(request.function):
        request.getfixturevalue("sessions_closed")


Simulated = Callable[..., Handle]


@pytest.fixture
def simulated() -> Iterator[Simulated]:
    """Starts simulators: `simulated(kills=(20, 5), ...)`."""
    started: list[Handle] = []

    def start(**config: Any) -> Handle:
        started.append(run_in_thread(SimulatorConfig(**{"hostile_names": True, **config})))
        return started[-1]

    yield start
    for handle in started:
        handle.stop()


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database, once of each kind: for a test with `settings` one with all tables, else one with none."""
    has_tables = "settings" in request.fixturenames
    if request.param == "sqlite":
        path = tmp_path / "killsync.db"
        yield migrated.sqlite(path) if has_tables else f"sqlite:///{path}"
    else:
        with migrated.postgres() if has_tables else postgres_database() as url:
            yield url


@pytest.fixture
def settings(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Settings]:
    """Settings of this process, with the models on a migrated database; ESI and SSO are set by `against`."""
    monkeypatch.chdir(tmp_path)
    yield begin(settings_for(database_url), migrated=False)
    end()


@pytest.fixture
def against(settings: Settings) -> Callable[..., Settings]:
    """Points this process's settings at a simulator: `against(handle, MAX_PAGES="3")`."""

    def point(handle: Handle, **more: str) -> Settings:
        return change_settings(**{"ESI_URL": handle.url, "SSO_URL": handle.url, **more})

    return point


@pytest.fixture
def deployment(tmp_path: Path, simulated: Simulated) -> Iterator[Callable[..., Any]]:
    """Makes one deployment on PostgreSQL and RabbitMQ: `deployment(simulator_config, SETTING="value")`."""
    with contextlib.ExitStack() as stack:

        def make(config: dict[str, Any] | None = None, **values: str) -> Deployment:
            handle = simulated(**(config or {}))
            return stack.enter_context(deployed(tmp_path, handle, **values))

        yield make
