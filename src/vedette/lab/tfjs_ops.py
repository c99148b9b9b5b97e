"""One small function for each kind of TensorFlow operation that `lab.tfjs` can translate.

The rule: a function reads its node, checks what it relies on, and emits ONNX nodes for NCHW. What
TensorFlow fused (bias, activation) stays where ONNX Runtime fuses it again.
"""

from collections.abc import Callable

import numpy as np

from vedette.lab.tfjs_graph import Array, Conversion, GraphNode, Shape, unsupported

Translate = Callable[[Conversion, GraphNode], None]

_NHWC_TO_NCHW_AXIS = {0: 0, 1: 2, 2: 3, 3: 1, -1: 1}


def _picture(work: Conversion, node: GraphNode, index: int) -> Shape:
    """Return the NHWC shape of an input that has to be a picture."""
    shape = work.shapes.get(node.inputs[index]) if index < len(node.inputs) else None
    if shape is None:
        raise unsupported(node, f"input {index} is not a picture")
    return shape


def _pads(size: int, kernel: int, stride: int, dilation: int, padding: str) -> tuple[int, int, int]:
    """Return (before, after, output size) along one axis.

    Source: TensorFlow's "SAME": the output is ceil(size / stride), an odd pixel goes to the end.
    """
    reach = (kernel - 1) * dilation + 1
    if padding == "VALID":
        return 0, 0, (size - reach) // stride + 1
    out = -(-size // stride)
    total = max((out - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2, out


def _convolution(work: Conversion, node: GraphNode, *, depthwise: bool) -> None:
    """Emit Conv, and Relu or Clip where TensorFlow fused one."""
    n, height, width, channels = _picture(work, node, 0)
    weights = work.need_constant(node, 1)
    if weights.ndim != 4 or weights.shape[2] != channels:
        raise unsupported(node, f"weights {weights.shape} on {channels} channels")
    if node.text("data_format") not in {"", "NHWC"} or node.text("padding") not in {
        "SAME",
        "VALID",
    }:
        raise unsupported(node, "only NHWC with SAME or VALID padding")
    strides = node.numbers("strides")[1:3] or [1, 1]
    dilations = node.numbers("dilations")[1:3] or [1, 1]
    kernel = (int(weights.shape[0]), int(weights.shape[1]))
    top, bottom, out_h = _pads(height, kernel[0], strides[0], dilations[0], node.text("padding"))
    left, right, out_w = _pads(width, kernel[1], strides[1], dilations[1], node.text("padding"))
    if depthwise:
        # (kh, kw, in, times) → (in * times, 1, kh, kw)
        turned = weights.transpose(2, 3, 0, 1).reshape(-1, 1, *kernel)
    else:
        turned = weights.transpose(3, 2, 0, 1)
    inputs = [node.inputs[0], work.add_constant(f"{node.name}:w", turned)]
    fused = node.texts("fused_ops")
    if fused[:1] == ["BiasAdd"]:
        inputs.append(work.add_constant(f"{node.name}:b", work.need_constant(node, 2)))
        fused = fused[1:]
    activation = _ACTIVATIONS.get(tuple(fused))
    if activation is None:
        raise unsupported(node, f"fused with {', '.join(fused)}")
    shape = (n, out_h, out_w, int(turned.shape[0]))
    raw = node.name if fused == [] else f"{node.name}:raw"
    work.emit(
        "Conv",
        inputs,
        raw,
        shape,
        kernel_shape=list(kernel),
        strides=strides,
        dilations=dilations,
        pads=[top, left, bottom, right],
        group=channels if depthwise else 1,
    )
    if fused:
        activation(work, raw, node.name, shape)


def _relu(work: Conversion, source: str, output: str, shape: Shape) -> None:
    work.emit("Relu", [source], output, shape)


def _relu6(work: Conversion, source: str, output: str, shape: Shape) -> None:
    low = work.add_constant("clip:0", np.array(0, np.float32))
    high = work.add_constant("clip:6", np.array(6, np.float32))
    work.emit("Clip", [source, low, high], output, shape)


_ACTIVATIONS: dict[tuple[str, ...], Callable[[Conversion, str, str, Shape], None]] = {
    (): _relu,  # never called: nothing was fused
    ("Relu",): _relu,
    ("Relu6",): _relu6,
}


def _conv(work: Conversion, node: GraphNode) -> None:
    _convolution(work, node, depthwise=False)


def _depthwise(work: Conversion, node: GraphNode) -> None:
    _convolution(work, node, depthwise=True)


def _unary(op: str) -> Translate:
    """Return a translation for an operation with one input that keeps its shape."""

    def translate(work: Conversion, node: GraphNode) -> None:
        work.emit(op, [node.inputs[0]], node.name, _picture(work, node, 0))

    return translate


def _clip(work: Conversion, node: GraphNode) -> None:
    _relu6(work, node.inputs[0], node.name, _picture(work, node, 0))


def _hard_sigmoid(work: Conversion, node: GraphNode) -> None:
    shape = _picture(work, node, 0)
    work.emit("HardSigmoid", [node.inputs[0]], node.name, shape, alpha=1 / 6, beta=0.5)


def _binary(op: str) -> Translate:
    """Return a translation for an element-wise operation of pictures and constants."""

    def translate(work: Conversion, node: GraphNode) -> None:
        inputs, shapes = [], []
        for index, name in enumerate(node.inputs):
            value = work.constant(name)
            if value is None:
                shapes.append(_picture(work, node, index))
                inputs.append(name)
            else:
                inputs.append(work.add_constant(f"{node.name}:{index}", _per_channel(node, value)))
        if not shapes:
            raise unsupported(node, "both inputs are constants")
        sides = [{shape[axis] for shape in shapes} for axis in range(4)]
        if any(len(side - {1}) > 1 for side in sides):
            raise unsupported(node, f"shapes {shapes} do not go together")
        n, h, w, c = (max(side) for side in sides)
        work.emit(op, inputs, node.name, (n, h, w, c))

    return translate


def _per_channel(node: GraphNode, value: Array) -> Array:
    """Return a constant so that it broadcasts over NCHW as it did over NHWC."""
    if value.size == 1:
        return value.reshape(())
    if value.ndim == 1:
        return value.reshape(-1, 1, 1)
    if value.ndim == 4:
        return value.transpose(0, 3, 1, 2)
    raise unsupported(node, f"a constant of shape {value.shape}")


def _mean(work: Conversion, node: GraphNode) -> None:
    n, _, _, channels = _picture(work, node, 0)
    axes = sorted(int(axis) for axis in work.need_constant(node, 1).ravel())
    if axes != [1, 2] or not node.flag("keep_dims"):
        raise unsupported(node, f"only the mean over height and width, not over {axes}")
    work.emit("GlobalAveragePool", [node.inputs[0]], node.name, (n, 1, 1, channels))


def _concat(work: Conversion, node: GraphNode) -> None:
    axis = int(work.need_constant(node, len(node.inputs) - 1).ravel()[0])
    shapes = [_picture(work, node, index) for index in range(len(node.inputs) - 1)]
    if axis not in {3, -1} or len({shape[:3] for shape in shapes}) != 1:
        raise unsupported(node, f"only along channels, not {shapes} along {axis}")
    n, h, w, _ = shapes[0]
    total = sum(shape[3] for shape in shapes)
    work.emit(
        "Concat",
        list(node.inputs[:-1]),
        node.name,
        (n, h, w, total),
        axis=_NHWC_TO_NCHW_AXIS[axis],
    )


def _resize(work: Conversion, node: GraphNode) -> None:
    n, height, width, channels = _picture(work, node, 0)
    out_h, out_w = (int(side) for side in work.need_constant(node, 1).ravel())
    if node.flag("align_corners"):
        raise unsupported(node, "align_corners is not supported")
    scales = np.array([1, 1, out_h / height, out_w / width], np.float32)
    mode = "half_pixel" if node.flag("half_pixel_centers") else "asymmetric"
    work.emit(
        "Resize",
        [node.inputs[0], "", work.add_constant(f"{node.name}:scales", scales)],
        node.name,
        (n, out_h, out_w, channels),
        mode="linear",
        coordinate_transformation_mode=mode,
    )


TRANSLATIONS: dict[str, Translate] = {
    "_FusedConv2D": _conv,
    "Conv2D": _conv,
    "FusedDepthwiseConv2dNative": _depthwise,
    "DepthwiseConv2dNative": _depthwise,
    "Relu": _unary("Relu"),
    "Sigmoid": _unary("Sigmoid"),
    "Identity": _unary("Identity"),
    "Relu6": _clip,
    "HardSwish": _unary("HardSwish"),  # these two come from `lab.tfjs_fuse`
    "HardSigmoid": _hard_sigmoid,
    "Add": _binary("Add"),
    "AddV2": _binary("Add"),
    "Mul": _binary("Mul"),
    "Mean": _mean,
    "ConcatV2": _concat,
    "ResizeBilinear": _resize,
}
