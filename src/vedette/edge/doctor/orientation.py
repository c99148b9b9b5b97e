"""Whether a camera hangs upside down or on its side, told by what its model finds in each turn.

Here: a few pictures, each shown to the detector in four turns. Not here: what the stream itself
states about its rotation (`edge.frame`), which is obeyed without asking. The rules: detectors are
trained on upright things, so the turn in which they find clearly most is upright; where nothing is
found, or as much in two turns (a camera that looks straight down), the answer is unknown; and it is
only ever a suggestion to a person. Four inferences a picture: never while the pipeline counts.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from vedette.edge.doctor.finding import Finding, Verdict
from vedette.edge.frame import turned
from vedette.edge.settings import Camera
from vedette.inference.model import Model
from vedette.vision.detections import Detections
from vedette.vision.picture import Picture

TURNS_DEG: Final = (0, 90, 180, 270)
PICTURES: Final = 6

LEAST_SUM: Final = 3.0
"""Summed confidence in the best turn below which there is too little to say anything."""

LEAST_RATIO: Final = 2.0
"""The best turn must have so many times the sum of the next. Measured: 30 groups of six pictures,
none wrong (docs/picture-quality.md)."""

Find = Callable[[Picture], Detections]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """How a camera's pictures should be turned to stand upright.

    Attributes:
        rotation_deg: Clockwise, on top of the turn that the pictures have had; None: unknown.
        sums: Turn in degrees → summed confidence of what was found in all pictures.
        pictures: How many were looked at.
    """

    rotation_deg: int | None
    sums: dict[int, float]
    pictures: int

    @property
    def evidence(self) -> str:
        """Say in words what the suggestion rests on."""
        sums = ", ".join(f"{turn}°: {total:.1f}" for turn, total in self.sums.items())
        return f"confidence summed over {self.pictures} pictures, by turn: {sums}"


def suggest(find: Find, pictures: Iterable[Picture]) -> Suggestion:
    """Return the turn in which the detector finds clearly most.

    Args:
        find: The detector, at its usual threshold.
        pictures: A few, with objects in them; no more than `PICTURES` are looked at.
    """
    sums: dict[int, float] = dict.fromkeys(TURNS_DEG, 0.0)
    count = 0
    for picture in pictures:
        if count == PICTURES:
            break
        count += 1
        for turn_deg in TURNS_DEG:
            sums[turn_deg] += float(find(turned(picture, turn_deg)).confidence.sum())
    best, second = sorted(sums.values(), reverse=True)[:2]
    sure = best >= LEAST_SUM and best >= LEAST_RATIO * second
    upright = max(sums, key=lambda turn_deg: sums[turn_deg]) if sure else None
    return Suggestion(upright, sums, count)


def orientation(model: Model, pictures: Iterable[Picture]) -> Suggestion | None:
    """Return what the camera's own model suggests; None where it gives no boxes."""
    if model.manifest.purpose != "detection":
        return None
    return suggest(lambda picture: model.detect(picture).detections, pictures)


def judge_orientation(camera: Camera, found: Suggestion, turned_deg: int = 0) -> Finding:
    """Return what is to be said of how the camera hangs.

    Args:
        camera: The camera.
        found: From its pictures.
        turned_deg: Clockwise turn that those pictures have had already.
    """
    verdict, detail, advice = Verdict.OK, "upright", ""
    if found.rotation_deg is None:
        verdict, detail = Verdict.UNKNOWN, "too little was found to tell what is up"
        advice = "look again while people are in view, or look at the picture yourself"
    elif found.rotation_deg:
        right = (turned_deg + found.rotation_deg) % 360
        verdict = Verdict.WARNING
        detail = f"upright when turned by {found.rotation_deg}°"
        advice = f'hang the camera upright, or set its `rotate: "{right}"` and check its zones'
    return Finding(
        about=camera.id,
        check="orientation",
        verdict=verdict,
        detail=f"{detail}; {found.evidence}",
        advice=advice,
    )
