"""`Spool`: put messages in, send batches, settle answers.

Normal messages wait in memory for the group commit of each second; what the stream table marks
commits at once, together with all that waits. While the disk refuses, messages wait in memory up
to a bound; beyond it the least important is dropped, counted, and stated in a tombstone as soon as
the disk takes one.
"""

import contextlib
import enum
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

import msgspec

from vedette.clock import NS_PER_MS, Clock, wall_ms
from vedette.edge.spool import bell, evict, kept, pack, rows, store
from vedette.edge.spool import entry as entries
from vedette.edge.spool.dropped import Dropped
from vedette.edge.spool.entry import ClockNote, Entry
from vedette.edge.spool.file import SpoolFile
from vedette.edge.spool.rows import Now
from vedette.errors import SpoolUnwritable
from vedette.wire.envelope import ClockState, Envelope, LaneAck, UpAnswer
from vedette.wire.messages import Cause, SpoolHealth, Tombstone
from vedette.wire.streams import stream

T = TypeVar("T")
log = logging.getLogger(__name__)

GROUP_COMMIT_S: Final = 1.0
GROUP_BYTES: Final = 1024 * 1024
"""More than this is committed without waiting for the second to end."""

HELD_BYTES: Final = 8 * 1024 * 1024
"""What may wait in memory while the disk refuses."""

RESERVE_EVERY_MS: Final = 60_000
PACK_AFTER_MS: Final = 600_000
LATER_N: Final = 64
"""A larger settlement is written at once: those who look meanwhile would do its work each time."""

TEND_PACKS: Final = 8
"""Packs made at a time: some 100 ms of one slow core."""


class Kept(enum.Enum):
    """Where a message is after `put`."""

    DURABLE = "durable"  # committed and synced
    WAITING = "waiting"  # in memory until the group commit
    HELD = "held"  # in memory because the disk refuses


@dataclass(frozen=True, slots=True)
class SpoolStatus:
    """How this process's side of the spool is doing.

    Attributes:
        problem: Why nothing can be written, in words; empty where it can.
        held: Messages in memory.
        dropped: Messages lost in memory since the start because the disk refused for too long.
    """

    problem: str
    held: int
    dropped: int


class _Settle(Protocol):
    def __call__(self, db: sqlite3.Connection, *, keep: bool) -> store.Settled: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Later:
    """A settlement that waits for the next commit; `keep`: a copy of what leaves stays a while."""

    settle: _Settle
    keep: bool


