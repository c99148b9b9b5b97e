"""Shelves: a reach and a lasting change is a pick; light, shadows and passers-by are none."""

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from vedette.sim.shelf_exam import examine, watched
from vedette.sim.shelf_scene import SIZE_PX, ZONE, ShelfScene
from vedette.vision.happenings import Happening
from vedette.vision.picture import Picture, Plane
from vedette.vision.shelf import LEAN_S, ShelfWatch
from vedette.vision.shelf_picture import Patch, Window, differs, moved
from vedette.vision.tracking import Tracks
from vedette.wire.messages import EventKind
from vedette.wire.signed import Zone

SHELF = Zone(name="shelf", polygon=[(0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9)], shelf=True)
SIZE = (320, 180)
CAN = (140, 70, 166, 120)
Box = tuple[int, int, int, int]


def board() -> Plane:
    """Return an empty shelf, BGR, with a little texture."""
    dice = np.random.default_rng(1)
    bgr = np.full((180, 320, 3), 120, np.uint8)
    bgr[::20] = 90
    return np.clip(bgr + dice.normal(0, 2, bgr.shape), 0, 255).astype(np.uint8)


def drawn(*boxes: Box, gain: float = 1.0, noise: int = 0) -> Picture:
    """Return the shelf with striped cans in these places."""
    bgr = board().astype(np.float32)
    for x0, y0, x1, y1 in boxes:
        bgr[y0:y1, x0:x1] = (40, 60, 180)
        bgr[y0 + 8 : y1 - 8 : 8, x0 + 3 : x1 - 3] = 220
    dice = np.random.default_rng(noise)
    bgr = bgr * gain + dice.normal(0, 2, bgr.shape)
    return Picture.from_bgr(np.clip(bgr, 0, 255).astype(np.uint8))


def person(*boxes: Box, track: int = 7, class_id: int = 0) -> Tracks:
    """Return confirmed tracks with these boxes."""
    n = len(boxes)
    return Tracks(
        track_id=np.arange(track, track + n, dtype=np.int64),
        boxes_xyxy=np.array(boxes, np.float32).reshape(n, 4),
        class_id=np.full(n, class_id, np.int32),
        confidence=np.full(n, 0.9, np.float32),
        confirmed=np.ones(n, np.bool_),
        born_t_s=np.zeros(n),
        seen_t_s=np.zeros(n),
        observed=np.ones(n, np.bool_),
    )


class Story:
    """A watch over the drawn shelf, five looks a second."""

    def __init__(self, zone: Zone = SHELF, labels: tuple[str, ...] = ("person", "dog")) -> None:
        self.watch = ShelfWatch([zone], SIZE, labels)
        self.t_s = 0.0
        self.told: list[Happening] = []

    def show(
        self, seconds: float, *boxes: Box, gain: float = 1.0, who: Tracks | None = None
    ) -> "Story":
        """Look at cans in these places for some time."""
        for _ in range(round(seconds * 5)):
            picture = drawn(*boxes, gain=gain, noise=round(self.t_s * 10))
            self.told += self.watch.update(picture, who or Tracks.empty(), self.t_s)
            self.t_s += 0.2
        return self

    def hand(self, *cans: Box) -> "Story":
        """Reach in from above and out again, before cans in these places."""
        for low in (20, 40, 70, 90, 70, 40):
            self.show(0.2, *cans, (146, 0, 160, low))
        return self

    def kinds(self) -> list[str]:
        """Return the kinds that were told."""
        return [h.kind.value for h in self.told]


def test_a_can_taken_by_a_hand_is_a_pick_with_its_place_and_times() -> None:
    """No person was detected: nobody's track; the box is the can's, the times are around it."""
    story = Story().show(4, CAN).hand(CAN).show(4)
    (pick,) = story.told
    assert pick.kind is EventKind.PICKED
    assert (pick.where, pick.track, pick.label) == ("shelf", None, "")
    assert np.allclose(pick.box, CAN, atol=12)
    assert pick.compared_s is not None
    before_s, after_s = pick.compared_s
    assert before_s <= 4.0 < pick.t_s <= 5.6 <= after_s <= 7.0


def test_a_can_that_is_put_down_is_placed_and_taken_again_is_picked() -> None:
    """The same place, three times."""
    story = Story().show(4).hand().show(4, CAN).hand(CAN).show(4).hand().show(4, CAN)
    assert story.kinds() == ["placed", "picked", "placed"]


def test_touching_without_taking_is_nothing() -> None:
    """A hand that goes in and out."""
    assert Story().show(4, CAN).hand(CAN).show(4, CAN).told == []


