"""Zones and lines: what was seen happens once; jitter, gaps and births are not movements."""

import itertools
import math
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from vedette.vision.happenings import Happening
from vedette.vision.tracking import Tracks
from vedette.vision.zones import FORGET_S, ZoneWatch
from vedette.wire.messages import EventKind
from vedette.wire.signed import Line, Zone

SIZE = (1000, 1000)
LABELS = ("person", "dog")
Place = tuple[float, float]

ROOM = Zone(name="room", polygon=[(0.4, 0.4), (0.6, 0.4), (0.6, 0.6), (0.4, 0.6)], dwell_s=5.0)
DOOR = Line(name="door", a=(0.0, 0.5), b=(1.0, 0.5))


def at(
    *feet: Place,
    ids: tuple[int, ...] | None = None,
    class_id: int = 0,
    confirmed: bool = True,
    observed: bool = True,
    born_s: float = 0.0,
) -> Tracks:
    """Return tracks standing at `feet`, in thousandths of the picture, 40 × 100 px each."""
    n = len(feet)
    boxes = [(x - 20, y - 100, x + 20, y) for x, y in feet]
    return Tracks(
        track_id=np.array(ids or range(1, n + 1), np.int64),
        boxes_xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        class_id=np.full(n, class_id, np.int32),
        confidence=np.full(n, 0.9, np.float32),
        confirmed=np.full(n, confirmed),
        born_t_s=np.full(n, born_s),
        seen_t_s=np.zeros(n),
        observed=np.full(n, observed),
    )


def watch(zones: tuple[Zone, ...] = (), lines: tuple[Line, ...] = ()) -> ZoneWatch:
    """Return a watch over a square picture of 1000 px."""
    return ZoneWatch(zones, lines, SIZE, LABELS)


def walked(over: ZoneWatch, path: list[Place], step_s: float = 0.2) -> list[Happening]:
    """Return what happens, presence aside, when one track walks along `path`."""
    told: list[Happening] = []
    for n, place in enumerate(path):
        told += over.update(at(place), n * step_s)
    return [h for h in told if h.kind is not EventKind.PRESENCE]


def kinds(happenings: list[Happening]) -> list[tuple[str, str]]:
    """Return kind and direction of each."""
    return [(h.kind.value, h.direction) for h in happenings]


def test_walking_down_over_the_line_is_forward() -> None:
    """From the left of A→B (above, when it points right) to its right."""
    told = walked(watch(lines=(DOOR,)), [(500, y) for y in range(400, 620, 20)])
    assert kinds(told) == [("line_crossed", "forward")]
    assert (told[0].where, told[0].label, told[0].track) == ("door", "person", 1)


def test_walking_up_is_backward() -> None:
    """The other way round."""
    told = walked(watch(lines=(DOOR,)), [(500, y) for y in range(600, 380, -20)])
    assert kinds(told) == [("line_crossed", "backward")]


def test_jitter_on_the_line_is_one_crossing_or_none() -> None:
    """A hundred wobbles within the dead band count once if the walk goes on, else never."""
    wobble = [(500.0, 500.0 + 4 * (-1) ** n) for n in range(100)]
    through = [(500.0, 400.0), *wobble, (500.0, 600.0)]
    back = [(500.0, 400.0), *wobble, (500.0, 400.0)]
    assert kinds(walked(watch(lines=(DOOR,)), through)) == [("line_crossed", "forward")]
    assert walked(watch(lines=(DOOR,)), back) == []
    assert walked(watch(lines=(DOOR,)), [(500.0, 400.0), *wobble]) == []


def test_passing_beside_a_line_is_not_crossing_it() -> None:
    """Only the segment counts, not the line it lies on."""
    short = Line(name="gate", a=(0.4, 0.5), b=(0.6, 0.5))
    assert walked(watch(lines=(short,)), [(700, y) for y in range(400, 620, 20)]) == []


