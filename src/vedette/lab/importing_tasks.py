"""A user's ONNX file of another task than detection as a bundle: classes, vectors, anomalies.

Here: what is found out by one run and what must be said. Not here: detectors (`lab.importing`).
The rule: shapes alone cannot tell logits from a vector, so the task is always said; what a run can
tell (lengths, probabilities) is found out, and how pictures go in is ImageNet's habit unless said.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from vedette.errors import ConfigError, ModelLoadFailed
from vedette.inference import guard, onnx_file
from vedette.inference.backends import Tensor, TensorInfo
from vedette.inference.backends.onnxruntime import OnnxRuntimeBackend
from vedette.inference.bundle import Bundle
from vedette.inference.library import PROVEN
from vedette.inference.manifest import FORMAT, Card, Manifest
from vedette.lab import conventions, scene
from vedette.lab import labels as label_lists
from vedette.lab.assemble import MODEL_FILE, assemble
from vedette.lab.importing import MAX_HEAD_BYTES, Request
from vedette.vision.heads.recognition import input_px
from vedette.vision.picture import Picture
from vedette.vision.preprocess import Preprocess, prepare
from vedette.vision.tasks import Anomaly, Classification, Embedding, Reference, Task
from vedette.vision.tasks.spec import MAX_REFERENCE_VALUES

REFERENCE_FILE: Final = "reference.f32"
KINDS: Final = ("classification", "embedding", "anomaly")
_SUM_ROUNDING: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user said about the task.

    Attributes:
        kind: One of `KINDS`, or a JSON file with the whole task.
        output: Name of the output that counts.
        reference: Raw float32 vectors: prototypes of the labels, or of normal pictures.
        limit: Of an anomaly: the distance whose score is one half.
    """

    kind: str
    output: str = ""
    reference: Path | None = None
    limit: float | None = None


def import_task(path: Path, target: Path, request: Request, asked: Asked) -> Bundle:
    """Write a bundle of the ONNX file at `path` to `target`; return it opened.

    Raises:
        ModelLoadFailed: The file is broken, breaks the runtime, or its outputs are not those of
            the task.
        ConfigError: It cannot be read, or what the user said does not fit it.
    """
    data = onnx_file.read(path)
    onnx_file.look(data)
    guard.prove(data)
    backend = OnnxRuntimeBackend(data, threads=1)
    preprocess = _preprocess(backend.inputs, request)
    tensor, _ = prepare(Picture.from_bgr(scene.render()), preprocess)
    outputs = backend.run({backend.inputs[0].name: tensor})
    rows = b"" if asked.reference is None else _reference(asked.reference)
    task = _task(asked, request, outputs, tensor, len(rows) // 4)
    labels = [] if request.labels is None else label_lists.read(request.labels)
    manifest = Manifest(
        format=FORMAT,
        name=request.name,
        version=request.version,
        model=MODEL_FILE,
        files={},
        labels=labels,
        preprocess=preprocess,
        task=task,
        threshold=0.5 if request.threshold is None else request.threshold,
        card=Card(
            license=request.license,
            source=request.source or path.name,
            made_with="vedette model import",
            limits="Nothing is known about its quality: it was not evaluated here.",
        ),
    )
    made = assemble(target, manifest, data, more={REFERENCE_FILE: rows} if rows else None)
    guard.Proven(target.parent / PROVEN).remember(data, "onnxruntime")
    return made


def _preprocess(inputs: tuple[TensorInfo, ...], request: Request) -> Preprocess:
    """Return ImageNet's habit for the one input, with what the user said in its place."""
    shapes = {info.name: info.shape for info in inputs}
    size = request.size or input_px(shapes)
    if len(inputs) != 1 or size is None:
        raise ModelLoadFailed(
            f"one picture of a fixed size has to go in, not {shapes}",
            operator_hint="Export the model with a fixed input size, or give --size 224x224.",
        )
    proposed = conventions.preprocess(inputs[0], "rf-detr")  # ImageNet's statistics, stretched
    return conventions.override(msgspec.structs.replace(proposed, size=size), request.preprocess)


def _reference(path: Path) -> bytes:
    """Return the file with vectors, if it is one of a sensible size."""
    try:
        if not 0 < path.stat().st_size <= 4 * MAX_REFERENCE_VALUES:
            raise ConfigError(
                f"{path} is empty or larger than {4 * MAX_REFERENCE_VALUES} bytes",
                operator_hint="Write fewer vectors.",
            )
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}",
            operator_hint="Give a file of raw float32: array.astype('<f4').tofile(name).",
        ) from error


def _task(
    asked: Asked, request: Request, outputs: dict[str, Tensor], tensor: Tensor, values: int
) -> Task:
    """Return the task as it was said, completed by what the run showed.

    Raises:
        ConfigError: Nothing that the outputs can mean.
    """
    try:
        if asked.kind.endswith(".json"):
            with Path(asked.kind).open("rb") as stream:
                return msgspec.json.decode(stream.read(MAX_HEAD_BYTES), type=Task)
        output = _chosen(asked.output, outputs)
        fields: dict[str, Any] = {"output": asked.output}
        if asked.kind == "classification":
            fields |= _classes(output, request.activation)
            return Classification(classes=output.size, **fields)
        reference = None
        if values:
            if values % output.size:
                raise ConfigError(
                    f"{values} numbers are no vectors of {output.size}",
                    operator_hint="The reference has to be made with this very model.",
                )
            reference = Reference(file=REFERENCE_FILE, rows=values // output.size)
        if asked.kind == "embedding":
            return Embedding(dimensions=output.size, prototypes=reference, **fields)
        return _anomaly(asked, output, tensor, reference, fields)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the task cannot be as said: {error}",
            operator_hint="docs/models.md describes the fields of a task.",
        ) from error


def _chosen(name: str, outputs: dict[str, Tensor]) -> Tensor:
    """Return the output that counts.

    Raises:
        ConfigError: There is none of that name, or several and none was named.
    """
    found = outputs.get(name) if name or len(outputs) != 1 else next(iter(outputs.values()))
    if found is None:
        shapes = {key: list(value.shape) for key, value in outputs.items()}
        raise ConfigError(
            f"which output counts? There are {shapes}", operator_hint="Name it: --output NAME."
        )
    return found


def _classes(output: Tensor, said: str | None) -> dict[str, Any]:
    """Return activation and whether classes exclude each other, from a run unless it was said."""
    if said is not None:
        return {"activation": said, "exclusive": said != "sigmoid"}
    low, high, total = float(output.min()), float(output.max()), float(output.sum())
    if low < 0 or high > 1:
        return {"activation": "softmax"}
    return {"activation": "none", "exclusive": abs(total - 1) <= _SUM_ROUNDING}


def _anomaly(
    asked: Asked,
    output: Tensor,
    tensor: Tensor,
    reference: Reference | None,
    fields: dict[str, Any],
) -> Anomaly:
    """Return the method that the output's shape says."""
    if asked.limit is None:
        raise ConfigError(
            "an anomaly needs its limit: the distance whose score is one half",
            operator_hint="Measure distances on normal pictures, then give --limit, for example "
            "the one that 99 of 100 stay below.",
        )
    if reference is not None:
        dimensions = {"dimensions": output.size, "reference": reference}
        return Anomaly(method="nearest", limit=asked.limit, **dimensions, **fields)
    method = "reconstruction" if np.shape(output) == np.shape(tensor) else "score"
    return Anomaly(method=method, limit=asked.limit, **fields)
