"""Whoever watches a deployment under faults and has to have seen everything in the end: receivers of webhooks, readers.

A witness begins when everybody has logged in, and says at the end what it missed. `WITNESSES` are those of random faults; a
new one is a class in that tuple.
"""

from __future__ import annotations

import contextlib
import json
import threading
import urllib.request
from collections import Counter
from collections.abc import Collection
from typing import Any, Protocol

from killsync.sso.vault import Vault
from tests.chaos.world import World
from tests.support.deployment import wait_until
from tests.support.receiver import Receiver, receiving

#: How long a witness may lag behind the last killmail: pauses after failures of receivers are part of it, seconds.
PATIENCE_SECONDS = 120.0


class Witness(Protocol):
    """One who watches."""

    def missed(self, expected: Collection[int]) -> list[str]:
        """What was not seen of *expected*, or seen wrongly; nothing when all is well. Called once, after the last kill."""

    def seen(self) -> str:
        """What it saw, in figures."""

    def end(self) -> None:
        """Stop watching."""


class WebhookReceiver:
    """Has a webhook of the first account that wants every killmail, and notes what arrives. Twice is allowed, once is due."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._stack = contextlib.ExitStack()
        self.receiver: Receiver = self._stack.enter_context(receiving())
        vault = Vault(tuple(world.settings["SECRET_KEYS"].split(",")))
        values = ("json", vault.encrypt(f"{self.receiver.url}/hook"), vault.encrypt("hush"))
        ((self._id, self._since),) = world.sql(
            "INSERT INTO webhook (account_id, name, kind, url, url_hint, secret, status, since, failures, delivered, "
            "due_at, is_slow, created_at) SELECT min(id), 'witness', %s, %s, '127.0.0.1', %s, 'active', "
            "clock_timestamp(), 0, 0, clock_timestamp(), false, clock_timestamp() FROM account RETURNING id, since",
            values,
        )
        world.sql(
            "INSERT INTO tracker (webhook_id, name, wants, since) VALUES (%s, 'witness', '{}', %s)",
            (self._id, self._since),
        )

    def missed(self, expected: Collection[int]) -> list[str]:
        # Those that were stored before it was there are nobody's to deliver.
        found = self._world.sql("SELECT killmail_id FROM killmail WHERE created_at > %s", (self._since,))
        due = {number for (number,) in found} & set(expected)
        with contextlib.suppress(AssertionError):
            wait_until(lambda: due <= set(self._counted()), "the webhook has all", PATIENCE_SECONDS)
        problems = []
        if untold := due - set(self._counted()):
            problems.append(f"{len(untold)} killmails never reached the webhook's receiver")
        if strangers := set(self._counted()) - set(expected):
            problems.append(f"the webhook's receiver heard of {len(strangers)} that no list named")
        if (status := self._world.sql("SELECT status FROM webhook WHERE id = %s", (self._id,))[0][0]) != "active":
            problems.append(f"the webhook is {status}")
        return problems

    def _counted(self) -> Counter[int]:
        return Counter(int(each.json["killmail"]["id"]) for each in self.receiver.taken())

    def seen(self) -> str:
        counted = self._counted()
        return f"webhook: {len(counted)} killmails, {sum(counted.values()) - len(counted)} of them again"

    def end(self) -> None:
        self._stack.close()


class PageReader:
    """Reads the killmails page by page over GraphQL, again and again: no page may hold one twice or out of order."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._problems: list[str] = []
        self._walks = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._stopped.wait(2.0):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                self._walk(most_pages=3)

    def _walk(self, most_pages: int) -> list[tuple[str, int]]:
        read: list[tuple[str, int]] = []
        after = None
        for _ in range(most_pages):
            page = self._page(after)
            read += [(edge["node"]["killmailTime"], int(edge["node"]["id"])) for edge in page["edges"]]
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"]:
                break
        if read != sorted(set(read), reverse=True):
            self._problems.append(f"a reader's pages hold killmails twice or out of order: {len(read)} read")
        self._walks += 1
        return read

    def _page(self, after: str | None) -> dict[str, Any]:
        query = (
            "query ($after: String) { killmails(first: 100, after: $after) "
            "{ edges { node { id killmailTime } } pageInfo { endCursor hasNextPage } } }"
        )
        body = json.dumps({"query": query, "variables": {"after": after}}).encode()
        request = urllib.request.Request(f"{self._world.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)["data"]["killmails"]
            return found

    def missed(self, expected: Collection[int]) -> list[str]:
        self._stopped.set()
        self._thread.join(timeout=30)
        try:
            read = {number for _, number in self._walk(most_pages=1000)}
        except (OSError, ValueError, KeyError, TypeError) as error:
            return [*self._problems, f"a reader gets no page: {type(error).__name__}: {error}"]
        if read != set(expected):
            self._problems.append(f"a reader finds {len(read)} of {len(expected)} killmails")
        return self._problems

    def seen(self) -> str:
        return f"reader: {self._walks} times"

    def end(self) -> None:
        self._stopped.set()
        self._thread.join(timeout=30)


WITNESSES: tuple[type[WebhookReceiver] | type[PageReader], ...] = (WebhookReceiver, PageReader)
