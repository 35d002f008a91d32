"""GraphQL clients that ask for the same page over and over: `python -m bench.clients URL CLIENTS SECONDS`, a query on stdin."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time

import aiohttp

from tests.support.deployment import environment
from tests.support.resources import PROJECT


def ask(url: str, query: str, clients: int, seconds: float) -> tuple[float, float]:
    """(requests a second, p95 in seconds) of so many clients in a process of their own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.clients", url, str(clients), str(seconds)], input=query,
        capture_output=True, text=True, cwd=PROJECT, env=environment(), timeout=seconds + 120, check=True,
    )  # fmt: skip
    rate, p95 = json.loads(done.stdout)
    return rate, p95


async def _ask(url: str, query: str, clients: int, seconds: float) -> tuple[float, float]:
    times: list[float] = []
    until = time.monotonic() + seconds

    async def client(number: int) -> None:
        while (began := time.monotonic()) < until:
            # Each request from an address of its own: what is measured is not the limit of one address.
            headers = {"X-Forwarded-For": f"10.{number}.{len(times) // 250 % 250}.{len(times) % 250}"}
            async with http.post(f"{url}/graphql", json={"query": query}, headers=headers) as answer:
                body = await answer.read()
                assert answer.status == 200 and b'"edges":[{' in body.replace(b" ", b""), body[:300]
            times.append(time.monotonic() - began)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=clients)) as http:
        began = time.monotonic()
        await asyncio.gather(*(client(number) for number in range(clients)))
        rate = len(times) / (time.monotonic() - began)
    return rate, statistics.quantiles(times, n=20)[-1]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_ask(sys.argv[1], sys.stdin.read(), int(sys.argv[2]), float(sys.argv[3])))))
