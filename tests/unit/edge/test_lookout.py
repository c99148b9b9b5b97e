"""What is known of a picture before inference."""

import itertools
from collections.abc import Callable
from typing import Any

import av
import pytest

from vedette.edge import frame as frames
from vedette.errors import DecodeFailed
from vedette.sim.closed_world import World, back_and_forth

MakeStreet = Callable[..., Any]


def look(street: Any, seconds: float, *, fps: int = 5, start_s: float = 0.0) -> list:
    """Return the looks at a stretch of the world."""
    times = [start_s + n / fps for n in range(round(seconds * fps))]
    return [street.lookout.look(street.frame(t_s)) for t_s in times]


def test_a_still_scene_is_gated_but_looked_at_again_and_again(street: MakeStreet) -> None:
    """Of forty still seconds the first picture and a scan every ten seconds are analysed."""
    made = street(world=World([]), gate=True)
    analysed = [n for n, seen in enumerate(look(made, 40)) if seen.analyse]
    assert analysed[0] == 0
    assert 3 <= len(analysed) <= 5
    assert max(b - a for a, b in itertools.pairwise(analysed)) <= 51


def test_whoever_moves_is_analysed(street: MakeStreet) -> None:
    """No picture with a walker in it is gated."""
    walker = back_and_forth(1, y=0.8, start_s=5.0, legs=1, leg_s=6.0)
    made = street(world=World([walker]), gate=True)
    seen = look(made, 12)
    assert all(one.analyse for one in seen[26:55])


def test_without_a_gate_everything_is_analysed(street: MakeStreet) -> None:
    """The gate is off: nothing is passed over."""
    assert all(seen.analyse for seen in look(street(world=World([])), 3))


def test_who_stands_still_is_looked_at_while_tracked(street: MakeStreet) -> None:
    """A track in view keeps the gate open although nothing moves."""
    made = street(world=World([]), gate=True)
    look(made, 4)
    frame = made.frame(4.0)
    assert not made.lookout.look(frame).analyse
    assert made.lookout.look(made.frame(4.2), tracked=True).analyse


def test_a_cover_is_dated_when_it_was_put_on(street: MakeStreet) -> None:
    """The sign stands after eight seconds, dated up to a second before the cover, never after."""
    made = street(world=World([], dark_s=[(10.0, 60.0)]))
    seen = look(made, 25)
    assert seen[30].settled
    assert not seen[0].settled
    first = next(n for n, one in enumerate(seen) if one.signs)
    assert 17.5 <= first / 5 <= 19.5
    began_ms = seen[first].since_ms - made.clock.now_at().timestamp() * 1000
    assert 8_750 <= began_ms <= 10_000


def test_signs_are_judged_once_a_second_and_stand_in_between(street: MakeStreet) -> None:
    """Between two judgements no pixel is touched without a gate; what stood goes on standing."""
    made = street(world=World([], dark_s=[(0.0, 60.0)]))
    seen = look(made, 12, fps=10)
    stood = [n for n, one in enumerate(seen) if one.signs]
    assert stood == list(range(stood[0], len(seen)))
    untouched = made.frame(12.05)
    made.lookout.look(made.frame(12.0))
    assert made.lookout.look(untouched).signs
    assert untouched._picture is None


def test_quality_is_told_and_cut(street: MakeStreet) -> None:
    """Scores once a second into bins; a cut takes them, the last verdict stays."""
    made = street(world=World([]))
    assert made.lookout.quality() == {}
    look(made, 6)
    scores = made.lookout.quality()
    assert scores
    assert all(0 <= score <= 1 for score in scores.values())
    bins = made.lookout.cut_quality()
    assert {sum(one.to_wire().counts) for one in bins.values()} == {6}
    assert made.lookout.cut_quality() == {}
    assert made.lookout.quality() == scores


def test_advice_is_on_what_held_half_of_the_time(street: MakeStreet) -> None:
    """A few dark seconds give none; when most of the last ones were dark it says what to do."""
    made = street(world=World([], dark_s=[(20.0, 26.0), (40.0, 200.0)]))
    assert made.lookout.advice() == []
    look(made, 30, fps=1)
    assert not any("black" in text for text in made.lookout.advice())
    look(made, 30, fps=1, start_s=30.0)
    assert any("almost black" in text for text in made.lookout.advice())


def test_no_thumbnail_before_the_background_is_known(street: MakeStreet) -> None:
    """Twelve samples five seconds apart: not before, then a JPEG, never more cells than asked."""
    made = street(world=World([back_and_forth(1, y=0.8, start_s=0.0, legs=20, leg_s=4.0)]))
    look(made, 54, fps=1)
    assert made.lookout.thumbnail(48) is None
    look(made, 4, fps=1, start_s=54)
    jpeg = made.lookout.thumbnail(48)
    assert jpeg is not None
    assert jpeg.startswith(b"\xff\xd8")


def test_covered_pictures_do_not_become_the_background(street: MakeStreet) -> None:
    """While a sign stands no sample is taken: darkness is not the place."""
    made = street(world=World([], dark_s=[(10.0, 200.0)]))
    look(made, 100, fps=1)
    assert made.lookout.thumbnail(48) is None


def test_pixels_that_cannot_be_read_are_left_to_the_worker(
    street: MakeStreet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pixel format that cannot be converted is analysed, fails there and is counted there."""

    def refuse(video: av.VideoFrame) -> None:
        raise DecodeFailed(video.format.name)

    monkeypatch.setattr(frames, "planes", refuse)
    made = street(gate=True)
    seen = [made.lookout.look(made.frame(n / 5)) for n in range(5)]
    assert all(one.analyse and not one.signs for one in seen)
    assert made.lookout.quality() == {}
