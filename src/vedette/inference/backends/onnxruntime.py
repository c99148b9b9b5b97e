"""ONNX Runtime: the default backend, on the CPU and on every accelerator it has a provider for.

One session is shared by all workers; a run with one intra-op thread stays on the caller's thread,
so N workers keep N cores busy without a pool between them (ARCHITECTURE, section 7).
"""

import importlib

import numpy as np
import onnxruntime as ort

from vedette.errors import BackendUnavailable, BadModelOutput, ModelLoadFailed, RunFailed
from vedette.inference.backends import Tensor, TensorInfo

CPU = "CPUExecutionProvider"

PROVIDERS = {
    "cpu": CPU,
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}

_QUIET = 4  # fatal only: what goes wrong is raised, and a library does not print

# The library has no common base class: every status is an exception of its own in this module.
_state = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
_ORT_ERRORS: tuple[type[Exception], ...] = (
    *(
        kind
        for kind in vars(_state).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    ),
    RuntimeError,
    ValueError,
)


class OnnxRuntimeBackend:
    """A session. Thread: any number at once."""

    def __init__(
        self, model: bytes, *, threads: int = 1, providers: list[str] | None = None
    ) -> None:
        """Load `model`.

        Args:
            model: A whole ONNX file without external data; the caller has looked (`onnx_file`).
            threads: Intra-op threads per run.
            providers: Short names of `PROVIDERS` or full ones, best first; CPU by default.

        Raises:
            BackendUnavailable: A provider is not in this build of ONNX Runtime or did not start.
            ModelLoadFailed: The model is broken or uses what the runtime does not know.
        """
        wanted = _resolve(providers or ["cpu"])
        options = ort.SessionOptions()
        options.intra_op_num_threads = max(1, threads)
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = _QUIET
        # A spinning pool takes the cores that decoding needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(model, options, providers=wanted)
        except MemoryError as error:
            raise ModelLoadFailed(
                "the model does not fit into memory",
                operator_hint="Use a smaller model on this machine.",
            ) from error
        except _ORT_ERRORS as error:
            raise ModelLoadFailed(
                f"ONNX Runtime {ort.__version__} refuses the model: {_brief(error)}",
                operator_hint="The file is damaged, or needs a newer ONNX Runtime. Try "
                "`vedette model inspect`, and export it again with a lower opset.",
            ) from error
        self._session.disable_fallback()
        active = self._session.get_providers()
        if wanted[0] not in active:
            raise BackendUnavailable(
                f"{wanted[0]} is built in but did not start; only {', '.join(active)} did",
                operator_hint="Its driver or libraries are missing or of another version.",
            )
        self._provider = wanted[0]
        self._inputs = tuple(_info(node) for node in self._session.get_inputs())
        self._outputs = tuple(_info(node) for node in self._session.get_outputs())
        self._names = [info.name for info in self._outputs]

    @property
    def name(self) -> str:
        """Return such as `onnxruntime 1.31.1 CPUExecutionProvider`."""
        return f"onnxruntime {ort.__version__} {self._provider}"

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """Return the inputs, in the model's order."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """Return the outputs, in the model's order."""
        return self._outputs

    def run(self, feeds: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return every output by name; holds no lock and releases the interpreter's.

        Raises:
            RunFailed: The runtime refused or failed.
            BadModelOutput: An output is no tensor.
        """
        try:
            values = self._session.run(self._names, feeds)
        except _ORT_ERRORS as error:
            raise RunFailed(
                f"{self.name} could not run the model: {_brief(error)}",
                operator_hint="If this repeats, check the machine's memory and inspect the bundle.",
            ) from error
        outputs: dict[str, Tensor] = {}
        for name, value in zip(self._names, values, strict=True):
            if not isinstance(value, np.ndarray):
                raise BadModelOutput(f"output {name} is a {type(value).__name__}, not a tensor")
            outputs[name] = value
        return outputs


def _resolve(providers: list[str]) -> list[str]:
    """Return full provider names that this build has."""
    available = ort.get_available_providers()
    resolved = [PROVIDERS.get(name.lower(), name) for name in providers]
    for name in resolved:
        if name not in available:
            short = [key for key, full in PROVIDERS.items() if full in available]
            raise BackendUnavailable(
                f"this ONNX Runtime has no {name}; it has {', '.join(available)}",
                operator_hint=f"Choose one of: {', '.join(short)}; or install the build of "
                "ONNX Runtime for your accelerator.",
            )
    return resolved


def _info(node: ort.NodeArg) -> TensorInfo:
    """Return an input or output in our words."""
    return TensorInfo(
        name=str(node.name),
        shape=tuple(side if isinstance(side, int) else None for side in node.shape),
        dtype=_DTYPES.get(str(node.type), str(node.type)),
    )


def _brief(error: Exception) -> str:
    """Return the library's message without its prefix and in one line."""
    text = " ".join(str(error).split())
    return text.removeprefix("[ONNXRuntimeError] : ")[:300]