def test_a_fast_walker_is_seen_crossing() -> None:
    """One step from far above to far below is a crossing: places are joined up."""
    assert len(walked(watch(lines=(DOOR,)), [(500, 10), (500, 990)])) == 1


def test_a_line_with_confirmation_counts_who_stays_and_not_who_comes_back() -> None:
    """Dated at the crossing, with the box of then; a visit of half a second is none."""
    sure = replace(DOOR, confirm_s=1.0)
    on, back = [(500.0, y) for y in (440, 470, 530, 560)], [(500.0, y) for y in (530, 470, 440)]
    told = walked(watch(lines=(sure,)), [*on, *[(500.0, 560.0 + n) for n in range(6)]])
    assert kinds(told) == [("line_crossed", "forward")]
    assert told[0].t_s == pytest.approx(0.4)
    assert told[0].box[3] == 530
    assert walked(watch(lines=(sure,)), [*on, *back, *[(500.0, 400.0)] * 20]) == []


def test_a_track_that_ends_before_its_confirmation_did_not_cross() -> None:
    """Nobody saw it keep the far side."""
    over = watch(lines=(replace(DOOR, confirm_s=1.0),))
    assert walked(over, [(500.0, 440.0), (500.0, 560.0), (500.0, 565.0)]) == []
    assert over.update(at(), 60.0) == []


def test_stays_of_one_track_add_up_to_loitering() -> None:
    """In and out: the third stay of two seconds makes five; each stay alone makes no long stay."""
    room = replace(ROOM, loiter_s=5.0)
    stay = [(500.0, 300.0)] * 3 + [(500.0, 500.0)] * 11
    told = walked(watch((room,)), stay * 4)
    loiter = [h for h in told if h.kind is EventKind.LOITER]
    assert [(h.where, h.event, h.dwell_s) for h in loiter] == [("room", True, pytest.approx(5.0))]
    assert EventKind.DWELL not in {h.kind for h in told}


def test_going_the_watched_way_through_a_zone_is_told_once_per_visit() -> None:
    """Down is watched: up and sideways are nothing, the step into the zone is part of the way."""
    room = replace(ROOM, heading_deg=90.0)
    down = [(500.0, float(y)) for y in range(380, 640, 20)]
    told = walked(watch((room,)), [*down, *down[::-1], *down])
    headings = [h for h in told if h.kind is EventKind.HEADING]
    assert [(h.where, h.direction) for h in headings] == [("room", "90°")] * 2
    aside = [(float(x), 500.0) for x in range(300, 700, 20)]
    assert EventKind.HEADING not in {h.kind for h in walked(watch((room,)), aside)}


def test_a_fast_walker_is_seen_heading() -> None:
    """One look inside the zone is enough: the step into it is movement."""
    room = replace(ROOM, heading_deg=0.0)
    told = walked(watch((room,)), [(100.0, 500.0), (500.0, 500.0), (900.0, 500.0)])
    assert ("heading", "0°") in kinds(told)


def test_unconfirmed_tracks_do_nothing_and_are_made_up_for_when_confirmed() -> None:
    """A flicker never crosses; a walker who crosses before the confirmation is told after it."""
    over = watch((ROOM,), (DOOR,))
    assert over.update(at((500, 300), confirmed=False), 0.0) == []
    assert over.update(at((500, 550), confirmed=False), 0.1) == []
    told = over.update(at((500, 560)), 0.2)
    assert Counter(h.kind for h in told) == {
        EventKind.PRESENCE: 1,
        EventKind.LINE_CROSSED: 1,
        EventKind.ZONE_ENTERED: 1,
    }


def test_coasting_boxes_move_nobody() -> None:
    """A prediction that runs over a line is not a crossing."""
    over = watch(lines=(DOOR,))
    over.update(at((500, 450)), 0.0)
    assert over.update(at((500, 600), observed=False), 0.2) == []
    assert over.update(at((500, 440)), 0.4) == []


