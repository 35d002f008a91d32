"""How a page shows the security status of a system: as the game rounds it, in its colour, and the kind of space in words."""

from __future__ import annotations

from dataclasses import dataclass

from killsync.killmails.classification import SecurityBand, band, shown_security

_WORDS = {
    SecurityBand.HIGH: "High security",
    SecurityBand.LOW: "Low security",
    SecurityBand.NULL: "Null security",
    SecurityBand.WORMHOLE: "Wormhole space",
    SecurityBand.ABYSSAL: "Abyssal space",
    SecurityBand.POCHVEN: "Pochven",
}


@dataclass(frozen=True)
class ShownSecurity:
    """`text` such as 0.9; `css`, the class that colours it; `title`, the kind of space."""

    text: str
    css: str
    title: str


def shown(security_status: float, region_id: int | None) -> ShownSecurity:
    """The security status of a system.

    Args:
        security_status: the true one.
        region_id: of the system; None where that is not known.
    """
    rounded = shown_security(security_status)
    words = _WORDS[band(security_status, region_id or 0)]
    return ShownSecurity(f"{rounded:.1f}", f"sec-{max(0, round(rounded * 10))}", words)
