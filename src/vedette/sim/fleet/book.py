"""A simulated device's spool as a book in memory: numbers, lanes, epochs, what waits. Pure.

The rules are the real spool's (`edge.spool`): numbers are given when a message is kept; fresh goes
before what waited, alerts before telemetry; only what is acknowledged leaves; a lost spool begins a
new epoch; what the quota evicts is named by a tombstone. What the real one does with files is not
here. Beside that the book remembers everything that was ever made, for the checker.
"""

import zlib
from collections.abc import Iterable
from typing import Final

import msgspec

from vedette.sim.checker import Key
from vedette.wire import codec
from vedette.wire.envelope import ClockState, Envelope, UpAnswer
from vedette.wire.messages import Tombstone
from vedette.wire.streams import BACKFILL_AFTER_S, Lane, stream

BATCH_N: Final = 500
BATCH_BYTES: Final = 256 * 1024
_NEVER_GIVEN: Final = 2**52
_FRESH_MS: Final = int(BACKFILL_AFTER_S * 1000)


class Stretch(msgspec.Struct):
    """What truly was with one camera from `start_ms` to `end_ms`, by central's clock.

    Attributes:
        causes: What central may show for it; None in it: observed. Empty: any cause, not observed.
    """

    camera: str
    start_ms: int
    end_ms: int
    causes: frozenset[str | None]


class Stamp(msgspec.Struct, frozen=True):
    """The device's clocks at one moment, and the true time."""

    true_ms: int
    wall_ms: int
    mono_ms: int
    boot_id: str
    state: ClockState


class Kept(msgspec.Struct):
    """One message that waits."""

    key: Key
    schema: str
    body: bytes
    at: Stamp
    spoken: tuple[str, int, int]  # camera, start and end by the device's clock
    stretches: list[Stretch]


