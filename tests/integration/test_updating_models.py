"""A bundle from elsewhere, on its way into a slot, is tried in a process of its own."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vedette.edge.updating import trial
from vedette.edge.updating.trial import Order, try_bundle
from vedette.errors import BackendUnavailable, ModelLoadFailed
from vedette.inference import bundle as bundles
from vedette.inference.bundle import Bundle
from vedette.sim.closed_world import write_bundle

SMALL_MB = 512


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a packed bundle that is as it should be."""
    folder = tmp_path_factory.mktemp("good")
    packed = folder / "walkers.vbundle"
    bundles.pack(write_bundle(folder / "walkers", golden=True), packed)
    return packed


def order(file: Path, folder: Path, **changes: object) -> Order:
    """Return an order to try `file`."""
    said = Order(
        file=str(file),
        digest="sha256:" + "0" * 64,
        folder=str(folder / "installed" / "new"),
        providers=["cpu"],
        memory_mb=SMALL_MB,
        cpu_s=20,
        wall_s=50.0,
    )
    return msgspec.structs.replace(said, **changes)


def with_network(good: Path, folder: Path, network: bytes) -> tuple[Path, str]:
    """Return the good bundle, signed and whole, with another network in it, and its digest."""
    bundle = Bundle.open(good)
    files = {name: bundle.read(name) for name in bundle.manifest.files} | {"model.onnx": network}
    other = bundles.write(folder / "other", bundle.manifest, files)
    bundles.pack(other, folder / "other.vbundle")
    return folder / "other.vbundle", other.digest


def graph(nodes: list[onnx.NodeProto], **constants: np.ndarray) -> bytes:
    """Return a network that takes what the good one takes, and gives nonsense."""
    made = helper.make_graph(
        nodes,
        "hostile",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 192, 320])],
        [helper.make_tensor_value_info("hm", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("elsewhere", 1)]
    return helper.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString()


def test_a_good_bundle_is_unpacked_proven_and_on_the_disk(good: Path, tmp_path: Path) -> None:
    """What was tried is what the pipeline will open: same digest, golden frames answered."""
    digest = Bundle.open(good).digest
    answer = try_bundle(order(good, tmp_path, digest=digest, labels=["person"]))
    assert answer.frames == 1
    assert Bundle.open(tmp_path / "installed" / "new").digest == digest
    assert list((tmp_path / "installed" / ".proven").iterdir())


def _flip(data: bytes) -> bytes:
    middle = data.index(b"closed-world")
    return data[:middle] + b"C" + data[middle + 1 :]


def _slip(data: bytes) -> bytes:
    out = io.BytesIO(data)
    with tarfile.open(fileobj=out, mode="a:") as archive:
        member = tarfile.TarInfo("../../slipped")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"evil"))
    return out.getvalue()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_flip, "is not the file that its manifest promises"),
        (lambda data: data[: len(data) // 3], "."),
        (_slip, "path that is not allowed"),
    ],
    ids=["bit-flipped", "truncated", "zip-slip"],
)
def test_a_spoiled_archive_is_refused_and_leaves_nothing(
    good: Path, tmp_path: Path, spoil: Callable[[bytes], bytes], words: str
) -> None:
    """Even where its hash were promised: what is in it is looked at before it is used."""
    bad = tmp_path / "bad.vbundle"
    bad.write_bytes(spoil(good.read_bytes()))
    digest = Bundle.open(good).digest
    with pytest.raises(ModelLoadFailed, match=words):
        try_bundle(order(bad, tmp_path, digest=digest))
    assert not (tmp_path / "installed").exists()
    assert not list(tmp_path.glob("**/slipped"))


def test_another_bundle_than_was_assigned_is_refused(good: Path, tmp_path: Path) -> None:
    """Its target's hash is right, what it calls itself is not."""
    with pytest.raises(ModelLoadFailed, match="was promised"):
        try_bundle(order(good, tmp_path))


def test_a_model_that_lacks_what_cameras_look_for_is_refused(good: Path, tmp_path: Path) -> None:
    """Before the window, not when cameras stop."""
    digest = Bundle.open(good).digest
    with pytest.raises(ModelLoadFailed, match="cameras look for tram"):
        try_bundle(order(good, tmp_path, digest=digest, labels=["tram"]))


def test_a_network_that_never_ends_is_ended(good: Path, tmp_path: Path) -> None:
    """One run that goes on for ever costs its limit of processor time, and the device nothing."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["still"]),
            helper.make_node("MatMul", ["state", "square"], ["next"]),
        ],
        "round",
        [
            helper.make_tensor_value_info("n", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [64, 64]),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [64, 64]),
        ],
    )
    endless = graph(
        [helper.make_node("Loop", ["rounds", "yes", "square"], ["hm"], body=body)],
        rounds=np.array(2**62, np.int64),
        yes=np.array(True),
        square=np.eye(64, dtype=np.float32),
    )
    file, digest = with_network(good, tmp_path, endless)
    with pytest.raises(ModelLoadFailed, match=r"processor time|took longer|signal"):
        try_bundle(order(file, tmp_path, digest=digest, cpu_s=1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attack", "words"),
    [("custom-op", "Evil"), ("external-data", "weights in other files"), ("huge", "memory")],
)
def test_a_hostile_network_in_a_good_bundle_is_refused(
    good: Path, tmp_path: Path, attack: str, words: str
) -> None:
    """Operators of strangers, weights beside the bundle, memory without end."""
    if attack == "custom-op":
        data = graph([helper.make_node("Evil", ["images"], ["hm"], domain="elsewhere")])
    elif attack == "huge":
        data = graph(
            [helper.make_node("ConstantOfShape", ["sides"], ["hm"])],
            sides=np.array([64, 1024, 1024, 1024], np.int64),
        )
    else:
        model = onnx.load_from_string(
            graph([helper.make_node("Add", ["images", "w"], ["hm"])], w=np.ones(4, np.float32))
        )
        weights = model.graph.initializer[0]
        weights.ClearField("raw_data")
        weights.data_location = TensorProto.EXTERNAL
        weights.external_data.add(key="location", value="/etc/passwd")
        data = model.SerializeToString()
    file, digest = with_network(good, tmp_path, data)
    with pytest.raises(ModelLoadFailed, match=words):
        try_bundle(order(file, tmp_path, digest=digest))


def test_a_bundle_without_golden_frames_proves_nothing(tmp_path: Path) -> None:
    """It may be good; nothing here can tell."""
    bundle = write_bundle(tmp_path / "walkers")
    bundles.pack(bundle, tmp_path / "walkers.vbundle")
    with pytest.raises(ModelLoadFailed, match="no golden frames"):
        try_bundle(order(tmp_path / "walkers.vbundle", tmp_path, digest=bundle.digest))


def test_a_child_that_dies_or_says_nothing_is_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit, signal and silence are answers too; a runtime that is missing is no refusal."""
    (tmp_path / "x").write_bytes(b"")
    for text, kind, words in (
        ("import os; os.kill(os.getpid(), 11)", ModelLoadFailed, "signal 11"),
        ("pass", ModelLoadFailed, "without an answer"),
        ("import signal; signal.pause()", ModelLoadFailed, "took longer than"),
        ('print(\'{"unavailable": true, "problem": "no runtime"}\')', BackendUnavailable, "no run"),
    ):
        monkeypatch.setattr(trial, "CHILD", ["-c", text])
        with pytest.raises(kind, match=words):
            try_bundle(order(tmp_path / "x", tmp_path, wall_s=2.0))