class Spool:
    """The queue, as one process holds it. Thread: any.

    Attributes:
        keep_s: How long acknowledged messages are kept where there is room; 0: not at all.
        wants_audit: True after an answer that had less than it should: ask about every lane.
    """

    def __init__(self, file: SpoolFile, quota_bytes: int, now: Callable[[], Now]) -> None:
        self.keep_s = 0.0
        self.wants_audit = False
        self._file: Final = file
        self._folder: Final = file.path.parent
        self._quota_bytes: Final = quota_bytes
        self._now: Final = now
        self._waiting: deque[Entry] = deque()
        self._waiting_bytes = 0
        self._dropped = Dropped()
        self._dropped_n = 0
        self._later: list[_Later] = []
        self._problem = ""
        self._commits = 0
        self._reserve_ms = 0
        self._pending_lock: Final = threading.Condition()
        self._commit_lock: Final = threading.Lock()
        self._stop: Final = threading.Event()
        self._writer: threading.Thread | None = None
        self._checker: threading.Thread | None = None
        self._urgent = False

    @classmethod
    def open(
        cls, folder: Path, quota_bytes: int, clock: Clock, boot_id: str, *, writer: bool = True
    ) -> "Spool":
        """Return the spool in `folder`, made or repaired where needed.

        Args:
            folder: Usually `state_dir / "spool"`; the epoch is noted beside it.
            quota_bytes: Bodies and rows together; beyond it the least important is evicted.
            clock: Dates the messages.
            boot_id: Of the machine: monotonic times compare only within one.
            writer: False where the caller calls `flush` itself (tests, one-shot commands).

        Raises:
            SpoolUnwritable: The folder or disk refuses.
            SpoolError: A newer version of Vedette wrote this spool.
        """

        def now() -> Now:
            return Now(boot_id, wall_ms(clock.now_at()), clock.mono_ns() // NS_PER_MS)

        spool = cls(SpoolFile(folder, now), quota_bytes, now)
        if writer:
            spool._writer = threading.Thread(target=spool._write, name="spool", daemon=True)
            spool._writer.start()
        return spool

    # ------------------------------------------------------------------------------------- in

    def put(self, schema: str, body: msgspec.Struct, *, at_once: bool | None = None) -> Kept:
        """Take a message; it is durable on return where the stream table says so or `at_once`.

        An aggregate also moves its camera's watermark in the same commit; where it starts later
        than that, the time between is stated as `PIPELINE_STOPPED`.

        Raises:
            UnknownSchema: Not in the stream table.
            TooLarge: Over its limit there.
        """
        now = self._now()
        item = entries.make(schema, body, now.wall_ms, now.mono_ms)
        with self._pending_lock:
            self._waiting.append(item)
            self._waiting_bytes += item.size
            full = self._waiting_bytes > GROUP_BYTES
            self._pending_lock.notify()
        wanted = item.row.commit_at_once if at_once is None else at_once
        if not wanted and (self._problem or not full):
            return Kept.HELD if self._problem else Kept.WAITING
        try:
            self.flush()
        except SpoolUnwritable:
            return Kept.HELD
        return Kept.DURABLE

    def hand_over(self, schema: str, body: msgspec.Struct) -> None:
        """Take a message without waiting for the disk: who analyses pictures must not.

        What the stream table wants committed at once is committed at once, by the writer.

        Raises:
            UnknownSchema: Not in the stream table.
            TooLarge: Over its limit there.
        """
        if self._writer is None:
            self.put(schema, body)
            return
        self.put(schema, body, at_once=False)
        if stream(schema).commit_at_once:
            with self._pending_lock:
                self._urgent = True
                self._pending_lock.notify_all()

    def flush(self) -> None:
        """Have everything that waits committed and synced.

        Raises:
            SpoolUnwritable: The disk refuses; the messages stay in memory, within the bound.
        """
        with self._commit_lock:
            with self._pending_lock:
                batch = list(self._waiting)
                self._waiting.clear()
                self._waiting_bytes = 0
            if not batch and not self._dropped.messages:
                return
            try:
                self._commit(batch)
            except SpoolUnwritable as error:
                self._take_back(batch)
                if not self._problem:
                    log.warning(
                        "spool unwritable: messages wait in memory",
                        extra={"event": "spool.unwritable", "reason": str(error)},
                    )
                self._problem = str(error)
                raise
            if any(item.row.commit_at_once for item in batch):
                bell.ring(self._folder)
            self._keep_reserve()
            if self._problem:
                log.warning("spool writable again", extra={"event": "spool.writable"})
            self._problem = ""
            self._dropped = Dropped()

    def state_gap(self, cameras: Iterable[str], cause: Cause, detail: str = "") -> int:
        """Account for each camera's time from its watermark until now; return how many gaps.

        Must be called only while nothing else observes these cameras (the pipeline is not there).

        Raises:
            SpoolUnwritable: The disk refuses.
        """
        wanted = list(cameras)
        now = self._now()
        return self._transaction(
            lambda db: store.state_gap(
                db, wanted, now, cause=cause, detail=detail, quota_bytes=self._quota_bytes
            )
        )

    def note_clock(self, note: ClockNote) -> None:
        """Share how far the wall clock can be believed; every process labels messages by it.

        Raises:
            SpoolUnwritable: The disk refuses.
        """
        self._transaction(lambda db: store.note_clock(db, note))

    def clock_state(self) -> ClockState:
        """Return how far the wall clock can be believed now; `SpoolError` where that is lost."""
        now = self._now()
        return self._transaction(lambda db: rows.clock_state(db, now), write=False)

    # ------------------------------------------------------------------------------------ out

    def next_batch(
        self,
        *,
        max_bytes: int = 512 * 1024,
        max_n: int = 1_000,
        backfill: bool = True,
        backfill_bytes: int | None = None,
    ) -> list[Envelope]:
        """Return what to send next: fresh alerts, fresh telemetry, evidence, then backfill.

        Nothing is reserved: what is not settled comes again. Of the backfill no more than
        `backfill_bytes`, where that is given, and one message.

        Raises:
            SpoolUnwritable: The disk refuses.
        """
        now = self._now()
        late = 0 if not backfill else max_bytes if backfill_bytes is None else backfill_bytes
        if late > 0 and self._transaction(pack.any_waits, write=False):
            self._transaction(lambda db: store.open_packs(db, now, max_n))
        return self._transaction(
            lambda db: store.pick(db, now, max_bytes=max_bytes, max_n=max_n, backfill_bytes=late),
            write=False,
        )

    def settle(
        self,
        answer: UpAnswer,
        *,
        audit: bool = False,
        sent: Iterable[Envelope] | None = None,
        later: bool = False,
    ) -> int:
        """Have what central has or refused for ever leave; return how many messages that were.

        What central, restored from an older backup, has no longer waits again, or is stated lost.

        Args:
            answer: Central's.
            audit: It answers `believed`: compare each of its lanes number by number.
            sent: The batch that it answers: of other lanes nothing leaves. None: any lane's may.
            later: Write it with this process's next commit, which spares the disk one; until then
                this `Spool` alone sees it. Where more follows from the answer it is written now.

        Raises:
            SpoolUnwritable: The disk refuses; it will be sent and settled again.
        """
        now = self._now()
        of = None if sent is None else frozenset((one.epoch, one.lane.value) for one in sent)
        keep = self.keep_s > 0

        def work(db: sqlite3.Connection, *, keep: bool = keep) -> store.Settled:
            return store.settle(db, answer, now, sent=of, keep=keep, audit=audit)

        if later:
            with contextlib.suppress(SpoolUnwritable):
                done = self._transaction(work, undo=True)
                if done.is_plain and done.gone <= LATER_N:
                    self._later.append(_Later(work, keep))
                    return done.gone
        # A settlement that a power cut undoes is settled again: central counts a number once.
        try:
            done = self._transaction(work, synced=False)
        except SpoolUnwritable:
            if not keep:
                raise
            # A full disk has no room for a copy: what central has must be able to leave it.
            done = self._transaction(lambda db: work(db, keep=False), synced=False)
        self._follow(done)
        self.wants_audit = bool(done.back or done.stated) and not audit
        return done.gone

    def _follow(self, done: store.Settled) -> None:
        """Have what a settlement gave or put back synced, before anything is sent under it."""
        if done.is_plain:
            return
        now_ms = self._now().wall_ms
        self._transaction(lambda db: rows.write_meta(db, "settled_ms", str(now_ms)))
        if done.renumbered:
            self._file.note_epoch()
            log.error(
                "central knows numbers that this spool never gave; a new epoch begins",
                extra={"event": "spool.renumbered"},
            )
        if done.back or done.stated:
            self.wants_audit = True
            log.warning(
                "central has less than it had: it was restored from a backup",
                extra={
                    "event": "spool.central_restored",
                    "sent_again": done.back,
                    "stated_lost": done.stated,
                },
            )

    def believed(self) -> list[LaneAck]:
        """Return what central should have of each lane, for it to say what it has."""
        return self._transaction(kept.believed, write=False)

    def tend(self, *, pack_waiting: bool) -> None:
        """Forget what was kept long enough and pack what is old; a bounded part of it each time.

        Args:
            pack_waiting: Central does not take it now, so that it will wait longer still.

        Raises:
            SpoolUnwritable: The disk refuses.
        """
        now = self._now()
        keep_ms = round(self.keep_s * 1000)

        def work(db: sqlite3.Connection) -> None:
            kept.forget_old(db, now, keep_ms)
            made = pack.pack_kept(db, TEND_PACKS)
            if pack_waiting:
                before_ms = now.mono_ms - PACK_AFTER_MS
                pack.pack_waiting(db, before_ms, now.boot_id, TEND_PACKS - made)

        if self._transaction(
            lambda db: store.needs_tending(db, now.wall_ms - keep_ms, pack_waiting=pack_waiting),
            write=False,
        ):
            self._transaction(work)

    def give_up(self, envelopes: Iterable[Envelope], reason: str) -> int:
        """Delete messages that central refuses as a whole, with a tombstone; return how many.

        Raises:
            SpoolUnwritable: The disk refuses.
        """
        keys = [(e.epoch, e.lane.value, e.seq) for e in envelopes]
        now = self._now()
        return self._transaction(lambda db: evict.give_up(db, keys, now, reason))

    def newest_alert(self) -> int:
        """Return a number that grows with every fresh alert; 0 where none waits."""
        now = self._now()
        return self._transaction(lambda db: store.newest_alert(db, now), write=False)

    def last_alert(self) -> tuple[int, int]:
        """Return epoch and number of the newest alert; a number of 0 where there was none."""
        return self._transaction(store.last_alert, write=False)

    def alerts_after(self, seen: tuple[int, int], most: int) -> list[Envelope]:
        """Return alerts that wait and came after `seen` (epoch and number), in order."""
        return self._transaction(lambda db: store.alerts_after(db, seen, most), write=False)

    def has_alert(self, key: tuple[int, int]) -> bool:
        """True where the alert of this epoch and number was not acknowledged yet."""
        return self._transaction(lambda db: store.has_alert(db, key), write=False)

    def has_backfill(self) -> bool:
        """True where something waits that is no longer fresh."""
        now = self._now()
        return self._transaction(lambda db: store.has_backfill(db, now), write=False)

    def version(self) -> tuple[int, int]:
        """Return what changes whenever any process committed: cheap enough to ask often."""
        return self._commits, self._file.version()

    # ----------------------------------------------------------------------------------- state

    def covered(self) -> dict[str, int]:
        """Return, per camera, until when its time is accounted for in what was committed."""
        return self._transaction(store.covered, write=False)

    def health(self, *, may_return: bool = False) -> SpoolHealth:
        """Return depth, size and age of what is on disk.

        Args:
            may_return: Central may lack what is only kept, so its age counts as well.
        """
        return self._transaction(
            lambda db: store.health(db, self._quota_bytes, may_return=may_return), write=False
        )

    def verify(self) -> bool:
        """Check the whole file and replace it where it is damaged; return whether it was whole.

        Raises:
            SpoolUnwritable: It is damaged and the disk refuses a new one.
        """
        return self._file.verify()

    def verify_later(self) -> None:
        """Check the whole file in a thread of its own, while everything else goes on."""

        def work() -> None:
            try:
                self.verify()
            except SpoolUnwritable as error:
                log.warning(
                    "the spool is damaged and cannot be replaced yet",
                    extra={"event": "spool.unwritable", "reason": str(error)},
                )

        self._checker = threading.Thread(target=work, name="spool-check", daemon=True)
        self._checker.start()

    def status(self) -> SpoolStatus:
        """Return how this process's side is doing; never touches the disk."""
        with self._pending_lock:
            return SpoolStatus(self._problem, len(self._waiting), self._dropped_n)

    def close(self) -> None:
        """Commit what waits where the disk lets us, stop the writer and let go of the file."""
        self._stop.set()
        with self._pending_lock:
            self._pending_lock.notify_all()
        if self._writer is not None:
            self._writer.join()
        try:
            self.flush()
            if self._later:
                self._transaction(lambda _: None, synced=False)
        except SpoolUnwritable:
            log.warning(
                "messages in memory are lost",
                extra={"event": "spool.lost_at_close", "messages": len(self._waiting)},
            )
        self._file.close()
        if self._checker is not None:
            self._checker.join(10)

    # ------------------------------------------------------------------------------- internals

    def _transaction(
        self,
        work: Callable[[sqlite3.Connection], T],
        *,
        write: bool = True,
        synced: bool = True,
        undo: bool = False,
    ) -> T:
        """Return what `work` returns, after what was to be settled later: that is written with it.

        Where `work` only reads, it sees those settlements, and nothing is written.
        """
        later = list(self._later)
        done: list[store.Settled] = []

        def both(db: sqlite3.Connection) -> T:
            done[:] = [one.settle(db, keep=one.keep) for one in later]
            return work(db)

        reads = undo or not write
        try:
            if reads and (undo or later):
                return self._file.transaction(both, undo=True)
            result = self._file.transaction(both, write=write, synced=synced)
        except SpoolUnwritable:
            self._forget(later)  # where it is full without room for a copy too: settled again
            self._later += [_Later(one.settle, keep=False) for one in later if one.keep]
            if later and reads:
                return self._transaction(work, write=False, undo=undo)
            raise
        self._forget(later)
        self._commits += write
        for one in done:
            self._follow(one)
        return result

    def _forget(self, later: Iterable["_Later"]) -> None:
        for one in later:
            with contextlib.suppress(ValueError):  # another thread wrote it too, to no effect
                self._later.remove(one)

    def _keep_reserve(self) -> None:
        """Take the disk reserve again, not more often than a full disk deserves."""
        now_ms = self._now().mono_ms
        # Without it each commit evicts as much as it brings: not for a moment longer than needed.
        if now_ms >= self._reserve_ms or (self._file.is_tight and self._file.has_room):
            self._reserve_ms = now_ms + RESERVE_EVERY_MS
            self._file.keep_reserve()

    def _commit(self, batch: list[Entry]) -> None:
        """Commit; where the disk is full, once more with the least important evicted for room."""
        now = self._now()

        size = sum(item.size for item in batch)

        def work(db: sqlite3.Connection, *, force: bool = False) -> None:
            if force or self._file.is_tight:
                evict.make_room(db, now, size, force=force)
            self._state_drops(db, now)
            store.admit(db, batch, now, self._quota_bytes)

        try:
            self._transaction(work)
        except SpoolUnwritable:
            self._transaction(lambda db: work(db, force=True))

    def _state_drops(self, db: sqlite3.Connection, now: Now) -> None:
        """State what memory had to drop: those messages never got a number."""
        lost = self._dropped
        if not lost.messages:
            return
        epoch = int(rows.read_meta(db, "epoch"))
        stone = Tombstone(
            lane=lost.lane,
            epoch=epoch,
            ranges=[],
            start_ms=lost.start_ms,
            end_ms=lost.end_ms,
            cameras=sorted(lost.cameras),
            reason=f"disk_full: {lost.messages} messages never reached the disk",
        )
        rows.bury(db, epoch, now, [stone])

    def _take_back(self, batch: list[Entry]) -> None:
        """Put a batch that was refused back before what came since; drop beyond the bound."""
        with self._pending_lock:
            self._waiting.extendleft(reversed(batch))
            total = sum(item.size for item in self._waiting)
            while total > HELD_BYTES:
                worst = max(item.row.priority for item in self._waiting)
                victim = next(item for item in self._waiting if item.row.priority == worst)
                self._waiting.remove(victim)
                total -= victim.size
                self._dropped_n += 1
                self._dropped.add(victim)
            self._waiting_bytes = total

    def _write(self) -> None:
        """Commit each second while something waits, or when told to. Thread: the writer."""
        while not self._stop.is_set():
            with self._pending_lock:
                self._pending_lock.wait_for(lambda: self._waiting or self._stop.is_set())
                self._pending_lock.wait_for(
                    lambda: self._urgent or self._stop.is_set(), GROUP_COMMIT_S
                )
                self._urgent = False
            try:
                self.flush()
            except SpoolUnwritable:
                continue  # said once by `flush`; the next second tries again
