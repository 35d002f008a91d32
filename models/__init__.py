"""Peewee tables and the queries on them; no HTTP, no actors."""

from models.access import AccessKey, AccessLog, Affiliation
from models.db import connect, connection, database, in_transaction, is_postgres, transaction
from models.esi import EsiBucket, EsiUsage
from models.fields import utcnow
from models.health import Health
from models.killmail_log import KillmailCounter, KillmailLog, LogReader
from models.killmails import (
    Attacker,
    CorporationKillmail,
    InvolvedAttacker,
    InvolvedBoth,
    InvolvedVictim,
    Involvement,
    Killmail,
    KillmailBody,
    KillmailItem,
    KillmailRef,
    UserKillmail,
    Victim,
)
from models.names import NAMED, Alliance, Character, Corporation, Faction, ItemType, SolarSystem
from models.observability import Tally
from models.prices import ItemPrice, PriceDay
from models.static_data import (
    Constellation,
    ItemCategory,
    ItemGroup,
    MarketGroup,
    MetaGroup,
    Region,
    Stargate,
    StaticDataBuild,
    StaticDataChange,
)
from models.sync import CorporationFeed, Lease, ListPage, MailList, Membership, PollTable, SyncRun
from models.users import Account, LoginAttempt, User, WebSession
from models.webhooks import Tracker, Webhook, WebhookDelivery

TABLES = (
    Affiliation, AccessKey, AccessLog,
    Account, User, WebSession, LoginAttempt,
    KillmailRef, UserKillmail, CorporationKillmail, Killmail, Victim, Attacker, KillmailItem, KillmailBody,
    InvolvedVictim, InvolvedAttacker, InvolvedBoth, Involvement,
    KillmailCounter, KillmailLog, LogReader,
    *NAMED, SyncRun, MailList, Membership, CorporationFeed, PollTable, ListPage, EsiBucket, EsiUsage,
    Health, Lease, Webhook, Tracker, WebhookDelivery, Tally,
    ItemCategory, ItemGroup, MarketGroup, MetaGroup, Region, Constellation, Stargate, StaticDataBuild, StaticDataChange,
    ItemPrice, PriceDay,
)  # fmt: skip

__all__ = [
    "TABLES",
    "AccessKey",
    "AccessLog",
    "Account",
    "Affiliation",
    "Alliance",
    "Attacker",
    "Character",
    "Constellation",
    "Corporation",
    "CorporationFeed",
    "CorporationKillmail",
    "EsiBucket",
    "EsiUsage",
    "Faction",
    "Health",
    "InvolvedAttacker",
    "InvolvedBoth",
    "InvolvedVictim",
    "Involvement",
    "ItemCategory",
    "ItemGroup",
    "ItemPrice",
    "ItemType",
    "Killmail",
    "KillmailBody",
    "KillmailCounter",
    "KillmailItem",
    "KillmailLog",
    "KillmailRef",
    "Lease",
    "ListPage",
    "LogReader",
    "LoginAttempt",
    "MailList",
    "MarketGroup",
    "Membership",
    "MetaGroup",
    "PollTable",
    "PriceDay",
    "Region",
    "SolarSystem",
    "Stargate",
    "StaticDataBuild",
    "StaticDataChange",
    "SyncRun",
    "Tally",
    "Tracker",
    "User",
    "UserKillmail",
    "Victim",
    "WebSession",
    "Webhook",
    "WebhookDelivery",
    "connect",
    "connection",
    "database",
    "in_transaction",
    "is_postgres",
    "transaction",
    "utcnow",
]  # fmt: skip
