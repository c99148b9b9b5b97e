"""Whether two living copies speak with one device's key. Pure.

What lives here: what is remembered of a device's *lives*, and the decision. What does not: what a
quarantined device's messages become (`central.quarantine`), and the answer to a device whose disk
was put back (`commit`: it is asked for a new epoch). The rule: a dead life never speaks again, so
only lives that take turns, again and again and each with its own clock running on, are two.

A *life* is one boot of one machine: a boot id and a monotonic clock that only runs forwards. A
device has one after the other. Reboots, agent restarts, wall clocks that jump, batches that arrive
twice, late or in another order, and a restored central all leave that so:

    reboot                   a new life; the old one is never heard again
    the same batch twice     its monotonic time does not move: no turn
    a late batch             a turn or two of a life that has ended; it never gets to `TURNS`
    a snapshot resumed       the monotonic clock goes back once: a new life
    a disk put back          numbers are given again (`forks`), by one life alone

Two machines that hold a copy each take turns for ever. Machines that share boot id and clock (two
containers of one host, a virtual machine forked while it ran) are told apart by their numbers: the
first collision sends one of them into a new epoch, and on one device nothing is made in an epoch
after a later one was seen.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

TURNS: Final = 3
"""Turns that each of two lives must have taken."""

TURN_SPAN_MS: Final = 60_000
"""Time that must have passed by each life's own clock between its first turn and its last."""

TURN_WITHIN_MS: Final = 1_800_000
"""Turns further apart count anew: a machine that is put back to a snapshot each night is one."""

SAME_LINE_MS: Final = 60_000
"""Within one boot a batch may be this much late and still belong to the newer ones' line."""

PROGRESS_MS: Final = 1_000
"""A turn shows a clock that moved on by this; a repeated batch does not."""

EPOCH_MARGIN_MS: Final = 5_000
"""Two processes of one device see a new epoch within this."""

FORGET_MS: Final = 7 * 86_400_000
MAX_LIVES: Final = 8
MAX_TEXT: Final = 128


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """One batch, as far as it tells who sent it.

    Attributes:
        mono_ms: By the sender's monotonic clock, when it sent.
        epoch: The highest epoch among its messages; 0 where it has none.
        stale: Epoch and monotonic time of its newest message that was made in an epoch after a
            later one had begun; None where there is none. See `find_stale`.
    """

    boot_id: str
    mono_ms: int
    received_ms: int
    address: str = ""
    epoch: int = 0
    stale: tuple[int, int] | None = None


