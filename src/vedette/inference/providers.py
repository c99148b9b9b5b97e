"""ONNX Runtime's execution providers by short name, and the options that each of them takes.

What lives here: the table, the declared options and their translation into ONNX Runtime's own
words. What does not: starting one (`backends.onnxruntime`). The rule: an option that is not
declared here cannot be given, so a misspelt one is an error at `check-config` and not a silent
default. No runtime and no NumPy is imported here: the device's settings are made of this.

Source: ONNX Runtime documentation, pages of the CUDA, TensorRT, OpenVINO and CoreML execution
providers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from vedette.config import entry

CPU: Final = "CPUExecutionProvider"

PROVIDERS: Final[dict[str, str]] = {
    "cpu": CPU,
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}

_COREML_UNITS: Final = {
    "all": "ALL",
    "cpu": "CPUOnly",
    "cpu_and_gpu": "CPUAndGPU",
    "cpu_and_neural_engine": "CPUAndNeuralEngine",
}


class Cuda(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of `cuda`."""

    device: Annotated[int, entry("Which of the GPUs", ge=0, le=63)] = 0
    memory_mb: Annotated[int, entry("Most memory of its arena; 0: no limit", unit="MB", ge=0)] = 0


class TensorRt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of `tensorrt`."""

    device: Annotated[int, entry("Which of the GPUs", ge=0, le=63)] = 0
    fp16: Annotated[bool, entry("Let it compute in half precision")] = False
    int8: Annotated[bool, entry("Let it use the quantization in the model")] = False
    workspace_mb: Annotated[int, entry("Scratch memory of a build", unit="MB", ge=16)] = 1024
    cache: Annotated[bool, entry("Keep built engines; a build takes minutes")] = True


class OpenVinoProvider(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of `openvino` inside ONNX Runtime; not of `runtime: openvino`."""

    device: Annotated[Literal["CPU", "GPU", "NPU", "AUTO"], entry("What it runs on")] = "CPU"


class CoreMl(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of `coreml`."""

    format: Annotated[Literal["mlprogram", "neuralnetwork"], entry("What it is translated to")] = (
        "mlprogram"
    )
    units: Annotated[
        Literal["all", "cpu", "cpu_and_gpu", "cpu_and_neural_engine"], entry("What may compute")
    ] = "all"


class OpenVinoRuntime(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of `runtime: openvino`."""

    bf16: Annotated[
        bool, entry("Let it compute in bfloat16 where the processor can: faster, other decimals")
    ] = False


class ProviderOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of every provider that has any, and of the second runtime."""

    cuda: Annotated[Cuda, entry("NVIDIA GPUs")] = Cuda()
    tensorrt: Annotated[TensorRt, entry("NVIDIA GPUs through TensorRT")] = TensorRt()
    openvino: Annotated[OpenVinoProvider, entry("Intel through ONNX Runtime")] = OpenVinoProvider()
    coreml: Annotated[CoreMl, entry("Apple")] = CoreMl()
    openvino_runtime: Annotated[
        OpenVinoRuntime, entry("OpenVINO where it is the runtime itself")
    ] = OpenVinoRuntime()


def full_name(provider: str) -> str:
    """Return ONNX Runtime's own name of a provider, which may be given already."""
    return PROVIDERS.get(provider.lower(), provider)


def missing(wanted: Sequence[str], available: Sequence[str]) -> list[str]:
    """Return those of `wanted` (short or full names) that are not in this build."""
    return [name for name in wanted if full_name(name) not in available]


def in_runtime_words(
    provider: str, options: ProviderOptions, *, threads: int, cache_dir: Path | None
) -> dict[str, str]:
    """Return the options of one provider (full name) as ONNX Runtime takes them.

    Args:
        provider: ONNX Runtime's name.
        options: As configured.
        threads: Of one run.
        cache_dir: Where built engines are kept; nothing is kept where it is None.
    """
    match provider:
        case "CUDAExecutionProvider":
            words = {"device_id": str(options.cuda.device)}
            if options.cuda.memory_mb:
                words["gpu_mem_limit"] = str(options.cuda.memory_mb * 1024 * 1024)
            return words
        case "TensorrtExecutionProvider":
            return _tensorrt(options.tensorrt, cache_dir)
        case "OpenVINOExecutionProvider":
            words = {"device_type": options.openvino.device, "num_of_threads": str(threads)}
            if cache_dir is not None:
                words["cache_dir"] = str(cache_dir)
            return words
        case "CoreMLExecutionProvider":
            form = {"mlprogram": "MLProgram", "neuralnetwork": "NeuralNetwork"}
            return {
                "ModelFormat": form[options.coreml.format],
                "MLComputeUnits": _COREML_UNITS[options.coreml.units],
            }
        case _:
            return {}


def _tensorrt(options: TensorRt, cache_dir: Path | None) -> dict[str, str]:
    words = {
        "device_id": str(options.device),
        "trt_fp16_enable": str(options.fp16),
        "trt_int8_enable": str(options.int8),
        "trt_max_workspace_size": str(options.workspace_mb * 1024 * 1024),
    }
    if options.cache and cache_dir is not None:
        words["trt_engine_cache_enable"] = "True"
        words["trt_engine_cache_path"] = str(cache_dir)
        words["trt_timing_cache_enable"] = "True"
        words["trt_timing_cache_path"] = str(cache_dir)
    return words
