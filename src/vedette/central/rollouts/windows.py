"""When devices may change over, by the clock on the wall of their site. Pure.

A window belongs to the day on which it begins and may end after midnight; what happens where the
clocks change is said in `central.hours`, whose arithmetic this is. No window at all means any time.
"""

from typing import Final

from vedette.central import hours
from vedette.errors import ConfigError

Windows = list[tuple[str, str]]

DAY_MS: Final = 86_400_000
LOOK_AHEAD_MS: Final = 8 * DAY_MS


def check(windows: Windows) -> None:
    """Return where these can be windows.

    Raises:
        ConfigError: One that cannot be; the message names it.
    """
    hours.check(_daily(windows))


def spells(windows: Windows, time_zone: str, from_ms: int, to_ms: int) -> list[tuple[int, int]]:
    """Return the stretches between two moments in which a device may change over, in order.

    Raises:
        ConfigError: No such time zone.
    """
    zone = hours.zone_of(time_zone)
    return hours.spells(_daily(windows) if windows else None, zone, from_ms, to_ms)


def is_inside(windows: Windows, time_zone: str, at_ms: int) -> bool:
    """True where a device may change over at that moment.

    Raises:
        ConfigError: No such time zone.
    """
    return bool(spells(windows, time_zone, at_ms, at_ms + 1))


def next_window(windows: Windows, time_zone: str, now_ms: int) -> tuple[int, int]:
    """Return the window that is open, from now, or the next one.

    Raises:
        ConfigError: No such time zone, or no window within eight days.
    """
    if not windows:
        return now_ms, now_ms + LOOK_AHEAD_MS
    found = spells(windows, time_zone, now_ms, now_ms + LOOK_AHEAD_MS)
    if not found:
        raise ConfigError(
            "no window opens within eight days", operator_hint="name one, as in 22:00-05:00"
        )
    return found[0]


def _daily(windows: Windows) -> hours.Hours:
    """Return a week in which each day has these windows."""
    return hours.Hours(weekly={day: list(windows) for day in hours.DAYS})
