"""One picture seen by both models: what is the same, what is not, and the message about it.

Here: from two results to a comparison and a `Disagreement`. Not here: sums (`tally`) and which are
sent (`sampling`). The rule: compared is what each model counts for this camera, above its own
threshold; covered, in a picture that leaves, is everybody that either model suspects.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vedette.edge.serving import PEOPLE, Reading
from vedette.edge.shadow import child
from vedette.edge.shadow.child import Answer
from vedette.edge.shadow.pairing import LEAST_IOU, Found, Pairing, pair
from vedette.edge.shadow.picture import Window, review_picture
from vedette.edge.shadow.tally import Names
from vedette.edge.stages import counted
from vedette.errors import BadModelOutput, EvidenceError
from vedette.ids import new_id
from vedette.inference.model import Result
from vedette.vision import geometry
from vedette.vision.detections import Detections
from vedette.vision.picture import Picture
from vedette.vision.pixelation import Area
from vedette.vision.regions import Regions
from vedette.wire.messages import Box
from vedette.wire.signed import PixelPolicy
from vedette.wire.updates import Disagreement

MAX_BOXES: Final = 64
STAGES: Final = ("preprocess", "inference", "postprocess")
WITHHELD: Final = "the site's policy lets no review frames leave"


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A picture that the incumbent saw, and what it made of it.

    Attributes:
        picture: A copy of the whole.
        a: How the camera read the incumbent's answers.
        result: The incumbent's, in pixels of the whole picture.
    """

    camera: str
    at_ms: int
    picture: Picture
    regions: Regions
    a: Reading
    result: Result


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """What both made of one picture; `suspects` are all people that either saw, sure or not."""

    a: Found
    b: Found
    paired: Pairing
    stage_ms: tuple[Mapping[str, float], Mapping[str, float]]
    suspects: tuple[Area, ...]

    @property
    def kind(self) -> str:
        """Whose the difference is, and of which class the first one: what samples differ by."""
        whose = "a" * bool(self.paired.only_a) + "b" * bool(self.paired.only_b)
        labels = [self.a.labels[i] for i in self.paired.only_a]
        labels += [self.b.labels[j] for j in self.paired.only_b]
        return f"{whose}:{min(labels, default='')}"


def compare(shown: Shown, answer: Answer, b: Reading) -> Compared:
    """Return the comparison of the incumbent's result with a candidate's answer.

    Raises:
        BadModelOutput: The candidate failed on this picture, or its answer makes no sense.
    """
    if answer.problem:
        raise BadModelOutput(answer.problem)
    found = child.detections(answer)
    if len(found) and not 0 <= found.class_id.min() <= found.class_id.max() < len(b.labels):
        raise BadModelOutput("the candidate names a class that it does not have")
    if not (np.isfinite(found.boxes_xyxy).all() and np.isfinite(found.confidence).all()):
        raise BadModelOutput("the candidate's answer has places or scores that are no numbers")
    result = counted(shown.regions, shown.picture.size, Result(found, *answer.stage_ms))
    of_a, of_b = _counting(shown.result.detections, shown.a), _counting(result.detections, b)
    return Compared(
        a=of_a,
        b=of_b,
        paired=pair(of_a, of_b),
        stage_ms=(_times(shown.result), _times(result)),
        suspects=(*_people(shown.result.detections, shown.a), *_people(result.detections, b)),
    )


def disagreement(
    names: Names, shown: Shown, b: Reading, compared: Compared, pixels: PixelPolicy
) -> Disagreement:
    """Return the message about a picture that differs, with as much of it as may leave."""
    paired, size = compared.paired, shown.picture.size
    subjects = [_area(compared.a, i) for i in paired.only_a]
    subjects += [_area(compared.b, j) for j in paired.only_b]
    picture, crop, withheld = b"", None, WITHHELD
    if pixels.review_frames:
        is_watched = shown.a.watches_people or b.watches_people
        people = _others(compared.suspects, subjects) if is_watched else None
        picture, crop, withheld = _picture(shown.picture, subjects, people, pixels)
    return Disagreement(
        disagreement=new_id("dis"),
        rollout=names.rollout,
        slot=names.slot,
        camera=names.camera,
        at_ms=shown.at_ms,
        a=names.a,
        b=names.b,
        picture_px=size,
        boxes_a=_boxes(compared.a, paired.only_a),
        boxes_b=_boxes(compared.b, paired.only_b),
        picture=picture,
        crop_px=crop,
        withheld=withheld,
    )


def _picture(
    picture: Picture, subjects: list[Area], people: list[Area] | None, pixels: PixelPolicy
) -> tuple[bytes, Window | None, str]:
    try:
        data, crop = review_picture(picture, subjects, people, blurred=pixels.evidence_blurred)
    except EvidenceError as error:
        return b"", None, str(error)
    return data, crop, ""


def _counting(found: Detections, reading: Reading) -> Found:
    """Return what counts for the camera."""
    sure = found.confidence >= reading.thresholds[found.class_id]
    counts = found.where(sure & reading.wanted[found.class_id])
    labels = tuple(reading.labels[k] for k in counts.class_id.tolist())
    return Found(counts.boxes_xyxy, counts.confidence, labels)


def _people(found: Detections, reading: Reading) -> list[Area]:
    """Return where either model suspects anybody, however unsure it is."""
    which = np.array([reading.labels[k] in PEOPLE for k in found.class_id.tolist()], np.bool_)
    return [_as_area(box) for box in found.boxes_xyxy[which]]


def _others(suspects: Sequence[Area], subjects: Sequence[Area]) -> list[Area]:
    """Return who is nobody in question: a doubtful box about the same place is the same one."""
    if not suspects or not subjects:
        return list(suspects)
    overlap = geometry.box_overlap(np.array(suspects, np.float64), np.array(subjects, np.float64))
    apart = overlap.max(axis=1) < LEAST_IOU
    return [area for area, is_apart in zip(suspects, apart.tolist(), strict=True) if is_apart]


def _times(result: Result) -> dict[str, float]:
    times_ms = (result.preprocess_ms, result.inference_ms, result.postprocess_ms)
    return dict(zip(STAGES, times_ms, strict=True))


def _boxes(found: Found, first: Sequence[int]) -> list[Box]:
    """Return the boxes, those in question before the others, where there are too many."""
    rest = [i for i in range(len(found)) if i not in set(first)]
    return [
        Box(
            xyxy=_as_area(np.round(found.boxes_xyxy[i].astype(np.float64), 1)),
            label=found.labels[i],
            confidence=round(float(found.confidence[i]), 4),
        )
        for i in [*first, *rest][:MAX_BOXES]
    ]


def _area(found: Found, index: int) -> Area:
    return _as_area(found.boxes_xyxy[index])


def _as_area(box: npt.NDArray[np.floating]) -> Area:
    x0, y0, x1, y1 = (float(side) for side in box)
    return x0, y0, x1, y1
