"""Networks of other tasks than detection, taken in."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vedette.errors import ConfigError, ModelLoadFailed, VedetteError
from vedette.inference.model import Model
from vedette.lab.importing import Request
from vedette.lab.importing_tasks import Asked, import_task
from vedette.vision.tasks import Anomaly, Classification, Embedding

Make = Callable[..., Path]


@pytest.fixture
def network(tmp_path: Path) -> Make:
    """Write a network: the mean colour, through one more operation; returns its path."""

    def make(operation: str | None = None, *, same: bool = False) -> Path:
        nodes = [helper.make_node("GlobalAveragePool", ["images"], ["mean"])]
        if same:
            nodes = [helper.make_node("Identity", ["images"], ["answer"])]
        elif operation:
            nodes.append(helper.make_node("Flatten", ["mean"], ["flat"]))
            nodes.append(helper.make_node(operation, ["flat"], ["answer"]))
        else:
            nodes.append(helper.make_node("Mul", ["mean", "ten"], ["answer"]))
        shape = [1, 3, 8, 8] if same else None
        graph = helper.make_graph(
            nodes,
            "task",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 8, 8])],
            [helper.make_tensor_value_info("answer", TensorProto.FLOAT, shape)],
            [numpy_helper.from_array(np.array(10, np.float32), "ten")],
        )
        opset = [helper.make_opsetid("", 17)]
        path = tmp_path / "net.onnx"
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
        return path

    return make


@pytest.fixture
def labels(tmp_path: Path) -> str:
    """Three labels in a file."""
    path = tmp_path / "labels.txt"
    path.write_text("red\ngreen\nblue\n")
    return str(path)


def test_what_would_break_this_process_is_refused_by_another(tmp_path: Path, network: Make):
    """An input of terabytes is met by the guard's child; nothing is written."""
    model = onnx.load(network())
    for side in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[side].dim_value = 2**20
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(ModelLoadFailed, match="which no picture has"):
        import_task(
            tmp_path / "net.onnx", tmp_path / "mine", Request(name="mine"), Asked("embedding")
        )
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("operation", "said", "activation", "exclusive"),
    [
        (None, None, "softmax", True),
        ("Softmax", None, "none", True),
        ("Sigmoid", None, "none", False),
        (None, "sigmoid", "sigmoid", False),
    ],
)
def test_a_classifier_is_completed_by_a_run(  # noqa: PLR0917
    network: Make, labels: str, tmp_path: Path, operation, said, activation, exclusive
):
    """How many classes, and whether probabilities come out, shows; a sigmoid can be said."""
    request = Request(name="colours", labels=labels, activation=said)
    made = import_task(network(operation), tmp_path / "m", request, Asked("classification"))
    task = made.manifest.task
    assert isinstance(task, Classification)
    assert (task.classes, task.activation, task.exclusive) == (3, activation, exclusive)
    assert Model.load(made).check_golden().ok


def test_an_embedding_takes_prototypes_for_its_labels(network: Make, labels: str, tmp_path: Path):
    """Raw float32, one vector per label; without them it is the vector alone."""
    rows = tmp_path / "rows.f32"
    np.eye(3, dtype="<f4").tofile(rows)
    request = Request(name="colours", labels=labels)
    made = import_task(network(), tmp_path / "m", request, Asked("embedding", reference=rows))
    task = made.manifest.task
    assert isinstance(task, Embedding)
    assert task.prototypes is not None
    assert task.prototypes.rows == 3
    assert Model.load(made).check_golden().ok
    bare = import_task(network(), tmp_path / "b", Request(name="bare"), Asked("embedding"))
    assert bare.manifest.labels == []


@pytest.mark.parametrize(
    ("same", "reference", "method"),
    [(True, False, "reconstruction"), (False, True, "nearest")],
)
def test_the_method_of_an_anomaly_shows_in_its_output(
    network: Make, tmp_path: Path, same, reference, method
):
    """The input again is a reconstruction; a vector is compared with a reference."""
    rows = tmp_path / "rows.f32"
    np.ones((5, 3), "<f4").tofile(rows)
    asked = Asked("anomaly", limit=2.0, reference=rows if reference else None)
    made = import_task(network(same=same), tmp_path / "m", Request(name="odd"), asked)
    task = made.manifest.task
    assert isinstance(task, Anomaly)
    assert (task.method, task.limit) == (method, 2.0)


def test_a_whole_task_may_be_given_as_a_file(network: Make, tmp_path: Path):
    """Every field is then the user's."""
    path = tmp_path / "task.json"
    path.write_text('{"kind":"embedding","dimensions":3,"output":"answer"}')
    made = import_task(network(), tmp_path / "m", Request(name="v"), Asked(str(path)))
    assert made.manifest.task == Embedding(dimensions=3, output="answer")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Asked("anomaly"), "needs its limit"),
        (Asked("anomaly", limit=-1.0), "limit must be"),
        (Asked("embedding", output="nothing"), "which output counts"),
        (Asked("classification"), "3 classes, but there are 0 labels"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_do(
    network: Make, tmp_path: Path, asked: Asked, said: str
):
    """A limit that is missing, an output that is not there, labels that were not given."""
    with pytest.raises(VedetteError, match=said) as refused:
        import_task(network(), tmp_path / "m", Request(name="x"), asked)
    assert refused.value.operator_hint
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("data", [b"", b"1234567", bytes(28)])
def test_a_reference_of_no_whole_vectors_is_refused(network: Make, tmp_path: Path, data: bytes):
    """Empty, cut short, or made with another model."""
    path = tmp_path / "rows.f32"
    path.write_bytes(data)
    with pytest.raises(ConfigError):
        import_task(
            network(), tmp_path / "m", Request(name="x"), Asked("embedding", reference=path)
        )


def test_a_task_file_that_is_none_is_refused(network: Make, tmp_path: Path):
    """Not JSON, unknown fields, not there."""
    path = tmp_path / "task.json"
    for text in ("[", '{"kind":"embedding","dimensions":3,"depth":1}'):
        path.write_text(text)
        with pytest.raises(ConfigError):
            import_task(network(), tmp_path / "m", Request(name="x"), Asked(str(path)))
    with pytest.raises(ConfigError):
        import_task(network(), tmp_path / "m", Request(name="x"), Asked("nowhere.json"))
