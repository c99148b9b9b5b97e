"""TensorFlow.js to ONNX: the converted network computes what TensorFlow would.

The reference below is written from TensorFlow's definitions with plain loops, on NHWC, so that a
mistake in layout, padding or resizing cannot be in both.
"""

import base64
import json
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from vedette.errors import ModelLoadFailed
from vedette.lab import tfjs

Node = dict[str, Any]
RNG = np.random.default_rng(7)


def b64(text: str) -> str:
    """Return a string attribute as the format stores it."""
    return base64.b64encode(text.encode()).decode()


def conv(name: str, op: str, inputs: list[str], stride: int, padding: str, *fused: str) -> Node:
    """Return a convolution node."""
    return {
        "name": name,
        "op": op,
        "input": inputs,
        "attr": {
            "strides": {"list": {"i": ["1", str(stride), str(stride), "1"]}},
            "dilations": {"list": {"i": ["1", "1", "1", "1"]}},
            "padding": {"s": b64(padding)},
            "data_format": {"s": b64("NHWC")},
            "fused_ops": {"list": {"s": [b64(item) for item in fused]}},
        },
    }


def node(name: str, op: str, *inputs: str, **attr: Any) -> Node:
    """Return any other node."""
    return {"name": name, "op": op, "input": list(inputs), "attr": attr}


def placeholder(side: int) -> Node:
    """Return the input."""
    dims = [{"size": str(n)} for n in (1, side, side, 3)]
    return node("x", "Placeholder", shape={"shape": {"dim": dims}})


def files(nodes: list[Node], weights: dict[str, np.ndarray]) -> tuple[bytes, bytes]:
    """Return model.json and the weight file, floats as float16."""
    listed, data = [], b""
    for name, value in weights.items():
        entry: dict[str, Any] = {"name": name, "shape": list(value.shape)}
        if value.dtype == np.int32:
            entry["dtype"] = "int32"
            data += value.astype("<i4").tobytes()
        else:
            entry |= {"dtype": "float32", "quantization": {"dtype": "float16"}}
            data += value.astype("<f2").tobytes()
        listed.append(entry)
    constants = [node(name, "Const") for name in weights]
    model = {
        "format": "graph-model",
        "modelTopology": {"node": [*constants, *nodes]},
        "weightsManifest": [{"paths": ["w.bin"], "weights": listed}],
    }
    return json.dumps(model).encode(), data


