"""A network with the cost of YOLOv8n and no knowledge: what runtimes are compared on.

What lives here: the layer plan (widths 16 to 256, depths 1-2-2-1, a pyramid pooling, a two-way
neck, three decoupled heads with distribution-focal boxes) built anew with random weights. What
does not: any weights or code of that family, whose licence does not fit this project. The rule:
only the time it takes means anything; what it finds is noise.

Source: the published description of YOLOv8 (C2f blocks, SPPF, anchor-free decoupled head,
distribution focal loss, arXiv:2006.04388); 3.2 million parameters and 8.7 GFLOP at 640 × 640 for
80 classes are the figures its authors give for the nano size, which a test compares with ours.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

CLASSES = 80
BINS = 16
STRIDES = (8, 16, 32)
INPUT, OUTPUT = "images", "output0"
OPSET = 17
_SILU_GAIN = 1.4  # activations neither vanish nor grow through convolution and SiLU
_LAST_GAIN = 14.0  # spreads the scores
_RARE = -4.0  # a class is rarely likely: suppression then has a usual number of boxes to sort


@dataclass(slots=True)
class YoloShaped:
    """The network and what it costs."""

    model: bytes
    parameters: int
    flops: int


@dataclass(slots=True)
class _Weaver:
    """Nodes and weights as they are added, with the multiply-adds that they cost."""

    random: np.random.Generator
    nodes: list[NodeProto] = field(default_factory=list)
    weights: list[TensorProto] = field(default_factory=list)
    parameters: int = 0
    flops: int = 0

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output; return the output's name."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=f"n{name}", **attributes))
        return name

    def constant(self, value: npt.ArrayLike, dtype: type = np.float32) -> str:
        """Add a constant; return its name."""
        name = f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name


@dataclass(frozen=True, slots=True)
class _Map:
    """A feature map: its tensor, channels and side."""

    name: str
    channels: int
    side: int


def build(side: int = 320, *, seed: int = 8) -> YoloShaped:
    """Return the network for a square input: float32 NCHW in, (1, 84, anchors) out.

    Args:
        side: Side of the input in pixels, a multiple of 32.
        seed: Of the random weights.
    """
    net = _Weaver(np.random.default_rng(seed))
    pyramid = _neck(net, *_backbone(net, _Map(INPUT, 3, side)))
    _heads(net, pyramid)
    anchors = sum((side // stride) ** 2 for stride in STRIDES)
    graph = helper.make_graph(
        net.nodes,
        "yolo_shaped",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, 3, side, side])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, 4 + CLASSES, anchors])],
        net.weights,
    )
    model: ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8, producer_name="vedette"
    )
    return YoloShaped(model.SerializeToString(), net.parameters, net.flops)


def _backbone(net: _Weaver, picture: _Map) -> tuple[_Map, _Map, _Map]:
    """Return the maps at strides 8, 16 and 32."""
    x = _conv(net, picture, 16, kernel=3, stride=2)
    x = _c2f(net, _conv(net, x, 32, kernel=3, stride=2), 32, depth=1, shortcut=True)
    p3 = _c2f(net, _conv(net, x, 64, kernel=3, stride=2), 64, depth=2, shortcut=True)
    p4 = _c2f(net, _conv(net, p3, 128, kernel=3, stride=2), 128, depth=2, shortcut=True)
    x = _c2f(net, _conv(net, p4, 256, kernel=3, stride=2), 256, depth=1, shortcut=True)
    return p3, p4, _pool_pyramid(net, x)


def _neck(net: _Weaver, p3: _Map, p4: _Map, p5: _Map) -> tuple[_Map, _Map, _Map]:
    """Return the three maps after a way up and a way down."""
    up4 = _c2f(net, _join(net, _double(net, p5), p4), 128, depth=1)
    out3 = _c2f(net, _join(net, _double(net, up4), p3), 64, depth=1)
    down4 = _conv(net, out3, 64, kernel=3, stride=2)
    out4 = _c2f(net, _join(net, down4, up4), 128, depth=1)
    down5 = _conv(net, out4, 128, kernel=3, stride=2)
    out5 = _c2f(net, _join(net, down5, p5), 256, depth=1)
    return out3, out4, out5


def _heads(net: _Weaver, pyramid: tuple[_Map, _Map, _Map]) -> None:
    """Add heads and decoding; boxes are centre, width and height in pixels of the input."""
    distances, scores = [], []
    for level in pyramid:
        boxes = _conv(net, _conv(net, level, 64, kernel=3), 64, kernel=3)
        boxes = _conv(net, boxes, 4 * BINS, kernel=1, silu=False)
        kinds = _conv(net, _conv(net, level, CLASSES, kernel=3), CLASSES, kernel=3)
        kinds = _conv(net, kinds, CLASSES, kernel=1, silu=False, bias=_RARE)
        for found, into in ((boxes, distances), (kinds, scores)):
            flat = net.constant([1, found.channels, -1], np.int64)
            into.append(net.op("Reshape", found.name, flat))
    bins = net.op(
        "Reshape",
        net.op("Concat", *distances, axis=2),
        net.constant([1, 4, BINS, -1], np.int64),
    )
    bins = net.op("Softmax", net.op("Transpose", bins, perm=[0, 2, 1, 3]), axis=1)
    values = net.constant(np.arange(BINS).reshape(1, BINS, 1, 1))
    expected = net.op("Conv", bins, values)
    sides = net.op("Reshape", expected, net.constant([1, 4, -1], np.int64))
    first, last = net.op("Split", sides, axis=1), "last"
    net.nodes[-1].output.append(last)
    centres, strides = _anchors(tuple(level.side for level in pyramid))
    middle = net.constant(centres)
    low, high = net.op("Sub", middle, first), net.op("Add", middle, last)
    half = net.constant(0.5)
    centre = net.op("Mul", net.op("Add", low, high), half)
    boxes_out = net.op("Concat", centre, net.op("Sub", high, low), axis=1)
    scaled = net.op("Mul", boxes_out, net.constant(strides))
    likely = net.op("Sigmoid", net.op("Concat", *scores, axis=2))
    net.op("Concat", scaled, likely, axis=1)
    net.nodes[-1].output[0] = OUTPUT


def _anchors(sides: tuple[int, ...]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return (1, 2, n) cell centres in cells and (1, 1, n) strides in pixels."""
    centres, strides = [], []
    for side, stride in zip(sides, STRIDES, strict=True):
        rows, columns = np.mgrid[:side, :side] + 0.5
        centres.append(np.stack([columns.ravel(), rows.ravel()]))
        strides.append(np.full((1, side * side), stride))
    whole = np.concatenate(centres, 1)[None].astype(np.float32)
    return whole, np.concatenate(strides, 1)[None].astype(np.float32)