def test_the_person_who_covered_the_place_is_named() -> None:
    """Two people before the shelf: the one whose box was over the can."""
    both = person((120, 40, 180, 180), (20, 40, 80, 180))
    story = Story().show(4, CAN).show(2, CAN, who=both).show(2, who=both).show(4)
    (pick,) = story.told
    assert (pick.kind, pick.track, pick.label) == (EventKind.PICKED, 7, "person")


def test_who_stands_before_the_shelf_is_no_change_of_it() -> None:
    """A detected person for half a minute, with blinking detections, and then gone."""
    body = (120, 40, 180, 180)
    story = Story().show(4, CAN)
    for _ in range(30):
        story.show(0.8, CAN, body, who=person(body)).show(0.2, CAN, body)
    assert story.show(12, CAN).told == []


def test_a_person_whose_detection_blinks_is_still_there() -> None:
    """Longer unseen than a place needs to be at rest, and no thing that was put there."""
    body = (120, 40, 180, 150)
    story = Story().show(4, CAN).show(3, CAN, body, who=person(body)).show(1.4, CAN, body)
    assert story.show(3, CAN, body, who=person(body)).show(4, CAN).told == []


def test_who_has_gone_does_not_stay_before_the_shelf_for_long() -> None:
    """The pick is told three seconds after the person was last seen."""
    body = person((120, 40, 180, 150))
    assert Story().show(4, CAN).show(2, CAN, who=body).show(3.2).kinds() == ["picked"]


@pytest.mark.parametrize("gain", [0.7, 1.3])
def test_a_lamp_is_no_hand_that_reaches_in(gain: float) -> None:
    """What vanishes by itself just as the light jumps was not taken by the light."""
    other: Box = (200, 70, 226, 120)
    story = Story().show(4, CAN, other).show(4, other, gain=gain)
    assert story.told == []


def test_light_that_changed_everywhere_is_no_movement() -> None:
    """Brighter all over moves nothing; what moved besides is found all the same."""
    window = Window(tuple((x * 320, y * 180) for x, y in SHELF.polygon), SIZE)
    before, after = (window.luma(drawn(CAN, gain=gain)) for gain in (1.0, 0.7))
    assert not moved(before, after).any()
    gone = moved(before, window.luma(drawn(gain=0.7)))
    assert 0.02 < gone[window.inside].mean() < 0.1


def test_colour_that_changed_everywhere_is_no_difference() -> None:
    """White balance that drifts leaves the shelf as it is; a can of another colour does not."""
    window = Window(tuple((x * 320, y * 180) for x, y in SHELF.polygon), SIZE)
    picture = drawn(CAN)
    before = window.patch(picture, window.luma(picture))
    warmer = Patch(before.luma, before.chroma + np.array([-9.0, 9.0], np.float32))
    assert not differs(before, warmer, window.inside).any()
    painted = warmer.chroma.copy()
    painted[30:50, 60:80] += np.float32(20.0)
    found = differs(before, Patch(before.luma, painted), window.inside)
    assert found[35:45, 65:75].all()
    assert found.mean() < 0.1


def test_other_classes_do_not_reach() -> None:
    """A dog's box over the zone is no reach; what vanishes then was not taken by anybody."""
    dog = person((120, 40, 180, 180), class_id=1)
    assert Story().show(4, CAN).show(2, CAN, who=dog).show(2, who=dog).show(4).told == []


def test_what_changes_without_a_reach_becomes_part_of_the_shelf() -> None:
    """A can that vanishes by itself, as on a screen, is no pick; a later pick beside it is."""
    other: Box = (200, 70, 226, 120)
    story = Story().show(4, CAN, other).show(4, other)
    assert story.told == []
    assert story.hand(other).show(1, other).told == []


@pytest.mark.parametrize("gain", [0.6, 0.8, 1.4])
def test_light_that_jumps_or_creeps_is_no_change(gain: float) -> None:
    """On and off, and slowly; with a person there, too."""
    story = Story().show(4, CAN).show(4, CAN, gain=gain).show(4, CAN)
    for n in range(40):
        story.show(0.2, CAN, gain=1 + (gain - 1) * n / 40)
    body = (120, 40, 180, 180)
    story.show(2, CAN, body, who=person(body)).show(4, CAN, gain=gain)
    assert story.told == []


def test_a_pick_is_found_in_other_light_than_before() -> None:
    """The lamp went out while the person was there."""
    body = (120, 40, 180, 180)
    story = Story().show(4, CAN).show(2, CAN, body, who=person(body)).show(4, gain=0.7)
    assert story.kinds() == ["picked"]


