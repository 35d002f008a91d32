"""Attacks on who somebody is taken for: forwarded addresses, other sites' pages, planted cookies, files of others."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from multidict import CIMultiDict

from simulator import Handle
from tests.attack.target import Attack, Outcome, Target
from tests.support.deployment import Deployment

#: A second web process: a public https site behind a proxy.
PROXIED: dict[str, str] = {"TRUSTED_PROXIES": "127.0.0.8"}
PUBLIC = "https://kills.example.org"


async def _statuses(target: Target, path: str, headers: list[Any], method: str = "GET") -> list[int]:
    found = []
    async with target.client("127.0.0.8") as http:
        for each in headers:
            async with http.request(method, target.url + path, headers=each, allow_redirects=False) as answer:
                await answer.read()
                found.append(answer.status)
    return found


def _number(target: Target) -> int:
    return 160 if target.short else 200


async def two_lines(target: Target) -> Outcome:
    """The proxy adds a line of its own behind the client's."""
    lines = [
        CIMultiDict([("X-Forwarded-For", f"198.51.100.{turn}"), ("X-Forwarded-For", "203.0.113.9")])
        for turn in range(_number(target))
    ]
    found = await _statuses(target, "/auth/login", lines)
    outcome = Outcome(f"{found.count(302)} of {len(found)} pass, the rest are told to slow down")
    outcome.expect(found.count(302) <= 150, f"{found.count(302)} passed")
    return outcome


async def one_network(target: Target) -> Outcome:
    """Another address of the same /64 each time."""
    found = await _statuses(
        target, "/auth/login", [{"X-Forwarded-For": f"2001:db8:1:1::{turn:x}"} for turn in range(1, _number(target))]
    )
    outcome = Outcome(f"{found.count(302)} of {len(found)} pass, the rest are told to slow down")
    outcome.expect(found.count(302) <= 150, f"{found.count(302)} passed")
    return outcome


async def origins(target: Target) -> Outcome:
    """Pages of other schemes, ports and hosts."""
    others = [
        "ftp://127.0.0.1",
        "https://evil.example",
        "null",
        "http://[",
        f"{target.url}.evil.example",
        "http://127.0.0.1:1",
    ]
    found = await _statuses(target, "/auth/logout", [{"Origin": each} for each in others], "POST")
    outcome = Outcome(f"{found.count(403)} of {len(found)} refused")
    outcome.expect(set(found) == {403}, f"answers {found}")
    return outcome


async def planted(target: Target) -> Outcome:
    """The attacker begins a login and has somebody's browser finish it, by a cookie that a neighbouring host could set."""
    https = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.50"}
    async with target.client("127.0.0.8") as attacker, target.client("127.0.0.8") as victim:
        async with attacker.get(f"{target.url}/auth/login", headers=https, allow_redirects=False) as begun:
            address = f"{begun.headers['Location']}&auto_character={target.pilots[0]}"
            name, value = next((name, cookie.value) for name, cookie in begun.cookies.items())
        async with attacker.get(address, allow_redirects=False) as approved:
            callback = approved.headers["Location"]
        cookie = {"Cookie": f"killsync_login={value}"}
        async with victim.get(callback, headers={**https, **cookie}, allow_redirects=False) as answer:
            outcome = Outcome(f"refused ({answer.status}); the cookie is `{name}`")
            outcome.expect(
                answer.status == 400 and name.startswith("__Host-"), "the victim is logged in as the attacker"
            )
    return outcome


def modes_of_files(simulated: Handle) -> list[int]:
    """The modes of an SQLite database's files after a restore of a backup that everybody could read."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        place = Deployment(
            folder, simulated, DATABASE_URL=f"sqlite:///{folder}/data/killsync.db", BROKER_URL="memory://"
        )
        place.command("killsync", "migrate")
        place.command("killsync", "backup", str(folder / "copy"))
        (folder / "data" / "killsync.db").unlink()
        (folder / "copy").chmod(0o644)
        place.command("killsync", "restore", str(folder / "copy"))
        return [file.stat().st_mode & 0o777 for file in (folder / "data").glob("killsync.db*")]


async def file_mode(target: Target) -> Outcome:
    """Another user of the host reads the database."""
    modes = await asyncio.wrap_future(target.modes_of_files)
    outcome = Outcome(", ".join(sorted({f"{mode:04o}" for mode in modes})) + ", after a restore too")
    outcome.expect(modes and all(mode == 0o600 for mode in modes), "others can read it")
    return outcome


ATTACKS = (
    Attack("Two lines of `X-Forwarded-For`", "100 of 100 passed every limit", two_lines),
    Attack("Many addresses of one IPv6 /64", "each had limits of its own", one_network),
    Attack("`Origin` of another scheme, port or host", "http:// and ftp:// passed on an https site", origins),
    Attack("A planted login cookie (login CSRF)", "the victim was logged in as the attacker", planted),
    Attack("Reading the SQLite file as another user", "readable by everybody, also after a restore", file_mode),
)
