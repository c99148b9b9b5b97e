"""Connections that come to nothing are closed, so that nobody keeps the page from the others.

uvicorn waits for ever for a request that was begun, and counts whoever waits among those that may
come at once: a few dozen silent sockets would close the page to the person on the ladder. The rule:
a request is there within `REQUEST_S`, its answer within `ANSWER_S`, and one address has its share.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_S: Final = 5.0
"""From the connection, or the answer before, to the last byte of a request."""

ANSWER_S: Final = 60.0
"""To the last byte of its answer: longer than any of ours takes, with a slow line."""

AT_ONCE: Final = 32
OF_ONE: Final = 12
"""Connections from one address: a browser opens six."""


class Hurried(H11Protocol):
    """One connection with its deadlines. Thread: the server's event loop."""

    request_s = REQUEST_S
    answer_s = ANSWER_S

    def __init__(self, *args: Any, **more: Any) -> None:
        """As the parent."""
        super().__init__(*args, **more)
        self._deadline: asyncio.TimerHandle | None = None
        self._due_s = 0.0
        self._seen: tuple[object, bool] = (None, False)

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin to wait for a request; who has too many connections gets no further one."""
        super().connection_made(transport)
        here = self.client[0] if self.client else ""
        peers = [getattr(one, "client", None) for one in self.connections]
        if sum(peer is not None and peer[0] == here for peer in peers) > OF_ONE:
            transport.close()
        self._due_s = self.loop.time() + self.request_s
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        """Close the connection where it is overdue, else look again soon."""
        now_s = self.loop.time()
        cycle = self.cycle
        answering = cycle is not None and not cycle.more_body and not cycle.response_complete
        if self._seen != (cycle, answering):  # another request, or the other half of one
            self._seen = (cycle, answering)
            self._due_s = now_s + (self.answer_s if answering else self.request_s)
        if now_s >= self._due_s:
            self.transport.abort()
            return
        self._deadline = self.loop.call_later(self.request_s / 4, self._look)
