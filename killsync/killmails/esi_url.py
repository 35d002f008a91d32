"""Reading the address of a killmail at ESI, in any spelling it ever had. Pure; nothing is ever fetched from the address."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from killsync.settings import REAL_ESI

_PATH = re.compile(r"(?:/(?:v[0-9]{1,3}|latest|legacy|dev))?/killmails/([0-9]{1,19})/([0-9a-fA-F]{40})/?")


class BadUrl(ValueError):
    """It is not the address of a killmail at ESI; the text says what one looks like."""


class EsiKillmail(NamedTuple):
    """What an address names."""

    killmail_id: int
    killmail_hash: str


def parse(url: str, esi_url: str) -> EsiKillmail:
    """The killmail that an address at ESI names: with or without version, trailing slash and query.

    Args:
        url: what a person pasted.
        esi_url: the ESI in use; the public one's addresses are understood as well, since the game copies those.

    Raises:
        BadUrl: another host, or another kind of address.
    """
    text = url.strip()
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        host = (parts.hostname or "", parts.port)
    except ValueError:
        raise BadUrl("this is no address") from None
    known = {(split.hostname or "", split.port) for split in (urlsplit(esi_url), urlsplit(REAL_ESI))}
    if len(text) > 500 or parts.scheme not in ("http", "https") or parts.username or host not in known:
        raise BadUrl(f"only addresses of {urlsplit(esi_url).netloc} are taken, such as {esi_url}/killmails/ID/HASH")
    match = _PATH.fullmatch(parts.path)
    if match is None or int(match[1]) >= 2**63:
        raise BadUrl(f"a killmail's address looks like {esi_url}/killmails/ID/HASH")
    return EsiKillmail(int(match[1]), match[2].lower())
