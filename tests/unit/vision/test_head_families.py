"""Each family of heads: what was encoded comes back, and what is hostile is refused."""

import time
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vedette.errors import BadModelOutput
from vedette.sim.exact_heads import FAMILIES, Thing, answers
from vedette.vision.heads import HeadSpec, decode, recognise
from vedette.vision.heads.boxes import MAX_CANDIDATES, iou_matrix, softmax, suppress, xyxy
from vedette.vision.heads.grid import cells, count
from vedette.vision.preprocess import Preprocess, Transform

Floats = npt.NDArray[np.float32]
Outputs = dict[str, npt.NDArray[Any]]

SIZE = (160, 96)
CLASSES = 3
# What an import finds out by a run (the activation) or is told (names of outputs) stands here.
HEADS: dict[str, dict[str, Any]] = {
    "centernet": {"kind": "centernet"},
    "yolox": {"kind": "yolox"},
    "yolox, decoded": {"kind": "yolov5"},
    "yolov5": {"kind": "yolov5"},
    "yolov5, raw": {"kind": "yolov5_raw", "activation": "sigmoid"},
    "yolov5, raw, channels first": {"kind": "yolov5_raw", "activation": "sigmoid"},
    "yolov8": {"kind": "yolov8"},
    "yolov8, rows": {"kind": "yolov8"},
    "end to end": {"kind": "end_to_end"},
    "fastestdet": {"kind": "fastestdet"},
    "nanodet-plus": {"kind": "nanodet"},
    "nanodet": {"kind": "nanodet", "strides": [8, 16, 32], "cell_offset": 0.5},
    "ssd": {
        "kind": "ssd",
        "background": "first",
        "unit": "fraction",
        "outputs": {"boxes": "boxes", "scores": "scores"},
    },
    "ssd, raw with priors": {
        "kind": "ssd",
        "background": "first",
        "activation": "softmax",
        "outputs": {"boxes": "locations", "scores": "confidences", "priors": "priors"},
    },
    "rt-detr": {"kind": "detr", "activation": "sigmoid"},
    "rt-detr, joined": {"kind": "detr", "outputs": {"predictions": "output0"}},
    "tensorflow": {
        "kind": "decoded",
        "boxes": "yxyx",
        "unit": "fraction",
        "background": "first",
        "outputs": {
            "boxes": "detection_boxes",
            "scores": "detection_scores",
            "labels": "detection_classes",
            "count": "num_detections",
        },
    },
    "torchvision": {
        "kind": "decoded",
        "outputs": {"boxes": "boxes", "scores": "scores", "labels": "labels"},
    },
    "openmmlab": {"kind": "decoded", "outputs": {"boxes": "dets", "labels": "labels"}},
    "openvino": {
        "kind": "decoded",
        "unit": "fraction",
        "outputs": {"detections": "detection_out"},
    },
}
# These differ from one above in names only.
SAME = {"ssd, raw", "rf-detr", "rt-detr, deployed"}


def _spec(family: str, **more: Any) -> HeadSpec:
    return msgspec.convert({"classes": CLASSES} | HEADS[family] | more, HeadSpec)


def _plain(size: tuple[int, int] = SIZE) -> Transform:
    """Return the transform of a picture that goes in as it is."""
    return Transform.between(size, Preprocess(size=size, resize="stretch"))


@st.composite
def boxes(draw: st.DrawFn) -> tuple[float, float, float, float]:
    """Draw a box inside the input whose centre lies in it too, 8 to 60 pixels a side."""
    w = draw(st.floats(8, 60, width=16))
    h = draw(st.floats(8, 60, width=16))
    left = draw(st.floats(0, SIZE[0] - 60, width=16))
    top = draw(st.floats(0, SIZE[1] - 60, width=16))
    return left, top, left + w, top + h


def test_every_family_is_here() -> None:
    """A family that the simulator gets is tested here as well."""
    assert set(HEADS) | SAME == set(FAMILIES)


@pytest.mark.parametrize("family", HEADS)
@settings(max_examples=12, deadline=None)
@given(box=boxes(), class_id=st.integers(0, 2), confidence=st.floats(0.15, 0.95))
def test_an_encoded_box_comes_back(
    family: str, box: tuple[float, float, float, float], class_id: int, confidence: float
) -> None:
    """Wherever the object is, whatever its class: one detection, the same box, the same score."""
    said = answers(family, [Thing(box, class_id, confidence)], SIZE, CLASSES)
    found = decode(_spec(family), dict(said.bright), _plain(), 0.1)
    assert found.class_id.tolist() == [class_id]
    assert found.boxes_xyxy[0].tolist() == pytest.approx(box, abs=0.02)
    assert found.confidence[0] == pytest.approx(confidence, abs=1e-3)
    assert len(decode(_spec(family), dict(said.dark), _plain(), 0.1)) == 0


