"""A detector in 8-bit integers or half precision, and what that cost in answers.

What lives here: calibration from a user's own footage, the choice of what stays in floating point,
the conversion, and the comparison with the original on frames that calibration did not see. The
rule: the result says how far it agrees with its original and how fast each runtime runs it, also
where that is bad news. No frame of the footage goes into the bundle.

What stays in floating point, and why. The last convolutions before each output and everything after
them: a step of 1/255 of a range that spans a whole picture is several pixels. The first
convolution: it is cheap and sees the pixels. Depthwise convolutions: their channels have ranges of
their own that one scale for the whole tensor cannot hold. Measured on two depthwise networks over
20 held-out frames of a pedestrian clip, per-channel weights, against their own float detections:
all convolutions quantized 0.84 / 0.91 (precision / recall) for CenterNet on MobileNetV3, with the
exclusions 0.96 / 0.94; YOLOX-nano with only its last and first ones left out 0.98 / 0.88, without
depthwise 1.00 / 0.96. Percentile calibration was worse on both.

Source: Jacob et al., arXiv:1712.05877 (integer arithmetic); Krishnamoorthi, arXiv:1806.08342
(per-channel weights and depthwise layers).
"""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

import cv2
import msgspec
import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, NodeProto, version_converter

from vedette.errors import BackendUnavailable, ConfigError, ModelLoadFailed
from vedette.inference.backends import Runtime
from vedette.inference.bundle import Bundle
from vedette.inference.manifest import Evaluation, Manifest, Tolerance
from vedette.inference.model import Model
from vedette.lab import settling
from vedette.lab.assemble import assemble
from vedette.vision.detections import Detections
from vedette.vision.picture import Picture
from vedette.vision.preprocess import prepare

Precision = Literal["int8", "fp16"]
Bgr = npt.NDArray[np.uint8]

PER_CHANNEL_OPSET = 13  # QuantizeLinear has an axis from here on
IOU = 0.5
MAX_FRAMES = 200
MIN_FRAMES = 4
MAX_SIDE_PX = 8192
_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})
_GOLDEN = {"int8": Tolerance(output=0.05, confidence=0.1, iou=0.7), "fp16": Tolerance(output=0.03)}


@dataclass(frozen=True, slots=True)
class Speed:
    """One runtime: median milliseconds of a run before and after, and its agreement."""

    runtime: str
    before_ms: float
    after_ms: float
    agreement: "Agreement"


