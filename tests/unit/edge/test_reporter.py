"""The reporter: slices and windows end where they should, however the clock is set."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.clock import ManualClock, wall_ms
from vedette.edge import heartbeat, requests
from vedette.edge.capture import CameraUp
from vedette.edge.models import Models
from vedette.edge.reporter import MINUTE_MS, Reporter, next_cut_ms
from vedette.edge.settings import Telemetry
from vedette.edge.steady import SteadyClock
from vedette.ids import CameraId
from vedette.inference.library import Library
from vedette.wire.messages import Aggregate, Cause, CoverageReport, State

MakeStreet = Callable[..., Any]
Desk = Callable[..., Any]


class StillPipeline:
    """What the reporter asks of a pipeline, with nothing running."""

    def __init__(self) -> None:
        self.capture = self
        self.checks = 0
        self.needs_process_restart = False

    def check(self) -> None:
        """Count."""
        self.checks += 1

    def depth(self, _camera: str) -> int:
        """Nothing is on its way."""
        return 0


class Office:
    """A reporter over one lane, and all that it handed out."""

    def __init__(self, street: Any, clock: ManualClock, folder: Path, settings: Telemetry) -> None:
        self.street = street
        self.system = clock
        self.clock = SteadyClock(clock)
        self.said: list[msgspec.Struct] = []
        self.pipeline = StillPipeline()
        self.folder = folder
        self.zero = clock.now_at()
        self.reporter = Reporter(
            self.pipeline,  # pyright: ignore[reportArgumentType]
            [street.lane],
            Models(Library(folder), ["cpu"], self.clock),
            self.clock,
            settings=settings,
            state_dir=folder,
            boot_id="boot",
            emit=self.said.append,
        )
        lane = street.lane
        t_s = clock.mono_ns() / 1e9
        lane.says(CameraUp(CameraId("door"), clock.now_at(), t_s, "h264", (320, 192), "clip"))

    def pass_time(self, seconds: float, *, looks: bool = True) -> None:
        """Let time pass by half seconds, a picture looked at and a tick in each."""
        for _ in range(round(seconds * 2)):
            self.system.advance(0.5)
            if looks:
                frame = self.street.frame_now()
                frame.captured_at = self.clock.now_at()
                lane = self.street.lane
                lane.finish(lane.look(frame), frame, "analysed", self.street.result(0.0))
            self.reporter.tick()

    @property
    def slices(self) -> list[Aggregate]:
        """The slices so far."""
        return [m for m in self.said if isinstance(m, Aggregate)]


@pytest.fixture
def office(street: MakeStreet, clock: ManualClock, tmp_path: Path) -> Desk:
    """Make a reporter's office."""

    def make(**settings: float) -> Office:
        fields = {"aggregate_period_s": 20.0, "report_period_s": 30.0, **settings}
        return Office(street(), clock, tmp_path, Telemetry(**fields))

    return make


@given(start=st.integers(0, 10**13), period_s=st.integers(1, 60))
def test_a_slice_never_crosses_a_minute(start: int, period_s: int) -> None:
    """The next cut is later than the start, within the period and within the minute."""
    end = next_cut_ms(start, period_s * 1000)
    assert start < end <= start + period_s * 1000
    assert start // MINUTE_MS == (end - 1) // MINUTE_MS


def test_slices_end_at_their_period_without_a_hole(office: Desk) -> None:
    """Three minutes in slices of twenty seconds: nine of them, tiling time."""
    desk = office()
    desk.pass_time(181)
    zero_ms = wall_ms(desk.zero)
    assert [(s.start_ms - zero_ms, s.end_ms - zero_ms) for s in desk.slices] == [
        (k * 20_000, (k + 1) * 20_000) for k in range(9)
    ]
    assert {span.cause for s in desk.slices for span in s.spans} == {None}
    assert sum(s.frames.captured for s in desk.slices) in range(358, 363)


