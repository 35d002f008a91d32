"""`python -m tests.attack.fill DATABASE_URL BATTLES ATTACKERS`: a migrated database with killmails, some of them great battles.

With `one` instead of a number of battles, one more killmail is stored, as if it had just come.
"""

from __future__ import annotations

import random
import sys
import time
from typing import Any

from killsync.killmails import ledger
from killsync.killmails.store import save_killmail
from models import connection
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


def main() -> None:
    url, battles, attackers = sys.argv[1:4]
    begin(settings_for(url), migrated=False)
    try:
        if battles != "one":
            fill(new_universe(kills=(30,)))
        with connection():
            for number in range(1 if battles == "one" else int(battles)):
                killmail_id = 900_000_000 + (random.randrange(10**8) if battles == "one" else number)
                ledger.add_submitted(killmail_id, "a" * 40, proven=True)
                save_killmail(battle(killmail_id, int(attackers)), "a" * 40)
    finally:
        end()


if __name__ == "__main__":
    main()