def _conv(
    net: _Weaver,
    x: _Map,
    channels: int,
    *,
    kernel: int,
    stride: int = 1,
    silu: bool = True,
    bias: float = 0.0,
) -> _Map:
    """Add a convolution with bias (its normalisation folded in) and SiLU."""
    fan_in = x.channels * kernel * kernel
    shape = (channels, x.channels, kernel, kernel)
    gain = _SILU_GAIN if silu else _LAST_GAIN
    weights = net.random.normal(0, gain / np.sqrt(fan_in), shape)
    biases = net.constant(net.random.normal(bias, 0.1, channels))
    side = x.side // stride
    name = net.op(
        "Conv",
        x.name,
        net.constant(weights),
        biases,
        kernel_shape=[kernel, kernel],
        strides=[stride, stride],
        pads=[kernel // 2] * 4,
    )
    net.parameters += weights.size + channels
    net.flops += 2 * weights.size * side * side
    if silu:
        name = net.op("Mul", name, net.op("Sigmoid", name))
    return _Map(name, channels, side)


def _c2f(net: _Weaver, x: _Map, channels: int, *, depth: int, shortcut: bool = False) -> _Map:
    """Add a cross-stage block: half passes by, half goes through `depth` bottlenecks."""
    half = channels // 2
    both = _conv(net, x, channels, kernel=1)
    first = net.op("Split", both.name, axis=1)
    second = f"{first}b"
    net.nodes[-1].output.append(second)
    kept, last = [first, second], _Map(second, half, x.side)
    for _ in range(depth):
        deeper = _conv(net, _conv(net, last, half, kernel=3), half, kernel=3)
        if shortcut:
            deeper = _Map(net.op("Add", last.name, deeper.name), half, x.side)
        kept.append(deeper.name)
        last = deeper
    joined = _Map(net.op("Concat", *kept, axis=1), half * len(kept), x.side)
    return _conv(net, joined, channels, kernel=1)


def _pool_pyramid(net: _Weaver, x: _Map) -> _Map:
    """Add three 5 × 5 pools in a row over half the channels, joined."""
    half = _conv(net, x, x.channels // 2, kernel=1)
    pools = [half.name]
    for _ in range(3):
        pools.append(net.op("MaxPool", pools[-1], kernel_shape=[5, 5], pads=[2] * 4))
    joined = _Map(net.op("Concat", *pools, axis=1), half.channels * 4, x.side)
    return _conv(net, joined, x.channels, kernel=1)


def _double(net: _Weaver, x: _Map) -> _Map:
    """Add nearest-neighbour enlargement by two."""
    scales = net.constant([1, 1, 2, 2])
    name = net.op("Resize", x.name, "", scales, mode="nearest", nearest_mode="floor",
                  coordinate_transformation_mode="asymmetric")  # fmt: skip
    return _Map(name, x.channels, x.side * 2)


def _join(net: _Weaver, *maps: _Map) -> _Map:
    """Add a concatenation of channels."""
    name = net.op("Concat", *(m.name for m in maps), axis=1)
    return _Map(name, sum(m.channels for m in maps), maps[0].side)