def test_a_reporter_that_comes_late_still_ends_slices_at_minutes(office: Desk) -> None:
    """After ninety seconds without a tick there is one slice per minute, and none is longer."""
    desk = office()
    desk.pass_time(10)
    desk.system.advance(90)
    desk.reporter.tick()
    zero_ms = wall_ms(desk.zero)
    assert [(s.start_ms - zero_ms, s.end_ms - zero_ms) for s in desk.slices] == [
        (0, 60_000),
        (60_000, 100_000),
    ]
    stalled = [s for m in desk.slices for s in m.spans if s.cause is Cause.PIPELINE_STOPPED]
    assert sum(s.end_ms - s.start_ms for s in stalled) == 90_000


@pytest.mark.parametrize("step_s", [-7200.0, -30.0, 30.0, 7200.0, 1.5e9])
def test_a_clock_that_is_set_makes_no_overlap_and_no_hole(office: Desk, step_s: float) -> None:
    """Slices before the step end by the old time; those after it run on from the new."""
    desk = office()
    desk.pass_time(33)
    before = len(desk.slices)
    old_ms = wall_ms(desk.clock.now_at())
    desk.system.step_wall(desk.system.now_at() + timedelta(seconds=step_s))
    desk.pass_time(50)
    new_ms = wall_ms(desk.clock.now_at())
    assert abs(new_ms - old_ms - step_s * 1000 - 50_000) < 5
    old, new = desk.slices[: before + 1], desk.slices[before + 1 :]
    for group in (old, new):
        for one, other in itertools.pairwise(group):
            assert one.end_ms == other.start_ms
    for one in desk.slices:
        assert one.end_ms > one.start_ms
        assert one.start_ms // MINUTE_MS == (one.end_ms - 1) // MINUTE_MS
        at_ms = one.start_ms
        for span in one.spans:
            assert span.start_ms == at_ms
            at_ms = span.end_ms
        assert at_ms == one.end_ms
    if step_s > 600:
        assert new[0].start_ms >= old[-1].end_ms
        assert len(new) <= 4, "a far jump is not lived through minute by minute"
    elif step_s > 0:
        assert new[0].start_ms == old[-1].end_ms
        jumped = [s for m in new for s in m.spans if s.cause is Cause.CLOCK_UNTRUSTED]
        assert abs(sum(s.end_ms - s.start_ms for s in jumped) - step_s * 1000) <= 1_500
    else:
        assert new[0].start_ms < old[-1].end_ms, "time went back, and the slices with it"
        assert {s.cause for m in new for s in m.spans} == {None}
    stated = sum(m.frames.captured for m in desk.slices)
    assert 120 <= stated <= 168


def test_a_small_step_is_ignored(office: Desk) -> None:
    """NTP that slews by a second moves no slice."""
    desk = office()
    desk.pass_time(25)
    desk.system.step_wall(desk.system.now_at() + timedelta(seconds=1.5))
    desk.pass_time(36)
    zero_ms = wall_ms(desk.zero)
    assert [s.end_ms - zero_ms for s in desk.slices] == [20_000, 40_000, 60_000]


def test_a_device_that_wakes_in_1970_goes_on_after_the_time_is_known(office: Desk) -> None:
    """From 1970 to now: what was counted before stands in its own slices, and no decade between."""
    desk = office()
    desk.system.step_wall(datetime(1970, 1, 1, 0, 0, 30, tzinfo=UTC))
    desk.clock.anchor()
    desk.street.lane.clock_stepped(wall_ms(desk.clock.now_at()))
    desk.pass_time(10)
    desk.system.step_wall(datetime(2026, 3, 2, 8, 0, tzinfo=UTC))
    desk.pass_time(25)
    old = [one for one in desk.slices if one.end_ms < 86_400_000]
    assert len(old) <= 2
    assert len(desk.slices) == len(old) + 1
    assert sum(one.frames.captured for one in desk.slices) >= 60
    assert {span.cause for one in desk.slices for span in one.spans} == {None}