@dataclass(slots=True)
class Agreement:
    """Detections of the converted network against those of the original, over all frames."""

    before: int = 0
    after: int = 0
    matched: int = 0

    @property
    def precision(self) -> float | None:
        """Return which part of its detections the original has too; None where it has none."""
        return self.matched / self.after if self.after else None

    @property
    def recall(self) -> float | None:
        """Return which part of the original's detections it has too; None where there were none."""
        return self.matched / self.before if self.before else None

    def add(self, before: Detections, after: Detections) -> None:
        """Count one frame."""
        self.before += len(before)
        self.after += len(after)
        self.matched += matched(before, after)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The new bundle and how it compares."""

    bundle: Bundle
    calibrated_on: int
    held_out: int
    kept_in_float: int
    speeds: list[Speed] = field(default_factory=list)
    golden: settling.Golden = field(default_factory=dict)


def quantize(
    bundle: Bundle,
    footage: Path,
    target: Path,
    *,
    precision: Precision = "int8",
    keep_io: bool = True,
    frames: int = 64,
) -> Outcome:
    """Write a bundle of the same detector in lower precision to `target`; compare the two.

    Args:
        bundle: The original, in float32.
        footage: A video or a folder of pictures, as the cameras will see them.
        target: The new bundle's folder; its last part is the new name.
        precision: 8-bit integers with float edges, or half precision throughout.
        keep_io: With half precision: inputs and outputs stay float32.
        frames: How many are used; every second one is kept out of calibration for comparing.

    Raises:
        ConfigError: Not a detector in float32, no footage, or the folder cannot be written.
        ModelLoadFailed: The network cannot be converted.
    """
    said = bundle.manifest
    if said.purpose != "detection" or said.preprocess.dtype != "float32":
        raise ConfigError(
            f"{said.name} is for {said.purpose} and takes {said.preprocess.dtype}; only detectors "
            "that take float32 can be converted and compared here",
            operator_hint="Give the original float32 bundle of a detector.",
        )
    pictures = read_footage(footage, frames)
    seen, held_out = pictures[::2], pictures[1::2]
    data = bundle.read(said.model)
    kept = 0
    if precision == "int8":
        tensors = [prepare(Picture.from_bgr(bgr), said.preprocess)[0] for bgr in seen]
        data, kept = to_int8(data, tensors)
    else:
        data = to_fp16(data, keep_io=keep_io)
    manifest = _manifest(said, target.name, precision, seen, keep_io=keep_io)
    made = assemble(target, manifest, data)
    speeds = list(_compare(bundle, made, held_out))
    made, golden = _with_findings(made, bundle, precision, speeds, len(held_out))
    return Outcome(made, len(seen), len(held_out), kept, speeds, golden)


# --------------------------------------------------------------------------------------- footage


def read_footage(path: Path, count: int) -> list[Bgr]:
    """Return up to `count` pictures, evenly spread over a video or a folder.

    Raises:
        ConfigError: There are too few to calibrate and to compare.
    """
    count = min(count, MAX_FRAMES)
    pictures = list(_from_folder(path, count) if path.is_dir() else _from_video(path, count))
    if len(pictures) < MIN_FRAMES:
        raise ConfigError(
            f"{path} has {len(pictures)} readable pictures; at least {MIN_FRAMES} are needed",
            operator_hint="Give a video or a folder of pictures from the cameras that the model is "
            "for; some dozens, over the hours of a day.",
        )
    return pictures


def _from_folder(path: Path, count: int) -> Iterator[Bgr]:
    found = sorted(p for p in path.iterdir() if p.suffix.lower() in _PICTURES and p.is_file())
    for place in _spread(len(found), count):
        picture = cv2.imread(str(found[place]), cv2.IMREAD_COLOR)
        if picture is not None and max(picture.shape) <= MAX_SIDE_PX:
            yield np.asarray(picture, np.uint8)


def _from_video(path: Path, count: int) -> Iterator[Bgr]:
    if not path.is_file():
        return
    capture = cv2.VideoCapture(str(path))
    try:
        total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        wanted = set(_spread(total if total > 0 else count, count))
        for number in range(max(wanted, default=-1) + 1):
            if not capture.grab():
                return
            if number in wanted:
                done, picture = capture.retrieve()
                if done and max(picture.shape) <= MAX_SIDE_PX:
                    yield np.asarray(picture, np.uint8)
    finally:
        capture.release()


def _spread(total: int, count: int) -> list[int]:
    """Return up to `count` whole numbers below `total`, at even distances."""
    return sorted({int(at) for at in np.linspace(0, total - 1, min(total, count))}) if total else []


def fingerprint(pictures: Iterable[Bgr]) -> str:
    """Return the SHA-256 of a calibration set: of shapes and pixels, in their order."""
    whole = hashlib.sha256()
    for picture in pictures:
        whole.update(repr(picture.shape).encode())
        whole.update(np.ascontiguousarray(picture).tobytes())
    return whole.hexdigest()


# ------------------------------------------------------------------------------------ conversion


def to_int8(data: bytes, tensors: Sequence[npt.NDArray[Any]]) -> tuple[bytes, int]:
    """Return the network with quantized convolutions, and how many nodes stay in float.

    Raises:
        ModelLoadFailed: It cannot be brought to an opset that has what is needed.
    """
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    model = _raised(onnx.load_from_string(data))
    name = model.graph.input[0].name

    class Reader(CalibrationDataReader):
        """Hands the tensors to the calibration, one at a time."""

        def __init__(self) -> None:
            self._left = iter(tensors)

        def get_next(self) -> dict[str, npt.NDArray[Any]]:
            """Return the next feed; empty at the end."""
            tensor = next(self._left, None)
            return {} if tensor is None else {name: tensor}

    kept = stay_in_float(model)
    with tempfile.TemporaryDirectory(prefix="vedette-quantize-") as folder:
        source, made = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        try:
            quantize_static(
                source,
                made,
                Reader(),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv", "Gemm", "MatMul"],
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=kept,
            )
        except (ValueError, RuntimeError, KeyError, TypeError) as error:
            raise ModelLoadFailed(
                f"the network cannot be quantized: {str(error)[:300]}",
                operator_hint="Simplify and export it again with opset 13 or later.",
            ) from error
        return made.read_bytes(), len(kept)


def to_fp16(data: bytes, *, keep_io: bool) -> bytes:
    """Return the network in half precision; `keep_io` leaves inputs and outputs float32."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = convert_float_to_float16(onnx.load_from_string(data), keep_io_types=keep_io)
    return model.SerializeToString()


def stay_in_float(model: ModelProto) -> list[str]:
    """Return the names of nodes that are not quantized; the module's head says why."""
    convolutions = [node for node in model.graph.node if node.op_type in _WEIGHTED]
    kept = {node.name for node in convolutions if _is_depthwise(node)}
    kept |= {node.name for node in convolutions[:1]}
    return sorted(kept | set(_tail(model)))


def _tail(model: ModelProto) -> Iterator[str]:
    """Yield the last weighted node on every way to an output, and all nodes after them."""
    makers = {output: node for node in model.graph.node for output in node.output}
    left, seen = [output.name for output in model.graph.output], set[str]()
    while left:
        node = makers.get(left.pop())
        if node is None or node.name in seen:
            continue
        seen.add(node.name)
        yield node.name
        if node.op_type not in _WEIGHTED:
            left += node.input