class Book:
    """Thread: one."""

    def __init__(self, quota: int = 0) -> None:
        self.epoch = 1
        self.quota = quota  # messages; 0: none
        self.waiting: dict[Key, Kept] = {}
        self.made: dict[Key, tuple[str, int]] = {}
        self.events: dict[str, Key] = {}
        self.gone: set[Key] = set()
        self.evicted = 0
        self._next: dict[tuple[int, str], int] = {}

    def put(
        self,
        schema: str,
        body: msgspec.Struct,
        at: Stamp,
        *,
        spoken: tuple[str, int, int] = ("", 0, 0),
        stretches: Iterable[Stretch] = (),
    ) -> Kept:
        """Keep a message under the next number of its lane."""
        lane = stream(schema).lane
        seq = self._next.get((self.epoch, lane), 1)
        self._next[self.epoch, lane] = seq + 1
        data = codec.encode(body)
        kept = Kept((self.epoch, str(lane), seq), schema, data, at, spoken, list(stretches))
        self.waiting[kept.key] = kept
        self.made[kept.key] = (schema, zlib.crc32(data))
        if self.quota and len(self.waiting) > self.quota:
            self._evict(at)
        return kept

    def pick(self, now: Stamp) -> list[Kept]:
        """Return what to send next, within the limits of one batch."""

        def order(kept: Kept) -> tuple[bool, bool, int, int]:
            is_old = now.true_ms - kept.at.true_ms > _FRESH_MS
            row = stream(kept.schema)
            return is_old, row.lane is not Lane.ALERT, 0 if is_old else row.priority, kept.key[2]

        chosen: list[Kept] = []
        size = 0
        for kept in sorted(self.waiting.values(), key=order):
            size += len(kept.body)
            if chosen and (size > BATCH_BYTES or len(chosen) >= BATCH_N):
                break
            chosen.append(kept)
        return chosen

    def settle(self, answer: UpAnswer) -> bool:
        """Delete what was acknowledged; False where central knows numbers never given."""
        told: dict[tuple[int, str], tuple[int, list[tuple[int, int]]]] = {}
        for ack in answer.acks:
            if ack.acked_through >= _NEVER_GIVEN:
                return False
            told[ack.epoch, str(ack.lane)] = (ack.acked_through, ack.have)
        for epoch, lane, seq in list(self.waiting):
            through, have = told.get((epoch, lane), (0, []))
            if seq <= through or any(low <= seq <= high for low, high in have):
                del self.waiting[epoch, lane, seq]
        return True

    def renumber(self, epoch: int) -> None:
        """Give everything that waits the numbers of a new epoch."""
        waiting, self.waiting = list(self.waiting.values()), {}
        self.epoch = epoch
        events = {key: name for name, key in self.events.items()}
        for kept in waiting:
            before = kept.key
            lane = before[1]
            seq = self._next.get((epoch, lane), 1)
            self._next[epoch, lane] = seq + 1
            kept.key = (epoch, lane, seq)
            self.waiting[kept.key] = kept
            self.made[kept.key] = self.made.pop(before)
            if before in events:
                self.events[events[before]] = kept.key

    def lose(self) -> None:
        """Be a new, empty spool: what waited is gone, and nobody was told of it."""
        for key, kept in self.waiting.items():
            self.gone.add(key)
            _forget(kept, frozenset())
        self.waiting.clear()
        self.epoch += 1

    def cannot_be_dated(self, boot_id: str) -> None:
        """After a boot nobody can say when messages of another, without a trusted clock, were."""
        for kept in self.waiting.values():
            if kept.at.state is not ClockState.TRUSTED and kept.at.boot_id != boot_id:
                _forget(kept, frozenset())

    def _evict(self, at: Stamp) -> None:
        """Make room: the least important first, then the oldest; say what went."""
        live = [kept for kept in self.waiting.values() if kept.key[1] == Lane.LIVE]
        live.sort(key=lambda kept: (-stream(kept.schema).priority, kept.key))
        for schema in ("health.v1", "aggregate.v1"):
            part = [kept for kept in live[: max(1, self.quota // 10)] if kept.schema == schema]
            if not part:
                continue
            for kept in part:
                del self.waiting[kept.key]
                self.gone.add(kept.key)
                _forget(kept, frozenset({"EVICTED"}))
            self.evicted += len(part)
            for epoch in sorted({kept.key[0] for kept in part}):
                self._bury([kept for kept in part if kept.key[0] == epoch], epoch, at)

    def _bury(self, part: list[Kept], epoch: int, at: Stamp) -> None:
        spoken = [kept.spoken for kept in part if kept.spoken[0]]
        start_ms = min((start for _, start, _ in spoken), default=at.wall_ms)
        stone = Tombstone(
            lane=Lane.LIVE,
            epoch=epoch,
            ranges=ranges(kept.key[2] for kept in part),
            start_ms=start_ms,
            end_ms=max((end for _, _, end in spoken), default=start_ms),
            cameras=sorted({camera for camera, _, _ in spoken}),
        )
        quota, self.quota = self.quota, 0  # a tombstone is never what is dropped for itself
        self.put("tombstone.v1", stone, at)
        self.quota = quota


def _forget(kept: Kept, causes: frozenset[str | None]) -> None:
    """Have what this message observed unknown to central; gaps are known from elsewhere too."""
    for stretch in kept.stretches:
        if causes and None not in stretch.causes:
            stretch.causes |= causes
        else:
            stretch.causes = causes


def ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Return the closed ranges, ascending, that hold exactly these numbers."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def envelope(kept: Kept) -> Envelope:
    """Return a message as it travels."""
    epoch, lane, seq = kept.key
    return Envelope(
        epoch=epoch,
        boot_id=kept.at.boot_id,
        lane=Lane(lane),
        seq=seq,
        t_wall_ms=kept.at.wall_ms,
        t_mono_ms=kept.at.mono_ms,
        clock_state=kept.at.state,
        schema=kept.schema,
        body=msgspec.Raw(kept.body),
    )
