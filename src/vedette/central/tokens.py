"""Which device a bearer token belongs to: remembered, and looked up for many at once.

What is remembered is never enough to do anything: whatever a device changes or reads is looked up
with its generation in the same transaction, so that revoking and replacing hold at once and in
every process. Here is only what spares a fleet of thousands a transaction per request.
"""

import asyncio
import itertools
from typing import Final

from vedette.central.enrolment import Bearer, secret_hash
from vedette.central.store.db import Database
from vedette.clock import Clock, wall_ms
from vedette.errors import BadSignature, StoreError

_CACHE_MS: Final = 600_000
_MAX_CACHED: Final = 100_000


class _Found(Bearer, frozen=True, kw_only=True):
    token_hash: bytes


class Tokens:
    """Finds the holder of a token. Thread: one event loop."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._cache: dict[bytes, tuple[Bearer, int]] = {}
        self._wanted: dict[bytes, asyncio.Future[Bearer | None]] = {}
        self._asking: asyncio.Task[None] | None = None
        self.lookups = 0

    async def holder_of(self, token: str) -> Bearer:
        """Return the device, with the generation that the token was given to.

        Raises:
            BadSignature: No such token, or its time is over.
            StoreError: The database does not answer.
        """
        now_ms = wall_ms(self._clock.now_at())
        hashed = secret_hash(token)
        cached = self._cache.get(hashed)
        if cached and cached[1] > now_ms:
            return cached[0]
        self._cache.pop(hashed, None)
        if not token:
            raise BadSignature("no bearer token")
        found = await self._look_up(hashed)
        if found is None:
            raise BadSignature("the access token is unknown or its time is over")
        if len(self._cache) >= _MAX_CACHED:
            for oldest in list(itertools.islice(self._cache, _MAX_CACHED // 4)):
                del self._cache[oldest]
        self._cache[hashed] = (found, min(now_ms + _CACHE_MS, found.expires_ms))
        return found

    async def _look_up(self, hashed: bytes) -> Bearer | None:
        """Return whose token this is; who asks while a query is under way shares the next one."""
        future = self._wanted.get(hashed)
        if future is None:
            future = self._wanted[hashed] = asyncio.get_running_loop().create_future()
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(), name="tokens")
        return await asyncio.shield(future)

    async def _ask(self) -> None:
        try:
            while self._wanted:
                wanted, self._wanted = self._wanted, {}
                await self._ask_for(wanted)
        finally:
            self._asking = None

    async def _ask_for(self, wanted: dict[bytes, "asyncio.Future[Bearer | None]"]) -> None:
        self.lookups += 1
        now_ms = wall_ms(self._clock.now_at())
        try:
            async with self._db.transaction() as tx:
                rows = await tx.all("tokens_find", _Found, hashes=list(wanted), now_ms=now_ms)
        except StoreError as error:
            for future in wanted.values():
                future.set_exception(error)
                future.exception()  # whoever asked may have left; then nobody reads it
            return
        found = {row.token_hash: row for row in rows}
        for hashed, future in wanted.items():
            future.set_result(found.get(hashed))
