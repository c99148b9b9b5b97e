"""How often a client may ask: a leaky bucket per key, bounded in memory. In this process only."""

import math

import msgspec

from vedette.central.boundary import TooManyRequests
from vedette.clock import NS_PER_S, Clock

_MAX_KEYS = 10_000


class Share(msgspec.Struct, frozen=True):
    """What is left to one key: requests at once, and seconds until all of them are there again."""

    limit: int
    remaining: int
    reset_s: int


class RateLimit:
    """At most `burst` at once and `per_minute` in the long run, for each key."""

    def __init__(self, clock: Clock, *, per_minute: float, burst: int) -> None:
        self._clock = clock
        self._per_ns = per_minute / (60 * NS_PER_S)
        self._burst = burst
        self._levels: dict[str, tuple[float, int]] = {}

    def spend(self, key: str) -> Share:
        """Count one request; return what is left.

        Raises:
            TooManyRequests: `key` has asked too often; it says when the next one fits.
        """
        level, now_ns = self._level(key)
        over = level + 1 > self._burst
        level = level if over else level + 1
        self._levels.pop(key, None)
        self._levels[key] = (level, now_ns)
        if len(self._levels) > _MAX_KEYS:  # the one that asked longest ago
            self._levels.pop(next(iter(self._levels)))
        if over:
            wait_s = (level + 1 - self._burst) / (self._per_ns * NS_PER_S)
            raise TooManyRequests(
                "too many requests; come back in a minute", retry_after_s=max(1, math.ceil(wait_s))
            )
        return self._share(level)

    def is_over(self, key: str) -> bool:
        """True where the next request of `key` would be one too many; counts nothing."""
        return self._level(key)[0] + 1 > self._burst

    def share(self, key: str) -> Share:
        """Return what is left to `key`; counts nothing."""
        return self._share(self._level(key)[0])

    def _level(self, key: str) -> tuple[float, int]:
        now_ns = self._clock.mono_ns()
        level, at_ns = self._levels.get(key, (0.0, now_ns))
        return max(0.0, level - (now_ns - at_ns) * self._per_ns), now_ns

    def _share(self, level: float) -> Share:
        return Share(
            limit=self._burst,
            remaining=max(0, math.floor(self._burst - level)),
            reset_s=math.ceil(level / (self._per_ns * NS_PER_S)),
        )
