"""ESI's routes as Killsync uses them: which bucket each belongs to, and how large an answer may be.

Limits are those of ESI's OpenAPI document of compatibility date 2026-08-18 (`x-rate-limit`); headers override them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

QUARTER_HOUR = 900.0

#: What a response costs, by the first digit of its status: https://developers.eveonline.com/docs/services/esi/rate-limiting/
TOKENS = {2: 2, 3: 1, 4: 5, 5: 0}


@dataclass(frozen=True)
class Route:
    """A route: its name in figures and metrics, its token group if it has one, and the most bytes of an answer."""

    name: str
    group: str | None
    limit: int
    window: float
    most_bytes: int


CHARACTER_KILLMAILS = Route("character killmails", "char-killmail", 30, QUARTER_HOUR, 1_000_000)
CORPORATION_KILLMAILS = Route("corporation killmails", "corp-killmail", 30, QUARTER_HOUR, 1_000_000)
#: The largest fights had some 6,000 attackers at about 250 bytes each.
KILLMAIL = Route("killmail", "killmail", 3600, QUARTER_HOUR, 4_000_000)
STATUS = Route("status", "status", 600, QUARTER_HOUR, 10_000)
NAMES = Route("names", None, 0, 0, 1_000_000)
AFFILIATION = Route("affiliation", None, 0, 0, 1_000_000)
CHARACTER = Route("character", None, 0, 0, 200_000)
CORPORATION = Route("corporation", None, 0, 0, 200_000)
ALLIANCE = Route("alliance", None, 0, 0, 200_000)
#: Some 20,000 types at 80 bytes each.
PRICES = Route("prices", None, 0, 0, 8_000_000)
ROLES = Route("roles", None, 0, 0, 200_000)


def cost(status: int) -> int:
    """Tokens that a response of *status* costs; a 429 itself costs nothing."""
    return 0 if status == 429 else TOKENS.get(status // 100, 0)


@lru_cache(maxsize=64)
def parse_limit(text: str) -> tuple[int, float] | None:
    """`X-Ratelimit-Limit`, such as `3600/15m`, as (tokens, seconds); None when it is not understood."""
    match = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,5})\s*([smhd])\s*", text)
    if not match or not int(match[1]) or not int(match[2]):
        return None
    return int(match[1]), int(match[2]) * {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}[match[3]]
