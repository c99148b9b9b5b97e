"""How a simulated device takes part in a rollout: from an assignment to confirmed, or back. Pure.

It follows the real updater (`edge.updating`) where that shows: what is assigned is verified first,
every step is told as `update.v1` and stands in the next health report, windows are the site's local
time and need a clock that can be believed, what is on probation runs, and what was before stays
installed to go back to. The steps themselves take scripted times. The rule: what a device runs is
what its numbers are made of, whatever it says.
"""

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from vedette.clock import from_wall_ms
from vedette.sim.fleet.beside import Beside
from vedette.sim.fleet.performance import Performance
from vedette.wire.slots import ArtefactKind, UpdateHealth, UpdateState
from vedette.wire.updates import Artefact, Assigned, Assignment, UpdateReport

_ENDED: Final = frozenset({UpdateState.CONFIRMED, UpdateState.REVERTED})
_STEP_S: Final = 20.0


class Conduct(enum.StrEnum):
    """How a device behaves when it is its turn."""

    NORMAL = "normal"
    SILENT = "silent"  # cannot reach central from the moment it is told
    REVERTS = "reverts"  # its golden frames fail on probation: it goes back by itself
    LOST = "lost"  # dies as soon as it runs the new one
    SLOW = "slow"  # its line takes an hour for the download
    WAKES_1970 = "wakes_1970"  # boots with a wrong clock: it cannot keep a window
    WRONG_WINDOW = "wrong_window"  # its clock is half a day off: it opens at the wrong time


