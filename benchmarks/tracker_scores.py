"""How well tracks fit the truth: MOTA, IDF1, HOTA and switches, from one pass over the boxes.

Own arithmetic, because a table of many trackers, places and rates is only bearable when one score
takes milliseconds; `bench_tracker.py` checks MOTA and IDF1 against `motmetrics` in the same run.

Source: K. Bernardin, R. Stiefelhagen, "Evaluating Multiple Object Tracking Performance: The CLEAR
MOT Metrics", 2008 (MOTA); E. Ristani et al., "Performance Measures and a Data Set for Multi-Target,
Multi-Camera Tracking", 2016 (IDF1); J. Luiten et al., "HOTA: A Higher Order Metric for Evaluating
Multi-Object Tracking", IJCV 2021.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from vedette.vision.geometry import box_overlap

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
FIT = 0.5
ALPHAS = np.arange(0.05, 0.99, 0.05)


@dataclass
class Score:
    """Sums over frames and sequences; identities of one sequence never meet those of another."""

    truths: int = 0
    boxes: int = 0
    hits: int = 0
    switches: int = 0
    idtp: int = 0
    hota_tp: Floats = field(default_factory=lambda: np.zeros(len(ALPHAS)))
    hota_association: Floats = field(default_factory=lambda: np.zeros(len(ALPHAS)))

    def __add__(self, other: "Score") -> "Score":
        return Score(
            *(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__)
        )

    @property
    def mota(self) -> float:
        """What is right of all that is true, less what is false and each switch."""
        missed, false = self.truths - self.hits, self.boxes - self.hits
        return 1.0 - (missed + false + self.switches) / max(self.truths, 1)

    @property
    def idf1(self) -> float:
        """How much of the boxes bears the identity of its person."""
        return 2.0 * self.idtp / max(self.truths + self.boxes, 1)

    @property
    def hota(self) -> float:
        """Detection and association in balance, over all demands on the overlap."""
        tp = self.hota_tp
        detection = tp / np.maximum(self.truths + self.boxes - tp, 1.0)
        association = self.hota_association / np.maximum(tp, 1.0)
        return float(np.sqrt(detection * association).mean())

    def row(self) -> dict[str, float]:
        """Return the figures by name."""
        return {
            "mota": round(self.mota, 4),
            "idf1": round(self.idf1, 4),
            "hota": round(self.hota, 4),
            "switches": self.switches,
            "recall": round(self.hits / max(self.truths, 1), 4),
            "precision": round(self.hits / max(self.boxes, 1), 4),
        }


Frame = tuple[Ids, Floats, Ids, Floats]  # true ids, true boxes, ids, boxes


def score(frames: list[Frame]) -> Score:
    """Return the score of one sequence."""
    true_of = {int(i): n for n, i in enumerate(np.unique(_all(frames, 0)))}
    own_of = {int(i): n for n, i in enumerate(np.unique(_all(frames, 2)))}
    result = Score()
    together = np.zeros((len(true_of), len(own_of)))  # frames in which they fit
    alike = np.zeros((len(true_of), len(own_of)))  # HOTA's global alignment
    true_count, own_count = np.zeros(len(true_of)), np.zeros(len(own_of))
    known: dict[int, int] = {}
    overlaps = []
    for true_ids, true_boxes, own_ids, own_boxes in frames:
        rows = np.array([true_of[int(i)] for i in true_ids], np.intp)
        columns = np.array([own_of[int(i)] for i in own_ids], np.intp)
        overlap = box_overlap(true_boxes, own_boxes)
        overlaps.append((rows, columns, overlap))
        result.truths, result.boxes = result.truths + len(rows), result.boxes + len(columns)
        true_count[rows] += 1
        own_count[columns] += 1
        together[np.ix_(rows, columns)] += overlap >= FIT
        total = overlap.sum(axis=0)[None] + overlap.sum(axis=1)[:, None] - overlap
        alike[np.ix_(rows, columns)] += np.where(total > 0, overlap / np.maximum(total, 1e-9), 0)
        hits, switches = _clear(rows, columns, overlap, known)
        result.hits, result.switches = result.hits + hits, result.switches + switches
    result.idtp = int(together[linear_sum_assignment(together, maximize=True)].sum())
    shares = alike / np.maximum(true_count[:, None] + own_count[None] - alike, 1e-9)
    _hota(result, overlaps, shares, true_count, own_count)
    return result


def _all(frames: list[Frame], which: int) -> Ids:
    return np.concatenate([np.asarray(f[which], np.int64) for f in frames])


def _clear(
    rows: npt.NDArray[np.intp],
    columns: npt.NDArray[np.intp],
    overlap: Floats,
    known: dict[int, int],
) -> tuple[int, int]:
    """Return hits and switches of one frame: pairs that still fit stay, the rest by overlap."""
    column_at = {int(c): n for n, c in enumerate(columns)}
    free = np.where(overlap >= FIT, overlap, 0.0)
    pairs = []
    for n, r in enumerate(rows.tolist()):
        m = column_at.get(known.get(r, -1))
        if m is not None and free[n, m] > 0:
            pairs.append((n, m))
            free[n, :] = free[:, m] = 0.0
    # as in motmetrics: as many pairs as possible, then the largest overlap
    for n, m in zip(*linear_sum_assignment((free > 0) * 100.0 + free, maximize=True), strict=True):
        if free[n, m] > 0:
            pairs.append((int(n), int(m)))
    switches = 0
    for n, m in pairs:
        r, c = int(rows[n]), int(columns[m])
        switches += known.get(r, c) != c
        known[r] = c
    return len(pairs), switches


def _hota(
    result: Score,
    overlaps: list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats]],
    shares: Floats,
    true_count: Floats,
    own_count: Floats,
) -> None:
    matches = np.zeros((len(ALPHAS), *shares.shape))
    for rows, columns, overlap in overlaps:
        if not overlap.size:
            continue
        n, m = linear_sum_assignment(shares[np.ix_(rows, columns)] * overlap, maximize=True)
        for a, alpha in enumerate(ALPHAS):
            fits = overlap[n, m] >= alpha - 1e-9
            matches[a, rows[n[fits]], columns[m[fits]]] += 1
    union = np.maximum(true_count[:, None] + own_count[None] - matches, 1.0)
    result.hota_tp = matches.sum(axis=(1, 2))
    result.hota_association = (matches * matches / union).sum(axis=(1, 2))