def test_entering_and_leaving_with_dwell() -> None:
    """Seconds inside are those between both."""
    path = [(500.0, 300.0), (500.0, 450.0)] + [(500.0, 500.0)] * 10 + [(500.0, 700.0)]
    told = walked(watch((ROOM,)), path)
    assert kinds(told) == [("zone_entered", ""), ("zone_left", "")]
    assert told[1].dwell_s == pytest.approx(11 * 0.2)


def test_staying_too_long_is_told_once_per_visit() -> None:
    """Two visits, two dwell events, each at five seconds."""
    visit = [(500.0, 300.0)] + [(500.0, 500.0)] * 40
    told = walked(watch((ROOM,)), [*visit, *visit])
    dwells = [h for h in told if h.kind is EventKind.DWELL]
    assert [h.dwell_s for h in dwells] == [pytest.approx(5.0), pytest.approx(5.0)]


def test_born_inside_occupies_but_did_not_enter() -> None:
    """Present, counted in the room, no entering; leaving is seen and told."""
    over = watch((ROOM,))
    told = over.update(at((500, 500)), 0.0)
    assert kinds(told) == [("presence", ""), ("zone_entered", "born")]
    assert not told[1].event
    assert over.occupancy() == {("room", "person"): 1}
    assert kinds(over.update(at((500, 700)), 1.0)) == [("zone_left", "")]
    assert not over.occupancy()


def test_a_track_that_ends_inside_is_lost_not_left() -> None:
    """The visit ends when it was last seen, and is no event."""
    over = watch((replace(ROOM, evidence=True),))
    for n in range(20):
        over.update(at((500, 500)), n * 0.1)
    told = over.update(at(), 1.9 + FORGET_S + 0.1)
    assert kinds(told) == [("zone_left", "lost")]
    assert told[0].dwell_s == pytest.approx(1.9)
    assert (told[0].event, told[0].evidence) == (False, False)


def test_a_track_that_returns_in_time_goes_on_with_its_visit() -> None:
    """Two seconds behind a pillar are not two visits."""
    over = watch((ROOM,))
    over.update(at((500, 300)), 0.0)
    over.update(at((500, 500)), 0.2)
    over.update(at(), 1.0)
    told = over.update(at((500, 500)), 2.0) + over.update(at((500, 700)), 2.2)
    assert kinds(told) == [("zone_left", "")]
    assert told[0].dwell_s == pytest.approx(2.0)


def test_nobody_jumps_across_a_gap() -> None:
    """Above the line before, below after, and in the room: neither crossed nor entered."""
    over = watch((ROOM,), (DOOR,))
    over.update(at((500, 300)), 0.0)
    over.interrupt(1.0)
    assert kinds(over.update(at((500, 550)), 2.0)) == [("zone_entered", "born")]
    assert over.occupancy() == {("room", "person"): 1}


def test_presence_is_told_after_absence_only() -> None:
    """Per class, with ten seconds of hysteresis; a short gap is no new arrival."""
    over = watch()

    def told(t_s: float, class_id: int) -> list[str]:
        track = int(t_s * 10) + 1
        return [h.label for h in over.update(at((1, 1), ids=(track,), class_id=class_id), t_s)]

    assert told(0.0, 0) == ["person"]
    assert told(5.0, 0) == []
    assert told(6.0, 1) == ["dog"]
    over.interrupt(7.0)
    assert told(14.0, 0) == []
    assert told(24.0, 0) == ["person"]


def test_labels_and_flags_of_a_zone_hold() -> None:
    """Other classes do nothing there; whether it is an event is the zone's to say."""
    quiet = Zone(name="q", polygon=ROOM.polygon, labels=["dog"], events=False, evidence=True)
    over = watch((quiet,))
    assert walked(over, [(500, 300), (500, 500)]) == []
    over.update(at((500, 300), ids=(9,), class_id=1), 1.0)
    told = over.update(at((500, 500), ids=(9,), class_id=1), 1.2)
    assert [(h.kind, h.event, h.evidence) for h in told] == [(EventKind.ZONE_ENTERED, False, True)]


