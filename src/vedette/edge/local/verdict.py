"""What follows from a still picture: use it, take it again, or ask a person. Pure.

    recapture     the picture is not good enough; the advice says what to change
    needs_human   the model answered, but not surely enough to act on it alone
    accepted      the model is sure of everything that it says

The rule: what the model is unsure of is never accepted. Unsure is every object between the model's
threshold and `sure`, a class below `sure` (of classes that do not exclude each other also one that
is as far from surely absent), and a picture that is unlike the normal ones.
"""

import enum

import msgspec

from vedette.inference.model import Result
from vedette.vision.quality import QualityVerdict
from vedette.vision.tasks import Classes


class Verdict(enum.StrEnum):
    """What to do with a picture."""

    ACCEPTED = "accepted"
    NEEDS_HUMAN = "needs_human"
    RECAPTURE = "recapture"


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """How good the picture is.

    Attributes:
        problems: As `vision.quality` names them; empty where the picture is good.
        advice: One sentence per problem.
        scores: 0 to 1 by name; what could not be measured is left out.
    """

    problems: list[str]
    advice: list[str]
    scores: dict[str, float]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One object; the box in pixels of the picture as it is meant to be seen."""

    label: str
    confidence: float
    xyxy: tuple[float, float, float, float]


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `POST /v1/assess`."""

    verdict: Verdict
    quality: Quality
    picture_px: tuple[int, int]
    format: str
    turned_deg: int


class Inference(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `POST /v1/infer`.

    Attributes:
        why: In words, what makes the verdict other than accepted.
        objects: What was found; None where the model's task is another or it did not run.
        classes: Probability per class, the most probable first, at most ten; None as above.
        anomaly: 0 to 1, one half at the model's limit; None as above.
        model_ms: Time of the model; None where it did not run.
    """

    verdict: Verdict
    why: list[str]
    quality: Quality
    picture_px: tuple[int, int]
    format: str
    turned_deg: int
    model: str
    digest: str
    threshold: float
    sure: float
    objects: list[Found] | None = None
    classes: dict[str, float] | None = None
    anomaly: float | None = None
    model_ms: float | None = None


MAX_CLASSES = 10
NORMAL_BELOW = 0.5


def quality_of(verdict: QualityVerdict) -> Quality:
    """Return the verdict on the picture in the answer's words."""
    scores = {name: round(score, 4) for name, score in verdict.scores().items()}
    return Quality(problems=list(verdict.problems), advice=list(verdict.advice), scores=scores)


def unsure(result: Result, labels: list[str], sure: float) -> list[str]:
    """Return, in words, why a person has to look; empty where nobody has to."""
    why = [
        f"{labels[class_id]} at {confidence:.0%}, sure from {sure:.0%}"
        for _box, confidence, class_id, _entropy in result.detections
        if confidence < sure
    ]
    if result.classes is not None:
        why += _unsure_classes(result.classes, labels, sure)
    if result.anomaly is not None and result.anomaly.score >= NORMAL_BELOW:
        why.append(f"unlike the normal ones: {result.anomaly.score:.2f}, limit {NORMAL_BELOW}")
    return why[:MAX_CLASSES]


def _unsure_classes(classes: Classes, labels: list[str], sure: float) -> list[str]:
    """Return the classes that are neither surely there nor, beside one that is, surely not."""
    order = classes.probability.argsort()[::-1].tolist()
    said = [(labels[i], float(classes.probability[i])) for i in order]
    open_ = [said[0]] if said[0][1] < sure else []
    if not classes.exclusive:  # each is an answer of its own
        open_ += [
            (label, p) for label, p in said if 1 - sure < p < sure and (label, p) not in open_
        ]
    return [f"{label} at {p:.0%}, sure from {sure:.0%}" for label, p in open_]


def objects_of(result: Result, labels: list[str]) -> list[Found]:
    """Return the objects, the most confident first."""
    found = [
        Found(
            label=labels[class_id],
            confidence=round(confidence, 4),
            xyxy=(
                round(float(box[0]), 1),
                round(float(box[1]), 1),
                round(float(box[2]), 1),
                round(float(box[3]), 1),
            ),
        )
        for box, confidence, class_id, _entropy in result.detections
    ]
    return sorted(found, key=lambda one: -one.confidence)


def classes_of(result: Result, labels: list[str]) -> dict[str, float] | None:
    """Return the most probable classes; None where the task is another."""
    if result.classes is None:
        return None
    order = result.classes.probability.argsort()[::-1][:MAX_CLASSES]
    return {labels[i]: round(float(result.classes.probability[i]), 4) for i in order.tolist()}
