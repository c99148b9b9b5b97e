"""The guard: whatever a file does to the runtime, this process lives and says what it was."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vedette.errors import ConfigError, ModelLoadFailed
from vedette.inference import bundle as bundles
from vedette.inference import guard, onnx_file
from vedette.inference.bundle import Bundle
from vedette.inference.guard import Limits, Proven
from vedette.inference.library import PROVEN, Library

SMALL = Limits(memory_mb=256, cpu_s=20, wall_s=40.0)


def network(
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray] | None = None,
    *,
    shape: list[int | str] | None = None,
    kind: int = TensorProto.FLOAT,
) -> bytes:
    """Return a network from `x` to `y` without asking whether it makes sense."""
    graph = helper.make_graph(
        nodes,
        "hostile",
        [helper.make_tensor_value_info("x", kind, shape or [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("elsewhere", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def program(text: str) -> list[str]:
    """Return a child that runs this text instead of a runtime."""
    return [sys.executable, "-c", text]


IDENTITY = [helper.make_node("Identity", ["x"], ["y"])]


def test_good_file_is_proven_with_what_it_takes_and_gives():
    """Free sides are what the manifest says; double precision is described, not refused."""
    data = network(IDENTITY, shape=["n", 3, "h", 8], kind=TensorProto.DOUBLE)
    proof = guard.prove(data, shape=(1, 3, 16, 8), limits=SMALL)
    assert proof.backend.startswith("onnxruntime")
    assert proof.inputs == ["x float64 ['?', 3, '?', 8]"]
    assert proof.peak_mb > 10


def test_second_runtime_proves_under_the_same_limits():
    """OpenVINO works below a bounded address space too."""
    pytest.importorskip("openvino")
    proof = guard.prove(network(IDENTITY), runtime="openvino", limits=SMALL)
    assert proof.backend.startswith("openvino")


BALLOON = {"size": np.array([100 * 2**30 // 4], np.int64)}
EXPAND = {"size": np.array([2**20, 3, 64, 64], np.int64)}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (network([helper.make_node("ConstantOfShape", ["size"], ["y"])], BALLOON), "alloc"),
        (
            network([helper.make_node("Expand", ["x", "size"], ["y"])], EXPAND, shape=[1, 3, 1, 1]),
            "alloc",
        ),
        (network(IDENTITY, shape=[1, 3, 2**20, 2**20]), "which no picture has"),
        (network([helper.make_node("Steal", ["x"], ["y"], domain="elsewhere")]), "Steal"),
        (network(IDENTITY, kind=TensorProto.STRING), "which no picture can be made into"),
    ],
    ids=["100 GB of zeros", "expanded", "input of terabytes", "custom operator", "text"],
)
def test_hostile_file_is_refused_and_this_process_lives(data: bytes, said: str):
    """Memory is bounded in the child, and its last word is the reason."""
    with pytest.raises(ModelLoadFailed, match=said):
        guard.prove(data, limits=SMALL)


def test_weights_that_are_not_in_the_file_are_not_made_up():
    """A tensor that says terabytes and holds nothing is refused."""
    model = onnx.load_from_string(network([helper.make_node("Add", ["x", "w"], ["y"])]))
    model.graph.initializer.append(
        TensorProto(name="w", dims=[2**20, 2**20], data_type=TensorProto.FLOAT)
    )
    with pytest.raises(ModelLoadFailed):
        guard.prove(model.SerializeToString(), limits=SMALL)


@pytest.mark.parametrize("place", ["/etc/passwd", "../../secret", "weights.bin"])
def test_weights_elsewhere_are_refused_before_any_runtime_starts(place: str):
    """Absolute, upward or beside it (which may be a link): no reference is followed."""
    model = onnx.load_from_string(network([helper.make_node("Add", ["x", "w"], ["y"])]))
    tensor = TensorProto(name="w", dims=[1], data_type=TensorProto.FLOAT)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)
    model.graph.initializer.append(tensor)
    with pytest.raises(ModelLoadFailed, match="in other files"):
        guard.prove(model.SerializeToString(), command=program("raise SystemExit(9)"))


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGKILL", "signal 40"])
def test_crash_of_the_runtime_is_a_refusal(name: str):
    """The signal is named: a native crash, an abort, or the kernel where memory ran out."""
    number = name.removeprefix("signal ") if " " in name else f"signal.{name}"
    child = program(f"import os, signal; os.kill(os.getpid(), {number})")
    with pytest.raises(ModelLoadFailed, match=name):
        guard.prove(network(IDENTITY), command=child)


def test_file_that_never_ends_is_given_up_and_its_process_ended(tmp_path: Path):
    """The time is bounded, and nothing is left running."""
    pid = tmp_path / "pid"
    child = program(
        f"import os, signal; open({str(pid)!r}, 'w').write(str(os.getpid())); signal.pause()"
    )
    with pytest.raises(ModelLoadFailed, match="did not answer within"):
        guard.prove(network(IDENTITY), limits=Limits(wall_s=1.5), command=child)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_endless_arithmetic_ends_at_the_limit_of_processor_time():
    """A loop inside of the graph that would take hours is stopped by the kernel."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["more"]),
            helper.make_node("MatMul", ["a", "w"], ["b"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("a", TensorProto.FLOAT, [8, 8]),
        ],
        [
            helper.make_tensor_value_info("more", TensorProto.BOOL, []),
            helper.make_tensor_value_info("b", TensorProto.FLOAT, [8, 8]),
        ],
    )
    constants = {
        "rounds": np.array(2**62, np.int64),
        "yes": np.array(True),
        "w": np.eye(8, dtype=np.float32),
    }
    loop = helper.make_node("Loop", ["rounds", "yes", "x"], ["y"], body=body)
    data = network([loop], constants, shape=[8, 8])
    with pytest.raises(ModelLoadFailed, match="processor time"):
        guard.prove(data, limits=Limits(cpu_s=1, wall_s=50.0))


