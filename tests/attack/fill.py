"""`python -m tests.attack.fill DATABASE_URL BATTLES ATTACKERS`: a migrated database with killmails, some of them great battles.

`python -m tests.attack.fill DATABASE_URL BROKER_URL` stores one more killmail for each line of its input, which is how many attackers
it has, and has webhooks told of it: as if it had just come. It writes the killmail's id.
"""

from __future__ import annotations

import random
import sys
import time
from typing import Any

from killsync.broker.setup import make_broker
from killsync.killmails import ledger
from killsync.killmails.store import save_killmail
from killsync.names.wanted import store_names
from killsync.webhooks import matching
from models import connection
from models.names import NAMED
from tests.support.process import begin, end, settings_for
from tests.support.web_server import fill, new_universe


def battle(killmail_id: int, attackers: int) -> dict[str, Any]:
    """A killmail, in ESI's form."""
    people = [
        {"character_id": 2_100_000_000 + number, "corporation_id": 98_000_000 + number % 60, "damage_done": number, "final_blow": not number,
         "security_status": 0.5, "ship_type_id": 587, "weapon_type_id": 3178}
        for number in range(attackers)
    ]  # fmt: skip
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3_600))
    victim = {
        "character_id": 2_112_000_099,
        "corporation_id": 98_000_003,
        "damage_taken": 1_000,
        "ship_type_id": 671,
        "items": [],
    }
    return {
        "killmail_id": killmail_id,
        "killmail_time": moment,
        "solar_system_id": 30_000_142,
        "victim": victim,
        "attackers": people,
    }


def store(killmail_id: int, attackers: int) -> None:
    """Put a battle into the database."""
    ledger.add_submitted(killmail_id, "a" * 40, proven=True)
    save_killmail(battle(killmail_id, attackers), "a" * 40)


def fill_all(url: str, battles: int, attackers: int) -> None:
    """A universe of killmails, and so many battles."""
    begin(settings_for(url), migrated=False)
    fill(new_universe(kills=(30,)))
    with connection():
        for number in range(battles):
            store(900_000_000 + number, attackers)


def follow(url: str, broker_url: str) -> None:
    """A killmail for each line of the input."""
    make_broker(begin(settings_for(url, BROKER_URL=broker_url), migrated=False))
    for line in sys.stdin:
        killmail_id = 900_000_000 + random.randrange(10**8)
        with connection():
            store(killmail_id, int(line))
            # A webhook waits for the names of what it tells.
            for model in NAMED:
                key = model._meta.primary_key
                unnamed = [getattr(row, key.name) for row in model.select(key).where(model.name.is_null())]
                store_names({number: f"{number}" for number in unnamed})
        matching.killmails_saved()
        print(killmail_id, flush=True)


def main() -> None:
    url, *given = sys.argv[1:]
    try:
        if len(given) == 1:
            follow(url, given[0])
        else:
            fill_all(url, int(given[0]), int(given[1]))
    finally:
        end()


if __name__ == "__main__":
    main()
