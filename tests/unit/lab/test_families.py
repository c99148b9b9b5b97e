"""Every family of detectors, from its ONNX file to boxes in the picture, with exact networks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vedette.errors import ModelLoadFailed, VedetteError
from vedette.inference.model import Model
from vedette.lab.importing import Request, import_onnx
from vedette.sim.exact_heads import FAMILIES, Answers, Thing, answers, network
from vedette.vision.picture import Picture
from vedette.vision.preprocess import Preprocess, Transform, prepare

SIZE = (160, 96)
PICTURE = (320, 240)  # of another shape than the input, so that a letterbox has bars
LABELS = ("tin", "box", "can")
# In pixels of the picture; the second and third overlap, but are of different classes.
TRUTH = (
    ((40.0, 60.0, 72.0, 100.0), "tin", 0.9),
    ((150.0, 120.0, 230.0, 200.0), "can", 0.8),
    ((190.0, 124.0, 270.0, 196.0), "box", 0.7),
)

UNIT: dict[str, Any] = {"scale": 1 / 255}
LETTERBOX: dict[str, Any] = UNIT | {"resize": "letterbox", "anchor": "center"}
STRETCH: dict[str, Any] = UNIT | {"resize": "stretch"}
YOLOX: dict[str, Any] = {"color": "BGR", "resize": "letterbox", "anchor": "top_left"}
NANODET: dict[str, Any] = {
    "color": "BGR",
    "resize": "stretch",
    "mean": (103.53, 116.28, 123.675),
    "std": (57.375, 57.12, 58.395),
}
SSD: dict[str, Any] = {"resize": "stretch", "mean": (127.0,) * 3, "std": (128.0,) * 3}
IMAGENET: dict[str, Any] = STRETCH | {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

# Family → the kind that it is recognised as, the activation, and how it wants to be fed.
EXPECTED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "centernet": ("centernet", "none", {"resize": "stretch"}),
    "yolox": ("yolox", "none", YOLOX),
    "yolox, decoded": ("yolov5", "none", YOLOX),
    "yolov5": ("yolov5", "none", LETTERBOX),
    "yolov5, raw": ("yolov5_raw", "sigmoid", LETTERBOX),
    "yolov5, raw, channels first": ("yolov5_raw", "sigmoid", LETTERBOX),
    "yolov8": ("yolov8", "none", LETTERBOX),
    "yolov8, rows": ("yolov8", "none", LETTERBOX),
    "end to end": ("end_to_end", "none", LETTERBOX),
    "fastestdet": ("fastestdet", "none", STRETCH | {"color": "BGR"}),
    "nanodet-plus": ("nanodet", "none", NANODET),
    "nanodet": ("nanodet", "none", NANODET),
    "ssd": ("ssd", "none", SSD),
    "ssd, raw": ("ssd", "softmax", SSD),
    "ssd, raw with priors": ("ssd", "softmax", SSD),
    "rt-detr": ("detr", "sigmoid", STRETCH),
    "rf-detr": ("detr", "sigmoid", IMAGENET),
    "rt-detr, joined": ("detr", "none", STRETCH),
    "rt-detr, deployed": ("decoded", "none", STRETCH),
    "tensorflow": ("decoded", "none", STRETCH),
    "torchvision": ("decoded", "none", STRETCH),
    "openmmlab": ("decoded", "none", STRETCH),
    "openvino": ("decoded", "none", STRETCH),
}

Importer = Callable[..., Model]


def _things(preprocess: Preprocess) -> list[Thing]:
    """Return the truth in pixels of the model's input."""
    boxes = np.array([box for box, _, _ in TRUTH], np.float32)
    inside = Transform.between(PICTURE, preprocess).to_input(boxes)
    return [
        Thing((float(b[0]), float(b[1]), float(b[2]), float(b[3])), LABELS.index(label), confidence)
        for b, (_, label, confidence) in zip(inside, TRUTH, strict=True)
    ]


def _level(preprocess: Preprocess) -> float:
    """Return the mean of a grey picture as it is fed."""
    grey = Picture.from_gray(np.full(PICTURE[::-1], 128, np.uint8))
    return float(prepare(grey, preprocess)[0].mean())


