"""OpenVINO natively: usually the fastest way to run a network on an Intel or AMD processor.

A compiled model has as many streams as there are workers. This was measured and is not optional:
requests on one stream wait for each other, so that two workers with one stream keep one core busy,
and requests on N streams of one thread keep N. Each run borrows a request from a pool and returns
it; its outputs are copied out, because the next run writes over a request's own. Inputs are not
copied.

Nothing here speaks to a network. OpenVINO's package loads its conversion tools, which report their
use over the internet with a package of their own; that package is kept out of this process.
"""

import sys
from collections import deque
from pathlib import Path

import numpy as np

# Its absence is provided for: the tools then use a stub that sends nothing.
sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType]

import openvino as ov  # noqa: E402

from vedette.errors import BackendUnavailable, ModelLoadFailed, RunFailed  # noqa: E402
from vedette.inference import onnx_file  # noqa: E402
from vedette.inference.backends import Tensor, TensorInfo  # noqa: E402

VERSION: str = str(ov.__version__).split("-", maxsplit=1)[0]


class OpenVinoBackend:
    """A compiled model and its requests. Thread: any number at once; `workers` run in parallel."""

    def __init__(
        self,
        model: bytes,
        *,
        threads: int = 1,
        workers: int = 1,
        device: str = "CPU",
        bf16: bool = False,
        cache_dir: Path | None = None,
    ) -> None:
        """Compile `model`.

        Args:
            model: A whole ONNX file without external data; the caller has looked (`onnx_file`).
            threads: Of one run.
            workers: Runs that can go on at once; more wait for a free stream.
            device: OpenVINO's name of what runs it.
            bf16: Where the processor has bfloat16, compute in it.
            cache_dir: An existing folder for compiled models, so that the next start is quick. Its
                owner decides what runs; nobody else may write there.

        Raises:
            BackendUnavailable: There is no such device.
            ModelLoadFailed: The model is broken or uses what the runtime does not know.
        """
        core = ov.Core()
        if device not in core.available_devices:
            raise BackendUnavailable(
                f"OpenVINO has no device {device} here; it has {', '.join(core.available_devices)}",
                operator_hint="Its driver is missing. Set pipeline.runtime to onnxruntime, or "
                "install the driver.",
            )
        try:
            graph = core.read_model(model, b"")
            self._compiled = core.compile_model(
                graph, device, _settings(threads, workers, cache_dir, bf16=bf16)
            )
            facts = onnx_file.look(model)
            self._inputs = tuple(_info(port, facts.inputs) for port in self._compiled.inputs)
            self._outputs = tuple(_info(port, facts.outputs) for port in self._compiled.outputs)
        except MemoryError as error:
            raise ModelLoadFailed(
                "the model does not fit into memory",
                operator_hint="Use a smaller model on this machine.",
            ) from error
        except (RuntimeError, ValueError, TypeError) as error:
            raise ModelLoadFailed(
                f"OpenVINO {VERSION} refuses the model: {_brief(error)}",
                operator_hint="The file is damaged or uses an operation that OpenVINO does not "
                "know. Set pipeline.runtime to onnxruntime to run it there.",
            ) from error
        self._device = device
        self._order = {info.name: info for info in self._inputs}
        # `append` and `pop` of a deque are atomic, so that the pool needs no lock.
        self._idle: deque[ov.InferRequest] = deque()

    @property
    def name(self) -> str:
        """Return such as `openvino 2026.4.1 CPU`."""
        return f"openvino {VERSION} {self._device}"

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """Return the inputs, in the model's order."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """Return the outputs, in the model's order."""
        return self._outputs

    def run(self, feeds: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return every output by name, in memory of its own; releases the interpreter's lock.

        Raises:
            RunFailed: The feeds do not fit, or the runtime failed.
        """
        self._check(feeds)
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        try:
            found = request.infer(
                [np.ascontiguousarray(feeds[info.name]) for info in self._inputs],
                share_inputs=True,
                share_outputs=False,
            )
        except (RuntimeError, ValueError, TypeError, MemoryError) as error:
            # The request is not returned to the pool: nothing says what state it is in.
            raise RunFailed(
                f"{self.name} could not run the model: {_brief(error)}",
                operator_hint="If this repeats, check the machine's memory and inspect the bundle.",
            ) from error
        outputs = {info.name: np.asarray(found[at]) for at, info in enumerate(self._outputs)}
        self._idle.append(request)
        return outputs

    def _check(self, feeds: dict[str, Tensor]) -> None:
        """Raise `RunFailed` where OpenVINO would convert silently what another runtime refuses."""
        if feeds.keys() != self._order.keys():
            raise RunFailed(f"fed {', '.join(feeds)}; the inputs are {', '.join(self._order)}")
        for name, info in self._order.items():
            fed = feeds[name]
            fits = fed.ndim == len(info.shape) and all(
                want in {None, side} for side, want in zip(fed.shape, info.shape, strict=True)
            )
            if not fits or fed.dtype.name != info.dtype:
                raise RunFailed(
                    f"input {name} is {fed.dtype.name} {list(fed.shape)}, the model takes "
                    f"{info.dtype} {list(info.shape)}"
                )


def _settings(
    threads: int, workers: int, cache_dir: Path | None, *, bf16: bool
) -> dict[str, object]:
    """Return the compiler's settings: N streams of `threads` threads."""
    settings: dict[str, object] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": max(1, workers),
        "INFERENCE_NUM_THREADS": max(1, workers) * max(1, threads),
        # Newer processors would take bfloat16 unasked: other answers than the golden frame's.
        "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
        # Decoding runs on the same cores and must be able to move a run aside.
        "ENABLE_CPU_PINNING": False,
    }
    if cache_dir is not None:
        settings["CACHE_DIR"] = str(cache_dir)
    return settings


def _info(port: "ov.ConstOutput", declared: list[str]) -> TensorInfo:
    """Return an input or output in our words.

    A tensor that went through an operation without effect has several names here; the one that the
    file declares for its inputs or outputs is meant.
    """
    names = sorted(port.get_names())
    return TensorInfo(
        name=next((name for name in names if name in declared), names[0]),
        shape=tuple(
            int(side.get_length()) if side.is_static else None for side in port.partial_shape
        ),
        dtype=str(np.dtype(port.element_type.to_dtype()).name),
    )


def _brief(error: Exception) -> str:
    """Return the library's message without the places in its source, in one line."""
    lines = [line for line in str(error).splitlines() if not line.startswith("Exception from ")]
    return " ".join(" ".join(lines).split())[:300]
