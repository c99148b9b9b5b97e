"""Plane geometry: half-open decisions, invariances, agreement with plain definitions."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from vedette.vision import geometry
from vedette.vision.assignment import assign

whole = st.integers(-20, 20)
points = st.tuples(whole.map(float), whole.map(float))
SQUARE = ((0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0))


@st.composite
def weight_matrices(draw: st.DrawFn) -> np.ndarray:
    """Return sparse or dense weights with ties, negatives and NaN among them."""
    n, m = draw(st.integers(0, 12)), draw(st.integers(0, 12))
    value = st.one_of(
        st.just(0.0), st.just(math.nan), st.integers(-2, 5).map(float), st.floats(0.001, 1.0)
    )
    flat = draw(st.lists(value, min_size=n * m, max_size=n * m))
    return np.array(flat, np.float64).reshape(n, m)


@given(weight_matrices())
def test_assignment_weighs_as_much_as_scipys(weights: np.ndarray) -> None:
    """No matching is heavier, and no pair that must not be matched is."""
    rows, columns = assign(weights)
    usable = np.where(weights > 0.0, weights, 0.0)
    best_rows, best_columns = linear_sum_assignment(usable, maximize=True)
    assert usable[rows, columns].sum() == pytest.approx(usable[best_rows, best_columns].sum())
    assert (weights[rows, columns] > 0.0).all()
    assert len(set(rows.tolist())) == len(rows) == len(set(columns.tolist()))


@pytest.mark.parametrize("shape", [(60, 60), (40, 90), (90, 40), (1, 30), (30, 1)])
def test_dense_assignment_weighs_as_much_as_scipys(shape: tuple[int, int]) -> None:
    """One large connected part is solved exactly too."""
    weights = np.random.default_rng(5).random(shape)
    rows, columns = assign(weights)
    best = weights[linear_sum_assignment(weights, maximize=True)].sum()
    assert weights[rows, columns].sum() == pytest.approx(best)


def test_overlap_of_known_boxes() -> None:
    """A half-shifted unit square overlaps by a third; no area overlaps nothing."""
    a = np.array([[0.0, 0.0, 1.0, 1.0], [5.0, 5.0, 5.0, 9.0], [3.0, 3.0, 2.0, 2.0]])
    b = np.array([[0.5, 0.0, 1.5, 1.0], [5.0, 5.0, 5.0, 9.0]])
    found = geometry.box_overlap(a, b)
    assert found[0, 0] == pytest.approx(1 / 3)
    assert found[1:].max() == 0.0


def test_corners_and_centres_are_inverse() -> None:
    """Going there and back changes nothing."""
    boxes = np.array([[1.0, 2.0, 5.0, 10.0], [0.0, 0.0, 3.0, 1.0]])
    assert geometry.to_corners(geometry.to_centre(boxes)) == pytest.approx(boxes)
    assert geometry.foot_points(boxes) == pytest.approx(np.array([[3.0, 10.0], [1.5, 1.0]]))


def test_left_and_right_are_as_one_sees_them() -> None:
    """Walking right, above is left and below is right: y points down."""
    a, b = (0.0, 5.0), (10.0, 5.0)
    assert geometry.side_of_line(a, b, (5.0, 0.0)) < 0.0
    assert geometry.side_of_line(a, b, (5.0, 9.0)) > 0.0
    assert geometry.crossing(a, b, (5.0, 0.0), (5.0, 9.0)) == 1
    assert geometry.crossing(a, b, (5.0, 9.0), (5.0, 0.0)) == -1


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ((5.0, 0.0), (5.0, 5.0)),  # stops on the line
        ((15.0, 0.0), (15.0, 9.0)),  # passes its end
        ((-1.0, 0.0), (-1.0, 9.0)),
        ((2.0, 5.0), (8.0, 5.0)),  # walks along it
        ((5.0, 6.0), (5.0, 9.0)),
    ],
)
def test_no_crossing(start: geometry.Point, end: geometry.Point) -> None:
    """Touching, passing beside and walking along are not crossing."""
    assert geometry.crossing((0.0, 5.0), (10.0, 5.0), start, end) == 0


@given(points, points, points)
def test_step_through_a_shared_corner_counts_once(
    reach: geometry.Point, corner: geometry.Point, step: geometry.Point
) -> None:
    """A line that is drawn as two, stepped through exactly where they meet, is crossed once."""
    x, y = corner
    a, c = (x - reach[0], y - reach[1]), (x + reach[0], y + reach[1])
    start, end = (x - step[0], y - step[1]), (x + step[0], y + step[1])
    through = geometry.crossing(a, corner, start, end) + geometry.crossing(corner, c, start, end)
    assert through == geometry.crossing(a, c, start, end)
    parallel = reach[0] * step[1] == reach[1] * step[0]
    assert abs(through) == (0 if parallel else 1)


@given(st.lists(points, min_size=3, max_size=12), points, points)
def test_closed_path_crosses_an_endless_line_net_zero(
    path: list[geometry.Point], a: geometry.Point, b: geometry.Point
) -> None:
    """Whoever is back where they started has crossed as often forward as backward."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    far_a = (a[0] - 1000 * dx, a[1] - 1000 * dy)
    far_b = (a[0] + 1000 * dx, a[1] + 1000 * dy)
    closed = [*path, path[0]]
    net = sum(geometry.crossing(far_a, far_b, p, q) for p, q in itertools.pairwise(closed))
    assert net == 0


