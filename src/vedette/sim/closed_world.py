"""A closed world: red walkers before the rendered street, and a network that knows only them.

Accuracy on real people needs a trained model and real footage. Bookkeeping does not: here every
walker's place is a function of time and the network finds each of them, so what the device counts
can be compared with the truth, without a download. The network is real ONNX, built by hand, with
the outputs of CenterNet; blue patches in the picture make it misbehave on purpose.

Needs the package `onnx`, which comes with the extra `lab`.
"""

import enum
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import msgspec
import numpy as np

from vedette.inference import bundle as bundles
from vedette.inference.bundle import Bundle
from vedette.inference.guard import Proven
from vedette.inference.library import PROVEN
from vedette.inference.manifest import FORMAT, Card, Manifest
from vedette.sim.scene import Bgr, Scene, covered
from vedette.vision.heads import HeadSpec
from vedette.vision.picture import Picture
from vedette.vision.preprocess import Preprocess

if TYPE_CHECKING:
    from onnx import NodeProto

SIZE_PX: Final = (320, 192)
WALKER_PX: Final = (24, 48)
LABELS: Final = ("person", "cart")
STRIDE: Final = 4
RED: Final = (40, 40, 225)
BLUE: Final = (255, 0, 0)

_BLUE_LIMIT: Final = 0.8
_OPSET: Final = 17


class Quirk(enum.StrEnum):
    """How the network misbehaves, while a picture shows a blue patch; `slow` always."""

    NONE = "none"
    NAN = "nan"
    FAILS = "fails"
    SLOW = "slow"


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One walker's way: the foot points it passes, as (t_s, x, y) with x and y in fractions.

    It is in the picture from the first to the last of them and walks straight between two.
    """

    track: int
    passes: tuple[tuple[float, float, float], ...]

    def foot(self, t_s: float) -> tuple[float, float] | None:
        """Return where it stands in fractions of the picture; None where it is not there."""
        times = [at_s for at_s, _, _ in self.passes]
        if not times[0] <= t_s <= times[-1]:
            return None
        x = float(np.interp(t_s, times, [x for _, x, _ in self.passes]))
        return x, float(np.interp(t_s, times, [y for _, _, y in self.passes]))


class World:
    """A street with walkers on routes. Thread: any; it never changes.

    Args:
        routes: The walkers.
        hurt_s: Spells in which a blue patch is shown, as (from, until).
        dark_s: Spells in which the lens is covered.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        hurt_s: Sequence[tuple[float, float]] = (),
        dark_s: Sequence[tuple[float, float]] = (),
    ) -> None:
        self.routes = tuple(routes)
        self._hurt_s = tuple(hurt_s)
        self._dark_s = tuple(dark_s)
        self._street = Scene(SIZE_PX, people=0)

    def boxes(self, t_s: float) -> dict[int, tuple[float, float, float, float]]:
        """Return the box (xyxy, pixels) of each walker that is there, by its track."""
        found = {}
        for route in self.routes:
            foot = route.foot(t_s)
            if foot is not None:
                x, y = foot[0] * SIZE_PX[0], foot[1] * SIZE_PX[1]
                half = WALKER_PX[0] / 2
                found[route.track] = (x - half, y - WALKER_PX[1], x + half, y)
        return found

    def picture(self, t_s: float) -> Bgr:
        """Return the picture at `t_s`: BGR, uint8, (height, width, 3)."""
        if any(start <= t_s < end for start, end in self._dark_s):
            return covered(SIZE_PX, t_s)
        out = self._street.picture(t_s)
        for box in self.boxes(t_s).values():
            x1, y1, x2, y2 = (round(side) for side in box)
            cv2.rectangle(out, (x1, y1), (x2 - 1, y2 - 1), RED, cv2.FILLED)
        if any(start <= t_s < end for start, end in self._hurt_s):
            cv2.rectangle(out, (0, 0), (31, 31), BLUE, cv2.FILLED)
        return out

    def pictures(self, seconds: float, fps: float) -> Iterator[Bgr]:
        """Yield the pictures of the first `seconds`."""
        for number in range(round(seconds * fps)):
            yield self.picture(number / fps)


def back_and_forth(
    track: int, *, y: float, start_s: float, legs: int, leg_s: float, left: float = 0.15
) -> Route:
    """Return a walk between `left` and its mirror, `legs` times, at height `y`."""
    ends = (left, 1 - left)
    passes = tuple((start_s + leg * leg_s, ends[leg % 2], y) for leg in range(legs + 1))
    return Route(track=track, passes=passes)


