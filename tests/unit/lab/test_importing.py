"""Importing a user's ONNX file: recognised by shape, or refused with what was seen."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from vedette.errors import ConfigError, ModelLoadFailed
from vedette.inference.guard import Proven
from vedette.inference.library import PROVEN
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


def test_what_would_break_this_process_is_refused_by_another(tmp_path: Path):
    """An input of terabytes is met by the guard's child, whoever calls; nothing is written."""
    file = constant_network(tmp_path / "m.onnx", {"y": np.zeros((1, 9), np.float32)}, size=2**20)
    with pytest.raises(ModelLoadFailed, match="which no picture has"):
        import_onnx(file, tmp_path / "mine", Request(name="mine"))
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_what_the_import_proved_is_not_proven_again(tmp_path: Path, two_labels: str):
    """The library finds the network's proof beside the bundle."""
    request = Request(name="mine", labels=two_labels)
    made = import_onnx(yolox(tmp_path / "m.onnx"), tmp_path / "mine", request)
    proven = Proven(tmp_path / PROVEN)
    assert proven.holds(made.read(made.manifest.model), "onnxruntime")


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


@pytest.mark.parametrize("listed", [None, "coco80"])
def test_the_wrong_family_is_told_the_one_that_it_looks_like(tmp_path: Path, listed: str | None):
    """80 classes of YOLOX are 81 of YOLOv8: asking for labels would mislead; 81 labels decide."""
    rows = np.full((1, 12**2 + 6**2 + 3**2, 85), 0.1, np.float32)
    file = constant_network(tmp_path / "m.onnx", {"output": rows}, size=96)
    request = Request(name="mine", head="yolov8", labels=listed)
    with pytest.raises(ConfigError, match="as yolov8 it would have 81 classes") as caught:
        import_onnx(file, tmp_path / "mine", request)
    assert "looks like yolox: leave --head away" in (caught.value.operator_hint or "")
    (tmp_path / "own.txt").write_text("\n".join(f"kind {n}" for n in range(81)))
    request = Request(name="mine", head="yolov8", labels=str(tmp_path / "own.txt"))
    assert import_onnx(file, tmp_path / "mine", request).manifest.head.kind == "yolov8"


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


def yolov8(path: Path, columns: int = 84, size: object = SIDE) -> Path:
    """Write a YOLOv8-shaped network that finds nothing."""
    return constant_network(path, {"output0": np.zeros((1, columns, CELLS), np.float32)}, size)


def test_a_free_size_is_fixed_where_the_user_says_it(tmp_path: Path):
    """The bundle's network takes one size; the user's file stays as it is."""
    file = yolov8(tmp_path / "m.onnx", size="side")
    before = file.read_bytes()
    request = Request(name="mine", size=(SIDE, SIDE))
    made = import_onnx(file, tmp_path / "mine", request)
    assert made.manifest.preprocess.size == (SIDE, SIDE)
    assert made.read(made.manifest.model) != before
    assert file.read_bytes() == before


def test_a_file_that_needs_nothing_stays_byte_for_byte(tmp_path: Path):
    """The network in the bundle is the one that was given."""
    file = yolov8(tmp_path / "m.onnx")
    made = import_onnx(file, tmp_path / "mine", Request(name="mine"))
    assert made.read(made.manifest.model) == file.read_bytes()


def test_another_size_than_the_network_has_is_refused(tmp_path: Path):
    """A fixed size cannot be changed by saying another."""
    request = Request(name="mine", size=(128, SIDE))
    with pytest.raises(ModelLoadFailed, match="made for another size"):
        import_onnx(yolov8(tmp_path / "m.onnx"), tmp_path / "mine", request)


def test_what_several_families_could_be_is_asked(tmp_path: Path):
    """Two grids of four channels: which is the heatmap, nobody can see."""
    grid = np.zeros((1, SIDE // 4, SIDE // 4, 4), np.float32)
    file = constant_network(tmp_path / "m.onnx", {"a": grid, "b": grid})
    (tmp_path / "four.txt").write_text("a\nb\nc\nd\n")
    request = Request(name="mine", labels=str(tmp_path / "four.txt"))
    with pytest.raises(ModelLoadFailed, match="could be centernet with 4 classes") as caught:
        import_onnx(file, tmp_path / "mine", request)
    assert "head.json" in (caught.value.operator_hint or "")
    (tmp_path / "head.json").write_text(
        '{"kind": "centernet", "classes": 4, "outputs": {"heatmap": "b", "boxes": "a"}}'
    )
    said = Request(name="mine", labels=request.labels, head=str(tmp_path / "head.json"))
    made = import_onnx(file, tmp_path / "mine", said).manifest
    assert made.head is not None
    assert made.head.outputs == {"heatmap": "b", "boxes": "a"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"kind": "yolov8"}',
        '{"kind": "magic", "classes": 2}',
        '{"kind": "yolov8", "classes": 2, "outputs": {"a": "x", "b": "x"}}',
        '{"kind": "yolov8", "classes": 0}',
        '{"kind": "yolov8", "classes": 2, "more": 1}',
    ],
)
def test_a_useless_description_of_a_head_is_refused(tmp_path: Path, text: str):
    """A head that is wrong or half said is the user's to correct."""
    (tmp_path / "head.json").write_text(text)
    request = Request(name="mine", head=str(tmp_path / "head.json"))
    with pytest.raises(ConfigError, match="cannot read a head"):
        import_onnx(yolov8(tmp_path / "m.onnx"), tmp_path / "mine", request)


def test_a_family_that_is_not_known_is_refused_with_the_list(tmp_path: Path):
    """The families there are stand in the hint; other names for them count."""
    with pytest.raises(ConfigError, match="no head 'yolov99'") as caught:
        import_onnx(
            yolov8(tmp_path / "m.onnx"), tmp_path / "x", Request(name="mine", head="yolov99")
        )
    assert "yolov8" in (caught.value.operator_hint or "")
    made = import_onnx(
        yolov8(tmp_path / "m.onnx"), tmp_path / "mine", Request(name="mine", head="yolo11")
    ).manifest
    assert made.head is not None
    assert made.head.kind == "yolov8"


@pytest.mark.parametrize(
    "text", ["", "1 2 3\n", "0 0 1 0\n", "a b c d\n", "nan 0 1 1\n", "1 2\n3\n"]
)
def test_useless_prior_boxes_are_refused(tmp_path: Path, text: str):
    """Prior boxes without an area, or that are no boxes, would put every object elsewhere."""
    (tmp_path / "priors.txt").write_text(text)
    request = Request(name="mine", priors=tmp_path / "priors.txt")
    with pytest.raises(ConfigError, match=r"priors\.txt"):
        import_onnx(yolov8(tmp_path / "m.onnx"), tmp_path / "mine", request)


def test_prior_boxes_never_run_code(tmp_path: Path):
    """A pickled array is refused, not loaded."""
    np.save(tmp_path / "p.npy", np.array([{"a": 1}], object), allow_pickle=True)
    request = Request(name="mine", priors=tmp_path / "p.npy")
    with pytest.raises(ConfigError, match="cannot read prior boxes"):
        import_onnx(yolov8(tmp_path / "m.onnx"), tmp_path / "mine", request)


def test_coco_with_gaps_has_a_label_for_every_id():
    """Ids 1 and 90 are where COCO has them, gaps have names of their own."""
    ninety, all_of = labels.read("coco90"), labels.read("coco91")
    assert (ninety[0], ninety[11], ninety[89]) == ("person", "unused 12", "toothbrush")
    assert all_of == ["background", *ninety]
    assert [label for label in ninety if not label.startswith("unused")] == list(labels.COCO80)
