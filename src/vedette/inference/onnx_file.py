"""A look into an ONNX file without the `onnx` package, before a runtime sees it.

What lives here: walking the protocol-buffer fields that matter, to refuse files that are cut short
or that point at other files, and to say what is in one. What does not: whether the graph makes
sense, which is the runtime's to say. The rule: weights stand inside the file. A runtime follows
external references relative to wherever it runs, and a bundle's hash would not cover them.

Source: onnx.proto (IR version 10), field numbers; Protocol Buffers encoding, wire types.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vedette.errors import ConfigError, ModelLoadFailed

MAX_BYTES = 1024 * 1024 * 1024
MAX_DEPTH = 12
MAX_FIELDS = 5_000_000
MAX_NAMES = 4096  # kinds of operation; inputs and outputs

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_EXTERNAL = 1  # TensorProto.DataLocation

# Message → field number → message inside it. What is not named here is stepped over.
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "main", 8: "opset", 25: "function"},
    "main": {1: "node", 5: "tensor", 11: "input", 12: "output", 15: "sparse"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}


@dataclass(slots=True)
class OnnxFacts:
    """What was seen: versions, who made it, and how many operations of each kind."""

    ir_version: int = 0
    producer: str = ""
    opsets: dict[str, int] = field(default_factory=dict)
    operations: Counter[str] = field(default_factory=Counter)
    tensors: int = 0
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    external: bool = False
    has_graph: bool = False


def read(path: Path) -> bytes:
    """Return the whole file, if it is a plain one of a sensible size.

    Raises:
        ConfigError: It is not.
    """
    hint = "Give the path of an ONNX file."
    try:
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path} is not a file", operator_hint=hint)
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(
                f"{path} is larger than {MAX_BYTES} bytes",
                operator_hint="No model that a device can run in time is so large.",
            )
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", operator_hint=hint) from error


def look(data: bytes) -> OnnxFacts:
    """Return what is in an ONNX file.

    Raises:
        ModelLoadFailed: Cut short, not ONNX, nested absurdly, or its weights are elsewhere.
    """
    facts = OnnxFacts()
    budget = [MAX_FIELDS]
    try:
        _walk(memoryview(data), "model", facts, budget, 0)
    except (IndexError, ValueError) as error:
        raise ModelLoadFailed(
            f"the ONNX file is cut short or damaged ({error})",
            operator_hint="Export or fetch the model again and compare the file's size.",
        ) from error
    if not facts.has_graph or not facts.ir_version:
        raise ModelLoadFailed(
            "this is not an ONNX model: it has no graph",
            operator_hint="Export the model with its own tools, for example torch.onnx.export.",
        )
    if facts.external:
        raise ModelLoadFailed(
            "the ONNX file keeps weights in other files, which a bundle may not do",
            operator_hint="Save it in one piece, with onnx.save(..., save_as_external_data=False).",
        )
    return facts


def _walk(data: memoryview, message: str, facts: OnnxFacts, budget: list[int], depth: int) -> None:
    """Visit one message and those inside it."""
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    inside = _INSIDE.get(message, {})
    for number, value in _fields(data, budget):
        if isinstance(value, memoryview) and number in inside:
            kind = inside[number]
            facts.has_graph |= kind == "main"
            if kind == "opset":
                _walk_opset(value, facts, budget)
            else:
                _walk(value, kind, facts, budget, depth + 1)
        else:
            _note(message, number, value, facts)
    if len(facts.operations) + len(facts.inputs) + len(facts.outputs) > MAX_NAMES:
        raise ValueError("absurdly many kinds of operation, inputs or outputs")


def _walk_opset(data: memoryview, facts: OnnxFacts, budget: list[int]) -> None:
    domain, version = "", 0
    for number, value in _fields(data, budget):
        if number == 1 and isinstance(value, memoryview):
            domain = _text(value)
        elif number == 2 and isinstance(value, int):
            version = value
    facts.opsets[domain or "ai.onnx"] = version


def _note(message: str, number: int, value: memoryview | int, facts: OnnxFacts) -> None:
    """Write down one field that is worth knowing."""
    match message, number, value:
        case "model", 1, int():
            facts.ir_version = value
        case "model", 2, memoryview():
            facts.producer = _text(value)
        case "input", 1, memoryview():
            facts.inputs.append(_text(value))
        case "output", 1, memoryview():
            facts.outputs.append(_text(value))
        case "node", 4, memoryview():
            facts.operations[_text(value)] += 1
        case "tensor", 2, int():
            facts.tensors += 1
        case "tensor", 13, _:
            facts.external = True
        case "tensor", 14, int():
            facts.external |= value == _EXTERNAL
        case _:
            pass


def _text(value: memoryview) -> str:
    return bytes(value[:200]).decode("utf-8", "replace")


def _fields(data: memoryview, budget: list[int]) -> Iterator[tuple[int, memoryview | int]]:
    """Yield (field number, bytes or number); fixed-width values are stepped over."""
    at, end = 0, len(data)
    while at < end:
        budget[0] -= 1
        if budget[0] < 0:
            raise ValueError("too many fields")
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise ValueError("a field numbered zero")
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, value
        elif kind == _BYTES:
            length, at = _varint(data, at)
            if at + length > end:
                raise ValueError(f"a field of {length} bytes where {end - at} are left")
            yield number, data[at : at + length]
            at += length
        elif kind in {_FIXED64, _FIXED32}:
            at += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind}")
    if at != end:
        raise ValueError("the last field runs over the end")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return (value, position after it) of a base-128 number of at most ten bytes."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number that does not end")
