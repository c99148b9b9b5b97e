"""A camera that is to be looked at rarely is observed at its rate, and missed only after that."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vedette.clock import NS_PER_S, ManualClock, wall_ms
from vedette.edge.assembly import Assembly
from vedette.edge.capture import CameraSays, CameraUp, EncodedPacket
from vedette.edge.capture.feed import CameraFeed, Phase
from vedette.edge.capture.packets import StreamInfo
from vedette.edge.capture.settings import CaptureSettings
from vedette.edge.capture.source import make_source
from vedette.edge.frame import Frame
from vedette.edge.models import Models
from vedette.edge.patience import MAX_PERIOD_S, patience_s, period_s, silent_s
from vedette.edge.settings import Camera, EdgeConfig, Gate, Tier
from vedette.edge.stages import CameraPlan
from vedette.ids import CameraId
from vedette.inference.library import Library
from vedette.wire.messages import Aggregate, Cause, EventReport
from vedette.wire.signed import Zone
from vedette.wire.streams import CAMERA_DOWN_AFTER_S

DOOR = CameraId("door")
HERE = Zone(name="here", polygon=[(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])


def test_nobodys_patience_is_shorter_than_usual() -> None:
    """By the rarer of `max_fps` and the tier's period, up to a limit."""
    assert period_s(Camera(id="a", max_fps=0.05)) == pytest.approx(20.0)
    assert period_s(Camera(id="a", tier=Tier.BATCH, batch_every_s=8.0)) == 8.0
    assert period_s(Camera(id="a", max_fps=0.0001)) == MAX_PERIOD_S
    assert patience_s(Camera(id="a"), 15.0) == 15.0
    assert patience_s(Camera(id="a", max_fps=0.05), 15.0) == pytest.approx(42.0)


def test_only_what_may_be_slow_is_waited_for() -> None:
    """A camera that streams is down as soon as ever, however rarely it is looked at."""
    wanted = {"http://192.0.2.7/x": 63.0, "watch:folder": 63.0, "rtsp://192.0.2.7/x": 10.0}
    for source, expected_s in wanted.items():
        camera = Camera(id="a", source=source, max_fps=1 / 30)
        assert silent_s(camera) == pytest.approx(expected_s), source


@pytest.fixture
def plan(models_dir: Path, clock: ManualClock, tmp_path: Path) -> Callable[..., CameraPlan]:
    """Return one camera as it would run, and what it says."""

    def make(said: list[Any], **fields: Any) -> CameraPlan:
        camera = Camera(
            id="door", model="walkers", zones=[HERE], gate=Gate(enabled=False), **fields
        )
        config = EdgeConfig(state_dir=tmp_path, models_dir=models_dir, cameras=[camera])
        models = Models(Library(models_dir), ["cpu"], clock)
        (made,) = Assembly(config, models, clock, emit=said.append, evidence=None).plans()
        return made

    return make


Look = Callable[[CameraPlan, float, int], list[Any]]


@pytest.fixture
def look(
    clock: ManualClock, new_frame: Callable[..., Frame], new_result: Callable[..., Any]
) -> Look:
    """Let a camera look so often at somebody who stands there; return what its cuts gave."""

    def drive(plan: CameraPlan, period: float, looks: int) -> list[Any]:
        lane, dice = plan.lane, np.random.default_rng(1)
        t_s = clock.mono_ns() / NS_PER_S
        lane.says(CameraUp(DOOR, clock.now_at(), t_s, "mjpeg", (320, 192), "x"))
        scene = dice.integers(60, 200, (192, 320, 3))
        cuts: list[Any] = []
        for n in range(looks):
            bgr = (scene + dice.integers(0, 9, scene.shape)).astype(np.uint8)
            frame = new_frame(clock, bgr, 0.0, n)
            ticket = lane.look(frame)
            if ticket is not None:
                lane.finish(ticket, frame, "analysed", new_result([(100.0, 40.0, 140.0, 150.0)]))
            clock.advance(period)
            cuts += lane.cut(wall_ms(clock.now_at()))
        return cuts

    return drive


