"""The loop that anybody writes first: OpenCV reads, letterboxes, ONNX Runtime or OpenVINO runs.

With `--track`, ByteTrack of the package `trackers` follows. Also the strongest alternative, by
hand: with `--runtime openvino-async`, OpenVINO's own queue of requests keeps every core busy.
"""

import threading
import time
from typing import Any

import cv2
import numpy as np
from meter import Meter, Pace, arguments

THRESHOLD, IOU = 0.25, 0.5


def letterbox(picture: Any, side: int) -> tuple[Any, float, int, int]:
    """Return float32 (1, 3, side, side) RGB 0–1, and where the picture lies in it."""
    height, width = picture.shape[:2]
    ratio = min(side / width, side / height)
    w, h = round(width * ratio), round(height * ratio)
    left, top = (side - w) // 2, (side - h) // 2
    canvas = np.full((side, side, 3), 114, np.uint8)
    canvas[top : top + h, left : left + w] = cv2.resize(picture, (w, h))
    return cv2.dnn.blobFromImage(canvas, 1 / 255, swapRB=True), ratio, left, top


def boxes(output: Any, ratio: float, left: int, top: int) -> Any:
    """Return (n, 6): xyxy in picture pixels, confidence, class."""
    rows = output[0].T
    best = rows[:, 4:].max(1)
    keep = best > THRESHOLD
    rows, best = rows[keep], best[keep]
    kinds = rows[:, 4:].argmax(1)
    xy, wh = rows[:, :2], rows[:, 2:4]
    corner = (xy - wh / 2 - (left, top)) / ratio
    picked = cv2.dnn.NMSBoxesBatched(
        np.hstack([corner, wh / ratio]).tolist(), best.tolist(), kinds.tolist(), THRESHOLD, IOU
    )
    index = np.asarray(picked, int).reshape(-1)
    far = corner + wh / ratio
    return np.column_stack([corner[index], far[index], best[index], kinds[index]])


def tracker() -> Any:
    """Return supervision's ByteTrack as a function of boxes."""
    import supervision as sv
    from trackers import ByteTrackTracker

    byte = ByteTrackTracker(frame_rate=10.0)

    def follow(found: Any) -> int:
        detections = sv.Detections(
            xyxy=found[:, :4].astype(np.float32),
            confidence=found[:, 4].astype(np.float32),
            class_id=found[:, 5].astype(int),
        )
        return len(byte.update(detections))

    return follow


def runner(runtime: str, model: str, precision: str = "f32") -> Any:
    """Return a function from tensor to output, with each runtime's own threads."""
    if runtime == "onnxruntime":
        import onnxruntime as ort

        session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda tensor: session.run(None, {name: tensor})[0]
    import openvino as ov

    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    compiled = ov.Core().compile_model(model, "CPU", hints)
    request = compiled.create_infer_request()
    return lambda tensor: request.infer({0: tensor})[0]


def serial(given: Any) -> None:
    """Read, convert, run, decode, one picture after the other."""
    run, meter = runner(given.runtime, given.model, given.precision), Meter()
    follow = tracker() if given.track else len
    video, pace = cv2.VideoCapture(given.clip), Pace(given.paced_fps)
    while True:
        due_s = pace.due()
        more, picture = video.read()
        if not more:
            break
        tensor, *where = letterbox(picture, given.side)
        found = boxes(run(tensor), *where)
        follow(found)
        meter.tick(len(found), (time.perf_counter() - due_s) * 1e3 if given.paced_fps else None)
    meter.report()


def queued(given: Any) -> None:
    """Keep OpenVINO's requests busy; results are decoded in its callbacks."""
    import openvino as ov

    hints = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": given.precision}
    compiled = ov.Core().compile_model(given.model, "CPU", hints)
    queue = ov.AsyncInferQueue(compiled)
    meter, lock = Meter(), threading.Lock()

    def done(request: Any, where: Any) -> None:
        found = boxes(request.get_output_tensor(0).data, *where)
        with lock:
            meter.tick(len(found))

    queue.set_callback(done)
    video = cv2.VideoCapture(given.clip)
    while True:
        more, picture = video.read()
        if not more:
            break
        tensor, *where = letterbox(picture, given.side)
        queue.start_async({0: tensor}, where)
    queue.wait_all()
    meter.report()


if __name__ == "__main__":
    options = arguments()
    (queued if options.runtime == "openvino-async" else serial)(options)