def run(nodes: list[Node], weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """Convert, run and return the output `y`, NHWC."""
    model = tfjs.convert(tfjs.read(*files(nodes, weights)), input_name="x", outputs={"y": "out"})
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (out,) = session.run(["out"], {"images": x.transpose(0, 3, 1, 2).copy()})
    return np.asarray(out)


def half(*shape: int) -> np.ndarray:
    """Return random weights that float16 holds exactly."""
    return RNG.normal(0, 0.5, shape).astype(np.float16).astype(np.float32)


def picture(side: int) -> np.ndarray:
    """Return a random NHWC input."""
    return RNG.uniform(0, 4, (1, side, side, 3)).astype(np.float32)


def reference_conv(x: np.ndarray, w: np.ndarray, stride: int, padding: str) -> np.ndarray:
    """Return TensorFlow's Conv2D: SAME pads the odd pixel at the end."""
    _, height, width, _ = x.shape
    kh, kw, _, depth = w.shape
    if padding == "SAME":
        out_h, out_w = -(-height // stride), -(-width // stride)
        pad_h = max((out_h - 1) * stride + kh - height, 0)
        pad_w = max((out_w - 1) * stride + kw - width, 0)
        sides = ((pad_h // 2, pad_h - pad_h // 2), (pad_w // 2, pad_w - pad_w // 2))
        x = np.pad(x, ((0, 0), *sides, (0, 0)))
    else:
        out_h, out_w = (height - kh) // stride + 1, (width - kw) // stride + 1
    out = np.zeros((1, out_h, out_w, depth), np.float32)
    for i in range(out_h):
        for j in range(out_w):
            patch = x[0, i * stride : i * stride + kh, j * stride : j * stride + kw]
            out[0, i, j] = np.tensordot(patch, w, axes=3)
    return out


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("stride", "kernel", "side"), [(1, 3, 8), (2, 3, 8), (2, 5, 9), (2, 2, 7)])
def test_convolution_pads_as_tensorflow_does(padding: str, stride: int, kernel: int, side: int):
    """Asymmetric SAME padding is the classic mistake of such conversions."""
    x, w, b = picture(side), half(kernel, kernel, 3, 4), half(4)
    nodes = [
        placeholder(side),
        conv("y", "_FusedConv2D", ["x", "w", "b"], stride, padding, "BiasAdd"),
    ]
    np.testing.assert_allclose(
        run(nodes, {"w": w, "b": b}, x), reference_conv(x, w, stride, padding) + b, atol=1e-4
    )


@pytest.mark.parametrize("times", [1, 2])
def test_depthwise_keeps_the_order_of_channels(times: int):
    """Channel c of the input makes channels c·times … of the output."""
    x, w = picture(8), half(3, 3, 3, times)
    nodes = [placeholder(8), conv("y", "DepthwiseConv2dNative", ["x", "w"], 1, "SAME")]
    each = [reference_conv(x[..., c : c + 1], w[:, :, c : c + 1], 1, "SAME") for c in range(3)]
    np.testing.assert_allclose(run(nodes, {"w": w}, x), np.concatenate(each, 3), atol=1e-4)


@pytest.mark.parametrize(("fused", "high"), [("Relu", np.inf), ("Relu6", 6.0)])
def test_fused_activation_comes_after_the_bias(fused: str, high: float):
    """Bias first, then activation."""
    x, w, b = picture(4), half(1, 1, 3, 2) * 8, half(2)
    nodes = [
        placeholder(4),
        conv("y", "_FusedConv2D", ["x", "w", "b"], 1, "SAME", "BiasAdd", fused),
    ]
    expected = np.clip(reference_conv(x, w, 1, "SAME") + b, 0, high)
    np.testing.assert_allclose(run(nodes, {"w": w, "b": b}, x), expected, atol=1e-4)


def swish(inner: Node) -> list[Node]:
    """Return hard-swish of x spelled out as TensorFlow freezes it, ending in `y`."""
    return [
        node("sixth_x", "Mul", "sixth", "x"),
        node("plus", "Add", "x", "three"),
        inner,
        node("y", "Mul", "sixth_x", "six"),
    ]


CONSTANTS = {"sixth": np.array(1 / 6, np.float32), "three": np.array(3, np.float32)}


def test_hard_swish_is_recognised_and_computed():
    """Four nodes become one of ONNX's own, with the same values."""
    nodes = [placeholder(4), *swish(node("six", "Relu6", "plus"))]
    x = picture(4) * 4 - 8
    np.testing.assert_allclose(run(nodes, CONSTANTS, x), x * np.clip(x + 3, 0, 6) / 6, atol=1e-2)
    graph = tfjs.read(*files(nodes, CONSTANTS))
    model = tfjs.convert(graph, input_name="x", outputs={"y": "out"})
    assert [item.op_type for item in model.graph.node] == ["HardSwish", "Transpose"]


def test_what_only_resembles_hard_swish_is_left_alone():
    """Another constant is another function, and stays what it is."""
    nodes = [placeholder(4), *swish(node("six", "Relu6", "plus"))]
    x = picture(4) - 2
    other = CONSTANTS | {"three": np.array(2.5, np.float32)}
    expected = x * np.float16(1 / 6) * np.clip(x + 2.5, 0, 6)
    np.testing.assert_allclose(run(nodes, other, x), expected, atol=1e-4)


def test_squeeze_and_excite_broadcasts_over_the_picture():
    """A mean, a 1x1 convolution, a hard sigmoid and a product: one number per channel."""
    x, w = picture(6), half(1, 1, 3, 3)
    axes = {"axes": np.array([1, 2], np.int32)}
    nodes = [
        placeholder(6),
        node("mean", "Mean", "x", "axes", keep_dims={"b": True}),
        conv("gate", "Conv2D", ["mean", "w"], 1, "SAME"),
        node("plus", "AddV2", "gate", "three"),
        node("six", "Relu6", "plus"),
        node("scale", "Mul", "sixth", "six"),
        node("y", "Mul", "scale", "x"),
    ]
    gate = x.mean((1, 2), keepdims=True) @ w[0, 0]
    expected = x * np.clip(gate + 3, 0, 6) / 6
    np.testing.assert_allclose(run(nodes, {"w": w, **axes, **CONSTANTS}, x), expected, atol=1e-2)


@pytest.mark.parametrize("centres", [False, True])
def test_bilinear_resize_samples_where_tensorflow_does(centres: bool):
    """The two conventions for where a pixel is differ by a quarter of one."""
    x = picture(3)
    size = {"size": np.array([6, 6], np.int32)}
    nodes = [
        placeholder(3),
        node("y", "ResizeBilinear", "x", "size", half_pixel_centers={"b": centres}),
    ]
    at = (np.arange(6) + 0.5) / 2 - 0.5 if centres else np.arange(6) / 2
    at = np.clip(at, 0, 2)
    low = np.floor(at).astype(int)
    high, part = np.minimum(low + 1, 2), (at - low).astype(np.float32)
    rows = x[:, low] * (1 - part)[None, :, None, None] + x[:, high] * part[None, :, None, None]
    both = rows[:, :, low] * (1 - part)[:, None] + rows[:, :, high] * part[:, None]
    np.testing.assert_allclose(run(nodes, size, x), both, atol=1e-4)


def test_concat_relu_sigmoid_and_constants_per_channel():
    """The remaining kinds, joined."""
    x, bias = picture(4), half(6)
    nodes = [
        placeholder(4),
        node("r", "Relu", "x"),
        node("s", "Sigmoid", "x"),
        node("c", "ConcatV2", "r", "s", "axis"),
        node("i", "Identity", "c"),
        node("y", "Add", "i", "bias"),
    ]
    weights = {"axis": np.array(3, np.int32), "bias": bias}
    expected = np.concatenate([np.maximum(x, 0), 1 / (1 + np.exp(-x))], 3) + bias
    np.testing.assert_allclose(run(nodes, weights, x), expected, atol=1e-4)


def test_what_only_later_nodes_need_is_cut_off():
    """An operation behind the wanted output is never looked at."""
    nodes = [placeholder(4), node("y", "Relu", "x"), node("top", "TopKV2", "y")]
    assert run(nodes, {}, picture(4)).shape == (1, 4, 4, 3)


@pytest.mark.parametrize(
    ("nodes", "says"),
    [
        ([node("y", "TopKV2", "x")], "TopKV2"),
        ([node("y", "Relu", "nowhere")], "nowhere"),
        ([node("y", "Relu", "z"), node("z", "Relu", "y")], "circle"),
        ([node("y", "Mul", "k", "k")], "constants"),
        ([node("y", "Mean", "x", "k", keep_dims={"b": True})], "mean"),
        ([conv("y", "Conv2D", ["x", "k"], 1, "SAME")], "weights"),
        ([conv("y", "Conv2D", ["x", "w"], 1, "ODD")], "SAME or VALID"),
        ([conv("y", "_FusedConv2D", ["x", "w"], 1, "SAME", "Elu")], "Elu"),
    ],
)
def test_what_is_not_known_is_named(nodes: list[Node], says: str):
    """A graph that cannot be translated exactly is refused."""
    weights = {"k": np.array([0, 1], np.int32), "w": half(1, 1, 3, 3)}
    graph = tfjs.read(*files([placeholder(4), *nodes], weights))
    with pytest.raises(ModelLoadFailed, match=says):
        tfjs.convert(graph, input_name="x", outputs={"y": "out"})


def test_weight_file_of_another_length_is_refused():
    """A truncated or longer weight file cannot shift every weight unnoticed."""
    model, data = files([placeholder(4), node("y", "Relu", "x")], {"w": half(4)})
    for wrong in (data[:-1], data + b"\0\0"):
        with pytest.raises(ModelLoadFailed, match="weight file"):
            tfjs.read(model, wrong)


@pytest.mark.parametrize("junk", [b"", b"{}", b"[]", b'{"modelTopology": 3}', b"[" * 5000, b"\xff"])
def test_other_files_are_refused(junk: bytes):
    """What is not such a model is one clear error."""
    with pytest.raises(ModelLoadFailed):
        tfjs.read(junk, b"")
