"""What of the simulator can be set, and its clock."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class SimulatorConfig:
    """Settings of one simulator.

    Attributes:
        seed: the universe; the same seed gives the same universe but for the moment it is anchored at.
        characters: pilots, demo characters included.
        kills: list length wanted for each of the first characters; the others get what fights bring them.
        days: how far back kills reach, and how long a list names them.
        page_size: items on a page of killmails/recent.
        past_end: "404" or "empty", what a page after the last one answers.
        list_cache_seconds: how long ESI serves a page of a list from its cache.
        new_kill_interval: seconds between kills that arrive by themselves; 0 for none.
        limits: whether token buckets and the error limit are enforced.
        latency: seconds before each answer.
        speed: simulated seconds in a real one.
        clients: client secrets by client id.
        access_token_seconds: life of an access token, real seconds.
        rotate_refresh_tokens: whether a refresh gives a new refresh token and ends the old one.
        most_refreshes: refreshes at a time before the SSO answers 500.
        issuer: the `iss` claim.
        trust_source_header: take the client's address from `X-Sim-Source-Ip` when it is sent.
        many_items: killmails of benchmark size (12 items, 6 attackers on average) instead of a mix of oddities.
        hostile_names: some pilots and a corporation have names that try to do harm where they are shown.
    """

    seed: int = 1
    characters: int = 60
    kills: tuple[int, ...] = (340, 120, 60)
    days: int = 90
    page_size: int = 50
    past_end: str = "404"
    list_cache_seconds: float = 300.0
    new_kill_interval: float = 0.0
    limits: bool = True
    latency: float = 0.0
    speed: float = 1.0
    clients: dict[str, str] = field(default_factory=lambda: {"simulator-client": "simulator-secret"})
    access_token_seconds: float = 1200.0
    rotate_refresh_tokens: bool = True
    most_refreshes: int = 5
    issuer: str = "https://login.eveonline.com"
    trust_source_header: bool = True
    many_items: bool = False
    hostile_names: bool = False


class Clock:
    """Simulated time: runs at `speed` and can be moved forward."""

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed
        self._started = time.time()
        self._moved = 0.0

    def now(self) -> float:
        """Epoch seconds."""
        return self._started + (time.time() - self._started) * self._speed + self._moved

    def advance(self, seconds: float) -> None:
        """Move time forward."""
        self._moved += seconds
