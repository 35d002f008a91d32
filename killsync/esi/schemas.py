"""What each route of ESI promises, as msgspec schemas: an answer is decoded and checked in one step, before anything is kept.

Pure. Numbers are numbers and fit into 64 bits, a boolean is no number, required fields are there. Fields that ESI added since
are allowed and left out. Source: ESI's OpenAPI document of compatibility date 2026-08-18.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, NamedTuple, NoReturn, NotRequired, TypedDict, TypeVar

import msgspec

T = TypeVar("T")

#: A killmail with more of either is not a killmail; EVE's largest fights stay far below.
MOST_ATTACKERS = 20_000
MOST_ITEMS = 50_000

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Hash = Annotated[str, msgspec.Meta(pattern=r"\A[0-9A-Za-z]{1,128}\Z")]


class NotJson(ValueError):
    """The answer is no JSON, or not all of it arrived."""


class ShapeError(ValueError):
    """The answer has another shape than the route promises; the text says where."""


# A killmail stays the mapping that it is in ESI's answer, checked: rows are made of it, and no code works on it.


class Position(TypedDict):
    """Where the victim was, metres from the system's centre."""

    x: float
    y: float
    z: float


class InnerItem(TypedDict):
    """An item in a container. There is no third level in the game."""

    item_type_id: Int64
    flag: Int64
    singleton: Int64
    quantity_dropped: NotRequired[Int64 | None]
    quantity_destroyed: NotRequired[Int64 | None]


class Item(InnerItem):
    """An item, and what lay in it."""

    items: NotRequired[Annotated[list[InnerItem], msgspec.Meta(max_length=MOST_ITEMS)] | None]


class Victim(TypedDict):
    """Who lost what."""

    ship_type_id: Int64
    damage_taken: Int64
    character_id: NotRequired[Int64 | None]
    corporation_id: NotRequired[Int64 | None]
    alliance_id: NotRequired[Int64 | None]
    faction_id: NotRequired[Int64 | None]
    position: NotRequired[Position | None]
    items: NotRequired[Annotated[list[Item], msgspec.Meta(max_length=MOST_ITEMS)] | None]


class Attacker(TypedDict):
    """One who took part."""

    damage_done: Int64
    final_blow: bool
    security_status: NotRequired[float | None]
    character_id: NotRequired[Int64 | None]
    corporation_id: NotRequired[Int64 | None]
    alliance_id: NotRequired[Int64 | None]
    faction_id: NotRequired[Int64 | None]
    ship_type_id: NotRequired[Int64 | None]
    weapon_type_id: NotRequired[Int64 | None]


class Killmail(TypedDict):
    """GET /killmails/{killmail_id}/{killmail_hash}."""

    killmail_id: Int64
    killmail_time: str
    solar_system_id: Int64
    victim: Victim
    attackers: Annotated[list[Attacker], msgspec.Meta(max_length=MOST_ATTACKERS)]
    moon_id: NotRequired[Int64 | None]
    war_id: NotRequired[Int64 | None]


class ServedKillmail(dict[str, Any]):
    """A checked `Killmail`, and ESI's own bytes of it."""

    def __init__(self, checked: Killmail, served: bytes) -> None:
        super().__init__(checked)
        self.served = served


class KillmailRef(msgspec.Struct, frozen=True, gc=False):
    """One of GET /characters/{character_id}/killmails/recent, and of the same for a corporation."""

    killmail_id: Int64
    killmail_hash: Hash


class Name(msgspec.Struct, frozen=True, gc=False):
    """One of POST /universe/names."""

    id: Int64
    name: str
    category: str


class Character(msgspec.Struct, frozen=True, gc=False):
    """GET /characters/{character_id}: what Killsync reads of it."""

    name: str


class Affiliation(msgspec.Struct, frozen=True, gc=False):
    """One of POST /characters/affiliation: what Killsync reads of it."""

    character_id: Int64
    corporation_id: Int64
    alliance_id: Int64 | None = None


class Organization(msgspec.Struct, frozen=True, gc=False):
    """GET /corporations/{corporation_id} and GET /alliances/{alliance_id}: what Killsync reads of them."""

    name: str
    ticker: str


class Price(NamedTuple):
    """One of GET /markets/prices, as ESI gives it: what is no sensible price is for the reader to leave out."""

    type_id: int
    average: Any
    adjusted: Any


