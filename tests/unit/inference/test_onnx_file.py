"""The look into an ONNX file before a runtime sees it."""

from collections.abc import Callable
from contextlib import suppress

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from vedette.errors import ModelLoadFailed
from vedette.inference.onnx_file import look

Made = Callable[..., bytes]


def test_says_what_is_inside(onnx_bytes: Made):
    """Versions, producer and operations are read as the onnx package reads them."""
    data = onnx_bytes()
    model = onnx.load_from_string(data)
    facts = look(data)
    assert facts.ir_version == model.ir_version
    assert facts.producer == "test"
    assert facts.opsets == {"ai.onnx": 17}
    assert facts.tensors == len(model.graph.initializer)
    assert facts.operations.total() == len(model.graph.node)
    assert facts.operations["Conv"] == 2


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_files_are_read_or_refused_but_never_anything_else(
    onnx_bytes: Made, data: st.DataObject
):
    """No damage leads to another exception."""
    whole = bytearray(onnx_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    with suppress(ModelLoadFailed):
        look(bytes(whole[:cut]))


@pytest.mark.parametrize("junk", [b"", b"\0" * 100, b"PK\x03\x04" + b"x" * 200, b"\xff" * 50])
def test_other_files_are_refused(junk: bytes):
    """A file of another kind is not an ONNX model."""
    with pytest.raises(ModelLoadFailed):
        look(junk)


def test_external_weights_are_found_inside_nested_graphs(onnx_bytes: Made):
    """A reference to another file cannot hide in the branch of an If."""
    hidden = TensorProto(name="h", data_type=TensorProto.FLOAT, dims=[4])
    hidden.data_location = TensorProto.EXTERNAL
    hidden.external_data.add(key="location", value="../secret")
    branch = helper.make_graph([helper.make_node("Constant", [], ["b"], value=hidden)], "b", [], [])
    model = onnx.load_from_string(onnx_bytes())
    model.graph.node.append(
        helper.make_node("If", ["zero"], ["x"], then_branch=branch, else_branch=branch)
    )
    with pytest.raises(ModelLoadFailed, match="other files"):
        look(model.SerializeToString())


def test_absurd_nesting_is_refused_without_recursing_to_the_end(onnx_bytes: Made):
    """Graphs inside graphs inside graphs end at a limit."""
    inner = helper.make_graph([], "deep", [], [])
    for _ in range(8):
        node = helper.make_node("Loop", [], [], body=inner)
        inner = helper.make_graph([node], "deep", [], [])
    model = onnx.load_from_string(onnx_bytes())
    model.graph.node.append(helper.make_node("Loop", [], [], body=inner))
    with pytest.raises(ModelLoadFailed, match="nested"):
        look(model.SerializeToString())


def test_inputs_and_outputs_of_the_graph_are_named(onnx_bytes: Callable[..., bytes]):
    """Those of the graph itself, in its order."""
    facts = look(onnx_bytes())
    assert (facts.inputs, facts.outputs) == (["images"], ["hm", "wh"])
