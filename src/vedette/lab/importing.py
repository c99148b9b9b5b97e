"""A user's ONNX file as a bundle: recognised by its shapes, or refused with what was seen.

The rule: nothing is guessed silently. What shapes cannot tell (colour order, resizing) is the
family's convention and stands in the manifest, where `vedette model inspect` shows it.
"""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from vedette.errors import ConfigError, ModelLoadFailed
from vedette.inference import onnx_file
from vedette.inference.backends import Backend, TensorInfo
from vedette.inference.backends.onnxruntime import OnnxRuntimeBackend
from vedette.inference.bundle import Bundle
from vedette.inference.manifest import FORMAT, MAX_FILE_BYTES, Card, Manifest
from vedette.lab import labels as label_lists
from vedette.lab import scene
from vedette.lab.assemble import MODEL_FILE, assemble
from vedette.vision.heads import HeadSpec, recognise
from vedette.vision.picture import Picture
from vedette.vision.preprocess import Preprocess, prepare

SUPPORTED = (
    "supported are YOLOX (one output [1, N, 5 + classes], N the cells of strides 8, 16 and 32) and "
    "CenterNet (two outputs on a grid of a quarter of the input: [1, h, w, classes], [1, h, w, 4])"
)


@dataclass(frozen=True, slots=True)
class Request:
    """What the user said about the file; None where it is to be found out."""

    name: str
    version: str = "1"
    labels: str | None = None
    head: str | None = None
    threshold: float | None = None
    license: str = ""
    source: str = ""


def import_onnx(path: Path, target: Path, request: Request) -> Bundle:
    """Write a bundle of the ONNX file at `path` to `target`; return it opened.

    Raises:
        ModelLoadFailed: The file is broken, or of a family that is not supported.
        ConfigError: It cannot be read, or the labels do not fit.
    """
    data = _read(path)
    onnx_file.look(data)
    backend = OnnxRuntimeBackend(data, threads=1)
    head = _recognised(backend, request)
    preprocess = _preprocess(backend.inputs[0], head)
    head = msgspec.structs.replace(head, activation=_activation(backend, head, preprocess))
    manifest = Manifest(
        format=FORMAT,
        name=request.name,
        version=request.version,
        model=MODEL_FILE,
        files={},
        labels=_labels(head.classes, request.labels),
        preprocess=preprocess,
        head=head,
        threshold=0.4 if request.threshold is None else request.threshold,
        card=Card(
            license=request.license,
            source=request.source or path.name,
            made_with="vedette model import",
        ),
    )
    return assemble(target, manifest, data)


def _read(path: Path) -> bytes:
    """Return the file, if it is one of a sensible size."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(f"{path} is larger than {MAX_FILE_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}", operator_hint="Give the path of an ONNX file."
        ) from error


def _recognised(backend: Backend, request: Request) -> HeadSpec:
    """Return the head that the shapes say.

    Raises:
        ModelLoadFailed: None that is known, or another than the user said.
    """
    head = recognise(
        {info.name: info.shape for info in backend.inputs},
        {info.name: info.shape for info in backend.outputs},
    )
    seen = f"inputs {_shapes(backend.inputs)}, outputs {_shapes(backend.outputs)}"
    if head is None:
        raise ModelLoadFailed(f"this kind of model is not known: {seen}", operator_hint=SUPPORTED)
    if request.head not in {None, head.kind}:
        raise ModelLoadFailed(
            f"its shapes are those of {head.kind}, not of {request.head}: {seen}",
            operator_hint="Leave --head out, or export the model differently.",
        )
    return head


def _shapes(infos: tuple[TensorInfo, ...]) -> str:
    """Return tensors in words, free sides as `?`."""
    return "; ".join(
        f"{info.name} {info.dtype} [{', '.join('?' if s is None else str(s) for s in info.shape)}]"
        for info in infos
    )


def _preprocess(info: TensorInfo, head: HeadSpec) -> Preprocess:
    """Return the input by the convention of the family.

    Source: YOLOX's own `preproc`: BGR, 0-255, top-left letterbox with 114.
    """
    if info.dtype not in {"float32", "float16", "uint8", "int32"}:
        raise ModelLoadFailed(f"the input is {info.dtype}, which no picture can be made into")
    channels_first = info.shape[1] == 3
    height, width = info.shape[2:4] if channels_first else info.shape[1:3]
    plain = Preprocess(size=(width or 0, height or 0), layout="NCHW" if channels_first else "NHWC")
    dtype = {"dtype": info.dtype}
    if head.kind == "yolox":
        return msgspec.structs.replace(plain, color="BGR", resize="letterbox", **dtype)
    return msgspec.structs.replace(plain, color="RGB", resize="stretch", **dtype)


def _activation(backend: Backend, head: HeadSpec, preprocess: Preprocess) -> str:
    """Return `sigmoid` where the scores of a real run are not probabilities yet."""
    tensor, _ = prepare(Picture.from_bgr(scene.render()), preprocess)
    outputs = backend.run({backend.inputs[0].name: tensor})
    if head.kind == "yolox":
        scores = outputs[head.outputs["predictions"]][..., 4:]
    else:
        scores = outputs[head.outputs["heatmap"]]
    return "none" if np.min(scores) >= 0 and np.max(scores) <= 1 else "sigmoid"


def _labels(classes: int, asked: str | None) -> list[str]:
    """Return as many labels as the model has classes.

    Raises:
        ConfigError: The number differs, or nothing says what the classes are.
    """
    if asked is None and classes == len(label_lists.COCO80):
        asked = "coco80"
    if asked is None:
        raise ConfigError(
            f"the model has {classes} classes and nothing says what they are",
            operator_hint="Give --labels FILE with one label a line.",
        )
    found = label_lists.read(asked)
    if len(found) != classes:
        raise ConfigError(
            f"{asked} has {len(found)} labels, but the model has {classes} classes",
            operator_hint="Give the list that this model was trained with.",
        )
    return found
