"""What central refuses to sign for a camera."""

import math

import pytest

from vedette.central.api.geometry import area, complaints, crossing
from vedette.wire.signed import CameraSettings, Line, Zone

SQUARE = [(0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9)]


def settings(**changes: object) -> CameraSettings:
    """Return settings of one camera with these fields."""
    return CameraSettings(camera="door", **changes)  # type: ignore[arg-type]


def test_good_settings_have_no_complaint() -> None:
    """Zones, lines, threshold and off hours as the console writes them."""
    good = settings(
        zones=[Zone(name="entrance", polygon=SQUARE, dwell_s=30)],
        lines=[Line(name="doorway", a=(0, 0), b=(1, 1))],
        threshold=0.4,
        off_hours=[("22:00", "06:00")],
    )
    assert complaints(good) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"zones": [Zone(name="Entrance!", polygon=SQUARE)]}, "cannot be a name"),
        ({"zones": [Zone(name="a", polygon=SQUARE)] * 2}, "two zones or lines"),
        ({"zones": [Zone(name="a", polygon=SQUARE[:2])]}, "3 to 32 corners"),
        ({"zones": [Zone(name="a", polygon=[(0, 0), (2, 0), (1, 1)])]}, "fractions"),
        ({"zones": [Zone(name="a", polygon=[(0, 0), (math.nan, 0), (1, 1)])]}, "fractions"),
        ({"zones": [Zone(name="a", polygon=[(0, 0), (0.5, 0.5), (1, 1)])]}, "no area"),
        ({"zones": [Zone(name="a", polygon=[*SQUARE[:3], (0.8, 0)])]}, "edges 1 and 3 cross"),
        ({"regions": [SQUARE[:2]]}, "region 1: a polygon has"),
        ({"zones": [Zone(name="a", polygon=SQUARE, dwell_s=-1)]}, "dwell_s"),
        ({"zones": [Zone(name="a", polygon=SQUARE, loiter_s=601)]}, "loiter_s"),
        ({"zones": [Zone(name="a", polygon=SQUARE, heading_deg=math.nan)]}, "heading_deg"),
        ({"zones": [Zone(name="a", polygon=SQUARE, heading_tolerance_deg=0)]}, "tolerance"),
        ({"lines": [Line(name="a", a=(0, 0), b=(1, 1), confirm_s=61)]}, "confirm_s"),
        ({"lines": [Line(name="a", a=(0.5, 0.5), b=(0.5, 0.5))]}, "same point"),
        ({"lines": [Line(name="a", a=(0, 0), b=(0, math.inf))]}, "fractions"),
        ({"threshold": 1.5}, "threshold"),
        ({"threshold": 0.0}, "threshold"),
        ({"off_hours": [("22", "06:00")]}, "22:00"),
        ({"off_hours": [("06:00", "06:00")]}, "no hours"),
    ],
)
def test_what_cannot_be_is_refused_in_words(changes: dict[str, object], said: str) -> None:
    """One complaint that says what to write instead."""
    found = complaints(settings(**changes))
    assert any(said in text for text in found), found


def test_area_does_not_care_where_a_polygon_starts() -> None:
    """The shoelace formula, turned around."""
    assert area(SQUARE) == pytest.approx(0.64)
    assert area(SQUARE[2:] + SQUARE[:2]) == pytest.approx(0.64)


@pytest.mark.parametrize(
    ("polygon", "crossed"),
    [
        (SQUARE, None),
        ([(0, 0), (1, 0), (1, 1), (0.5, 0.2), (0, 1)], None),
        ([(0, 0), (1, 1), (1, 0), (0, 1)], (1, 3)),
        ([(0, 0), (1, 0), (1, 1), (0.5, 0), (0, 1)], (1, 3)),
        ([(0, 0), (1, 0), (0.5, 0), (0, 1)], (1, 2)),
        ([(0, 0), (0, 0), (1, 0), (0, 1)], (1, 2)),
        ([(0, 0), (1, 0), (1, 1), (0, 0), (0, 1)], (1, 3)),
    ],
)
def test_edges_that_meet_elsewhere_than_at_a_corner_are_named(
    polygon: list[tuple[float, float]], crossed: tuple[int, int] | None
) -> None:
    """A bow tie, an edge through a corner, an edge folded back, corners twice; concave is fine."""
    assert crossing(polygon) == crossed
