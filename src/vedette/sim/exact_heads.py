"""Networks with the outputs of each family of detectors, which find exactly what they are told.

A head is proven by a network whose answer is known: `answers` encodes objects the way a trained
network of the family would, and `network` makes an ONNX file of it that gives this answer to a
bright picture and finds nothing in a dark one. Not here: anything that looks for objects
(`sim.closed_world`).

The rule: encoding is written from the families' own descriptions (see `vision.heads`), not by
turning our decoding around in code.

Needs the package `onnx`, which comes with the extra `lab`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from onnx import NodeProto

Array = npt.NDArray[np.float32]
Size = tuple[int, int]
Box = tuple[float, float, float, float]

NOTHING: Final = 0.01
_FAR: Final = -40.0
_OPSET: Final = 17
_V5_ANCHORS: Final = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)
PRIOR_SIDES: Final = (8, 12, 18, 27, 40, 60)
PRIOR_STEP: Final = 4


@dataclass(frozen=True, slots=True)
class Thing:
    """One object: its box in pixels of the model's input, its class and the score it gets."""

    box_xyxy: Box
    class_id: int
    confidence: float

    @property
    def cxcywh(self) -> Box:
        """Return centre, width and height."""
        left, top, right, bottom = self.box_xyxy
        return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top


@dataclass(frozen=True, slots=True)
class Answers:
    """Outputs by name, for a bright picture and for a dark one, and what goes in besides.

    Attributes:
        bright: What it answers where it sees the objects.
        dark: What it answers where it sees none.
        sizes: Whether the network asks for the size of the original picture too.
        priors: Prior boxes that the network does not give out, (n, 4), in fractions.
    """

    bright: dict[str, Array]
    dark: dict[str, Array]
    sizes: bool = False
    priors: Array | None = field(default=None)


def answers(family: str, things: Sequence[Thing], size: Size, classes: int) -> Answers:
    """Return what a network of `family` (one of `FAMILIES`) says about `things`."""
    return FAMILIES[family](things, size, classes)


def network(said: Answers, size: Size, *, level: float, batch: int | str = 1) -> bytes:
    """Return the ONNX file: `said.bright` where the input's mean is above `level`, else the dark.

    Args:
        said: The answers.
        size: Width and height of the input, NCHW, float32.
        level: On the scale of the input as it is fed.
        batch: The first side, or its name where it is free.
    """
    from onnx import TensorProto, helper, numpy_helper

    constants: dict[str, npt.NDArray[Any]] = {"level": np.array(level, np.float32)}
    nodes: list[NodeProto] = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Greater", ["mean", "level"], ["is_bright"]),
        helper.make_node("Cast", ["is_bright"], ["gate"], to=TensorProto.FLOAT),
    ]
    inputs = [
        helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, size[1], size[0]])
    ]
    if said.sizes:
        inputs.append(helper.make_tensor_value_info("orig_target_sizes", TensorProto.INT64, [1, 2]))
        constants["middle"] = np.array([1], np.int64)
        constants["repeat"] = np.array([1, 1, 2], np.int64)
        constants["size"] = np.array([*size, *size], np.float32)
        nodes += [
            helper.make_node("Cast", ["orig_target_sizes"], ["asked"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["asked", "middle"], ["asked_deep"]),
            helper.make_node("Tile", ["asked_deep", "repeat"], ["asked_box"]),
            helper.make_node("Div", ["asked_box", "size"], ["stretch"]),
        ]
    outputs = []
    for name, light in said.bright.items():
        constants[f"{name}_dark"] = said.dark[name]
        constants[f"{name}_more"] = light - said.dark[name]
        last = f"{name}_plain" if said.sizes and name == "boxes" else name
        nodes += [
            helper.make_node("Mul", [f"{name}_more", "gate"], [f"{name}_gated"]),
            helper.make_node("Add", [f"{name}_dark", f"{name}_gated"], [last]),
        ]
        if last != name:
            nodes.append(helper.make_node("Mul", [last, "stretch"], [name]))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, light.shape))
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "exact", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=10)
    return model.SerializeToString()


def _logit(p: float) -> float:
    return math.log(p / (1 - p))


def _cells(size: Size, strides: Sequence[int]) -> Array:
    """Return column, row and stride of each cell, level by level and row by row."""
    return np.array(
        [
            (column, row, stride)
            for stride in strides
            for row in range(math.ceil(size[1] / stride))
            for column in range(math.ceil(size[0] / stride))
        ],
        np.float32,
    )


