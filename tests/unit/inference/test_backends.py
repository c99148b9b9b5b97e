"""Runtimes behind one door: the same answers, honest refusals, safe under threads."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from vedette.errors import BackendUnavailable, ConfigError, ModelLoadFailed, RunFailed
from vedette.inference.backends import Runtime, missing_parts, open_backend
from vedette.inference.bundle import Bundle
from vedette.inference.model import Model
from vedette.inference.providers import (
    CoreMl,
    Cuda,
    ProviderOptions,
    TensorRt,
    in_runtime_words,
)
from vedette.vision.picture import Picture

RUNTIMES: list[Runtime] = ["onnxruntime", "openvino"]
both = pytest.mark.parametrize("runtime", RUNTIMES)


@pytest.fixture(autouse=True)
def _has_openvino():
    """The second runtime is an extra; without it there is nothing to compare."""
    pytest.importorskip("openvino")


def twice(kind: int = TensorProto.FLOAT, rows: int | str = 2) -> bytes:
    """Return a network that doubles its input of (rows, 3) of that element type."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"]), helper.make_node("Add", ["y", "zero"], ["z"])],
        "twice",
        [helper.make_tensor_value_info("x", kind, [rows, 3])],
        [
            helper.make_tensor_value_info("y", kind, [rows, 3]),
            helper.make_tensor_value_info("z", kind, [rows, 3]),
        ],
        [numpy_helper.from_array(np.zeros(1, dtype), "zero")],
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def fed(value: float, dtype: str = "float32") -> dict[str, np.ndarray]:
    """Return an input of six equal numbers."""
    return {"x": np.full((2, 3), value, dtype)}


@both
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT32])
def test_every_runtime_describes_and_runs_the_same_network_alike(runtime: Runtime, kind: int):
    """Names, shapes and element types are the file's; both outputs come by name."""
    dtype = helper.tensor_dtype_to_np_dtype(kind).name
    backend = open_backend(twice(kind), runtime=runtime)
    assert [(i.name, i.shape, i.dtype) for i in backend.inputs] == [("x", (2, 3), dtype)]
    assert [o.name for o in backend.outputs] == ["y", "z"]
    found = backend.run(fed(2, dtype))
    assert found["y"].tolist() == found["z"].tolist() == [[4] * 3] * 2
    assert found["y"].dtype == dtype
    assert backend.name.startswith(runtime)


@both
def test_free_sides_are_told_as_free(runtime: Runtime):
    """A side with a name has no length, and any length runs."""
    backend = open_backend(twice(rows="n"), runtime=runtime)
    assert backend.inputs[0].shape == (None, 3)
    for rows in (1, 5):
        assert backend.run({"x": np.ones((rows, 3), np.float32)})["z"].shape == (rows, 3)


@both
@pytest.mark.parametrize(
    "feeds",
    [
        {"x": np.zeros((2, 4), np.float32)},
        {"x": np.zeros((2, 3), np.float64)},
        {"x": np.zeros(6, np.float32)},
        {"other": np.zeros((2, 3), np.float32)},
        {},
    ],
    ids=["shape", "type", "rank", "name", "nothing"],
)
def test_feeding_what_does_not_fit_is_a_failed_run(runtime: Runtime, feeds: dict[str, np.ndarray]):
    """No runtime converts silently, and the next right run works."""
    backend = open_backend(twice(), runtime=runtime)
    with pytest.raises(RunFailed):
        backend.run(feeds)
    assert backend.run(fed(1))["z"].sum() == 12


@both
def test_outputs_are_not_written_over_by_later_runs(runtime: Runtime):
    """Answers that are kept stay what they were, however often the network runs again."""
    backend = open_backend(twice(), runtime=runtime)
    kept = [backend.run(fed(value)) for value in range(20)]
    assert [k["z"][0, 0] for k in kept] == [2 * value for value in range(20)]


