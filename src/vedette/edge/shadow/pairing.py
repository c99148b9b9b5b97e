"""Which objects of two models are the same one. Pure.

Here: matching boxes by class and overlap. Not here: which boxes count (`edge.serving`). The rule:
every box is in at most one pair, pairs are of one class by name, and the matching is the one with
the largest sum of overlaps, so the order of boxes does not matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vedette.vision import geometry
from vedette.vision.assignment import assign_edges

LEAST_IOU: Final = 0.5
"""Of two boxes of one object, as in the detection benchmarks of the field."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What one model found and counts.

    Attributes:
        boxes_xyxy: float32, (n, 4), picture pixels.
        confidence: float32, (n,), 0 to 1.
        labels: The class of each, by name.
    """

    boxes_xyxy: npt.NDArray[np.float32]
    confidence: npt.NDArray[np.float32]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Pairing:
    """Who is whom, by position; and who is nobody."""

    pairs: tuple[tuple[int, int], ...]
    only_a: tuple[int, ...]
    only_b: tuple[int, ...]

    @property
    def differs(self) -> bool:
        """Whether one model found what the other did not."""
        return bool(self.only_a or self.only_b)


def pair(a: Found, b: Found, *, least_iou: float = LEAST_IOU) -> Pairing:
    """Return the pairing of largest total overlap, among boxes of one class that overlap enough."""
    if not len(a) or not len(b):
        return Pairing((), tuple(range(len(a))), tuple(range(len(b))))
    overlap = iou(a.boxes_xyxy, b.boxes_xyxy) * _alike(a.labels, b.labels)
    rows, columns = np.nonzero(overlap >= least_iou)
    chosen = assign_edges(rows, columns, overlap[rows, columns])
    pairs = tuple((int(rows[k]), int(columns[k])) for k in chosen)
    of_a, of_b = {i for i, _ in pairs}, {j for _, j in pairs}
    return Pairing(
        pairs,
        tuple(i for i in range(len(a)) if i not in of_a),
        tuple(j for j in range(len(b)) if j not in of_b),
    )


def iou(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return intersection over union of each box (n, 4) with each (m, 4), (n, m); 0 if empty."""
    return geometry.box_overlap(a.astype(np.float64), b.astype(np.float64))


def _alike(a: Sequence[str], b: Sequence[str]) -> npt.NDArray[np.bool_]:
    return np.array([[one == other for other in b] for one in a], np.bool_)
