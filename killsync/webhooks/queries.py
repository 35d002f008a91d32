"""Webhooks: where a player wants to be notified of killmails, and which. Addresses and secrets here are ciphertext."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from peewee import Node, fn

from killsync.webhooks.filter import WebhookFilter
from models.db import in_transaction
from models.expressions import locked, now
from models.users import Account
from models.webhooks import ACTIVE, JSON, PAUSED, Webhook, WebhookDelivery

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
        Webhook.wants,
        Webhook.status,
        Webhook.reason,
        Webhook.last_error,
        Webhook.failing_since,
        Webhook.delivered,
        Webhook.last_delivered_at,
        waiting.alias("waiting"),
    ).where(condition)
    return [
        Row(filter=WebhookFilter.load(webhook.pop("wants")), **webhook)
        for webhook in webhooks.order_by(Webhook.id).dicts()
    ]


def create(
    account_id: int, name: str, kind: str, url: str, url_hint: str, secret: str | None, chosen: WebhookFilter
) -> int | None:
    """Enter a webhook (*url* and *secret* are ciphertext); its id, or None when the account has MOST already."""

    def work() -> int | None:
        # The account's row is locked, so that two requests at once cannot both be the last that fits.
        locked(Account.select(Account.id).where(Account.id == account_id)).execute()
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
                wants=chosen.dump(),
            ).execute()
        )

    return in_transaction(work)


def change(
    account_id: int, webhook_id: int, name: str, chosen: WebhookFilter, url: tuple[str, str] | None = None
) -> bool:
    """Give a webhook another name and filter, and with *url* (ciphertext, hint) another address."""
    values: dict[str, Any] = {"name": name, "wants": chosen.dump()}
    if url is not None:
        values.update(url=url[0], url_hint=url[1], wait_until=None, failures=0)
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
        wait_until=None,
    )


def delete(account_id: int, webhook_id: int) -> bool:
    """Delete it with all that waits for it."""

    def work() -> bool:
        mine = Webhook.select(Webhook.id).where(_mine(account_id, webhook_id))
        WebhookDelivery.delete().where(WebhookDelivery.webhook_id.in_(mine)).execute()
        return bool(Webhook.delete().where(_mine(account_id, webhook_id)).execute())

    return in_transaction(work)


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
    return bool(in_transaction(updating.execute))


def rotate_secrets(rotate: Callable[[str], str]) -> int:
    """Put every stored address and secret through *rotate*, inside the caller's transaction; how many webhooks."""
    stored = list(locked(Webhook.select(Webhook.id, Webhook.url, Webhook.secret).order_by(Webhook.id)).namedtuples())
    for webhook in stored:
        Webhook.update(url=rotate(webhook.url), secret=rotate(webhook.secret) if webhook.secret else None).where(
            Webhook.id == webhook.id
        ).execute()
    return len(stored)
