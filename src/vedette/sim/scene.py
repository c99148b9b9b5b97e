"""A rendered street with walking people whose places are known exactly.

For tests and for machines without real footage: every picture is a pure function of time, and so
is its truth. It is drawn, not filmed: a detector trained on photographs sees less in it than in
real footage, so accuracy is never measured here; counting and bookkeeping are.
"""

import math

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

Bgr = NDArray[np.uint8]


class Walker(msgspec.Struct, frozen=True):
    """One person's walk within a period, at `depth` 0 (far) to 1 (near)."""

    track: int
    start_s: float
    walk_s: float
    depth: float
    rightwards: bool
    shirt: tuple[int, int, int]
    trousers: tuple[int, int, int]


class Actor(msgspec.Struct, frozen=True):
    """Truth of one person in one picture: xyxy in pixels, clipped to the picture."""

    track: int
    xyxy: tuple[float, float, float, float]


class Scene:
    """A street that repeats after `period_s`. Thread: any; it never changes.

    Args:
        size_px: Width and height.
        people: How many walk through within one period.
        seed: Everything random comes from it.
    """

    def __init__(
        self,
        size_px: tuple[int, int] = (640, 360),
        *,
        people: int = 6,
        period_s: float = 30.0,
        seed: int = 7,
    ) -> None:
        self.width, self.height = size_px
        self.period_s = period_s
        rng = np.random.default_rng(seed)
        self._background = _street(self.width, self.height, rng)
        self.walkers = [
            Walker(
                track=index + 1,
                start_s=float(rng.uniform(0, period_s * 0.5)),
                walk_s=float(rng.uniform(period_s * 0.25, period_s * 0.45)),
                depth=float(rng.uniform(0.2, 1.0)),
                rightwards=bool(rng.integers(2)),
                shirt=_colour(rng),
                trousers=_colour(rng),
            )
            for index in range(people)
        ]

    def truth(self, t_s: float) -> list[Actor]:
        """Return who is in the picture at `t_s`, far ones first."""
        found: list[Actor] = []
        for walker in sorted(self.walkers, key=lambda one: one.depth):
            box = self._box(walker, t_s % self.period_s)
            if box is None:
                continue
            x1, y1, x2, y2 = box
            clipped = (max(0.0, x1), max(0.0, y1), min(self.width, x2), min(self.height, y2))
            if clipped[2] - clipped[0] >= 2 and clipped[3] - clipped[1] >= 2:
                found.append(Actor(walker.track, clipped))
        return found

    def _box(self, walker: Walker, t_s: float) -> tuple[float, float, float, float] | None:
        done = (t_s - walker.start_s) / walker.walk_s
        if not 0.0 <= done <= 1.0:
            return None
        tall = self.height * (0.16 + 0.22 * walker.depth)
        wide = tall * 0.38
        foot = self.height * (0.5 + 0.46 * walker.depth)
        span = self.width + 2 * wide
        x = -wide + span * (done if walker.rightwards else 1.0 - done)
        return x - wide / 2, foot - tall, x + wide / 2, foot

    def picture(self, t_s: float) -> Bgr:
        """Return the picture at `t_s`: BGR, uint8, (height, width, 3)."""
        out = self._background.copy()
        for walker in sorted(self.walkers, key=lambda one: one.depth):
            box = self._box(walker, t_s % self.period_s)
            if box is not None:
                _draw_person(out, box, walker, t_s)
        noise = np.random.default_rng(round(t_s * 1000)).integers(
            -3, 4, (self.height, self.width, 1), dtype=np.int16
        )
        return np.clip(out.astype(np.int16) + noise, 0, 255).astype(np.uint8)


def covered(size_px: tuple[int, int], t_s: float) -> Bgr:
    """Return what a camera sees through tape: nearly uniform dark grey with sensor noise (BGR)."""
    width, height = size_px
    rng = np.random.default_rng(round(t_s * 1000))
    slope = np.linspace(0.0, 5.0, height, dtype=np.float32)[:, None]
    grain = rng.normal(0.0, 2.0, (height, width)).astype(np.float32)
    breath = 1.5 * math.sin(t_s)
    grey = np.clip(22.0 + slope + grain + breath, 0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    blue, green, red = rng.integers(30, 200, 3)
    return int(blue), int(green), int(red)


def _street(width: int, height: int, rng: np.random.Generator) -> Bgr:
    """Return a still background with texture, so that blur and cover can be told from it."""
    out = np.empty((height, width, 3), np.uint8)
    horizon = int(height * 0.45)
    out[:horizon] = (180, 175, 165)
    out[horizon:] = (120, 125, 128)
    for _ in range(24):  # house fronts
        x, y = int(rng.integers(0, width)), int(rng.integers(0, horizon))
        w, h = int(rng.integers(12, 60)), int(rng.integers(12, 50))
        cv2.rectangle(out, (x, y), (x + w, min(horizon, y + h)), _colour(rng), -1)
        cv2.rectangle(out, (x, y), (x + w, min(horizon, y + h)), (60, 60, 60), 1)
    for x in range(0, width, 48):  # paving
        cv2.line(out, (x, height), (width // 2 + (x - width // 2) // 3, horizon), (105, 108, 110))
    grain = rng.integers(-12, 13, (height, width, 1), dtype=np.int16)
    return np.clip(out.astype(np.int16) + grain, 0, 255).astype(np.uint8)


def _draw_person(
    out: Bgr, box: tuple[float, float, float, float], walker: Walker, t_s: float
) -> None:
    x1, y1, x2, y2 = box
    tall, middle = y2 - y1, (x1 + x2) / 2
    swing = math.sin(t_s * 2 * math.pi * 0.9 + walker.track) * tall * 0.16
    hip, shoulder = y1 + tall * 0.52, y1 + tall * 0.2
    thick = max(2, round(tall * 0.09))

    def limb(a: tuple[float, float], b: tuple[float, float], colour: tuple[int, int, int]) -> None:
        start, end = (round(a[0]), round(a[1])), (round(b[0]), round(b[1]))
        cv2.line(out, start, end, colour, thick, cv2.LINE_AA)

    limb((middle, hip), (middle + swing, y2 - thick / 2), walker.trousers)
    limb((middle, hip), (middle - swing, y2 - thick / 2), walker.trousers)
    limb((middle, shoulder + thick / 2), (middle - swing * 0.8, hip + tall * 0.04), walker.shirt)
    limb((middle, shoulder + thick / 2), (middle + swing * 0.8, hip + tall * 0.04), walker.shirt)
    torso = (round(tall * 0.11), round(tall * 0.19))
    _oval(out, (middle, (shoulder + hip) / 2), torso, walker.shirt)
    face = (round(tall * 0.06), round(tall * 0.09))
    _oval(out, (middle, y1 + tall * 0.1), face, (140, 165, 205))
    _oval(out, (middle, y1 + tall * 0.1), face, (30, 40, 50), first_degree=180)


def _oval(
    out: Bgr,
    middle: tuple[float, float],
    axes: tuple[int, int],
    colour: tuple[int, int, int],
    *,
    first_degree: int = 0,
) -> None:
    at = (round(middle[0]), round(middle[1]))
    cv2.ellipse(out, at, axes, 0, first_degree, 360, colour, -1, cv2.LINE_AA)
