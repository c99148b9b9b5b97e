"""Golden frames: the proof that a model does on this machine what it did where it was made.

What lives here: taking probes of raw outputs when a bundle is made, and comparing afterwards. What
does not: running the model (`inference.model`). The rule: both the raw numbers and the detections
are compared, because a picture without objects would let a broken model pass, and numbers alone
would let a wrong head pass. A failed comparison is a value, not an exception.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from vedette.errors import ModelLoadFailed
from vedette.inference.manifest import ExpectedBox, GoldenFrame, Probe, Tolerance
from vedette.vision.detections import Detections
from vedette.vision.picture import Picture
from vedette.vision.tasks import Answer

MAX_PICTURE_BYTES = 16 * 1024 * 1024
MAX_PICTURE_PX = 4096
_EVEN = 96  # positions spread over the tensor
_MOST_SCORES = 10
_LARGE = 32  # positions of the largest values: where the objects are

Tensor = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class GoldenResult:
    """What came of the comparison.

    Attributes:
        ok: Every frame was within its tolerance.
        frames: How many there were; none is not a proof of anything.
        worst: Largest deviation of a raw output, as a part of its span.
        failures: What was wrong, in words.
    """

    ok: bool
    frames: int
    worst: float
    failures: tuple[str, ...]


def encode_picture(bgr: npt.NDArray[np.uint8]) -> bytes:
    """Return a PNG of uint8 (h, w, 3) BGR."""
    done, data = cv2.imencode(".png", bgr)
    if not done:
        raise ModelLoadFailed("the golden frame could not be written as PNG")
    return data.tobytes()


def decode_picture(data: bytes, name: str) -> Picture:
    """Return the picture of a PNG, after looking at its announced size.

    Raises:
        ModelLoadFailed: Not a PNG, or larger than a golden frame has any reason to be.
    """
    # Signature, then the IHDR chunk with width and height (PNG specification, 11.2.2).
    is_png = len(data) > 33 and data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR"
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    sides_fit = all(0 < side <= MAX_PICTURE_PX for side in (width, height))
    if not is_png or not sides_fit or len(data) > MAX_PICTURE_BYTES:
        raise ModelLoadFailed(f"golden frame {name} is not a PNG of a sensible size")
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ModelLoadFailed(f"golden frame {name} cannot be decoded: {error}") from error
    if bgr is None:
        raise ModelLoadFailed(f"golden frame {name} cannot be decoded")
    return Picture.from_bgr(np.asarray(bgr, np.uint8))


def probe(output: Tensor) -> Probe:
    """Return a small record of a tensor: values at even distances and the largest ones."""
    flat = np.asarray(output, np.float64).ravel()
    even = np.linspace(0, flat.size - 1, min(_EVEN, flat.size)).astype(np.int64)
    count = min(_LARGE, flat.size)
    large = np.argpartition(-np.abs(flat), count - 1)[:count]
    at = np.unique(np.concatenate([even, large]))
    return Probe(
        shape=list(output.shape),
        span=float(np.ptp(flat)),
        at=at.tolist(),
        values=[round(float(value), 6) for value in flat[at]],
    )


def expect(
    picture: str,
    outputs: dict[str, Tensor],
    detections: Detections,
    labels: list[str],
    tolerance: Tolerance | None = None,
    *,
    answer: Answer | None = None,
) -> GoldenFrame:
    """Return the golden frame that these answers to `picture` make."""
    boxes = [
        ExpectedBox(
            label=labels[class_id],
            confidence=round(confidence, 4),
            box_xyxy=(
                round(float(box[0]), 2),
                round(float(box[1]), 2),
                round(float(box[2]), 2),
                round(float(box[3]), 2),
            ),
        )
        for box, confidence, class_id, _ in detections
    ]
    return GoldenFrame(
        picture=picture,
        outputs={name: probe(value) for name, value in outputs.items()},
        boxes=boxes,
        scores=(scores(answer, labels) if answer else {}) or msgspec.UNSET,
        tolerance=tolerance or Tolerance(),
    )


def scores(answer: Answer, labels: list[str]) -> dict[str, float]:
    """Return what a task beside detection says, in numbers: the likeliest labels, the anomaly."""
    found: dict[str, float] = {}
    if answer.classes is not None:
        p = answer.classes.probability
        found = {labels[i]: round(float(p[i]), 4) for i in np.argsort(-p)[:_MOST_SCORES].tolist()}
    if answer.anomaly is not None:
        found["anomaly"] = round(answer.anomaly.score, 4)
    return found


def compare_scores(frame: GoldenFrame, answer: Answer, labels: list[str]) -> tuple[str, ...]:
    """Return which scores are further away from the expected ones than the tolerance."""
    if frame.scores is msgspec.UNSET:
        return ()
    found = {"anomaly": answer.anomaly.score} if answer.anomaly else {}
    if answer.classes is not None:
        found |= dict(zip(labels, answer.classes.probability.tolist(), strict=True))
    failures: list[str] = []
    for name, expected in frame.scores.items():
        score = found.get(name, np.nan)
        if not abs(score - expected) <= frame.tolerance.confidence:
            failures.append(f"{frame.picture}: {name} is {score:.2f} where it was {expected:.2f}")
    return tuple(failures)


def compare_outputs(
    frame: GoldenFrame, outputs: dict[str, Tensor]
) -> tuple[float, tuple[str, ...]]:
    """Return the largest deviation as a part of the span, and what is out of tolerance."""
    worst, failures = 0.0, []
    for name, expected in frame.outputs.items():
        found = outputs.get(name)
        if found is None or list(found.shape) != expected.shape:
            shape = "nothing" if found is None else str(found.shape)
            failures.append(f"{frame.picture}: output {name} is {shape}, not {expected.shape}")
            continue
        at = np.array(expected.at, np.int64)
        if at.size == 0 or at.max() >= found.size:
            failures.append(f"{frame.picture}: the probe of {name} does not fit its shape")
            continue
        away = np.abs(np.asarray(found, np.float64).ravel()[at] - np.array(expected.values))
        deviation = float(away.max()) / max(expected.span, 1e-6)
        worst = max(worst, deviation)
        # Said this way round, NaN is a failure too.
        if not deviation <= frame.tolerance.output:
            failures.append(
                f"{frame.picture}: output {name} is off by {deviation:.1%} of its span, "
                f"{frame.tolerance.output:.1%} is allowed"
            )
    return worst, tuple(failures)


def compare_boxes(
    frame: GoldenFrame,
    detections: Detections,
    labels: list[str],
    thresholds: npt.NDArray[np.float32],
) -> tuple[str, ...]:
    """Return which expected boxes are missing and which found ones nobody expected.

    Boxes nearer to their label's threshold, float32 (k,), than the tolerance may come and go.
    """
    margin = dict(zip(labels, (thresholds + frame.tolerance.confidence).tolist(), strict=True))
    left = list(range(len(detections)))
    failures = []
    for expected in frame.boxes:
        match = _match(expected, detections, left, labels, frame.tolerance)
        if match is not None:
            left.remove(match)
        elif expected.confidence >= margin.get(expected.label, 0.0):
            failures.append(
                f"{frame.picture}: no {expected.label} of {expected.confidence:.2f} where one was"
            )
    for index in left:
        confidence = float(detections.confidence[index])
        label = labels[int(detections.class_id[index])]
        if confidence >= margin[label]:
            failures.append(f"{frame.picture}: a {label} of {confidence:.2f} where none was")
    return tuple(failures)


def _match(
    expected: ExpectedBox,
    detections: Detections,
    left: list[int],
    labels: list[str],
    tolerance: Tolerance,
) -> int | None:
    """Return the index among `left` that is the expected box."""
    for index in left:
        if labels[int(detections.class_id[index])] != expected.label:
            continue
        away = abs(float(detections.confidence[index]) - expected.confidence)
        overlap = _iou(expected.box_xyxy, detections.boxes_xyxy[index])
        if away <= tolerance.confidence and overlap >= tolerance.iou:
            return index
    return None


def _iou(a: tuple[float, float, float, float], b: npt.NDArray[np.float32]) -> float:
    """Return intersection over union of two xyxy boxes."""
    width = min(a[2], float(b[2])) - max(a[0], float(b[0]))
    height = min(a[3], float(b[3])) - max(a[1], float(b[1]))
    if width <= 0 or height <= 0:
        return 0.0
    both = (a[2] - a[0]) * (a[3] - a[1]) + float((b[2] - b[0]) * (b[3] - b[1]))
    return width * height / (both - width * height)