def test_what_leans_over_the_edge_has_to_stay() -> None:
    """An undetected person who stands there for some seconds and goes is no change."""
    body = (120, 40, 180, 180)
    story = Story().show(4, CAN).show(LEAN_S - 3, CAN, body).show(4, CAN)
    assert story.told == []


def test_after_a_gap_nothing_is_told_of_it() -> None:
    """What was taken while nobody looked is nobody's pick; the next one is."""
    story = Story().show(4, CAN)
    story.watch.interrupt()
    assert story.show(4).told == []
    assert story.hand().show(4, CAN).kinds() == ["placed"]


def test_a_zone_that_is_no_shelf_is_not_watched() -> None:
    """Nothing is looked at, whatever happens in it."""
    story = Story(Zone(name="floor", polygon=SHELF.polygon))
    assert not story.watch
    assert story.show(2, CAN).hand().show(4).told == []


def test_a_shelf_at_the_edge_or_of_a_few_pixels_is_watched_without_error() -> None:
    """The smallest zone that can be drawn, the whole picture, and odd sizes."""
    whole = Zone(name="all", polygon=[(0, 0), (1, 0), (1, 1), (0, 1)], shelf=True)
    tiny = Zone(name="dot", polygon=[(0.99, 0.99), (1, 0.99), (1, 1)], shelf=True)
    for size in ((161, 91), (16, 16), (3840, 2160)):
        watch = ShelfWatch([whole, tiny], size, ["person"])
        grey = np.full(size[::-1], 90, np.uint8)
        for n in range(8):
            watch.update(Picture.from_gray(grey + np.uint8(n % 2)), Tracks.empty(), n * 0.5)


@pytest.mark.parametrize(("seed", "with_boxes"), [(1, True), (10, False)])
def test_the_rendered_shelf_is_read_well(seed: int, *, with_boxes: bool) -> None:
    """A floor far below what the benchmark measures, on few seeds."""
    got = examine(seed, with_boxes=with_boxes, deeds=6)
    happened = got.found + got.missed
    assert happened >= 4
    assert got.found >= 0.7 * happened
    assert got.false <= 1
    assert got.right >= 0.8 * got.found


def test_the_watch_tells_the_same_every_time() -> None:
    """Nothing in it is left to chance."""
    one, two = (watched(ShelfScene(2, deeds=2), seconds=15.0) for _ in range(2))
    assert one == two
    assert SIZE_PX == (640, 360)
    assert len(ZONE) == 4


def test_bottles_of_a_real_clip_are_told_as_they_are_taken_and_put(testdata: Path) -> None:
    """Eight times, by a bare arm: when and what was read from the pictures by eye."""
    film = cv2.VideoCapture(str(testdata / "video" / "bottle-detection.mp4"))
    table = Zone(
        name="table", polygon=[(0.03, 0.2), (0.97, 0.2), (0.97, 0.95), (0.03, 0.95)], shelf=True
    )
    watch, told = ShelfWatch([table], (640, 360), ["person"]), []
    for n in itertools.count():
        if not film.grab():
            break
        if n % 6 == 0:
            picture = Picture.from_bgr(np.asarray(film.retrieve()[1], np.uint8))
            told += watch.update(picture, Tracks.empty(), n / 29.833)
    expected = [7, -13.5, 17.5, 17.5, -24.5, -28.7, 31.7, -36.5]  # taken; put: negative
    got = sorted(h.t_s for h in told)
    assert got == pytest.approx([abs(t_s) for t_s in expected], abs=1.5)
    kinds = [h.kind.value for h in sorted(told, key=lambda h: h.t_s)]
    assert kinds == ["picked" if t_s > 0 else "placed" for t_s in expected]


@pytest.mark.parametrize("corner", [(0.0, 0.0), (1.0, 1.0), (0.5, 1.0)])
@pytest.mark.parametrize("size_px", [(320, 192), (321, 193), (2, 2)])
def test_a_zone_without_area_wherever_it_lies_stops_nothing(
    corner: tuple[float, float], size_px: tuple[int, int]
) -> None:
    """Three times the same corner: nothing is ever told of it, and no look fails."""
    watch = ShelfWatch([Zone(name="dot", polygon=[corner] * 3, shelf=True)], size_px, ["person"])
    for n in range(8):
        picture = Picture.from_gray(np.full(size_px[::-1], 40 * (n % 4), np.uint8))
        assert watch.update(picture, person((0, 0, 2, 2)), n / 2) == []