@both
def test_many_threads_share_one_backend_without_mixing_answers(runtime: Runtime):
    """Eight callers on two streams: each gets the answers to its own questions, all kept."""
    backend = open_backend(twice(), runtime=runtime, workers=2)
    wrong: list[tuple[int, float]] = []
    barrier = threading.Barrier(8)

    def ask(number: int) -> None:
        barrier.wait(10)
        kept = [(v, backend.run(fed(v))) for v in range(number * 100, number * 100 + 50)]
        wrong.extend((v, k["z"][0, 0]) for v, k in kept if not (k["z"] == 2 * v).all())

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


@both
def test_non_contiguous_input_is_read_as_it_is_seen(runtime: Runtime):
    """A transposed view is not read in the order of its memory."""
    backend = open_backend(twice(), runtime=runtime)
    view = np.arange(6, dtype=np.float32).reshape(3, 2).T
    assert backend.run({"x": view})["y"].tolist() == (2 * view).tolist()


@both
@pytest.mark.parametrize("data", [b"", b"junk", twice()[:-30]])
def test_broken_network_is_refused_in_our_words(runtime: Runtime, data: bytes):
    """No runtime's own exception comes through."""
    with pytest.raises(ModelLoadFailed, match="refuses the model"):
        open_backend(data, runtime=runtime)


def test_model_answers_alike_on_every_runtime(bundle: Bundle, picture: Picture):
    """Through preprocessing and head, both find the same red and blue blocks."""
    one, other = (
        Model.load(bundle, runtime=runtime, workers=2).detect(picture).detections
        for runtime in RUNTIMES
    )
    assert set(one.class_id.tolist()) == {0, 1}
    assert one.class_id.tolist() == other.class_id.tolist()
    assert np.allclose(one.boxes_xyxy, other.boxes_xyxy, atol=1e-3)


def test_openvino_keeps_compiled_models_in_a_private_folder(tmp_path: Path):
    """The second start finds what the first one compiled; nobody else may write there."""
    cache = tmp_path / "compiled"
    open_backend(twice(), runtime="openvino", cache_dir=cache)
    kept = list(cache.iterdir())
    assert kept
    assert cache.stat().st_mode & 0o777 == 0o700
    again = open_backend(twice(), runtime="openvino", cache_dir=cache)
    assert again.run(fed(3))["z"][0, 0] == 6
    assert sorted(cache.iterdir()) == sorted(kept)


def test_damaged_compiled_model_is_compiled_again(tmp_path: Path):
    """A power cut in the middle of writing the cache does not stop the camera."""
    open_backend(twice(), runtime="openvino", cache_dir=tmp_path)
    for kept in tmp_path.iterdir():
        kept.write_bytes(kept.read_bytes()[:100])
    assert open_backend(twice(), runtime="openvino", cache_dir=tmp_path).run(fed(3))["z"][0, 0] == 6