class Life(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One boot of one machine, as far as it was heard.

    Attributes:
        mono_ms: By its own clock, when it sent last.
        turns: How often it spoke on after another life had spoken.
        turn_mono_ms, turn_ms: By its own clock and by central's, when it first did.
    """

    boot_id: str
    mono_ms: int
    since_ms: int
    seen_ms: int
    address: str = ""
    turns: int = 0
    turn_mono_ms: int = 0
    turn_ms: int = 0

    @property
    def lasts(self) -> bool:
        """True where it took enough turns over enough time to be no echo."""
        span_ms = self.mono_ms - self.turn_mono_ms
        # What waited in a proxy arrives at once: then central's clock moved less than its own.
        arrived_ms = self.seen_ms - self.turn_ms
        return self.turns >= TURNS and span_ms >= TURN_SPAN_MS and arrived_ms >= span_ms // 2


class Lives(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What is remembered of one device; the life that spoke last comes last.

    Attributes:
        epoch: The highest epoch seen, first in a batch sent at `epoch_mono_ms` of `epoch_boot`.
        stale: Batches with messages made in `stale_epoch` after that; `stale_from_ms` and
            `stale_to_ms`: when the first and the last such message was made, by that boot's clock.
        forks: How often a number came with another content.
    """

    lives: tuple[Life, ...] = ()
    epoch: int = 0
    epoch_boot: str = ""
    epoch_mono_ms: int = 0
    stale: int = 0
    stale_epoch: int = 0
    stale_from_ms: int = 0
    stale_to_ms: int = 0
    forks: int = 0


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """One of the copies, for a person to find."""

    copy: str
    address: str
    since_ms: int
    seen_ms: int


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Why a device is in quarantine.

    Attributes:
        since_ms: When the younger copy was first heard: what was counted from then until
            `noticed_ms` may be of both.
    """

    why: str
    since_ms: int
    noticed_ms: int
    copies: list[Copy]
    forks: int = 0


def look(before: Lives, sight: Sight) -> Lives:
    """Return what is remembered after `sight`; equal to `before` where nothing new was learnt.

    The last life's clock is kept up to date only while others are remembered beside it: alone it
    is read back from the device's own row (see `current`), so that most batches write nothing.
    """
    return _look_epoch(_look_life(before, sight), sight)


def current(before: Lives, boot_id: str, mono_ms: int | None, seen_ms: int | None) -> Lives:
    """Return `before` with the last life as the device's row has it."""
    if not boot_id or mono_ms is None or seen_ms is None:
        return before
    if not before.lives:
        first = Life(boot_id=boot_id, mono_ms=mono_ms, since_ms=seen_ms, seen_ms=seen_ms)
        return msgspec.structs.replace(before, lives=(first,))
    *others, last = before.lives
    if last.boot_id != boot_id or len(others) > 0:
        return before
    fresh = msgspec.structs.replace(last, mono_ms=mono_ms, seen_ms=seen_ms)
    return msgspec.structs.replace(before, lives=(fresh,))


def fork(before: Lives) -> Lives:
    """Return what is remembered after a number came with another content."""
    return msgspec.structs.replace(before, forks=before.forks + 1)


def find_stale(
    before: Lives, boot_id: str, made: Iterable[tuple[int, str, int]]
) -> tuple[int, int] | None:
    """Return epoch and time of the newest message of an outlived epoch; None where there is none.

    `made` has epoch, boot id and monotonic time of each message of a batch that `boot_id` sent.
    """
    if boot_id != before.epoch_boot:
        return None
    late = [
        (mono_ms, epoch)
        for epoch, boot, mono_ms in made
        if epoch < before.epoch
        and boot == boot_id
        and mono_ms > before.epoch_mono_ms + EPOCH_MARGIN_MS
    ]
    if not late:
        return None
    mono_ms, epoch = max(late)
    return epoch, mono_ms


def decide(lives: Lives, now_ms: int) -> Evidence | None:
    """Return why two copies are alive; None where one device explains everything."""
    lasting = [life for life in lives.lives if life.lasts]
    if len(lasting) > 1:
        return Evidence(
            why="two boots speak in turns, and both clocks run on",
            since_ms=max(life.since_ms for life in lasting),
            noticed_ms=now_ms,
            copies=[_copy(life) for life in lasting],
            forks=lives.forks,
        )
    if lives.stale >= TURNS and lives.stale_to_ms - lives.stale_from_ms >= TURN_SPAN_MS:
        since_ms = now_ms - max(lives.stale_to_ms - lives.epoch_mono_ms, 0)
        address = lives.lives[-1].address if lives.lives else ""
        names = [copy_name(lives.epoch_boot, epoch) for epoch in (lives.stale_epoch, lives.epoch)]
        return Evidence(
            why="messages are still made in an epoch that a later one has ended",
            since_ms=since_ms,
            noticed_ms=now_ms,
            copies=[
                Copy(copy=name, address=address, since_ms=since_ms, seen_ms=now_ms)
                for name in names
            ],
            forks=lives.forks,
        )
    return None


def is_suspected(lives: Lives, now_ms: int) -> bool:
    """True while two copies may be alive and it is not decided: one more turn of an old life.

    It passes by itself: an echo of a life that has ended is forgotten after `TURN_WITHIN_MS`.
    """
    turned = [life for life in lives.lives if life.turns]
    return lives.stale > 0 or any(now_ms - life.seen_ms < TURN_WITHIN_MS for life in turned)


def copy_name(boot_id: str, epoch: int) -> str:
    """Return what a copy is called: by its boot, and by its epoch where boots are shared."""
    return f"{boot_id[:MAX_TEXT]}/{epoch}"


def _copy(life: Life) -> Copy:
    return Copy(
        copy=life.boot_id, address=life.address, since_ms=life.since_ms, seen_ms=life.seen_ms
    )


def _look_life(before: Lives, sight: Sight) -> Lives:
    boot_id, address = sight.boot_id[:MAX_TEXT], sight.address[:MAX_TEXT]
    now_ms = sight.received_ms
    kept = [life for life in before.lives if now_ms - life.seen_ms < FORGET_MS]
    mine = max(
        (
            life
            for life in kept
            if life.boot_id == boot_id and life.mono_ms <= sight.mono_ms + SAME_LINE_MS
        ),
        key=lambda life: life.mono_ms,
        default=None,
    )
    if mine is None:
        new = Life(
            boot_id=boot_id,
            mono_ms=sight.mono_ms,
            since_ms=now_ms,
            seen_ms=now_ms,
            address=address,
        )
        return msgspec.structs.replace(before, lives=(*kept, new)[-MAX_LIVES:])
    is_last = mine is kept[-1]
    if is_last and len(kept) == 1 and len(before.lives) == 1:
        return before  # the common case: one device, one life; its row has the clock
    moved = sight.mono_ms >= mine.mono_ms + PROGRESS_MS
    now = msgspec.structs.replace(
        mine,
        mono_ms=max(mine.mono_ms, sight.mono_ms),
        seen_ms=now_ms if moved else mine.seen_ms,
        address=address or mine.address,
    )
    if not is_last:
        if not moved:
            return before  # an echo: it says nothing of who is alive
        first = mine.turns == 0 or now_ms - mine.seen_ms > TURN_WITHIN_MS
        now = msgspec.structs.replace(
            now,
            turns=1 if first else mine.turns + 1,
            turn_mono_ms=sight.mono_ms if first else mine.turn_mono_ms,
            turn_ms=now_ms if first else mine.turn_ms,
        )
    others = [life for life in kept if life is not mine]
    if not any(life.turns for life in (*others, now)) and is_last:
        return before  # after a reboot: nothing to follow until an old life speaks again
    return msgspec.structs.replace(before, lives=(*others, now))


def _look_epoch(before: Lives, sight: Sight) -> Lives:
    if sight.epoch > before.epoch:
        return msgspec.structs.replace(
            before,
            epoch=sight.epoch,
            epoch_boot=sight.boot_id[:MAX_TEXT],
            epoch_mono_ms=sight.mono_ms,
            stale=0,
        )
    if sight.stale is None or (before.stale and sight.stale[1] <= before.stale_to_ms):
        return before
    epoch, mono_ms = sight.stale
    return msgspec.structs.replace(
        before,
        stale=before.stale + 1,
        stale_epoch=epoch,
        stale_from_ms=before.stale_from_ms if before.stale else mono_ms,
        stale_to_ms=mono_ms,
    )
