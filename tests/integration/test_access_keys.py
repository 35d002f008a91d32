"""Access keys: made, shown once, listed, revoked, on the page and by the command; and the audit trail."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from killsync.access import audit, keys
from killsync.logging import redact
from models import connection
from models.access import KILLMAILS, RUNS
from models.sql import rows, run
from tests.support.board import ADMINS, FORMER_MEMBER, KEY, MEMBER, MEMBERS, Boards, boards
from tests.support.deployment import Deployment

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
KEY_SHAPE = re.compile(r"killsync_[0-9a-f]{12}_[\w-]{43}")


@pytest_asyncio.fixture
async def place(settings: Any) -> AsyncIterator[Boards]:
    async with boards() as made:
        yield made


async def test_a_key_is_shown_once_and_only_its_hash_is_stored(place: Boards) -> None:
    url = place.urls["members"]
    async with place.http(MEMBERS) as http:
        made = await http.post(f"{url}/me/keys", data={"name": " My  <b>bot</b> ", "runs": "1"})
        text = await made.text()
        [key] = set(KEY_SHAPE.findall(text))
        assert made.status == 201 and made.headers["Cache-Control"] == "no-store"
        assert "My &lt;b&gt;bot&lt;/b&gt;" in text
        again = await (await http.get(f"{url}/me")).text()
        assert "bot" in again and not KEY_SHAPE.search(again) and "never" in again
    with connection():
        stored = rows("SELECT * FROM access_key WHERE name LIKE '%%bot%%'")
        assert key not in str(stored) and key.split("_", 2)[2] not in str(stored)
        assert key not in str(rows("SELECT * FROM access_log"))
    assert key not in redact(f"sent {key} to somebody")
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as program:
        query = {"query": "{ syncRuns { edges { cursor } } }"}
        assert "errors" not in await (await program.post(f"{url}/graphql", json=query)).json()
    async with place.http(MEMBERS) as http:
        text = await (await http.get(f"{url}/me")).text()
        [number] = [int(found) for found in re.findall(r"/me/keys/(\d+)/revoke", text)][-1:]
        assert (await http.post(f"{url}/me/keys/{number}/revoke", allow_redirects=False)).status == 303
        assert (await http.post(f"{url}/me/keys/{number}/revoke")).status == 404
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as program:
        assert (await program.post(f"{url}/graphql", json=query)).status == 401
    with connection():
        events = [event for (event,) in rows("SELECT event FROM access_log WHERE subject LIKE 'Pilot%%' ORDER BY id")]
        assert events == ["key_created", "key_revoked"]


@ON_SQLITE
async def test_a_key_is_its_owners_alone_and_makes_no_key(place: Boards) -> None:
    url = place.urls["everyone"]
    with connection():
        number = next(key.id for key in keys.all_listed() if key.name == "reader")
    async with place.http(ADMINS) as http:
        assert (await http.post(f"{url}/me/keys/{number}/revoke")).status == 404
        assert (
            await http.post(f"{url}/me/keys", data={"name": "x"}, headers={"Origin": "https://evil.example"})
        ).status == 403
    for who in (KEY, FORMER_MEMBER):
        async with place.http(who) as http:
            assert (await http.post(f"{url}/me/keys", data={"name": "x"})).status == 403


@ON_SQLITE
@pytest.mark.parametrize("name", ["", "   ", "x" * 61, "a\u202eb", "a\x01b"])
async def test_a_name_that_is_none_makes_no_key(place: Boards, name: str) -> None:
    async with place.http(MEMBERS) as http:
        answer = await http.post(f"{place.urls['everyone']}/me/keys", data={"name": name})
        assert answer.status == 400 and not KEY_SHAPE.search(await answer.text())


@ON_SQLITE
async def test_an_account_has_a_bounded_number_of_keys(place: Boards) -> None:
    async with place.http(ADMINS) as http:
        found = [
            (await http.post(f"{place.urls['everyone']}/me/keys", data={"name": f"k{number}"})).status
            for number in range(keys.MOST + 1)
        ]
    assert found == [201] * keys.MOST + [400]


@ON_SQLITE
async def test_admins_see_who_has_keys_and_the_trail(place: Boards) -> None:
    async with place.http(ADMINS) as http:
        for _ in range(3):
            text = await (await http.get(f"{place.urls['members']}/ops")).text()
        assert "Access keys" in text and f"Pilot {MEMBER}" in text and "key created" in text
    with connection():
        assert rows("SELECT count(*) FROM access_log WHERE event = 'admin_view'") == [(1,)], "one an hour"


@ON_SQLITE
async def test_metrics_are_for_admins_keys(place: Boards) -> None:
    with connection():
        admin, operator = keys.create(3, "prometheus", KILLMAILS), keys.create(None, "prometheus", KILLMAILS)
    for readers, url in place.urls.items():
        for key, status in ((admin, 200), (operator, 200)):
            headers = {"X-Forwarded-For": "203.0.113.7", "Authorization": f"Bearer {key}"}
            async with aiohttp.ClientSession(headers=headers) as http:
                assert (await http.get(f"{url}/metrics")).status == status, readers
        async with place.http(KEY) as http:
            assert (await http.get(f"{url}/metrics")).status == 403


def test_the_trail_is_pruned_after_90_days_and_holds_addresses_only_if_wanted(settings: Any) -> None:
    from tests.support.process import change_settings

    with connection():
        audit.record(audit.LOGIN, subject="old", address="192.0.2.1")
        run("UPDATE access_log SET at = '2026-01-01 00:00:00.000000+00:00'")
        audit.record(audit.LOGIN, subject="new\x00\nline", address="192.0.2.1")
        change_settings(ACCESS_LOG_ADDRESSES="1")
        audit.record(audit.LOGIN, subject="newest", address="192.0.2.1")
        assert [entry.subject for entry in audit.recent(10)] == ["newest", "new line"]
        audit.prune()
        assert rows("SELECT subject, address FROM access_log ORDER BY id") == [
            ("new line", None),
            ("newest", "192.0.2.1"),
        ]


def test_the_check_of_a_key_does_the_same_work_for_each(settings: Any) -> None:
    with connection():
        text = keys.create(None, "one", KILLMAILS)
        assert keys.check(text) is not None
        unknown = f"killsync_{'0' * 12}_{'a' * 43}"
        for wrong in (unknown, text[:-1], text + "a", "", "x" * 5_000, "killsync_" + "0" * 12, text.upper(), "é" * 64):
            assert keys.check(wrong) is None, wrong[:20]
        with pytest.raises(keys.BadKey):
            keys.create(None, "owns nothing", RUNS)


def test_the_command_makes_lists_and_revokes_keys(tmp_path: Any, simulated: Any) -> None:
    place = Deployment(tmp_path, simulated(kills=(1,)), DATABASE_URL=f"sqlite:///{tmp_path / 'k.db'}")
    place.command("killsync", "migrate")
    key = place.command("killsync", "keys", "create", "my bot").stdout.strip()
    assert KEY_SHAPE.fullmatch(key)
    assert place.command("killsync", "keys", "create", "", check=False).returncode == 2
    assert place.command("killsync", "keys", "create", "x", "--runs", check=False).returncode == 2
    assert place.command("killsync", "keys", "create", "x", "--character", "7", check=False).returncode == 2
    listed = place.command("killsync", "keys", "list").stdout
    assert "my bot" in listed and key not in listed and "never" in listed
    assert "Revoked: my bot" in place.command("killsync", "keys", "revoke", "my bot").stdout
    assert place.command("killsync", "keys", "revoke", "my bot", check=False).returncode == 2
    trail = place.command("killsync", "audit").stdout
    assert "key_created" in trail and "key_revoked" in trail and key not in trail
    assert '"event":"key_created"' in place.command("killsync", "audit", "--json", "--event", "key_created").stdout
    assert place.command("killsync", "audit", "--event", "nothing", check=False).returncode == 2
