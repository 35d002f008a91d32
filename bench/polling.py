"""`make bench-polling`: how fresh killmails are for how many requests, under four rules and four shapes of activity.

Requests are those to ESI's lists and refreshes at the SSO together. Seeded; writes docs/images/polling.svg.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any

import numpy as np

from bench.activity import SHAPES
from bench.polling_ours import Ours
from bench.polling_plot import Curve, plot
from bench.polling_rules import AllKnowing, Fixed, Zkillboard
from bench.polling_world import Outcome, simulate
from killsync.settings import Settings, project_root

CHARACTERS, SEEDS = 20_000, (1, 2, 3)
#: Worlds that are simulated at the same time.
PROCESSES = 2
#: Staleness at zKillboard's requests as a part of zKillboard's.
GOALS = {"small gangs": 0.25, "fleets": 0.6, "lone wolves": 0.5}
#: Busy gaps and fixed intervals for the curves of the plot, seconds.
GAPS, INTERVALS = (1_350.0, 3_600.0, 43_200.0), (1_500.0, 7_500.0)


def run(_options: Any) -> dict[str, Any]:
    """Figures of each shape; the plot is written on the way."""
    tasks = [(shape, seed) for shape in SHAPES for seed in SEEDS]
    with ProcessPoolExecutor(PROCESSES) as pool:
        found = dict(zip(tasks, pool.map(_measured, *zip(*tasks, strict=True)), strict=True))
    first = {shape: found[shape, SEEDS[0]] for shape in SHAPES}
    plot(project_root() / "docs" / "images" / "polling.svg", {name: curves for name, (_, curves) in first.items()})
    return {
        f"{shape}, seed {seed}: {rule}": figure
        for (shape, seed), (figures, _) in found.items()
        for rule, figure in figures.items()
    }


def _measured(shape: str, seed: int) -> tuple[dict[str, Any], list[Curve]]:
    """One world: the ratios to zKillboard, and for the first seed everything that the plot and the tables show."""
    activity = SHAPES[shape](np.random.default_rng(seed), CHARACTERS)

    @cache
    def ours(busy_gap: float) -> Outcome:
        return simulate(activity, Ours(busy_gap))

    rival = simulate(activity, Zkillboard())
    default = float(Settings.model_fields["sync_busy_gap_seconds"].default)
    gap_cost, same_cost = _meet(ours, default, lambda found: found.cost / rival.cost, 0.5)
    _, perfect = _meet(
        lambda gap: simulate(activity, AllKnowing(gap)), default, lambda found: found.cost / rival.cost, 0.5
    )
    figures = {
        "zKillboard": _figure(rival),
        f"Killsync, zKillboard's requests ({gap_cost:.0f} s)": _figure(same_cost),
        "all-knowing, zKillboard's requests": _figure(perfect),
        "ratios": {
            "staleness at the same requests": round(same_cost.mean / rival.mean, 2),
            "p95 at the same requests": round(same_cost.p95 / rival.p95, 2),
            "all-knowing": round(perfect.mean / rival.mean, 2),
            "requests": round(same_cost.cost / rival.cost, 2),
            "goal": GOALS.get(shape),
        },
    }
    if seed != SEEDS[0]:
        return figures, []
    by_default, every_five = ours(default), simulate(activity, Fixed(300.0))
    gap_mean, same_mean = _meet(ours, default, lambda found: found.mean / rival.mean, -0.7)
    figures |= {
        "fixed, 5 minutes": _figure(every_five),
        "fixed, zKillboard's requests": _figure(simulate(activity, Fixed(2 * 3600.0 * CHARACTERS / rival.cost))),
        f"Killsync, by default ({default:.0f} s)": _figure(by_default),
        f"Killsync, zKillboard's staleness ({gap_mean:.0f} s)": _figure(same_mean),
    }
    ours_curve = sorted([ours(gap) for gap in GAPS] + [by_default, same_cost, same_mean], key=lambda found: found.cost)
    fixed_curve = [every_five, *(simulate(activity, Fixed(seconds)) for seconds in INTERVALS)]
    return figures, [Curve("fixed interval", fixed_curve), Curve("Killsync", ours_curve), Curve("zKillboard", [rival])]


def _meet(
    rule: Callable[[float], Outcome], start: float, ratio: Callable[[Outcome], float], power: float
) -> tuple[float, Outcome]:
    """The knob at which the ratio is 1, within two per cent, by its guessed power law; or one near its end, if there is none."""
    gap, found = start, rule(start)
    for _ in range(6):
        off = ratio(found)
        if abs(off - 1) < 0.02 or not 60.0 < gap < 1e8:
            break
        gap *= off ** (-1 / power)
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
