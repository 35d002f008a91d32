"""How everything stands, as a value: what `killsync status --json` prints and /ops and /metrics show. The keys are promised."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from killsync.broker.figures import QueueStat


class Users(Struct):
    """Users by token health."""

    active: int = 0
    needs_login: int = 0
    disabled: int = 0


class DueUsers(Struct):
    """Users who wait for their sync: all, those who wait for long, and how long the first has, seconds."""

    due: int
    late: int
    latest_seconds: int | None


class OldestPending(Struct):
    """The killmail that has waited longest to be fetched."""

    killmail_id: int
    since: str = ""
    seconds: int | None = None
    attempts: int = 0
    last_error: str | None = None


class Budget(Struct):
    """A token bucket of ESI."""

    bucket: str
    limit: int = 0
    left: int = 0
    used: int = 0
    blocked_seconds: int = 0


class CharacterBudgets(Struct):
    """The token buckets of characters, in sum."""

    known: int = 0
    empty: int = 0
    blocked: int = 0
    least_left: int | None = None


class Gate(Struct):
    """What holds for every route of ESI."""

    blocked_seconds: int = 0
    failures: int = 0
    errors_left: int = 100


class Sso(Struct):
    """How long EVE SSO has refused everybody, and when it is tried again, seconds; None while it does not."""

    #: Active users whose token it refused, maybe for good.
    doubted: int = 0
    trouble_seconds: int | None = None
    next_probe_seconds: int | None = None


class Names(Struct):
    """The kinds of names that ESI refuses in bulk, for how long already, and how many names are unknown altogether."""

    trouble: list[str] = []
    trouble_seconds: int | None = None
    unnamed: int = 0


class Spent(Struct):
    """What was ever asked of a route of ESI with one outcome."""

    route: str
    outcome: str
    requests: int
    tokens: int


class Rates(Struct):
    """What the figures by the minute say of the last minutes and the last hour."""

    killmails_per_minute: float = 0.0
    killmails_last_hour: int = 0
    requests_per_minute: float = 0.0
    requests_last_hour: int = 0
    tokens_per_minute: float = 0.0
    tokens_last_hour: int = 0
    #: Of the polls that ESI answered: how many said that there is no news.
    unchanged_share: float | None = None
    requests_last_quarter: int = 0
    failures_last_quarter: int = 0
    errors_last_hour: dict[str, int] = field(default_factory=dict)
    webhooks_last_hour: dict[str, int] = field(default_factory=dict)


class Run(Struct):
    """A sync run."""

    id: int
    character: str
    status: str
    found: int
    saved: int
    skipped: int
    errors: int
    requests: int
    tokens: int
    started_at: datetime
    finished_at: datetime | None
    error: str | None


class Syncs(Struct):
    """How the newest sync of each list stands, of the lists synced lately: how many failed or wait for long, and mostly why."""

    looked_at: int = 0
    failing: int = 0
    failing_reason: str = ""
    waiting: int = 0
    waiting_reason: str = ""


class Corporation(Struct):
    """A corporation whose list is read."""

    corporation_id: int
    corporation: str | None
    director: str | None
    members: int
    last_sync_at: datetime | None
    next_sync_at: datetime | None
    works: bool


class Webhooks(Struct):
    """Webhooks by state, and the messages that wait for the active ones."""

    active: int = 0
    paused: int = 0
    disabled: int = 0
    failing: int = 0
    waiting: int = 0
    oldest_seconds: int | None = None


class Problem(Struct, frozen=True):
    """One thing that is not as it should be. `bad` stops the work, `warn` slows it or a part of it."""

    severity: Literal["bad", "warn"]
    name: str
    text: str
    what_to_do: str


class Overview(Struct, kw_only=True):
    """Everything. `broker` is there only when the broker does not answer, and says why."""

    at: str = ""
    #: Milliseconds that the database took for an empty question.
    database_ms: float = 0.0
    users: Users = field(default_factory=Users)
    due_users: int = 0
    late_users: int = 0
    latest_seconds: int | None = None
    killmails: int = 0
    ledger: dict[str, int] = field(default_factory=dict)
    oldest_pending: OldestPending | None = None
    budgets: list[Budget] = []
    character_budgets: CharacterBudgets = field(default_factory=CharacterBudgets)
    gate: Gate = field(default_factory=Gate)
    sso: Sso = field(default_factory=Sso)
    names: Names = field(default_factory=Names)
    esi_spent: list[Spent] = []
    rates: Rates = field(default_factory=Rates)
    last_runs: list[Run] = []
    syncs: Syncs = field(default_factory=Syncs)
    corporations: list[Corporation] = []
    corporation_lists: dict[str, int] = field(default_factory=dict)
    webhooks: Webhooks = field(default_factory=Webhooks)
    scheduler_seen_seconds: int | None = None
    #: A broker in memory is seen by its own process alone.
    broker_in_memory: bool = False
    queues: list[QueueStat] = []
    broker: str | UnsetType = UNSET
    problems: list[Problem] = []

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data; moments stay `datetime`."""
        data: dict[str, Any] = msgspec.to_builtins(self, builtin_types=(datetime,))
        return data
