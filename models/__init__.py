"""Peewee tables and the queries on them; no HTTP, no actors."""

from models.base import connect, connection, database, in_transaction, is_postgres, transaction, utcnow
from models.killmails import Attacker, Involvement, Killmail, KillmailItem, KillmailRef, UserKillmail, Victim
from models.names import NAMED, Alliance, Character, Corporation, Faction, ItemType, SolarSystem
from models.syncs import EsiBucket, EsiUsage, Event, Lease, ListPage, MailList, SyncRun
from models.tallies import Tally
from models.users import Account, LoginAttempt, User, WebSession
from models.webhooks import EventReader, Webhook, WebhookDelivery

TABLES = (
    Account, User, WebSession, LoginAttempt,
    KillmailRef, UserKillmail, Killmail, Victim, Attacker, KillmailItem, Involvement,
    *NAMED, SyncRun, MailList, ListPage, EsiBucket, EsiUsage, Event, Lease, Webhook, WebhookDelivery, EventReader, Tally,
)  # fmt: skip

__all__ = [
    "TABLES", "Account", "Alliance", "Attacker", "Character", "Corporation", "EsiBucket", "EsiUsage",
    "Event", "EventReader", "Faction", "Involvement", "ItemType", "Killmail", "KillmailItem", "KillmailRef", "Lease", "ListPage",
    "LoginAttempt", "MailList", "SolarSystem", "SyncRun", "Tally", "User", "UserKillmail", "Victim", "WebSession",
    "Webhook", "WebhookDelivery",
    "connect", "connection", "database", "in_transaction", "is_postgres", "transaction", "utcnow",
]  # fmt: skip
