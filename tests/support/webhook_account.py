"""A universe of killmails, an account with webhooks, and the actors that tell them, run as a worker runs them."""

from __future__ import annotations

import copy
from datetime import datetime
from typing import Any

from killsync.killmails.filter import KillmailFilter
from killsync.sso.vault import Vault
from killsync.webhooks import queries, reader, trackers
from killsync.webhooks.voice import Voice
from models import connection
from models.db import in_transaction
from models.fields import moment
from models.sql import rows, run, sql_now
from simulator.universe import Universe
from tests.support.receiver import Receiver
from tests.support.web_server import new_universe, save_one

PLAIN = Voice("mine")
ANY = KillmailFilter(max_age=90 * 86_400)


class Told:
    """One account with one pilot."""

    def __init__(self, settings: Any, receiver: Receiver, kills: int = 25) -> None:
        self.settings = settings
        self.receiver = receiver
        self.universe: Universe = new_universe(kills=(kills,), characters=30)
        self.kills = [kill.killmail_id for kill in sorted(self.universe.kills.values(), key=lambda kill: kill.time)]
        self.pilot = self.universe.demo_characters[0].character_id
        self.add_account()

    def add_account(self) -> None:
        with connection():
            self.account = rows(f"INSERT INTO account (created_at) VALUES ({sql_now()}) RETURNING id")[0][0]
            run(
                'INSERT INTO "user" (account_id, character_id, character_name) VALUES (%s, %s, %s)',
                (self.account, self.pilot, "Pilot"),
            )

    def webhook(
        self, kind: str = "json", chosen: KillmailFilter = ANY, url: str | None = None, voice: Voice = PLAIN
    ) -> int:
        """A webhook with one tracker."""
        vault = Vault(self.settings.secret_keys)
        secret = vault.encrypt("hush") if kind == "json" else None
        address = vault.encrypt(url or f"{self.receiver.url}/hook")
        with connection():
            made = queries.create(self.account, "mine", kind, address, "127.0.0.1/…", secret)
        assert made is not None
        self.tracker(made, chosen, voice)
        return made

    def tracker(self, webhook_id: int, chosen: KillmailFilter = ANY, voice: Voice = PLAIN) -> int:
        """One more tracker of a webhook."""
        with connection():
            made = trackers.create(self.account, webhook_id, voice, chosen)
            reader.begin_reading()
        assert made is not None
        return made

    def tracker_of(self, webhook_id: int) -> trackers.Row:
        """The first tracker of a webhook."""
        with connection():
            return next(each for each in trackers.of_account(self.account) if each.webhook_id == webhook_id)

    def save(self, *ids: int) -> None:
        for number in ids:
            save_one(self.universe, number)

    def work(self, *webhook_ids: int, patient: bool = False) -> None:
        """Read events and deliver; *patient* keeps to the pauses that were asked for."""
        from killsync.webhooks import delivery, matching

        with connection():
            matching.announce()
            for number in webhook_ids or [number for (number,) in rows("SELECT id FROM webhook ORDER BY id")]:
                if not patient:
                    in_transaction(
                        lambda number=number: run("UPDATE webhook SET wait_until = NULL WHERE id = %s", (number,))
                    )
                delivery.deliver(number)

    def state(self, webhook_id: int) -> queries.Row:
        with connection():
            found = queries.one(self.account, webhook_id)
        assert found is not None
        return found

    def another_account(self, receiver: Receiver | None = None) -> Told:
        """Another account over the same killmails, with its own pilot."""
        other = copy.copy(self)
        other.receiver = receiver or self.receiver
        other.pilot = self.universe.demo_characters[1].character_id
        other.add_account()
        return other

    def now(self) -> datetime:
        """The moment by the database's clock."""
        with connection():
            return moment(rows(f"SELECT {sql_now()}")[0][0])

    def told_discord(self) -> int:
        return len(self.receiver.taken())

    def told_ids(self) -> list[int]:
        return [int(each.json["killmail"]["id"]) for each in self.receiver.taken()]
