"""What `vision.shelf` finds in a rendered scene, held against what happened there.

For the tests (few seeds, a floor) and the benchmark (many seeds, intervals). People's boxes are the
scene's own, made as bad as a detector's: they shake, blink, and can be left out altogether.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from vedette.sim.shelf_scene import SIZE_PX, ZONE, Box, ShelfScene, Truth
from vedette.vision.happenings import Happening
from vedette.vision.picture import Picture
from vedette.vision.shelf import LEAN_S, SETTLE_S, ShelfWatch
from vedette.vision.tracking import Tracks
from vedette.wire.messages import EventKind
from vedette.wire.signed import Zone

FPS: Final = 5.0
BLINK: Final = 0.15
"""Part of the looks in which a person is not detected."""

LEAST_SHARED: Final = 0.25
"""Overlap (IoU) from which on a box of a change is that of a product's place."""

LATE_S: Final = LEAN_S + SETTLE_S + 2.0
JPEG_QUALITY: Final = 70


@dataclass(frozen=True, slots=True)
class Marks:
    """How one scene went.

    Attributes:
        found: Changes that were told and happened.
        false: Changes that were told and did not happen there and then.
        missed: Changes that happened and were not told.
        right, wrong, unclear: Of those found: whether it was said that something was taken or put
            as it was, the other way round, or only that the shelf changed.
        seconds: Length of the scene.
    """

    found: int = 0
    false: int = 0
    missed: int = 0
    right: int = 0
    wrong: int = 0
    unclear: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Marks") -> "Marks":
        return Marks(
            self.found + other.found,
            self.false + other.false,
            self.missed + other.missed,
            self.right + other.right,
            self.wrong + other.wrong,
            self.unclear + other.unclear,
            self.seconds + other.seconds,
        )


def watched(
    scene: ShelfScene, *, with_boxes: bool = True, fps: float = FPS, seconds: float | None = None
) -> list[Happening]:
    """Return what the watch tells of a scene, compressed as a camera would."""
    zone = Zone(name="shelf", polygon=ZONE, shelf=True)
    watch = ShelfWatch([zone], SIZE_PX, ["person"])
    dice = np.random.default_rng(len(scene.truths))
    told: list[Happening] = []
    for n in range(round((scene.seconds if seconds is None else seconds) * fps)):
        t_s = n / fps
        people = scene.people(t_s) if with_boxes else []
        seen = [one for one in people if dice.random() >= BLINK]
        _, coded = cv2.imencode(
            ".jpg", scene.picture(t_s), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        )
        bgr = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
        told += watch.update(Picture.from_bgr(bgr), _tracks(seen, t_s, dice), t_s)
    return told


def examine(seed: int, *, with_boxes: bool = True, backed: float = 0.0, deeds: int = 12) -> Marks:
    """Return how the watch did in the scene of one seed."""
    scene = ShelfScene(seed, deeds=deeds, backed=backed)
    return marks(scene, watched(scene, with_boxes=with_boxes))


def marks(scene: ShelfScene, told: list[Happening]) -> Marks:
    """Return how far what was told is what happened; each truth is found at most once."""
    open_ = list(scene.truths)
    right = wrong = unclear = false = 0
    for change in told:
        truth = next((one for one in open_ if _is_of(change, one)), None)
        if truth is None:
            false += 1
            continue
        open_.remove(truth)
        kind = change.kind
        meant = EventKind.PICKED if truth.picked else EventKind.PLACED
        unclear += kind is EventKind.SHELF_CHANGED
        right += kind is meant
        wrong += kind not in {meant, EventKind.SHELF_CHANGED}
    found = len(scene.truths) - len(open_)
    return Marks(found, false, len(open_), right, wrong, unclear, scene.seconds)


def _is_of(change: Happening, truth: Truth) -> bool:
    """True where a change lies at the truth's place and was told after it, but not too late."""
    _, after_s = change.compared_s or (0.0, 0.0)
    in_time = truth.t_s <= after_s <= truth.clear_s + LATE_S
    return in_time and _overlap(change.box, truth.box) >= LEAST_SHARED


def _overlap(a: Box, b: Box) -> float:
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, wide) * max(0.0, high)
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return shared / (areas - shared)


def _tracks(people: list[tuple[int, Box]], t_s: float, dice: np.random.Generator) -> Tracks:
    n = len(people)
    boxes = np.array([box for _, box in people], np.float32).reshape(n, 4)
    boxes += dice.normal(0.0, 3.0, boxes.shape).astype(np.float32)
    return Tracks(
        track_id=np.array([number for number, _ in people], np.int64),
        boxes_xyxy=boxes,
        class_id=np.zeros(n, np.int32),
        confidence=np.full(n, 0.8, np.float32),
        confirmed=np.ones(n, np.bool_),
        born_t_s=np.full(n, t_s),
        seen_t_s=np.full(n, t_s),
        observed=np.ones(n, np.bool_),
    )
