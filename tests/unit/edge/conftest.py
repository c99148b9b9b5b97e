"""Frames, results and whole lanes of the closed world, with time in the test's hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
import pytest

from vedette.clock import NS_PER_S, ManualClock, wall_ms
from vedette.edge.analysis import Analysis
from vedette.edge.frame import Frame
from vedette.edge.lane import CameraLane
from vedette.edge.lookout import Lookout
from vedette.edge.pinned import PinnedScene
from vedette.edge.serving import Reading
from vedette.edge.settings import Camera, Gate
from vedette.ids import CameraId
from vedette.inference.bundle import Bundle
from vedette.inference.model import Model, Result
from vedette.sim.closed_world import LABELS, SIZE_PX, World, back_and_forth, write_bundle
from vedette.vision.detections import Detections
from vedette.vision.motion import MotionGate
from vedette.wire.signed import Line, Zone

M = msgspec.Struct
MID = Line(name="mid", a=(0.5, 0.0), b=(0.5, 1.0))
RIGHT = Zone(name="right", polygon=[(0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0)])


@dataclass
class Street:
    """One camera's lane with everything that it said; frames are made on demand."""

    clock: ManualClock
    world: World
    lane: CameraLane
    lookout: Lookout
    analysis: Analysis
    said: list[msgspec.Struct] = field(default_factory=list)
    observed: list[tuple[int, int]] = field(default_factory=list)
    start_ns: int = 0

    def frame(self, t_s: float, number: int = 0, *, discontinuity: bool = False) -> Frame:
        """Return the picture of the world at `t_s` after the clock's start."""
        picture = self.world.picture(t_s)
        return make_frame(self.clock, picture, t_s, number, discontinuity=discontinuity)

    def frame_now(self) -> Frame:
        """Return the picture of the world now, by how far the clock has moved."""
        passed_s = (self.clock.mono_ns() - self.start_ns) / NS_PER_S
        return make_frame(self.clock, self.world.picture(passed_s), 0.0, round(passed_s * 10))

    def result(self, t_s: float) -> Result:
        """Return what the detector would find at `t_s`: the truth."""
        boxes = list(self.world.boxes(t_s).values())
        return make_result(boxes)

    def of(self, kind: type[msgspec.Struct]) -> list:
        """Return what was said of one kind."""
        return [message for message in self.said if isinstance(message, kind)]


def make_frame(
    clock: ManualClock,
    bgr: np.ndarray,
    t_s: float,
    number: int = 0,
    *,
    discontinuity: bool = False,
) -> Frame:
    """Return a frame as capture makes it, `t_s` after the clock's time now."""
    video = av.VideoFrame.from_ndarray(np.ascontiguousarray(bgr), format="bgr24").reformat(
        format="yuv420p"
    )
    return Frame(
        camera=CameraId("door"),
        number=number,
        captured_mono_ns=clock.mono_ns() + round(t_s * NS_PER_S),
        captured_at=clock.now_at() + timedelta(seconds=t_s),
        t_s=clock.mono_ns() / NS_PER_S + t_s,
        pts_s=t_s,
        keyframe=False,
        discontinuity=discontinuity,
        width=bgr.shape[1],
        height=bgr.shape[0],
        video=video,
    )


def make_result(boxes: Sequence[tuple[float, float, float, float]]) -> Result:
    """Return detections of persons, each quite sure."""
    n = len(boxes)
    found = Detections(
        np.array(boxes, np.float32).reshape(n, 4),
        np.full(n, 0.9, np.float32),
        np.zeros(n, np.int32),
        np.zeros(n, np.float32),
    )
    return Result(found, preprocess_ms=1.0, inference_ms=2.0, postprocess_ms=0.5)


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still."""
    return ManualClock()


@pytest.fixture
def street(clock: ManualClock) -> Callable[..., Street]:
    """Make a lane; keyword arguments go into its camera's settings or the lane."""

    def make(
        *,
        world: World | None = None,
        gate: bool = False,
        is_off: Callable[[int], bool] = lambda _ms: False,
        every_s: float | None = None,
        pinned: PinnedScene | None = None,
        threshold: float | np.ndarray = 0.5,
        **camera: Any,
    ) -> Street:
        fields: dict[str, Any] = {"id": "door", "lines": [MID], "zones": [RIGHT]}
        settings = Camera(**{**fields, **camera}, gate=Gate(enabled=gate))
        said: list[msgspec.Struct] = []
        observed: list[tuple[int, int]] = []
        lookout = Lookout(MotionGate() if gate else None, every_s=every_s, pinned=pinned)
        analysis = Analysis(
            settings,
            Reading.of(settings, LABELS, digest="sha256:none", threshold=threshold),
            clock=clock,
            want_evidence=lambda _frame, _what, event: event,
            quality=lookout.cut_quality,
            budget_ms=settings.budget_ms,
        )
        lane = CameraLane(
            "door",
            lookout,
            analysis,
            model="walkers",
            emit=said.append,
            start_ms=wall_ms(clock.now_at()),
            is_off=is_off,
            observer=lambda frame, tracks, events: observed.append((frame.number, len(tracks))),
        )
        walk = back_and_forth(1, y=0.8, start_s=0.0, legs=6, leg_s=4.0)
        return Street(clock, world or World([walk]), lane, lookout, analysis, said, observed)

    return make


@pytest.fixture(scope="session")
def walkers_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The closed world's detector."""
    return write_bundle(tmp_path_factory.mktemp("models") / "walkers")


@pytest.fixture(scope="session")
def models_dir(walkers_bundle: Bundle) -> Path:
    """The folder that holds it."""
    return walkers_bundle.path.parent


@pytest.fixture(scope="session")
def walkers(walkers_bundle: Bundle) -> Model:
    """The detector, loaded."""
    return Model.load(walkers_bundle)


@pytest.fixture(scope="session")
def picture_px() -> tuple[int, int]:
    """Size of the closed world's pictures."""
    return SIZE_PX


@pytest.fixture(scope="session")
def new_frame() -> Callable[..., Frame]:
    """The maker of frames from BGR arrays."""
    return make_frame


@pytest.fixture(scope="session")
def new_result() -> Callable[..., Result]:
    """The maker of results from boxes."""
    return make_result