def test_the_window_is_counted_and_stands_until_the_next(office: Desk) -> None:
    """The heartbeat speaks of the last whole window; the number says which one."""
    desk = office(report_period_s=10.0)
    desk.pass_time(9)
    early = heartbeat.read(desk.folder)
    assert early is not None
    assert early.window == 0
    assert early.cameras[0].frames.captured == 0
    desk.pass_time(2)
    first = heartbeat.read(desk.folder)
    desk.pass_time(10)
    second = heartbeat.read(desk.folder)
    assert first is not None
    assert second is not None
    assert (first.window, second.window) == (1, 2)
    assert first.cameras[0].frames.captured in {20, 21}
    assert second.cameras[0].frames.captured in {20, 21}
    assert second.boot_id == "boot"
    assert heartbeat.age_s(second, desk.clock.mono_ns()) <= 1.0


def test_hanging_captures_ask_for_a_restart(office: Desk) -> None:
    """What only the agent can do is asked for in the heartbeat, in words."""
    desk = office()
    desk.pipeline.needs_process_restart = True
    desk.pass_time(1)
    beat = heartbeat.read(desk.folder)
    assert beat is not None
    assert "hang" in beat.needs_restart
    assert desk.pipeline.checks >= 1


def test_a_disk_that_refuses_the_heartbeat_stops_nothing(
    office: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slices go on being cut."""

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(heartbeat, "write", refuse)
    desk = office()
    desk.pass_time(41)
    assert len(desk.slices) == 2


def test_a_thumbnail_is_answered_only_with_enough_background(office: Desk) -> None:
    """Nothing before a minute of samples; then a JPEG; for an expired request a reason."""
    desk = office()
    now_ms = wall_ms(desk.clock.now_at())

    def ask(name: str, expires_s: float, camera: str = "door") -> None:
        (desk.folder / requests.FOLDER).mkdir(exist_ok=True)
        requests.ask(
            desk.folder,
            requests.ThumbnailRequest(
                request=name,
                camera=camera,
                width_px=32,
                expires_ms=now_ms + round(expires_s * 1000),
            ),
        )

    ask("patient", 600)
    ask("hasty", 20)
    ask("lost", 600, "yard")
    desk.pass_time(15)
    assert requests.answered(desk.folder, "patient") is None
    assert requests.answered(desk.folder, "hasty") is None
    assert requests.answered(desk.folder, "lost") == (None, "no such camera")
    desk.pass_time(15)
    hasty = requests.answered(desk.folder, "hasty")
    assert hasty is not None
    assert hasty[0] is None
    assert "background" in hasty[1]


def test_the_end_cuts_what_is_left(office: Desk) -> None:
    """At the end the running slice is handed out up to now and the heartbeat says so."""
    desk = office()
    desk.pass_time(25.5)
    desk.reporter.finish()
    assert desk.slices[-1].end_ms == wall_ms(desk.clock.now_at())
    beat = heartbeat.read(desk.folder)
    assert beat is not None
    assert beat.covered_until_ms == {"door": desk.slices[-1].end_ms}
    assert beat.cameras[0].state in {State.OK, State.STARTING}


def test_a_silent_camera_is_corrected_not_observed(office: Desk) -> None:
    """No pictures and no word of capture: the pipeline's own fault, never "observed"."""
    desk = office()
    desk.pass_time(10)
    desk.pass_time(60, looks=False)
    spans = [s for m in desk.slices for s in m.spans]
    spans += [s for m in desk.said if isinstance(m, CoverageReport) for s in m.spans]
    stalled = [(s.start_ms, s.end_ms) for s in spans if s.cause is Cause.PIPELINE_STOPPED]
    zero_ms = wall_ms(desk.zero)
    assert min(a for a, _ in stalled) - zero_ms == 10_000
    assert max(b for _, b in stalled) - zero_ms == 60_000
