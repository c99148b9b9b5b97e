"""Group commit: while one transaction is under way, the next batches gather.

One task per process. The busier it is, the larger the groups and the cheaper each report; when it
is idle a batch is committed at once. Back-pressure is honest: above `MAX_WAITING` envelopes a
device is told to come back later, and nothing of its batch is taken.
"""

import asyncio
import logging
from typing import Final

import msgspec

from vedette.central.bulletin import Bulletin
from vedette.central.ingest.commit import Incoming, Outcome, commit
from vedette.central.store.db import Database, DataRefused
from vedette.errors import StoreError, WireError
from vedette.wire.envelope import UpAnswer

_log = logging.getLogger(__name__)

MAX_GROUP: Final = 2_000
"""Envelopes in one transaction, unless a single batch holds more."""

MAX_WAITING: Final = 20_000
"""Envelopes that may wait; beyond that devices are asked to come back."""


_UNWRITABLE: Final = (WireError, ValueError, ArithmeticError, LookupError, TypeError)
"""What merging and encoding raise for values that passed every check one by one."""


class Busy(StoreError):
    """Too much waits already; the device should come back later."""


class _Waiting(msgspec.Struct, frozen=True):
    incoming: Incoming
    done: "asyncio.Future[UpAnswer | None]"


class Committer:
    """Collects batches and commits them in groups. Thread: one event loop."""

    def __init__(self, db: Database, bulletin: Bulletin) -> None:
        self._db = db
        self._bulletin = bulletin
        self._queue: list[_Waiting] = []
        self._envelopes = 0
        self._wake = asyncio.Event()
        self._closed = False
        self.groups = 0
        self.taken = 0

    async def submit(self, incoming: Incoming) -> UpAnswer | None:
        """Return the answer once `incoming` is committed; None where its device is not known.

        Raises:
            Busy: Nothing of it was taken.
            StoreError: The database failed; nothing of it is certain, the device sends it again.
        """
        if self._closed or self._envelopes + len(incoming.items) > MAX_WAITING:
            raise Busy("too much waits to be committed")
        done: asyncio.Future[UpAnswer | None] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(incoming, done))
        self._envelopes += len(incoming.items)
        self._wake.set()
        return await done

    async def run(self) -> None:
        """Commit groups until cancelled or closed; whatever ends it, nobody waits for ever."""
        try:
            while not self._closed or self._queue:
                await self._wake.wait()
                self._wake.clear()
                while self._queue:
                    await self._commit_group(self._next_group())
        finally:
            self._closed = True
            for waiting in self._queue:
                if not waiting.done.done():
                    waiting.done.set_exception(Busy("central is stopping"))

    def close(self) -> None:
        """Take nothing more; `run` ends when what waits is committed."""
        self._closed = True
        self._wake.set()

    def _next_group(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        size = 0
        while self._queue and (not group or size + len(self._queue[0].incoming.items) <= MAX_GROUP):
            waiting = self._queue.pop(0)
            size += len(waiting.incoming.items)
            group.append(waiting)
        self._envelopes -= size
        return group

    async def _commit_group(self, group: list[_Waiting]) -> None:
        try:
            outcome = await self._transaction([waiting.incoming for waiting in group])
        except DataRefused as error:
            # One message of one device must not hold up the others: each for itself now.
            _log.error("a group was refused", extra={"event": "ingest.refused", "why": str(error)})
            for waiting in group:
                await self._commit_alone(waiting)
        except StoreError as error:
            for waiting in group:
                if not waiting.done.done():
                    waiting.done.set_exception(error)
        except BaseException:
            for waiting in group:
                if not waiting.done.done():
                    waiting.done.set_exception(StoreError("the committer failed"))
            raise
        else:
            for waiting, answer in zip(group, outcome.answers, strict=True):
                if not waiting.done.done():
                    waiting.done.set_result(answer)

    async def _commit_alone(self, waiting: _Waiting) -> None:
        try:
            answer = await self._commit_halves(waiting.incoming)
        except StoreError as error:
            if not waiting.done.done():
                waiting.done.set_exception(error)
        else:
            if not waiting.done.done():
                waiting.done.set_result(answer)

    async def _commit_halves(self, incoming: Incoming) -> UpAnswer | None:
        """Commit one batch; where the database refuses it, find the message that it cannot take."""
        try:
            outcome = await self._transaction([incoming])
        except DataRefused as error:
            if not incoming.items:
                raise
            if len(incoming.items) == 1:
                item = msgspec.structs.replace(
                    incoming.items[0], body=None, stored=b"", refusal=f"cannot be stored: {error}"
                )
                return (
                    await self._commit_halves(msgspec.structs.replace(incoming, items=[item]))
                    if incoming.items[0].body is not None
                    else None
                )
            middle = len(incoming.items) // 2
            first, second = incoming.items[:middle], incoming.items[middle:]
            a = await self._commit_halves(msgspec.structs.replace(incoming, items=first))
            b = await self._commit_halves(msgspec.structs.replace(incoming, items=second))
            return _join(a, b)
        return outcome.answers[0]

    async def _transaction(self, group: list[Incoming]) -> Outcome:
        try:
            async with self._db.transaction() as tx:
                outcome = await commit(tx, group)
        except _UNWRITABLE as error:
            # One message's fault, to be found: it must end neither this task nor other devices.
            raise DataRefused(f"cannot be written: {error}") from error
        self.groups += 1
        self.taken += outcome.taken
        if outcome.topics:
            self._bulletin.publish(*outcome.topics)
        return outcome


def _join(a: UpAnswer | None, b: UpAnswer | None) -> UpAnswer | None:
    """Return one answer for two halves of a batch: the later one knows the lanes of both."""
    if a is None or b is None:
        return b or a
    later = {(ack.epoch, ack.lane): ack for ack in (*a.acks, *b.acks)}
    return msgspec.structs.replace(
        b, acks=list(later.values()), rejected=[*a.rejected, *b.rejected]
    )
