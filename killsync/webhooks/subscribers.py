"""Who wants to be told: every active tracker of an active webhook with its filter, kept in memory until one has changed."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from peewee import fn

from killsync.killmails.filter import KillmailFilter, Own
from killsync.killmails.filter_forms import OWN, BadFilter, from_json
from killsync.killmails.own import own_of
from killsync.process import OnePerProcess
from killsync.static_data import catalog
from killsync.webhooks.giving_up import disable_tracker, unusable
from models.expressions import later_of
from models.fields import moment
from models.users import User
from models.webhooks import ACTIVE, Tracker, Webhook

#: How long what is known of people's corporations, and of near systems, is used before it is read again, seconds.
FRESH_SECONDS = 60.0
#: What filters that were read are kept of, in systems (about 60 bytes each): some 20,000 plain ones.
MOST_WEIGHT = 1_000_000


@dataclass(frozen=True)
class Subscriber:
    """What an active tracker wants to hear, of what is stored from `since` on."""

    tracker_id: int
    webhook_id: int
    filter: KillmailFilter
    since: datetime


def counts_from() -> Any:
    """The moment from which an active tracker counts: since it or its webhook became active, whichever was later."""
    return later_of(Tracker.since, Webhook.since)


def active() -> Any:
    """The query of active trackers of active webhooks, with the moment from which each counts."""
    query: Any = Tracker.select(Tracker, Webhook.account_id, counts_from().alias("counts_from"))
    query = query.join(Webhook, on=(Webhook.id == Tracker.webhook_id))
    return query.where((Tracker.status == ACTIVE) & (Webhook.status == ACTIVE))


def has_active() -> bool:
    """Whether anybody wants to be told of anything."""
    return bool(active().exists())


class _Filters:
    """Filters by their text, each read once for a build of the static data; bounded by the systems that they hold."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, Own | None, int], KillmailFilter] = OrderedDict()
        self._weight = 0

    def read(self, text: str, own: Own | None) -> KillmailFilter:
        """The filter.

        Raises:
            BadFilter: it cannot be used.
        """
        key = (text, own, catalog.load_number())
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found
        made = from_json(text, own)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self._weight += _weight(key, made)
            while self._weight > MOST_WEIGHT and len(self._kept) > 1:
                oldest, dropped = self._kept.popitem(last=False)
                self._weight -= _weight(oldest, dropped)
        return made


def _weight(key: tuple[str, Own | None, int], chosen: KillmailFilter) -> int:
    """About what a filter takes of memory, in systems: of those that are near there may be thousands."""
    return 50 + len(key[0]) // 20 + (len(chosen.near.systems) if chosen.near else 0)


_filters = OnePerProcess(_Filters)


def filter_of(text: str, account_id: int, owns: dict[int, Own] | None = None) -> KillmailFilter:
    """The filter of a tracker for the account that it belongs to.

    Raises:
        BadFilter: it cannot be used.
    """
    own = None
    if any(f'"{word}"' in text for _, word, *_ in OWN):
        known = owns if owns is not None else {}
        own = known.get(account_id) or known.setdefault(account_id, own_of_account(account_id))
    return _filters().read(text, own)


def own_of_account(account_id: int) -> Own:
    """Whom an account calls its own."""
    users: Any = User.select(User.character_id).where(User.account_id == account_id).order_by(User.id)
    return own_of([user.character_id for user in users.namedtuples()])


class Subscribers:
    """The active trackers, read again when one has changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._state: Any = None
        self._read_at = float("-inf")
        self._known: Sequence[Subscriber] = ()

    def get(self) -> Sequence[Subscriber]:
        """Every active tracker; the same object as long as nothing has changed."""
        with self._lock:
            state = _state()
            if state != self._state or time.monotonic() - self._read_at > FRESH_SECONDS:
                self._known = _load()
                self._state, self._read_at = state, time.monotonic()
            return self._known


def _state() -> Any:
    """Something that differs whenever a tracker, its webhook, or whose a character is has changed."""
    trackers = Tracker.select(fn.COUNT(Tracker.id), fn.MAX(Tracker.id), fn.SUM(Tracker.version)).tuples().first()
    whose = fn.SUM(User.account_id * User.id)
    users = User.select(fn.COUNT(User.id), fn.MAX(User.id), whose).tuples().first()
    return trackers, users, catalog.load_number()


def _load() -> list[Subscriber]:
    """Every active tracker. One whose filter cannot be used is given up, and stops none of the others."""
    owns: dict[int, Own] = {}
    found = []
    for row in active().order_by(Tracker.id).dicts():
        try:
            chosen = filter_of(row["wants"], row["account_id"], owns)
        except BadFilter as error:
            disable_tracker(row["id"], unusable(error))
            continue
        found.append(Subscriber(row["id"], row["webhook_id"], chosen, moment(row["counts_from"])))
    return found


current = OnePerProcess(Subscribers)
