"""What a camera's scene looks like: pinned once by a person, and learnt slowly since.

Here: edge maps to compare a picture with, and how it compares. Not here: when something is learnt
and what a difference means (`vision.tamper`). The rules: any reference may vouch for a picture,
none can be learnt from a picture that is suspected, and only a person pins.

    pinned      the emptied scene, from commissioning; survives restarts
    recent      a moving average over minutes: weather, dusk
    by hour     one for each six hours of the day, over days: lamps, shadows, infrared light
"""

import math
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np

from vedette.vision.picture import Plane
from vedette.vision.quality import measure, working
from vedette.vision.registration import Floats, Shift, Spectrum, register, spectrum

HOURS_EACH: Final = 6
_HOUR_CONSTANT_S: Final = 6 * 3600.0
_ANCHOR_PICTURES: Final = 300
"""So many pictures make the hour's reference older knowledge than the recent one."""

_SHARPNESS_PICTURES: Final = 10

_ALIKE: Final = 0.8
"""Pictures that correlate better than this are not shifted: by 0.02 of the width gave 0.79."""


@dataclass(slots=True)
class Average:
    """Where edges are and how sharp they are, by a slow moving average."""

    time_constant_s: float
    edges: Floats | None = None
    sharpness: float = 0.0
    pictures: int = 0

    def likeness(self, edges: Floats) -> float | None:
        """Return the correlation with the reference, -1 to 1; None where there is none yet."""
        if self.edges is None or self.edges.shape != edges.shape:
            return None
        length = float(np.linalg.norm(self.edges))
        return float(np.vdot(self.edges, edges)) / length if length > 0 else None

    def learn(self, edges: Floats, sharpness: float, dt_s: float) -> None:
        """Move towards this picture; the first ones count equally, later ones by their time."""
        if self.edges is None or self.edges.shape != edges.shape:
            self.edges, self.sharpness, self.pictures = edges.copy(), sharpness, 1
            return
        self.pictures += 1
        weight = max(-math.expm1(-dt_s / self.time_constant_s), 1 / self.pictures)
        cv2.accumulateWeighted(edges, self.edges, weight)
        self.sharpness += (sharpness - self.sharpness) * weight


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a picture compares with what is known.

    Attributes:
        likeness: The best correlation with any reference, -1 to 1.
        shift: Against the oldest knowledge there is; None where it was alike without looking.
        is_pinned: True where that is what a person pinned.
    """

    likeness: float
    shift: Shift | None
    is_pinned: bool


@dataclass(slots=True)
class References:
    """All that is known of one camera's scene. Thread: confined to the caller's."""

    time_constant_s: float
    recent: Average = field(init=False)
    by_hour: dict[int, Average] = field(init=False, default_factory=dict)
    _pinned: Average | None = field(init=False, default=None)
    _spectrum: Spectrum | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.recent = Average(self.time_constant_s)

    def sharpness(self, hour: int | None) -> float:
        """Return how sharp the scene usually is at this hour; at an unknown one, at any."""
        known = None if hour is None else self.by_hour.get(hour // HOURS_EACH)
        if known is not None and known.pictures >= _SHARPNESS_PICTURES:
            return known.sharpness
        return max(self.recent.sharpness, self._pinned.sharpness if self._pinned else 0.0)

    def pin(self, plane: Plane | None) -> None:
        """Take `plane`, uint8 (h, w) luma, as what the scene shall look like; None: nothing."""
        self._pinned = self._spectrum = None
        if plane is None:
            return
        small = working(plane)
        sharpness = measure(small).sharpness
        if sharpness is None:  # without contrast it shows no scene
            return
        self._pinned = Average(self.time_constant_s)
        self._pinned.learn(edge_map(small), sharpness, 0.0)

    def forget(self) -> None:
        """Forget all that was learnt; what is pinned remains."""
        self.recent = Average(self.time_constant_s)
        self.by_hour.clear()

    def learn(self, edges: Floats, sharpness: float, dt_s: float, hour: int | None) -> None:
        """Move towards a picture that nothing speaks against."""
        self.recent.learn(edges, sharpness, dt_s)
        if hour is not None:
            known = self.by_hour.setdefault(hour // HOURS_EACH, Average(_HOUR_CONSTANT_S))
            known.learn(edges, sharpness, dt_s)

    def compare(self, edges: Floats, hour: int | None) -> Comparison | None:
        """Return how edges compare; None while nothing of this size is known."""
        known = [self.recent, *self.by_hour.values()]
        likenesses = [one.likeness(edges) for one in known]
        pinned = None if self._pinned is None else self._pinned.likeness(edges)
        found = [value for value in (*likenesses, pinned) if value is not None]
        if not found:
            return None
        anchor = self._anchor(edges, hour)
        alike = anchor.likeness(edges)
        shift = None
        if anchor.edges is not None and alike is not None and alike < _ALIKE:
            shift = register(self._spectrum_of(anchor), edges)
        return Comparison(max(found), shift, anchor is self._pinned)

    def _anchor(self, edges: Floats, hour: int | None) -> Average:
        """Return the oldest knowledge, so that a view that creeps away is seen."""
        pinned = self._pinned
        if pinned is not None and pinned.likeness(edges) is not None:
            return pinned
        known = None if hour is None else self.by_hour.get(hour // HOURS_EACH)
        if known is not None and known.pictures >= _ANCHOR_PICTURES:
            return known if known.likeness(edges) is not None else self.recent
        return self.recent

    def _spectrum_of(self, anchor: Average) -> Spectrum:
        """Return the anchor's spectrum; what is pinned never changes, so neither does its own."""
        assert anchor.edges is not None
        if anchor is not self._pinned:
            return spectrum(anchor.edges)
        if self._spectrum is None:
            self._spectrum = spectrum(anchor.edges)
        return self._spectrum


def edge_map(luma: Plane) -> Floats:
    """Return where edges are, free of light and contrast: float32 (h, w), mean 0, length 1.

    Blurred first, so that a camera that trembles by a pixel stays the same; under a square root,
    so that one strong edge does not speak for the whole scene. Without any edge it is all zero.
    """
    smooth = cv2.GaussianBlur(luma.astype(np.float32), (0, 0), 1.5)
    dx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0)
    dy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    size = np.sqrt(cv2.magnitude(dx, dy))
    size = size - size.mean()
    length = float(np.linalg.norm(size))
    return (size / length if length > 0 else size).astype(np.float32)
