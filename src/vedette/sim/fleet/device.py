"""One simulated device: clocks, cameras, book, and what is true of its time. Pure.

`advance` moves it to a true time in steps of `scenario.STEP_S`, `report` adds a health report,
`request` says what it would send, `answered` takes central's answer. Whoever drives it (`simulate`)
carries bytes and breaks them. What the device knows is told apart from what is true: the truth, a
list of stretches for each camera, is for the checker alone.

It follows the real agent where that shows: minutes are cut at the edge of the device's own clock;
after a boot the time since the last aggregate is stated as DEVICE_DARK; a wrong clock is untrusted
once central's signed time was heard in this boot, or when it lies before what the device knows.
"""

import random
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from vedette.sim.fleet import content
from vedette.sim.fleet.book import Book, Stamp, Stretch
from vedette.sim.fleet.content import MINUTE_MS
from vedette.sim.fleet.scenario import STEP_S, Kind, Scenario, Spell
from vedette.sim.fleet.taking import Taking
from vedette.wire.envelope import ClockState
from vedette.wire.messages import (
    CameraState,
    Cause,
    CoverageReport,
    Span,
    SpoolHealth,
    State,
)
from vedette.wire.streams import REPORT_PERIOD_S

STEP_MS: Final = STEP_S * 1000
REPORT_EVERY: Final = round(REPORT_PERIOD_S / STEP_S)
OFFLINE: Final = frozenset({Kind.OFFLINE, Kind.SITE_CUT, Kind.LOST_SPOOL, Kind.QUOTA})
_OBSERVED: Final[frozenset[str | None]] = frozenset({None})
_FLOOR_MS: Final = 1_767_225_600_000
"""2026: no clock that a device believes was right before."""


class _Camera:
    """One camera: whether it is up, and what the minute under way was like."""

    def __init__(self, name: str, at_ms: int) -> None:
        self.name = name
        self.is_up = True
        self.since_ms = at_ms  # by the device's clock
        self.cut_ms = at_ms  # true time of the last cut
        self.parts: list[tuple[int, int, bool]] = []  # true start, end, up

    def add(self, start_ms: int, end_ms: int) -> None:
        """Live through a step."""
        if self.parts and self.parts[-1][2] == self.is_up and self.parts[-1][1] == start_ms:
            self.parts[-1] = (self.parts[-1][0], end_ms, self.is_up)
        else:
            self.parts.append((start_ms, end_ms, self.is_up))