@pytest.mark.parametrize("family", HEADS)
def test_a_threshold_of_zero_or_one_is_no_special_case(family: str) -> None:
    """At zero at most `max_detections` come back, all inside; at one nothing does."""
    said = answers(family, [Thing((20, 20, 60, 50), 1, 0.9)], SIZE, CLASSES)
    found = decode(_spec(family, max_detections=40), dict(said.bright), _plain(), 0.0)
    assert 1 <= len(found) <= 40
    assert found.boxes_xyxy.min() >= 0
    assert found.boxes_xyxy[:, 2].max() <= SIZE[0]
    assert len(decode(_spec(family), dict(said.bright), _plain(), 1.0)) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("family", HEADS)
def test_one_value_that_is_no_number_refuses_the_frame(family: str, value: float) -> None:
    """NaN or infinity anywhere in any output is an error, also where nothing would be found."""
    dark = answers(family, [], SIZE, CLASSES).dark
    for name, output in dark.items():
        for at in (0, output.size // 2, -1):
            poisoned = output.copy()
            poisoned.reshape(-1)[at] = value
            with pytest.raises(BadModelOutput):
                decode(_spec(family), {**dark, name: poisoned}, _plain(), 0.3)


@pytest.mark.parametrize("family", HEADS)
def test_scores_that_are_none_are_refused(family: str) -> None:
    """Large values where scores belong are an error with a hint, not a confident detection."""
    spec = _spec(family)
    if spec.activation != "none":
        return  # a logit may be anything
    bright = answers(family, [Thing((20, 20, 60, 50), 1, 0.9)], SIZE, CLASSES).bright
    wild = {name: value * 1000 for name, value in bright.items()}
    with pytest.raises(BadModelOutput) as caught:
        decode(spec, wild, _plain(), 0.3)
    assert caught.value.operator_hint


@pytest.mark.parametrize("family", HEADS)
@pytest.mark.parametrize("change", ["wider", "two pictures", "flat", "bytes", "nothing"])
def test_another_shape_or_type_is_refused(family: str, change: str) -> None:
    """Whatever a network might give instead, the answer is an error and not a crash."""
    said = answers(family, [Thing((20, 20, 60, 50), 1, 0.9)], SIZE, CLASSES).bright
    name = next(iter(said))
    wrong: Outputs = dict(said)
    if change == "wider":
        wrong[name] = np.concatenate([said[name]] * 2, axis=1 if family == "yolov8" else -1)
    elif change == "two pictures":
        wrong[name] = np.concatenate([said[name][None]] * 2)
    elif change == "flat":
        wrong[name] = said[name].ravel()[:-1]
    elif change == "bytes":
        wrong = {key: (value * 200).astype(np.uint8) for key, value in said.items()}
    else:
        wrong = {}
    with pytest.raises(BadModelOutput):
        decode(_spec(family), wrong, _plain(), 0.3)


@pytest.mark.parametrize("family", HEADS)
def test_half_precision_is_good_enough(family: str) -> None:
    """Outputs in float16 give the same objects, a little moved."""
    said = answers(family, [Thing((20, 20, 60, 50), 1, 0.9)], SIZE, CLASSES).bright
    halves = {name: value.astype(np.float16) for name, value in said.items()}
    found = decode(_spec(family), halves, _plain(), 0.3)
    assert found.class_id.tolist() == [1]
    assert found.boxes_xyxy[0].tolist() == pytest.approx((20, 20, 60, 50), abs=0.2)


@pytest.mark.parametrize("family", ["yolov8, rows", "end to end", "torchvision", "rt-detr", "ssd"])
@settings(max_examples=8, deadline=None)
@given(order=st.permutations(range(3)), seed=st.integers(0, 2**32 - 1))
def test_the_order_of_rows_does_not_matter(family: str, order: list[int], seed: int) -> None:
    """Rows in any order are the same objects."""
    things = [
        Thing((10, 10, 40, 40), 0, 0.9),
        Thing((60, 20, 90, 60), 1, 0.8),
        Thing((100, 50, 150, 90), 2, 0.7),
    ]
    plain = answers(family, things, SIZE, CLASSES).bright
    mixed = answers(family, [things[n] for n in order], SIZE, CLASSES).bright
    rows = max(value.shape[-2] for value in plain.values() if value.ndim > 1)
    axis = {name: value.shape.index(rows) for name, value in mixed.items()}
    shuffle = np.random.default_rng(seed).permutation(rows)
    mixed = {name: value.take(shuffle, axis[name]) for name, value in mixed.items()}
    spec = _spec(family)
    one, two = decode(spec, dict(plain), _plain(), 0.3), decode(spec, mixed, _plain(), 0.3)
    assert np.array_equal(one.boxes_xyxy, two.boxes_xyxy)
    assert np.array_equal(one.class_id, two.class_id)


@settings(max_examples=50, deadline=None)
@given(
    arrays(np.float32, (150, 2), elements=st.floats(0, 80, width=16)),
    arrays(np.float32, (150, 2), elements=st.floats(0, 40, width=16)),
    arrays(np.float32, (150,), elements=st.sampled_from([0.2, 0.3, 0.4, 0.5, 0.9])),
    arrays(np.int32, (150,), elements=st.integers(0, 2)),
    st.sampled_from([0.1, 0.45, 0.5, 0.7, 1.0]),
    st.sampled_from([None, 1, 20]),
)
def test_suppression_is_what_the_definition_says(  # noqa: PLR0917  drawn, in order
    corners: Floats,
    sides: Floats,
    confidence: Floats,
    class_id: npt.NDArray[np.int32],
    iou: float,
    most: int | None,
) -> None:
    """Block by block gives what one box after the other gives, over several blocks."""
    found = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
    kept: list[int] = []
    for index in np.argsort(-confidence, kind="stable").tolist():
        rivals = [best for best in kept if class_id[best] == class_id[index]]
        overlap = iou_matrix(found[rivals], found[index : index + 1])
        # Exactly at the limit, a division and a product may round to different sides.
        assume(not (np.abs(overlap - iou) < 1e-6).any())
        if not (overlap > iou).any():
            kept.append(index)
    assert suppress(found, confidence, class_id, iou, most).tolist() == kept[:most]


@given(
    arrays(np.float32, (5, 2), elements=st.floats(-50, 300, width=16)),
    arrays(np.float32, (5, 2), elements=st.floats(1, 200, width=16)),
    st.tuples(st.integers(16, 900), st.integers(16, 900)),
    st.sampled_from(["letterbox", "stretch"]),
    st.sampled_from(["top_left", "center"]),
)
def test_boxes_survive_the_way_into_the_input_and_back(
    corners: Floats, sides: Floats, size: tuple[int, int], resize: Any, anchor: Any
) -> None:
    """Letterboxed or stretched, a box comes back where it was."""
    spec = Preprocess(size=SIZE, resize=resize, anchor=anchor)
    transform = Transform.between(size, spec)
    found = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
    again = transform.to_picture(transform.to_input(found))
    assert np.allclose(again, found, atol=0.05, rtol=1e-4)


def test_the_orders_of_a_box_are_told_apart() -> None:
    """Top before left, centre and size, corners: the same box."""
    for order, numbers in (
        ("xyxy", (1, 2, 5, 8)),
        ("yxyx", (2, 1, 8, 5)),
        ("cxcywh", (3, 5, 4, 6)),
    ):
        assert xyxy(np.array([numbers], np.float32), order).tolist() == [[1, 2, 5, 8]]


@given(arrays(np.float32, (4, 6), elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_a_softmax_is_a_distribution_whatever_goes_in(logits: Floats) -> None:
    """Rows sum to one, also where an exponential alone would overflow."""
    assert softmax(logits).sum(axis=1).tolist() == pytest.approx([1, 1, 1, 1], abs=1e-5)


@given(st.tuples(st.integers(1, 200), st.integers(1, 200)))
def test_cells_are_counted_as_they_are_made(size: tuple[int, int]) -> None:
    """A size that is no multiple of a stride has cells for its rest."""
    strides = (8, 16, 32, 64)
    assert len(cells(size, strides)) == count(size, strides)


@pytest.mark.parametrize("family", ["yolov8", "yolov5", "nanodet-plus", "ssd", "rt-detr"])
def test_a_model_gone_mad_is_bounded(family: str) -> None:
    """Everything found everywhere, each box its own: the candidates are bounded."""
    bright = answers(family, [], SIZE, CLASSES).bright
    mad = {
        name: np.full((1, CLASSES + 4, 200_000), 0.99, np.float32)
        if family == "yolov8"
        else np.full_like(value, 0.99)
        for name, value in bright.items()
    }
    began = time.process_time()
    found = decode(_spec(family, iou=1.0, max_detections=10_000), mad, _plain(), 0.1)
    assert len(found) <= MAX_CANDIDATES
    assert time.process_time() - began < 5  # a square of 200,000 rows would take hours


def test_boxes_beyond_all_measure_are_cut_to_the_picture() -> None:
    """The largest numbers there are do not become infinite on their way back."""
    output = np.zeros((1, 4 + CLASSES, 315), np.float32)
    output[0, :4, 7] = (80, 48, 3e38, 3e38)
    output[0, 4, 7] = 0.9
    found = decode(_spec("yolov8"), {"o": output}, _plain((640, 384)), 0.5)
    assert found.boxes_xyxy.tolist() == [[0, 0, 640, 384]]


def test_negative_sizes_and_foreign_classes_are_refused_or_dropped() -> None:
    """A width below zero is no box; a class that is not in the list is an error."""
    rows = np.zeros((1, 300, 6), np.float32)
    rows[0, 0] = (50, 50, 40, 60, 0.9, 1)
    assert len(decode(_spec("end to end"), {"o": rows}, _plain(), 0.5)) == 0
    rows[0, 0] = (40, 50, 50, 60, 0.9, 7)
    with pytest.raises(BadModelOutput, match="class id 7"):
        decode(_spec("end to end"), {"o": rows}, _plain(), 0.5)
    rows[0, 0, 5] = 0.5
    with pytest.raises(BadModelOutput, match=r"class id 0\.5"):
        decode(_spec("end to end"), {"o": rows}, _plain(), 0.5)


@pytest.mark.parametrize("count_", [-1, 101, 2.5])
def test_a_count_that_cannot_be_is_refused(count_: float) -> None:
    """More rows than there are, or half a row, are nonsense."""
    said = answers("tensorflow", [], SIZE, CLASSES).dark
    said["num_detections"][:] = count_
    with pytest.raises(BadModelOutput, match="rows are real"):
        decode(_spec("tensorflow"), dict(said), _plain(), 0.5)


def test_a_prior_box_without_an_area_is_refused() -> None:
    """Priors as corners instead of centre and size would put every box elsewhere."""
    said = answers("ssd, raw with priors", [], SIZE, CLASSES).dark
    said["priors"][:, 2:] = 0
    said["confidences"][..., 1] = 9
    with pytest.raises(BadModelOutput, match="prior box"):
        decode(_spec("ssd, raw with priors"), dict(said), _plain(), 0.5)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("outputs", {"boxes": "x", "scores": "x"}, "two roles"),
        ("classes", 0, "classes"),
        ("strides", [0], "strides"),
        ("strides", [8] * 17, "strides"),
        ("anchors", [[[1, -2]]], "anchors"),
        ("anchors", [[[1, 2]] * 5000], "anchors"),
        ("variances", [0, 0.1], "variances"),
        ("cell_offset", 2, "cell_offset"),
        ("kind", "magic", "magic"),
    ],
)
def test_a_head_that_no_model_can_have_is_refused(field: str, value: object, problem: str) -> None:
    """A manifest cannot say what would only fail later."""
    with pytest.raises(msgspec.ValidationError, match=problem):
        msgspec.convert({"kind": "yolov8", "classes": 3, field: value}, HeadSpec)


def test_shapes_that_several_families_share_are_told_apart_by_the_number_of_labels() -> None:
    """Four classes of CenterNet, and rows that could be YOLOX's, YOLOv8's or NanoDet's."""
    grid = {"a": [1, 24, 40, 4], "b": [1, 24, 40, 4]}
    twins = recognise({"x": [1, 3, 96, 160]}, grid)
    assert [head.outputs["heatmap"] for head in twins] == ["b", "a"]
    rows = {"o": [1, 315, 40]}
    kinds = {
        n: {h.kind for h in recognise({"x": [1, 3, 96, 160]}, rows, classes=n)} for n in range(50)
    }
    assert {n: kind for n, kind in kinds.items() if kind} == {
        8: {"nanodet"},
        35: {"yolox", "yolov5"},
        36: {"yolov8"},
    }


@given(
    st.dictionaries(
        st.sampled_from(["output0", "boxes", "scores", "labels", "dets", "priors", "num_dets"]),
        st.lists(st.one_of(st.none(), st.just("n"), st.integers(-1, 400)), max_size=6),
        max_size=5,
    ),
    st.one_of(st.none(), st.integers(0, 100)),
)
def test_recognition_survives_any_shapes(outputs: dict[str, Any], classes: int | None) -> None:
    """Whatever a file announces, the answer is a list of possible heads."""
    for head in recognise({"x": [1, 3, 96, 160]}, outputs, classes=classes):
        assert set(head.outputs.values()) <= set(outputs)
        assert classes in {None, head.classes}
