"""Regions: what lies outside moves nobody and counts nobody."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.vision.detections import Detections
from vedette.vision.motion import MotionGate
from vedette.vision.picture import Picture
from vedette.vision.regions import Regions

LEFT = [(0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)]
CORNER = [(0.6, 0.5), (0.9, 0.5), (0.9, 0.8), (0.6, 0.8)]
SIZE_PX = (640, 480)


def _found(*boxes: tuple[float, float, float, float]) -> Detections:
    n = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(n, 4),
        np.full(n, 0.9, np.float32),
        np.arange(n, dtype=np.int32),
        np.zeros(n, np.float32),
    )


def test_without_regions_everything_counts() -> None:
    """No mask, no cut, no box gone."""
    regions = Regions()
    picture = Picture.from_gray(np.zeros((480, 640), np.uint8))
    found = _found((0, 0, 10, 10), (600, 400, 640, 480))
    assert regions.is_whole
    assert regions.mask((120, 160)) is None
    assert regions.cut(picture) is picture
    assert regions.counted(found, SIZE_PX) is found


def test_who_stands_or_is_inside_counts() -> None:
    """Foot point or centre within a region is enough; neither is not."""
    inside, leans_in, outside = (100, 100, 140, 300), (250, 100, 380, 300), (500, 0, 540, 90)
    feet = _found((600, 380, 630, 400))
    regions = Regions([LEFT])
    assert regions.counted(_found(inside, leans_in, outside), SIZE_PX).class_id.tolist() == [0, 1]
    assert len(Regions([CORNER]).counted(feet, SIZE_PX)) == 0
    assert len(Regions([LEFT, CORNER]).counted(_found((100, 400, 140, 480)), SIZE_PX)) == 1


def test_motion_outside_is_ignored_and_inside_is_not() -> None:
    """Leaves that wave beside the region open no gate; a hand inside it does."""
    scene = np.full((120, 160), 90, np.uint8)
    beside, within = scene.copy(), scene.copy()
    beside[10:60, 90:150] = 200
    within[10:22, 20:30] = 200
    gate = MotionGate(regions=Regions([LEFT]))
    gate.look(scene, 0.0)
    assert gate.look(beside, 0.2).reason == "still"
    assert gate.look(within, 0.4).reason == "motion"


def test_small_regions_are_analysed_as_a_cut_out() -> None:
    """The cut holds the region with room around and above; its planes are views."""
    regions = Regions([CORNER])
    luma = np.arange(480 * 640, dtype=np.uint32).reshape(480, 640).astype(np.uint8)
    picture = Picture.from_gray(luma)
    window = regions.window(SIZE_PX)
    assert window is not None
    left, top, right, bottom = window
    assert left <= 0.6 * 640 - 30
    assert top <= 0.5 * 480 - 70
    assert right >= 0.9 * 640 + 30
    assert bottom >= 0.8 * 480 + 20
    cut = regions.cut(picture)
    assert np.array_equal(cut.y, luma[top:bottom, left:right])
    assert np.shares_memory(cut.y, luma)


def test_large_regions_are_analysed_whole() -> None:
    """Half the picture and more is not cut out."""
    assert Regions([LEFT, CORNER]).window(SIZE_PX) is None


@given(
    corner=st.tuples(st.floats(0, 0.7), st.floats(0, 0.7)),
    sides=st.tuples(st.floats(0.02, 0.3), st.floats(0.02, 0.3)),
    size_px=st.tuples(st.integers(16, 700), st.integers(16, 700)),
    inside=st.tuples(st.floats(0.05, 0.95), st.floats(0.05, 0.95)),
)
def test_boxes_come_back_to_their_place(corner, sides, size_px, inside) -> None:
    """A box found in the cut-out lies, in the whole picture, where the thing is."""
    (x, y), (w, h), (width, height) = corner, sides, size_px
    regions = Regions([[(x, y), (x + w, y), (x + w, y + h), (x, y + h)]])
    picture = Picture.from_gray(np.zeros((height, width), np.uint8))
    cut = regions.cut(picture)
    left, top, _, _ = regions.window(size_px) or (0, 0, 0, 0)
    assert cut.size[0] + left <= width
    assert cut.size[1] + top <= height
    at = ((x + inside[0] * w) * width, (y + inside[1] * h) * height)
    box = (at[0] - 0.1 - left, at[1] - 0.1 - top, at[0] + 0.1 - left, at[1] + 0.1 - top)
    (back,) = regions.counted(_found(box), size_px).boxes_xyxy
    assert back[:2] == pytest.approx((at[0] - 0.1, at[1] - 0.1), abs=0.01)


def test_a_part_begins_where_chroma_does() -> None:
    """An odd corner is refused, odd lower edges are not."""
    picture = Picture.from_gray(np.zeros((31, 41), np.uint8))
    with pytest.raises(ValueError, match="even"):
        picture.part((1, 0, 8, 8))
    assert picture.part((2, 4, 41, 31)).size == (39, 27)
