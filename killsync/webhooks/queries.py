"""Webhooks: where a player wants to be told of killmails. Addresses and secrets here are ciphertext."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from peewee import Node, fn

from models.db import in_transaction
from models.exactly_once import in_transaction_once
from models.expressions import locked, now
from models.users import Account
from models.webhooks import ACTIVE, JSON, PAUSED, Tracker, Webhook, WebhookDelivery

#: Webhooks of one account.
MOST = 20


@dataclass(frozen=True)
class Row:
    """A webhook as its owner sees it: nothing in here is secret."""

    id: int
    name: str
    kind: str
    url_hint: str
    status: str
    reason: str | None
    last_error: str | None
    failing_since: datetime | None
    delivered: int
    last_delivered_at: datetime | None
    waiting: int


class Secrets(NamedTuple):
    """Where a webhook sends to and what it signs with; both ciphertext."""

    kind: str
    url: str
    secret: str | None


def of_account(account_id: int) -> list[Row]:
    """The webhooks of an account, oldest first."""
    return _rows(Webhook.account_id == account_id)


def one(account_id: int, webhook_id: int) -> Row | None:
    """One webhook of an account; None when it is another's, or gone."""
    return next(iter(_rows(_mine(account_id, webhook_id))), None)


def _mine(account_id: int, webhook_id: int) -> Node:
    condition: Node = (Webhook.id == webhook_id) & (Webhook.account_id == account_id)
    return condition


def _rows(condition: Any) -> list[Row]:
    waiting = WebhookDelivery.select(fn.COUNT(WebhookDelivery.id)).where(
        WebhookDelivery.webhook_id == Webhook.id, WebhookDelivery.ended_at.is_null()
    )
    webhooks: Any = Webhook.select(
        Webhook.id,
        Webhook.name,
        Webhook.kind,
        Webhook.url_hint,
        Webhook.status,
        Webhook.reason,
        Webhook.last_error,
        Webhook.failing_since,
        Webhook.delivered,
        Webhook.last_delivered_at,
        waiting.alias("waiting"),
    ).where(condition)
    return [Row(**webhook) for webhook in webhooks.order_by(Webhook.id).dicts()]


def create(account_id: int, name: str, kind: str, url: str, url_hint: str, secret: str | None) -> int | None:
    """Enter a webhook (*url* and *secret* are ciphertext); its id, or None when the account has MOST already, or is gone."""

    def work() -> int | None:
        # The account's row is locked, so that two requests at once cannot both be the last that fits.
        if locked(Account.select(Account.id).where(Account.id == account_id)).first() is None:
            return None
        if Webhook.select().where(Webhook.account_id == account_id).count() >= MOST:
            return None
        return int(
            Webhook.insert(
                account_id=account_id,
                name=name,
                kind=kind,
                url=url,
                url_hint=url_hint,
                secret=secret,
                since=now(),
            ).execute()
        )

    return in_transaction_once(work)


def change(account_id: int, webhook_id: int, name: str, url: tuple[str, str] | None = None) -> bool:
    """Give a webhook another name, and with *url* (ciphertext, hint) another address."""
    values: dict[str, Any] = {"name": name}
    if url is not None:
        # What failed was the address before. A pause that a receiver asked for may be for all of its kind.
        values.update(
            url=url[0],
            url_hint=url[1],
            failures=0,
            failing_since=None,
            last_error=None,
            is_slow=False,
            wait_until=Webhook.asked_until,
            due_at=now(),
        )
    return _update(account_id, webhook_id, **values)


def pause(account_id: int, webhook_id: int) -> bool:
    """Notify it of nothing more until `resume`; what waits is kept."""
    return _update(account_id, webhook_id, Webhook.status == ACTIVE, status=PAUSED)


def resume(account_id: int, webhook_id: int) -> bool:
    """Go on after a pause, or after Killsync gave up: first with what waited, then with what is stored from now on."""
    return _update(
        account_id,
        webhook_id,
        Webhook.status != ACTIVE,
        status=ACTIVE,
        reason=None,
        failures=0,
        failing_since=None,
        since=now(),
        due_at=now(),
        wait_until=Webhook.asked_until,
    )


def delete(account_id: int, webhook_id: int) -> bool:
    """Delete it with all that waits for it."""

    return in_transaction(lambda: bool(_delete(_mine(account_id, webhook_id))))


def delete_all(account_id: int) -> None:
    """Delete every webhook of an account, inside the caller's transaction."""
    _delete(Webhook.account_id == account_id)


def _delete(condition: Any) -> int:
    # Webhooks before their deliveries, as everybody locks them who changes both.
    ids = [webhook.id for webhook in locked(Webhook.select(Webhook.id).where(condition).order_by(Webhook.id))]
    WebhookDelivery.delete().where(WebhookDelivery.webhook_id.in_(ids)).execute()
    Tracker.delete().where(Tracker.webhook_id.in_(ids)).execute()
    return int(Webhook.delete().where(Webhook.id.in_(ids)).execute())


def secrets_of(account_id: int, webhook_id: int) -> Secrets | None:
    """Its address and secret as they are stored; None when it is another's, or gone."""
    found = (
        Webhook.select(Webhook.kind, Webhook.url, Webhook.secret).where(_mine(account_id, webhook_id)).dicts().first()
    )
    return Secrets(**found) if found else None


def set_secret(account_id: int, webhook_id: int, secret: str) -> bool:
    """Replace the secret (ciphertext) of a generic webhook."""
    return _update(account_id, webhook_id, Webhook.kind == JSON, secret=secret)


def _update(account_id: int, webhook_id: int, *conditions: Node, **values: Any) -> bool:
    updating = Webhook.update(**values).where(_mine(account_id, webhook_id), *conditions)

    def work() -> bool:
        found = bool(updating.execute())
        if found and "status" in values:
            Tracker.update(version=Tracker.version + 1).where(Tracker.webhook_id == webhook_id).execute()
        return found

    return in_transaction(work)


def rotate_secrets(rotate: Callable[[str], str]) -> int:
    """Put every stored address and secret through *rotate*, inside the caller's transaction; how many webhooks."""
    stored = list(locked(Webhook.select(Webhook.id, Webhook.url, Webhook.secret).order_by(Webhook.id)).namedtuples())
    for webhook in stored:
        Webhook.update(url=rotate(webhook.url), secret=rotate(webhook.secret) if webhook.secret else None).where(
            Webhook.id == webhook.id
        ).execute()
    return len(stored)
