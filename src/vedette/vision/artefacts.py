"""What a sensor and an encoder add to a picture: noise, and the edges of 8x8 blocks.

Here: two numbers, measured on luma at the stream's own size, on a sample of it. Not here: whether
they are too high (`vision.quality`). The rule: averaging a picture down hides both, so neither is
ever measured on a reduced one.
"""

import math
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from vedette.vision.picture import Plane

TILES: Final = 8
TILE_PX: Final = 16
BLOCK_PX: Final = 8
"""Side of the blocks that JPEG and MPEG-2 transform, and of H.264's larger ones."""

_ROW_STEP: Final = 16
_STEP_LIMIT: Final = 24
"""A larger step between neighbours is an edge of the scene, not of a block."""
_LEAST_TILES: Final = 9
_USABLE_LUMA: Final = (24.0, 228.0)
"""Clipped pixels have no noise: a tile outside of this says nothing about it."""

# A difference of two Laplacians: blind to planes, ramps and straight edges, not to noise.
_MASK: Final = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_MASK_GAIN: Final = 6.0 * math.sqrt(2 / math.pi)
"""Mean of the mask's absolute answer to noise of standard deviation 1: sqrt of its summed squares,
36, times the mean of a half-normal distribution."""


def noise_level(luma: Plane) -> float | None:
    """Return the standard deviation of the noise in grey levels; None where it cannot be told.

    Args:
        luma: uint8, (h, w), not reduced. Below 32 px a side there is too little of it.

    The quarter of 64 tiles with least is taken for free of texture. A scene that is fine texture
    all over (gravel, foliage) reads as noisier than it is; what an encoder smoothed away is gone.

    Source: J. Immerkær, "Fast noise variance estimation", Computer Vision and Image Understanding
    64(2), 1996, here per tile with a low quantile over tiles instead of over the whole picture.
    """
    height, width = luma.shape
    if min(height, width) < 2 * TILE_PX:
        return None
    sample = luma[np.ix_(_places(height), _places(width))]
    answer = cv2.filter2D(sample, cv2.CV_32F, _MASK)
    tiles = np.abs(answer).reshape(TILES, TILE_PX, TILES, TILE_PX)[:, 1:-1, :, 1:-1]
    means = sample.reshape(TILES, TILE_PX, TILES, TILE_PX).mean((1, 3))
    usable = (means > _USABLE_LUMA[0]) & (means < _USABLE_LUMA[1])
    found = tiles.mean((1, 3))[usable] / _MASK_GAIN
    return float(np.percentile(found, 25)) if found.size >= _LEAST_TILES else None


def block_edges(luma: Plane) -> tuple[float, float] | None:
    """Return how steps across block edges compare with steps inside: (ratio, grey levels more).

    Args:
        luma: uint8, (h, w), not reduced and not resized since it was encoded; None below 64 px.

    Source: after the idea of Z. Wang, A. C. Bovik and B. L. Evans, "Blind measurement of blocking
    artifacts in images", ICIP 2000, in its plainest form: means of horizontal differences.
    """
    height, width = luma.shape
    if min(height, width) < 8 * BLOCK_PX:
        return None
    rows = luma[BLOCK_PX // 2 : height - BLOCK_PX // 2 : _ROW_STEP]
    steps = np.minimum(cv2.absdiff(rows[:, 1:], rows[:, :-1]), _STEP_LIMIT)
    whole = steps.shape[1] // BLOCK_PX * BLOCK_PX
    by_place = steps[:, :whole].reshape(-1, BLOCK_PX).mean(0)
    across, inside = float(by_place[-1]), float(by_place[:-1].mean())
    # A tenth of a level keeps a picture without any steps from dividing by nothing.
    return across / (inside + 0.1), across - inside


def _places(length: int) -> npt.NDArray[np.intp]:
    """Return the rows or columns of `TILES` tiles spread over a side."""
    starts = np.linspace(0, length - TILE_PX, TILES).astype(np.intp)
    return (starts[:, None] + np.arange(TILE_PX)[None, :]).ravel()
