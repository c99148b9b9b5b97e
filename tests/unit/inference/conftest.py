"""A tiny CenterNet whose answers are known: it finds red (class 0) and blue (class 1) cells."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vedette.inference import bundle as bundles
from vedette.inference.bundle import Bundle
from vedette.inference.manifest import FORMAT, Manifest
from vedette.vision.heads import HeadSpec
from vedette.vision.picture import Picture
from vedette.vision.preprocess import Preprocess

SIDE, STRIDE = 64, 4
CELLS = SIDE // STRIDE


def tiny_onnx(
    *, poison: bool = False, channels: int = 2, batch: int | str = 1, mixes: bool = False
) -> bytes:
    """Return a network: hm is the mean of red and of blue less the other two, wh is always 6.

    With `poison`, a picture that is brighter than the grey of the try-out gives NaN. `batch` is a
    number or a name where it is free; with `mixes`, pictures in one run change each other.
    """
    heat = np.zeros((channels, 3, STRIDE, STRIDE), np.float32)
    own = 1 / (255 * STRIDE * STRIDE)
    heat[0, 0], heat[0, 1:] = own, -own
    heat[1, 2], heat[1, :2] = own, -own
    sides = np.zeros((4, 3, STRIDE, STRIDE), np.float32)
    nodes = [
        helper.make_node("Conv", ["images", "heat"], ["h0"], strides=[STRIDE, STRIDE]),
        helper.make_node("Clip", ["h0", "zero", "one"], ["h1"]),
        helper.make_node("Transpose", ["h1"], ["hm"], perm=[0, 2, 3, 1]),
        helper.make_node("Conv", ["images", "sides", "six"], ["w0"], strides=[STRIDE, STRIDE]),
        helper.make_node("Transpose", ["w0"], ["w1"], perm=[0, 2, 3, 1]),
    ]
    if poison:
        nodes += [
            helper.make_node("ReduceMax", ["images"], ["top"], axes=[1, 2, 3]),
            helper.make_node("Sub", ["limit", "top"], ["room"]),
            helper.make_node("Sqrt", ["room"], ["root"]),
            helper.make_node("Mul", ["root", "zero"], ["nothing"]),
            helper.make_node("Add", ["w1", "nothing"], ["wh"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["w1"], ["wh"]))
    if mixes:
        nodes[0].input[0] = "mixed"
        nodes[:0] = [
            helper.make_node("ReduceMean", ["images"], ["mean"], axes=[0], keepdims=1),
            helper.make_node("Add", ["images", "mean"], ["mixed"]),
        ]
    constants = {
        "heat": heat,
        "sides": sides,
        "six": np.full(4, 6, np.float32),
        "zero": np.array(0, np.float32),
        "one": np.array(1, np.float32),
        "limit": np.array(200, np.float32),
    }
    shapes = {"hm": [batch, CELLS, CELLS, channels], "wh": [batch, CELLS, CELLS, 4]}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10, producer_name="test"
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()


def tiny_manifest(**changes: object) -> Manifest:
    """Return the manifest that fits `tiny_onnx`."""
    fields: dict[str, object] = {
        "format": FORMAT,
        "name": "tiny",
        "version": "1.0",
        "model": "model.onnx",
        "files": {},
        "labels": ["red", "blue"],
        "preprocess": Preprocess(size=(SIDE, SIDE), resize="stretch"),
        "head": HeadSpec(
            kind="centernet",
            classes=2,
            strides=(STRIDE,),
            outputs={"heatmap": "hm", "boxes": "wh"},
        ),
    }
    return Manifest(**{**fields, **changes})  # pyright: ignore[reportArgumentType]


@pytest.fixture(scope="session")
def onnx_bytes() -> Callable[..., bytes]:
    """The maker of tiny networks."""
    return tiny_onnx


@pytest.fixture(scope="session")
def manifest() -> Callable[..., Manifest]:
    """The maker of manifests."""
    return tiny_manifest


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A whole bundle in a folder of its own, without golden frames."""
    return bundles.write(tmp_path / "tiny", tiny_manifest(), {"model.onnx": tiny_onnx()})


def painted() -> np.ndarray:
    """Return uint8 BGR, 128 px square: a red block at top left and a blue one at bottom right."""
    bgr = np.zeros((128, 128, 3), np.uint8)
    bgr[16:32, 16:32, 2] = 255
    bgr[80:96, 96:112, 0] = 255
    return bgr


@pytest.fixture(scope="session")
def painted_bgr() -> np.ndarray:
    """The painted picture as an array."""
    return painted()


@pytest.fixture(scope="session")
def picture() -> Picture:
    """The painted picture."""
    return Picture.from_bgr(painted())
