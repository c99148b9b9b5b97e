"""A camera that was moved, a scene that only looks different, and what was pinned by a person."""

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from vedette.sim.scene import Scene
from vedette.vision.picture import Picture, Plane, shrink
from vedette.vision.reference import References, edge_map
from vedette.vision.tamper import TamperSettings, TamperVerdict, TamperWatch

View = Callable[[int, float, float], Plane]
"""The small luma of second n of a camera that is turned by parts of its picture."""


def _cut(luma: Plane, right: float, down: float) -> Plane:
    """Return three quarters of a picture, as a camera sees it that is turned within it."""
    height, width = luma.shape
    wide, high = width * 3 // 4, height * 3 // 4
    left = (width - wide) // 2 + round(right * wide)
    top = (height - high) // 2 + round(down * high)
    part = np.ascontiguousarray(luma[top : top + high, left : left + wide])
    return shrink(part, 160, round(160 * high / wide))


@pytest.fixture(scope="module")
def drawn() -> View:
    """A street with people walking through, rendered: needs no footage."""
    scene = Scene((960, 540), people=8)
    kept = [Picture.from_bgr(scene.picture(float(n))).y for n in range(30)]
    return lambda n, right, down: _cut(kept[n % 30], right, down)


@pytest.fixture(scope="module")
def filmed(vtest: list[Picture]) -> View:
    """The pedestrians clip, one picture a second."""
    return lambda n, right, down: _cut(vtest[n % len(vtest)].y, right, down)


@pytest.fixture(params=["drawn", "filmed"])
def view(request: pytest.FixtureRequest) -> View:
    """Both worlds, one after the other."""
    return request.getfixturevalue(request.param)


def _watched(
    watch: TamperWatch, planes: Iterator[Plane], start_s: float, hour: int | None = None
) -> list[TamperVerdict]:
    return [watch.update(plane, start_s + n, hour=hour) for n, plane in enumerate(planes)]


def _pinned(view: View) -> Plane:
    """Return the scene without people, as commissioning pins it."""
    return np.median([view(n, 0, 0) for n in range(15)], axis=0).astype(np.uint8)


def _signs(verdicts: list[TamperVerdict]) -> set[str]:
    return {sign for verdict in verdicts for sign in verdict.signs}


@pytest.mark.parametrize(
    ("right", "down", "words"),
    [(0.05, 0.0, "5 % right"), (-0.04, 0.0, "4 % left"), (0.0, 0.05, "5 % down")],
)
def test_a_camera_moved_by_a_twentieth_is_told_from_the_pinned_scene(
    view: View, right: float, down: float, words: str
) -> None:
    """Within twelve seconds, although it was never seen otherwise, with where it went."""
    watch = TamperWatch(pinned=_pinned(view))
    verdicts = _watched(watch, (view(n, right, down) for n in range(15, 28)), 0.0)
    assert verdicts[-1].signs == ("GlobalSceneChange",)
    assert words in verdicts[-1].detail
    assert not any(verdict.ok for verdict in verdicts)


def test_a_camera_that_is_moved_while_watched_is_told_and_told_back(view: View) -> None:
    """The sign rises with the move and falls when it is turned back; nothing was learnt of it."""
    watch = TamperWatch(pinned=_pinned(view))
    assert _watched(watch, (view(n, 0, 0) for n in range(20)), 0.0)[-1].ok
    moved = _watched(watch, (view(n, 0.05, 0) for n in range(20, 60)), 20.0)
    assert moved[12].signs == moved[-1].signs == ("GlobalSceneChange",)
    assert moved[-1].shift is not None
    assert moved[-1].shift.right == pytest.approx(-0.05, abs=0.01)
    back = _watched(watch, (view(n, 0, 0) for n in range(60, 70)), 60.0)
    assert back[-1].ok
    assert back[-1].detail == ""


def test_a_view_that_creeps_away_is_told_from_the_pinned_scene(view: View) -> None:
    """A thousandth of the picture each ten seconds: learning follows, the pin does not."""
    creeping = [(n, n / 10_000) for n in range(0, 600, 2)]
    watch = TamperWatch(pinned=_pinned(view))
    signs: tuple[str, ...] = ()
    for n, right in creeping:
        signs = watch.update(view(n, right, 0), float(n)).signs
    assert signs == ("GlobalSceneChange",)


def test_people_walking_do_not_move_the_camera(view: View) -> None:
    """Pinned or not, pictures with people in them raise no sign and no suspicion."""
    for pinned in (_pinned(view), None):
        verdicts = _watched(TamperWatch(pinned=pinned), (view(n, 0, 0) for n in range(80)), 0.0)
        assert _signs(verdicts) == set()
        assert not any("GlobalSceneChange" in verdict.suspected for verdict in verdicts)
        assert verdicts[-1].ok


def test_someone_who_stands_before_the_lens_is_not_a_move(view: View) -> None:
    """A third of the picture hidden for a minute, by something that moves about."""
    watch = TamperWatch(pinned=_pinned(view))
    _watched(watch, (view(n, 0, 0) for n in range(20)), 0.0)
    verdicts = []
    for n in range(20, 80):
        plane = view(n, 0, 0).copy()
        at = 20 + (n * 7) % 60
        plane[10:, at : at + 50] = 40 + (n % 5) * 9
        verdicts.append(watch.update(plane, float(n)))
    assert not any(verdict.shift for verdict in verdicts)


