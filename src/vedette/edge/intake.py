"""From capture to workers: one slot per camera, newest wins, and no queue.

A live camera's slot holds one frame; a newer one replaces it and the old one is handed back to be
counted as dropped(stale). A file never drops: its capture thread waits until the slot is free. What
is past its deadline when taken is handed back as stale: under overload the machine stays current
instead of late, but for a camera that had no turn for long (`STARVED`).

Who comes next, in this order:

1. Tier realtime: the earliest *turn*. A camera's turn is the deadline of the first frame that it
   offered since it was last served, plus one budget for each of its frames in flight. It does not
   move when a newer frame replaces the waiting one: who waits grows more urgent, so that a short
   budget gives more turns but starves nobody.
2. Tier batch: served by workers that would idle. Who has waited for half a period is overdue and
   gets at least every `BATCH_SHARE`-th turn, however busy the realtime cameras are.

Frames of one model may go together (accelerators): `edge.buckets` says when.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from vedette.clock import NS_PER_S
from vedette.edge.buckets import Buckets

F = TypeVar("F")

BATCH_SHARE: Final = 8
"""Of so many turns at least one goes to an overdue camera of the tier batch."""

STARVED: Final = 4
"""A camera without a turn for so many budgets is served once with a late frame. Cameras in step,
each frame of one just behind another's, would else be dropped as stale for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What was agreed for one camera.

    Attributes:
        live: True: newest wins; False: a file, which never drops.
        budget_ms: Age at which a live frame is not worth analysing any more.
        every_s: The period of a camera of the tier batch; None for realtime.
        group: What frames must have in common to go through one call: the model.
        most: Frames that may be in flight at once.
    """

    live: bool
    budget_ms: float = 500.0
    every_s: float | None = None
    group: str = ""
    most: int = 64


@dataclass(slots=True)
class _Slot(Generic[F]):
    name: str
    terms: Terms
    budget_ns: int
    frame: F | None = None
    deadline_ns: int = 0  # of the frame
    turn_ns: int | None = None  # of the camera
    in_flight: int = 0

    @property
    def is_batch(self) -> bool:
        return self.terms.every_s is not None

    @property
    def is_ready(self) -> bool:
        return self.frame is not None and self.in_flight < self.terms.most

    def is_starved(self, now_ns: int) -> bool:
        """Whether frame after frame of this camera came too late."""
        return self.turn_ns is not None and now_ns - self.turn_ns > STARVED * self.budget_ns

    @property
    def rank_ns(self) -> int:
        """Return how urgent the camera is: the smaller, the more."""
        return (self.turn_ns or 0) + self.in_flight * self.budget_ns


@dataclass(slots=True)
class _Pick(Generic[F]):
    """What is to be taken, or until when to wait for more."""

    slots: "list[_Slot[F]]" = field(default_factory=list)
    not_before_ns: int | None = None


class Intake(Generic[F]):
    """All cameras' slots.

    Args:
        cameras: What was agreed for each.
        mono_ns: The clock that the frames' capture times were read from.
        on_stale: Called, outside the lock, with the camera and a frame that was dropped.
        workers: How many threads take frames.
        buckets: How many frames of a group go together; by default one.

    Thread: any.
    """

    def __init__(
        self,
        cameras: Mapping[str, Terms],
        *,
        mono_ns: Callable[[], int],
        on_stale: Callable[[str, F], None],
        workers: int = 1,
        buckets: Mapping[str, Buckets] | None = None,
    ) -> None:
        self._slots: dict[str, _Slot[F]] = {
            name: _Slot(name, terms, round(terms.budget_ms * 1e6))
            for name, terms in cameras.items()
        }
        self._mono_ns = mono_ns
        self._on_stale = on_stale
        self._buckets = dict(buckets or {})
        self._changed = threading.Condition()
        self._closed = False
        self._since_batch = 0
        # One worker stays free for whoever must not wait, where there are two and such cameras.
        mixed = any(not slot.is_batch for slot in self._slots.values())
        self._most_batch = max(1, workers - 1) if mixed else workers

    def offer(self, camera: str, frame: F, captured_mono_ns: int) -> bool:
        """Put a frame into its camera's slot; False where the intake is closed.

        A file's frame waits here until the slot is free: that is its back-pressure.
        """
        stale: F | None = None
        with self._changed:
            slot = self._slots[camera]
            if not slot.terms.live:
                self._changed.wait_for(lambda: self._closed or slot.frame is None)
            if self._closed:
                return False
            stale, slot.frame = slot.frame, frame
            if slot.terms.every_s is None:
                slot.deadline_ns = captured_mono_ns + slot.budget_ns
            else:  # a newer frame replaces it before it is too old
                slot.deadline_ns = captured_mono_ns + round(2 * slot.terms.every_s * NS_PER_S)
            if slot.turn_ns is None:
                half_ns = round((slot.terms.every_s or 0.0) / 2 * NS_PER_S)
                slot.turn_ns = captured_mono_ns + (half_ns or slot.budget_ns)
            self._changed.notify_all()
        if stale is not None:
            self._on_stale(camera, stale)
        return True

    def take(self, *, wait: bool = True) -> list[tuple[str, F]] | None:
        """Return the most urgent frame with its camera, or several that go together.

        Args:
            wait: False: return an empty list where there is nothing to be done now.

        Returns:
            At least one frame, waiting for it; None once closed.
        """
        while True:
            late: list[tuple[str, F]] = []
            taken: list[tuple[str, F]] = []
            with self._changed:
                pick = self._pick(self._mono_ns())
                while not pick.slots and not self._closed and wait:
                    self._changed.wait(self._seconds_to(pick.not_before_ns))
                    pick = self._pick(self._mono_ns())
                if self._closed and not pick.slots:
                    return None
                now_ns = self._mono_ns()
                for slot in pick.slots:
                    self._take_from(slot, now_ns, taken, late)
                self._changed.notify_all()
            for camera, frame in late:
                self._on_stale(camera, frame)
            if taken or not wait:
                return taken

    def done(self, camera: str) -> None:
        """Say that the frame taken for `camera` left the worker."""
        with self._changed:
            self._slots[camera].in_flight -= 1
            self._changed.notify_all()

    def depth(self, camera: str) -> int:
        """Return frames waiting or being worked on for one camera."""
        with self._changed:
            slot = self._slots[camera]
            return slot.in_flight + (slot.frame is not None)

    @property
    def is_idle(self) -> bool:
        """Whether no frame waits for a worker; a moment's truth."""
        with self._changed:
            return all(slot.frame is None for slot in self._slots.values())

    def close(self) -> list[tuple[str, F]]:
        """Wake everybody up, accept nothing more, and return what was still waiting."""
        with self._changed:
            self._closed = True
            rest = [(name, s.frame) for name, s in self._slots.items() if s.frame is not None]
            for slot in self._slots.values():
                slot.frame = None
            self._changed.notify_all()
        return rest

    # ---------------------------------------------------------------------------------- inside

    def _take_from(
        self,
        slot: _Slot[F],
        now_ns: int,
        taken: list[tuple[str, F]],
        late: list[tuple[str, F]],
    ) -> None:
        frame, slot.frame = slot.frame, None
        assert frame is not None
        if slot.terms.live and now_ns > slot.deadline_ns and not slot.is_starved(now_ns):
            late.append((slot.name, frame))  # the camera was not served: its turn stays
            return
        slot.turn_ns = None
        slot.in_flight += 1
        self._since_batch = 0 if slot.is_batch else self._since_batch + 1
        taken.append((slot.name, frame))

    def _pick(self, now_ns: int) -> _Pick[F]:
        """Return what goes to a worker now; else until when it is worth waiting for more."""
        ready = sorted((s for s in self._slots.values() if s.is_ready), key=lambda s: s.rank_ns)
        batch = [slot for slot in ready if slot.is_batch] if self._batch_may_run() else []
        urgent = [slot for slot in ready if not slot.is_batch]
        overdue = batch and now_ns >= batch[0].rank_ns and self._since_batch >= BATCH_SHARE - 1
        if overdue or not urgent:
            return _Pick(batch[:1])
        if len(urgent) == 1 and not self._buckets:
            return _Pick(urgent)
        not_before: list[int] = []
        for group in dict.fromkeys(slot.terms.group for slot in urgent):
            together = [slot for slot in urgent if slot.terms.group == group]
            count, at_ns = self._together(group, together, now_ns)
            if count:
                return _Pick(together[:count])
            not_before.append(at_ns)
        # While accelerator frames wait for company, nobody else does.
        return _Pick(batch[:1], min(not_before))

    def _together(self, group: str, waiting: list[_Slot[F]], now_ns: int) -> tuple[int, int]:
        """Return how many of a group's waiting frames go now, or 0 and when the first must."""
        buckets = self._buckets.get(group)
        if buckets is None:
            return 1, now_ns
        live = [slot.deadline_ns for slot in waiting if slot.terms.live]
        deadline_ns = min(live) if len(live) == len(waiting) else now_ns
        return buckets.decide(len(waiting), deadline_ns, now_ns)

    def _batch_may_run(self) -> bool:
        running = sum(slot.in_flight for slot in self._slots.values() if slot.is_batch)
        return running < self._most_batch

    def _seconds_to(self, at_ns: int | None) -> float | None:
        return None if at_ns is None else max(0.0005, (at_ns - self._mono_ns()) / NS_PER_S)
