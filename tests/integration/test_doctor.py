"""`vedette edge doctor` and `commission` as a person runs them, on real streams."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from vedette.cli.edge import command
from vedette.cli.edge_commission import _baseline_words
from vedette.clock import SystemClock
from vedette.edge.commission import CommissionRecord, load, load_reference, save
from vedette.edge.commission.session import baseline
from vedette.sim import footage
from vedette.sim.clip import load_clip
from vedette.sim.closed_world import World, back_and_forth, write_bundle
from vedette.sim.rtsp import RtspServer
from vedette.wire.messages import Aggregate, Drop, Frames

# Real processes in real time: a busy machine may be many times slower, and a wait costs nothing
# where what it waits for comes.
pytestmark = pytest.mark.timeout(240)

FPS = 10
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and four seconds of somebody walking, to be shown over and over."""
    folder = tmp_path_factory.mktemp("site")
    write_bundle(folder / "models" / "walkers")
    world = World([back_and_forth(1, y=0.8, start_s=0.0, legs=8, leg_s=0.5)])
    footage.encode(folder / "clip.mp4", world.pictures(4, FPS), fps=FPS, gop_s=1.0)
    return folder


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Run:
    """Run a subcommand with cameras as given; answers go to its standard input."""

    def go(*arguments: str, cameras: str, answers: str = "") -> Result:
        path = tmp_path / "edge.yaml"
        path.write_text(
            f"state_dir: {tmp_path / 'state'}\nmodels_dir: {folder / 'models'}\n"
            f"pipeline: {{workers: 1}}\ncameras:\n{cameras}"
        )
        options = [arguments[0], "--config", str(path), *arguments[1:]]
        return CliRunner().invoke(command, options, input=answers, env={"COLUMNS": "100"})

    return go


def walker(folder: Path, extra: str = "") -> str:
    """Return the configuration of the camera that shows the clip."""
    return f"  - {{id: door, source: '{folder / 'clip.mp4'}', loop: true, model: walkers{extra}}}\n"


def test_the_doctor_opens_a_camera_runs_its_model_and_finds_the_dead_one(
    run: Run, folder: Path
) -> None:
    """A real RTSP stream is judged, a refused one fails, and its password is told to nobody."""
    with RtspServer(SystemClock()) as server:
        server.add("door", {"normal": load_clip(folder / "clip.mp4")})
        cameras = (
            f"  - {{id: door, source: '{server.url('door')}', model: walkers}}\n"
            "  - {id: dead, source: 'rtsp://u:secret@127.0.0.1:9/x', model: walkers}\n"
        )
        result = run("doctor", "--seconds", "3", "--json", cameras=cameras)
    assert result.exit_code == 1, result.output
    document = json.loads(result.stdout)
    found = {(f["about"], f["check"]): f for f in document["findings"]}
    assert document["verdict"] == "failed"
    assert found["door", "picture"]["verdict"] == "ok"
    assert "h264" in found["door", "picture"]["detail"]
    assert found["door", "keyframes"]["verdict"] == "ok"
    assert "by turn: 0°" in found["door", "orientation"]["detail"]
    assert found["dead", "picture"]["verdict"] == "failed"
    assert "refused" in found["dead", "picture"]["detail"]
    assert "secret" not in result.output
    assert found["walkers", "model"]["verdict"] in {"ok", "unknown"}
    assert found["walkers", "speed"]["detail"].endswith("budget 100 ms")
    assert found["machine", "load"]["verdict"] in {"ok", "warning"}


def test_a_missing_model_and_an_unknown_camera_are_told(run: Run, folder: Path) -> None:
    """A model that is not there fails with what to do; a wrong name stops with those there are."""
    cameras = walker(folder).replace("walkers", "nobody")
    result = run("doctor", "--seconds", "1", cameras=cameras)
    assert result.exit_code == 1
    assert "there is no model 'nobody'" in " ".join(result.output.split())
    wrong = run("doctor", "--camera", "dor", cameras=walker(folder))
    assert "there are: door" in str(getattr(wrong.exception, "operator_hint", ""))


