"""A loaded model: what it finds, what it refuses, and the golden-frame check."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto

from vedette.clock import ManualClock
from vedette.errors import BackendUnavailable, BadModelOutput, ModelLoadFailed
from vedette.inference import bundle as bundles
from vedette.inference import golden
from vedette.inference.bundle import Bundle
from vedette.inference.manifest import GoldenFrame, Manifest, Probe, Tolerance
from vedette.inference.model import Model
from vedette.vision.heads import HeadSpec
from vedette.vision.picture import Picture
from vedette.vision.preprocess import Preprocess

Made = Callable[..., bytes]
Said = Callable[..., Manifest]


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Model]:
    """Load a model from a manifest and the bytes of a network."""

    def make(manifest: Manifest, data: bytes) -> Model:
        return Model.load(bundles.write(tmp_path / "made", manifest, {"model.onnx": data}))

    return make


@pytest.fixture
def with_golden(bundle: Bundle, picture: Picture, painted_bgr: np.ndarray) -> Bundle:
    """The tiny bundle with the painted picture as its golden frame."""
    model = Model.load(bundle)
    png = golden.encode_picture(painted_bgr)
    frame = golden.expect(
        "golden/p.png", model.raw(picture)[0], model.detect(picture).detections, model.labels
    )
    files = {"model.onnx": bundle.read("model.onnx"), "golden/p.png": png}
    said = msgspec.structs.replace(bundle.manifest, golden=[frame])
    return bundles.write(bundle.path, said, files)


def with_frame(bundle: Bundle, frame: GoldenFrame) -> Model:
    """Return the model of `bundle` with another golden frame."""
    files = {name: bundle.read(name) for name in bundle.manifest.files}
    said = msgspec.structs.replace(bundle.manifest, golden=[frame])
    return Model.load(bundles.write(bundle.path, said, files))


def test_finds_what_was_painted_in_pixels_of_the_picture(bundle: Bundle, picture: Picture):
    """Boxes come back in the picture's own pixels, with the right classes."""
    found = Model.load(bundle).detect(picture, 0.5).detections
    where = {
        int(kind): (box[:2] + box[2:]) / 2
        for box, _, kind, _ in sorted(found, key=lambda item: item[1])
    }
    assert set(where) == {0, 1}
    assert np.all(np.abs(where[0] - [24, 24]) <= 10)
    assert np.all(np.abs(where[1] - [104, 88]) <= 10)


def test_threshold_of_a_label_counts_for_that_label_alone(
    load: Callable[..., Model], manifest: Said, onnx_bytes: Made, picture: Picture
):
    """A stricter label is not reported, others are; a threshold given at the call overrides."""
    model = load(manifest(thresholds={"red": 1.0}), onnx_bytes())
    assert set(model.detect(picture).detections.class_id) == {1}
    assert set(model.detect(picture, 0.5).detections.class_id) == {0, 1}


def test_golden_frames_are_judged_by_each_labels_own_threshold(
    load: Callable[..., Model],
    manifest: Said,
    onnx_bytes: Made,
    picture: Picture,
    painted_bgr: np.ndarray,
):
    """What a stricter label keeps out of the expectation is not missed in the check either."""
    strict = manifest(thresholds={"red": 1.0})
    frame = load(strict, onnx_bytes()).expect_golden("golden/p.png", picture)
    assert {box.label for box in frame.boxes} == {"blue"}
    files = {"model.onnx": onnx_bytes(), "golden/p.png": golden.encode_picture(painted_bgr)}
    folder = load(strict, onnx_bytes())._bundle.path
    said = msgspec.structs.replace(strict, golden=[frame])
    result = Model.load(bundles.write(folder, said, files)).check_golden()
    assert result.ok, result.failures


def test_timings_come_from_the_clock_given(bundle: Bundle, picture: Picture):
    """Every step is timed by the injected clock."""

    class Ticking(ManualClock):
        def mono_ns(self) -> int:
            self.advance(0.002)
            return super().mono_ns()

    result = Model.load(bundle, clock=Ticking()).detect(picture)
    times = (result.preprocess_ms, result.inference_ms, result.postprocess_ms)
    assert times == pytest.approx((2.0, 2.0, 2.0), abs=0.01)