@pytest.mark.parametrize("text", ["", "print('no answer')", "raise SystemExit(3)"])
def test_child_without_an_answer_is_no_proof(text: str):
    """What ends quietly proves nothing."""
    with pytest.raises(ModelLoadFailed, match="without an answer"):
        guard.prove(network(IDENTITY), command=program(text))


def test_child_gets_no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Variables of the environment that the runtime does not need do not reach it."""
    monkeypatch.setenv("VEDETTE_SECRET", "hunter2")
    seen = tmp_path / "seen"
    child = program(f"import os; open({str(seen)!r}, 'w').write(repr(dict(os.environ)))")
    with pytest.raises(ModelLoadFailed):
        guard.prove(network(IDENTITY), command=child)
    assert "hunter2" not in seen.read_text()


def test_absurdly_many_names_are_given_up_early():
    """A file made of nothing but operations of ever other names takes no memory for them."""
    names = b"".join(
        b"\x0a" + bytes([len(node)]) + node
        for node in (b"\x22\x06" + b"%06d" % number for number in range(20_000))
    )
    with pytest.raises(ModelLoadFailed, match="absurdly many"):
        onnx_file.look(b"\x08\x08" + b"\x3a" + _length(len(names)) + names)


def _length(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def test_proof_is_remembered_beside_the_models_and_for_these_bytes_only(
    bundle: Bundle, onnx_bytes: Callable[..., bytes]
):
    """The second start asks nobody; another file, or another runtime, is tried again."""
    library = Library(bundle.path.parent)
    library.prove(bundle)
    proven = Proven(library.folder / PROVEN)
    assert proven.holds(onnx_bytes(), "onnxruntime")
    assert not proven.holds(onnx_bytes(), "openvino")
    assert not proven.holds(onnx_bytes(poison=True), "onnxruntime")
    assert library.names() == ["tiny"]
    library.prove(bundle)


def test_refused_bundle_is_not_remembered(bundle: Bundle):
    """A file that is no network stays unproven, however often it is tried."""
    made = bundles.write(bundle.path, bundle.manifest, {"model.onnx": network([])})
    library = Library(bundle.path.parent)
    for _ in range(2):
        with pytest.raises(ModelLoadFailed):
            library.prove(made)


def test_proof_that_cannot_be_written_down_is_no_error(tmp_path: Path):
    """On a folder that may only be read, a model is tried at each start."""
    (tmp_path / "file").write_text("")
    Proven(tmp_path / "file" / "below").remember(b"", "onnxruntime")
    assert not Proven(tmp_path / "file" / "below").holds(b"", "onnxruntime")


def test_only_plain_files_are_read(tmp_path: Path):
    """A folder or a pipe in place of a model does not hang the reader."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ConfigError, match="is not a file"):
            onnx_file.read(path)
    with pytest.raises(ConfigError, match="cannot read"):
        onnx_file.read(tmp_path / "gone")
