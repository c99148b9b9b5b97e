"""From configuration to cameras: what is refused, and what is joined to what."""

import dataclasses
import logging
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.clock import ManualClock, wall_ms
from vedette.edge.assembly import Assembly, off_hours, report, watches_people
from vedette.edge.capture import CameraUp, Pace
from vedette.edge.evidence.store import EvidenceStore
from vedette.edge.models import LoadedModel, Models, worker_count
from vedette.edge.pipeline import Pipeline
from vedette.edge.settings import Camera, EdgeConfig, Gate, PipelineSettings
from vedette.errors import ConfigError, ModelLoadFailed
from vedette.ids import CameraId
from vedette.inference import bundle as bundles
from vedette.inference.library import Library
from vedette.inference.manifest import ExpectedBox, GoldenFrame
from vedette.sim.closed_world import detector, write_bundle
from vedette.vision.tasks import Classification
from vedette.wire.messages import CameraState, EvidenceRecord

MakeAssembly = Callable[..., Assembly]
MINUTE = timedelta(minutes=1)


@pytest.fixture
def models(models_dir: Path, clock: ManualClock) -> Models:
    """The library with the closed world's detector."""
    return Models(Library(models_dir), ["cpu"], clock)


@pytest.fixture
def assembly(models: Models, clock: ManualClock, tmp_path: Path) -> MakeAssembly:
    """Make an assembly of cameras."""

    def make(
        *cameras: Camera,
        time_zone: str = "UTC",
        emit: Callable[[msgspec.Struct], None] = lambda _m: None,
    ) -> Assembly:
        config = EdgeConfig(
            state_dir=tmp_path,
            models_dir=models.library.folder,
            cameras=list(cameras),
            time_zone=time_zone,
        )
        return Assembly(config, models, clock, emit=emit, evidence=None)

    return make


def camera(name: str = "door", **changes: Any) -> Camera:
    """Return a camera of the closed world."""
    fields: dict[str, Any] = {"id": name, "source": "clip.mp4", "model": "walkers"}
    return Camera(**{**fields, **changes})


def test_a_model_is_loaded_once_for_all_its_cameras(assembly: MakeAssembly, models: Models) -> None:
    """Three cameras of one model share one session."""
    plans = assembly(camera("a"), camera("b"), camera("c")).plans()
    assert len({id(plan.serving.now.model) for plan in plans}) == 1
    assert list(models.loaded) == ["walkers"]
    assert models.loaded["walkers"].golden_ok is None, "it has no golden frames to be proven by"


def test_a_camera_without_a_source_is_left_out_and_said(
    assembly: MakeAssembly, caplog: pytest.LogCaptureFixture
) -> None:
    """Its address comes in the site's policy later; the others run."""
    with caplog.at_level(logging.WARNING):
        plans = assembly(camera("a", source=""), camera("b")).plans()
    assert [plan.capture.camera for plan in plans] == ["b"]
    assert [r.__dict__["camera"] for r in caplog.records] == ["a"]


def test_a_missing_model_is_refused_with_what_there_is(assembly: MakeAssembly) -> None:
    """The error names the model and the one that was perhaps meant."""
    with pytest.raises(ConfigError, match="walkerz") as caught:
        assembly(camera(model="walkerz")).plans()
    assert "walkers" in (caught.value.operator_hint or "")


def test_a_class_that_the_model_does_not_know_is_refused(assembly: MakeAssembly) -> None:
    """A misspelt label would count nothing for ever; it is an error with the right names."""
    with pytest.raises(ConfigError, match="persn") as caught:
        assembly(camera(labels=["person", "persn"])).plans()
    assert "person, cart" in (caught.value.operator_hint or "")


def test_one_mistake_stops_one_camera_and_not_its_neighbours(assembly: MakeAssembly) -> None:
    """What is wrong is told to central as that camera's state; the others run."""
    told: list[msgspec.Struct] = []
    cameras = [camera("good"), camera("bad", labels=["persn"])]
    plans = assembly(*cameras, emit=told.append).plans()
    assert [plan.capture.camera for plan in plans] == ["good"]
    [state] = told
    assert isinstance(state, CameraState)
    assert (state.camera, state.state, state.cause) == ("bad", "down", "PIPELINE_STOPPED")
    assert "persn" in state.detail


def test_a_broken_model_is_refused(tmp_path: Path, clock: ManualClock) -> None:
    """Bytes that are no ONNX never start a pipeline."""
    made = write_bundle(tmp_path / "models" / "walkers")
    bundles.write(tmp_path / "models" / "walkers", made.manifest, {"model.onnx": b"no onnx"})
    models = Models(Library(tmp_path / "models"), ["cpu"], clock)
    with pytest.raises(ModelLoadFailed):
        models.get("walkers")


