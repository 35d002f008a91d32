"""How everything stands, for `killsync status` and the operator's dashboard. Reads only; blocking."""

from __future__ import annotations

from typing import Any

from actors import broker
from esi import clock
from esi.account import Account
from models import connection, ledger, utcnow
from models.base import from_any, rows

_RUN_COLUMNS = ("id", "character", "status", "found", "saved", "skipped", "errors", "requests", "tokens")


def gather() -> dict[str, Any]:
    """How everything stands, as plain data: queues, users, ledger, budgets, what was spent, the last runs."""
    with connection():
        users = dict(rows('SELECT status, count(*) FROM "user" GROUP BY status'))
        due = rows(
            'SELECT count(*) FROM "user" WHERE status = %s AND next_sync_at <= %s', ("active", utcnow().isoformat(" "))
        )
        oldest = ledger.oldest_pending()
        data: dict[str, Any] = {
            "users": {name: users.get(name, 0) for name in ("active", "needs_login", "disabled")},
            "due_users": due[0][0],
            "killmails": rows("SELECT count(*) FROM killmail")[0][0],
            "ledger": ledger.counts(),
            "oldest_pending": None if oldest is None else {"killmail_id": oldest[0], "since": str(from_any(oldest[1])),
                                                           "attempts": oldest[2], "last_error": oldest[3]},
            "budgets": _budgets(),
            "esi_spent": [
                {"route": route, "outcome": outcome, "requests": int(requests), "tokens": int(tokens)}
                for route, outcome, requests, tokens in rows(
                    "SELECT route, outcome, sum(requests), sum(tokens) FROM esi_usage GROUP BY route, outcome ORDER BY 1, 2"
                )
            ],
            "last_runs": [
                dict(zip(_RUN_COLUMNS, row, strict=True))
                for row in rows(
                    "SELECT s.id, u.character_name, s.status, s.found, s.saved, s.skipped, s.errors, s.esi_requests, "
                    's.esi_tokens FROM sync_run s JOIN "user" u ON u.id = s.user_id ORDER BY s.id DESC LIMIT 8'
                )
            ],
        }  # fmt: skip
    try:
        data["queues"] = [stat.__dict__ for stat in broker.queue_stats()]
    except broker.BrokerAway as error:
        data["queues"] = []
        data["broker"] = str(error)
    return data


def _budgets() -> list[dict[str, Any]]:
    found = []
    for name, text in rows("SELECT name, account FROM esi_bucket WHERE name LIKE 'killmail|%%' ORDER BY name"):
        account = Account.load(text)
        now = clock.now()
        found.append({"bucket": name, "limit": account.limit, "left": account.limit - account.used(now),
                      "blocked_seconds": max(0, round(account.blocked_until - now))})  # fmt: skip
    return found
