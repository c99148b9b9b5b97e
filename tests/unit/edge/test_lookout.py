"""What is known of a picture before inference."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from vedette.clock import NS_PER_S
from vedette.edge import frame as frames
from vedette.edge.capture import CameraUp
from vedette.edge.commission import CommissionRecord, save
from vedette.edge.pinned import PinnedScene
from vedette.errors import DecodeFailed
from vedette.ids import CameraId
from vedette.sim.closed_world import World, back_and_forth
from vedette.vision.picture import Plane
from vedette.wire.messages import CameraState, State

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


def turned(luma: Plane, right: float) -> Plane:
    """Return what is seen after a turn; what comes into view is a repeated edge."""
    shift = round(right * luma.shape[1])
    padded = np.pad(luma, ((0, 0), (0, shift)), mode="edge")
    return np.ascontiguousarray(padded[:, shift:])


def pin(street: Any, state_dir: Path, right: float, at_ms: int) -> None:
    """Commission the camera: pin the view as it would be after a turn."""
    reference = turned(street.frame(0.0).picture.small_luma(), right)
    save(state_dir, CommissionRecord(camera="door", at_ms=at_ms), reference)


def watch(street: Any) -> None:
    """Let the camera come up and show twenty seconds."""
    now = street.clock.now_at()
    t_s = street.clock.mono_ns() / NS_PER_S
    street.lane.says(CameraUp(CameraId("door"), now, t_s, "h264", (320, 192), "rtsp://door"))
    for n in range(20):
        street.lane.look(street.frame(float(n)))


def test_a_slightly_moved_camera_is_degraded_with_words_and_goes_on_counting(
    street: MakeStreet, tmp_path: Path
) -> None:
    """Moved by less than a tenth against the pin: told and advised, but the time is no gap."""
    made = street(world=World([]))
    pin(made, tmp_path, 0.06, 1)
    made = street(world=World([]), pinned=PinnedScene(tmp_path, "door"))
    watch(made)
    state = made.of(CameraState)[-1]
    assert (state.state, state.cause) == (State.DEGRADED, None)
    assert state.signs == ["GlobalSceneChange"]
    assert "moved by about 6 %" in state.detail
    advice = made.lane.health(20_000, 0).advice
    assert any("commission" in text for text in advice)
    assert any("6 %" in text for text in advice)
    scene = made.lane.health(20_000, 0).scene
    assert scene.is_pinned
    assert scene.pinned_ms is not None
    assert scene.right == pytest.approx(0.06, abs=0.01)
    assert scene.down == pytest.approx(0.0, abs=0.01)
    assert made.lane.reference(32).startswith(b"\xff\xd8\xff")


def test_a_camera_in_its_place_says_so_and_without_a_pin_has_no_reference(
    street: MakeStreet,
) -> None:
    """Alike what was learnt, against no pin; before the first picture nothing is said."""
    made = street(world=World([]))
    assert made.lane.health(0, 0).scene is None
    watch(made)
    scene = made.lane.health(20_000, 0).scene
    assert (scene.is_pinned, scene.pinned_ms) == (False, None)
    assert scene.likeness > 0.8
    assert made.lane.reference(32) is None


def test_a_camera_moved_by_a_fifth_is_tampered_with(street: MakeStreet, tmp_path: Path) -> None:
    """Zones lie somewhere else altogether: nothing that is counted there means anything."""
    made = street(world=World([]))
    pin(made, tmp_path, 0.2, 1)
    made = street(world=World([]), pinned=PinnedScene(tmp_path, "door"))
    watch(made)
    assert made.of(CameraState)[-1].state is State.TAMPERED


def test_a_pin_that_is_renewed_while_the_pipeline_runs_is_taken(
    street: MakeStreet, tmp_path: Path
) -> None:
    """Within half a minute after commissioning the camera is fine as it stands."""
    made = street(world=World([]))
    pin(made, tmp_path, 0.06, 1)
    made = street(world=World([]), pinned=PinnedScene(tmp_path, "door"))
    assert look(made, 20, fps=1)[-1].signs
    pin(made, tmp_path, 0.0, 2)
    assert look(made, 40, fps=1, start_s=20.0)[-1].signs == ()


def test_a_damaged_pin_is_none(street: MakeStreet, tmp_path: Path) -> None:
    """A reference that is not the one in the record is not used, and nothing fails."""
    made = street(world=World([]))
    pin(made, tmp_path, 0.06, 1)
    (tmp_path / "commission" / "door" / "reference.png").write_bytes(b"\x89PNG torn")
    made = street(world=World([]), pinned=PinnedScene(tmp_path, "door"))
    assert look(made, 20, fps=1)[-1].signs == ()
