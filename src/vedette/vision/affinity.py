"""How well each box fits each track: likelihood, in place of overlap.

Here: the weights of the pairs that may be matched, as a sparse list. Not here: which of them are
chosen (`assignment`) and who may be matched when (`tracking`).

The rule: the weight of a pair is the logarithm of how much better the track explains the box than
chance does: the filter's density of the box, over the density of boxes that belong to no track.
Where that is below zero there is no pair. The gate and the score are so one thing, and both follow
from the filter's doubt: narrow for a steady track at 30 looks a second, wide after a gap or at one
look in two seconds, where overlaps are zero for everybody. A track in doubt cannot take boxes from
one that is sure of itself, because its density is thin wherever it is wide.

Lengths are in box sizes (the square root of the area) and shapes in logarithms, so that the same
numbers hold near and far.

Source: Y. Bar-Shalom, X. R. Li, "Multitarget-Multisensor Tracking: Principles and Techniques",
1995 (likelihood ratio of a measurement against false alarms and new targets; global nearest
neighbour).
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from vedette.vision.kalman import BoxMotion

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

_LOG_TWO_PI: Final = math.log(2.0 * math.pi)


def pairs(
    motion: BoxMotion, centres: Floats, *, strangers: float, handicap: Floats
) -> tuple[Rows, Rows, Floats]:
    """Return the tracks and boxes that may belong together, and how well they fit.

    Args:
        motion: The n tracks, at the time of the boxes.
        centres: float64, (m, 4), cx, cy, w, h in pixels; sides above zero.
        strangers: Density of boxes that belong to no track.
        handicap: float64, (n,), taken off the fit of each track: who is long unseen may be gone.

    Returns:
        Track, box, and fit above zero of each pair; (k,) each.
    """
    here = motion.position
    area = here[:, 2] * here[:, 3]
    variance = motion.spread()
    place, shape = variance[:, :2], variance[:, 2:] / here[:, 2:] ** 2
    spread = place[:, 0] * place[:, 1] * shape[:, 0] * shape[:, 1] / area**2
    best = -2.0 * _LOG_TWO_PI - 0.5 * np.log(spread) - math.log(strangers) - handicap
    # what remains above zero lies within this many standard deviations
    reach = np.sqrt(2.0 * np.maximum(best, 0.0))[:, None] * np.sqrt(place)
    near = np.abs(here[:, None, 0] - centres[None, :, 0]) <= reach[:, :1]
    near &= np.abs(here[:, None, 1] - centres[None, :, 1]) <= reach[:, 1:]
    rows, columns = np.nonzero(near)
    off = centres[columns] - here[rows]
    off[:, 2:] = np.log(centres[columns, 2:] / here[rows, 2:])
    off *= off
    off[:, :2] /= place[rows]
    off[:, 2:] /= shape[rows]
    fit = best[rows] - 0.5 * off.sum(axis=1)
    fits = fit > 0.0
    return rows[fits], columns[fits], fit[fits]
