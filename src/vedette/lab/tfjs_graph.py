"""A TensorFlow.js graph in memory, and the ONNX graph that grows out of it.

What lives here: the types that reading (`lab.tfjs`), fusing (`lab.tfjs_fuse`) and translating
(`lab.tfjs_ops`) share. What does not: any of those three.
"""

import base64
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from vedette.errors import ModelLoadFailed

Array = npt.NDArray[Any]
Shape = tuple[int, int, int, int]  # N, H, W, C, as TensorFlow says it


@dataclass(frozen=True, slots=True)
class GraphNode:
    """One operation: its name, kind, inputs (without control edges) and raw attributes."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attr: dict[str, Any]

    def text(self, key: str) -> str:
        """Return a base64 string attribute, decoded; empty where absent."""
        return base64.b64decode(self.attr.get(key, {}).get("s", "")).decode()

    def texts(self, key: str) -> list[str]:
        """Return a list of base64 strings, decoded."""
        listed = self.attr.get(key, {}).get("list", {}).get("s", [])
        return [base64.b64decode(item).decode() for item in listed]

    def numbers(self, key: str) -> list[int]:
        """Return a list of whole numbers."""
        return [int(item) for item in self.attr.get(key, {}).get("list", {}).get("i", [])]

    def flag(self, key: str) -> bool:
        """Return a boolean attribute; False where absent."""
        return bool(self.attr.get(key, {}).get("b", False))


@dataclass(frozen=True, slots=True)
class Graph:
    """A frozen graph and its constants (float32 and int32, in TensorFlow's own layouts)."""

    nodes: dict[str, GraphNode]
    constants: dict[str, Array]


@dataclass(slots=True)
class Conversion:
    """The ONNX graph so far: nodes, initializers, and the NHWC shape of every picture tensor."""

    graph: Graph
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: dict[str, onnx.TensorProto] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)

    def constant(self, name: str) -> Array | None:
        """Return a constant, looking through identities; None for something computed."""
        node = self.graph.nodes.get(name)
        while node is not None and node.op == "Identity":
            name = node.inputs[0]
            node = self.graph.nodes.get(name)
        return self.graph.constants.get(name)

    def need_constant(self, node: GraphNode, index: int) -> Array:
        """Return an input that has to be constant.

        Raises:
            ModelLoadFailed: It is computed, or missing.
        """
        value = self.constant(node.inputs[index]) if index < len(node.inputs) else None
        if value is None:
            raise unsupported(node, f"input {index} is not a constant")
        return value

    def add_constant(self, name: str, value: Array) -> str:
        """Store an initializer and return its name."""
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(value.copy(order="C"), name)
        return name

    def emit(self, op: str, inputs: list[str], output: str, shape: Shape, **attr: Any) -> None:
        """Append one ONNX node that yields `output`."""
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attr))
        self.shapes[output] = shape


def unsupported(node: GraphNode, why: str) -> ModelLoadFailed:
    """Return the error for a node that cannot be translated."""
    return ModelLoadFailed(
        f"{node.name} ({node.op}): {why}",
        operator_hint="Export the model to ONNX with its own tools, then `vedette model import`.",
    )
