"""What a camera makes of another model: tracks, sums and labels at the change."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.clock import wall_ms
from vedette.edge.evidence.desk import EvidenceDesk
from vedette.edge.lookout import Lookout
from vedette.edge.ring import PacketRing
from vedette.edge.serving import GONE, Reading
from vedette.edge.settings import Camera
from vedette.inference.model import Result
from vedette.wire.messages import Aggregate, Box, EventKind, EventReport

MakeStreet = Callable[..., Any]
NEXT = "sha256:next"


def reading(labels: list[str], *, threshold: float = 0.5, **camera: Any) -> Reading:
    """Return the door's reading of a model with these labels."""
    return Reading.of(Camera(id="door", **camera), labels, digest=NEXT, threshold=threshold)


def numbered(result: Result, class_id: int) -> Result:
    """Return the result with every object of another class."""
    found = result.detections
    ids = np.full(len(found), class_id, np.int32)
    return replace(result, detections=replace(found, class_id=ids))


def walk(street: Any, start: int, end: int, read: Reading | None = None, class_id: int = 0) -> None:
    """Let the lane take pictures `start` to `end` of five a second, seen through a model."""
    for n in range(start, end):
        frame = street.frame(n / 5, n)
        found = numbered(street.result(n / 5), class_id)
        street.lane.finish(street.lane.look(frame), frame, "analysed", found, read)


def slices(street: Any, end_s: float) -> list[Aggregate]:
    """Return the slices up to a time."""
    cut = street.lane.cut(wall_ms(street.clock.now_at()) + round(end_s * 1000))
    return [one for one in cut if isinstance(one, Aggregate)]


@given(
    before=st.lists(st.sampled_from("abcdef"), min_size=1, unique=True),
    after=st.lists(st.sampled_from("abcdef"), min_size=1, unique=True),
)
def test_classes_are_the_same_by_name(before: list[str], after: list[str]) -> None:
    """Each class finds its name again, or is gone; no two become one."""
    ids = reading(before).ids_in(reading(after)).tolist()
    for label, found in zip(before, ids, strict=True):
        assert found == (after.index(label) if label in after else GONE)
    kept = [one for one in ids if one != GONE]
    assert len(kept) == len(set(kept))


@pytest.mark.parametrize(("labels", "class_id"), [(["person", "cart"], 0), (["cart", "person"], 1)])
def test_who_is_in_view_stays_who_they_are(
    street: MakeStreet, labels: list[str], class_id: int
) -> None:
    """Over a change of model, also one that numbers classes otherwise: one track, one crossing."""
    made = street()
    walk(made, 0, 8)
    walk(made, 8, 20, reading(labels), class_id)
    crossings = [e for e in made.of(EventReport) if e.kind is EventKind.LINE_CROSSED]
    assert [(e.label, e.model) for e in crossings] == [("person", NEXT)]
    tracks = {e.track for e in made.of(EventReport)}
    assert len(tracks) == 1
    assert not [e for e in made.of(EventReport) if e.kind is EventKind.PRESENCE and e.model == NEXT]


def test_every_count_carries_the_model_that_made_it(street: MakeStreet) -> None:
    """The slice ends at the change: frames, detections and seconds of each model are its own."""
    made = street()
    walk(made, 0, 8)
    walk(made, 8, 20, reading(["cart", "person"]), 1)
    first, second = slices(made, 4.0)
    assert (first.model, second.model) == ("sha256:none", NEXT)
    assert first.end_ms == second.start_ms == made.lane.start_ms - 4000 + 1600
    assert (first.frames.analysed, second.frames.analysed) == (8, 12)
    assert (first.detections, second.detections) == ({"person": 8}, {"person": 12})
    # The time up to the first picture of the next model was seen by the one before.
    assert first.presence_s["person"] + second.presence_s["person"] == pytest.approx(3.6, abs=0.21)
    assert first.presence_s["person"] >= 1.2


def test_a_class_that_is_no_more_ends_its_tracks(street: MakeStreet) -> None:
    """Its visits end as lost, in the old model's slice; the next model's persons are new ones."""
    made = street()
    walk(made, 0, 16)  # in the zone on the right by now
    walk(made, 16, 20, reading(["cart", "dog"]), 1)
    first, second = slices(made, 4.0)
    assert first.zones["right"]["person"].dwell_s is not None
    assert first.zones["right"]["person"].left == 0, "lost is not left"
    assert "person" not in second.zones.get("right", {})
    assert second.detections == {"dog": 4}
    assert made.analysis.reading.labels == ("cart", "dog")


def test_a_picture_of_the_old_model_never_follows_one_of_the_next(street: MakeStreet) -> None:
    """Workers may finish in any order: the change comes once, where it is in the camera's order."""
    made = street()
    read, before = reading(["person", "cart"]), made.analysis.reading
    frames = [made.frame(n / 5, n) for n in range(6)]
    tickets = [made.lane.look(frame) for frame in frames]
    for n in (5, 3, 4, 1, 0, 2):
        by = before if n < 3 else read
        made.lane.finish(tickets[n], frames[n], "analysed", made.result(n / 5), by)
    first, second = slices(made, 2.0)
    assert (first.frames.analysed, second.frames.analysed) == (3, 3)


def test_a_change_right_after_a_cut_still_ends_the_slice(street: MakeStreet) -> None:
    """A picture older than the slice that began meanwhile: a millisecond holds the counts."""
    made = street()
    walk(made, 0, 5)
    zero_ms = made.lane.start_ms
    made.lane.cut(zero_ms + 2_000)
    walk(made, 5, 7, reading(["person", "cart"]))
    first, second = slices(made, 3.0)
    assert (first.start_ms, first.end_ms) == (zero_ms + 2_000, zero_ms + 2_001)
    assert (first.model, second.model) == ("sha256:none", NEXT)
    assert second.frames.analysed == 2


class _Notes:
    """What an evidence store is told."""

    def __init__(self) -> None:
        self.noted: list[list[Box]] = []
        self.asked: list[bool] = []

    def note(self, _camera: str, _t_s: float, boxes: list[Box], _problems: object) -> None:
        """Remember."""
        self.noted.append(boxes)

    def request(self, wanted: Any, _ring: object) -> None:
        """Remember whether the clip may rely on boxes of people."""
        self.asked.append(wanted.watches_people)


def test_no_blurred_clip_relies_on_people_over_a_change(
    street: MakeStreet, new_result: Callable[..., Any]
) -> None:
    """From a model that knows people to one that does not, and back: clips in between cover all."""
    made, notes = street(), _Notes()
    desk = EvidenceDesk(
        notes,  # pyright: ignore[reportArgumentType]
        PacketRing(0.0, 0),
        made.said.append,
        camera=Camera(id="door"),
        reading=replace(reading(["person"]), watches_people=True),
        lookout=Lookout(None),
    )
    frame = made.frame(1.0)
    desk.note(frame, [])
    assert notes.noted == [[]]
    desk.follow(reading(["cart"]), frame.t_s)
    desk.note(frame, [])
    (whole,) = notes.noted[-1]
    assert whole.xyxy == (0.0, 0.0, 320.0, 192.0), "a clip asked for before relies on boxes"
    desk.follow(replace(reading(["person"]), watches_people=True), frame.t_s)
    walk(made, 0, 20)
    (event,) = [e for e in made.of(EventReport) if e.kind is EventKind.LINE_CROSSED]
    for later_s in (0.0, 300.0):
        what: Any = type("What", (), {"kind": event.kind, "t_s": frame.t_s + later_s})()
        desk.want(frame, what, event)
    assert notes.asked == [False, True]
