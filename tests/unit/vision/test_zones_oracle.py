"""Zones and lines held against `supervision`, which counts for many who build such things.

Where both must agree they do, for any polygon, line and walk. Where they differ on purpose is left
out here and tested by itself in `test_zones`:

- Ours has a dead band at edges and lines, so places nearer to them than `CLEAR_PX` are left out.
- `supervision` draws a zone's polygon in whole pixels; that is within the same band.
- Its line counts whoever changes sides between the perpendiculars at its ends, even around an end
  in between; ours counts steps through the line itself. Walks here stay between those two.
- Its sides are named the other way round: its `in` is our `backward`.
"""

import math
from collections import Counter

import numpy as np
import supervision as sv
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.vision import geometry
from vedette.vision.tracking import Tracks
from vedette.vision.zones import ZoneWatch
from vedette.wire.messages import EventKind
from vedette.wire.signed import Line, Zone

SIDE = 600
CLEAR_PX = 3.0
HEIGHT_PX = 10.0
Place = tuple[float, float]


def tracks(place: Place) -> Tracks:
    """Return one confirmed track that stands there, 10 px tall."""
    x, y = place
    return Tracks(
        track_id=np.ones(1, np.int64),
        boxes_xyxy=np.array([(x - 3, y - HEIGHT_PX, x + 3, y)], np.float32),
        class_id=np.zeros(1, np.int32),
        confidence=np.full(1, 0.9, np.float32),
        confirmed=np.ones(1, np.bool_),
        born_t_s=np.zeros(1),
        seen_t_s=np.zeros(1),
        observed=np.ones(1, np.bool_),
    )


def theirs(place: Place) -> sv.Detections:
    """Return the same for the oracle."""
    of = tracks(place)
    return sv.Detections(xyxy=of.boxes_xyxy, class_id=np.zeros(1, int), tracker_id=np.ones(1, int))


whole = st.integers(10, SIDE - 10)
corners = st.lists(st.tuples(whole, whole), min_size=3, max_size=8, unique=True)
walks = st.lists(st.tuples(whole, whole), min_size=1, max_size=15)


@settings(max_examples=60)
@given(corners, walks)
def test_who_is_inside_is_whom_the_oracle_finds_inside(
    polygon: list[Place], walk: list[Place]
) -> None:
    """For any polygon, folded ones too, at every step of any walk clear of its edge."""
    oracle = sv.PolygonZone(np.array(polygon), triggering_anchors=(sv.Position.BOTTOM_CENTER,))
    zone = Zone(name="z", polygon=[(x / SIDE, y / SIDE) for x, y in polygon])
    watch = ZoneWatch([zone], [], (SIDE, SIDE), ["person"])
    edge = tuple((float(x), float(y)) for x, y in polygon)
    for n, place in enumerate(walk):
        if abs(geometry.signed_distance(edge, place)) <= CLEAR_PX:
            continue
        watch.update(tracks(place), n * 0.2)
        inside = sum(watch.occupancy().values()) == 1
        assert inside == bool(oracle.trigger(theirs(place))[0])


along = st.floats(0.1, 0.9)
aside = st.one_of(st.floats(-150, -CLEAR_PX), st.floats(CLEAR_PX, 150))


@settings(max_examples=60)
@given(
    st.tuples(whole, whole),
    st.floats(0, 2 * math.pi),
    st.floats(80, 400),
    st.lists(st.tuples(along, aside), min_size=2, max_size=20),
)
def test_crossings_are_those_that_the_oracle_counts(
    a: Place, angle: float, length_px: float, steps: list[tuple[float, float]]
) -> None:
    """For any line, however it lies, and any walk between the perpendiculars at its ends."""
    way = (math.cos(angle), math.sin(angle))
    b = (a[0] + length_px * way[0], a[1] + length_px * way[1])
    oracle = sv.LineZone(
        sv.Point(*a), sv.Point(*b), triggering_anchors=(sv.Position.BOTTOM_CENTER,)
    )
    line = Line(name="l", a=(a[0] / SIDE, a[1] / SIDE), b=(b[0] / SIDE, b[1] / SIDE))
    watch = ZoneWatch([], [line], (SIDE, SIDE), ["person"])
    ours: Counter[str] = Counter()
    for n, (share, off_px) in enumerate(steps):
        place = (
            a[0] + share * length_px * way[0] - off_px * way[1],
            a[1] + share * length_px * way[1] + off_px * way[0],
        )
        oracle.trigger(theirs(place))
        told = watch.update(tracks(place), n * 0.2)
        ours.update(h.direction for h in told if h.kind is EventKind.LINE_CROSSED)
    assert (ours["backward"], ours["forward"]) == (oracle.in_count, oracle.out_count)
