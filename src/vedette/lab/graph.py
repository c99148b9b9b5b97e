"""Small changes to a user's network before it becomes a bundle, so that one picture goes in.

Here: a free size made fixed, a second input made a constant, prior boxes added as an output. Not
here: anything that changes what the network computes. The rule: a file that needs nothing stays
byte for byte as it is.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from vedette.errors import ConfigError, ModelLoadFailed

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, ValueInfoProto

PRIORS: Final = "vedette_priors"
MAX_PRIORS: Final = 200_000
MAX_PRIORS_BYTES: Final = 64 * 1024 * 1024
Size = tuple[int, int]


def prepare(data: bytes, size: Size | None, priors: npt.NDArray[np.float32] | None) -> bytes:
    """Return the ONNX file with one picture as its only input and, if given, the priors.

    The size of the original picture, a second input of RT-DETR's and D-FINE's deploy exports,
    becomes the size of the input: boxes then come out in its pixels.

    Args:
        data: A file that `onnx_file.look` has passed.
        size: Width and height to fix where the file leaves them free, or None.
        priors: float32, (n, 4), to be given out beside the boxes, or None.

    Raises:
        ModelLoadFailed: The file cannot be read, or `size` is not what it is made for.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_from_string(data)
    except DecodeError as error:
        raise ModelLoadFailed(f"the ONNX file is damaged: {error}") from error
    changed = False
    if size is not None:
        changed |= _fix_size(model.graph, size)
    changed |= _freeze_size_input(model.graph)
    if priors is not None:
        changed |= _add_priors(model, priors)
    return model.SerializeToString() if changed else data


def read_priors(path: Path) -> npt.NDArray[np.float32]:
    """Return prior boxes from a file: NumPy's .npy, or text with four numbers a line.

    Raises:
        ConfigError: It cannot be read, or does not hold (n, 4) sensible numbers.
    """
    hint = (
        "Give (n, 4): centre x, centre y, width, height in fractions of the input, as .npy or text."
    )
    try:
        if path.stat().st_size > MAX_PRIORS_BYTES:
            raise ConfigError(f"{path} is too large for prior boxes", operator_hint=hint)
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False)
        else:
            text = path.read_text(encoding="utf-8").replace(",", " ")
            values = np.array([line.split() for line in text.splitlines() if line.strip()])
        boxes = np.asarray(values, np.float32)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot read prior boxes from {path}: {error}", operator_hint=hint
        ) from error
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not 1 <= len(boxes) <= MAX_PRIORS:
        raise ConfigError(f"{path} holds {boxes.shape}, not (n, 4) boxes", operator_hint=hint)
    if not np.isfinite(boxes).all() or boxes[:, 2:].min() <= 0:
        raise ConfigError(f"{path} holds a box without an area", operator_hint=hint)
    return boxes


def _inputs(graph: "GraphProto") -> "list[ValueInfoProto]":
    """Return what has to be fed; old files list their weights among the inputs."""
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def _sides(value: "ValueInfoProto") -> list[Any]:
    return list(value.type.tensor_type.shape.dim)


def _fix_size(graph: "GraphProto", size: Size) -> bool:
    """Give the picture's input one size; True where that changed anything."""
    pictures = [value for value in _inputs(graph) if len(_sides(value)) == 4]
    if len(pictures) != 1:
        raise ModelLoadFailed(f"{len(pictures)} inputs could be the picture; --size needs one")
    sides = _sides(pictures[0])
    first = sides[1].dim_value == 3 or sides[3].dim_value != 3
    wanted = [1, 3, size[1], size[0]] if first else [1, size[1], size[0], 3]
    changed = False
    for side, length in zip(sides, wanted, strict=True):
        if side.dim_value == length:
            continue
        if side.dim_value > 0:
            raise ModelLoadFailed(
                f"the network is made for another size: {side.dim_value} where {length} was said",
                operator_hint="Leave --size out.",
            )
        side.dim_value = length  # clears its name too
        changed = True
    return changed


def _freeze_size_input(graph: "GraphProto") -> bool:
    """Make the input that asks for the original picture's size a constant."""
    from onnx import helper, numpy_helper

    inputs = _inputs(graph)
    pictures = [value for value in inputs if len(_sides(value)) == 4]
    asked = [value for value in inputs if value.name in {"orig_target_sizes", "orig_size"}]
    if len(pictures) != 1 or len(asked) != 1 or len(inputs) != 2:
        return False
    height, width = (side.dim_value for side in _sides(pictures[0])[2:4])
    if height <= 0 or width <= 0:
        raise ModelLoadFailed(
            "the network leaves the size of its input free",
            operator_hint="Say which to use, such as --size 640x640.",
        )
    dtype = helper.tensor_dtype_to_np_dtype(asked[0].type.tensor_type.elem_type)
    constant = numpy_helper.from_array(np.array([[width, height]], dtype), asked[0].name)
    graph.initializer.append(constant)
    graph.input.remove(asked[0])
    # The picture's batch must be the one that this constant has.
    _sides(pictures[0])[0].dim_value = 1
    return True


def _add_priors(model: "ModelProto", priors: npt.NDArray[np.float32]) -> bool:
    """Give the priors out as one output more."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    names = {name for node in graph.node for name in (*node.input, *node.output)}
    if PRIORS in names | {value.name for value in graph.output}:
        raise ModelLoadFailed(f"the network has something called {PRIORS} already")
    graph.initializer.append(numpy_helper.from_array(priors, f"{PRIORS}_constant"))
    graph.node.append(helper.make_node("Identity", [f"{PRIORS}_constant"], [PRIORS]))
    graph.output.append(
        helper.make_tensor_value_info(PRIORS, TensorProto.FLOAT, list(priors.shape))
    )
    return True
