"""How often one visitor may ask, who counts as one, and what /metrics makes the database do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from killsync.observability import overview
from killsync.web import metrics
from killsync.web.rates import RATES
from killsync.web.security import network_of
from tests.support.web_server import served


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_an_ipv6_visitor_is_one_of_a_64_and_an_ipv4_visitor_an_address(address: str, network: str) -> None:
    assert network_of(address) == network


@pytest.fixture
def proxied(settings: Any) -> Any:
    from tests.support.process import change_settings

    return change_settings(TRUSTED_PROXIES="127.0.0.1,10.0.0.0/8", METRICS_ALLOWED="0.0.0.0/0,::/0")


async def ask(session: aiohttp.ClientSession, url: str, forwarded: str) -> int:
    async with session.get(f"{url}/metrics", headers={"X-Forwarded-For": forwarded} if forwarded else {}) as answer:
        await answer.read()
        return answer.status


async def test_rates_are_counted_by_64_behind_a_proxy_and_never_for_the_proxy(proxied: Any) -> None:
    burst = RATES["metrics"].burst
    async with served(proxied) as url, aiohttp.ClientSession() as session:
        found = [await ask(session, url, f"2001:db8:0:1::{number:x}") for number in range(burst + 5)]
        assert found[:burst] == [200] * burst and 429 in found[burst:], "one visitor with many addresses"
        assert await ask(session, url, "2001:db8:0:2::1") == 200, "its neighbour"
        found = [await ask(session, url, "192.0.2.7") for _ in range(burst + 5)]
        assert 429 in found and await ask(session, url, "::ffff:192.0.2.7") == 429
        assert await ask(session, url, "192.0.2.8, ::ffff:10.1.2.3") == 200, "a trusted proxy in IPv6's notation"


@pytest.fixture
def gathered(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """When the overview was read from the tables."""
    times: list[float] = []
    gather = overview.gather

    def counted(**options: Any) -> Any:
        times.append(time.monotonic())
        time.sleep(0.2)
        return gather(**options)

    monkeypatch.setattr("killsync.web.overview.gather", counted)
    yield times


async def test_metrics_read_the_tables_once_for_all_who_ask(settings: Any, gathered: list[float]) -> None:
    async with served(settings) as url, aiohttp.ClientSession() as session:
        found = await asyncio.gather(*(ask(session, url, "") for _ in range(10)))
        found += [await ask(session, url, "") for _ in range(5)]
    assert found == [200] * 15
    assert len(gathered) == 1


async def test_metrics_are_read_anew_after_a_while_also_when_that_failed(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "KEEP_SECONDS", 60.0)
    tried: list[bool] = []

    def fail(**_options: Any) -> Any:
        tried.append(True)
        raise RuntimeError("the database is away")

    async with served(settings) as url, aiohttp.ClientSession() as session:
        with monkeypatch.context() as patch:
            patch.setattr("killsync.web.overview.gather", fail)
            for _ in range(5):
                async with session.get(f"{url}/metrics") as answer:
                    assert "killsync_database_up 0.0" in await answer.text()
            assert len(tried) == 1, "a database that is away is not asked by everybody either"
        monkeypatch.setattr(metrics, "KEEP_SECONDS", 0.0)
        async with session.get(f"{url}/metrics") as answer:
            assert "killsync_database_up 1.0" in await answer.text()