def test_cache_folder_that_cannot_be_made_is_the_operators_to_change(tmp_path: Path):
    """A file in its place is told, not a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        open_backend(twice(), runtime="openvino", cache_dir=tmp_path / "file" / "below")


def test_bfloat16_is_used_only_where_it_is_allowed():
    """Small differences show it: exact by default, rounded where the processor has bfloat16."""
    from vedette.inference.backends.openvino import OpenVinoBackend

    exact, rounded = (OpenVinoBackend(twice(), bf16=bf16) for bf16 in (False, True))
    value = 1 + 2**-20
    assert exact.run(fed(value))["z"][0, 0] == np.float32(2 * value)
    assert abs(rounded.run(fed(value))["z"][0, 0] - 2) < 0.02


def test_openvino_device_that_is_not_here_is_named():
    """No silent use of the processor instead."""
    from vedette.inference.backends.openvino import OpenVinoBackend

    with pytest.raises(BackendUnavailable, match="no device NPU here"):
        OpenVinoBackend(twice(), device="NPU")


def test_openvino_loads_no_telemetry(tmp_path: Path):
    """The package that would report usage over the internet is not in the process at all."""
    (tmp_path / "m.onnx").write_bytes(twice())
    code = (
        "import sys, pathlib; from vedette.inference.backends.openvino import OpenVinoBackend;"
        "OpenVinoBackend(pathlib.Path(sys.argv[1]).read_bytes());"
        "sys.exit(any(name.startswith('openvino_telemetry.') for name in sys.modules))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "m.onnx")]
    assert subprocess.run(command, timeout=50, check=False).returncode == 0


@pytest.mark.parametrize(("runtime", "extra"), [("openvino", "openvino"), ("onnxruntime", "edge")])
def test_runtime_that_is_not_installed_is_said_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, runtime: Runtime, extra: str
):
    """The extra is named; it is not a missing module deep inside."""
    monkeypatch.setitem(sys.modules, runtime, None)
    monkeypatch.delitem(sys.modules, f"vedette.inference.backends.{runtime}", raising=False)
    with pytest.raises(BackendUnavailable, match=f"runtime {runtime} is not installed") as caught:
        open_backend(twice(), runtime=runtime)
    assert f"vedette[{extra}]" in str(caught.value.operator_hint)


def test_absent_provider_alone_is_refused_by_name():
    """Nothing runs silently where it was not wanted."""
    with pytest.raises(BackendUnavailable, match="no CUDAExecutionProvider") as caught:
        open_backend(twice(), providers=["cuda"])
    assert "cpu" in str(caught.value.operator_hint)


def test_fallback_to_the_processor_is_taken_only_where_listed_and_said(
    caplog: pytest.LogCaptureFixture,
):
    """The backend's name is what really runs, and each one that did not start is in the log."""
    backend = open_backend(twice(), providers=["tensorrt", "cuda", "cpu"])
    assert backend.name == f"onnxruntime {ort.__version__} CPUExecutionProvider"
    (record,) = [r for r in caplog.records if getattr(r, "event", "") == "backend.fell_back"]
    assert "TensorrtExecutionProvider" in record.getMessage()
    assert "CUDAExecutionProvider" in record.getMessage()


def test_broken_network_is_not_blamed_on_a_provider():
    """With a fallback listed, a file that no provider can load is the file's fault."""
    with pytest.raises(ModelLoadFailed):
        open_backend(b"junk", providers=["cuda", "cpu"])


def test_missing_parts_are_told_before_anything_starts():
    """What `check-config` warns of."""
    assert missing_parts("openvino", ["cuda"]) == []
    assert missing_parts("onnxruntime", ["cpu"]) == []
    (said,) = missing_parts("onnxruntime", ["coreml", "cpu"])
    assert "coreml" in said


def test_options_reach_each_provider_in_its_own_words(tmp_path: Path):
    """Translated as ONNX Runtime's documentation names them; never run on such hardware here."""
    options = ProviderOptions(
        cuda=Cuda(device=1, memory_mb=512),
        tensorrt=TensorRt(fp16=True),
        coreml=CoreMl(units="cpu_and_gpu"),
    )

    def words(name: str, cache: Path | None = None) -> dict[str, str]:
        return in_runtime_words(name, options, threads=2, cache_dir=cache)

    assert words("CUDAExecutionProvider") == {"device_id": "1", "gpu_mem_limit": "536870912"}
    assert words("TensorrtExecutionProvider")["trt_fp16_enable"] == "True"
    assert "trt_engine_cache_path" not in words("TensorrtExecutionProvider")
    assert words("TensorrtExecutionProvider", tmp_path)["trt_engine_cache_path"] == str(tmp_path)
    assert words("OpenVINOExecutionProvider")["num_of_threads"] == "2"
    assert words("CoreMLExecutionProvider")["MLComputeUnits"] == "CPUAndGPU"
    assert words("CPUExecutionProvider") == {}
