"""What a page can be about, from a character to a region, and its ticker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from peewee import Value

from models.db import in_transaction
from models.exactly_once import in_transaction_once
from models.expressions import now
from models.killmails import ALLIANCE, CHARACTER, CORPORATION, SHIP_GROUP, SHIP_TYPE
from models.names import Alliance, Character, Corporation, ItemType, SolarSystem
from models.static_data import Constellation, ItemGroup, Region

#: A ticker is asked of ESI once in this many seconds.
TICKER_SECONDS = 86_400.0


@dataclass(frozen=True)
class EntityKind:
    """A kind of entity.

    Attributes:
        word: how addresses and templates call it.
        plural: the first part of the path of its pages.
        table: its table of names.
        field: the attribute of `killsync.killmails.filter.KillmailFilter` that chooses one.
        involvement: which kind of party it is (`models.killmails.OF_KIND`); None for a place, which killmails name themselves.
        noun: how a page calls it.
        column: for a place, the column of `killmail` that names one.
    """

    word: str
    plural: str
    table: Any
    field: str
    involvement: int | None
    noun: str
    column: str | None = None

    @property
    def has_ticker(self) -> bool:
        return self.table in (Corporation, Alliance)

    @property
    def key(self) -> Any:
        """The column of ids of its table."""
        return self.table._meta.primary_key

    @property
    def table_name(self) -> str:
        return str(self.table._meta.table_name)


ENTITY_KINDS = {
    kind.word: kind
    for kind in (
        EntityKind("character", "characters", Character, "character_id", CHARACTER, "Character"),
        EntityKind("corporation", "corporations", Corporation, "corporation_id", CORPORATION, "Corporation"),
        EntityKind("alliance", "alliances", Alliance, "alliance_id", ALLIANCE, "Alliance"),
        EntityKind("ship", "types", ItemType, "ship_type_id", SHIP_TYPE, "Ship"),
        EntityKind("group", "groups", ItemGroup, "ship_group_id", SHIP_GROUP, "Ship group"),
        EntityKind("system", "systems", SolarSystem, "system_id", None, "System", "solar_system_id"),
        EntityKind(
            "constellation",
            "constellations",
            Constellation,
            "constellation_id",
            None,
            "Constellation",
            "constellation_id",
        ),
        EntityKind("region", "regions", Region, "region_id", None, "Region", "region_id"),
    )
}


@dataclass(frozen=True)
class KnownEntity:
    """An entity that a stored killmail or the static data names. `name` and `ticker` are None until they are known."""

    kind: EntityKind
    id: int
    name: str | None
    ticker: str | None

    @property
    def path(self) -> str:
        return f"/{self.kind.plural}/{self.id}"

    @property
    def label(self) -> str:
        return self.name or f"{self.kind.noun} {self.id}"


def find(kind: EntityKind, entity_id: int) -> KnownEntity | None:
    """The entity, if any killmail or the static data ever named it."""
    found = known_entities(kind, select(kind).where(kind.key == entity_id))
    return found[0] if found else None


def select(kind: EntityKind) -> Any:
    """The query of all entities of a kind, for `known_entities`."""
    ticker = kind.table.ticker if kind.has_ticker else Value(None).alias("ticker")
    return kind.table.select(kind.key.alias("id"), kind.table.name, ticker)


def known_entities(kind: EntityKind, query: Any) -> list[KnownEntity]:
    """The entities that a query made by `select` finds."""
    return [KnownEntity(kind, **row) for row in query.dicts()]


def claim_ticker(entity: KnownEntity) -> bool:
    """Whether the ticker is to be asked for now. True at most once in TICKER_SECONDS, whoever calls."""
    kind = entity.kind
    if not kind.has_ticker or entity.ticker is not None:
        return False
    table = kind.table
    is_due = table.ticker_asked_at.is_null() | (table.ticker_asked_at <= now(-TICKER_SECONDS))
    claimed = table.update(ticker_asked_at=now()).where((kind.key == entity.id) & table.ticker.is_null() & is_due)
    return bool(in_transaction_once(claimed.execute))


def needs_ticker(kind: EntityKind, entity_id: int) -> bool:
    """Whether the ticker is still unknown."""
    table = kind.table
    return kind.has_ticker and bool(table.select().where((kind.key == entity_id) & table.ticker.is_null()).exists())


def store_ticker(kind: EntityKind, entity_id: int, ticker: str) -> None:
    """Store what ESI answered."""
    in_transaction(kind.table.update(ticker=ticker).where(kind.key == entity_id).execute)
