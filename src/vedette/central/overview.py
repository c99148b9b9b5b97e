"""The fleet as everybody who looks sees it: made once for all, and not more often than pays.

What lives here: what is kept between requests, so that pages about thousands of sites are fast. Not
here: how any of it is computed (`fleet`, `query`). The rule: a small fleet is read anew for each
question; a large one at most so often that reading it takes a tenth of the time, and never is what
is shown older than `OLDEST_NS`; shares of a day, which move slowly, are at most a minute old.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from vedette.central.events import Scope
from vedette.central.fleet import Names, Skeleton, skeleton
from vedette.central.query import answers
from vedette.central.query.engine import Question
from vedette.central.rollups import DAY_MS
from vedette.central.store.db import Database
from vedette.central.views import Coverage
from vedette.clock import NS_PER_S, Clock

OLDEST_NS: Final = 5 * NS_PER_S
REST: Final = 10
"""A large fleet rests this many times as long as reading it took."""

SMALL: Final = 300
"""Cameras up to which a fleet is read anew for each question."""

SHARE_NS: Final = 60 * NS_PER_S
SITES_AT_ONCE: Final = 100
"""Sites whose shares are computed in one go: others are served between two of them."""


class Overview:
    """What is kept of the fleet between requests. Thread: the event loop's."""

    def __init__(self) -> None:
        self._names = Names()
        self._held: Skeleton | None = None
        self._made_ns = 0
        self._rest_ns = 0
        self._making = asyncio.Lock()
        self._shares: dict[str, tuple[int, Coverage]] = {}
        self._throttled: tuple[int, dict[str, float]] = (-SHARE_NS, {})

    async def skeleton(self, db: Database, clock: Clock, scope: Scope) -> Skeleton:
        """Return every state in scope, worst first; of a large fleet as it was a moment ago."""
        if self._is_fresh(clock) and self._held is not None:
            return self._held.within(scope)
        async with self._making:  # whoever waited here finds it made
            if not self._is_fresh(clock) or self._held is None:
                began_ns = clock.mono_ns()
                async with db.transaction() as tx:
                    self._held = await skeleton(tx, None, self._names)
                self._made_ns = clock.mono_ns()
                is_small = len(self._held.known) <= SMALL
                self._rest_ns = 0 if is_small else REST * (self._made_ns - began_ns)
            return self._held.within(scope)

    def _is_fresh(self, clock: Clock) -> bool:
        return clock.mono_ns() - self._made_ns < min(self._rest_ns, OLDEST_NS)

    async def shares(
        self, db: Database, clock: Clock, now_ms: int, sites: Sequence[str]
    ) -> dict[str, Coverage]:
        """Return how much of the last 24 hours was observed at each site; at most a minute old."""
        now_ns = clock.mono_ns()
        stale = [
            site
            for site in sites
            if site not in self._shares or now_ns - self._shares[site][0] > SHARE_NS
        ]
        for first in range(0, len(stale), SITES_AT_ONCE):
            some = stale[first : first + SITES_AT_ONCE]
            question = Question(
                metric="coverage", from_ms=now_ms - DAY_MS, to_ms=now_ms, clock="utc", by=["site"]
            )
            async with db.transaction() as tx:
                answer = await answers.ask(tx, question, some, now_ms)
            found = {line.group["site"]: line.points[0].coverage for line in answer.lines}
            for site in some:
                self._shares[site] = (now_ns, found.get(site, answers.NOTHING))
        return {site: self._shares[site][1] for site in sites}

    async def throttled_s(self, db: Database, clock: Clock, now_ms: int) -> dict[str, float]:
        """Return for how long each device was held back in the last 7 days, where it was at all."""
        made_ns, found = self._throttled
        if clock.mono_ns() - made_ns > SHARE_NS:
            question = Question(
                metric="device.throttled_s",
                from_ms=now_ms - 7 * DAY_MS,
                to_ms=now_ms,
                clock="utc",
                by=["device"],
            )
            async with db.transaction() as tx:
                answer = await answers.ask(tx, question, None, now_ms, max_lines=100_000)
            values = {line.group["device"]: line.points[0].value for line in answer.lines}
            found = {device: value for device, value in values.items() if value}
            self._throttled = (clock.mono_ns(), found)
        return found
