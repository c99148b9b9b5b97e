"""What holds a machine back, in words: the names of throttle flags are those of its drivers."""

from collections.abc import Iterable
from typing import Final

_WORDS: Final = {
    "under-voltage": "too little voltage",
    "over-current": "too much current",
    "on-battery": "runs on battery",
    "throttled": "slowed down",
    "arm-frequency-capped": "clock held down",
    "soft-temperature-limit": "close to its heat limit",
    "thermal-throttled": "slowed down by heat",
    "gpu-throttled": "graphics slowed down",
    "gpu-thermal-throttled": "graphics slowed down by heat",
    "gpu-power-cap": "graphics held to their power limit",
    "gpu-power-brake": "graphics slowed down for want of power",
    "gpu-hw-slowdown": "graphics slowed down by their own protection",
}


def flag_text(flags: Iterable[object]) -> str:
    """Return flags in words, as one text; a name that is not known stays as it is."""
    return ", ".join(_WORDS.get(str(flag), str(flag)) for flag in flags)
