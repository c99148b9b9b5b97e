"""From what a network gave to how strange a picture is, and where.

    reconstruction, score map     mean over the worst squares         (rows, columns) of errors
    score                         the number itself
    mahalanobis                   |W(x - mean)| / sqrt(rows of W)
    nearest                       mean distance to the k nearest

Source: Mahalanobis, "On the generalized distance in statistics" (1936); nearest neighbours as in
Roth et al., "Towards Total Recall in Industrial Anomaly Detection" (2022), without its coreset.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vedette.errors import ModelLoadFailed
from vedette.vision.heads.spec import bad
from vedette.vision.preprocess import Transform
from vedette.vision.tasks.embedding import normalised
from vedette.vision.tasks.spec import (
    MAX_MAP_VALUES,
    Anomaly,
    Floats,
    Outputs,
    finite,
    take,
    take_vector,
)

Box = tuple[float, float, float, float]
Layout = Literal["NCHW", "NHWC"]


@dataclass(frozen=True, slots=True, eq=False)
class Strangeness:
    """How unlike a picture is to the normal ones.

    Attributes:
        score: 0–1; one half at the model's limit.
        distance: What the score was made of, in the method's own unit.
        cells: float32, (rows, columns): mean error per square of the picture; None where the
            method does not know where.
        box: xyxy in pixels of the picture around the squares above the limit; None: none is.
    """

    score: float
    distance: float
    cells: Floats | None = None
    box: Box | None = None

    def moved(self, right_px: int, down_px: int) -> "Strangeness":
        """Return the same in a picture of which this one was cut out so far from its corner."""
        if self.box is None:
            return self
        x1, y1, x2, y2 = self.box
        box = (x1 + right_px, y1 + down_px, x2 + right_px, y2 + down_px)
        return replace(self, box=box)


def fitted(spec: Anomaly, reference: Floats | None) -> Floats | None:
    """Return the reference as `decode` wants it, float32 (rows, dimensions).

    Raises:
        ModelLoadFailed: With cosine, a vector of length zero: it has no direction.
    """
    if reference is None or spec.method != "nearest" or spec.metric != "cosine":
        return reference
    if not np.linalg.norm(reference, axis=1).all():
        raise ModelLoadFailed(
            "a reference vector is zero and has no direction",
            operator_hint="Leave it out, or use metric euclidean.",
        )
    return normalised(reference)


def decode(
    spec: Anomaly,
    reference: Floats | None,
    outputs: Outputs,
    tensor: npt.NDArray[Any],
    transform: Transform,
    *,
    layout: Layout,
) -> Strangeness:
    """Return how strange the picture is.

    Args:
        spec: The method.
        reference: As `fitted` returned it.
        outputs: Of the network.
        tensor: Its input, of one picture.
        transform: Where the picture lies in it.
        layout: Of the input.

    Raises:
        BadModelOutput: NaN, infinity, a negative distance or a wrong shape.
    """
    if spec.method == "reconstruction":
        return _spread(spec, _errors(spec, outputs, tensor, layout), transform)
    if spec.method == "score":
        found = take(spec.output, outputs)
        if found.size != 1:
            return _spread(spec, _map(found, transform), transform)
        return _scored(spec, float(finite(found).reshape(())))
    assert reference is not None
    vector = take_vector(spec.output, outputs, spec.dimensions)
    return _scored(spec, _distance(spec, reference, vector))


def _scored(
    spec: Anomaly, distance: float, cells: Floats | None = None, box: Box | None = None
) -> Strangeness:
    if not (math.isfinite(distance) and distance >= 0):
        raise bad(f"a distance of {distance:.4g}")
    return Strangeness(distance / (distance + spec.limit), distance, cells, box)


def _distance(spec: Anomaly, reference: Floats, vector: Floats) -> float:
    x, rows = vector.astype(np.float64), reference.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        if spec.method == "mahalanobis":
            return float(np.sqrt(np.mean((rows[1:] @ (x - rows[0])) ** 2)))
        if spec.metric == "cosine":
            away = np.maximum(0.0, 1.0 - rows @ normalised(vector).astype(np.float64))
        else:
            away = np.linalg.norm(rows - x, axis=1)
        return float(np.partition(away, spec.neighbours - 1)[: spec.neighbours].mean())


def _errors(spec: Anomaly, outputs: Outputs, tensor: npt.NDArray[Any], layout: Layout) -> Floats:
    """Return the squared error of each pixel, mean over its channels: float32, (h, w)."""
    found = take(spec.output, outputs)
    if found.shape != tensor.shape:
        raise bad(f"the output has shape {found.shape}, expected the input's {tensor.shape}")
    away = finite(found)[0] - np.asarray(tensor, np.float32)[0]
    with np.errstate(over="ignore"):
        return finite((away * away).mean(axis=0 if layout == "NCHW" else 2))


def _map(found: npt.NDArray[Any], transform: Transform) -> Floats:
    """Return a map of errors that the network made, at the input's size: float32, (h, w)."""
    width, height = transform.input_px
    sides = [side for side in found.shape if side != 1]
    if len(sides) != 2 or found.shape[0] != 1 or found.size > MAX_MAP_VALUES:
        raise bad(f"the output has shape {found.shape}, expected a number or a map")
    rows = np.arange(height) * sides[0] // height
    columns = np.arange(width) * sides[1] // width
    return finite(found).reshape(sides)[rows[:, None], columns]


def _spread(spec: Anomaly, errors: Floats, transform: Transform) -> Strangeness:
    """Return the score of errors (h, w) at the input's size; padding around the picture is not."""
    left, top = (int(side) for side in transform.offset_px)
    width, height = transform.content_px
    cells = _pooled(errors[top : top + height, left : left + width], spec.cell_px)
    count = max(1, math.ceil(spec.area * cells.size))
    worst = np.partition(cells.ravel(), cells.size - count)[-count:]
    distance = float(worst.astype(np.float64).mean())
    return _scored(spec, distance, cells, _around(spec, cells, transform))


def _pooled(errors: Floats, side: int) -> Floats:
    """Return the mean over squares of `side`, smaller ones at the right and bottom edges."""
    height, width = errors.shape
    rows, columns = np.arange(0, height, side), np.arange(0, width, side)
    sums = np.add.reduceat(np.add.reduceat(errors.astype(np.float64), rows, 0), columns, 1)
    sizes = np.minimum(side, height - rows)[:, None] * np.minimum(side, width - columns)
    return (sums / sizes).astype(np.float32)


def _around(spec: Anomaly, cells: Floats, transform: Transform) -> Box | None:
    """Return the box around the squares above the limit, in pixels of the picture."""
    rows, columns = np.nonzero(cells > spec.limit)
    if not len(rows):
        return None
    width, height = transform.picture_px
    across, down = (spec.cell_px / scale for scale in transform.scale)
    return (
        float(columns.min() * across),
        float(rows.min() * down),
        float(min(width, (columns.max() + 1) * across)),
        float(min(height, (rows.max() + 1) * down)),
    )