@pytest.mark.parametrize("start", ["by day", "by night"])
def test_infrared_light_is_no_other_scene(view: View, start: str) -> None:
    """Grey, flat, bright in the middle and noisy: known by day, or from the pinned scene only."""
    watch = TamperWatch(pinned=_pinned(view))
    if start == "by day":
        _watched(watch, (view(n, 0, 0) for n in range(30)), 0.0, hour=17)
    dark = _watched(watch, (_infrared(view(n, 0, 0), n) for n in range(30, 90)), 30.0, hour=22)
    assert _signs(dark) == set()
    assert dark[-1].ok
    light = _watched(watch, (view(n, 0, 0) for n in range(90, 120)), 90.0, hour=6)
    assert _signs(light) == set()
    assert light[-1].ok


def test_a_weak_lamp_that_lights_the_middle_only_is_no_other_scene(view: View) -> None:
    """Most edges are gone and correlation with them: those that are left lie where they should."""
    known = References(time_constant_s=600.0)
    known.pin(_pinned(view))
    dark = [_infrared(view(n, 0, 0), n, reach=0.55) for n in range(40)]
    seen = [known.compare(edge_map(plane), None) for plane in dark]
    assert any(one is not None and one.likeness < TamperSettings().scene_kept for one in seen)
    watch = TamperWatch(pinned=_pinned(view))
    assert "GlobalSceneChange" not in _signs(_watched(watch, iter(dark), 0.0))


def test_a_camera_moved_under_infrared_light_is_told(view: View) -> None:
    """The pin was made by day, the camera is turned at night."""
    watch = TamperWatch(pinned=_pinned(view))
    planes = (_infrared(view(n, 0.06, 0), n) for n in range(20))
    verdicts = _watched(watch, planes, 0.0, hour=23)
    assert verdicts[-1].signs == ("GlobalSceneChange",)


def test_each_part_of_the_day_is_remembered(view: View) -> None:
    """What night looked like vouches for the next night, after a whole day of something else."""
    known = References(time_constant_s=600.0)
    day = edge_map(view(0, 0, 0))
    night = edge_map(_infrared(view(1, 0, 0), 1))
    known.learn(night, 0.1, 0.0, 23)
    for _ in range(600):
        known.learn(day, 0.5, 60.0, 12)
    forgetful = References(time_constant_s=600.0)
    forgetful.learn(day, 0.5, 0.0, None)
    again = edge_map(_infrared(view(1, 0, 0), 2))
    seen, unseen = known.compare(again, 22), forgetful.compare(again, None)
    assert seen is not None
    assert unseen is not None
    assert seen.likeness > unseen.likeness + 0.1


def test_a_clock_written_into_the_picture_does_not_hold_the_scene_in_place(view: View) -> None:
    """What stays at the top whatever the camera looks at is no evidence of where that is."""

    def written(n: int, right: float) -> Plane:
        plane = view(n, right, 0).copy()
        cv2.putText(plane, f"21 15:{10 + n % 50}", (4, 10), 0, 0.35, (235,), 1)
        return plane

    pinned = np.median([written(n, 0) for n in range(15)], axis=0).astype(np.uint8)
    still = _watched(TamperWatch(pinned=pinned), (written(n, 0) for n in range(20)), 0.0)
    assert _signs(still) == set()
    moved = _watched(TamperWatch(pinned=pinned), (written(n, 0.06) for n in range(20)), 0.0)
    assert _signs(moved) == {"GlobalSceneChange"}


def test_a_new_pin_ends_the_sign(view: View) -> None:
    """A person who commissions the camera as it stands now is believed at once."""
    watch = TamperWatch(pinned=_pinned(view))
    moved = _watched(watch, (view(n, 0.06, 0) for n in range(20)), 0.0)
    assert moved[-1].signs
    again = np.median([view(n, 0.06, 0) for n in range(15)], axis=0).astype(np.uint8)
    watch.pin(again)
    after = _watched(watch, (view(n, 0.06, 0) for n in range(20, 40)), 20.0)
    assert _signs(after) == set()
    assert after[-1].ok


@pytest.mark.parametrize("pinned", [np.full((90, 160), 90, np.uint8), np.zeros((3, 3), np.uint8)])
def test_a_pin_that_shows_nothing_is_none(view: View, pinned: Plane) -> None:
    """Uniform, or of another shape: the camera is watched without it."""
    watch = TamperWatch(pinned=pinned)
    assert _watched(watch, (view(n, 0, 0) for n in range(20)), 0.0)[-1].ok


def _infrared(luma: Plane, seed: int, reach: float = 0.9) -> Plane:
    """Return the scene as an infrared lamp might show it: flat, bright in the middle, noisy."""
    height, width = luma.shape
    down, across = np.mgrid[0:height, 0:width]
    far = np.hypot((across - width / 2) / (width / 2), (down - height / 2) / (height / 2))
    light = ((luma.astype(np.float64) - 16) / 219).clip(0, 1) ** 0.6 * np.exp(-((far / reach) ** 2))
    noise = np.random.default_rng(seed).normal(0, 2.0, luma.shape)
    return np.clip(light * 150 + 16 + noise, 0, 255).astype(np.uint8)
