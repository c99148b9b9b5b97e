"""A thumbnail that shows the place and nobody in it.

Here: the background of the last minutes as a median of sparse samples, and its irreversible
reduction to a few coarse cells. Not here: whether it may leave the site (the signed pixel policy)
and who asked (`edge.agent`). The rules: it never relies on a detector finding the people;
passers-by are not in it because they are in the minority at every place; and of whoever stood still
all the time only cells remain. Nothing is shown before a median of the samples can mean that.
"""

from collections import deque
from dataclasses import dataclass, field

import cv2
import msgspec
import numpy as np

from vedette.vision.picture import Picture, Plane

# One JPEG block: cells that are whole blocks of one colour come out of the encoder exactly flat.
BLOCK_PX = 8
# Of cells: a JPEG ends at 65,500 pixels, however tall and narrow a camera's picture is.
MAX_ROWS = 4096


class ThumbnailSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the background is sampled and shown.

    Attributes:
        every_s: Least time between two samples.
        window_s: Samples older than this, seen from the newest, go.
        least_samples: No thumbnail from fewer.
        sample_px: Width of a sample; a thumbnail never has more cells than this in a row.
        levels: Values that each colour channel of a cell may take.
        view_px: Width that the picture is enlarged to, roughly, by repeating cells.
    """

    every_s: float = 5.0
    window_s: float = 300.0
    least_samples: int = 12
    sample_px: int = 128
    levels: int = 16
    view_px: int = 384

    def __post_init__(self) -> None:
        if self.least_samples < 3:
            raise ValueError("a median of fewer than three samples shows whoever was there")
        if not (self.every_s > 0 and self.window_s >= self.every_s * self.least_samples):
            raise ValueError("the window must hold at least `least_samples` samples")
        if not (8 <= self.sample_px <= 512 and 2 <= self.levels <= 64):
            raise ValueError("sample_px must be 8 to 512 and levels 2 to 64")


@dataclass(slots=True)
class BackgroundMedian:
    """The last minutes of one camera as a few small samples.

    Memory: 60 samples of 128 columns are about 2 MB.

    Thread: confined to the caller's.
    """

    settings: ThumbnailSettings = field(default_factory=ThumbnailSettings)
    _samples: deque[tuple[float, Plane]] = field(init=False, default_factory=deque)

    def add(self, picture: Picture, t_s: float) -> bool:
        """Return whether the picture was taken as a sample: most are not, it was too soon.

        Args:
            picture: Of this camera; another size starts anew.
            t_s: Seconds on a clock that never goes back.
        """
        if self._samples and 0 <= t_s - self._samples[-1][0] < self.settings.every_s:
            return False
        sample = picture.to_bgr(_reduced(picture.size, self.settings.sample_px))
        if self._samples and (self._samples[-1][1].shape != sample.shape or self.newest_t_s > t_s):
            self._samples.clear()
        self._samples.append((t_s, sample))
        while t_s - self._samples[0][0] > self.settings.window_s:
            self._samples.popleft()
        return True

    @property
    def newest_t_s(self) -> float:
        """When the newest sample was taken, on the clock of `add`; minus infinity without any."""
        return self._samples[-1][0] if self._samples else -float("inf")

    def thumbnail(self, width_px: int = 48) -> bytes | None:
        """Return the background as JPEG of at most `width_px` cells a row; None if not known yet.

        Cells are flat squares: enlarging them for viewing adds nothing. No metadata is written.

        Raises:
            ValueError: `width_px` is less than 1.
        """
        if width_px < 1:
            raise ValueError("a thumbnail needs at least one cell a row")
        if len(self._samples) < self.settings.least_samples:
            return None
        background = np.median([sample for _, sample in self._samples], axis=0).astype(np.uint8)
        cells = _cells(background, width_px, self.settings.levels)
        return _jpeg(cells, self.settings.view_px)


def reduced(luma: Plane, width_px: int = 48, settings: ThumbnailSettings | None = None) -> bytes:
    """Return a grey plane, uint8 (h, w), as JPEG of at most `width_px` cells a row.

    For the scene that a person pinned: it shows nobody already, and leaves no finer than the rest.

    Raises:
        ValueError: `width_px` is less than 1.
    """
    if width_px < 1:
        raise ValueError("a thumbnail needs at least one cell a row")
    at = settings or ThumbnailSettings()
    cells = _cells(np.repeat(luma[..., None], 3, axis=2), width_px, at.levels)
    return _jpeg(cells, at.view_px)


def _reduced(size_px: tuple[int, int], width_px: int) -> tuple[int, int]:
    """Return the size at `width_px` columns, never enlarged, of the same proportions."""
    width, height = size_px
    columns = min(width, width_px)
    return columns, min(MAX_ROWS, max(1, round(height * columns / width)))


def _cells(bgr: Plane, width_px: int, levels: int) -> Plane:
    """Return uint8 BGR (rows, columns, 3): the mean of each cell, rounded to one of `levels`."""
    size = _reduced((bgr.shape[1], bgr.shape[0]), width_px)
    mean = np.asarray(cv2.resize(bgr, size, interpolation=cv2.INTER_AREA), np.float32)
    step = 255 / (levels - 1)
    return (np.rint(mean / step) * step).astype(np.uint8)


def _jpeg(cells: Plane, view_px: int) -> bytes:
    """Return a JPEG in which every cell is a square of whole blocks, without chroma subsampling."""
    factor = BLOCK_PX * max(1, round(view_px / (max(cells.shape[:2]) * BLOCK_PX)))
    shown = cells.repeat(factor, axis=0).repeat(factor, axis=1)
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        90,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    _, encoded = cv2.imencode(".jpg", shown, options)
    return encoded.tobytes()
