"""Webhooks: where a player wants to be told of killmails, and which. Addresses and secrets here are ciphertext."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from killsync.webhooks.filter import WebhookFilter
from models.db import in_transaction, is_postgres
from models.fields import from_any
from models.sql import rows, run, sql_now
from models.webhooks import ACTIVE, JSON, PAUSED

#: Webhooks of one account.
MOST = 20


@dataclass(frozen=True)
class Row:
    """A webhook as its owner sees it: nothing in here is secret."""

    id: int
    name: str
    kind: str
    url_hint: str
    filter: WebhookFilter
    status: str
    reason: str | None
    last_error: str | None
    failing_since: datetime | None
    delivered: int
    last_delivered_at: datetime | None
    waiting: int


_ROW = (
    "SELECT w.id, w.name, w.kind, w.url_hint, w.wants, w.status, w.reason, w.last_error, w.failing_since, w.delivered, "
    "w.last_delivered_at, (SELECT count(*) FROM webhook_delivery d WHERE d.webhook_id = w.id AND d.ended_at IS NULL) "
    "FROM webhook w WHERE w.account_id = %s"
)


def of_account(account_id: int) -> list[Row]:
    """The webhooks of an account, oldest first."""
    return [_row(found) for found in rows(f"{_ROW} ORDER BY w.id", (account_id,))]


def one(account_id: int, webhook_id: int) -> Row | None:
    """One webhook of an account; None when it is another's, or gone."""
    found = rows(f"{_ROW} AND w.id = %s", (account_id, webhook_id))
    return _row(found[0]) if found else None


def _row(found: tuple[Any, ...]) -> Row:
    number, name, kind, hint, text, status, reason, error, failing, delivered, last, waiting = found
    return Row(number, name, kind, hint, WebhookFilter.load(text), status, reason, error, from_any(failing), delivered,
               from_any(last), waiting)  # fmt: skip


def create(account_id: int, name: str, kind: str, url: str, url_hint: str, secret: str | None,
           chosen: WebhookFilter) -> int | None:  # fmt: skip
    """Enter a webhook (*url* and *secret* are ciphertext); its id, or None when the account has MOST already."""

    def work() -> int | None:
        if is_postgres():
            rows("SELECT id FROM account WHERE id = %s FOR UPDATE", (account_id,))
        if rows("SELECT count(*) FROM webhook WHERE account_id = %s", (account_id,))[0][0] >= MOST:
            return None
        made = rows(
            "INSERT INTO webhook (account_id, name, kind, url, url_hint, secret, wants) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id",
            (account_id, name, kind, url, url_hint, secret, chosen.dump()),
        )
        return int(made[0][0])

    return in_transaction(work)


def change(account_id: int, webhook_id: int, name: str, chosen: WebhookFilter,
           url: tuple[str, str] | None = None) -> bool:  # fmt: skip
    """Give a webhook another name and filter, and with *url* (ciphertext, hint) another address."""
    more, values = (", url = %s, url_hint = %s, wait_until = NULL, failures = 0", url) if url else ("", ())
    sql = f"UPDATE webhook SET name = %s, wants = %s{more} WHERE id = %s AND account_id = %s"
    return bool(in_transaction(lambda: run(sql, (name, chosen.dump(), *values, webhook_id, account_id))))


def pause(account_id: int, webhook_id: int) -> bool:
    """Tell it nothing more until `resume`; what waits is kept."""
    sql = "UPDATE webhook SET status = %s WHERE id = %s AND account_id = %s AND status = %s"
    return bool(in_transaction(lambda: run(sql, (PAUSED, webhook_id, account_id, ACTIVE))))


def resume(account_id: int, webhook_id: int) -> bool:
    """Go on after a pause, or after Killsync gave up: first with what waited, then with what is stored from now on."""
    sql = (
        f"UPDATE webhook SET status = %s, reason = NULL, failures = 0, failing_since = NULL, since = {sql_now()}, "
        f"due_at = {sql_now()}, wait_until = NULL WHERE id = %s AND account_id = %s AND status <> %s"
    )
    return bool(in_transaction(lambda: run(sql, (ACTIVE, webhook_id, account_id, ACTIVE))))


def delete(account_id: int, webhook_id: int) -> bool:
    """Delete it with all that waits for it."""

    def work() -> bool:
        mine = "SELECT id FROM webhook WHERE id = %s AND account_id = %s"
        run(f"DELETE FROM webhook_delivery WHERE webhook_id IN ({mine})", (webhook_id, account_id))
        return bool(run("DELETE FROM webhook WHERE id = %s AND account_id = %s", (webhook_id, account_id)))

    return in_transaction(work)


def secrets_of(account_id: int, webhook_id: int) -> tuple[str, str, str | None] | None:
    """(kind, url, secret), the latter two as ciphertext."""
    found = rows("SELECT kind, url, secret FROM webhook WHERE id = %s AND account_id = %s", (webhook_id, account_id))
    return found[0] if found else None


def set_secret(account_id: int, webhook_id: int, secret: str) -> bool:
    """Replace the secret (ciphertext) of a generic webhook."""
    sql = "UPDATE webhook SET secret = %s WHERE id = %s AND account_id = %s AND kind = %s"
    return bool(in_transaction(lambda: run(sql, (secret, webhook_id, account_id, JSON))))


def rotate_secrets(rotate: Callable[[str], str]) -> int:
    """Put every stored address and secret through *rotate*, inside the caller's transaction; how many webhooks."""
    lock = " FOR UPDATE" if is_postgres() else ""
    stored = rows(f"SELECT id, url, secret FROM webhook ORDER BY id{lock}")
    for webhook_id, url, secret in stored:
        run(
            "UPDATE webhook SET url = %s, secret = %s WHERE id = %s",
            (rotate(url), rotate(secret) if secret else None, webhook_id),
        )
    return len(stored)
