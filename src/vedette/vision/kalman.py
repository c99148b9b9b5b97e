"""Where boxes are and where they go: Kalman filters for many boxes, as arrays.

Here: the motion model, prediction and correction, for all tracks at once. Not here: which
measurement belongs to which box (`tracking`).

The rule: time is seconds and every noise is relative to the size of the box, so that the same
numbers hold at 2 and at 30 frames a second, near and far. The four quantities (centre x, centre y,
width, height) are independent, each with its own position, speed and 2x2 covariance, so
the filter is element-wise arithmetic and needs no matrix inverse.

A box's speed is a walk that forgets (an Ornstein-Uhlenbeck process), so that a box nobody sees
slows down instead of flying away, and one long step is exactly many short ones.

Source: R. Singer, "Estimating Optimal Tracking Filter Performance for Manned Maneuvering Targets",
IEEE Trans. AES 6(4), 1970, his coloured noise taken for the speed; Y. Bar-Shalom, X. R. Li,
T. Kirubarajan, "Estimation with Applications to Tracking and Navigation", 2001, chapter 6.
"""

from dataclasses import dataclass, fields
from typing import Final, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_] | npt.NDArray[np.intp]

# Per quantity cx, cy, w, h; in box sizes (square root of the area), seconds.
_ACCELERATION: Final = np.array([0.5, 0.5, 0.3, 0.3])
"""Spread of the change of speed within a second: half a metre a second for a walker."""
_FIRST_SPEED: Final = np.array([2.0, 2.0, 0.3, 0.3])
"""Spread of the unknown speed at birth: walkers do about 1.5 sizes a second, cars 2 to 4."""
_MEASUREMENT: Final = np.array([0.06, 0.06, 0.12, 0.12])
"""Jitter of a sure detector's boxes; doubled towards confidence 0. Sides err more than centres:
who is half hidden is cut to what is seen."""
_SPEED_MEMORY_S: Final = np.array([6.0, 6.0, 0.5, 0.5])
"""Time constant of the decaying speed."""
_MIN_SIDE_PX: Final = 1.0


@dataclass(slots=True)
class BoxMotion:
    """The filters of n boxes. All float64, (n, 4), columns cx, cy, w, h; pixels and seconds.

    Attributes:
        position: Estimate of each quantity.
        speed: Its change per second.
        p_pp: Variance of position.
        p_ps: Covariance of position and speed.
        p_ss: Variance of speed.
    """

    position: Floats
    speed: Floats
    p_pp: Floats
    p_ps: Floats
    p_ss: Floats

    @classmethod
    def empty(cls) -> "BoxMotion":
        """Return no filters."""
        return cls(*(np.zeros((0, 4)) for _ in fields(cls)))

    @classmethod
    def at(cls, measured: Floats, confidence: Floats) -> "BoxMotion":
        """Return filters that were just born at `measured` (n, 4), moving who knows where."""
        size = _size(measured)
        return cls(
            position=measured.copy(),
            speed=np.zeros_like(measured),
            p_pp=_noise(measured, confidence),
            p_ps=np.zeros_like(measured),
            p_ss=(size * _FIRST_SPEED) ** 2,
        )

    def __len__(self) -> int:
        return len(self.position)

    def take(self, which: Mask) -> "BoxMotion":
        """Return copies of the filters that a mask or indices select."""
        return BoxMotion(*(getattr(self, field.name)[which] for field in fields(self)))

    def joined(self, other: Self) -> "BoxMotion":
        """Return these filters followed by the others."""
        return BoxMotion(
            *(
                np.concatenate((getattr(self, field.name), getattr(other, field.name)))
                for field in fields(self)
            )
        )

    def predict(self, dt_s: float) -> None:
        """Move every box forward by `dt_s` >= 0 seconds; doubt grows with time, not with frames."""
        if dt_s <= 0.0:
            return
        memory = _SPEED_MEMORY_S
        keep = np.exp(-dt_s / memory)
        lost = 1.0 - keep
        reach = memory * lost
        q = (_size(self.position) * _ACCELERATION) ** 2
        self.position += reach * self.speed
        self.position[:, 2:] = np.maximum(self.position[:, 2:], _MIN_SIDE_PX)
        self.speed *= keep
        self.p_pp += 2.0 * reach * self.p_ps + reach**2 * self.p_ss
        self.p_pp += q * memory**2 * (dt_s - 2.0 * reach + 0.5 * memory * lost * (1.0 + keep))
        self.p_ps = keep * (self.p_ps + reach * self.p_ss) + q * 0.5 * reach**2
        self.p_ss = keep**2 * self.p_ss + q * 0.5 * reach * (1.0 + keep)

    def correct(self, which: npt.NDArray[np.intp], measured: Floats, confidence: Floats) -> None:
        """Move the boxes `which` (k,) towards what was seen of them.

        Args:
            which: Distinct rows.
            measured: float64, (k, 4), cx, cy, w, h.
            confidence: float64, (k,), 0 to 1: unsure boxes pull less.
        """
        p_pp, p_ps = self.p_pp[which], self.p_ps[which]
        spread = p_pp + _noise(measured, confidence)
        gain_position, gain_speed = p_pp / spread, p_ps / spread
        off = measured - self.position[which]
        self.position[which] += gain_position * off
        self.position[which, 2:] = np.maximum(self.position[which, 2:], _MIN_SIDE_PX)
        self.speed[which] += gain_speed * off
        self.p_pp[which] = (1.0 - gain_position) * p_pp
        self.p_ps[which] = (1.0 - gain_position) * p_ps
        self.p_ss[which] = np.maximum(self.p_ss[which] - gain_speed * p_ps, 0.0)

    def halt(self) -> None:
        """Say that nothing moves: speeds become zero, positions and doubts stay."""
        self.speed[:] = 0.0

    def spread(self) -> Floats:
        """Return the variance of where a sure box of each will be seen, (n, 4), px²."""
        return self.p_pp + _noise(self.position, np.ones(len(self)))


def _size(boxes_cxcywh: Floats) -> Floats:
    """Return the square root of the area, (n, 1), at least a pixel."""
    return np.sqrt(np.maximum(boxes_cxcywh[:, 2:3] * boxes_cxcywh[:, 3:4], _MIN_SIDE_PX**2))


def _noise(boxes_cxcywh: Floats, confidence: Floats) -> Floats:
    """Return the variance of a measurement of these boxes, (n, 4)."""
    doubled = 2.0 - np.clip(confidence, 0.0, 1.0)[:, None]
    return (_size(boxes_cxcywh) * _MEASUREMENT * doubled) ** 2
