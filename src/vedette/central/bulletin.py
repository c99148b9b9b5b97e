"""News inside central's process: what changed, for pages that are open and polls that wait.

Nothing durable and nothing ordered: a reader that was slow learns only that something changed and
reads the database again. Topics are `device:<id>`, `site:<id>`, `events`, `desired:<device>`,
`rollout:<id>`, `rollouts`, `incident:<id>`, `incidents`, `deliveries` and `fleet`; `alerts:now` and
`deliveries:now` wake the loops.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable


class Subscription:
    """What one reader waits for. Thread: the event loop's."""

    def __init__(self, topics: frozenset[str], by: str = "") -> None:
        self.topics = topics
        self.by = by
        self._news: set[str] = set()
        self._event = asyncio.Event()

    def tell(self, topics: Iterable[str]) -> None:
        """Wake the reader where one of `topics` concerns it."""
        found = self.topics.intersection(topics) if self.topics else set(topics)
        if found:
            self._news |= found
            self._event.set()

    async def wait(self, timeout_s: float) -> frozenset[str]:
        """Return the topics with news since the last call; empty where none came in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        news = frozenset(self._news)
        self._news.clear()
        self._event.clear()
        return news


class Bulletin:
    """Every open subscription. Thread: the event loop's."""

    def __init__(self) -> None:
        self._open: set[Subscription] = set()

    def publish(self, *topics: str) -> None:
        """Tell whoever subscribed to one of `topics` that it changed."""
        for subscription in self._open:
            subscription.tell(topics)

    @contextlib.asynccontextmanager
    async def subscribe(self, *topics: str, by: str = "") -> AsyncIterator[Subscription]:
        """Give a subscription to `topics`, or to everything where none is named; `by`: whose."""
        subscription = Subscription(frozenset(topics), by)
        self._open.add(subscription)
        try:
            yield subscription
        finally:
            self._open.discard(subscription)

    def readers_of(self, by: str) -> int:
        """Return how many of somebody's are listening."""
        return sum(subscription.by == by for subscription in self._open)

    @property
    def readers(self) -> int:
        """How many are listening."""
        return len(self._open)