def _cell_of(cells: Array, thing: Thing, stride: int) -> int:
    """Return the cell of one level that holds the object's centre."""
    cx, cy, _, _ = thing.cxcywh
    return _index(cells, (cx // stride, cy // stride, stride))


def _index(cells: Array, wanted: tuple[float, float, float]) -> int:
    """Return which cell has this column, row and stride."""
    return int(np.flatnonzero((cells == np.array(wanted, np.float32)).all(axis=1))[0])


def _both(name: str, dark: Array, rows: Callable[[Array], None]) -> Answers:
    """Return one output, dark as given and bright as `rows` changes a copy of it."""
    bright = dark.copy()
    rows(bright)
    return Answers({name: bright}, {name: dark})


def _yolox(things: Sequence[Thing], size: Size, classes: int) -> Answers:
    cells = _cells(size, (8, 16, 32))

    def fill(out: Array) -> None:
        for thing in things:
            at = _cell_of(cells, thing, 8)
            cx, cy, w, h = thing.cxcywh
            column, row, _ = cells[at]
            box = (cx / 8 - column, cy / 8 - row, math.log(w / 8), math.log(h / 8))
            out[0, at, :5] = (*box, thing.confidence)
            out[0, at, 5 + thing.class_id] = 1

    return _both("output", np.zeros((1, len(cells), 5 + classes), np.float32), fill)


def _rows(things: Sequence[Thing], size: Size, classes: int, anchors: int) -> Answers:
    """Return decoded rows with an objectness, as YOLOv5 with anchors and YOLOX without."""
    cells = _cells(size, (8, 16, 32))
    dark = np.zeros((1, anchors * len(cells), 5 + classes), np.float32)
    dark[0, :, :2] = np.tile((cells[:, :2] + 0.5) * cells[:, 2:], (anchors, 1))
    dark[0, :, 2:4] = 10

    def fill(out: Array) -> None:
        for thing in things:
            at = _cell_of(cells, thing, 8)
            out[0, at, :5] = (*thing.cxcywh, thing.confidence)
            out[0, at, 5 + thing.class_id] = 1

    return _both("output0", dark, fill)


def _v5_raw(things: Sequence[Thing], size: Size, classes: int) -> Answers:
    """Return the three grids of YOLOv5 as logits, each object at the anchor nearest in size."""
    dark = {
        f"p{level}": np.full(
            (1, 3, math.ceil(size[1] / stride), math.ceil(size[0] / stride), 5 + classes),
            _FAR,
            np.float32,
        )
        for level, stride in enumerate((8, 16, 32))
    }
    bright = {name: value.copy() for name, value in dark.items()}
    every = [(level, n) for level in range(3) for n in range(3)]
    for thing in things:
        cx, cy, w, h = thing.cxcywh

        def apart(at: tuple[int, int], w: float = w, h: float = h) -> float:
            width, height = _V5_ANCHORS[at[0]][at[1]]
            return abs(math.log(w / width)) + abs(math.log(h / height))

        level, n = min(every, key=apart)
        stride, (width, height) = 8 << level, _V5_ANCHORS[level][n]
        column, row = int(cx // stride), int(cy // stride)
        row_of = bright[f"p{level}"][0, n, row, column]
        row_of[0] = _logit((cx / stride - column + 0.5) / 2)
        row_of[1] = _logit((cy / stride - row + 0.5) / 2)
        row_of[2:4] = _logit(math.sqrt(w / width) / 2), _logit(math.sqrt(h / height) / 2)
        row_of[4] = _logit(thing.confidence)
        row_of[5 + thing.class_id] = -_FAR
    return Answers(bright, dark)


def _v5_raw_channels(things: Sequence[Thing], size: Size, classes: int) -> Answers:
    """Return the same grids with anchors and numbers in one axis of channels."""
    deep = _v5_raw(things, size, classes)

    def flat(value: Array) -> Array:
        _, kinds, lines, columns, wide = value.shape
        turned = value.transpose(0, 1, 4, 2, 3)
        return np.ascontiguousarray(turned.reshape(1, kinds * wide, lines, columns))

    return Answers(
        {name: flat(value) for name, value in deep.bright.items()},
        {name: flat(value) for name, value in deep.dark.items()},
    )


def _v8_rows(things: Sequence[Thing], size: Size, classes: int) -> Answers:
    cells = _cells(size, (8, 16, 32))
    dark = np.full((1, len(cells), 4 + classes), NOTHING, np.float32)
    dark[0, :, :2] = (cells[:, :2] + 0.5) * cells[:, 2:]

    def fill(out: Array) -> None:
        for thing in things:
            at = _cell_of(cells, thing, 8)
            out[0, at, :4] = thing.cxcywh
            out[0, at, 4 + thing.class_id] = thing.confidence

    return _both("output0", dark, fill)


def _v8(things: Sequence[Thing], size: Size, classes: int) -> Answers:
    rows = _v8_rows(things, size, classes)
    turn = (0, 2, 1)
    return Answers(
        {name: np.ascontiguousarray(value.transpose(turn)) for name, value in rows.bright.items()},
        {name: np.ascontiguousarray(value.transpose(turn)) for name, value in rows.dark.items()},
    )


def _end_to_end(things: Sequence[Thing], _: Size, __: int) -> Answers:
    def fill(out: Array) -> None:
        for at, thing in enumerate(things):
            out[0, at] = (*thing.box_xyxy, thing.confidence, thing.class_id)

    return _both("output0", np.zeros((1, 300, 6), np.float32), fill)


def _fastestdet(things: Sequence[Thing], size: Size, classes: int) -> Answers:
    lines, columns = math.ceil(size[1] / 16), math.ceil(size[0] / 16)
    dark = np.zeros((1, 5 + classes, lines, columns), np.float32)
    dark[:, 0] = NOTHING
    dark[:, 5:] = 1 / classes

    def fill(out: Array) -> None:
        for thing in things:
            cx, cy, w, h = thing.cxcywh
            column, row = int(cx // 16), int(cy // 16)
            cell = out[0, :, row, column]
            cell[0] = thing.confidence ** (1 / 0.6)
            cell[1:3] = math.atanh(cx / 16 - column), math.atanh(cy / 16 - row)
            cell[3:5] = _logit(w / size[0]), _logit(h / size[1])
            cell[5:] = 0
            cell[5 + thing.class_id] = 1

    return _both("758", dark, fill)


def _nanodet(
    things: Sequence[Thing], size: Size, classes: int, strides: Sequence[int], offset: float
) -> Answers:
    """Return scores and eight bins a side; each object on the finest level that reaches so far."""
    cells, bins = _cells(size, strides), 8
    dark = np.zeros((1, len(cells), classes + 4 * bins), np.float32)
    dark[..., :classes] = NOTHING

    def fill(out: Array) -> None:
        for thing in things:
            left, top, right, bottom = thing.box_xyxy
            cx, cy, w, h = thing.cxcywh
            stride = next(s for s in strides if max(w, h) / 2 + s < (bins - 1) * s)
            # The nearest point, so that it lies in the box: no distance is negative.
            column, line = round(cx / stride - offset), round(cy / stride - offset)
            x, y = (column + offset) * stride, (line + offset) * stride
            row = out[0, _index(cells, (column, line, stride))]
            row[thing.class_id] = thing.confidence
            for side, reach in enumerate((x - left, y - top, right - x, bottom - y)):
                whole, part = divmod(reach / stride, 1)
                bin_of = row[classes + side * bins : classes + (side + 1) * bins]
                bin_of[:] = _FAR
                bin_of[int(whole)] = math.log(max(1 - part, 1e-9))
                bin_of[int(whole) + 1] = math.log(max(part, 1e-9))

    return _both("output", dark, fill)


def priors(size: Size) -> Array:
    """Return prior boxes, float32 (n, 4): centre, width and height in fractions of the input."""
    x = (np.arange(size[0] // PRIOR_STEP) + 0.5) * PRIOR_STEP / size[0]
    y = (np.arange(size[1] // PRIOR_STEP) + 0.5) * PRIOR_STEP / size[1]
    y, x, side = (grid.ravel() for grid in np.meshgrid(y, x, PRIOR_SIDES, indexing="ij"))
    return np.stack([x, y, side / size[0], side / size[1]], axis=1).astype(np.float32)


def _nearest_prior(table: Array, thing: Thing, size: Size) -> int:
    cx, cy, w, h = thing.cxcywh
    own = np.array([cx / size[0], cy / size[1], w / size[0], h / size[1]])
    return int(np.abs(table - own).sum(axis=1).argmin())


def _ssd(things: Sequence[Thing], size: Size, classes: int) -> Answers:
    """Return decoded boxes in fractions and probabilities, the background first."""
    table = priors(size)
    boxes = np.concatenate([table[:, :2] - table[:, 2:] / 2, table[:, :2] + table[:, 2:] / 2], 1)
    scores = np.zeros((1, len(table), 1 + classes), np.float32)
    scores[..., 0] = 1
    dark = {"boxes": boxes[None].astype(np.float32), "scores": scores}
    bright = {name: value.copy() for name, value in dark.items()}
    for thing in things:
        at = _nearest_prior(table, thing, size)
        bright["boxes"][0, at] = np.array(thing.box_xyxy) / np.array([*size, *size])
        bright["scores"][0, at] = 0
        bright["scores"][0, at, 0] = 1 - thing.confidence
        bright["scores"][0, at, 1 + thing.class_id] = thing.confidence
    return Answers(bright, dark)


def _ssd_raw(things: Sequence[Thing], size: Size, classes: int) -> Answers:
    """Return offsets from prior boxes and softmax logits, as a network in training gives them."""
    table = priors(size)
    generator = np.random.default_rng(3)
    offsets = generator.normal(0, 1, (1, len(table), 4)).astype(np.float32)
    logits = np.full((1, len(table), 1 + classes), _FAR, np.float32)
    logits[..., 0] = 0
    dark = {"locations": offsets, "confidences": logits}
    bright = {name: value.copy() for name, value in dark.items()}
    for thing in things:
        at = _nearest_prior(table, thing, size)
        px, py, pw, ph = table[at].tolist()
        cx, cy, w, h = thing.cxcywh
        bright["locations"][0, at] = (
            (cx / size[0] - px) / pw / 0.1,
            (cy / size[1] - py) / ph / 0.1,
            math.log(w / size[0] / pw) / 0.2,
            math.log(h / size[1] / ph) / 0.2,
        )
        row = bright["confidences"][0, at]
        row[0] = math.log(1 - thing.confidence)
        row[1 + thing.class_id] = math.log(thing.confidence)
    return Answers(bright, dark, priors=table)


def _ssd_with_priors(things: Sequence[Thing], size: Size, classes: int) -> Answers:
    """Return the raw ones beside their prior boxes, as the first SSD in training does."""
    raw = _ssd_raw(things, size, classes)
    table = {"priors": priors(size)}
    return Answers(raw.bright | table, raw.dark | table)


def _detr(things: Sequence[Thing], size: Size, classes: int, names: tuple[str, str]) -> Answers:
    """Return three hundred queries: logits, and boxes in fractions of the input."""
    logits, boxes = names
    dark = {
        boxes: np.full((1, 300, 4), 0.5, np.float32),
        logits: np.full((1, 300, classes), -9, np.float32),
    }
    bright = {name: value.copy() for name, value in dark.items()}
    for at, thing in enumerate(things, 17):
        bright[boxes][0, at] = np.array(thing.cxcywh) / np.array([*size, *size])
        bright[logits][0, at, thing.class_id] = _logit(thing.confidence)
    return Answers(bright, dark)


def _detr_joined(things: Sequence[Thing], size: Size, classes: int) -> Answers:
    """Return boxes and activated scores in one output."""
    apart = _detr(things, size, classes, ("logits", "boxes"))

    def joined(said: dict[str, Array]) -> dict[str, Array]:
        scores = 1 / (1 + np.exp(-said["logits"]))
        both = np.concatenate([said["boxes"], scores], axis=2, dtype=np.float32)
        return {"output0": both}

    return Answers(joined(apart.bright), joined(apart.dark))


def _finished(
    things: Sequence[Thing], boxes: Sequence[Box], first: int, rows: int = 100
) -> tuple[Array, Array, Array]:
    """Return boxes (1, n, 4), scores (1, n) and labels (1, n), padded with zeros."""
    out = np.zeros((1, rows, 4), np.float32), *(np.zeros((1, rows), np.float32) for _ in "sl")
    for at, (thing, box) in enumerate(zip(things, boxes, strict=True)):
        out[0][0, at], out[1][0, at], out[2][0, at] = box, thing.confidence, thing.class_id + first
    return out[0], out[1], out[2]


def _unseen(bright: dict[str, Array], zero: Sequence[str]) -> dict[str, Array]:
    """Return the answers of a dark picture: the same boxes, nothing in the outputs named."""
    return {n: np.zeros_like(v) if n in zero else v for n, v in bright.items()}


def _tensorflow(things: Sequence[Thing], size: Size, _: int) -> Answers:
    """Return TensorFlow's four outputs: fractions, top before left, ids from one, a count."""
    w, h = size
    turned = [
        (t.box_xyxy[1] / h, t.box_xyxy[0] / w, t.box_xyxy[3] / h, t.box_xyxy[2] / w) for t in things
    ]
    boxes, scores, labels = _finished(things, turned, 1)
    bright = {
        "detection_boxes": boxes,
        "detection_scores": scores,
        "detection_classes": labels,
        "num_detections": np.array([len(things)], np.float32),
    }
    return Answers(bright, _unseen(bright, ["detection_scores", "num_detections"]))


def _flat(things: Sequence[Thing], _: Size, __: int) -> Answers:
    """Return torchvision's three outputs, without a first axis."""
    boxes, scores, labels = _finished(things, [t.box_xyxy for t in things], 0)
    bright = {"boxes": boxes[0], "labels": labels[0], "scores": scores[0]}
    return Answers(bright, _unseen(bright, ["scores"]))


def _deploy(things: Sequence[Thing], _: Size, __: int) -> Answers:
    """Return the outputs of RT-DETR with its own postprocessing, which asks for a size."""
    boxes, scores, labels = _finished(things, [t.box_xyxy for t in things], 0, 300)
    bright = {"labels": labels, "boxes": boxes, "scores": scores}
    return Answers(bright, _unseen(bright, ["scores"]), sizes=True)


def _five_columns(things: Sequence[Thing], _: Size, __: int) -> Answers:
    """Return OpenMMLab's two outputs, the score in the boxes' fifth column."""
    boxes, scores, labels = _finished(things, [t.box_xyxy for t in things], 0)
    bright = {"dets": np.concatenate([boxes, scores[..., None]], axis=2), "labels": labels}
    dark = {"dets": np.concatenate([boxes, 0 * scores[..., None]], axis=2), "labels": labels}
    return Answers(bright, dark)


def _detection_output(things: Sequence[Thing], size: Size, _: int) -> Answers:
    """Return OpenVINO's list: picture, class, score and box in fractions; picture -1 ends it."""

    def fill(out: Array) -> None:
        for at, thing in enumerate(things):
            box = np.array(thing.box_xyxy) / np.array([*size, *size])
            out[0, 0, at] = (0, thing.class_id, thing.confidence, *box)

    dark = np.zeros((1, 1, 200, 7), np.float32)
    dark[..., 0] = -1
    return _both("detection_out", dark, fill)


def _centernet(things: Sequence[Thing], size: Size, classes: int) -> Answers:
    lines, columns = size[1] // 4, size[0] // 4
    dark = {
        "hm": np.full((1, lines, columns, classes), NOTHING, np.float32),
        "wh": np.ones((1, lines, columns, 4), np.float32),
    }
    bright = {name: value.copy() for name, value in dark.items()}
    for thing in things:
        cx, cy, _, _ = thing.cxcywh
        left, top, right, bottom = thing.box_xyxy
        column, row = int(cx // 4), int(cy // 4)
        x, y = column * 4, row * 4
        bright["hm"][0, row, column, thing.class_id] = thing.confidence
        bright["wh"][0, row, column] = (x - left, y - top, right - x, bottom - y)
    return Answers(bright, dark)


Encoder = Callable[[Sequence[Thing], Size, int], Answers]
FAMILIES: Final[dict[str, Encoder]] = {
    "centernet": _centernet,
    "yolox": _yolox,
    "yolox, decoded": lambda t, s, c: _rows(t, s, c, 1),
    "yolov5": lambda t, s, c: _rows(t, s, c, 3),
    "yolov5, raw": _v5_raw,
    "yolov5, raw, channels first": _v5_raw_channels,
    "yolov8": _v8,
    "yolov8, rows": _v8_rows,
    "end to end": _end_to_end,
    "fastestdet": _fastestdet,
    "nanodet-plus": lambda t, s, c: _nanodet(t, s, c, (8, 16, 32, 64), 0),
    "nanodet": lambda t, s, c: _nanodet(t, s, c, (8, 16, 32), 0.5),
    "ssd": _ssd,
    "ssd, raw": _ssd_raw,
    "ssd, raw with priors": _ssd_with_priors,
    "rt-detr": lambda t, s, c: _detr(t, s, c, ("logits", "pred_boxes")),
    "rf-detr": lambda t, s, c: _detr(t, s, c, ("labels", "dets")),
    "rt-detr, joined": _detr_joined,
    "rt-detr, deployed": _deploy,
    "tensorflow": _tensorflow,
    "torchvision": _flat,
    "openmmlab": _five_columns,
    "openvino": _detection_output,
}