def test_callers_at_once_get_their_own_answers(bundle: Bundle, painted_bgr: np.ndarray):
    """One shared session serves many threads without mixing them up."""
    model = Model.load(bundle)
    pictures = [Picture.from_bgr(np.roll(painted_bgr, 8 * k, axis=1)) for k in range(4)]
    alone = [model.detect(p, 0.5).detections for p in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(
            pool.map(lambda k: model.detect(pictures[k % 4], 0.5).detections, range(80))
        )
    for k, found in enumerate(together):
        np.testing.assert_array_equal(found.boxes_xyxy, alone[k % 4].boxes_xyxy)
        np.testing.assert_array_equal(found.class_id, alone[k % 4].class_id)


def test_nan_from_the_network_is_bad_output_for_that_frame_only(
    load: Callable[..., Model], manifest: Said, onnx_bytes: Made, picture: Picture
):
    """A NaN becomes an error of its frame, and the next frame works."""
    model = load(manifest(), onnx_bytes(poison=True))
    with pytest.raises(BadModelOutput, match="finite"):
        model.detect(picture)
    dark = Picture.from_gray(np.zeros((32, 32), np.uint8))
    assert len(model.detect(dark).detections) == 0


def test_input_of_another_shape_is_refused_when_loading(
    load: Callable[..., Model], manifest: Said, onnx_bytes: Made
):
    """The message says both shapes."""
    other = manifest(preprocess=Preprocess(size=(32, 32)))
    with pytest.raises(ModelLoadFailed, match=r"\[1, 3, 64, 64\].*\[1, 3, 32, 32\]"):
        load(other, onnx_bytes())


def test_input_of_another_type_is_refused_when_loading(
    load: Callable[..., Model], manifest: Said, onnx_bytes: Made
):
    """An element type that differs is found before the first frame."""
    other = manifest(preprocess=Preprocess(size=(64, 64), dtype="uint8"))
    with pytest.raises(ModelLoadFailed, match="float32"):
        load(other, onnx_bytes())


def test_labels_that_do_not_fit_the_head_are_refused(
    load: Callable[..., Model], manifest: Said, onnx_bytes: Made
):
    """A list of labels of another model is found when loading."""
    with pytest.raises(ModelLoadFailed, match="3 labels"):
        load(manifest(labels=["a", "b", "c"]), onnx_bytes())


def test_head_of_another_family_is_refused_when_loading(
    load: Callable[..., Model], manifest: Said, onnx_bytes: Made
):
    """The grey try-out finds outputs that the head cannot read."""
    head = HeadSpec(kind="yolox", classes=2, strides=(8, 16, 32))
    with pytest.raises(ModelLoadFailed, match="manifest"):
        load(manifest(head=head), onnx_bytes())


@pytest.mark.parametrize("cut", [0, 1, 20, 500, -1])
def test_truncated_onnx_is_refused_with_a_hint(
    load: Callable[..., Model], manifest: Said, onnx_bytes: Made, cut: int
):
    """A file that was cut before it was hashed has a clear error too."""
    with pytest.raises(ModelLoadFailed) as caught:
        load(manifest(), onnx_bytes()[:cut])
    assert caught.value.operator_hint


@pytest.mark.parametrize("says", ["both", "location", "data"])
def test_external_weights_are_refused(
    load: Callable[..., Model], manifest: Said, onnx_bytes: Made, says: str
):
    """A network cannot make the runtime read another file, by whichever field it asks for it."""
    model = onnx.load_from_string(onnx_bytes())
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    if says != "data":
        tensor.data_location = TensorProto.EXTERNAL
    if says != "location":
        tensor.external_data.add(key="location", value="/etc/passwd")
    with pytest.raises(ModelLoadFailed, match="other files"):
        load(manifest(), model.SerializeToString())


def test_unknown_operation_is_refused(load: Callable[..., Model], manifest: Said, onnx_bytes: Made):
    """What the runtime cannot run is a load error with its reason."""
    model = onnx.load_from_string(onnx_bytes())
    model.graph.node[0].op_type = "NoSuchOperation"
    with pytest.raises(ModelLoadFailed, match="NoSuchOperation"):
        load(manifest(), model.SerializeToString())


def test_absent_accelerator_is_named(bundle: Bundle):
    """A provider that this build lacks is not silently replaced by the CPU."""
    with pytest.raises(BackendUnavailable, match="TensorrtExecutionProvider") as caught:
        Model.load(bundle, providers=["tensorrt"])
    assert "cpu" in (caught.value.operator_hint or "")


def test_golden_frame_passes_where_it_was_made(with_golden: Bundle):
    """The same machine gives the same answer."""
    result = Model.load(with_golden).check_golden()
    assert (result.ok, result.frames, result.failures) == (True, 1, ())
    assert result.worst < 1e-4


def test_golden_frame_fails_for_other_weights(with_golden: Bundle, onnx_bytes: Made):
    """A network of the same shape that answers differently is found out."""
    model = onnx.load_from_string(onnx_bytes())
    heat = next(i for i in model.graph.initializer if i.name == "heat")
    values = onnx.numpy_helper.to_array(heat)[::-1].copy()
    heat.CopyFrom(onnx.numpy_helper.from_array(values, "heat"))
    files = {name: with_golden.read(name) for name in with_golden.manifest.files}
    files["model.onnx"] = model.SerializeToString()
    swapped = bundles.write(with_golden.path, with_golden.manifest, files)
    result = Model.load(swapped).check_golden()
    assert not result.ok
    assert any("hm is off" in line for line in result.failures)
    assert any("where one was" in line for line in result.failures)


def test_golden_frame_fails_for_a_missing_box(with_golden: Bundle):
    """Detections are compared too: a wrong list of boxes fails although the numbers fit."""
    frame = with_golden.manifest.golden[0]
    result = with_frame(with_golden, msgspec.structs.replace(frame, boxes=[])).check_golden()
    assert not result.ok
    assert all("where none was" in line for line in result.failures)


@pytest.mark.parametrize(
    "probe",
    [
        Probe(shape=[1, 2, 3], span=1, at=[0], values=[0]),
        Probe(shape=[1, 16, 16, 2], span=1, at=[10**9], values=[0]),
        Probe(shape=[1, 16, 16, 2], span=1, at=[], values=[]),
    ],
    ids=["shape", "position", "empty"],
)
def test_hostile_probe_fails_the_check_and_raises_nothing(with_golden: Bundle, probe: Probe):
    """A probe that does not fit the output is a failed check."""
    frame = msgspec.structs.replace(with_golden.manifest.golden[0], outputs={"hm": probe})
    assert not with_frame(with_golden, frame).check_golden().ok


def test_tolerance_is_obeyed(with_golden: Bundle):
    """A deviation passes or fails by the tolerance that the manifest states."""
    frame = with_golden.manifest.golden[0]
    probe = frame.outputs["hm"]
    moved = msgspec.structs.replace(probe, values=[v + 0.1 * probe.span for v in probe.values])
    for output, ok in ((0.2, True), (0.05, False)):
        changed = msgspec.structs.replace(
            frame, outputs={"hm": moved}, tolerance=Tolerance(output=output)
        )
        assert with_frame(with_golden, changed).check_golden().ok is ok


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a" + b"\0" * 64,
        b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR" + (10**9).to_bytes(4) * 2 + b"\0" * 32,
        b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR" + (64).to_bytes(4) * 2 + b"\0" * 32,
    ],
    ids=["empty", "other-format", "gigapixels", "no-pixels"],
)
def test_hostile_golden_picture_is_refused(data: bytes):
    """A picture's announced size is checked before a decoder allocates it."""
    with pytest.raises(ModelLoadFailed):
        golden.decode_picture(data, "golden/x.png")
