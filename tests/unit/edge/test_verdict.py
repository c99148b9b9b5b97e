"""What follows from a still picture, without pictures."""

import numpy as np
import pytest

from vedette.edge.local.verdict import unsure
from vedette.inference.model import Result
from vedette.vision.detections import Detections
from vedette.vision.tasks import Classes


def said(*probability: float, exclusive: bool) -> list[str]:
    """Return why a person has to look at a picture of these classes."""
    classes = Classes(np.array(probability, np.float32), exclusive=exclusive)
    result = Result(
        Detections.empty(), preprocess_ms=0, inference_ms=0, postprocess_ms=0, classes=classes
    )
    return unsure(result, ["open", "lit", "wet"], sure=0.8)


@pytest.mark.parametrize(
    ("probability", "about"),
    [((0.95, 0.5, 0.02), ["lit"]), ((0.95, 0.9, 0.02), []), ((0.6, 0.1, 0.1), ["open"])],
)
def test_every_class_that_stands_by_itself_must_be_sure(
    probability: tuple[float, ...], about: list[str]
) -> None:
    """One sure class hides no undecided one beside it."""
    assert [why.split()[0] for why in said(*probability, exclusive=False)] == about


def test_of_classes_that_exclude_each_other_the_best_must_be_sure() -> None:
    """What is left for the others says nothing more."""
    assert said(0.81, 0.19, 0.0, exclusive=True) == []
    assert [why.split()[0] for why in said(0.5, 0.45, 0.05, exclusive=True)] == ["open"]
