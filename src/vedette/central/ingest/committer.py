"""Group commit: while one transaction is under way, the next batches gather.

Two workers per process: one prepares a group while the database works on the other's. The busier it
is, the larger the groups and the cheaper each report; when it is idle a batch is committed at once,
and a moment's gathering keeps a moderate load from making a transaction of every report.

What is fresh goes first. Backlog waits in its own line, gets a bounded share of each group, and is
unpacked only when its turn has come, so that a thousand devices that come back after days delay no
live report for long. Where that line is full, the fresh part of a batch is taken and the rest stays
on the device; whoever brings a backlog is told when all others will have had their turn. Beyond
`MAX_WAITING` nothing of a batch is taken, but the device was heard.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

import msgspec

from vedette.central.bulletin import Bulletin
from vedette.central.ingest.commit import Outcome, commit
from vedette.central.ingest.incoming import Incoming
from vedette.central.ingest.unpack import Item
from vedette.central.store.db import Database, DataRefused
from vedette.errors import StoreError, WireError
from vedette.wire.envelope import UpAnswer

_log = logging.getLogger(__name__)

WORKERS: Final = 2
GATHER_S: Final = 0.02
"""A group begins at least this long after the one before: nothing beside what a commit takes."""

MAX_GROUP: Final = 2_000
"""Envelopes in one transaction, unless a single batch holds more."""

MAX_LATE_GROUP: Final = 600
"""Envelopes of backlog in one transaction: what a fresh report may have to wait for."""

MAX_LATE_WAITING: Final = 4_000
"""Envelopes of backlog that may wait: less than a second's work."""

MAX_WAITING: Final = 20_000
"""Fresh envelopes that may wait; beyond that devices are asked to come back."""

MAX_OF_DEVICE: Final = 32
"""Batches of one device that may wait: an honest one sends one after the other."""

_RETRY_S: Final = (1.0, 60.0)
_RATE_WEIGHT: Final = 0.2
_FIRST_GUESS_PER_S: Final = 5_000.0
_TURN_S: Final = 60.0
_UNWRITABLE: Final = (WireError, ValueError, ArithmeticError, LookupError, TypeError)
"""What merging and encoding raise for values that passed every check one by one."""


class Busy(StoreError):
    """Too much waits already; the device should come back after `retry_after_s`."""

    def __init__(self, message: str, retry_after_s: float = _RETRY_S[0]) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Parcel(msgspec.Struct, frozen=True, kw_only=True):
    """One batch that wants to be committed.

    Attributes:
        contact: Who speaks and when, without any messages.
        fresh: Its messages that did not wait long, unpacked.
        late: How many more there are.
        unpack: Gives all of its messages; called once, just before they are committed.
    """

    contact: Incoming
    fresh: list[Item]
    late: int = 0
    unpack: Callable[[], list[Item]] | None = None

    @property
    def envelopes(self) -> int:
        """How many messages it holds."""
        return len(self.fresh) + self.late


class _Waiting(msgspec.Struct, frozen=True):
    parcel: Parcel
    done: "asyncio.Future[UpAnswer | None]"

    def answer(self, answer: UpAnswer | None) -> None:
        if not self.done.done():
            self.done.set_result(answer)

    def fail(self, error: StoreError) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class _Line:
    """Batches of one kind that wait, and how many envelopes they hold."""

    def __init__(self) -> None:
        self.queue: deque[_Waiting] = deque()
        self.envelopes = 0

    def put(self, waiting: _Waiting) -> None:
        self.queue.append(waiting)
        self.envelopes += waiting.parcel.envelopes

    def is_full(self, more: int, most: int) -> bool:
        """True where so many more envelopes are too many; a single batch always has room."""
        return bool(self.queue) and self.envelopes + more > most

    def take(self, most: int) -> list[_Waiting]:
        """Return the first of the queue, at most so many envelopes; one batch in any case."""
        taken: list[_Waiting] = []
        left = most
        while self.queue and (not taken or self.queue[0].parcel.envelopes <= left):
            taken.append(self.queue.popleft())
            left -= taken[-1].parcel.envelopes
        self.envelopes -= most - left
        return taken


