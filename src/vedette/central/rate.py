"""How often a client may ask: a leaky bucket per key, bounded in memory. In this process only."""

from vedette.central.boundary import TooManyRequests
from vedette.clock import NS_PER_S, Clock

_MAX_KEYS = 10_000


class RateLimit:
    """At most `burst` at once and `per_minute` in the long run, for each key."""

    def __init__(self, clock: Clock, *, per_minute: float, burst: int) -> None:
        self._clock = clock
        self._per_ns = per_minute / (60 * NS_PER_S)
        self._burst = burst
        self._levels: dict[str, tuple[float, int]] = {}

    def spend(self, key: str) -> None:
        """Count one request.

        Raises:
            TooManyRequests: `key` has asked too often.
        """
        now_ns = self._clock.mono_ns()
        level, at_ns = self._levels.pop(key, (0.0, now_ns))
        level = max(0.0, level - (now_ns - at_ns) * self._per_ns)
        over = level + 1 > self._burst
        self._levels[key] = (level if over else level + 1, now_ns)
        if len(self._levels) > _MAX_KEYS:  # the one that asked longest ago
            self._levels.pop(next(iter(self._levels)))
        if over:
            raise TooManyRequests("too many requests; come back in a minute")
