"""The filter of a list of killmails as an address says it: `/?corporation=98000001&side=losses&security=low,null&mine=1`.

Reads and writes query strings: what a list and its page offer here, other clauses in `killsync.killmails.filter_forms`. That an
id exists is found out by who asks for its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from killsync.killmails.filter import BOTH_SIDES, KillmailFilter
from killsync.killmails.filter_forms import CLAUSES, OWN, BadFilter, from_address, to_address, to_graphql
from killsync.killmails.own import own_of
from killsync.killmails.summaries import Viewpoint
from killsync.names.entities import ENTITY_KINDS
from models.killmails import ATTACKER_SIDE, CHARACTER, VICTIM_SIDE

#: Words of an address, the side they choose, and the same in GraphQL.
SIDES = {"kills": (ATTACKER_SIDE, "ATTACKER"), "losses": (VICTIM_SIDE, "VICTIM")}
#: Words of the clauses that go together: one is not taken away without the others.
_TOGETHER = ("near", "jumps", "light-years")
_MOST_CURSOR = 300


class BadAddress(ValueError):
    """The address asks for something that cannot be; the text says what."""


def read_id(text: str, what: str) -> int:
    """An id as an address writes it.

    Raises:
        BadAddress: it is no whole number of at most 63 bits.
    """
    if text.isascii() and text.isdigit() and len(text) <= 19 and int(text) < 2**63:
        return int(text)
    raise BadAddress(f"“{text[:40]}” is no id of a {what}.")


@dataclass(frozen=True)
class Chosen:
    """Which killmails a page shows. `ids` by word of the address, `about`: the word that the page itself is about; `more`: other
    clauses as the address says them.
    """

    ids: dict[str, int] = field(default_factory=dict)
    side: str | None = None
    is_mine: bool = False
    about: str | None = None
    more: tuple[tuple[str, str], ...] = ()

    @property
    def is_everything(self) -> bool:
        return not (self.ids or self.is_mine or self.more)

    @property
    def has_party(self) -> bool:
        """Whether a side means anything: somebody stands on it."""
        return self.needs_own or any(ENTITY_KINDS[word].involvement is not None for word in self.ids)

    @property
    def needs_own(self) -> bool:
        """Whether it asks for what is the reader's own: a visitor has to log in first."""
        return self.is_mine or any(word in dict(self.more) for _, _, word, _ in OWN)

    def filter(self, mine: tuple[int, ...] | None) -> KillmailFilter:
        """The same for the database; *mine* are the reader's characters, None for a visitor. Reads what is near, and whose."""
        ids: dict[str, Any] = {ENTITY_KINDS[word].field: number for word, number in self.ids.items()}
        sides = SIDES[self.side][0] if self.side else BOTH_SIDES
        own = own_of(mine or ()) if self.needs_own else None
        more = from_address(dict(self.more), own)
        return replace(more, **ids, sides=sides, mine=own.characters if own and self.is_mine else None)

    def variables(self) -> dict[str, Any]:
        """The same as GraphQL's KillmailFilter, for the page's subscription."""
        names = {"character": "characterId", "corporation": "corporationId", "alliance": "allianceId",
                 "ship": "shipTypeId", "group": "shipGroupId", "system": "systemId", "constellation": "constellationId",
                 "region": "regionId"}  # fmt: skip
        given: dict[str, Any] = {names[word]: str(number) for word, number in self.ids.items()}
        if self.side:
            given["side"] = SIDES[self.side][1]
        if self.is_mine:
            given["mine"] = True
        return given | to_graphql(from_address(dict(self.more), located=False))

    def viewpoint(self, mine: tuple[int, ...] | None) -> Viewpoint | None:
        """Whose kills and losses are marked: the one party's that the list is about, else the reader's."""
        involved = ((ENTITY_KINDS[word].involvement, number) for word, number in self.ids.items())
        parties = [(kind, number) for kind, number in involved if kind is not None]
        if len(parties) == 1 and not self.is_mine:
            kind, number = parties[0]
            return Viewpoint(kind, (number,))
        return Viewpoint(CHARACTER, mine) if mine else None

    def pairs(self) -> list[tuple[str, str]]:
        """The parts of the query string but for what the page is about."""
        found = [(word, str(number)) for word, number in self.ids.items() if word != self.about]
        return [
            *found,
            *self.more,
            *([("side", self.side)] if self.side else []),
            *([("mine", "1")] if self.is_mine else []),
        ]

    def query(self, **more: str) -> str:
        """The query string, beginning with `?` unless it is empty."""
        text = urlencode([*self.pairs(), *more.items()])
        return f"?{text}" if text else ""

    def full_query(self) -> str:
        """The query string with what the page itself is about."""
        about = [(self.about, str(self.ids[self.about]))] if self.about else []
        text = urlencode([*about, *self.pairs()])
        return f"?{text}" if text else ""

    def rows_query(self, **more: str) -> str:
        """The query string by which `/killmails/rows` gives more of the same."""
        about = [("about", self.about), (self.about, str(self.ids[self.about]))] if self.about else []
        return "?" + urlencode([*about, *self.pairs(), *more.items()])

    def with_id(self, word: str, number: int) -> Chosen:
        """The same with one more condition."""
        return replace(self, ids={**self.ids, word: number})

    def without(self, word: str) -> Chosen:
        """The same without the condition."""
        words = _TOGETHER if word in _TOGETHER else (word,)
        left = replace(
            self,
            ids={each: number for each, number in self.ids.items() if each != word},
            more=tuple(pair for pair in self.more if pair[0] not in words),
        )
        return left if left.has_party else replace(left, side=None)

    def on_side(self, side: str | None) -> Chosen:
        return replace(self, side=side)

    def of_mine(self, is_mine: bool) -> Chosen:
        changed = replace(self, is_mine=is_mine)
        return changed if changed.has_party else replace(changed, side=None)


def read(query: Mapping[str, str], about: tuple[str, int] | None = None) -> Chosen:
    """The filter of a query string; *about* is the word and id of what the page itself is about.

    Raises:
        BadAddress: an id or side is none.
    """
    ids = {word: read_id(query[word], kind.noun.lower()) for word, kind in ENTITY_KINDS.items() if query.get(word)}
    word = query.get("about") if about is None else about[0]
    if about is not None:
        ids[about[0]] = about[1]
    if word is not None and word not in ids:
        raise BadAddress(f"“{word[:40]}” is nothing that a page can be about.")
    side = query.get("side") or None
    if side is not None and side not in SIDES:
        raise BadAddress("A side is kills or losses.")
    words = {clause.word for clause in CLAUSES} | {"my-corporation", "my-alliance"}
    words -= {*ENTITY_KINDS, "side"}
    try:
        more = from_address({each: query[each] for each in words if query.get(each)}, located=False)
    except BadFilter as error:
        raise BadAddress(f"{error}.") from None
    return Chosen(ids, side, query.get("mine") == "1", word, tuple(to_address(more)))


def read_after(query: Mapping[str, str]) -> str | None:
    """The cursor of a query string."""
    after = query.get("after") or None
    if after is not None and len(after) > _MOST_CURSOR:
        raise BadAddress("This address is not whole.")
    return after