class Committer:
    """Collects batches and commits them in groups. Thread: one event loop."""

    def __init__(self, db: Database, bulletin: Bulletin) -> None:
        self._db = db
        self._bulletin = bulletin
        self._fresh = _Line()
        self._late = _Line()
        self._of_device: Counter[str] = Counter()
        self._turned_away: dict[str, Incoming] = {}
        self._turns: dict[str, tuple[float, int]] = {}  # who brought how much backlog, and when
        self._wake = asyncio.Event()
        self._closed = False
        self._next_start_s = 0.0
        self._last_done_s: float | None = None
        self._per_s = _FIRST_GUESS_PER_S
        self.groups = 0
        self.taken = 0

    @property
    def waiting(self) -> int:
        """Envelopes that wait to be committed."""
        return self._fresh.envelopes + self._late.envelopes

    async def submit(self, parcel: Parcel) -> UpAnswer | None:
        """Return the answer once `parcel` is committed; None where its device is not known.

        Raises:
            Busy: Nothing of it was taken.
            StoreError: The database failed; nothing of it is certain, the device sends it again.
        """
        retry_after_s = self._next_turn_s(parcel) if parcel.late else 0.0
        if parcel.late and self._late.is_full(parcel.envelopes, MAX_LATE_WAITING):
            parcel = msgspec.structs.replace(parcel, late=0)
            retry_after_s = max(retry_after_s, _RETRY_S[0])
        self._admit(parcel)
        waiting = _Waiting(parcel, asyncio.get_running_loop().create_future())
        (self._late if parcel.late else self._fresh).put(waiting)
        self._wake.set()
        device = parcel.contact.device
        self._of_device[device] += 1
        try:
            answer = await waiting.done
        finally:
            self._of_device[device] -= 1
            if not self._of_device[device]:
                del self._of_device[device]
        if answer is None or not retry_after_s:
            return answer
        later_s = max(answer.retry_after_s, retry_after_s)
        return msgspec.structs.replace(answer, retry_after_s=later_s)

    def _admit(self, parcel: Parcel) -> None:
        if self._closed:
            raise Busy("central is stopping")
        device = parcel.contact.device
        full = not parcel.late and self._fresh.is_full(parcel.envelopes, MAX_WAITING)
        if full or self._of_device[device] >= MAX_OF_DEVICE:
            self._turned_away[device] = parcel.contact
            raise Busy(
                "too much waits to be committed", _bounded(self._fresh.envelopes / self._per_s)
            )

    def _next_turn_s(self, parcel: Parcel) -> float:
        """Return when all who bring backlog will have had a turn; 0 where they are soon done."""
        now_s = asyncio.get_running_loop().time()
        self._turns.pop(parcel.contact.device, None)
        self._turns[parcel.contact.device] = (now_s, parcel.late)
        while now_s - next(iter(self._turns.values()))[0] > _TURN_S:
            del self._turns[next(iter(self._turns))]
        around_s = sum(late for _, late in self._turns.values()) / self._per_s
        return _bounded(around_s) if around_s >= _RETRY_S[0] else 0.0

    async def run(self) -> None:
        """Commit groups until cancelled or closed; whatever ends it, nobody waits for ever."""
        try:
            async with asyncio.TaskGroup() as workers:
                for number in range(WORKERS):
                    workers.create_task(self._work(), name=f"committer-{number}")
        finally:
            self._closed = True
            for waiting in (*self._fresh.queue, *self._late.queue):
                waiting.fail(Busy("central is stopping"))

    def close(self) -> None:
        """Take nothing more; `run` ends when what waits is committed."""
        self._closed = True
        self._wake.set()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not self._fresh.queue and not self._late.queue:
                if self._closed:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            pause_s = self._next_start_s - loop.time()
            if pause_s > 0 and not self._closed:
                await asyncio.sleep(pause_s)
                continue
            self._next_start_s = loop.time() + GATHER_S
            group = self._next_group()
            await self._commit_group(group)
            self._note_rate(sum(waiting.parcel.envelopes for waiting in group))

    def _next_group(self) -> list[_Waiting]:
        group = self._fresh.take(MAX_GROUP) if self._fresh.queue else []
        left = MAX_GROUP - sum(waiting.parcel.envelopes for waiting in group)
        if self._late.queue and left > 0:
            group += self._late.take(min(left, MAX_LATE_GROUP))
        return group

    def _note_rate(self, envelopes: int) -> None:
        """Learn how fast groups go while always one more waits."""
        now_s = asyncio.get_running_loop().time()
        if self._last_done_s is not None and now_s > self._last_done_s:
            seen = envelopes / (now_s - self._last_done_s)
            self._per_s += _RATE_WEIGHT * (seen - self._per_s)
        more = self._fresh.queue or self._late.queue
        self._last_done_s = now_s if more else None

    async def _open(self, group: list[_Waiting]) -> list[Incoming]:
        """Return the batches of a group unpacked, and who was turned away since the last one."""
        opened: list[Incoming] = []
        for waiting in group:
            parcel = waiting.parcel
            items = parcel.fresh
            if parcel.late and parcel.unpack:
                items = parcel.unpack()
                await asyncio.sleep(0)  # a backlog takes milliseconds: others have their turn
            opened.append(msgspec.structs.replace(parcel.contact, items=items))
        contacts = [*self._turned_away.values()]
        self._turned_away.clear()
        return [*opened, *contacts]

    async def _commit_group(self, group: list[_Waiting]) -> None:
        try:
            opened = await self._open(group)
            await self._commit_opened(group, opened)
        except StoreError as error:
            for waiting in group:
                waiting.fail(error)
        except BaseException:
            for waiting in group:
                waiting.fail(StoreError("the committer failed"))
            raise

    async def _commit_opened(self, group: list[_Waiting], opened: list[Incoming]) -> None:
        try:
            outcome = await self._transaction(opened)
        except DataRefused as error:
            # One message of one device must not hold up the others: each for itself now.
            _log.error("a group was refused", extra={"event": "ingest.refused", "why": str(error)})
            for waiting, incoming in zip(group, opened, strict=False):
                await self._commit_alone(waiting, incoming)
        else:
            for waiting, answer in zip(group, outcome.answers, strict=False):
                waiting.answer(answer)

    async def _commit_alone(self, waiting: _Waiting, incoming: Incoming) -> None:
        try:
            waiting.answer(await self._commit_halves(incoming))
        except StoreError as error:
            waiting.fail(error)

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


def _bounded(seconds: float) -> float:
    return min(max(seconds, _RETRY_S[0]), _RETRY_S[1])


def _join(a: UpAnswer | None, b: UpAnswer | None) -> UpAnswer | None:
    """Return one answer for two halves of a batch: what has more of a lane is the later one.

    So a claim of numbers that were never given, by which a spool learns that it gives them again,
    is not forgotten for the half that had nothing to complain of.
    """
    if a is None or b is None:
        return b or a
    both = sorted((*a.acks, *b.acks), key=lambda ack: ack.acked_through)
    later = {(ack.epoch, ack.lane): ack for ack in both}
    return msgspec.structs.replace(
        b, acks=list(later.values()), rejected=[*a.rejected, *b.rejected]
    )
