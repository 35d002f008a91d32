"""Peewee tables and the queries on them; no HTTP, no actors."""

from models.base import connect, connection, database, in_transaction, is_postgres, transaction, utcnow
from models.killmails import Attacker, Involvement, Killmail, KillmailItem, KillmailRef, UserKillmail, Victim
from models.names import NAMED, Alliance, Character, Corporation, Faction, ItemType, SolarSystem
from models.syncs import EsiBucket, EsiUsage, Event, Lease, ListPage, MailList, SyncRun
from models.users import Account, LoginAttempt, User, WebSession

TABLES = (
    Account, User, WebSession, LoginAttempt,
    KillmailRef, UserKillmail, Killmail, Victim, Attacker, KillmailItem, Involvement,
    *NAMED, SyncRun, MailList, ListPage, EsiBucket, EsiUsage, Event, Lease,
)  # fmt: skip

__all__ = [
    "TABLES", "Account", "Alliance", "Attacker", "Character", "Corporation", "EsiBucket", "EsiUsage",
    "Event", "Faction", "Involvement", "ItemType", "Killmail", "KillmailItem", "KillmailRef", "Lease", "ListPage",
    "LoginAttempt", "MailList", "SolarSystem", "SyncRun", "User", "UserKillmail", "Victim", "WebSession",
    "connect", "connection", "database", "in_transaction", "is_postgres", "transaction", "utcnow",
]  # fmt: skip