def detector(quirk: Quirk = Quirk.NONE, *, work: int = 0) -> bytes:
    """Return the network as an ONNX file.

    A cell's heat is how much redder the walker-sized window around it is than grey: one where it
    lies on a walker, so the peak is the walker's middle. Both classes share it; the second is less.

    Args:
        quirk: How it misbehaves.
        work: For `slow`: rounds of useless multiplication.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    columns, rows = SIZE_PX[0] // STRIDE, SIZE_PX[1] // STRIDE
    across, down = WALKER_PX[0] // STRIDE, WALKER_PX[1] // STRIDE
    hue = np.zeros((2, 3, 1, 1), np.float32)
    hue[0, :, 0, 0] = (1, -0.5, -0.5)
    hue[1, :, 0, 0] = (-0.5, -0.5, 1)
    pads = [down // 2, across // 2, down - 1 - down // 2, across - 1 - across // 2]
    half = [WALKER_PX[0] / 2, WALKER_PX[1] / 2] * 2
    constants = {
        "hue": hue / 255,
        "window": np.full((1, 1, down, across), 1 / (down * across), np.float32),
        "classes": np.array([1.25, 0.05], np.float32).reshape(1, 1, 1, 2),
        "zero": np.array(0, np.float32),
        "one": np.array(1, np.float32),
        "sides": np.tile(np.array(half, np.float32), (1, rows, columns, 1)),
        "two": np.array([1, 1], np.int64),
        "limit": np.array(_BLUE_LIMIT, np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["images", "hue"], ["hues"]),
        helper.make_node("AveragePool", ["hues"], ["cells"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Split", ["cells", "two"], ["red", "blue"], axis=1),
        helper.make_node("Relu", ["red"], ["warm"]),
        helper.make_node("Conv", ["warm", "window"], ["near"], pads=pads),
        helper.make_node("Transpose", ["near"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node("Mul", ["last", "classes"], ["heat"]),
        helper.make_node("ReduceMax", ["blue"], ["bluest"], keepdims=0),
        *_trouble(quirk),
        helper.make_node("Add", ["heat", "trouble"], ["raw"]),
        helper.make_node("Clip", ["raw", "zero", "one"], ["hm"]),
        helper.make_node("Mul", ["bluest", "zero"], ["nothing"]),
        helper.make_node("Add", ["sides", "nothing"], ["wh"]),
    ]
    if quirk is Quirk.FAILS:
        constants["table"] = np.zeros(1, np.float32)
        constants["far"] = np.array(0.5 - _BLUE_LIMIT, np.float32)
    if quirk is Quirk.SLOW:
        constants["square"] = np.full((256, 256), 1 / 256, np.float32)
        constants["rounds"] = np.array(work, np.int64)
        constants["yes"] = np.array(True)
    shapes = {"hm": [1, rows, columns, len(LABELS)], "wh": [1, rows, columns, 4]}
    graph = helper.make_graph(
        nodes,
        "closed-world",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, *SIZE_PX[::-1]])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _trouble(quirk: Quirk) -> "list[NodeProto]":
    """Return the nodes that make `trouble` of `bluest`: zero, unless the quirk strikes."""
    from onnx import TensorProto, helper

    if quirk is Quirk.NAN:  # the root of a negative number
        return [
            helper.make_node("Sub", ["limit", "bluest"], ["room"]),
            helper.make_node("Sqrt", ["room"], ["root"]),
            helper.make_node("Mul", ["root", "zero"], ["trouble"]),
        ]
    if quirk is Quirk.FAILS:  # an index outside of its table: the runtime refuses
        return [
            helper.make_node("Add", ["bluest", "far"], ["moved"]),
            helper.make_node("Round", ["moved"], ["whole"]),
            helper.make_node("Relu", ["whole"], ["positive"]),
            helper.make_node("Cast", ["positive"], ["index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "index"], ["trouble"]),
        ]
    if quirk is Quirk.SLOW:
        body = helper.make_graph(
            [
                helper.make_node("Identity", ["go_on"], ["still"]),
                helper.make_node("MatMul", ["state", "square"], ["next"]),
            ],
            "round",
            [
                helper.make_tensor_value_info("n", TensorProto.INT64, []),
                helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
                helper.make_tensor_value_info("state", TensorProto.FLOAT, [256, 256]),
            ],
            [
                helper.make_tensor_value_info("still", TensorProto.BOOL, []),
                helper.make_tensor_value_info("next", TensorProto.FLOAT, [256, 256]),
            ],
        )
        return [
            helper.make_node("Add", ["square", "bluest"], ["begin"]),
            helper.make_node("Loop", ["rounds", "yes", "begin"], ["end"], body=body),
            helper.make_node("ReduceMax", ["end"], ["most"], keepdims=0),
            helper.make_node("Mul", ["most", "zero"], ["trouble"]),
        ]
    return [helper.make_node("Mul", ["bluest", "zero"], ["trouble"])]


def write_bundle(
    folder: Path,
    quirk: Quirk = Quirk.NONE,
    *,
    work: int = 0,
    version: str = "1.0",
    golden: bool = False,
) -> Bundle:
    """Write the detector as a bundle called as its folder; return it opened.

    Args:
        folder: Where.
        quirk: How it misbehaves.
        work: As `detector`.
        version: Another one is another digest.
        golden: With a golden frame of one walker, as devices ask before they install a bundle.

    Raises:
        ConfigError: The folder cannot be written.
    """
    manifest = Manifest(
        format=FORMAT,
        name=folder.name,
        version=version,
        model="model.onnx",
        files={},
        labels=list(LABELS),
        preprocess=Preprocess(size=SIZE_PX, resize="stretch"),
        head=HeadSpec(
            kind="centernet",
            classes=len(LABELS),
            strides=(STRIDE,),
            outputs={"heatmap": "hm", "boxes": "wh"},
        ),
        threshold=0.5,
        card=Card(summary="Finds the red walkers of the closed world, for tests."),
    )
    network = detector(quirk, work=work)
    # Made in this process a moment ago: there is nobody to be guarded against.
    for runtime in ("onnxruntime", "openvino"):
        Proven(folder.parent / PROVEN).remember(network, runtime)
    bundle = bundles.write(folder, manifest, {"model.onnx": network})
    return _with_golden(bundle) if golden else bundle


def _with_golden(bundle: Bundle) -> Bundle:
    """Return the bundle with a picture of one walker and what the model makes of it here."""
    from vedette.inference.golden import encode_picture
    from vedette.inference.model import Model

    picture = World([back_and_forth(1, y=0.8, start_s=0.0, legs=1, leg_s=10.0)]).picture(4.0)
    frame = Model.load(bundle).expect_golden("golden/walker.png", Picture.from_bgr(picture))
    manifest = msgspec.structs.replace(bundle.manifest, golden=[frame])
    files = {name: bundle.read(name) for name in bundle.manifest.files}
    return bundles.write(
        bundle.path, manifest, files | {"golden/walker.png": encode_picture(picture)}
    )
