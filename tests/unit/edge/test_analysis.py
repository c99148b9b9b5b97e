"""What is made of detections: tracks, events, sums."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from vedette.clock import wall_ms
from vedette.sim.closed_world import Route, World, back_and_forth
from vedette.sim.scene import Bgr
from vedette.wire.messages import EventKind, EventReport, Frames
from vedette.wire.signed import Line, Zone

MakeStreet = Callable[..., Any]


def advance(street: Any, seconds: float, *, fps: int = 5, start_s: float = 0.0) -> list:
    """Return the events of a stretch of the world, every picture analysed."""
    events: list[EventReport] = []
    for n in range(round(seconds * fps)):
        t_s = start_s + n / fps
        events += street.analysis.advance(street.frame(t_s), street.result(t_s))[1]
    return events


def cut(street: Any, end_s: float) -> Any:
    """Return the sums so far."""
    start_ms = wall_ms(street.clock.now_at())
    return street.analysis.cut(start_ms, start_ms + round(end_s * 1000), [], Frames())


def test_a_crossing_is_an_event_with_everything_that_is_known(street: MakeStreet) -> None:
    """Kind, line, direction, class, track, boxes, model and latency; dated at the crossing."""
    made = street()
    (event,) = [e for e in advance(made, 4) if e.kind is EventKind.LINE_CROSSED]
    assert (event.where, event.direction, event.label) == ("mid", "backward", "person")
    assert event.camera == "door"
    assert event.track is not None
    assert event.model == "sha256:none"
    assert event.picture_px == (320, 192)
    assert [box.track for box in event.boxes] == [event.track]
    assert abs(event.at_ms - wall_ms(made.clock.now_at()) - 2_000) <= 400
    assert event.latency_ms is not None


def test_latency_is_from_capture_to_the_event(street: MakeStreet) -> None:
    """The age of the picture when the event is made, by the monotonic clock."""
    made = street()
    frames = [(made.frame(n / 5), made.result(n / 5)) for n in range(20)]
    made.clock.advance(10.0)
    events = [e for f, r in frames for e in made.analysis.advance(f, r)[1]]
    crossing = next(e for e in events if e.kind is EventKind.LINE_CROSSED)
    assert crossing.latency_ms is not None
    assert 7_000 <= crossing.latency_ms <= 8_200


def test_classes_that_are_not_wanted_do_not_exist(street: MakeStreet) -> None:
    """With labels given, others are neither tracked nor counted nor an event."""
    made = street(labels=["cart"])
    assert advance(made, 6) == []
    sums = cut(made, 6)
    assert sums.detections == {}
    assert sums.presence_s == {}


def test_the_model_is_asked_for_less_than_what_counts(street: MakeStreet) -> None:
    """Low detections continue tracks, so they are asked for, and do not count as detections."""
    made = street()
    assert made.analysis.reading.ask_threshold == pytest.approx(0.1)
    frame = made.frame(1.0)
    weak = made.result(1.0)
    weak.detections.confidence[:] = 0.3
    made.analysis.advance(frame, weak)
    assert cut(made, 1).detections.get("person", 0) == 0


def test_each_label_counts_from_its_own_threshold(street: MakeStreet) -> None:
    """0.6 is a cart and no person: it starts a track, is counted and makes events only as one."""
    made = street(threshold=np.array([0.9, 0.3], np.float32))
    assert made.analysis.reading.ask_threshold == pytest.approx(0.1)
    events: list[EventReport] = []
    for n in range(20):
        found = made.result(n / 5)
        found.detections.confidence[:] = 0.6
        found.detections.class_id[:] = n >= 10
        events += made.analysis.advance(made.frame(n / 5), found)[1]
    sums = cut(made, 4)
    assert set(sums.detections) == {"cart"}
    assert set(sums.presence_s) == {"cart"}
    assert {event.label for event in events} == {"cart"}


def test_the_model_is_asked_below_the_lowest_wanted_threshold(street: MakeStreet) -> None:
    """Half of the lowest label's, but a label that is not looked for lowers nothing."""
    low = np.array([0.04, 0.3], np.float32)
    assert street(threshold=low).analysis.reading.ask_threshold == pytest.approx(0.02)
    assert street(threshold=low, labels=["cart"]).analysis.reading.ask_threshold == pytest.approx(
        0.1
    )