@given(points, points, points, points)
def test_reversing_a_step_or_the_line_reverses_the_crossing(
    a: geometry.Point, b: geometry.Point, start: geometry.Point, end: geometry.Point
) -> None:
    """Off the line's own points, direction is all that changes."""
    for p in (start, end):
        if geometry.side_of_line(a, b, p) == 0.0:
            return
    for p in (a, b):
        if geometry.side_of_line(start, end, p) == 0.0:
            return
    forward = geometry.crossing(a, b, start, end)
    assert geometry.crossing(a, b, end, start) == -forward
    assert geometry.crossing(b, a, start, end) == -forward


@given(points)
def test_neighbouring_polygons_share_out_their_points(p: geometry.Point) -> None:
    """A point on a common edge belongs to exactly one side."""
    left = ((-20.0, -20.0), (3.0, -20.0), (3.0, 25.0), (-20.0, 25.0))
    right = ((3.0, -20.0), (25.0, -20.0), (25.0, 25.0), (3.0, 25.0))
    assert geometry.is_inside(left, p) + geometry.is_inside(right, p) == 1


@given(points, st.integers(0, 3), st.booleans())
def test_the_order_of_corners_does_not_matter(
    p: geometry.Point, turn: int, backwards: bool
) -> None:
    """Which corner comes first, and which way round, is the drawer's business."""
    corners = SQUARE[turn:] + SQUARE[:turn]
    if backwards:
        corners = corners[::-1]
    assert geometry.is_inside(corners, p) == geometry.is_inside(SQUARE, p)


@given(points, st.floats(0.0, math.tau))
def test_signed_distance_survives_rotation(p: geometry.Point, angle: float) -> None:
    """Turning polygon and point together changes nothing."""

    def turned(q: geometry.Point) -> geometry.Point:
        c, s = math.cos(angle), math.sin(angle)
        return (c * q[0] - s * q[1], s * q[0] + c * q[1])

    here = geometry.signed_distance(SQUARE, p)
    there = geometry.signed_distance(tuple(turned(q) for q in SQUARE), turned(p))
    assert abs(there) == pytest.approx(abs(here), abs=1e-9)
    if abs(here) > 1e-6:
        assert (here > 0) == (there > 0)


def test_thickness_of_a_square_and_a_strip() -> None:
    """About the radius of what fits inside."""
    strip = ((0.0, 0.0), (1000.0, 0.0), (1000.0, 4.0), (0.0, 4.0))
    assert geometry.thickness(SQUARE) == pytest.approx(5.0)
    assert geometry.thickness(strip) == pytest.approx(4.0, rel=0.01)
    assert geometry.thickness(((1.0, 1.0),) * 3) == 0.0
