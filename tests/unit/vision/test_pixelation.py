"""Squares instead of people: nothing but squares, however it is looked at."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.vision import pixelation
from vedette.vision.picture import Picture, Plane
from vedette.vision.pixelation import cell_px, pixelated, whole_cell_px

SIZES = st.tuples(st.integers(1, 130), st.integers(1, 130))
CORNERS = st.floats(-200, 300, allow_nan=False)


def noise(width: int, height: int, seed: int = 1) -> Picture:
    """Return a picture of which every pixel differs from its neighbours."""
    rng = np.random.default_rng(seed)

    def plane(w: int, h: int) -> Plane:
        return rng.integers(0, 256, (h, w), np.uint8)

    half = ((width + 1) // 2, (height + 1) // 2)
    return Picture(plane(width, height), plane(*half), plane(*half))


def shuffled(plane: Plane, side: int) -> Plane:
    """Return a plane with the pixels of each square in another order."""
    rng, mixed = np.random.default_rng(5), plane.copy()
    for top in range(0, plane.shape[0], side):
        for left in range(0, plane.shape[1], side):
            square = mixed[top : top + side, left : left + side]
            square[:] = rng.permutation(square.ravel()).reshape(square.shape)
    return mixed


@settings(max_examples=60, deadline=None)
@given(SIZES, st.tuples(CORNERS, CORNERS, CORNERS, CORNERS), st.sampled_from([16, 32, 48]))
def test_within_an_area_every_square_has_one_colour_and_outside_nothing_changes(
    size: tuple[int, int], corners: tuple[float, float, float, float], cell: int
) -> None:
    """Whatever the size and wherever the area, at odd edges and beyond them too."""
    picture = noise(*size)
    x0, x1 = sorted(corners[::2])
    y0, y1 = sorted(corners[1::2])
    covered = pixelated(picture, [((x0, y0, x1, y1), cell)])
    for plane, original, side in (
        (covered.y, picture.y, cell),
        (covered.u, picture.u, cell // 2),
        (covered.v, picture.v, cell // 2),
    ):
        scale = cell // side
        for top in range(0, plane.shape[0], side):
            for left in range(0, plane.shape[1], side):
                part = plane[top : top + side, left : left + side]
                same = original[top : top + side, left : left + side]
                is_in = (
                    left * scale < x1
                    and top * scale < y1
                    and (left + side) * scale > x0
                    and (top + side) * scale > y0
                    and x1 > x0
                    and y1 > y0
                    and x1 > 0
                    and y1 > 0
                )
                if is_in:
                    assert len(np.unique(part)) == 1
                    assert int(part[0, 0]) % 17 == 0  # one of sixteen levels
                else:
                    assert np.array_equal(part, same)


def test_two_faces_of_the_same_means_become_the_same_squares() -> None:
    """What was different is gone: no computation can tell which of the two it was."""
    one = noise(160, 160)
    other = Picture(shuffled(one.y, 32), shuffled(one.u, 16), shuffled(one.v, 16))
    box = ((0.0, 0.0, 160.0, 160.0), 32)
    first, second = pixelated(one, [box]), pixelated(other, [box])
    assert not np.array_equal(one.y, other.y)
    assert np.array_equal(first.y, second.y)
    assert np.array_equal(first.u, second.u)


@given(st.floats(1, 4000), st.floats(1, 4000))
def test_an_object_is_a_few_squares_across_whatever_its_size(width: float, height: float) -> None:
    """At most five over the shorter side, and never smaller squares than sixteen pixels."""
    cell = cell_px((0.0, 0.0, width, height))
    assert cell % 16 == 0
    assert cell >= 16
    assert min(width, height) / cell <= pixelation.CELLS_ACROSS


@pytest.mark.parametrize("size", [(1920, 1080), (768, 576), (16, 16), (7680, 4320)])
def test_a_whole_picture_is_at_most_32_squares_long(size: tuple[int, int]) -> None:
    """Nobody who stands in the scene is more than a few of them."""
    assert max(size) / whole_cell_px(size) <= pixelation.WHOLE_ACROSS


def test_where_areas_meet_the_larger_squares_win() -> None:
    """A near face in front of a far one is not drawn finer than it may be."""
    picture = noise(128, 128)
    areas = [((0.0, 0.0, 128.0, 128.0), 64), ((0.0, 0.0, 40.0, 40.0), 16)]
    covered = pixelated(picture, areas)
    assert len(np.unique(covered.y[:64, :64])) == 1
    assert np.array_equal(covered.y, pixelated(picture, list(reversed(areas))).y)
