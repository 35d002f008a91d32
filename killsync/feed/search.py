"""The addresses of zKillboard's API: what `/api/kills/characterID/1,2/w-space/page/2/` asks for. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from killsync.killmails.classification import SecurityBand
from models.killmails import (
    ALLIANCE,
    ATTACKER_SIDE,
    CHARACTER,
    CORPORATION,
    SHIP_GROUP,
    SHIP_TYPE,
    VICTIM_SIDE,
)

#: Killmails of a page, pages that can be asked for, and ids of one kind.
MOST, MOST_PAGES, MOST_IDS = 1_000, 100, 20
#: A week: what `pastSeconds` goes back at most.
MOST_SECONDS = 604_800
_MOST_WORDS = 40
#: Years that can be asked for.
FIRST_YEAR, LAST_YEAR = 2003, 2999

#: Kinds of ids: those who take part, the rarest first, and the columns of places.
PARTIES = {"characterID": CHARACTER, "corporationID": CORPORATION, "shipTypeID": SHIP_TYPE, "shipID": SHIP_TYPE,
           "allianceID": ALLIANCE, "groupID": SHIP_GROUP}  # fmt: skip
COLUMNS = {"solarSystemID": "solar_system_id", "systemID": "solar_system_id", "constellationID": "constellation_id",
           "regionID": "region_id", "warID": "war_id", "killID": "killmail_id"}  # fmt: skip
_SPACE = {"highsec": SecurityBand.HIGH, "lowsec": SecurityBand.LOW, "nullsec": SecurityBand.NULL,
          "w-space": SecurityBand.WORMHOLE, "abyssal": SecurityBand.ABYSSAL}  # fmt: skip
_SIDES = {"kills": ATTACKER_SIDE, "losses": VICTIM_SIDE}
_FLAGS = ("solo", "npc", "awox")
#: Modifiers that leave out what is never there, or that change nothing here.
_IGNORED = {"no-items", "no-attackers", "zkbOnly"}


class BadSearch(ValueError):
    """The address asks for something that cannot be; the text says what."""


@dataclass(frozen=True)
class Search:
    """A page of killmails.

    Attributes:
        parties: (kind of involvement, ids), of each of which one takes part, on one of *sides*.
        columns: columns of `killmail` with the values that are wanted.
        flags: columns of `killmail` that are true or false.
        start, end: the first moment that counts, and the first that does not.
        before_id, after_id: ids of killmails that it ends before, and begins after.
    """

    parties: tuple[tuple[int, tuple[int, ...]], ...] = ()
    sides: int = ATTACKER_SIDE | VICTIM_SIDE
    columns: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    flags: tuple[tuple[str, bool], ...] = ()
    start: datetime | None = None
    end: datetime | None = None
    before_id: int | None = None
    after_id: int | None = None
    is_ascending: bool = False
    page: int = 1
    limit: int = MOST


def read_search(path: str, now: datetime) -> Search:
    """The search that an address means; *path* is what follows `/api/`.

    Raises:
        BadSearch: it means none.
    """
    words = [word for word in path.split("/") if word]
    if not words:
        raise BadSearch("say what you want: see docs/feeds.md")
    if len(words) > _MOST_WORDS:
        raise BadSearch(f"there are more than {_MOST_WORDS} words in this address")
    search, year, month = Search(), None, None
    parties: dict[int, tuple[int, ...]] = {}
    rest = iter(words)
    for word in rest:
        if word in _SIDES:
            search = replace(search, sides=_SIDES[word])
        elif word in _SPACE:
            search = replace(search, columns=(*search.columns, ("security", (_SPACE[word],))))
        elif word == "solo":
            search = _flagged(search, word, is_so=True)
        elif word in _IGNORED:
            continue
        elif (value := next(rest, None)) is None:
            raise BadSearch(f"“{word[:40]}” is no modifier of this API, or lacks its value")
        elif word in PARTIES:
            parties[PARTIES[word]] = _ids(word, value)
        elif word in COLUMNS:
            search = replace(search, columns=(*search.columns, (COLUMNS[word], _ids(word, value))))
        elif word in _FLAGS:
            search = _flagged(search, word, is_so=_number(word, value, 0, 1) == 1)
        elif word == "page":
            search = replace(search, page=_number(word, value, 1, MOST_PAGES))
        elif word == "limit":
            search = replace(search, limit=_number(word, value, 1, MOST))
        elif word == "pastSeconds":
            search = replace(search, start=now - timedelta(seconds=_number(word, value, 1, MOST_SECONDS)))
        elif word == "year":
            year = _number(word, value, FIRST_YEAR, LAST_YEAR)
        elif word == "month":
            month = _number(word, value, 1, 12)
        elif word == "startTime":
            search = replace(search, start=_moment(word, value))
        elif word == "endTime":
            search = replace(search, end=_moment(word, value))
        elif word == "beforeKillID":
            search = replace(search, before_id=_number(word, value, 0, 2**63 - 1))
        elif word == "afterKillID":
            search = replace(search, after_id=_number(word, value, 0, 2**63 - 1))
        elif word == "orderDirection" and value in ("asc", "desc"):
            search = replace(search, is_ascending=value == "asc")
        else:
            raise BadSearch(f"“{word[:40]}” is no modifier of this API")
    if year is not None:
        search = replace(search, start=_first_of(year, month or 1), end=_first_of(year, (month or 12) + 1))
    elif month is not None:
        raise BadSearch("month comes with year")
    ordered = tuple((kind, parties[kind]) for kind in dict.fromkeys(PARTIES.values()) if kind in parties)
    return replace(search, parties=ordered)


def read_subject(kind: str, value: str) -> Search:
    """The search for everything of one party or place, for statistics.

    Raises:
        BadSearch: there are no statistics of that.
    """
    number = (_number(kind, value, 1, 2**63 - 1),)
    if kind in PARTIES:
        return Search(parties=((PARTIES[kind], number),))
    if kind in COLUMNS and kind not in ("warID", "killID"):
        # A place has no side: what happened there was destroyed there.
        return Search(columns=((COLUMNS[kind], number),), sides=ATTACKER_SIDE)
    raise BadSearch(f"there are no statistics of “{kind[:40]}”")


def read_day(name: str) -> datetime:
    """The first moment of the day that `20260818.json` names.

    Raises:
        BadSearch: it names none.
    """
    try:
        if len(name) != len("20260818.json") or not name.endswith(".json"):
            raise ValueError
        day = datetime.strptime(name.removesuffix(".json"), "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        raise BadSearch("a day is written as in 20260818.json") from None
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise BadSearch(f"there are days of the years {FIRST_YEAR} to {LAST_YEAR}")
    return day


def _flagged(search: Search, column: str, *, is_so: bool) -> Search:
    return replace(search, flags=(*search.flags, (column, is_so)))


def _first_of(year: int, month: int) -> datetime:
    return datetime(year + (month - 1) // 12, (month - 1) % 12 + 1, 1, tzinfo=UTC)


def _number(word: str, text: str, least: int, most: int) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 19 and least <= int(text) <= most:
        return int(text)
    raise BadSearch(f"{word} is a whole number from {least} to {most}")


def _ids(word: str, text: str) -> tuple[int, ...]:
    ids = tuple(dict.fromkeys(_number(word, each, 1, 2**63 - 1) for each in text.split(",") if each))
    if not 1 <= len(ids) <= MOST_IDS:
        raise BadSearch(f"{word} takes 1 to {MOST_IDS} ids, separated by commas")
    return ids


def _moment(word: str, text: str) -> datetime:
    try:
        if len(text) != len("202608181100"):
            raise ValueError
        return datetime.strptime(text, "%Y%m%d%H%M").replace(tzinfo=UTC)
    except ValueError:
        raise BadSearch(f"{word} is written as in 202608181100") from None
