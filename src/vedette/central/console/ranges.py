"""How long back a page looks, and what a legend under its strips has to explain.

Pure. The rule: a page that nobody gave a range chooses the shortest that shows all that is known.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from vedette.central.console.words import CAUSES, UNKNOWN
from vedette.central.views import Segment

RANGES: Final[dict[str, tuple[str, int]]] = {
    "15m": ("15 min", 900_000),
    "1h": ("1 h", 3_600_000),
    "6h": ("6 h", 6 * 3_600_000),
    "24h": ("24 h", 24 * 3_600_000),
    "7d": ("7 d", 7 * 86_400_000),
    "30d": ("30 d", 30 * 86_400_000),
    "90d": ("90 d", 90 * 86_400_000),
}
DEFAULT_RANGE: Final = "24h"
FLEET_RANGES: Final = ("15m", "1h", "6h", "24h")


def fitting_range(strips: Iterable[Sequence[Segment]], now_ms: int) -> str:
    """Return the shortest range, up to a day, that shows all that is known: for young fleets."""
    first_ms = min((strip[0].start_ms for strip in strips if strip), default=0)
    for name in FLEET_RANGES:
        if now_ms - RANGES[name][1] <= first_ms:
            return name
    return DEFAULT_RANGE


def causes_in(strips: Iterable[Sequence[Segment]], *, holes: bool) -> list[str]:
    """Return the causes that a legend has to explain, in the order of their table."""
    seen = {segment.cause for strip in strips for segment in strip}
    if holes:
        seen.add(UNKNOWN)
    return [cause for cause in CAUSES if cause in seen]