class Status(msgspec.Struct, frozen=True, gc=False):
    """GET /status."""

    players: Int64 | None = None
    error: Any = None


_KILLMAIL = msgspec.json.Decoder(Killmail)
_REFS = msgspec.json.Decoder(list[KillmailRef])
_NAMES = msgspec.json.Decoder(list[Name])
_AFFILIATIONS = msgspec.json.Decoder(list[Affiliation])
_CHARACTER = msgspec.json.Decoder(Character)
_ORGANIZATION = msgspec.json.Decoder(Organization)
_STATUS = msgspec.json.Decoder(Status)
_ANYTHING = msgspec.json.Decoder()

# Each of these raises NotJson or ShapeError.


def killmail(body: bytes, killmail_id: int) -> ServedKillmail:
    """The killmail *killmail_id*; the body of another is refused."""
    found = _decoded(_KILLMAIL, body)
    if found["killmail_id"] != killmail_id:
        raise ShapeError("the body is of another killmail")
    if not _is_moment(found["killmail_time"]):
        raise ShapeError("killmail_time is no RFC 3339 time")
    return ServedKillmail(found, body)


def killmail_refs(body: bytes) -> list[tuple[int, str]]:
    """The (killmail_id, killmail_hash) pairs of a page of killmails/recent, in ESI's order."""
    return [(ref.killmail_id, ref.killmail_hash) for ref in _decoded(_REFS, body)]


def names(body: bytes) -> dict[int, tuple[str, str]]:
    """(category, name) by id. PostgreSQL stores no NUL, so names come without."""
    return {each.id: (each.category, each.name.replace("\x00", "")) for each in _decoded(_NAMES, body)}


def affiliations(body: bytes) -> dict[int, Affiliation]:
    """Where each character belongs, by their ids."""
    return {each.character_id: each for each in _decoded(_AFFILIATIONS, body)}


def character(body: bytes) -> Character:
    """A character's public information."""
    return _decoded(_CHARACTER, body)


def organization(body: bytes) -> Organization:
    """A corporation's or an alliance's public information."""
    return _decoded(_ORGANIZATION, body)


def prices(body: bytes) -> list[Price]:
    """The prices of all types. One that is odd spoils none of the others, and all keep the digits that ESI gives."""
    # Not msgspec: it makes doubles of prices and refuses all of them for one that no double holds.
    try:
        found = json.loads(body, parse_float=Decimal, parse_constant=lambda _word: None)
    except (ValueError, RecursionError) as error:
        raise NotJson(type(error).__name__) from None
    if not isinstance(found, list):
        raise ShapeError("an error object under status 200" if isinstance(found, dict) else "expected an array")
    usable = [each for each in found if isinstance(each, dict) and _is_id(each.get("type_id"))]
    return [Price(each["type_id"], each.get("average_price"), each.get("adjusted_price")) for each in usable]


def _is_id(value: Any) -> bool:
    return type(value) is int and 0 < value < 2**63


def status(body: bytes) -> Status:
    """Tranquility's status."""
    found = _decoded(_STATUS, body)
    if found.error is not None:
        raise ShapeError("an error object under status 200")
    return found


def _decoded(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        _refuse(body, str(error))
    except RecursionError:
        raise NotJson("JSON is malformed: nested too deep") from None
    except ValueError as error:
        raise NotJson(str(error)) from None


def _refuse(body: bytes, reason: str) -> NoReturn:
    """Say what is wrong with an answer of another shape; one that was cut short after the wrong field was cut short."""
    try:
        data = _ANYTHING.decode(body)
    except RecursionError:
        raise NotJson("JSON is malformed: nested too deep") from None
    except ValueError as error:
        raise NotJson(str(error)) from None
    if isinstance(data, dict) and set(data) == {"error"}:
        raise ShapeError("an error object under status 200")
    raise ShapeError(readable(reason))


def readable(reason: str) -> str:
    """A message of msgspec with the path first: `attackers[3].damage_done: expected int, got bool`."""
    text, _, path = reason.replace("`", "").partition(" - at ")
    where = path.removeprefix("$").removeprefix(".")
    return f"{where}: {text[:1].lower()}{text[1:]}" if where else f"{text[:1].lower()}{text[1:]}"


def _is_moment(text: str) -> bool:
    """Whether *text* is a time that names its zone, and has one in UTC."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.tzinfo is not None and bool(moment.astimezone(UTC))
    except (ValueError, OverflowError):
        return False