def test_commissioning_keeps_what_a_person_confirmed(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    """Answers, labels, reference and baseline are on the disk afterwards, and listed."""
    zone = ", zones: [{name: floor, polygon: [[0, 0.5], [1, 0.5], [1, 1], [0, 1]]}]"
    # An empty line is no answer: it is asked again. One is the Enter that ends focusing.
    answers = "Ann\n\ny\n\ny\ny\n\nn\n\n0\n1\n0\n0\n"
    options = ("commission", "--samples", "2", "--seconds", "3", "--reference-seconds", "3")
    result = run(*options, cameras=walker(folder, zone), answers=answers)
    assert result.exit_code == 1, result.output  # the zones were answered with no
    assert "[y]" not in result.output
    assert "[0]" not in result.output
    assert "▀" not in result.output  # no terminal, no pictures
    assert "confirmed" in result.output
    record = load(tmp_path / "state", "door")
    assert isinstance(record, CommissionRecord)
    assert record.by == "Ann"
    assert record.refused == ["zones"]
    assert record.skipped == []
    assert record.sample is not None
    assert (record.sample.pictures, record.sample.missed) == (2, 1)
    assert record.sample.right == 2
    assert record.baseline is not None
    assert record.baseline.observed_fraction > 0.5
    base = record.baseline
    lost = sum(base.dropped.values())
    assert base.captured == base.analysed + base.gated + lost
    said = " ".join(result.output.split())
    assert f"{base.analysed} of {base.captured} pictures analysed" in said
    assert f"{lost} dropped" in said
    assert record.baseline.detections["person"] > 0
    reference = load_reference(tmp_path / "state", "door")
    assert reference is not None
    assert reference.shape[1] == 160
    listed = run("commission", "--list", cameras=walker(folder))
    assert "zones or lines were changed since" in " ".join(listed.output.split())


def test_without_a_person_nothing_is_confirmed(run: Run, folder: Path, tmp_path: Path) -> None:
    """What needs eyes is skipped and stays so; the record is not complete."""
    options = (
        "commission",
        "--no-questions",
        "--seconds",
        "2",
        "--reference-seconds",
        "3",
        "--json",
    )
    result = run(*options, cameras=walker(folder))
    assert result.exit_code == 1, result.output
    (record,) = json.loads(result.stdout)
    assert record["skipped"] == ["view", "focus", "light", "zones", "sample"]
    assert record["confirmed"] == ["reference", "baseline"]


def test_a_reference_that_was_changed_is_no_reference(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    """A picture put in its place does not fit the record's hash; the old record is kept."""
    step = ("commission", "--no-questions", "--step", "reference", "--reference-seconds", "3")
    said = run(*step, cameras=walker(folder)).output
    assert "▀" not in said  # nobody looks
    assert "confirmed" not in said
    assert "done" in said
    state = tmp_path / "state"
    reference = load_reference(state, "door")
    assert reference is not None
    record = load(state, "door")
    assert record is not None
    save(state, record, None)
    assert (state / "commission" / "door" / f"record.{record.at_ms}.json").exists()
    cv2.imwrite(str(state / "commission" / "door" / "reference.png"), reference // 2)
    assert load_reference(state, "door") is None


def test_pictures_that_were_lost_are_told_and_kept() -> None:
    """A baseline of 50 pictures, 13 of them lost: the record says why, the summary how many."""
    frames = Frames(captured=50, analysed=37, dropped={Drop.STALE: 9, Drop.BACKEND: 4})
    found = baseline([Aggregate(camera="door", start_ms=0, end_ms=10_000, frames=frames)])
    assert found.dropped == {Drop.STALE.value: 9, Drop.BACKEND.value: 4}
    words = _baseline_words(found)
    assert "37 of 50 pictures analysed" in words
    assert "13 dropped" in words


def test_cameras_that_cannot_be_commissioned_do_not_stop_the_others(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    """A missing file and a folder read once are told at the end; the one that works is kept."""
    once = tmp_path / "once"
    once.mkdir()
    cv2.imwrite(str(once / "1.jpg"), np.full((90, 160, 3), 90, np.uint8))
    cameras = (
        "  - {id: dead, source: 'no-such-file.mp4', model: walkers}\n"
        f"  - {{id: once, source: '{once}', model: walkers}}\n"
    )
    steps = ("--step", "focus", "--step", "light")
    result = run("commission", "--no-questions", *steps, cameras=cameras + walker(folder))
    said = " ".join(result.output.split())
    assert result.exit_code == 1, said
    assert isinstance(result.exception, SystemExit)
    assert "2 of 3 cameras were not commissioned" in said
    assert "no such file" in said
    assert "once cannot be commissioned" in said
    assert "cable" not in said
    state = tmp_path / "state"
    assert [load(state, camera) is None for camera in ("dead", "once", "door")] == [1, 1, 0]


def test_what_is_commissioned_is_turned_as_the_pipeline_turns_it(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    """A camera that hangs on its side: the pinned scene stands upright, as the pipeline's does."""
    step = ("commission", "--no-questions", "--step", "reference", "--reference-seconds", "3")
    run(*step, cameras=walker(folder, ", rotate: '90'"))
    reference = load_reference(tmp_path / "state", "door")
    assert reference is not None
    assert reference.shape[0] > reference.shape[1]


def test_too_short_a_look_pins_no_scene_and_a_blind_pipeline_is_no_baseline(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    """Too little evidence is a skipped step, never a confirmed one."""
    clip = folder / "clip.mp4"
    camera = (
        f"  - {{id: door, source: '{clip}', model: walkers, off_hours: [['00:00', '24:00']]}}\n"
    )
    steps = ("--step", "reference", "--step", "baseline", "--seconds", "2")
    run("commission", "--no-questions", *steps, "--reference-seconds", "20", cameras=camera)
    record = load(tmp_path / "state", "door")
    assert record is not None
    assert record.confirmed == []
    assert {"reference", "baseline"} <= set(record.skipped)
    assert load_reference(tmp_path / "state", "door") is None


def test_labels_are_counted_in_the_regions_that_the_pipeline_looks_at(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    """The walker is never up there: no box is shown to be compared."""
    up_there = ", regions: [[[0, 0], [1, 0], [1, 0.3], [0, 0.3]]]"
    options = ("commission", "--step", "sample", "--samples", "1")
    run(*options, cameras=walker(folder, up_there), answers="Ann\n0\n0\n")
    record = load(tmp_path / "state", "door")
    assert record is not None
    assert record.sample is not None
    assert record.sample.right == 0
