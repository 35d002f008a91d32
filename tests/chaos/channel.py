"""A channel that a tracker tells of everything before, in and after a fault: each killmail at least once, in the order of the log."""

from __future__ import annotations

import contextlib
from typing import Any

from killsync.sso.vault import Vault
from tests.support.deployment import wait_until
from tests.support.receiver import Receiver, receiving

#: Long before anything was stored.
_BEFORE = "2020-01-01 00:00:00.000000+00:00"
_WAITING = "SELECT count(*) FROM webhook_delivery WHERE ended_at IS NULL"


class Channel:
    """A receiver of a webhook whose one tracker wants everything."""

    def __init__(self, world: Any, stack: contextlib.ExitStack) -> None:
        self._world = world
        self._receiver: Receiver = stack.enter_context(receiving())
        address = Vault((world.settings["SECRET_KEYS"],)).encrypt(f"{self._receiver.url}/channel")
        world.sql("INSERT INTO account (created_at) VALUES (%s)", (_BEFORE,))
        world.sql(
            "INSERT INTO webhook (account_id, name, kind, url, url_hint, since) "
            "SELECT min(id), 'channel', 'json', %s, 'x', %s FROM account", (address, _BEFORE),
        )  # fmt: skip
        world.sql(
            "INSERT INTO tracker (webhook_id, name, wants, since) SELECT id, 'all', '{}', %s FROM webhook", (_BEFORE,)
        )

    def check(self, verdict: Any, log: list[tuple[int, int]]) -> None:
        """Compare what the channel was told with the log."""
        order = [killmail_id for _, killmail_id in log]
        with contextlib.suppress(AssertionError):
            wait_until(
                lambda: set(self.told()) >= set(order) and self._world.sql(_WAITING) == [(0,)],
                "the channel is told",
                120,
            )
        told = self.told()
        verdict.channel, verdict.again = len(set(told)), len(told) - len(set(told))
        if missing := set(order) - set(told):
            verdict.problems.append(f"the channel was not told of {len(missing)}")
        if [each for each in dict.fromkeys(told) if each in set(order)] != [
            each for each in order if each in set(told)
        ]:
            verdict.problems.append("the channel was told out of order")

    def told(self) -> list[int]:
        """The killmails of the requests that were taken, in their order."""
        return [int(each.json["killmail"]["id"]) for each in self._receiver.taken()]
