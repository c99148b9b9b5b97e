"""Ultralytics' own tracking loop over an ONNX file, as its documentation shows it."""

import os

os.environ |= {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}

from meter import Meter, arguments
from ultralytics import YOLO

if __name__ == "__main__":
    given = arguments()
    meter = Meter()
    model = YOLO(given.model, task="detect")
    for result in model.track(
        given.clip,
        stream=True,
        persist=True,
        imgsz=given.side,
        conf=0.25,
        iou=0.5,
        tracker="bytetrack.yaml",
        verbose=False,
        device="cpu",
    ):
        meter.tick(len(result.boxes))
    meter.report()
