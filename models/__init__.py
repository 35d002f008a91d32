"""Peewee tables and the queries on them; no HTTP, no actors."""

from models.base import connect, connection, database, in_transaction, is_postgres, transaction, utcnow
from models.killmails import (
    Attacker,
    CorporationKillmail,
    Involvement,
    Killmail,
    KillmailItem,
    KillmailRef,
    UserKillmail,
    Victim,
)
from models.names import NAMED, Alliance, Character, Corporation, Faction, ItemType, SolarSystem
from models.syncs import (
    CorporationFeed,
    EsiBucket,
    EsiUsage,
    Event,
    Lease,
    ListPage,
    MailList,
    Membership,
    SyncRun,
)
from models.tallies import Tally
from models.users import Account, LoginAttempt, User, WebSession
from models.webhooks import EventReader, Webhook, WebhookDelivery

TABLES = (
    Account, User, WebSession, LoginAttempt,
    KillmailRef, UserKillmail, CorporationKillmail, Killmail, Victim, Attacker, KillmailItem, Involvement,
    *NAMED, SyncRun, MailList, Membership, CorporationFeed, ListPage, EsiBucket, EsiUsage, Event,
    Lease, Webhook, WebhookDelivery, EventReader, Tally,
)  # fmt: skip

__all__ = [
    "TABLES", "Account", "Alliance", "Attacker", "Character", "Corporation", "CorporationFeed", "CorporationKillmail",
    "EsiBucket", "EsiUsage",
    "Event", "EventReader", "Faction", "Involvement", "ItemType", "Killmail", "KillmailItem", "KillmailRef", "Lease", "ListPage",
    "LoginAttempt", "MailList", "Membership", "SolarSystem", "SyncRun", "Tally", "User", "UserKillmail", "Victim", "WebSession",
    "Webhook", "WebhookDelivery",
    "connect", "connection", "database", "in_transaction", "is_postgres", "transaction", "utcnow",
]  # fmt: skip
