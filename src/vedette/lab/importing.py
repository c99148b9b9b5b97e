"""A user's ONNX file as a bundle: recognised by shapes, names and one run, or refused with both.

The rule: nothing is guessed silently. What neither shapes nor a run can tell (colour order,
resizing) is the family's convention (`lab.conventions`) and stands in the manifest, where `vedette
model inspect` shows it; what several families share is asked.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from vedette.errors import BadModelOutput, ConfigError, ModelLoadFailed, VedetteError
from vedette.inference import guard, onnx_file
from vedette.inference.backends import Backend, Tensor, TensorInfo
from vedette.inference.backends.onnxruntime import OnnxRuntimeBackend
from vedette.inference.bundle import Bundle
from vedette.inference.library import PROVEN
from vedette.inference.manifest import FORMAT, MAX_FILE_BYTES, Card, Manifest
from vedette.lab import conventions, graph, probing, scene
from vedette.lab import labels as label_lists
from vedette.lab.assemble import MODEL_FILE, assemble
from vedette.vision.heads import FAMILIES, HeadSpec, recognise
from vedette.vision.heads.recognition import input_px
from vedette.vision.picture import Picture
from vedette.vision.preprocess import Preprocess, prepare

MAX_HEAD_BYTES = 64 * 1024
# Where no labels are given, only models of COCO can be imported: its list with and without gaps.
_KNOWN_LISTS = {80: "coco80", 90: "coco90", 91: "coco91"}

SUPPORTED = (
    f"These are recognised: {', '.join(FAMILIES)} (docs/models.md says how each looks). Export the "
    "model with a fixed input size and without further inputs; or name the family with --head, or "
    "give --head FILE with the head as JSON."
)


@dataclass(frozen=True, slots=True)
class Request:
    """What the user said about the file; None where it is to be found out.

    Attributes:
        name: The bundle's name.
        version: Its version.
        labels: A known list, or a file with one label a line.
        head: A family, or a JSON file with a whole `HeadSpec`.
        threshold: Confidence to report from.
        license: Of the weights.
        source: Where they come from.
        size: Width and height, where the file leaves them free.
        priors: A file with prior boxes, for a raw SSD.
        activation: Instead of what a run shows.
        preprocess: Fields of `Preprocess` in place of the family's convention.
    """

    name: str
    version: str = "1"
    labels: str | None = None
    head: str | None = None
    threshold: float | None = None
    license: str = ""
    source: str = ""
    size: tuple[int, int] | None = None
    priors: Path | None = None
    activation: str | None = None
    preprocess: dict[str, Any] = field(default_factory=dict)


def import_onnx(path: Path, target: Path, request: Request) -> Bundle:
    """Write a bundle of the ONNX file at `path` to `target`; return it opened.

    Raises:
        ModelLoadFailed: The file is broken, breaks the runtime, or is of a family that is not
            known or not certain.
        ConfigError: It cannot be read, or what the user said does not fit it.
    """
    data = _read(path)
    onnx_file.look(data)
    priors = None if request.priors is None else graph.read_priors(request.priors)
    data = graph.prepare(data, request.size, priors)
    # What comes from elsewhere meets the runtime in a process that may die of it.
    guard.prove(data)
    backend = OnnxRuntimeBackend(data, threads=1)
    listed = None if request.labels is None else label_lists.read(request.labels)
    head, preprocess = _understood(backend, request, listed)
    manifest = Manifest(
        format=FORMAT,
        name=request.name,
        version=request.version,
        model=MODEL_FILE,
        files={},
        labels=_labels(head.classes, listed, request.labels),
        preprocess=preprocess,
        head=head,
        threshold=0.4 if request.threshold is None else request.threshold,
        card=Card(
            license=request.license,
            source=request.source or path.name,
            made_with="vedette model import",
            limits="Nothing is known about its quality: it was not evaluated here.",
        ),
    )
    made = assemble(target, manifest, data)
    guard.Proven(target.parent / PROVEN).remember(data, "onnxruntime")
    return made


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


def _understood(
    backend: Backend, request: Request, listed: list[str] | None
) -> tuple[HeadSpec, Preprocess]:
    """Return head and input of the network, from its shapes and from one run each way.

    Raises:
        ModelLoadFailed: No family fits, or more than one.
    """
    picture = _picture_input(backend)
    outputs = _first_answers(backend, picture)
    given = _given_head(request.head)
    said = None if given else request.head
    head = given or _recognised(backend, outputs, said, listed)
    habit = conventions.habit_of(head, said)
    if habit == "yolov5" and probing.is_decoded_yolox(head, outputs, _size(picture)):
        habit = "yolox"
    preprocess = conventions.override(conventions.preprocess(picture, habit), request.preprocess)
    if given is None:
        tensor, transform = prepare(Picture.from_bgr(scene.render()), preprocess)
        head = probing.settled(head, backend.run({picture.name: tensor}), transform)
    if request.activation is not None:
        fields = msgspec.to_builtins(head) | {"activation": request.activation}
        head = msgspec.convert(fields, HeadSpec)
    return head, preprocess


def _picture_input(backend: Backend) -> TensorInfo:
    """Return the one input, which has to be a picture of a fixed size.

    Raises:
        ModelLoadFailed: It is not.
    """
    if len(backend.inputs) == 1 and _size(backend.inputs[0]) != (0, 0):
        return backend.inputs[0]
    free = any(None in info.shape[1:] for info in backend.inputs)
    raise ModelLoadFailed(
        f"one picture of a fixed size has to go in: {_seen(backend)}",
        operator_hint="Say which size to use, such as --size 640x640." if free else SUPPORTED,
    )


def _size(info: TensorInfo) -> tuple[int, int]:
    """Return width and height of the picture that an input takes; zeros where it takes none."""
    return input_px({info.name: info.shape}) or (0, 0)


def _first_answers(backend: Backend, picture: TensorInfo) -> dict[str, Tensor]:
    """Return the outputs for plain grey: their real shapes, where the file leaves them free."""
    sides = [side or 1 for side in picture.shape]
    grey = np.full(sides, 114, np.uint8 if picture.dtype == "uint8" else np.float32)
    if picture.dtype.startswith("float"):
        grey /= 255
    try:
        return backend.run({picture.name: grey.astype(picture.dtype)})
    except (TypeError, BadModelOutput) as error:
        raise ModelLoadFailed(
            f"the network does not run on a grey picture: {error}", operator_hint=SUPPORTED
        ) from error


def _recognised(
    backend: Backend, outputs: dict[str, Tensor], said: str | None, listed: list[str] | None
) -> HeadSpec:
    """Return the one head that shapes, names and a first run leave.

    Raises:
        ModelLoadFailed: None is left, or several are.
        ConfigError: There is no head of the name that the user said.
    """
    picture = backend.inputs[0]
    inputs = {picture.name: picture.shape}
    shapes = {name: value.shape for name, value in outputs.items()}
    classes = None if listed is None else len(listed)
    seen = f"{_seen(backend)}; it answers {_listed({n: list(s) for n, s in shapes.items()})}"
    every = recognise(inputs, shapes)
    fitting = recognise(inputs, shapes, classes=classes) if listed else _of_coco(every)
    if said is not None:
        kind = conventions.kind_of(said)
        if not any(head.kind == kind for head in [*every, *fitting]):
            like = ", ".join(sorted({head.kind for head in every})) or "nothing known"
            raise ModelLoadFailed(
                f"its shapes are those of {like}, not of {said}: {seen}",
                operator_hint="Leave --head out, export the model differently, or describe the "
                "head in a file: --head head.json.",
            )
        others = [head for head in fitting if head.kind != kind]
        every = [head for head in every if head.kind == kind]
        fitting = [head for head in fitting if head.kind == kind]
        if others and not fitting:
            others = probing.narrowed(others, outputs, _size(picture)) or others
            raise _another(said, every, others, seen)
    if not every and not fitting:
        raise ModelLoadFailed(f"this kind of model is not known: {seen}", operator_hint=SUPPORTED)
    left = probing.narrowed(fitting or every, outputs, _size(picture))
    if len(left) == 1:
        return left[0]
    raise _undecided(left or fitting or every, classes, seen)


def _another(said: str, asked: list[HeadSpec], others: list[HeadSpec], seen: str) -> VedetteError:
    """Return the error for labels with which only other families fit than the user said."""
    like = " or ".join(sorted({head.kind for head in others}))
    counts = " or ".join(sorted({str(head.classes) for head in asked})) or "another number of"
    fits = " or ".join(sorted({str(head.classes) for head in others}))
    return ConfigError(
        f"as {said} it would have {counts} classes; as {like} it has {fits}: {seen}",
        operator_hint=f"This looks like {like}: leave --head away. If it really is {said}, give "
        "--labels FILE with one label for each of its classes.",
    )


def _of_coco(heads: list[HeadSpec]) -> list[HeadSpec]:
    """Return those with as many classes as a known list has; without labels there is no other."""
    return [head for head in heads if head.classes in _KNOWN_LISTS]


def _undecided(heads: list[HeadSpec], classes: int | None, seen: str) -> VedetteError:
    """Return the error for a model that several families, or none of so many classes, could be."""
    could = ", ".join(f"{head.kind} with {head.classes} classes" for head in heads)
    if classes is None and len({head.classes for head in heads}) == len(heads) > 0:
        return ConfigError(
            f"nothing says what its classes are; it could be {could}: {seen}",
            operator_hint="Give --labels FILE with one label a line.",
        )
    if classes is not None and all(head.classes != classes for head in heads):
        return ConfigError(
            f"{classes} labels do not fit: it could be {could}: {seen}",
            operator_hint="Give the list that this model was trained with.",
        )
    return ModelLoadFailed(
        f"it could be {could}: {seen}",
        operator_hint="Say which with --head, or describe it in a file: --head head.json.",
    )


def _given_head(said: str | None) -> HeadSpec | None:
    """Return the head in the JSON file that the user named; None where it is no file."""
    if said is None or not said.endswith(".json"):
        return None
    try:
        with Path(said).open("rb") as stream:
            return msgspec.json.decode(stream.read(MAX_HEAD_BYTES), type=HeadSpec)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(
            f"cannot read a head from {said}: {error}",
            operator_hint='Such as {"kind": "yolov8", "classes": 2}; see docs/models.md.',
        ) from error


def _seen(backend: Backend) -> str:
    """Return inputs and outputs in words, free sides as `?`."""
    return f"inputs {_shapes(backend.inputs)}, outputs {_shapes(backend.outputs)}"


def _shapes(infos: tuple[TensorInfo, ...]) -> str:
    return "; ".join(
        f"{info.name} {info.dtype} [{', '.join('?' if s is None else str(s) for s in info.shape)}]"
        for info in infos
    )


def _listed(shapes: dict[str, list[int]]) -> str:
    return "; ".join(f"{name} {shape}" for name, shape in shapes.items())


def _labels(classes: int, listed: list[str] | None, asked: str | None) -> list[str]:
    """Return as many labels as the model has classes.

    Raises:
        ConfigError: The number differs, or nothing says what the classes are.
    """
    if listed is None and classes in _KNOWN_LISTS:
        listed = label_lists.read(_KNOWN_LISTS[classes])
    if listed is None:
        raise ConfigError(
            f"the model has {classes} classes and nothing says what they are",
            operator_hint="Give --labels FILE with one label a line.",
        )
    if len(listed) != classes:
        raise ConfigError(
            f"{asked} has {len(listed)} labels, but the model has {classes} classes",
            operator_hint="Give the list that this model was trained with.",
        )
    return listed