def test_sums_are_cut_and_begin_anew(street: MakeStreet) -> None:
    """Two slices together are what one would have been."""
    made = street()
    advance(made, 6)
    first = cut(made, 6)
    advance(made, 6, start_s=6.0)
    second = cut(made, 6)
    whole = street()
    advance(whole, 12)
    both = cut(whole, 12)
    crossings = [c.lines["mid"]["person"] for c in (first, second, both)]
    assert crossings[0].forward + crossings[1].forward == crossings[2].forward
    assert crossings[0].backward + crossings[1].backward == crossings[2].backward == 2
    assert first.detections["person"] + second.detections["person"] == both.detections["person"]
    assert first.presence_s["person"] + second.presence_s["person"] == pytest.approx(
        both.presence_s["person"]
    )


def test_who_stands_still_while_gated_stays_in_the_counts(street: MakeStreet) -> None:
    """Held pictures keep presence and occupancy running without a detection."""
    world = World([back_and_forth(1, y=0.8, start_s=0.0, legs=1, leg_s=100.0, left=0.8)])
    made = street(world=world)
    advance(made, 2)
    for n in range(10, 30):
        made.analysis.hold(made.frame(n / 5))
    sums = cut(made, 6)
    assert sums.presence_s["person"] >= 5.0
    assert sums.zones["right"]["person"].occupancy_s >= 5.0
    assert made.analysis.is_tracking


def test_an_interruption_ends_tracks(street: MakeStreet) -> None:
    """After a gap nobody is known to be in view, and nothing is carried over it."""
    made = street()
    advance(made, 1.6)
    assert made.analysis.is_tracking
    made.analysis.interrupt(None)
    assert not made.analysis.is_tracking
    events = advance(made, 1.8, start_s=2.2)
    assert EventKind.LINE_CROSSED not in {e.kind for e in events}


def test_another_picture_size_is_another_view(
    street: MakeStreet, new_frame: Callable[..., Any]
) -> None:
    """When the camera's resolution changes, lines are laid anew and nobody jumps."""
    made = street()
    advance(made, 1.6)
    made.clock.advance(0)
    picture = made.world.picture(2.4)[:, :160]
    frame = new_frame(made.clock, picture, 2.4)
    _, events = made.analysis.advance(frame, made.result(2.4))
    assert events == []
    after = advance(made, 4, start_s=2.6)
    assert all(e.picture_px == (320, 192) for e in after)


def test_dwelling_is_told_once(street: MakeStreet) -> None:
    """Who stays longer than the zone allows is one event, with the time."""
    world = World([back_and_forth(1, y=0.8, start_s=0.0, legs=1, leg_s=100.0, left=0.8)])
    zone = Zone(name="shop", polygon=[(0, 0), (1, 0), (1, 1), (0, 1)], dwell_s=3.0)
    made = street(world=world, zones=[zone], lines=[])
    dwells = [e for e in advance(made, 8) if e.kind is EventKind.DWELL]
    assert len(dwells) == 1
    assert dwells[0].dwell_s is not None
    assert 3.0 <= dwells[0].dwell_s <= 3.5


def test_what_only_counts_is_no_event(street: MakeStreet) -> None:
    """A line that wants no events counts its crossings all the same."""
    quiet = Line(name="mid", a=(0.5, 0.0), b=(0.5, 1.0), events=False)
    made = street(lines=[quiet], zones=[])
    assert EventKind.LINE_CROSSED not in {e.kind for e in advance(made, 4)}
    assert cut(made, 4).lines["mid"]["person"].backward == 1


def test_evidence_is_asked_for_where_the_line_says_so(street: MakeStreet) -> None:
    """Only the crossing of the line with evidence asks, and the event carries the id."""
    marked = Line(name="mid", a=(0.5, 0.0), b=(0.5, 1.0), evidence=True)
    made = street(lines=[marked])
    asked: list[EventKind] = []

    def want(_frame: object, what: Any, event: EventReport) -> EventReport:
        asked.append(what.kind)
        return event

    made.analysis._want_evidence = want
    events = advance(made, 4)
    assert asked == [EventKind.LINE_CROSSED]
    assert len(events) > 1


class Poster(World):
    """A street with a poster on its wall for the first five seconds."""

    def picture(self, t_s: float) -> Bgr:
        """Return the picture at `t_s`; the walker stands before the poster."""
        out = super().picture(t_s)
        if t_s < 5.0:
            front = out.copy()
            out[110:160, 180:204] = (20, 160, 20)
            out[120:150:6, 184:200] = 250
            for x0, y0, x1, y1 in self.boxes(t_s).values():
                rows, columns = slice(round(y0), round(y1)), slice(max(0, round(x0)), round(x1))
                out[rows, columns] = front[rows, columns]
        return out


