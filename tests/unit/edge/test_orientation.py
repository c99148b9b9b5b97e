"""Which way up a camera hangs, told by what a detector finds in each turn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.edge.doctor import Verdict, judge_orientation
from vedette.edge.doctor.orientation import PICTURES, Suggestion, suggest
from vedette.edge.frame import turned
from vedette.edge.settings import Camera
from vedette.vision.detections import Detections
from vedette.vision.picture import Picture

CAMERA = Camera(id="door", source="rtsp://192.0.2.7/sub")


def _upright() -> Picture:
    """Return a picture whose sky is bright."""
    gray = np.full((120, 160), 40, np.uint8)
    gray[:40] = 200
    return Picture.from_gray(gray)


def _finder(upright: float, otherwise: float):
    """Return a detector that is sure of what has a bright sky, and as sure as told of the rest."""

    def find(picture: Picture) -> Detections:
        top = picture.y[: picture.height // 4].mean()
        sure = upright if top > picture.y.mean() + 80 else otherwise
        n = 1 if sure else 0
        return Detections(
            np.array([[1, 1, 9, 9]] * n, np.float32).reshape(n, 4),
            np.full(n, sure, np.float32),
            np.zeros(n, np.int32),
            np.zeros(n, np.float32),
        )

    return find


@given(st.sampled_from([0, 90, 180, 270]))
def test_a_camera_that_hangs_wrong_is_turned_back(hangs_deg: int) -> None:
    """Whatever way it hangs, the suggestion makes it upright."""
    picture = turned(_upright(), hangs_deg)
    found = suggest(_finder(0.9, 0.2), [picture] * 6)
    assert found.rotation_deg is not None
    assert (hangs_deg + found.rotation_deg) % 360 == 0
    assert "6 pictures" in found.evidence


@pytest.mark.parametrize(
    ("upright", "otherwise", "pictures"),
    [(0.0, 0.0, 6), (0.9, 0.0, 3), (0.9, 0.5, 6), (0.9, 0.9, 6), (0.9, 0.0, 0)],
)
def test_too_little_evidence_is_unknown(upright: float, otherwise: float, pictures: int) -> None:
    """Nothing found, few pictures, or as much in another turn: no suggestion."""
    found = suggest(_finder(upright, otherwise), [_upright()] * pictures)
    assert found.rotation_deg is None
    assert judge_orientation(CAMERA, found).verdict is Verdict.UNKNOWN


def test_no_more_pictures_are_looked_at_than_it_takes() -> None:
    """However many there are, the detector runs four times on six."""
    runs: list[int] = []

    def find(_picture: Picture) -> Detections:
        runs.append(1)
        return Detections.empty()

    assert suggest(find, iter([_upright()] * 1000)).pictures == PICTURES
    assert len(runs) == 4 * PICTURES


@pytest.mark.parametrize(("had_deg", "advised"), [(0, '"180"'), (90, '"270"'), (180, '"0"')])
def test_the_advice_counts_the_turn_that_pictures_had(had_deg: int, advised: str) -> None:
    """What a person is to write is the whole turn, not what comes on top."""
    sums = {0: 1.0, 90: 1.0, 180: 9.0, 270: 1.0}
    finding = judge_orientation(CAMERA, Suggestion(180, sums, 6), had_deg)
    assert finding.verdict is Verdict.WARNING
    assert f"rotate: {advised}" in finding.advice


def test_an_upright_camera_is_fine() -> None:
    """Nothing to do where most is found as it is."""
    finding = judge_orientation(CAMERA, suggest(_finder(0.9, 0.1), [_upright()] * 6))
    assert finding.verdict is Verdict.OK
    assert finding.advice == ""
