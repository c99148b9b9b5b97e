"""The compared network as our bundles, and its INT8 form, which every contestant gets alike."""

from pathlib import Path

import av
import numpy as np

from vedette.edge.frame import planes
from vedette.inference import bundle as bundles
from vedette.inference.manifest import FORMAT, Card, Manifest
from vedette.lab.quantize import to_int8
from vedette.sim import yolo_shaped
from vedette.vision.heads import HeadSpec
from vedette.vision.preprocess import Preprocess, prepare

SAMPLES = 24
EVERY = 12


def preprocessing(side: int) -> Preprocess:
    """Return what the network is fed with: as everybody letterboxes for it."""
    return Preprocess(size=(side, side), anchor="center", scale=1 / 255)


def pack(model: Path, folder: Path, side: int) -> Path:
    """Write a bundle of the network; return its folder."""
    manifest = Manifest(
        format=FORMAT,
        name=folder.name,
        version="1.0",
        model="model.onnx",
        files={},
        labels=[f"class{i}" for i in range(yolo_shaped.CLASSES)],
        preprocess=preprocessing(side),
        head=HeadSpec(kind="yolov8", classes=yolo_shaped.CLASSES, iou=0.5),
        threshold=0.25,
        card=Card(summary="Random weights: only its cost means anything."),
    )
    bundles.write(folder, manifest, {"model.onnx": model.read_bytes()})
    return folder


def quantized(model: Path, target: Path, clip: Path, side: int) -> Path:
    """Write the network with 8-bit weights and activations, as `vedette model quantize` does."""
    tensors = []
    with av.open(str(clip)) as video:
        for number, frame in enumerate(video.decode(video=0)):
            if number % EVERY == 0:
                tensors.append(np.array(prepare(planes(frame), preprocessing(side))[0]))
            if len(tensors) == SAMPLES:
                break
    target.write_bytes(to_int8(model.read_bytes(), tensors)[0])
    return target
