"""Lower precision: what is converted, what stays, and that the comparison is honest."""

from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from vedette.cli.model import command
from vedette.errors import ConfigError
from vedette.inference import bundle as bundles
from vedette.inference.backends import open_backend
from vedette.inference.bundle import Bundle
from vedette.inference.manifest import Tolerance
from vedette.inference.model import Model
from vedette.lab import quantize, settling
from vedette.lab.assemble import assemble
from vedette.lab.quantize import Agreement
from vedette.sim import closed_world, yolo_shaped
from vedette.sim.closed_world import World
from vedette.vision.detections import Detections


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The closed world's detector."""
    return closed_world.write_bundle(tmp_path_factory.mktemp("models") / "walkers")


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures with somebody in most of them."""
    folder = tmp_path_factory.mktemp("footage")
    world = World([closed_world.back_and_forth(1, y=0.5, start_s=0, legs=3, leg_s=4)])
    for number, picture in enumerate(world.pictures(12, 1)):
        cv2.imwrite(str(folder / f"{number:02d}.png"), picture)
    return folder


@pytest.mark.parametrize(
    ("precision", "dtype"), [("int8", "float32"), ("fp16", "float32"), ("fp16", "float16")]
)
def test_converted_bundle_agrees_and_says_where_it_comes_from(
    original: Bundle,
    footage: Path,
    tmp_path: Path,
    precision: quantize.Precision,
    dtype: str,
):
    """The same detections on held-out frames, its golden frame holds, and the figures are in it."""
    done = quantize.quantize(
        original,
        footage,
        tmp_path / "small",
        precision=precision,
        keep_io=dtype == "float32",
    )
    said = done.bundle.manifest
    assert (done.calibrated_on, done.held_out) == (6, 6)
    assert said.name == "small"
    assert said.version == f"1.0-{precision}"
    assert said.preprocess.dtype == dtype
    assert (said.calibration_sha256 is not None) is (precision == "int8")
    assert done.speeds[0].runtime == "onnxruntime"
    for speed, told in zip(done.speeds, said.evaluation, strict=True):
        assert speed.agreement.before >= 4
        assert (speed.agreement.precision, speed.agreement.recall) == (1, 1)
        assert told.figures["recall"] == 1
        assert original.digest in told.method
    assert Model.load(done.bundle).check_golden().ok
    assert sorted(said.files) == ["golden/scene.png", "model.onnx"]


def test_inner_convolutions_are_quantized_by_channel_and_the_edges_are_not():
    """The first and last convolutions and all after them stay; opset 12 is raised."""
    data = yolo_shaped.build(64).model
    random = np.random.default_rng(3)
    tensors = [random.random((1, 3, 64, 64), np.float32) for _ in range(2)]
    made, kept = quantize.to_int8(data, tensors)
    model = onnx.load_from_string(made)
    names = {node.name for node in model.graph.node}
    assert kept > 7
    quantizers = [n for n in model.graph.node if n.op_type == "DequantizeLinear"]
    assert len(quantizers) > 100
    assert {node.name for node in model.graph.node if node.op_type == "Softmax"} <= names
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    assert first.input[0] == yolo_shaped.INPUT
    feeds = {yolo_shaped.INPUT: tensors[0]}
    before, after = (open_backend(d).run(feeds)[yolo_shaped.OUTPUT] for d in (data, made))
    assert 0 < np.abs(before - after)[:, 4:].mean() < 0.05


def test_fewer_than_four_pictures_calibrate_nothing(original: Bundle, tmp_path: Path):
    """An empty folder, or a file that is no video, is told before anything is computed."""
    (tmp_path / "no.mp4").write_bytes(b"nothing")
    for path in (tmp_path, tmp_path / "no.mp4"):
        with pytest.raises(ConfigError, match="0 readable pictures"):
            quantize.quantize(original, path, tmp_path / "small")


def test_only_float_detectors_are_taken(original: Bundle, footage: Path, tmp_path: Path):
    """Quantizing what is quantized already would compare with the wrong original."""
    said = original.manifest
    half = msgspec.structs.replace(
        said, preprocess=msgspec.structs.replace(said.preprocess, dtype="float16")
    )
    made = bundles.write(tmp_path / "half", half, {"model.onnx": original.read("model.onnx")})
    with pytest.raises(ConfigError, match="takes float16"):
        quantize.quantize(made, footage, tmp_path / "small")


def test_fingerprint_covers_every_pixel_and_the_order():
    """Another calibration set has another name."""
    one, two = np.zeros((2, 2, 3), np.uint8), np.ones((2, 2, 3), np.uint8)
    names = {
        quantize.fingerprint(s) for s in ([one, two], [two, one], [one], [one.reshape(1, 4, 3)])
    }
    assert len(names) == 4


def found(*boxes: tuple[float, float, float, float, int]) -> Detections:
    """Return detections of one confidence each, falling."""
    rows = np.array([box[:4] for box in boxes], np.float32).reshape(-1, 4)
    return Detections(
        boxes_xyxy=rows,
        confidence=np.linspace(0.9, 0.5, len(boxes)).astype(np.float32),
        class_id=np.array([box[4] for box in boxes], np.int32),
        entropy=np.zeros(len(boxes), np.float32),
    )


def test_agreement_counts_lost_invented_and_doubled_boxes():
    """One of its own each: a second box on the same object, or another class, agrees with none."""
    agreement = Agreement()
    before = found((0, 0, 10, 10, 0), (50, 50, 60, 60, 0))
    agreement.add(before, found((0, 0, 10, 9, 0), (0, 0, 9, 10, 0), (50, 50, 60, 60, 1)))
    assert (agreement.precision, agreement.recall) == (pytest.approx(1 / 3), 0.5)


def test_footage_without_any_object_proves_nothing(original: Bundle, tmp_path: Path):
    """Nothing found before and after is no agreement: the figures are left out, not one."""
    nothing = Agreement()
    nothing.add(found(), found())
    assert (nothing.precision, nothing.recall) == (None, None)
    lost = Agreement()
    lost.add(found((0, 0, 10, 10, 0)), found())
    assert (lost.precision, lost.recall) == (None, 0)
    for number, picture in enumerate(World([]).pictures(4, 1)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
    made = quantize.quantize(original, tmp_path, tmp_path / "small", precision="fp16").bundle
    for measured in made.manifest.evaluation:
        assert measured.figures.keys().isdisjoint({"precision", "recall"})
        assert measured.figures["detections_before"] == 0


@pytest.mark.parametrize(
    ("off", "holds", "allowed"), [(0.01, 1, 0.05), (0.075, 1, 0.1), (0.3, 0, 0.05)]
)
def test_tolerance_grows_to_what_a_runtime_needs_and_no_further(
    original: Bundle, tmp_path: Path, off: float, holds: int, allowed: float
):
    """7.5 % away gets 10 %, 1 % needs nothing more; 30 % fails, and no tolerance hides it."""
    original = assemble(tmp_path / "source", original.manifest, original.read("model.onnx"))
    (frame,) = original.manifest.golden
    name, probe = next(iter(frame.outputs.items()))
    values = [probe.values[0] + off * probe.span, *probe.values[1:]]
    outputs = {**frame.outputs, name: msgspec.structs.replace(probe, values=values)}
    frame = msgspec.structs.replace(frame, outputs=outputs, tolerance=Tolerance(output=0.05))
    said = msgspec.structs.replace(original.manifest, golden=[frame])
    files = {name: original.read(name) for name in original.manifest.files}
    made, found = settling.settle(bundles.write(tmp_path / "walkers", said, files), said)
    assert "onnxruntime" in found
    assert {result.ok for result in found.values()} == {bool(holds)}
    assert Bundle.open(made.path).manifest.golden[0].tolerance.output == pytest.approx(allowed)


@pytest.mark.parametrize("largest", [0.15, 0.0])
def test_quantize_tells_on_which_runtimes_the_new_bundle_fails(
    original: Bundle,
    footage: Path,
    monkeypatch: pytest.MonkeyPatch,
    largest: float,
):
    """Golden frames that no reasonable tolerance covers are a failure of the command."""
    models = original.path.parent
    monkeypatch.setattr(settling, "LARGEST_OUTPUT", largest)
    monkeypatch.setitem(quantize._GOLDEN, "fp16", Tolerance(output=0.0))
    options = ["--fp16", "--out", f"out{largest:.0%}".rstrip("%"), "--calibrate", str(footage)]
    told = CliRunner().invoke(
        command, ["quantize", "walkers", *options, "--models-dir", str(models)]
    )
    assert told.exit_code == (0 if largest else 1), told.output
    words = "golden frames hold on onnxruntime" if largest else "fails on onnxruntime: do not use"
    assert words in told.output
    assert "still there" in told.output
