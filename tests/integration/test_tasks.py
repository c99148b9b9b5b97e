"""Classifiers, scenes and anomalies: real small networks, through the whole pipeline."""

import importlib.util
import io
import json
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import click.testing
import msgspec
import numpy as np
import pytest
from rich.console import Console

from vedette.cli import watch
from vedette.cli.main import cli
from vedette.clock import ManualClock, wall_ms
from vedette.edge.settings import Camera, EdgeConfig, PipelineSettings
from vedette.edge.watch import Seen
from vedette.errors import ModelLoadFailed
from vedette.inference import bundle as bundles
from vedette.inference.bundle import Bundle
from vedette.inference.library import Library
from vedette.inference.model import Model
from vedette.sim import footage
from vedette.sim.pipeline_rig import PipelineRig, read_spool
from vedette.stats.sketch import LinearBins
from vedette.stats.summing import merge
from vedette.vision.picture import Picture
from vedette.wire.messages import Aggregate, EventKind, EventReport, EvidenceRecord

ROOT = Path(__file__).resolve().parents[2]
START_AT = datetime(2026, 3, 2, 8, 0, 35, tzinfo=UTC)
FPS = 5


@pytest.fixture(scope="module")
def tiny() -> ModuleType:
    """The example that makes the models."""
    spec = importlib.util.spec_from_file_location("tiny", ROOT / "examples/make_tiny_models.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.TRAIN, module.HELD_OUT = 100, 80  # half as many as by hand: tests have little time
    return module


@pytest.fixture(scope="module")
def models(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Library:
    """All four tiny models, trained here."""
    folder = tmp_path_factory.mktemp("tiny")
    for make in tiny.MODELS:
        make(folder)
    return Library(folder)


def figures(models: Library, name: str) -> dict[str, float]:
    """Return what was measured on pictures that the model was not made from."""
    return models.find(name).manifest.evaluation[0].figures


def test_the_example_says_what_it_takes_and_where_it_wrote(
    tiny: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """`--help` is no folder's name; each bundle's place is printed."""
    with pytest.raises(SystemExit, match="0"):
        tiny.main(["--help"])
    assert "where the bundles go" in capsys.readouterr().out
    monkeypatch.setattr(tiny, "MODELS", (tiny.scenes,))
    tiny.main([str(tmp_path / "made")])
    place = tmp_path / "made" / "door-scenes"
    assert f"written to {place}" in capsys.readouterr().out
    assert place.is_dir()


# Each bound is what was measured less a margin, for another machine's rounding.


def test_a_trained_classifier_tells_held_out_pictures_apart(models: Library):
    """240 drawn doorways with changing light, shaken, a third of them with somebody in front."""
    assert figures(models, "door-classes")["low"] >= 0.95


def test_ten_pictures_of_each_scene_suffice_for_prototypes(models: Library):
    """Without training on labels; chance would be a third."""
    assert figures(models, "door-scenes")["low"] >= 0.75


@pytest.mark.parametrize("name", ["door-rebuilt", "door-far"])
def test_strange_things_score_higher_than_anything_normal(models: Library, name: str):
    """By the area under the ROC curve, with few false alarms at the calibrated limit."""
    measured = figures(models, name)
    assert measured["auroc"] >= 0.96
    assert measured["found"] >= 0.7
    assert measured["false_alarms"] <= 0.06


@pytest.mark.parametrize("name", ["door-classes", "door-scenes", "door-rebuilt", "door-far"])
def test_every_task_proves_itself_by_its_golden_frame(models: Library, name: str):
    """Loaded anew it answers alike, alone and several at once; there are no boxes."""
    model = Model.load(models.find(name))
    assert model.check_golden().ok
    assert model.manifest.golden[0].scores is not msgspec.UNSET
    pictures = [Picture.from_gray(np.full((60, 80), grey, np.uint8)) for grey in (20, 120, 220)]
    for picture, result in zip(pictures, model.detect_batch(pictures), strict=True):
        alone = model.detect(picture)
        assert len(result.detections) == 0
        for one, other in ((result.classes, alone.classes), (result.anomaly, alone.anomaly)):
            assert (one is None) is (other is None)
        if result.classes and alone.classes:
            assert np.allclose(result.classes.probability, alone.classes.probability, atol=1e-4)
        if result.anomaly and alone.anomaly:
            assert result.anomaly.score == pytest.approx(alone.anomaly.score, abs=1e-4)


@pytest.mark.parametrize("name", ["door-classes", "door-rebuilt"])
def test_a_golden_score_that_is_another_is_found(models: Library, tmp_path: Path, name: str):
    """The raw outputs alone would not show a changed activation or limit."""
    bundle = models.find(name)
    frame = bundle.manifest.golden[0]
    assert frame.scores is not msgspec.UNSET
    moved = {label: abs(score - 0.5) for label, score in frame.scores.items()}
    said = msgspec.structs.replace(
        bundle.manifest, golden=[msgspec.structs.replace(frame, scores=moved)]
    )
    files = {path: bundle.read(path) for path in bundle.manifest.files}
    result = Model.load(bundles.write(tmp_path / "moved", said, files)).check_golden()
    assert not result.ok
    assert "where it was" in result.failures[0]


def rewritten(
    bundle: Bundle, target: Path, *, more: dict[str, bytes] | None = None, **changes: object
) -> Bundle:
    """Return the bundle with other fields in its manifest, or other files."""
    files = {path: bundle.read(path) for path in bundle.manifest.files} | (more or {})
    said = msgspec.structs.replace(bundle.manifest, **changes)
    return bundles.write(target, said, files)


def test_a_manifest_with_both_or_neither_purpose_is_refused(models: Library, tmp_path: Path):
    """A head and another task exclude each other, and one is needed."""
    with pytest.raises(ModelLoadFailed, match="either a head or another task"):
        rewritten(models.find("door-classes"), tmp_path / "none", task=msgspec.UNSET)


def test_prototypes_that_are_missing_or_cut_short_are_refused(models: Library, tmp_path: Path):
    """The file must be named, and as long as the manifest says."""
    bundle = models.find("door-scenes")
    cut = {"reference.f32": bundle.read("reference.f32")[:-4]}
    with pytest.raises(ModelLoadFailed, match="are 288"):
        Model.load(rewritten(bundle, tmp_path / "cut", more=cut))
    task = msgspec.structs.replace(bundle.manifest.task, prototypes=None)
    with pytest.raises(ModelLoadFailed, match="without prototypes"):
        rewritten(bundle, tmp_path / "none", task=task)


def test_the_command_line_shows_and_packs_a_task(models: Library, tmp_path: Path):
    """Inspect says what the model is for; a packed bundle is the same one."""
    runner = click.testing.CliRunner()
    folder = str(models.find("door-far").path.parent)
    shown = runner.invoke(cli, ["model", "inspect", "door-far", "--json", "--models-dir", folder])
    assert shown.exit_code == 0, shown.output
    facts = json.loads(shown.stdout)
    assert facts["purpose"] == "anomaly"
    assert facts["task"]["method"] == "mahalanobis"
    assert facts["head"] is None
    told = runner.invoke(cli, ["model", "inspect", "door-scenes", "--models-dir", folder])
    assert "embedding, dimensions 24" in " ".join(told.output.split())
    packed = tmp_path / "door.vbundle"
    args = ["model", "pack", "door-scenes", str(packed), "--models-dir", folder]
    assert runner.invoke(cli, args).exit_code == 0
    assert Bundle.open(packed).digest == models.find("door-scenes").digest


# ------------------------------------------------------------------------------- in the pipeline


def story(tiny: ModuleType) -> list[np.ndarray]:
    """Return 50 seconds: closed, open from 12 s, a crate from 26 s, closed from 40 s."""
    found = []
    for n in range(50 * FPS):
        t_s = n / FPS
        kind = ("closed", "open", "blocked", "closed")[sum(t_s >= at for at in (12, 26, 40))]
        opening = float(np.clip((t_s - 12) / 1.0, 0, 1))
        # Somebody walks by at 5 s and at 31 s.
        walker = next((p for at in (5, 31) if 0 <= (p := (t_s - at) / 3) <= 1), None)
        found.append(tiny.draw(kind, tiny.Look(walker=walker, grain=977 * n), opening=opening))
    return found


@pytest.fixture
def run(tiny: ModuleType, models: Library, tmp_path: Path) -> Callable[..., PipelineRig]:
    """Read pictures as a camera with one of the models; return the rig, stopped."""

    def read(name: str, pictures: list[np.ndarray], **camera: object) -> PipelineRig:
        clip = tmp_path / "door.mp4"
        footage.encode(clip, iter(pictures), fps=FPS, gop_s=2.0)
        config = EdgeConfig(
            state_dir=tmp_path / "state",
            models_dir=models.find(name).path.parent,
            cameras=[Camera(id="door", source=str(clip), model=name, max_fps=FPS, **camera)],  # pyright: ignore[reportArgumentType]
            pipeline=PipelineSettings(workers=2),
        )
        with PipelineRig(config, ManualClock(START_AT)) as rig:
            rig.read_to_the_end()
        return rig

    return read


def total(rig: PipelineRig) -> Aggregate:
    """Return all aggregates in one."""
    found, *more = rig.messages(Aggregate)
    for one in more:
        found = merge(found, one)
    return found


def test_a_door_that_opens_is_told_once_with_seconds_and_a_clip(
    tiny: ModuleType, run: Callable[..., PipelineRig], tmp_path: Path
):
    """From pictures to the spool: changes dated when they began, seconds per class, evidence."""
    rig = run("door-classes", story(tiny), class_hold_s=2.0, scene_evidence=True)
    events = rig.messages(EventReport)
    assert [(e.kind, e.was, e.label) for e in events] == [
        (EventKind.CLASS_CHANGED, "closed", "open"),
        (EventKind.CLASS_CHANGED, "open", "blocked"),
        (EventKind.CLASS_CHANGED, "blocked", "closed"),
    ]
    for event, truth_s in zip(events, (12, 26, 40), strict=True):
        assert abs((event.at_ms - wall_ms(START_AT)) / 1000 - truth_s) <= 1.0
        assert event.score is not None
        assert event.score >= 0.5
        assert event.track is None
    sums = total(rig)
    truth = {"closed": 12 - 2 + 10, "open": 14, "blocked": 14}
    assert set(sums.class_s) == set(truth)
    for label, seconds in truth.items():
        assert abs(sums.class_s[label] - seconds) <= 3.0
    assert sums.presence_s == {}
    assert sums.zones == {}
    assert sums.heatmap is None
    assert sums.confidence.keys() <= set(truth)
    assert sums.stage_ms.keys() >= {"preprocess", "inference", "postprocess", "total"}
    assert sums.frames.gated > 0
    records = rig.messages(EvidenceRecord)
    assert {r.event for r in records if r.status == "complete"} == {e.event for e in events}
    spooled = [body for _, body in read_spool(tmp_path / "state" / "spool")]
    assert [e for e in spooled if isinstance(e, EventReport)] == events


def test_scenes_by_prototypes_count_as_classes_do(
    tiny: ModuleType, run: Callable[..., PipelineRig]
):
    """An embedding and its prototypes give the same events, and the similarity is kept."""
    rig = run("door-scenes", story(tiny), labels=["open", "closed"])
    told = [(e.was, e.label) for e in rig.messages(EventReport)]
    assert told == [("closed", "open"), ("open", "closed")]
    sums = total(rig)
    assert set(sums.class_s) == {"open", "closed"}
    assert LinearBins.from_wire(sums.scores["similarity"]).count == sums.frames.analysed


@pytest.mark.parametrize("name", ["door-rebuilt", "door-far"])
def test_a_strange_thing_that_stays_is_told_once(
    tiny: ModuleType, run: Callable[..., PipelineRig], name: str
):
    """From when it was put there, with its score, where the method knows: its place; then over."""
    pictures = []
    for n in range(30 * FPS):
        strange = 3000 if 10 <= n / FPS < 20 else None
        pictures.append(tiny.draw("closed", tiny.Look(grain=977 * n), strange=strange))
    rig = run(name, pictures)
    (event,) = rig.messages(EventReport)
    assert event.kind is EventKind.ANOMALY
    assert abs((event.at_ms - wall_ms(START_AT)) / 1000 - 10) <= 1.0
    assert event.score is not None
    assert event.score >= 0.5
    assert event.confidence is None
    assert [box.label for box in event.boxes] == (["anomaly"] if name == "door-rebuilt" else [])
    scores = LinearBins.from_wire(total(rig).scores["anomaly"])
    assert scores.count == total(rig).frames.analysed
    assert sum(scores.counts[25:]) > 0
    assert total(rig).class_s == {}


def test_a_region_gives_the_model_its_part_and_boxes_stay_in_the_picture(
    tiny: ModuleType, run: Callable[..., PipelineRig]
):
    """A camera that sees far more than the door: the part around it is what the model gets."""
    pictures = []
    for n in range(16 * FPS):
        wide = np.full((240, 320, 3), 90, np.uint8)
        strange = 3000 if n / FPS >= 6 else None
        wide[120:, 160:] = tiny.draw("closed", tiny.Look(grain=977 * n), strange=strange)
        pictures.append(wide)
    # The part around it is the region with its margins: here exactly the doorway's quarter.
    region = [(0.55, 0.65), (1.0, 0.65), (1.0, 1.0), (0.55, 1.0)]
    rig = run("door-rebuilt", pictures, regions=[region])
    (event,) = rig.messages(EventReport)
    assert event.picture_px == (320, 240)
    (box,) = event.boxes
    assert box.xyxy[0] >= 160
    assert box.xyxy[1] >= 120


def test_the_watched_screen_tells_what_a_class_was():
    """A change with both classes and its probability; an anomaly with its score."""
    report = EventReport(event="ev-1", camera="door", kind=EventKind.ANOMALY, at_ms=0, score=0.71)
    changed = msgspec.structs.replace(
        report, kind=EventKind.CLASS_CHANGED, label="open", was="closed", score=0.93
    )
    seen = Seen(events=deque([report, changed]))
    console = Console(file=io.StringIO(), width=100)
    console.print(watch.picture(seen, "door.mp4"))
    text = console.file.getvalue()
    assert "closed → open 0.93" in text
    assert "0.71" in text
