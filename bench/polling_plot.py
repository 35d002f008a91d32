"""The plot of `make bench-polling`, as SVG: requests an hour against mean staleness, both on logarithmic axes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from bench.polling_world import Outcome

WIDTH, HEIGHT, GAP, LEFT, TOP = 300, 260, 40, 70, 46
X, Y = (2_000.0, 500_000.0), (60.0, 20_000.0)
COLORS = {"fixed interval": "#8a8f98", "Killsync": "#1f6feb", "zKillboard": "#c9372c"}


@dataclass(frozen=True)
class Curve:
    """A rule at several budgets; one point for a rule without a knob."""

    name: str
    points: list[Outcome]


def plot(path: Path, shapes: dict[str, list[Curve]]) -> None:
    """Write one panel for each shape, side by side."""
    total = LEFT + len(shapes) * (WIDTH + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {TOP + HEIGHT + 64}" '
        'font-family="system-ui, sans-serif" font-size="12" role="img">',
        "<title>Mean staleness of a killmail against requests an hour</title>",
        f'<rect width="{total}" height="{TOP + HEIGHT + 64}" fill="#ffffff"/>',
    ]
    for position, (name, curves) in enumerate(shapes.items()):
        parts += _panel(LEFT + position * (WIDTH + GAP), name, curves, is_first=position == 0)
    for position, (name, color) in enumerate(COLORS.items()):
        x = LEFT + position * 130
        parts.append(
            f'<circle cx="{x + 5}" cy="16" r="4" fill="{color}"/><text x="{x + 14}" y="20">{escape(name)}</text>'
        )
    parts.append(
        f'<text x="{total / 2}" y="{TOP + HEIGHT + 52}" text-anchor="middle">requests to ESI and the SSO an hour</text>'
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*parts, "</svg>"]) + "\n")


def _panel(left: float, name: str, curves: list[Curve], *, is_first: bool) -> list[str]:
    parts = [
        f'<text x="{left + WIDTH / 2}" y="{TOP - 8}" text-anchor="middle" font-weight="600">{escape(name)}</text>',
        f'<rect x="{left}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#c8ccd2"/>',
    ]
    for value in (10_000, 100_000):
        x = _x(left, value)
        parts.append(f'<path d="M{x:.1f} {TOP}V{TOP + HEIGHT}" stroke="#eceef1"/>')
        parts.append(f'<text x="{x:.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{value // 1000:,}k</text>')
    for value, label in ((60, "1 min"), (300, "5 min"), (900, "15 min"), (3600, "1 h"), (14_400, "4 h")):
        y = _y(value)
        parts.append(f'<path d="M{left} {y:.1f}h{WIDTH}" stroke="#eceef1"/>')
        if is_first:
            parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    for curve in curves:
        color = COLORS[curve.name]
        points = [(_x(left, point.cost), _y(point.mean)) for point in curve.points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        if len(points) > 1:
            parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="1.5"/>')
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{3 if len(points) > 1 else 5}" fill="{color}"/>' for x, y in points
        ]
    return parts


def _x(left: float, value: float) -> float:
    return left + WIDTH * math.log(value / X[0]) / math.log(X[1] / X[0])


def _y(value: float) -> float:
    return TOP + HEIGHT * (1 - math.log(value / Y[0]) / math.log(Y[1] / Y[0]))
