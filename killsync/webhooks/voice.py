"""How a tracker speaks: its title, colour, whom it pings and in which thread. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Whom a message can ping, beside a role by its id.
NOBODY, HERE, EVERYONE = "", "here", "everyone"
ROLE = "role:"
MOST_TITLE = 100
_SNOWFLAKE = re.compile(r"[0-9]{5,20}")


class BadVoice(ValueError):
    """A tracker cannot speak so; the text says what to mend."""


@dataclass(frozen=True)
class Voice:
    """How a tracker speaks.

    Attributes:
        name: what its owner calls it.
        title: stands above each message; empty for none.
        color: of the bar beside a message on Discord, 0xRRGGBB; None for the colours of kills and losses.
        ping: NOBODY, HERE, EVERYONE, or `role:` and the id of a role.
        thread_id: the thread of a channel of Discord; empty for the channel itself.
    """

    name: str = ""
    title: str = ""
    color: int | None = None
    ping: str = NOBODY
    thread_id: str = ""

    @property
    def role_id(self) -> str | None:
        """The role that is pinged, if one is."""
        return self.ping.removeprefix(ROLE) if self.ping.startswith(ROLE) else None


def read_color(text: str) -> int | None:
    """A colour as a browser writes it, `#rrggbb`; empty for none.

    Raises:
        BadVoice: it is none.
    """
    digits = text.strip().removeprefix("#")
    if not digits:
        return None
    if not re.fullmatch(r"[0-9a-fA-F]{6}", digits):
        raise BadVoice("Colour: write it as # and six digits, such as #b0392b.")
    return int(digits, 16)


def written_color(color: int | None) -> str:
    """The same, written."""
    return "" if color is None else f"#{color:06x}"


def read_ping(whom: str, role: str) -> str:
    """Whom to ping; *role* is the id of a role, where that is chosen.

    Raises:
        BadVoice: it is nobody that can be pinged.
    """
    if whom in (NOBODY, HERE, EVERYONE):
        return whom
    number = role.strip().removeprefix("<@&").removesuffix(">")
    if whom != "role" or not _SNOWFLAKE.fullmatch(number):
        raise BadVoice(
            "Ping: enter the id of the role (Discord: developer mode, right click on the role, Copy Role ID)."
        )
    return ROLE + number


def read_thread(text: str) -> str:
    """The id of a thread; empty for none.

    Raises:
        BadVoice: it is no id.
    """
    text = text.strip()
    if text and not _SNOWFLAKE.fullmatch(text):
        raise BadVoice(
            "Thread: enter its id, a number (Discord: developer mode, right click on the thread, Copy Thread ID)."
        )
    return text
