"""TensorFlow.js graph models, as a picture network that ONNX Runtime can run.

What lives here: reading `model.json` with its weight file, and turning the part of the graph that
is wanted into ONNX. What does not: the operations one by one (`lab.tfjs_ops`), any particular model
(`lab.centernet`) and running one (`inference`). The rule: an operation, padding or shape that is
not known is an error that names the node. A network that is nearly right is worse than none.

TensorFlow keeps pictures as NHWC; the result is NCHW, which ONNX Runtime's kernels want. Only the
outputs are turned back to NHWC, which is what heads read and which costs nothing: ONNX Runtime does
it while it leaves its own blocked layout. Four-dimensional tensors are pictures, everything else is
a constant or one number per channel.
"""

import json
import math
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from vedette.errors import ModelLoadFailed
from vedette.lab.tfjs_fuse import fuse
from vedette.lab.tfjs_graph import Array, Conversion, Graph, GraphNode, unsupported
from vedette.lab.tfjs_ops import TRANSLATIONS

OPSET = 17
IR_VERSION = 10
MAX_NODES = 20_000


def read(model_json: bytes, weights_bin: bytes) -> Graph:
    """Return the graph of a TensorFlow.js graph model; float16 weights become float32.

    Raises:
        ModelLoadFailed: Not such a model, or the weight file is not as long as the model says.
    """
    try:
        model = json.loads(model_json)
        listed = model["modelTopology"]["node"]
        if model.get("format") != "graph-model" or len(listed) > MAX_NODES:
            raise ModelLoadFailed("not a TensorFlow.js graph model of a sensible size")
        nodes = {
            item["name"]: GraphNode(
                name=item["name"],
                op=item["op"],
                inputs=tuple(i for i in item.get("input", []) if not i.startswith("^")),
                attr=item.get("attr", {}),
            )
            for item in listed
        }
        weights = [w for group in model["weightsManifest"] for w in group["weights"]]
        constants = _constants(weights, weights_bin)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelLoadFailed(f"not a TensorFlow.js graph model: {error}") from error
    return Graph(nodes, constants)


def _constants(weights: list[dict[str, Any]], data: bytes) -> dict[str, Array]:
    """Cut the weight file into arrays, in the order of the manifest."""
    constants: dict[str, Array] = {}
    offset = 0
    for weight in weights:
        stored = weight.get("quantization", {}).get("dtype", weight["dtype"])
        if stored not in {"float16", "float32", "int32"}:
            raise ModelLoadFailed(f"weight {weight['name']} is stored as {stored}")
        shape = tuple(int(side) for side in weight["shape"])
        if any(side < 0 for side in shape):
            raise ModelLoadFailed(f"weight {weight['name']} has shape {shape}")
        kind = np.dtype(stored).newbyteorder("<")
        count = math.prod(shape)
        if offset + count * kind.itemsize > len(data):
            raise ModelLoadFailed(f"the weight file ends inside {weight['name']}")
        array = np.frombuffer(data, kind, count, offset).reshape(shape)
        constants[weight["name"]] = array.astype("int32" if stored == "int32" else "float32")
        offset += count * kind.itemsize
    if offset != len(data):
        raise ModelLoadFailed(f"the weight file has {len(data) - offset} bytes too many")
    return constants


def convert(
    graph: Graph, *, input_name: str, outputs: dict[str, str], new_input: str = "images"
) -> onnx.ModelProto:
    """Return a checked ONNX model, float32, of the part of `graph` that `outputs` need.

    The input is NCHW, the outputs are NHWC.

    Args:
        graph: From `read`.
        input_name: The placeholder that takes the picture.
        outputs: Name in the graph → name in the result. What only later nodes need is cut off.
        new_input: Name of the input in the result.

    Raises:
        ModelLoadFailed: The graph holds something that is not known here.
    """
    graph = fuse(graph)
    work = Conversion(graph)
    placeholder = graph.nodes.get(input_name)
    if placeholder is None or placeholder.op != "Placeholder":
        raise ModelLoadFailed(f"the graph has no input {input_name}")
    dims = placeholder.attr.get("shape", {}).get("shape", {}).get("dim", [])
    sides = [int(dim["size"]) for dim in dims]
    if len(sides) != 4 or any(side < 1 for side in sides):
        raise unsupported(placeholder, f"needs one fixed picture size, has {sides}")
    work.shapes[input_name] = (sides[0], sides[1], sides[2], sides[3])
    for node in _in_order(graph, list(outputs)):
        if node.op in {"Placeholder", "Const"}:
            continue
        translate = TRANSLATIONS.get(node.op)
        if translate is None:
            raise unsupported(node, f"known are {', '.join(sorted(TRANSLATIONS))}")
        translate(work, node)
    return _assemble(work, input_name, outputs, new_input)


def _in_order(graph: Graph, wanted: list[str]) -> list[GraphNode]:
    """Return the nodes that `wanted` depend on, inputs before users; iterative, so never deep."""
    done: dict[str, GraphNode] = {}
    opened: set[str] = set()
    stack = list(reversed(wanted))
    while stack:
        name = stack[-1]
        node = graph.nodes.get(name)
        if node is None:
            raise ModelLoadFailed(f"the graph names a node that it does not have: {name}")
        waiting = [i for i in node.inputs if i not in done]
        if name in done or not waiting:
            done.setdefault(name, node)
            stack.pop()
        elif name in opened:
            raise ModelLoadFailed(f"the graph runs in a circle at {name}")
        else:
            opened.add(name)
            stack.extend(waiting)
    return list(done.values())


def _assemble(
    work: Conversion, input_name: str, outputs: dict[str, str], new_input: str
) -> onnx.ModelProto:
    """Name the ends, wrap everything into a model and let ONNX check it."""
    for node in work.nodes:
        node.input[:] = [new_input if name == input_name else name for name in node.input]
    for inner, outer in outputs.items():
        work.emit("Transpose", [inner], outer, work.shapes[inner], perm=[0, 2, 3, 1])
    n, h, w, c = work.shapes[input_name]
    model = helper.make_model(
        helper.make_graph(
            work.nodes,
            "vedette",
            [helper.make_tensor_value_info(new_input, TensorProto.FLOAT, [n, c, h, w])],
            [
                helper.make_tensor_value_info(outer, TensorProto.FLOAT, list(work.shapes[outer]))
                for outer in outputs.values()
            ],
            list(work.initializers.values()),
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="vedette",
    )
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelLoadFailed(f"the converted model is not valid ONNX: {error}") from error
    return model