class Device:
    """Thread: one."""

    def __init__(
        self, number: int, name: str, scenario: Scenario, spells: Sequence[Spell], start_ms: int
    ) -> None:
        self.number: Final = number
        self.name: Final = name
        self.book: Final = Book()
        self.truth: dict[str, list[Stretch]] = {}
        self.now_ms: int = start_ms
        self.refused = False
        self.report_every = REPORT_EVERY
        self.taking: Taking | None = None  # part in a rollout
        self.wants_time = True
        self._start_ms: Final = start_ms
        self._spells: Final = spells
        self._events_chance: Final = scenario.events_per_h * STEP_S / 3600
        self._random: Final = random.Random(scenario.seed * 100_003 + number)  # noqa: S311
        self._boots = 0
        self._boot_ms = start_ms - 3_600_000
        self._skew_ms = 0
        self._phase = number % 2  # many at once make large groups, two groups take turns
        self._is_on = True
        self._knows_time = False
        self._cameras = [_Camera(one, start_ms) for one in content.camera_names(scenario.cameras)]
        self._active: set[int] = set()

    # ------------------------------------------------------------------------------------ clocks

    @property
    def boot_id(self) -> str:
        """Of this boot."""
        return f"boot-{self._boots}"

    @property
    def is_on(self) -> bool:
        """True while it has power."""
        return self._is_on

    @property
    def stamp(self) -> Stamp:
        """The device's clocks now."""
        wall_ms = self.now_ms + self._skew_ms
        state = ClockState.TRUSTED if self._knows_time else ClockState.FLOOR
        if wall_ms < _FLOOR_MS or (self._knows_time and abs(self._skew_ms) > 2_000):
            state = ClockState.UNTRUSTED
        return Stamp(self.now_ms, wall_ms, self.now_ms - self._boot_ms, self.boot_id, state)

    @property
    def has_spells(self) -> bool:
        """True where anything happens to it in this run."""
        return bool(self._spells)

    def learn_time(self) -> None:
        """Have heard central's signed time in this boot."""
        self._knows_time = True
        self.wants_time = False

    # -------------------------------------------------------------------------------------- time

    def active(self, *kinds: Kind) -> Spell | None:
        """Return the first spell of these kinds that lasts now."""
        at_ms = self.now_ms - self._start_ms
        for spell in self._spells:
            if spell.start_ms <= at_ms < spell.end_ms and spell.fault.kind in kinds:
                return spell
        return None

    def strikes(self, kind: Kind) -> bool:
        """True where a fault by chance hits the batch that is sent now."""
        spell = self.active(kind)
        return spell is not None and self._random.random() < spell.fault.chance

    @property
    def is_reachable(self) -> bool:
        """True where it can reach central."""
        is_cut_off = self.taking is not None and self.taking.is_cut_off
        is_offline = is_cut_off or self.active(*OFFLINE) is not None
        return self._is_on and not self.refused and not is_offline

    def advance(self, to_ms: int) -> None:
        """Live through one step, then meet the faults that begin or end at its end."""
        if self._is_on:
            for camera in self._cameras:
                camera.add(self.now_ms, to_ms)
        self.now_ms = to_ms
        if self._is_on:
            if (to_ms + self._skew_ms) % MINUTE_MS == 0:
                self._cut()
            self._maybe_events()
        self._meet_faults()

    @property
    def is_due(self) -> bool:
        """True in the step in which its report is due."""
        return self._is_on and (self.now_ms // STEP_MS + self._phase) % self.report_every == 0

    def _meet_faults(self) -> None:
        at_ms = self.now_ms - self._start_ms
        for number, spell in enumerate(self._spells):
            if number not in self._active and spell.start_ms <= at_ms < spell.end_ms:
                self._active.add(number)
                _BEGIN.get(spell.fault.kind, _nothing)(self, spell)
            elif number in self._active and at_ms >= spell.end_ms:
                self._active.discard(number)
                _END.get(spell.fault.kind, _nothing)(self, spell)
        flap = self.active(Kind.FLAP)
        if flap and self._is_on:
            phase = int((at_ms - flap.start_ms) // (flap.fault.every_min * 60_000))
            self.set_camera(self._cameras[0], is_up=phase % 2 == 1)

    # ------------------------------------------------------------------------------------ faults

    def power_off(self) -> None:
        """Lose power, and with it the minute under way."""
        self._is_on = False

    def boot(self, skew_ms: int = 0) -> None:
        """Start anew; the time since each camera's last aggregate is stated as dark."""
        self._boots += 1
        self._boot_ms = self.now_ms
        self._is_on = True
        self._skew_ms = skew_ms
        self._knows_time = False
        self.wants_time = True
        self.book.cannot_be_dated(self.boot_id)
        for camera in self._cameras:
            self._state_dark(camera)
            camera.parts = []
            camera.cut_ms = self.now_ms

    def _state_dark(self, camera: _Camera) -> None:
        """State the time since the last aggregate, unless the clock is plainly wrong."""
        stretch = self._true(camera, camera.cut_ms, self.now_ms, frozenset({"DEVICE_DARK"}))
        if self.stamp.state is ClockState.UNTRUSTED:
            stretch.causes = frozenset()
            return
        span = Span(start_ms=camera.cut_ms, end_ms=self.now_ms, cause=Cause.DEVICE_DARK)
        body = CoverageReport(camera=camera.name, spans=[span])
        self.book.put("coverage.v1", body, self.stamp, stretches=[stretch])

    def set_clock(self, skew_ms: int) -> None:
        """Have the wall clock stepped; the slice under way ends before."""
        self._cut()
        self._skew_ms = skew_ms
        self.wants_time = True

    def set_camera(self, camera: _Camera, *, is_up: bool) -> None:
        """Have a camera go or come."""
        if camera.is_up == is_up:
            return
        camera.is_up = is_up
        at_ms = camera.since_ms = self.stamp.wall_ms
        body = CameraState(
            camera=camera.name,
            at_ms=at_ms,
            noticed_ms=at_ms,
            state=State.OK if is_up else State.DOWN,
            cause=None if is_up else Cause.CAMERA_DOWN,
        )
        self.book.put("camera_state.v1", body, self.stamp)

    def first_camera_up(self) -> None:
        """Have the flapping camera back."""
        self.set_camera(self._cameras[0], is_up=True)

    # ---------------------------------------------------------------------------------- messages

    def _cut(self) -> None:
        """End the slice of each camera and keep its aggregate."""
        for camera in self._cameras:
            if not camera.parts:
                continue
            start_ms, end_ms = camera.parts[0][0], camera.parts[-1][1]
            spans = [self._span(part) for part in camera.parts]
            stretches = [
                self._true(camera, start, end, _OBSERVED if up else frozenset({"CAMERA_DOWN"}))
                for start, end, up in camera.parts
            ]
            skew = self._skew_ms
            body = content.aggregate(
                self._random,
                camera.name,
                start_ms + skew,
                end_ms + skew,
                spans,
                like=self.taking.running if self.taking else None,
                slowness=self.taking.slowness if self.taking else 1.0,
            )
            spoken = (camera.name, start_ms + skew, end_ms + skew)
            self.book.put("aggregate.v1", body, self.stamp, spoken=spoken, stretches=stretches)
            camera.parts = []
            camera.cut_ms = end_ms

    def _span(self, part: tuple[int, int, bool]) -> Span:
        start_ms, end_ms, is_up = part
        return Span(
            start_ms=start_ms + self._skew_ms,
            end_ms=end_ms + self._skew_ms,
            cause=None if is_up else Cause.CAMERA_DOWN,
            rate_fps=content.RATE_FPS if is_up else None,
        )

    def _true(
        self, camera: _Camera, start_ms: int, end_ms: int, causes: frozenset[str | None]
    ) -> Stretch:
        stretch = Stretch(camera.name, start_ms, end_ms, causes)
        if end_ms > start_ms:
            self.truth.setdefault(camera.name, []).append(stretch)
        return stretch

    def _maybe_events(self) -> None:
        for camera in self._cameras:
            if camera.is_up and self._random.random() < self._events_chance:
                name = f"ev-{self.number}-{len(self.book.events)}"
                body = content.event(self._random, name, camera.name, self.stamp.wall_ms)
                self.book.events[name] = self.book.put("event.v1", body, self.stamp).key

    def report(self) -> None:
        """Keep a health report."""
        at = self.stamp
        oldest = min((kept.at.true_ms for kept in self.book.waiting.values()), default=None)
        depth: dict[str, int] = {}
        for _, lane, _ in self.book.waiting:
            depth[lane] = depth.get(lane, 0) + 1
        cameras = [
            content.camera_health(
                self._random,
                camera.name,
                state=State.OK if camera.is_up else State.DOWN,
                since_ms=max(camera.since_ms, 0),
                last_frame_ms=at.wall_ms if camera.is_up else None,
            )
            for camera in self._cameras
        ]
        spool = SpoolHealth(
            depth=depth,
            oldest_ms=None if oldest is None else max(oldest + self._skew_ms, 0),
            evicted=self.book.evicted,
            epoch=self.book.epoch,
        )
        body = content.health(
            self._random,
            at_ms=at.wall_ms,
            boot_id=at.boot_id,
            uptime_s=at.mono_ms / 1000,
            cameras=cameras,
            spool=spool,
            since_ms=max(at.wall_ms - at.mono_ms, 0),
        )
        if self.taking is not None:
            body = msgspec.structs.replace(
                body,
                assignment_version=self.taking.version,
                updates=[self.taking.health(at.wall_ms)],
                models=[content.model_health(self._random, self.taking.running)],
            )
        self.book.put("health.v1", body, at)


def _nothing(_device: Device, _spell: Spell) -> None:
    return None


def _wake_1970(device: Device, _spell: Spell) -> None:
    device.power_off()
    device.boot(-(device.now_ms // MINUTE_MS) * MINUTE_MS + MINUTE_MS)


def _set_quota(device: Device, spell: Spell) -> None:
    device.book.quota = spell.fault.messages


def _lift_quota(device: Device, _spell: Spell) -> None:
    device.book.quota = 0


_Meet = Callable[[Device, Spell], None]

_BEGIN: Final[dict[Kind, _Meet]] = {
    Kind.POWER: lambda device, _: device.power_off(),
    Kind.CLOCK: lambda device, spell: device.set_clock(spell.fault.by_min * MINUTE_MS),
    Kind.WAKE_1970: _wake_1970,
    Kind.QUOTA: _set_quota,
}
_END: Final[dict[Kind, _Meet]] = {
    Kind.POWER: lambda device, _: device.boot(),
    Kind.CLOCK: lambda device, _: device.set_clock(0),
    Kind.WAKE_1970: lambda device, _: device.set_clock(0),
    Kind.FLAP: lambda device, _: device.first_camera_up(),
    Kind.LOST_SPOOL: lambda device, _: device.book.lose(),
    Kind.QUOTA: _lift_quota,
}
