"""By how much a picture's content is shifted against another's, whatever the light.

Here: phase correlation of two edge maps, with a measure of how sure it is. Not here: what follows
from a shift (`vision.tamper`). The rule: the answer is never without its strength; a peak that does
not stand out of the rest is no shift, and what overlays of the camera itself (clock, name) say at
the picture's border is windowed away.

Source: C. D. Kuglin and D. C. Hines, "The phase correlation image alignment method", 1975. The
strength is the peak-to-sidelobe ratio of D. S. Bolme et al., "Visual object tracking using adaptive
correlation filters", CVPR 2010.
"""

import functools
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Spectrum = npt.NDArray[np.complex64]

_PASSED: Final = 0.1
"""Standard deviation of the low-pass in cycles per pixel: a small map's finest detail is noise."""

_OVERLAY: Final = 0.12
"""Part of the height at the top and at the bottom that is left out: cameras write their clock and
name there, which stay in place wherever the camera looks."""

_PEAK_PX: Final = 6
"""So many pixels on each side belong to the peak and not to what it stands out of."""


@dataclass(frozen=True, slots=True)
class Shift:
    """Where the content of one picture lies in another.

    Attributes:
        right: Part of the picture's width by which the content lies further right, -0.5 to 0.5.
        down: Part of its height by which it lies further down, -0.5 to 0.5.
        strength: Height of the correlation's peak over the mean of the rest, in the rest's standard
            deviations. Measured (benchmarks/bench_quality.py): the same scene mostly above 20,
            under noisy infrared light 10 and more; unrelated scenes at most 9.1 near no shift at
            all and, now and then, up to 13.1 elsewhere.
    """

    right: float
    down: float
    strength: float

    @property
    def size(self) -> float:
        """The larger of both parts, 0 to 0.5."""
        return max(abs(self.right), abs(self.down))


def spectrum(edges: Floats) -> Spectrum:
    """Return the spectrum of an edge map (h, w) under its window, for `register`."""
    window, _ = _shapes(edges.shape[0], edges.shape[1])
    return np.fft.rfft2(edges * window).astype(np.complex64, copy=False)


def register(reference: Spectrum, edges: Floats) -> Shift:
    """Return the shift of `edges` (h, w) against what `reference` is the spectrum of.

    The peak is found to a fraction of a pixel by a parabola through it and its neighbours. A map
    without any edge gives strength 0.
    """
    height, width = edges.shape
    _, passed = _shapes(height, width)
    cross = spectrum(edges) * np.conj(reference)
    size = np.abs(cross)
    most = float(size.max())
    if most <= 0:
        return Shift(0.0, 0.0, 0.0)
    # Frequencies that are not there have no phase to speak of.
    surface = np.fft.irfft2(cross / (size + 1e-6 * most) * passed, s=(height, width))
    row, column = divmod(int(surface.argmax()), width)
    down = row + _vertex(*(float(surface[(row + n) % height, column]) for n in (-1, 0, 1)))
    right = column + _vertex(*(float(surface[row, (column + n) % width]) for n in (-1, 0, 1)))
    return Shift(
        right=(right if right <= width / 2 else right - width) / width,
        down=(down if down <= height / 2 else down - height) / height,
        strength=_strength(surface, row, column),
    )


def _strength(surface: npt.NDArray[np.floating], row: int, column: int) -> float:
    """Return how far the peak stands out of what is not near it."""
    height, width = surface.shape
    near = np.arange(-_PEAK_PX, _PEAK_PX + 1)
    # A map no larger than the peak has nothing left to compare with: then all of it counts.
    rest = surface.copy()
    if height > 2 * near.size and width > 2 * near.size:
        rest[np.ix_((row + near) % height, (column + near) % width)] = 0
    spread = float(rest.std())
    return float((surface[row, column] - rest.mean()) / spread) if spread > 0 else 0.0


def _vertex(before: float, at: float, after: float) -> float:
    """Return where between -0.5 and 0.5 the parabola through three values is highest."""
    bend = before - 2 * at + after
    return 0.0 if bend >= 0 else max(-0.5, min(0.5, 0.5 * (before - after) / bend))


@functools.lru_cache(maxsize=16)
def _shapes(height: int, width: int) -> tuple[Floats, Floats]:
    """Return the window of a size, Hann's between overlays, and the low-pass on its spectrum."""
    strip = round(_OVERLAY * height)
    rows = np.zeros(height)
    rows[strip : height - strip] = np.hanning(height - 2 * strip)
    window = np.outer(rows, np.hanning(width)).astype(np.float32)
    down = np.fft.fftfreq(height)[:, None]
    across = np.fft.rfftfreq(width)[None, :]
    passed = np.exp(-(down**2 + across**2) / (2 * _PASSED**2)).astype(np.float32)
    return window, passed
