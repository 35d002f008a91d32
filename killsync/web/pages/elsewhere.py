"""Where else something is shown: links to zKillboard, Dotlan and EveWho. Pure."""

from __future__ import annotations

from urllib.parse import quote

ZKILLBOARD, DOTLAN, EVEWHO = "https://zkillboard.com", "https://evemaps.dotlan.net", "https://evewho.com"
#: How zKillboard calls a kind of page, by the words of ours.
_ZKILLBOARD = {
    "character": "character", "corporation": "corporation", "alliance": "alliance", "ship": "ship", "group": "group",
    "system": "system", "constellation": "constellation", "region": "region",
}  # fmt: skip
#: How Dotlan does, whose addresses have names.
_DOTLAN = {"corporation": "corp", "alliance": "alliance", "system": "system", "region": "map"}
_EVEWHO = ("character", "corporation", "alliance")


def links(word: str, entity_id: int, name: str | None, *, is_flown: bool = True) -> list[tuple[str, str]]:
    """(site, address) of each site that has a page of it.

    Args:
        word: the kind of page (`killsync.names.entities.ENTITY_KINDS`).
        entity_id: whose page it is.
        name: its name, if it is known.
        is_flown: false for a type that is neither a ship nor anything else that fights or is lost.
    """
    found = []
    if word in _ZKILLBOARD:
        kind = _ZKILLBOARD[word] if is_flown else "item"
        found.append(("zKillboard", f"{ZKILLBOARD}/{kind}/{entity_id}/"))
    if word in _DOTLAN and name:
        found.append(("Dotlan", f"{DOTLAN}/{_DOTLAN[word]}/{quote(name.replace(' ', '_'), safe='')}"))
    if word in _EVEWHO:
        found.append(("EveWho", f"{EVEWHO}/{word}/{entity_id}"))
    return found


def killmail(killmail_id: int) -> str:
    """The address of a killmail at zKillboard."""
    return f"{ZKILLBOARD}/kill/{killmail_id}/"