class Taking:
    """The slot of one device. Thread: one."""

    def __init__(
        self,
        slot: str,
        running: Performance,
        known: Mapping[str, Performance],
        *,
        time_zone: str,
        kind: ArtefactKind = ArtefactKind.MODEL,
        conduct: Conduct = Conduct.NORMAL,
        kbit_s: float = 4_000.0,
        slowness: float = 1.0,
        begin: Callable[[Assigned, int], Beside] | None = None,
    ) -> None:
        """Begin with what the device came with.

        Args:
            slot: Of the device.
            running: What fills it.
            known: All artefacts there are, by digest.
            time_zone: Of the site.
            kind: Of what the slot takes.
            conduct: How it behaves when it is its turn.
            kbit_s: Of its line.
            slowness: Of this machine, against the others.
            begin: Starts a candidate beside what runs, at a moment; None: it can run none.
        """
        self.slot: Final = slot
        self.kind: Final = kind
        self.conduct: Final = conduct
        self.slowness: Final = slowness
        self.beside: Beside | None = None
        self.running = running
        self.previous: Performance | None = None
        self.version = 0
        self.item: Assigned | None = None
        self.state: UpdateState | None = None
        self.problem = ""
        self.crashes = 0
        self.has_died = False
        self._known: Final = known
        self._zone: Final = ZoneInfo(time_zone)
        self._kbit_s: Final = 90.0 if conduct is Conduct.SLOW else kbit_s
        self._begin: Final = begin
        self._since_ms = 0
        self._failed: set[tuple[str, int]] = set()

    def hear(self, said: Assignment, refused: Callable[[Assigned], str], now_ms: int) -> None:
        """Take up a newer assignment; `refused` says why an item may not be followed, or nothing.

        An older version, and one that was heard, change nothing.
        """
        if said.version <= self.version:
            return
        self.version = said.version
        mine = [one for one in said.items if one.slot == self.slot]
        self._run_beside(
            next((one for one in mine if one.shadow is not None), None), refused, now_ms
        )
        item = next((one for one in mine if one.shadow is None), None)
        if item is None:
            return
        if (item.rollout, item.attempt) in self._failed or _is_same(self.item, item):
            return
        self.item, self.state, self.problem = item, UpdateState.ASSIGNED, ""
        self._since_ms = now_ms
        why = refused(item)
        if why:
            self._fail(why, now_ms)

    def _run_beside(
        self, item: Assigned | None, refused: Callable[[Assigned], str], now_ms: int
    ) -> None:
        """Have a candidate begin, go on, or end, as the assignment has it."""
        if item is None or refused(item):
            self.beside = None
        elif self._begin and (self.beside is None or not _is_same(self.beside.item, item)):
            self.beside = self._begin(item, now_ms)

    @property
    def is_cut_off(self) -> bool:
        """True where the script has it silent from now on."""
        told = self.item is not None and self.state not in {None, UpdateState.CONFIRMED}
        return self.has_died or (self.conduct is Conduct.SILENT and told)

    def step(self, now_ms: int, *, is_timed: bool) -> UpdateReport | None:
        """Go on by one step at most; return what is told of it, None: nothing new."""
        item = self.item
        if item is None or self.state is None or self.state in _ENDED:
            return None
        was = self.state
        waited_s = (now_ms - self._since_ms) / 1000
        next_one = self._next(item, waited_s, now_ms, is_timed=is_timed)
        if next_one is None:
            return None
        self._turn(next_one, item, now_ms)
        return self.report(now_ms, was)

    def _next(
        self, item: Assigned, waited_s: float, now_ms: int, *, is_timed: bool
    ) -> UpdateState | None:
        """Return the state that follows now; None: it stays."""
        match self.state:
            case UpdateState.ASSIGNED:
                return UpdateState.DOWNLOADED if waited_s >= self._download_s(item) else None
            case UpdateState.DOWNLOADED:
                return UpdateState.VERIFIED if waited_s >= _STEP_S else None
            case UpdateState.VERIFIED:
                return UpdateState.WAITING_WINDOW
            case UpdateState.WAITING_WINDOW:
                return self._at_window(item, now_ms, is_timed=is_timed)
            case UpdateState.ACTIVATING:
                load_s = self._known[item.artefact.digest].load_s
                return UpdateState.PROBATION if waited_s >= load_s else None
            case UpdateState.PROBATION:
                return self._on_probation(item, waited_s)
            case _:
                return None

    def _download_s(self, item: Assigned) -> float:
        if self._is_here(item.artefact):
            return 0.0
        limit = item.max_kbit_s or self._kbit_s
        return item.artefact.bytes * 8 / 1000 / min(limit, self._kbit_s)

    def _is_here(self, artefact: Artefact) -> bool:
        before = self.previous.digest if self.previous else ""
        return artefact.digest in {self.running.digest, before}

    def _at_window(self, item: Assigned, now_ms: int, *, is_timed: bool) -> UpdateState | None:
        if item.windows and not is_timed:
            self.problem = "the clock cannot be believed, so no window can be kept"
            return None
        self.problem = ""
        shift_ms = 12 * 3_600_000 if self.conduct is Conduct.WRONG_WINDOW else 0
        is_in_time = is_open(item.windows, self._zone, now_ms + shift_ms)
        return UpdateState.ACTIVATING if is_in_time else None

    def _on_probation(self, item: Assigned, waited_s: float) -> UpdateState | None:
        is_new = self.previous is not None and item.artefact.digest != self.previous.digest
        goes_wrong = is_new and waited_s >= min(60.0, item.probation_s / 2)
        if self.conduct is Conduct.REVERTS and goes_wrong:
            self.problem = "golden frame 3 differs: 2 objects were expected, 1 was found"
            return UpdateState.REVERTED
        return UpdateState.CONFIRMED if waited_s >= item.probation_s else None

    def _turn(self, to: UpdateState, item: Assigned, now_ms: int) -> None:
        if to is UpdateState.PROBATION:
            wanted = self._known[item.artefact.digest]
            if wanted.digest != self.running.digest:
                self.previous, self.running = self.running, wanted
            self.has_died = self.conduct is Conduct.LOST
        if to is UpdateState.REVERTED:
            self._failed.add((item.rollout, item.attempt))
            if self.previous is not None and self.running.digest == item.artefact.digest:
                self.running, self.previous = self.previous, None
        self.state, self._since_ms = to, now_ms

    def _fail(self, why: str, now_ms: int) -> None:
        self.problem = why
        if self.item is not None:
            self._turn(UpdateState.REVERTED, self.item, now_ms)

    def report(self, at_ms: int, was: UpdateState | None) -> UpdateReport | None:
        """Return what is told of the present state."""
        if self.item is None or self.state is None:
            return None
        return UpdateReport(
            at_ms=max(at_ms, 0),
            rollout=self.item.rollout,
            slot=self.slot,
            kind=self.item.artefact.kind,
            attempt=self.item.attempt,
            digest=self.item.artefact.digest,
            state=self.state,
            was=was,
            running=self.running.digest,
            detail=self.problem,
        )

    def health(self, now_ms: int) -> UpdateHealth:
        """Return the slot as the health report says it."""
        item = self.item
        done = 0
        if item is not None:
            rate = min(item.max_kbit_s or self._kbit_s, self._kbit_s)
            done = round((now_ms - self._since_ms) / 1000 * rate * 125)
            if self.state is not UpdateState.ASSIGNED:
                done = item.artefact.bytes
        return UpdateHealth(
            slot=self.slot,
            kind=self.kind,
            rollout=item.rollout if item else "",
            attempt=item.attempt if item else 0,
            state=self.state,
            since_ms=max(self._since_ms, 0),
            digest=item.artefact.digest if item else "",
            running=self.running.digest,
            previous=self.previous.digest if self.previous else "",
            bytes_done=min(max(done, 0), item.artefact.bytes) if item else 0,
            bytes=item.artefact.bytes if item else 0,
            problem=self.problem,
            load_s=self.running.load_s,
            golden_ok=self.running.golden_ok,
        )


def is_open(windows: Sequence[tuple[str, str]], zone: ZoneInfo, at_ms: int) -> bool:
    """True where a moment lies in a window of local time; none: always. Some go over midnight."""
    local = from_wall_ms(at_ms).astimezone(zone).strftime("%H:%M")
    return not windows or any(
        begin <= local < end if begin <= end else not end <= local < begin for begin, end in windows
    )


def _is_same(one: Assigned | None, other: Assigned) -> bool:
    """True where an item was taken up already."""
    if one is None:
        return False
    return msgspec.structs.replace(one, windows=[], max_kbit_s=None) == msgspec.structs.replace(
        other, windows=[], max_kbit_s=None
    )
