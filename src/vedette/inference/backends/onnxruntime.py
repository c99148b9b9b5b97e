"""ONNX Runtime: the default backend, on the CPU and on every accelerator it has a provider for.

One session is shared by all workers; a run with one intra-op thread stays on the caller's thread,
so N workers keep N cores busy without a pool between them (ARCHITECTURE, section 7).
"""

import importlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

from vedette.errors import BackendUnavailable, BadModelOutput, ModelLoadFailed, RunFailed
from vedette.inference.backends import Tensor, TensorInfo
from vedette.inference.providers import (
    CPU,
    PROVIDERS,
    ProviderOptions,
    full_name,
    in_runtime_words,
    missing,
)

_LOG = logging.getLogger(__name__)

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
        self,
        model: bytes,
        *,
        threads: int = 1,
        providers: Sequence[str] | None = None,
        options: ProviderOptions | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        """Load `model` on the first of `providers` that starts; say so where it is not the first.

        Args:
            model: A whole ONNX file without external data; the caller has looked (`onnx_file`).
            threads: Intra-op threads per run.
            providers: Short names of `PROVIDERS` or full ones, best first; CPU by default. Only
                those that are named are used, the CPU too.
            options: Of the providers.
            cache_dir: An existing folder for engines that a provider builds.

        Raises:
            BackendUnavailable: None of the providers is in this build and starts.
            ModelLoadFailed: The model is broken or uses what the runtime does not know.
        """
        self._threads = max(1, threads)
        self._options = options or ProviderOptions()
        self._cache_dir = cache_dir
        wanted = [full_name(name) for name in providers or ["cpu"]]
        self._session, self._provider, problems = self._start(model, wanted)
        if problems:
            _LOG.warning(
                "the model runs on %s: %s",
                self._provider,
                "; ".join(problems),
                extra={"event": "backend.fell_back", "provider": self._provider},
            )
        self._inputs = tuple(_info(node) for node in self._session.get_inputs())
        self._outputs = tuple(_info(node) for node in self._session.get_outputs())
        self._names = [info.name for info in self._outputs]

    def _start(
        self, model: bytes, wanted: list[str]
    ) -> tuple[ort.InferenceSession, str, list[str]]:
        """Return a session, the provider that it runs on and why none of the earlier ones did."""
        problems: list[str] = []
        available = ort.get_available_providers()
        for at, provider in enumerate(wanted):
            if provider not in available:
                problems.append(f"this ONNX Runtime has no {provider}")
                continue
            # Later providers take the operations that this one does not know.
            chain = [name for name in wanted[at:] if name in available]
            try:
                session = self._open(model, chain)
            except _ORT_ERRORS as error:
                if provider == CPU:
                    raise ModelLoadFailed(
                        f"ONNX Runtime {ort.__version__} refuses the model: {_brief(error)}",
                        operator_hint="The file is damaged, or needs a newer ONNX Runtime. Try "
                        "`vedette model inspect`, and export it again with a lower opset.",
                    ) from error
                problems.append(f"{provider} did not start: {_brief(error)}")
                continue
            if session.get_providers()[0] == provider:
                return session, provider, problems
            problems.append(f"{provider} is built in but did not start")
        raise BackendUnavailable(
            "; ".join(problems),
            operator_hint=f"This build has: {', '.join(_short(available))}. Install the build of "
            "ONNX Runtime and the driver for your accelerator, or name cpu last in providers.",
        )

    def _open(self, model: bytes, chain: list[str]) -> ort.InferenceSession:
        """Return a session over these providers, best first; the runtime's errors come through."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = _QUIET
        # A spinning pool takes the cores that decoding needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        words = [
            in_runtime_words(name, self._options, threads=self._threads, cache_dir=self._cache_dir)
            for name in chain
        ]
        try:
            # Without its own falling back, which prints and replaces a provider silently.
            session = ort.InferenceSession(
                model, options, providers=chain, provider_options=words, enable_fallback=0
            )
        except MemoryError as error:
            raise ModelLoadFailed(
                "the model does not fit into memory",
                operator_hint="Use a smaller model on this machine.",
            ) from error
        session.disable_fallback()
        return session

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


def absent(wanted: Sequence[str]) -> list[str]:
    """Return which of the wanted providers this build of ONNX Runtime does not have."""
    return missing(wanted, ort.get_available_providers())


def _short(available: Sequence[str]) -> list[str]:
    """Return the short names of what there is."""
    return [key for key, full in PROVIDERS.items() if full in available]


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
