"""A model that is really worse: `yolox_nano` in 8-bit integers against itself in float32.

Quantized twice on frames of the same film: as `vedette model quantize` does it, and carelessly, no
convolution kept in float. All see the same frames, in turns. The careless one's figures are what
`vedette sim rollout --model bad` gives its devices. No truth is needed: it is held against itself.
Needs the test material beside the checkout (VEDETTE_TESTDATA).

    python benchmarks/bench_worse.py
"""

import json
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import version_converter
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

from vedette.inference.backends import open_backend
from vedette.lab import quantize
from vedette.vision.heads import decode, recognise
from vedette.vision.picture import Picture
from vedette.vision.preprocess import Preprocess, prepare

Tensor = npt.NDArray[Any]
HERE = Path(__file__).resolve()
TESTDATA = Path(os.environ.get("VEDETTE_TESTDATA", HERE.parents[2] / "shared" / "testdata"))
RESULTS = HERE.parent / "results" / "worse.json"
CALIBRATION, SEEN, THRESHOLD = 24, 120, 0.4
SPEC = Preprocess(size=(416, 416), color="BGR", resize="letterbox", pad_value=114)


def pictures(count: int, every: int) -> list[Picture]:
    """Return frames of the film, evenly apart."""
    found: list[Picture] = []
    with av.open(str(TESTDATA / "video" / "vtest.mp4")) as film:
        for number, frame in enumerate(film.decode(video=0)):
            if number % every == 0:
                found.append(
                    Picture.from_bgr(np.asarray(frame.to_ndarray(format="bgr24"), np.uint8))
                )
            if len(found) == count:
                break
    return found


def carelessly(data: bytes, tensors: Sequence[Tensor]) -> bytes:
    """Return the network with every convolution quantized, by channel, none kept in float."""
    model = version_converter.convert_version(onnx.load_from_string(data), 17)
    name = model.graph.input[0].name
    left = iter(tensors)

    class Reader(CalibrationDataReader):
        """Hands the tensors to the calibration, one at a time."""

        def get_next(self) -> dict[str, Tensor]:
            """Return the next feed; empty at the end."""
            tensor = next(left, None)
            return {} if tensor is None else {name: tensor}

    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        quantize_static(
            source,
            made,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
        )
        return made.read_bytes()


def main() -> None:
    """Measure, print and keep."""
    shown = pictures(CALIBRATION + SEEN, 5)
    tensors = [prepare(picture, SPEC) for picture in shown]
    data = (TESTDATA / "models" / "yolox_nano.onnx").read_bytes()
    small = quantize.to_int8(data, [tensor for tensor, _ in tensors[::6]][:CALIBRATION])[0]
    careless = carelessly(data, [tensor for tensor, _ in tensors[::6]][:CALIBRATION])
    variants = {
        "float32": open_backend(data),
        "int8": open_backend(small),
        "int8, all convolutions": open_backend(careless),
    }
    first = variants["float32"]
    heads = recognise(
        {one.name: one.shape for one in first.inputs},
        {one.name: one.shape for one in first.outputs},
    )
    head = heads[0]
    found = {name: {"detections": 0, "confidence": [], "ms": [], "cpu_ms": []} for name in variants}
    for number, (tensor, transform) in enumerate(tensors):
        for name, backend in variants.items():
            began, worked = time.perf_counter(), time.process_time()
            outputs = backend.run({backend.inputs[0].name: tensor})
            said = found[name]
            if number:  # the first run warms up
                said["ms"].append((time.perf_counter() - began) * 1e3)
                said["cpu_ms"].append((time.process_time() - worked) * 1e3)
            seen = decode(head, outputs, transform, THRESHOLD)
            people = seen.confidence[seen.class_id == 0]
            said["detections"] += len(people)
            said["confidence"] += people.tolist()
    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"onnxruntime": ort.__version__, "numpy": np.__version__},
        "frames": len(shown),
        "threshold": THRESHOLD,
        "network": "yolox_nano 416",
    }
    for name, said in found.items():
        result[name] = {
            "people": said["detections"],
            "confidence_mean": round(float(np.mean(said["confidence"])), 3),
            "cpu_ms_median": round(float(np.median(said["cpu_ms"])), 1),
            "p50_ms": round(float(np.percentile(said["ms"], 50)), 1),
            "p95_ms": round(float(np.percentile(said["ms"], 95)), 1),
        }
    for name in list(variants)[1:]:
        one, other = result["float32"], result[name]
        result[f"{name} ÷ float32"] = {
            key: round(other[key] / one[key], 3)
            for key in ("people", "confidence_mean", "cpu_ms_median", "p95_ms")
        }
    RESULTS.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