def test_a_zone_thinner_than_the_margin_can_be_entered() -> None:
    """The dead band never swallows the zone itself."""
    strip = Zone(name="s", polygon=[(0.0, 0.5), (1.0, 0.5), (1.0, 0.504), (0.0, 0.504)])
    assert kinds(walked(watch((strip,)), [(500, 400), (500, 502)])) == [("zone_entered", "")]


@pytest.mark.parametrize(
    "polygon", [[(0.1, 0.1), (0.2, 0.2)], [(0.1, 0.1), (math.nan, 0.2), (0.3, 0.1)]]
)
def test_a_zone_that_is_none_is_refused(polygon: list[Place]) -> None:
    """Two corners, or a corner nowhere."""
    with pytest.raises(ValueError, match=r"corners|place"):
        watch((Zone(name="bad", polygon=polygon),))


places = st.tuples(st.integers(0, 1000).map(float), st.integers(0, 1000).map(float))
paths = st.lists(places, min_size=2, max_size=30)


def net(told: list[Happening]) -> int:
    """Return forward minus backward."""
    directions = Counter(h.direction for h in told if h.kind is EventKind.LINE_CROSSED)
    return directions["forward"] - directions["backward"]


@given(paths, st.floats(0.1, 0.9), st.floats(0.1, 0.9))
def test_a_closed_path_crosses_a_wall_net_zero(
    path: list[Place], left: float, right: float
) -> None:
    """Whoever ends where they began, clear of the wall, crossed as often forward as backward."""
    wall = Line(name="wall", a=(-0.1, left), b=(1.1, right))
    start = (500.0, -200.0)
    assert net(walked(watch(lines=(wall,)), [start, *path, start])) == 0


@given(paths)
def test_a_mirrored_path_has_mirrored_counts(path: list[Place]) -> None:
    """Upside down, forward becomes backward and nothing else changes."""
    wall = Line(name="wall", a=(-0.1, 0.5), b=(1.1, 0.5))  # its ends are half-open: keep off them
    offset = [(x, y + 0.5) for x, y in path]
    mirrored = [(x, 1000.0 - y) for x, y in offset]
    one = walked(watch(lines=(wall,)), offset)
    two = walked(watch(lines=(wall,)), mirrored)
    swap = {"forward": "backward", "backward": "forward"}
    assert [h.direction for h in one] == [swap[h.direction] for h in two]
    assert [h.t_s for h in one] == [h.t_s for h in two]


@given(paths, st.integers(0, 3), st.booleans())
def test_the_order_of_a_zones_corners_does_not_matter(
    path: list[Place], turn: int, backwards: bool
) -> None:
    """The same polygon, begun at another corner or drawn the other way round."""
    corners = ROOM.polygon[turn:] + ROOM.polygon[:turn]
    other = Zone(name="room", polygon=corners[::-1] if backwards else corners, dwell_s=5.0)
    assert walked(watch((ROOM,)), path) == walked(watch((other,)), path)


@given(st.lists(st.one_of(places, st.none()), max_size=60), st.integers(0, 1_000_000))
def test_visits_balance(path: list[Place | None], seed: int) -> None:
    """Entered + born inside - left - lost = inside now, with births and losses at random."""
    over = watch((ROOM,))
    dice = random.Random(seed)
    balance, t_s = 0, 0.0
    for place, track in zip(path, itertools.count(1), strict=False):
        t_s += dice.choice([0.2, 1.0, 4.0])
        known = 1 + track // 8
        told = over.update(at(*([place] if place else []), ids=(known,) if place else None), t_s)
        for h in told:
            balance += {"zone_entered": 1, "zone_left": -1}.get(h.kind.value, 0)
        assert sum(over.occupancy().values()) == balance
