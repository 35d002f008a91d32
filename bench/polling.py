"""`make bench-polling`: how fresh killmails are for how many requests, under four rules and five shapes of activity.

Requests are those to ESI's lists and refreshes at the SSO together. Seeded: the same code gives the same figures.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

from bench.activity import SHAPES
from bench.polling_ours import Ours
from bench.polling_rules import AllKnowing, Fixed, Zkillboard
from bench.polling_world import Outcome, simulate
from killsync.settings import Settings

CHARACTERS, SEEDS = 20_000, (1, 2, 3)
#: Worlds that are simulated at the same time.
PROCESSES = 2
#: Staleness at zKillboard's requests as a part of zKillboard's.
GOALS = {"small gangs": 0.25, "fleets": 0.6, "lone wolves": 0.5}
#: The part of those who fight who look at the page before or meanwhile, in the line that shows what logins tell; assumed.
LOGINS = 0.5
#: Where the search for zKillboard's requests begins, seconds.
NEAR = 40_000.0


def run(_options: Any) -> dict[str, Any]:
    """Figures of each world; printed as each is done, since all of them take a while."""
    tasks = [(shape, seed) for shape in SHAPES for seed in SEEDS]
    figures: dict[str, Any] = {}
    with ProcessPoolExecutor(PROCESSES) as pool:
        for (shape, seed), found in zip(tasks, pool.map(_measured, *zip(*tasks, strict=True)), strict=True):
            figures |= {f"{shape}, seed {seed}: {rule}": figure for rule, figure in found.items()}
            print(f"{shape}, seed {seed}: {found['ratios']}", flush=True)
    return figures


def _measured(shape: str, seed: int) -> dict[str, Any]:
    """One world: the ratios to zKillboard, and what they are in seconds and requests."""
    activity = SHAPES[shape](np.random.default_rng(seed), CHARACTERS)
    default = float(Settings.model_fields["sync_busy_gap_seconds"].default)
    rival = simulate(activity, Zkillboard())

    def cost(found: Outcome) -> float:
        return found.cost / rival.cost

    gap, same = _meet(lambda gap: simulate(activity, Ours(gap)), cost)
    _, perfect = _meet(lambda gap: simulate(activity, AllKnowing(gap)), cost)
    return {
        "ratios": {
            "mean": round(same.mean / rival.mean, 2),
            "p95": round(same.p95 / rival.p95, 2),
            "goal for the mean": GOALS.get(shape),
            "requests": round(cost(same), 2),
            "all-knowing mean": round(perfect.mean / rival.mean, 2),
            "all-knowing p95": round(perfect.p95 / rival.p95, 2),
            "all-knowing requests": round(cost(perfect), 2),
        },
        "zKillboard": _figure(rival),
        f"Killsync, zKillboard's requests ({gap:.0f} s)": _figure(same),
        f"Killsync, by default ({default:.0f} s)": _figure(simulate(activity, Ours(default))),
        f"Killsync, the same where {LOGINS:.0%} log in": _figure(simulate(activity, Ours(gap, logins=LOGINS))),
        "all-knowing, zKillboard's requests": _figure(perfect),
        "fixed, zKillboard's requests": _figure(simulate(activity, Fixed(2 * 3600.0 * CHARACTERS / rival.cost))),
    }


def _meet(rule: Callable[[float], Outcome], cost: Callable[[Outcome], float]) -> tuple[float, Outcome]:
    """The busy gap at which *cost* is 1 within two per cent, or one near its end if there is none; cost grows like its root."""
    gap, found = NEAR, rule(NEAR)
    for _ in range(6):
        off = cost(found)
        if abs(off - 1) < 0.02 or not 60.0 < gap < 1e8:
            break
        gap *= off**-2
        found = rule(gap)
    return gap, found


def _figure(found: Outcome) -> dict[str, int]:
    return {
        "mean s": round(found.mean),
        "median s": round(found.median),
        "p95 s": round(found.p95),
        "requests/h": round(found.requests),
        "refreshes/h": round(found.refreshes),
        "together/h": round(found.cost),
    }
