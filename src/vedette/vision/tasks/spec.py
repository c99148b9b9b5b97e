"""What a bundle says about a model that answers for the whole picture and gives no boxes.

Here: the descriptions of the three tasks, their limits, and the checks of vectors and of reference
files that all of them share. Not here: reading one task's outputs (`classification`, `embedding`,
`anomaly`) and time (`holding`). The rule: a reference file is raw float32, little-endian, row by
row, and exactly as long as its description says, so that there is no format to be attacked.
"""

import math
from typing import Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from vedette.errors import ModelLoadFailed
from vedette.vision.heads.spec import bad

Floats = npt.NDArray[np.float32]
Outputs = dict[str, npt.NDArray[Any]]

MAX_CLASSES: Final = 10_000
MAX_DIMENSIONS: Final = 8192
MAX_ROWS: Final = 10_000
MAX_REFERENCE_VALUES: Final = 16 * 1024 * 1024
MAX_MAP_VALUES: Final = 64 * 1024 * 1024


class Reference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of the bundle with `rows` vectors: raw float32, little-endian, nothing else.

    Raises:
        ValueError: A number of rows that is not 1 to `MAX_ROWS`.
    """

    file: str
    rows: int

    def __post_init__(self) -> None:
        if not 1 <= self.rows <= MAX_ROWS:
            raise ValueError(f"rows must be 1 to {MAX_ROWS}")


class Classification(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="classification",
):
    """One score per class for the whole picture.

    Attributes:
        classes: How many.
        activation: `softmax` or `sigmoid` where the network gives logits, `none` where it gives
            probabilities.
        exclusive: True where a picture is of one class; False where each holds or not by itself.
        output: Name of the output; may be left out where there is only one.

    Raises:
        ValueError: A number of classes that cannot be; or a softmax of classes that do not
            exclude each other.
    """

    classes: int
    activation: Literal["softmax", "sigmoid", "none"] = "softmax"
    exclusive: bool = True
    output: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.classes <= MAX_CLASSES:
            raise ValueError(f"classes must be 1 to {MAX_CLASSES}")
        if self.activation == "softmax" and not self.exclusive:
            raise ValueError("a softmax makes classes exclude each other")


class Embedding(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="embedding",
):
    """A vector per picture; with named prototypes beside it, also scenes without training.

    Attributes:
        dimensions: Length of the vector.
        output: Name of the output; may be left out where there is only one.
        prototypes: Vectors that stand for the labels.
        labels_of: Label per prototype, as its position; empty: the first row is the first label,
            and so on.
        temperature: Similarities are divided by it before the softmax.
        min_similarity: Best cosine below which the picture is of no label at all.

    Raises:
        ValueError: A number that no vector can be read with.
    """

    dimensions: int
    output: str = ""
    prototypes: Reference | None = None
    labels_of: list[int] = []
    temperature: float = 0.01
    min_similarity: float = -1.0

    def __post_init__(self) -> None:
        _check_reference(self.dimensions, self.prototypes)
        if not 1e-6 <= self.temperature <= 1e6:
            raise ValueError("temperature must be 0.000001 to 1000000")
        if not -1 <= self.min_similarity <= 1:
            raise ValueError("min_similarity must be -1 to 1")
        rows = self.prototypes.rows if self.prototypes else 0
        if self.labels_of and len(self.labels_of) != rows:
            raise ValueError("labels_of must have one entry per prototype")
        if any(not 0 <= label < MAX_CLASSES for label in self.labels_of):
            raise ValueError("labels_of names a label that cannot be")


class Anomaly(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="anomaly",
):
    """How unlike a picture is to those that the model was made from, 0 to 1.

    Attributes:
        method: `reconstruction`: the network gives its input again, and what it cannot give is
            strange. `score`: it gives a distance itself, one number or a map. `mahalanobis` and
            `nearest`: it gives a vector, which is compared with those in `reference`.
        limit: The distance whose score is one half; score = distance / (distance + limit).
        output: Name of the output; may be left out where there is only one.
        cell_px: Side of the squares that errors of pixels are averaged over; 1: each by itself.
        area: Part of the squares, the worst ones, whose mean is the distance.
        dimensions: Length of the vector.
        reference: For `nearest` the vectors of normal pictures. For `mahalanobis` their mean, then
            the rows of a matrix W with WᵀW the inverse of their covariance.
        neighbours: How many nearest vectors are averaged over.
        metric: Of `nearest`; `cosine` is one less the cosine.

    Raises:
        ValueError: A number that nothing can be scored with, or a reference missing.
    """

    method: Literal["reconstruction", "score", "mahalanobis", "nearest"]
    limit: float
    output: str = ""
    cell_px: int = 8
    area: float = 0.02
    dimensions: int = 1
    reference: Reference | None = None
    neighbours: int = 1
    metric: Literal["euclidean", "cosine"] = "euclidean"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.limit) and self.limit > 0):
            raise ValueError("limit must be finite and above 0")
        if not 1 <= self.cell_px <= 1024:
            raise ValueError("cell_px must be 1 to 1024")
        if not 0 < self.area <= 1:
            raise ValueError("area must be above 0 and at most 1")
        _check_reference(self.dimensions, self.reference)
        rows = self.reference.rows if self.reference else 0
        least = {"mahalanobis": 2, "nearest": 1}.get(self.method, 0)
        if rows < least:
            raise ValueError(f"{self.method} needs a reference of at least {least} rows")
        if not 1 <= self.neighbours <= max(rows, 1):
            raise ValueError("neighbours must be 1 to the number of reference rows")


Task = Classification | Embedding | Anomaly


def reference_of(task: Task) -> Reference | None:
    """Return the file that the task compares with, None where it has none."""
    match task:
        case Embedding():
            return task.prototypes
        case Anomaly():
            return task.reference
        case _:
            return None


def parse_reference(data: bytes, reference: Reference, dimensions: int) -> Floats:
    """Return the vectors in a reference file: float32, (rows, dimensions), finite.

    Raises:
        ModelLoadFailed: Another length than described, or values that are not finite.
    """
    expected = reference.rows * dimensions * 4
    if len(data) != expected:
        raise ModelLoadFailed(
            f"{reference.file} has {len(data)} bytes, but {reference.rows} vectors of {dimensions} "
            f"are {expected}",
            operator_hint="Write it as raw little-endian float32, row by row: "
            "array.astype('<f4').tobytes().",
        )
    values = np.frombuffer(data, "<f4").astype(np.float32).reshape(reference.rows, dimensions)
    if not np.isfinite(values).all():
        raise ModelLoadFailed(
            f"{reference.file} holds values that are not finite",
            operator_hint="Make the vectors again; one of the pictures gave no usable one.",
        )
    return values


def encode_reference(rows: npt.NDArray[Any]) -> bytes:
    """Return the file of these vectors, (rows, dimensions)."""
    return np.ascontiguousarray(rows, "<f4").tobytes()


def take(output: str, outputs: Outputs) -> npt.NDArray[Any]:
    """Return the output of that name, or the only one.

    Raises:
        BadModelOutput: There is none of that name, or several and no name.
    """
    if output in outputs:
        return outputs[output]
    if output or len(outputs) != 1:
        raise bad(f"no output named {output!r}, but {sorted(outputs)}")
    return next(iter(outputs.values()))


def take_vector(output: str, outputs: Outputs, length: int) -> Floats:
    """Return one vector: float32, (length,), finite; sides of one around it are taken off.

    Raises:
        BadModelOutput: No such output, another length, NaN or infinity.
    """
    found = take(output, outputs)
    shape = found.shape
    if found.size != length or shape[:1] != (1,) or sorted(shape)[:-1] != [1] * (len(shape) - 1):
        raise bad(f"the output has shape {shape}, expected (1, {length})")
    return finite(found).reshape(length)


def finite(values: npt.NDArray[Any]) -> Floats:
    """Return the values as float32.

    Raises:
        BadModelOutput: NaN, infinity, or too large for a float32.
    """
    with np.errstate(all="ignore"):
        found = np.asarray(values, np.float32)
    if not np.isfinite(found).all():
        raise bad("the output holds values that are not finite")
    return found


def _check_reference(dimensions: int, reference: Reference | None) -> None:
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise ValueError(f"dimensions must be 1 to {MAX_DIMENSIONS}")
    if reference and reference.rows * dimensions > MAX_REFERENCE_VALUES:
        raise ValueError(f"a reference may hold {MAX_REFERENCE_VALUES} values at most")
