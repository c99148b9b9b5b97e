"""Whether a picture is worth analysing: has anything changed, or is it time to look anyway.

Here: one camera's gate, as pure state. Not here: what is done with a picture that is let through.
The rule: a gate must not hide a miss for long. The first picture is always analysed, everything is
looked at every `full_scan_s`, and time that was gated is observed time.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from vedette.vision.picture import Plane
from vedette.vision.quality import working
from vedette.vision.regions import Regions

Floats = npt.NDArray[np.float32]

Reason = Literal["off", "first", "motion", "tracked", "hold", "scan", "still"]


class MotionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When a picture is let through.

    Attributes:
        enabled: False lets every picture through.
        full_scan_s: Longest time without an analysed picture.
        min_changed_fraction: Least part of the picture, or of its regions where there are any,
            that must differ from the background.
        level: Grey levels from which on a pixel differs; above what a sensor's noise leaves after
            averaging down.
        background_s: Time constant of the background: what stands still for longer becomes part
            of it.
        hold_s: After motion, pictures are let through for this long.
    """

    enabled: bool = True
    full_scan_s: float = 10.0
    min_changed_fraction: float = 0.002
    level: float = 12.0
    background_s: float = 20.0
    hold_s: float = 1.0


@dataclass(frozen=True, slots=True)
class GateDecision:
    """What to do with a picture.

    Attributes:
        analyse: True where it goes to the model.
        reason: Why: `off` (no gate), `first`, `motion`, `tracked` (known objects are in view),
            `hold` (motion just now), `scan` (time to look anyway); or, where it is not analysed,
            `still`.
        changed_fraction: Part of what is looked at that differs from the background, 0–1.
    """

    analyse: bool
    reason: Reason
    changed_fraction: float

    @property
    def skip_reason(self) -> str | None:
        """Why the picture is not analysed; None where it is."""
        return None if self.analyse else self.reason


@dataclass(slots=True)
class MotionGate:
    """One camera's gate: a slowly adapting background and two times.

    Attributes:
        regions: Where motion counts.

    Thread: confined to the caller's.
    """

    settings: MotionSettings = field(default_factory=MotionSettings)
    regions: Regions = field(default_factory=Regions)
    _background: Floats | None = field(init=False, default=None)
    _last_t_s: float = field(init=False, default=-math.inf)
    _analysed_t_s: float = field(init=False, default=-math.inf)
    _moved_t_s: float = field(init=False, default=-math.inf)
    _absorbs: list[tuple[float, float, float, float]] = field(init=False, default_factory=list)

    def look(self, luma: Plane, t_s: float, *, tracked: bool = False) -> GateDecision:
        """Return whether this picture is to be analysed, and let the background follow it.

        Args:
            luma: uint8, (h, w); `Picture.small_luma()` is enough.
            t_s: Seconds on a clock that never goes back.
            tracked: True while somebody is in view who has to be looked at although nothing
                moves: who has not yet stood still for long (`vision.stillness`).
        """
        changed = self._changed_fraction(working(luma), t_s)
        if changed is not None and changed >= self.settings.min_changed_fraction:
            self._moved_t_s = t_s
        reason = self._reason(changed, t_s, tracked=tracked)
        if reason != "still":
            self._analysed_t_s = t_s
        return GateDecision(reason != "still", reason, changed or 0.0)

    def absorb(self, box: tuple[float, float, float, float]) -> None:
        """Take what stands in `box` into the background at the next look: it is known.

        Otherwise it would differ from the background for a minute or more. Once it moves or goes,
        it differs again.

        Args:
            box: Left, top, right and bottom in fractions of the picture.
        """
        self._absorbs.append(box)

    def _reason(self, changed: float | None, t_s: float, *, tracked: bool) -> Reason:
        if not self.settings.enabled:
            return "off"
        if changed is None:
            return "first"
        if self._moved_t_s == t_s:
            return "motion"
        if tracked:
            return "tracked"
        if t_s - self._moved_t_s <= self.settings.hold_s:
            return "hold"
        if t_s - self._analysed_t_s >= self.settings.full_scan_s:
            return "scan"
        return "still"

    def _changed_fraction(self, small: Plane, t_s: float) -> float | None:
        """Return how much differs from the background; None where there is none to compare with."""
        values = small.astype(np.float32)
        dt_s, self._last_t_s = t_s - self._last_t_s, t_s
        background = self._background
        if background is None or background.shape != values.shape or dt_s < 0:
            self._background = values
            self._moved_t_s = self._analysed_t_s = -math.inf
            return None
        self._take_in(values, background)
        differs = np.asarray(cv2.absdiff(values, background) > self.settings.level)
        weight = -math.expm1(-dt_s / self.settings.background_s)
        cv2.accumulateWeighted(values, background, weight)
        mask = self.regions.mask((values.shape[0], values.shape[1]))
        if mask is None:
            return float(np.count_nonzero(differs) / differs.size)
        inside = np.count_nonzero(mask)
        return float(np.count_nonzero(differs & (mask > 0)) / inside) if inside else 0.0

    def _take_in(self, values: Floats, background: Floats) -> None:
        rows, columns = values.shape
        for left, top, right, bottom in self._absorbs:
            across = slice(max(0, int(left * columns) - 1), math.ceil(right * columns) + 1)
            down = slice(max(0, int(top * rows) - 1), math.ceil(bottom * rows) + 1)
            background[down, across] = values[down, across]
        self._absorbs.clear()
