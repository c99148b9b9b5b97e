"""Crowds whose every step is known, seen by a detector that errs as real ones do.

For tests and benchmarks of the tracker: no pictures, only true boxes and what a detector would have
made of them. Here: walkers and vehicles on a plane before a camera, and the detector's errors. Not
here: rendered pictures (`scene`).

The rule: everything is a pure function of the settings, at 25 looks a second; a lower rate is
every n-th look at the same world, so that rates are compared on the same walks.

The walks are physical (metres and seconds), the errors are of the kinds that matter to a tracker:
people who hide one another are missed or cut to what is seen of them, errors of neighbouring looks
are alike, confidence falls with visibility and size, some places look like people now and then.

Source: U. Weidmann, "Transporttechnik der Fussgänger", ETH Zürich, 1993 (walking speed 1.34 m/s,
standard deviation 0.26).
"""

import math
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.vision.detections import Detections
from vedette.vision.geometry import box_overlap

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

FPS: Final = 25.0
_GRID: Final = 8
"""Points per side of a box at which it is asked who is in front."""


class CrowdSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A place and who passes through it.

    Attributes:
        seed: Everything random comes from it.
        duration_s: How long it is watched.
        people_per_minute: Arrivals.
        size_px: Width and height of the picture.
        camera_m: Height of the camera; low ones see people hide one another.
        pitch_deg: How far it looks down.
        near_m: Nearest distance at which anybody walks.
        far_m: Farthest.
        speed_m_s: Mean speed, standard deviation.
        body_m: Width and height of a body.
        turning: Spread of the change of speed within a second, m/s.
        pausing: Share of walkers who stop on the way.
        pillars: Fixed things, a pillar's width each, that hide whoever is behind.
        detected: How good the detector is: 0 none, 1 all that can be seen.
        jitter: Standard deviation of the edges of its boxes, in box heights.
        clutter: Places that look like somebody now and then.
    """

    seed: int = 1
    duration_s: float = 40.0
    people_per_minute: float = 30.0
    size_px: tuple[int, int] = (960, 540)
    camera_m: float = 4.0
    pitch_deg: float = 15.0
    near_m: float = 6.0
    far_m: float = 25.0
    speed_m_s: tuple[float, float] = (1.34, 0.26)
    body_m: tuple[float, float] = (0.65, 1.72)
    turning: float = 0.4
    pausing: float = 0.15
    pillars: int = 2
    detected: float = 0.9
    jitter: float = 0.025
    clutter: int = 3


class Look(msgspec.Struct, frozen=True):
    """One moment: who is truly where, and what was found.

    Attributes:
        t_s: When.
        person: int64, (n,), from 1.
        boxes_xyxy: float64, (n, 4): whole bodies, also where they are hidden.
        found: What the detector made of it.
    """

    t_s: float
    person: NDArray[np.int64]
    boxes_xyxy: Floats
    found: Detections


PLACES: Final[dict[str, CrowdSettings]] = {
    "plaza": CrowdSettings(seed=11),
    "street": CrowdSettings(
        seed=12, camera_m=1.7, pitch_deg=0.0, near_m=5.0, far_m=16.0, people_per_minute=24.0
    ),
    "shop": CrowdSettings(
        seed=13,
        camera_m=3.0,
        pitch_deg=20.0,
        near_m=3.0,
        far_m=12.0,
        speed_m_s=(0.8, 0.3),
        turning=0.7,
        pausing=0.7,
        people_per_minute=14.0,
        pillars=3,
    ),
    "crush": CrowdSettings(seed=14, people_per_minute=75.0, detected=0.8, clutter=5),
    "road": CrowdSettings(
        seed=15,
        camera_m=6.0,
        near_m=12.0,
        far_m=50.0,
        speed_m_s=(9.0, 2.5),
        body_m=(4.2, 1.6),
        turning=1.5,
        pausing=0.1,
        people_per_minute=40.0,
    ),
}
"""Unlike places: a square from above, a street at eye level, a shop, a crowd, and vehicles."""


def watch(place: CrowdSettings, *, every: int = 1) -> list[Look]:
    """Return every `every`-th look at a place, at 25 looks a second."""
    dice = np.random.default_rng(place.seed)
    steps = int(place.duration_s * FPS)
    walks = _walks(place, steps, dice)
    standing = _standing(place, dice)
    boxes = _project(place, walks)
    present = _in_picture(place, boxes)
    errors = _Errors.of(place, boxes.shape[1], steps, dice)
    looks: list[Look] = []
    for step in range(0, steps, every):
        here = np.flatnonzero(present[step])
        truth = boxes[step, here]
        depth = walks[step, here, 1]
        found = errors.detect(place, step, here=here, truth=truth, depth=depth, standing=standing)
        looks.append(Look(step / FPS, here.astype(np.int64) + 1, truth, found))
    return looks


def _walks(place: CrowdSettings, steps: int, dice: np.random.Generator) -> Floats:
    """Return where each walker is at each step, (steps, n, 2), metres right and away; NaN: gone.

    Speed is drawn towards the way each one wants to go and disturbed, as a walker's is; who pauses
    stands for a while. Seven of ten cross from side to side, the others come or go.
    """
    dt_s, lead_s = 1.0 / FPS, 20.0
    total = steps + int(lead_s * FPS)
    n = max(1, int(place.people_per_minute / 60.0 * total * dt_s))
    begin = np.sort(dice.integers(0, total, n))
    middle = (place.near_m + place.far_m) / 2.0
    half = middle * place.size_px[0] / (2.0 * _focal(place))
    start, goal = _ends(place, n, half, dice)
    wish_speed = np.maximum(dice.normal(*place.speed_m_s, n), 0.3 * place.speed_m_s[0])
    pause_at = np.where(dice.random(n) < place.pausing, dice.uniform(2.0, 12.0, n), np.inf)
    pause_s = dice.uniform(2.0, 8.0, n)
    where, speed = start.copy(), np.zeros((n, 2))
    out = np.full((total, n, 2), np.nan)
    gone = np.zeros(n, np.bool_)
    kick = place.turning * math.sqrt(dt_s)
    for step in range(total):
        walking_s = (step - begin) * dt_s
        away = goal - where
        left = np.linalg.norm(away, axis=1, keepdims=True)
        wish = wish_speed[:, None] * away / np.maximum(left, 1e-6)
        paused = (walking_s > pause_at) & (walking_s < pause_at + pause_s)
        wish[paused] = 0.0
        noise = dice.normal(0.0, kick, (n, 2)) * ~paused[:, None]
        speed += (wish - speed) * dt_s / 0.5 + noise
        new = walking_s == 0.0
        speed[new] = wish[new]
        active = (walking_s >= 0.0) & ~gone
        where[active] += speed[active] * dt_s
        gone |= active & (left[:, 0] < 0.5)
        out[step, active] = where[active]
    return out[-steps:]


def _ends(
    place: CrowdSettings, n: int, half_m: float, dice: np.random.Generator
) -> tuple[Floats, Floats]:
    """Return where walkers come from and go to, (n, 2) each: across, or along the view."""
    deep = dice.uniform(place.near_m, place.far_m, (n, 2))
    reach = half_m * deep / ((place.near_m + place.far_m) / 2.0) * 1.15
    side = dice.choice([-1.0, 1.0], n)
    start = np.stack((side * reach[:, 0], deep[:, 0]), axis=1)
    # people walk along streets rather than anywhere: the depth changes little on the way
    drift = deep[:, 0] + (deep[:, 1] - deep[:, 0]) * 0.4
    goal = np.stack((-side * reach[:, 1], drift), axis=1)
    along = dice.random(n) < 0.3
    span = dice.uniform(-0.6, 0.6, (n, 2)) * half_m
    ends = np.where(side > 0, place.near_m, place.far_m)
    others = np.where(side > 0, place.far_m, place.near_m)
    start[along] = np.stack((span[:, 0], ends), axis=1)[along]
    goal[along] = np.stack((span[:, 1], others), axis=1)[along]
    return start, goal


def _standing(place: CrowdSettings, dice: np.random.Generator) -> tuple[Floats, Floats]:
    """Return the boxes of the pillars, (k, 4), and their depths, (k,)."""
    k = place.pillars
    depth = dice.uniform(place.near_m, (place.near_m + place.far_m) / 2.0, k)
    right = dice.uniform(-0.6, 0.6, k) * depth * place.size_px[0] / (2.0 * _focal(place))
    boxes = _project(place, np.stack((right, depth), axis=1)[None])[0]
    centre, wide = (boxes[:, 0] + boxes[:, 2]) / 2.0, (boxes[:, 2] - boxes[:, 0]) * 0.6
    boxes[:, 0], boxes[:, 2], boxes[:, 1] = centre - wide, centre + wide, 0.0
    return boxes, depth


def _focal(place: CrowdSettings) -> float:
    """Return the focal length in pixels of a lens that sees 60 degrees across."""
    return place.size_px[0] / (2.0 * math.tan(math.radians(30.0)))


def _project(place: CrowdSettings, ground: Floats) -> Floats:
    """Return the boxes, (…, 4) xyxy, of bodies that stand at `ground` (…, 2)."""
    focal, tilt = _focal(place), math.radians(place.pitch_deg)
    right, away = ground[..., 0], np.maximum(ground[..., 1], 1.0)

    def row(height_m: float) -> Floats:
        down = place.camera_m - height_m
        forward = away * math.cos(tilt) + down * math.sin(tilt)
        return place.size_px[1] / 2.0 + focal * (
            (down * math.cos(tilt) - away * math.sin(tilt)) / forward
        )

    top, bottom = row(place.body_m[1]), row(0.0)
    centre = place.size_px[0] / 2.0 + focal * right / away
    wide = focal * place.body_m[0] / away / 2.0
    return np.stack((centre - wide, top, centre + wide, bottom), axis=-1)


def _in_picture(place: CrowdSettings, boxes: Floats) -> Mask:
    """Return who has the middle of the box in the picture, (steps, n)."""
    with np.errstate(invalid="ignore"):
        middle = (boxes[..., :2] + boxes[..., 2:]) / 2.0
        size = np.array(place.size_px, np.float64)
        return np.asarray(((middle > 0.0) & (middle < size)).all(axis=-1))


class _Errors(msgspec.Struct, frozen=True):
    """What goes wrong at each step, drawn beforehand; neighbours in time are alike.

    Attributes:
        mood: float64, (steps, n): how well each one is found just now.
        shift: float64, (steps, n, 4): error of each edge, in box heights.
        ghosts: float64, (k, 4): places that look like somebody.
        ghost_mood: float64, (steps, k).
        odd: float64, (steps, 6): a box from nowhere: whether, x, y, size, how sure, on whom.
    """

    mood: Floats
    shift: Floats
    ghosts: Floats
    ghost_mood: Floats
    odd: Floats

    @classmethod
    def of(cls, place: CrowdSettings, n: int, steps: int, dice: np.random.Generator) -> "_Errors":
        """Draw them for `n` walkers."""
        shift = _alike(dice, (steps, n, 4), 0.3) * 0.7
        shift += dice.normal(0.0, 0.7, (steps, n, 4))
        k = place.clutter
        ground = np.stack(
            (dice.uniform(-5.0, 5.0, k), dice.uniform(place.near_m, place.far_m, k)), axis=1
        )
        return cls(
            mood=_alike(dice, (steps, n), 0.4) + dice.normal(0.0, 0.4, (1, n)),
            shift=shift * place.jitter,
            ghosts=_project(place, ground[None])[0],
            ghost_mood=_alike(dice, (steps, k), 0.5),
            odd=dice.random((steps, 6)),
        )

    def detect(
        self,
        place: CrowdSettings,
        step: int,
        *,
        here: NDArray[np.intp],
        truth: Floats,
        depth: Floats,
        standing: tuple[Floats, Floats],
    ) -> Detections:
        """Return what a detector makes of those who are `here`."""
        seen, part = _visible(truth, depth, standing)
        height = truth[:, 3] - truth[:, 1]
        base = 6.0 * place.detected - 3.2
        far = np.minimum(0.0, np.log(np.maximum(height, 1.0) / 60.0)) * 2.0
        surety = base + far + 1.1 * self.mood[step, here] - 5.0 * np.maximum(0.8 - seen, 0.0)
        # a half-hidden body is cut to what is seen of it, more or less
        cut = truth + 0.6 * (part - truth)
        boxes = cut + self.shift[step, here] * height[:, None]
        ghost_surety = 1.2 * self.ghost_mood[step] - 1.8
        more, more_surety = self._odd(place, step, truth)
        boxes = np.concatenate((boxes, self.ghosts, more))
        confidence = 1.0 / (1.0 + np.exp(-np.concatenate((surety, ghost_surety, more_surety))))
        return _suppressed(place, boxes, confidence)

    def _odd(self, place: CrowdSettings, step: int, truth: Floats) -> tuple[Floats, Floats]:
        """Return now and then a box from nowhere, or half of somebody."""
        whether, x, y, size, how_sure, on_whom = self.odd[step]
        surety = np.array([3.0 * how_sure - 2.2])
        if whether < 0.1:
            high = (0.1 + 0.3 * size) * place.size_px[1]
            wide = high * place.body_m[0] / place.body_m[1]
            left, top = x * place.size_px[0], y * place.size_px[1]
            return np.array([[left, top, left + wide, top + high]]), surety
        if whether < 0.25 and len(truth):
            whole = truth[int(on_whom * len(truth))].copy()
            whole[3] -= (0.4 + 0.2 * size) * (whole[3] - whole[1])
            return whole[None], surety
        return np.zeros((0, 4)), np.zeros(0)


def _alike(dice: np.random.Generator, shape: tuple[int, ...], memory_s: float) -> Floats:
    """Return unit noise along the first axis whose values forget one another in `memory_s`."""
    keep = math.exp(-1.0 / (FPS * memory_s))
    fresh = dice.normal(0.0, 1.0, shape)
    fresh[1:] *= math.sqrt(1.0 - keep * keep)
    for step in range(1, shape[0]):
        fresh[step] += keep * fresh[step - 1]
    return fresh


def _visible(
    truth: Floats, depth: Floats, standing: tuple[Floats, Floats]
) -> tuple[Floats, Floats]:
    """Return which share of each box nobody nearer covers, (n,), and the box around it, (n, 4)."""
    offsets = (np.arange(_GRID) + 0.5) / _GRID
    front = np.concatenate((truth, standing[0]))
    near = np.concatenate((depth, standing[1]))
    # bodies are narrower than their boxes
    slim = front + (front[:, 2] - front[:, 0])[:, None] * np.array([0.15, 0.0, -0.15, 0.0])
    seen, part = np.ones(len(truth)), truth.copy()
    for i, box in enumerate(truth):
        before = slim[near < depth[i] - 1e-9]
        before = before[(before[:, 0] < box[2]) & (before[:, 2] > box[0])]
        if not len(before):
            continue
        xs = box[0] + offsets * (box[2] - box[0])
        ys = box[1] + offsets * (box[3] - box[1])
        in_x = (xs[None] > before[:, :1]) & (xs[None] < before[:, 2:3])
        in_y = (ys[None] > before[:, 1:2]) & (ys[None] < before[:, 3:4])
        free = ~(in_y[:, :, None] & in_x[:, None, :]).any(axis=0)
        seen[i] = free.mean()
        if free.any():
            rows, columns = np.flatnonzero(free.any(axis=1)), np.flatnonzero(free.any(axis=0))
            step_x, step_y = (box[2] - box[0]) / _GRID, (box[3] - box[1]) / _GRID
            part[i] = (
                box[0] + columns[0] * step_x,
                box[1] + rows[0] * step_y,
                box[0] + (columns[-1] + 1) * step_x,
                box[1] + (rows[-1] + 1) * step_y,
            )
    return seen, part


def _suppressed(place: CrowdSettings, boxes: Floats, confidence: Floats) -> Detections:
    """Return what is left after clipping and the detector's own suppression of doubles (0.6)."""
    wide, high = place.size_px
    boxes = np.clip(boxes, 0.0, np.array([wide, high, wide, high], np.float64))
    solid = (boxes[:, 2] - boxes[:, 0] > 3.0) & (boxes[:, 3] - boxes[:, 1] > 3.0)
    order = np.argsort(-confidence, kind="stable")
    order = order[(solid & (confidence > 0.1))[order]]
    overlap = box_overlap(boxes[order], boxes[order])
    kept: list[int] = []
    for i in range(len(order)):
        if not kept or overlap[i, kept].max() <= 0.6:
            kept.append(i)
    chosen = order[kept]
    n = len(chosen)
    return Detections(
        boxes[chosen].astype(np.float32),
        confidence[chosen].astype(np.float32),
        np.zeros(n, np.int32),
        np.zeros(n, np.float32),
    )
