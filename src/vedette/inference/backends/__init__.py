"""What runs a network: one protocol, one module per runtime.

What lives here: the protocol, the description of tensors, and `open_backend`, which chooses. The
rule: a backend turns its library's exceptions into ours and knows nothing of pictures, labels or
heads; a runtime is imported when it is opened, so that reading bundles needs none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy.typing as npt

from vedette.errors import BackendUnavailable, ConfigError

if TYPE_CHECKING:
    from vedette.inference.providers import ProviderOptions

Runtime = Literal["onnxruntime", "openvino"]

Tensor = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One input or output: name, shape (None where a side is free) and element type."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


class Backend(Protocol):
    """A loaded network. Thread: `run` may be called from any number of threads at once."""

    @property
    def name(self) -> str:
        """Return the runtime, its version and what it runs on."""
        ...

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """Return the inputs, in the model's order."""
        ...

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """Return the outputs, in the model's order."""
        ...

    def run(self, feeds: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return every output by name.

        Raises:
            RunFailed: This run failed; the next one may work.
            BackendUnavailable: The accelerator is gone.
        """
        ...


def open_backend(
    data: bytes,
    *,
    runtime: Runtime = "onnxruntime",
    threads: int = 1,
    workers: int = 1,
    providers: Sequence[str] | None = None,
    options: "ProviderOptions | None" = None,
    cache_dir: Path | None = None,
) -> Backend:
    """Return the network of an ONNX file, loaded and ready to run.

    Args:
        data: The whole file; the caller has looked into it (`onnx_file`).
        runtime: What runs it.
        threads: Threads of one run.
        workers: Runs that go on at once.
        providers: ONNX Runtime's execution providers, best first; the CPU by default.
        options: Of the providers.
        cache_dir: Folder for what the runtime builds of the model; made where it is not there.

    Raises:
        BackendUnavailable: The runtime is not installed, or no provider starts.
        ModelLoadFailed: The runtime refuses the model.
        ConfigError: The cache folder cannot be made.
    """
    if cache_dir is not None:
        _make(cache_dir)
    try:
        if runtime == "openvino":
            from vedette.inference.backends.openvino import OpenVinoBackend

            return OpenVinoBackend(
                data,
                threads=threads,
                workers=workers,
                bf16=options is not None and options.openvino_runtime.bf16,
                cache_dir=cache_dir,
            )
        from vedette.inference.backends.onnxruntime import OnnxRuntimeBackend

        return OnnxRuntimeBackend(
            data, threads=threads, providers=providers, options=options, cache_dir=cache_dir
        )
    except ModuleNotFoundError as error:
        extra = "openvino" if runtime == "openvino" else "edge"
        raise BackendUnavailable(
            f"the runtime {runtime} is not installed (no Python package {error.name!r})",
            operator_hint=f"Install it with: pip install 'vedette[{extra}]'",
        ) from error


def missing_parts(runtime: Runtime, providers: Sequence[str]) -> list[str]:
    """Return, in words, what of the configured runtime is not on this machine."""
    from importlib.util import find_spec

    extra = {"openvino": "openvino", "onnxruntime": "edge"}[runtime]
    if find_spec(runtime) is None:
        return [f"runtime {runtime} is not installed: pip install 'vedette[{extra}]'"]
    if runtime == "openvino":
        return []
    from vedette.inference.backends.onnxruntime import absent

    return [f"this ONNX Runtime has no provider {name}" for name in absent(providers)]


def _make(folder: Path) -> None:
    """Make a folder that only its owner may write to: what is in it will be run."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"the folder for compiled models cannot be made: {error}",
            operator_hint="See that state_dir is writable.",
        ) from error
