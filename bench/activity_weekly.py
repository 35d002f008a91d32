"""Operations that come back each week at the same hour. Assumed, not measured; nothing here knows of a polling rule."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HOUR, DAY = 3600.0, 86_400.0
WEEK = 7 * DAY
#: The part of the weeks in which a weekly operation is held, and the deviation of its begin from its hour, seconds.
HELD, JITTER = 0.8, 600.0


def with_weekly(rng: np.random.Generator, leader: Ints, start: Floats, hour: Floats, part: float,
                span: tuple[float, float]) -> tuple[Ints, Floats]:  # fmt: skip
    """Replace a *part* of the operations by about as many that come back each week.

    Each of these has its leader, its day of the week and a full hour near the one at which their corporation plays.

    Args:
        leader, start: of each operation, a character and seconds; in no order.
        hour: of each character, at which their corporation plays.
        span: moments between which operations begin, seconds.
    Returns:
        leader, start: of the operations that are left, and of the weekly ones after them.
    """
    begin, end = span
    replaced = round(part * len(leader))
    slot = leader[: round(replaced * WEEK / (HELD * (end - begin)))]
    of_day = np.round(hour[slot] + rng.normal(0.0, 3.0, len(slot))) % 24 * HOUR
    of_week = rng.integers(0, 7, len(slot)) * DAY + of_day
    weeks = np.arange(np.floor(begin / WEEK), np.ceil(end / WEEK)) * WEEK
    moments = of_week[:, None] + weeks + rng.normal(0.0, JITTER, (len(slot), len(weeks)))
    held = (rng.random(moments.shape) < HELD) & (moments >= begin) & (moments < end)
    again = np.repeat(slot, held.sum(axis=1))
    return np.concatenate((leader[replaced:], again)), np.concatenate((start[replaced:], moments[held]))