def _is_depthwise(node: NodeProto) -> bool:
    return any(said.name == "group" and said.i > 1 for said in node.attribute)


def _raised(model: ModelProto) -> ModelProto:
    """Return the model with named nodes and an opset that can quantize by channel."""
    opset = next((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), 0)
    if opset < PER_CHANNEL_OPSET:
        try:
            model = version_converter.convert_version(model, PER_CHANNEL_OPSET)
        except (RuntimeError, ValueError) as error:
            raise ModelLoadFailed(
                f"the network has opset {opset} and cannot be raised to {PER_CHANNEL_OPSET}",
                operator_hint="Export it again with opset 13 or later.",
            ) from error
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"node{number}"
    return model


# ------------------------------------------------------------------------------------- comparing


def matched(before: Detections, after: Detections) -> int:
    """Return how many of `after`, surest first, have a box of their own class in `before`."""
    left = list(range(len(before)))
    count = 0
    for at in np.argsort(-after.confidence, kind="stable"):
        same = [i for i in left if before.class_id[i] == after.class_id[at]]
        overlaps = [_iou(before.boxes_xyxy[i], after.boxes_xyxy[at]) for i in same]
        if overlaps and max(overlaps) >= IOU:
            left.remove(same[int(np.argmax(overlaps))])
            count += 1
    return count


def _iou(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    both = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(both / max(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - both, 1e-9))


def _compare(before: Bundle, after: Bundle, held_out: Sequence[Bgr]) -> Iterator[Speed]:
    """Yield how both bundles do on each runtime that is installed."""
    pictures = [Picture.from_bgr(bgr) for bgr in held_out]
    reference: list[Detections] | None = None
    runtimes: list[Runtime] = ["onnxruntime", "openvino"]
    for runtime in runtimes:
        try:
            old, new = Model.load(before, runtime=runtime), Model.load(after, runtime=runtime)
        except BackendUnavailable:
            continue
        pairs = [(old.detect(picture), new.detect(picture)) for picture in pictures]
        reference = reference or [result.detections for result, _ in pairs]
        agreement = Agreement()
        for expected, (_, result) in zip(reference, pairs, strict=True):
            agreement.add(expected, result.detections)
        yield Speed(
            runtime,
            round(median(result.inference_ms for result, _ in pairs), 2),
            round(median(result.inference_ms for _, result in pairs), 2),
            agreement,
        )


def _manifest(
    said: Manifest, name: str, precision: Precision, seen: Sequence[Bgr], *, keep_io: bool
) -> Manifest:
    """Return the original's manifest under the new name, version and origin."""
    half = precision == "fp16" and not keep_io
    return msgspec.structs.replace(
        said,
        name=name,
        version=f"{said.version}-{precision}"[:64],
        files={},
        golden=[],
        evaluation=[],
        calibration_sha256=fingerprint(seen) if precision == "int8" else None,
        preprocess=msgspec.structs.replace(
            said.preprocess, dtype="float16" if half else said.preprocess.dtype
        ),
        card=msgspec.structs.replace(said.card, made_with=f"vedette model quantize --{precision}"),
    )


def _figures(agreement: Agreement) -> dict[str, float]:
    """Return precision and recall; what there was no detection to measure with is left out."""
    said = {"precision": agreement.precision, "recall": agreement.recall}
    return {name: round(value, 4) for name, value in said.items() if value is not None}


def _with_findings(
    made: Bundle, original: Bundle, precision: Precision, speeds: list[Speed], frames: int
) -> tuple[Bundle, settling.Golden]:
    """Write the bundle again with the comparison in it and with wider golden tolerances.

    Runtimes round a quantized value to one step up or down, and a step is 1/255 of a tensor's
    range; several layers of that are mostly below a twentieth of the range. Where a runtime of this
    machine is further away, `settling` widens it, or tells that it fails there.
    """
    golden = [
        msgspec.structs.replace(frame, tolerance=_GOLDEN[precision])
        for frame in made.manifest.golden
    ]
    findings = [
        Evaluation(
            data=f"{frames} frames of the given footage that calibration did not use",
            method=f"{precision} on {speed.runtime} against the detections of {original.digest} on "
            f"{speeds[0].runtime}: same class and IoU of at least {IOU}",
            figures={
                **_figures(speed.agreement),
                "detections_before": float(speed.agreement.before),
                "detections_after": float(speed.agreement.after),
                "median_ms_before": speed.before_ms,
                "median_ms_after": speed.after_ms,
            },
        )
        for speed in speeds
    ]
    manifest = msgspec.structs.replace(made.manifest, golden=golden, evaluation=findings)
    return settling.settle(made, manifest)