@pytest.mark.parametrize("period", [30.0, 70.0])
def test_a_camera_looked_at_rarely_is_observed_at_its_rate(
    plan: Callable[..., CameraPlan], look: Look, period: float
) -> None:
    """No gap, the rate it had, and who stands there all the time is there all the time, once."""
    said: list[Any] = []
    cuts = look(plan(said, source="watch:folder", max_fps=1 / period), period, 6)
    wrong = [one for one in cuts if not isinstance(one, Aggregate)]
    assert not wrong, "a correction is a gap"
    spans = [span for one in cuts for span in one.spans]
    assert {span.cause for span in spans} == {None}
    rates = [span.rate_fps or 0.0 for span in spans if span.end_ms - span.start_ms >= 20_000]
    assert all(0.5 / period < rate <= 1 / 20 for rate in rates), rates
    seconds = sum(c.occupancy_s for one in cuts for c in one.zones.get("here", {}).values())
    assert seconds == pytest.approx(4 * period, abs=1.0), "confirmed at the second look"
    events = [e.kind.value for e in said if isinstance(e, EventReport)]
    assert events.count("presence") == 1


def test_a_slow_camera_that_is_not_looked_at_any_more_is_a_gap(
    plan: Callable[..., CameraPlan], clock: ManualClock, look: Look
) -> None:
    """After more than two of its periods, from its last look on."""
    made = plan([], source="watch:folder", max_fps=1 / 30)
    look(made, 30.0, 2)
    later = made.lane.cut(wall_ms(clock.now_at()) + 120_000)
    gaps = [span for one in later for span in one.spans if span.cause]
    assert {span.cause for span in gaps} == {Cause.PIPELINE_STOPPED}
    assert sum(span.end_ms - span.start_ms for span in gaps) == 150_000


class Notes:
    """What a feed says of its camera."""

    def __init__(self) -> None:
        self.said: list[CameraSays] = []

    def on_packet(self, camera: CameraId, packet: EncodedPacket) -> None:
        """Nobody asks."""

    def on_frame(self, frame: Frame) -> None:
        """Nobody asks."""

    def on_undecodable(self, camera: CameraId, count: int) -> None:
        """Nobody asks."""

    def on_state(self, state: CameraSays) -> None:
        """Keep it."""
        self.said.append(state)


def feed_that_is_up(clock: ManualClock, **more: float) -> tuple[CameraFeed, int]:
    """Return a camera of which one packet came just now."""
    feed = CameraFeed(DOOR, "x", Notes(), clock, **more)
    generation = feed.new_generation()
    feed.beat(generation, Phase.READING)
    packet = EncodedPacket(b"x", 1.0, 1.0, True, clock.mono_ns(), 0, StreamInfo("mjpeg", b""))
    feed.kept(generation, packet, clock.now_at())
    return feed, generation


def test_a_slow_source_is_down_after_its_own_time(clock: ManualClock) -> None:
    """Neither down nor given up as hanging while its next picture may still come."""
    feed, _ = feed_that_is_up(clock, silent_s=63.0)
    clock.advance(60.0)
    assert not feed.hangs()
    assert not feed.say_down_if_silent()
    clock.advance(4.0)
    assert feed.say_down_if_silent()
    assert feed.hangs()


def test_a_file_that_waits_for_its_own_pace_is_not_down(clock: ManualClock) -> None:
    """A folder played at one picture in half a minute; once it only reads, silence counts."""
    feed, generation = feed_that_is_up(clock)
    feed.beat(generation, Phase.WAITING)
    clock.advance(30.0)
    assert not feed.say_down_if_silent()
    feed.beat(generation, Phase.READING)
    assert not feed.say_down_if_silent()
    clock.advance(CAMERA_DOWN_AFTER_S)
    assert feed.say_down_if_silent()


def test_a_slow_camera_over_http_is_given_time_for_each_picture(clock: ManualClock) -> None:
    """The limits on its connection follow, those of others stay."""
    slow, usual = (
        make_source(CaptureSettings(DOOR, "http://192.0.2.7/x", silent_s=s), clock)
        for s in (63.0, CAMERA_DOWN_AFTER_S)
    )
    assert (slow._open_s, slow._read_s) == (61.0, 62.0)  # pyright: ignore[reportAttributeAccessIssue]
    assert (usual._open_s, usual._read_s) == (8.0, 9.0)  # pyright: ignore[reportAttributeAccessIssue]