def test_a_model_that_answers_differently_here_is_told(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A golden frame whose expected box is not found is an error in the log and in health."""
    made = write_bundle(tmp_path / "walkers")
    grey = np.full((192, 320, 3), 114, np.uint8)
    frame = GoldenFrame(
        picture="golden/grey.png",
        outputs={},
        boxes=[ExpectedBox(label="person", confidence=0.9, box_xyxy=(10, 10, 34, 58))],
    )
    manifest = msgspec.structs.replace(made.manifest, golden=[frame])
    files = {"model.onnx": detector(), "golden/grey.png": _png(grey)}
    bundles.write(tmp_path / "walkers", manifest, files)
    models = Models(Library(tmp_path), ["cpu"], clock)
    with caplog.at_level(logging.ERROR):
        models.get("walkers")
    loaded: LoadedModel = models.loaded["walkers"]
    assert loaded.golden_ok is False
    assert [r.__dict__["event"] for r in caplog.records] == ["model.golden_failed"]


def _png(bgr: np.ndarray) -> bytes:
    import cv2

    return cv2.imencode(".png", bgr)[1].tobytes()


@pytest.mark.parametrize(
    ("source", "loop", "pace", "live"),
    [
        ("rtsp://127.0.0.1/door", False, Pace.REAL_TIME, True),
        ("clip.mp4", True, Pace.REAL_TIME, True),
        ("clip.mp4", False, Pace.REAL_TIME, False),
        ("clip.mp4", True, Pace.AS_FAST_AS_POSSIBLE, False),
    ],
)
def test_only_what_acts_as_a_camera_may_drop_frames(
    assembly: MakeAssembly, source: str, loop: bool, pace: Pace, live: bool
) -> None:
    """RTSP and looped files in real time are live; a file that is read never drops."""
    (plan,) = assembly(camera(source=source, loop=loop)).plans(pace=pace)
    assert plan.live is live


def test_a_second_stream_is_received_only_where_clips_are_kept(
    assembly: MakeAssembly, models: Models, clock: ManualClock, tmp_path: Path
) -> None:
    """With evidence it is captured, turned as the settings say; without, nobody needs it."""
    both = camera(source="rtsp://a/2", evidence_source="rtsp://a/1", rotate="90")
    (plan,) = assembly(both).plans()
    assert plan.capture.evidence_source == ""
    assert plan.capture.rotate_deg == 90
    config = EdgeConfig(state_dir=tmp_path, models_dir=models.library.folder, cameras=[both])
    store = EvidenceStore(tmp_path / "evidence", config.evidence, clock)
    (kept,) = Assembly(config, models, clock, emit=lambda _m: None, evidence=store).plans()
    assert kept.capture.evidence_source == "rtsp://a/1"


def test_the_cameras_threshold_outranks_the_models(assembly: MakeAssembly) -> None:
    """The model is asked for half of it, at most a tenth."""
    low, own = assembly(camera("a", threshold=0.08), camera("b")).plans()
    assert low.serving.now.reading.ask_threshold == pytest.approx(0.04)
    assert own.serving.now.reading.ask_threshold == pytest.approx(0.1)


def test_each_labels_own_threshold_of_the_bundle_counts(
    assembly: MakeAssembly, models: Models
) -> None:
    """Without a camera's own threshold the bundle's count, by label; with one it overrules all."""
    bundle = models.library.find("walkers")
    said = msgspec.structs.replace(bundle.manifest, name="strict", thresholds={"cart": 0.06})
    files = {"model.onnx": bundle.read("model.onnx")}
    made = bundles.write(models.library.folder / "strict", said, files)
    try:
        asked = [camera("a", model="strict"), camera("b", model="strict", threshold=0.4)]
        own, overruled = assembly(*asked).plans()
    finally:
        shutil.rmtree(made.path)
    assert own.lane._analysis.reading.thresholds.tolist() == pytest.approx([0.5, 0.06])
    assert own.serving.now.reading.ask_threshold == pytest.approx(0.03)
    assert overruled.lane._analysis.reading.thresholds.tolist() == pytest.approx([0.4, 0.4])


def test_a_clip_of_a_raw_source_says_that_there_is_no_encoded_video(
    assembly: MakeAssembly, clock: ManualClock
) -> None:
    """Not that nothing was recorded; once the camera comes back encoded, that holds again."""
    plans = assembly(camera("a", source="gst:videotestsrc ! identity")).plans()
    pipeline = Pipeline(plans, workers=1, deadline_ms=500.0, clock=clock)
    pipeline.capture.add(plans[0].capture)
    up = CameraUp(CameraId("a"), clock.now_at(), 1.0, "rawvideo", (320, 192), "gst:videotestsrc")
    pipeline.on_state(up)
    assert "no encoded video" in plans[0].ring.cut(0.0, 2.0, 1.0).shortfall
    pipeline.on_state(dataclasses.replace(up, codec="h264"))
    assert "nothing was recorded" in plans[0].ring.cut(0.0, 2.0, 1.0).shortfall


def test_no_gate_means_none(assembly: MakeAssembly) -> None:
    """A camera with its gate switched off has none."""
    off, on = assembly(camera("a", gate=Gate(enabled=False)), camera("b")).plans()
    assert off.lane._lookout._gate is None
    assert on.lane._lookout._gate is not None


def test_workers_are_as_configured_or_one_per_core(tmp_path: Path) -> None:
    """0 means one per usable core."""
    base = EdgeConfig(state_dir=tmp_path, models_dir=tmp_path)
    three = msgspec.structs.replace(base, pipeline=PipelineSettings(workers=3))
    assert worker_count(three) == 3
    assert worker_count(base) >= 1


@given(
    start=st.integers(0, 1439),
    length=st.integers(1, 1438),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns"]),
    at=st.integers(0, 364 * 1440).map(lambda m: datetime(2026, 1, 1, tzinfo=UTC) + m * MINUTE),
)
def test_off_hours_are_the_sites_local_time_and_may_cross_midnight(
    start: int, length: int, zone: str, at: datetime
) -> None:
    """A time is off exactly where its local minute lies in the span, whatever day it is."""
    end = (start + length) % 1440
    is_off = off_hours([(_clock_time(start), _clock_time(end))], zone)
    local = at.astimezone(ZoneInfo(zone))
    minute = local.hour * 60 + local.minute
    expected = (minute - start) % 1440 < length
    assert is_off(wall_ms(at)) is expected


def _clock_time(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def test_off_hours_follow_summer_time() -> None:
    """06:00 in Berlin is 05:00 UTC in winter and 04:00 in summer."""
    is_off = off_hours([("22:00", "06:00")], "Europe/Berlin")
    winter, summer = (
        datetime(2026, 1, 10, 4, 30, tzinfo=UTC),
        datetime(2026, 7, 10, 4, 30, tzinfo=UTC),
    )
    assert is_off(wall_ms(winter))
    assert not is_off(wall_ms(summer))
    assert is_off(wall_ms(summer - timedelta(hours=1)))


@pytest.mark.parametrize("zone", ["Mars/Base", "../etc/passwd", ""])
def test_an_unknown_time_zone_is_refused(zone: str) -> None:
    """The error says how to write one."""
    with pytest.raises(ConfigError, match="no time zone") as caught:
        off_hours([("22:00", "06:00")], zone)
    assert "Europe/Berlin" in (caught.value.operator_hint or "")


class _Shelf:
    """Remembers what was marked as reported."""

    def __init__(self) -> None:
        self.marked: list[str] = []

    def mark_reported(self, evidence: str) -> None:
        """Note it."""
        self.marked.append(evidence)


def test_evidence_is_reported_only_once_it_is_durable() -> None:
    """What the spool could not write down is not marked, so the next process tells it again."""
    shelf = _Shelf()
    records = [
        EvidenceRecord(evidence=name, event="ev", camera="door", wanted_ms=(0, 1))
        for name in ("one", "two", "three")
    ]

    def keep(record: EvidenceRecord) -> bool:
        return record.evidence != "two"

    store: EvidenceStore = shelf  # pyright: ignore[reportAssignmentType]
    report(store, _each(records), keep)
    assert shelf.marked == ["one", "three"]


def _each(records: list[EvidenceRecord]) -> Iterator[EvidenceRecord]:
    yield from records


def test_only_a_detector_of_the_whole_picture_watches_people(models: Models) -> None:
    """A classifier that knows the word tells nobody's place: a blurred clip covers everything."""
    detector = models.get("walkers").manifest
    scene = msgspec.structs.replace(detector, head=None, task=Classification(classes=2))
    corner = [[(0.0, 0.0), (0.5, 0.0), (0.5, 0.5)]]
    assert watches_people(Camera(id="a"), detector)
    assert not watches_people(Camera(id="a"), scene)
    assert not watches_people(Camera(id="a", labels=["cart"]), detector)
    assert not watches_people(Camera(id="a", regions=corner), detector)
