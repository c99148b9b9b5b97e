"""Importing a user's ONNX file: recognised by shape, or refused with what was seen."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from vedette.errors import ConfigError, ModelLoadFailed
from vedette.lab import labels
from vedette.lab.importing import Request, import_onnx

SIDE, CELLS = 64, 64 + 16 + 4  # (64/8)² + (64/16)² + (64/32)²


def constant_network(path: Path, outputs: dict[str, np.ndarray], size: object = SIDE) -> Path:
    """Write a network that answers `outputs` to every picture of `size`."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        *(helper.make_node("Add", [f"{name}_c", "nothing"], [name]) for name in outputs),
    ]
    constants = {"zero": np.array(0, np.float32)} | {f"{n}_c": v for n, v in outputs.items()}
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, size, size])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, v.shape) for n, v in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    return path


def yolox(path: Path, classes: int = 2, fill: float = 0.1) -> Path:
    """Write a YOLOX-shaped network."""
    rows = np.full((1, CELLS, 5 + classes), fill, np.float32)
    return constant_network(path, {"output": rows})


@pytest.fixture
def two_labels(tmp_path: Path) -> str:
    """A file with two labels."""
    (tmp_path / "labels.txt").write_text("tin\n\n  box \n")
    return str(tmp_path / "labels.txt")


def test_yolox_gets_its_own_conventions(tmp_path: Path, two_labels: str):
    """Colour order, letterbox and labels stand in the manifest."""
    request = Request(name="mine", labels=two_labels, license="CC0-1.0")
    made = import_onnx(yolox(tmp_path / "m.onnx"), tmp_path / "mine", request).manifest
    assert made.head.kind == "yolox"
    assert made.head.activation == "none"
    assert (made.preprocess.color, made.preprocess.resize) == ("BGR", "letterbox")
    assert made.preprocess.size == (SIDE, SIDE)
    assert made.labels == ["tin", "box"]
    assert made.card.license == "CC0-1.0"
    assert len(made.golden) == 1


def test_scores_that_are_no_probabilities_get_a_sigmoid(tmp_path: Path, two_labels: str):
    """The activation, which shapes cannot tell, is read off a run."""
    request = Request(name="mine", labels=two_labels)
    made = import_onnx(yolox(tmp_path / "m.onnx", fill=-4.0), tmp_path / "mine", request)
    assert made.manifest.head.activation == "sigmoid"


def test_centernet_is_recognised_whatever_its_outputs_are_called(tmp_path: Path):
    """Channels tell the heatmap from the boxes; 80 classes are COCO's unless said otherwise."""
    grid = SIDE // 4
    outputs = {
        "a": np.zeros((1, grid, grid, 4), np.float32),
        "b": np.zeros((1, grid, grid, 80), np.float32),
    }
    file = constant_network(tmp_path / "m.onnx", outputs)
    made = import_onnx(file, tmp_path / "mine", Request(name="mine")).manifest
    assert made.head.kind == "centernet"
    assert made.head.outputs == {"heatmap": "b", "boxes": "a"}
    assert made.labels == list(labels.COCO80)


def test_unknown_shapes_are_shown(tmp_path: Path):
    """The refusal says what was seen and what is supported, and writes nothing."""
    file = constant_network(tmp_path / "m.onnx", {"odd": np.zeros((1, 9, 7), np.float32)})
    with pytest.raises(ModelLoadFailed, match=r"odd float32 \[1, 9, 7\]") as caught:
        import_onnx(file, tmp_path / "mine", Request(name="mine"))
    assert "yolox" in (caught.value.operator_hint or "")
    assert not (tmp_path / "mine").exists()


def test_free_input_size_is_shown(tmp_path: Path):
    """A network without one fixed size is refused with its free sides as question marks."""
    rows = np.zeros((1, CELLS, 7), np.float32)
    file = constant_network(tmp_path / "m.onnx", {"output": rows}, size="side")
    with pytest.raises(ModelLoadFailed, match=r"images float32 \[1, 3, \?, \?\]"):
        import_onnx(file, tmp_path / "mine", Request(name="mine"))


def test_another_head_than_the_user_said_is_refused(tmp_path: Path, two_labels: str):
    """`--head` is a demand, not a wish."""
    request = Request(name="mine", labels=two_labels, head="centernet")
    with pytest.raises(ModelLoadFailed, match=r"those of .*yolox.*, not of centernet"):
        import_onnx(yolox(tmp_path / "m.onnx"), tmp_path / "mine", request)


def test_labels_are_asked_for_where_nothing_says_them(tmp_path: Path):
    """Classes without names would be numbers in an event."""
    with pytest.raises(ConfigError, match="2 classes"):
        import_onnx(yolox(tmp_path / "m.onnx"), tmp_path / "mine", Request(name="mine"))


def test_list_of_labels_of_another_length_is_refused(tmp_path: Path, two_labels: str):
    """Labels of another model are not cut to fit."""
    request = Request(name="mine", labels=two_labels)
    with pytest.raises(ConfigError, match="2 labels do not fit: it could be yolox with 3 classes"):
        import_onnx(yolox(tmp_path / "m.onnx", classes=3), tmp_path / "mine", request)


@pytest.mark.parametrize("text", ["", "a\na\n", "\n\n"])
def test_useless_list_of_labels_is_refused(tmp_path: Path, text: str):
    """Empty lists and repeated names are refused."""
    (tmp_path / "l.txt").write_text(text)
    with pytest.raises(ConfigError):
        labels.read(str(tmp_path / "l.txt"))


def test_missing_file_is_a_configuration_error(tmp_path: Path):
    """A path that is not there is the operator's to change."""
    with pytest.raises(ConfigError, match=r"gone\.onnx"):
        import_onnx(tmp_path / "gone.onnx", tmp_path / "mine", Request(name="mine"))