def _write(folder: Path, family: str, **more: Any) -> tuple[Path, Answers]:
    """Write the network of a family that finds the truth."""
    preprocess = Preprocess(size=SIZE, **EXPECTED[family][2])
    said = answers(family, _things(preprocess), SIZE, len(LABELS))
    path = folder / "model.onnx"
    path.write_bytes(network(said, SIZE, level=_level(preprocess), **more))
    return path, said


@pytest.fixture
def imported(tmp_path: Path) -> Importer:
    """Import the network of a family, with what the user says, and load it."""
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))

    def load(family: str, *, batch: int | str = 1, **said: Any) -> Model:
        path, truth = _write(tmp_path, family, batch=batch)
        request: dict[str, Any] = {"name": "mine", "labels": str(tmp_path / "labels.txt")} | said
        if truth.priors is not None:
            np.save(tmp_path / "priors.npy", truth.priors)
            request["priors"] = tmp_path / "priors.npy"
        return Model.load(import_onnx(path, tmp_path / "mine", Request(**request)))

    return load


def _see(model: Model, grey: int) -> list[tuple[list[float], str, float]]:
    """Return what the model finds in an even picture, surest first."""
    picture = Picture.from_gray(np.full(PICTURE[::-1], grey, np.uint8))
    found = model.detect(picture).detections
    return [(box.tolist(), model.labels[label], sure) for box, sure, label, _ in found]


def test_every_family_of_the_simulator_is_expected_here() -> None:
    """A family that is added to the simulator is tested."""
    assert set(EXPECTED) == set(FAMILIES)


@pytest.mark.parametrize("family", EXPECTED)
def test_a_family_is_recognised_fed_as_it_wants_and_decoded_exactly(
    imported: Importer, family: str
) -> None:
    """From the file alone: kind, activation, input, and the boxes that the network holds."""
    model = imported(family)
    kind, activation, habits = EXPECTED[family]
    head = model.manifest.head
    assert head is not None
    assert (head.kind, head.activation, head.classes) == (kind, activation, 3)
    assert model.manifest.preprocess == Preprocess(size=SIZE, **habits)
    found = _see(model, 255)
    assert [label for _, label, _ in found] == [label for _, label, _ in TRUTH]
    for (box, _, sure), (wanted, _, confidence) in zip(found, TRUTH, strict=True):
        assert box == pytest.approx(wanted, abs=0.02)
        assert sure == pytest.approx(confidence, abs=1e-3)
    assert _see(model, 0) == []


def test_a_free_batch_is_no_obstacle(imported: Importer) -> None:
    """A file whose first side is free is imported like any other."""
    assert len(_see(imported("yolov8", batch="batch"), 255)) == 3


def test_what_the_user_says_wins_over_the_convention(imported: Importer) -> None:
    """Colours, resizing and scale can all be said; the rest stays the family's."""
    said = {"color": "BGR", "resize": "stretch", "mean": (0.1, 0.2, 0.3)}
    made = imported("yolov8", preprocess=said).manifest.preprocess
    assert (made.color, made.resize, made.mean, made.scale) == (
        "BGR",
        "stretch",
        (0.1, 0.2, 0.3),
        1 / 255,
    )


def test_an_input_that_cannot_be_is_refused(imported: Importer) -> None:
    """A deviation of zero is the user's to change."""
    with pytest.raises(VedetteError, match="std must not be zero"):
        imported("yolov8", preprocess={"std": (0.0, 1.0, 1.0)})


def test_offsets_without_their_priors_are_not_taken_for_boxes(tmp_path: Path) -> None:
    """A raw SSD is refused with the way to give its prior boxes."""
    path, _ = _write(tmp_path, "ssd, raw")
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    request = Request(name="mine", labels=str(tmp_path / "labels.txt"))
    with pytest.raises(ModelLoadFailed, match="prior boxes") as caught:
        import_onnx(path, tmp_path / "mine", request)
    assert "--priors" in (caught.value.operator_hint or "")