def test_a_pick_is_an_event_with_the_place_and_the_times_that_were_compared(
    street: MakeStreet,
) -> None:
    """A poster on the street's wall is taken by the walker who stood before it."""
    wall = Zone(name="wall", polygon=[(0.3, 0.05), (0.95, 0.05), (0.95, 0.95), (0.3, 0.95)])
    route = Route(track=1, passes=((3.0, 0.05, 0.9), (5.0, 0.6, 0.9), (9.0, 0.05, 0.9)))
    made = street(world=Poster([route]), zones=[replace(wall, shelf=True)], lines=[])
    events = advance(made, 12)
    (pick,) = [e for e in events if e.kind in {EventKind.PICKED, EventKind.SHELF_CHANGED}]
    assert (pick.kind, pick.where, pick.label) == (EventKind.PICKED, "wall", "person")
    assert pick.track is not None
    assert pick.boxes[0].label == "changed"
    assert pick.boxes[0].xyxy == pytest.approx((180, 110, 204, 160), abs=16)
    assert pick.confidence is None
    assert pick.compared_ms is not None
    start_ms = wall_ms(made.clock.now_at())
    assert pick.compared_ms[0] < pick.at_ms < pick.compared_ms[1]
    assert 2_000 <= pick.compared_ms[0] - start_ms <= 5_400
    assert cut(made, 12).zones["wall"]["person"].picked == 1


def test_late_pictures_shed_the_slow_path_and_never_events(street: MakeStreet) -> None:
    """The crossing is told and counted; presence and heat of the late time are stated as shed."""
    made = street(budget_ms=200.0)
    frames = [(made.frame(n / 5), made.result(n / 5)) for n in range(20)]
    made.clock.advance(4.5)
    events = [e for f, r in frames for e in made.analysis.advance(f, r)[1]]
    assert [e.kind for e in events if e.kind is EventKind.LINE_CROSSED]
    sums = cut(made, 4)
    assert sums.lines["mid"]["person"].backward == 1
    assert sums.slow_path_shed_s == pytest.approx(3.4, abs=0.01)
    assert sum(sums.presence_s.values()) <= 0.4
    assert sum(sums.detections.values()) <= 2


def noted(street: Any, frames: list[tuple[Any, Any]]) -> list[list[Any]]:
    """Return what is kept for clips of each picture."""
    kept: list[list[Any]] = []
    street.analysis._note_boxes = lambda _frame, boxes: kept.append(boxes)
    for frame, result in frames:
        street.analysis.advance(frame, result)
    return kept


def test_nobody_of_a_crowd_is_left_out_of_what_a_blurred_clip_covers(
    street: MakeStreet, new_result: Callable[..., Any]
) -> None:
    """An event names some boxes; what is kept for clips has all, or the whole picture."""
    made = street()
    places = [
        (20.0 * c, 20.0 * r, 20.0 * c + 8, 20.0 * r + 16) for c in range(16) for r in range(9)
    ]
    crowd = new_result(places)
    kept = noted(made, [(made.frame(n / 5), crowd) for n in range(3)])
    assert [len(boxes) for boxes in kept] == [144, 144, 144]
    many = new_result([(c, 10.0 * r, c + 0.9, 10.0 * r + 5) for c in range(30) for r in range(10)])
    other = street()
    (boxes,) = noted(other, [(other.frame(0.0), many)])
    assert boxes[-1].xyxy == (0.0, 0.0, 320, 192)


def test_who_is_seen_once_is_covered_in_a_blurred_clip(street: MakeStreet) -> None:
    """A single sure detection confirms no track, but somebody was seen there."""
    made = street()
    (boxes,) = noted(made, [(made.frame(1.0), made.result(1.0))])
    assert len(boxes) == 1


def test_a_picture_size_that_changes_to_and_fro_is_no_new_arrival(
    street: MakeStreet, new_frame: Callable[..., Any]
) -> None:
    """Who is present stays so although the stream's size changes every second."""
    made = street()
    events: list[EventReport] = []
    for n in range(20):
        t_s = n / 5
        picture = made.world.picture(t_s)[: 192 - 64 * (n // 5 % 2)]
        frame = new_frame(made.clock, picture, t_s, discontinuity=n % 5 == 0)
        events += made.analysis.advance(frame, made.result(1.0))[1]
    assert [e.kind for e in events].count(EventKind.PRESENCE) == 1
