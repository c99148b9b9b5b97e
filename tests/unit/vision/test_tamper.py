"""Tamper: signs rise and fall in seconds, normal footage raises none, nothing is fine early."""

from collections.abc import Iterable
from itertools import cycle, islice

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.vision.picture import Picture, Plane
from vedette.vision.tamper import TamperVerdict, TamperWatch, _Hysteresis

PERIOD_S = 1.0


def _feed(watch: TamperWatch, planes: Iterable[Plane], start_s: float) -> list[TamperVerdict]:
    """Return the verdicts on planes that come one a second."""
    return [watch.update(plane, start_s + PERIOD_S * n) for n, plane in enumerate(planes)]


def _covered(luma: Plane) -> Plane:
    """Return a hand on the lens: mid grey, a soft gradient, a little noise."""
    rng = np.random.default_rng(int(luma.sum()))
    soft = np.linspace(70, 110, luma.shape[1])[None, :] + rng.normal(0, 1, luma.shape)
    return soft.astype(np.uint8)


def _defocused(luma: Plane) -> Plane:
    return np.asarray(cv2.GaussianBlur(luma, (0, 0), 2.0), np.uint8)


CASES = {
    "ImageTooDark": lambda luma: (luma * 0.06 + 14).astype(np.uint8),
    "ImageTooBright": lambda luma: np.clip(luma * 0.1 + 230, 0, 255).astype(np.uint8),
    "Covered": _covered,
    "ImageTooBlurry": _defocused,
    "GlobalSceneChange": lambda luma: np.ascontiguousarray(luma[::-1, ::-1]),
}


@pytest.fixture(scope="module")
def small(vtest: list[Picture]) -> list[Plane]:
    """Return the small luma of every second of the clip."""
    return [picture.small_luma() for picture in vtest]


def test_normal_footage_raises_nothing(small: list[Plane]) -> None:
    """Over the whole clip with people walking about there is no sign and no suspicion."""
    verdicts = _feed(TamperWatch(), small, 0.0)
    assert {sign for verdict in verdicts for sign in verdict.signs} == set()
    assert {sign for verdict in verdicts for sign in verdict.suspected} == set()
    assert verdicts[-1].ok


def test_nothing_is_fine_before_there_was_evidence(small: list[Plane]) -> None:
    """The first seconds are not known yet; a picture that never changes stays unknown."""
    verdicts = _feed(TamperWatch(), small[:10], 0.0)
    assert [verdict.ok for verdict in verdicts[:5]] == [False] * 5
    assert verdicts[9].ok
    still = _feed(TamperWatch(), [small[0]] * 25, 0.0)
    assert not any(verdict.ok or verdict.signs for verdict in still)


@pytest.mark.parametrize("sign", CASES)
def test_a_sign_rises_is_dated_and_falls(sign: str, small: list[Plane]) -> None:
    """Each sign alone rises after eight seconds, dated to its start, and falls after four."""
    watch = TamperWatch()
    _feed(watch, small[:20], 0.0)
    during = _feed(watch, [CASES[sign](luma) for luma in small[20:40]], 20.0)
    assert during[0].suspected == (sign,)
    assert during[7].signs == ()
    assert during[8].signs == (sign,)
    assert during[-1].signs == (sign,)
    assert during[-1].since_t_s[sign] == pytest.approx(20.0)
    assert not during[-1].ok
    after = _feed(watch, small[40:60], 40.0)
    assert after[3].signs == (sign,)
    assert after[4].signs == ()
    assert after[-1].ok


@pytest.mark.parametrize("sign", ["ImageTooDark", "ImageTooBright", "Covered"])
def test_a_camera_that_was_covered_from_the_start_is_never_fine(
    sign: str, small: list[Plane]
) -> None:
    """These need no reference: they rise on a camera that never showed anything else."""
    verdicts = _feed(TamperWatch(), [CASES[sign](luma) for luma in small[:30]], 0.0)
    assert verdicts[-1].signs == (sign,)
    assert not any(verdict.ok for verdict in verdicts)


def test_a_short_disturbance_raises_nothing(small: list[Plane]) -> None:
    """Five seconds of a hand before the lens are a suspicion, not a sign."""
    watch = TamperWatch()
    _feed(watch, small[:20], 0.0)
    during = _feed(watch, [_covered(luma) for luma in small[20:25]], 20.0)
    after = _feed(watch, small[25:35], 25.0)
    assert during[-1].suspected == ("Covered",)
    assert {sign for verdict in (*during, *after) for sign in verdict.signs} == set()


def test_a_frozen_picture_is_found_and_one_fresh_picture_ends_it(small: list[Plane]) -> None:
    """Alike for thirty seconds is frozen; a picture with new content disproves it at once."""
    watch = TamperWatch()
    _feed(watch, small[:20], 0.0)
    frozen = _feed(watch, [small[19]] * 40, 20.0)
    assert frozen[28].signs == ()
    assert frozen[-1].signs == ("FrozenPicture",)
    assert watch.update(small[20], 60.0).signs == ()


def test_a_static_scene_with_a_sensors_noise_is_not_frozen(small: list[Plane]) -> None:
    """Noise of half a grey level in an empty scene is a live camera."""
    rng = np.random.default_rng(5)
    still = small[0].astype(np.float64)
    noisy = [(still + rng.normal(0, 0.5, still.shape)).round().astype(np.uint8) for _ in range(60)]
    assert _feed(TamperWatch(), noisy, 0.0)[-1].ok


@pytest.mark.parametrize("change", ["one small thing moves", "the light drifts by one level"])
def test_the_least_real_change_is_a_live_camera(change: str, small: list[Plane]) -> None:
    """Few pixels that differ much, or all that differ least, are not a frozen picture."""
    other = small[0].copy()
    if change == "one small thing moves":
        other[60:65, 80:85] ^= 0x40
    else:
        other = np.where(other < 255, other + 1, 254).astype(np.uint8)
    watch = TamperWatch()
    verdicts = _feed(watch, [small[0], other] * 25, 0.0)
    assert {sign for verdict in verdicts for sign in verdict.signs} == set()
    assert verdicts[-1].ok


def test_a_slightly_defocused_camera_is_judged_by_its_own_past(small: list[Plane]) -> None:
    """Softness that would pass as a scene of its own is a sign where the scene was sharp."""
    soft = [np.asarray(cv2.GaussianBlur(luma, (0, 0), 1.2), np.uint8) for luma in small]
    assert _feed(TamperWatch(), soft[:20], 0.0)[-1].ok
    watch = TamperWatch()
    _feed(watch, small[:20], 0.0)
    assert _feed(watch, soft[20:40], 20.0)[-1].signs == ("ImageTooBlurry",)


def test_focus_lost_over_minutes_is_seen_because_the_reference_is_slow(
    small: list[Plane],
) -> None:
    """Five pictures a second, each hardly softer than the last: against the start all are."""
    watch = TamperWatch()
    _feed(watch, small[:20], 0.0)
    signs: tuple[str, ...] = ()
    for n, luma in enumerate(islice(cycle(small), 900)):
        soft = np.asarray(cv2.GaussianBlur(luma, (0, 0), 0.2 + n / 750), np.uint8)
        signs = watch.update(soft, 20.0 + n / 5).signs
    assert signs == ("ImageTooBlurry",)


def test_an_encoder_that_repeats_a_still_scene_until_its_next_keyframe_is_not_frozen(
    small: list[Plane],
) -> None:
    """Ten exact repeats, then a slightly different keyframe, over and over: live, and settled."""
    repeated = [plane for plane in small[:8] for _ in range(10)]
    verdicts = _feed(TamperWatch(), repeated, 0.0)
    assert {sign for verdict in verdicts for sign in verdict.signs} == set()
    assert verdicts[-1].ok


def test_a_gap_is_not_time_in_which_a_condition_held(small: list[Plane]) -> None:
    """One dark picture before and one after an hour without pictures is no sign."""
    watch = TamperWatch()
    _feed(watch, small[:20], 0.0)
    dark = CASES["ImageTooDark"](small[20])
    watch.update(dark, 20.0)
    assert watch.update(dark, 3620.0).signs == ()


def test_a_standing_sign_survives_a_gap_until_it_is_disproved(small: list[Plane]) -> None:
    """A frozen or turned camera that reconnects is not fine just because it reconnected."""
    watch = TamperWatch()
    _feed(watch, small[:20], 0.0)
    turned = CASES["GlobalSceneChange"]
    _feed(watch, [turned(luma) for luma in small[20:40]], 20.0)
    assert watch.update(turned(small[40]), 4000.0).signs == ("GlobalSceneChange",)


def test_darkness_says_nothing_about_the_scene(small: list[Plane]) -> None:
    """A turned camera in the dark keeps its sign: what cannot be seen is not disproved."""
    watch = TamperWatch()
    _feed(watch, small[:20], 0.0)
    _feed(watch, [CASES["GlobalSceneChange"](luma) for luma in small[20:40]], 20.0)
    dark = _feed(watch, [CASES["ImageTooDark"](luma) for luma in small[40:60]], 40.0)
    assert set(dark[-1].signs) == {"ImageTooDark", "GlobalSceneChange"}


def test_dimming_the_lights_is_no_other_scene(small: list[Plane]) -> None:
    """A third of the light, as after switching to night mode, keeps edges where they were."""
    watch = TamperWatch()
    _feed(watch, small[:20], 0.0)
    dimmed = _feed(watch, [(luma * 0.35 + 14).astype(np.uint8) for luma in small[20:60]], 20.0)
    assert {sign for verdict in dimmed for sign in verdict.signs} == set()


def test_a_person_can_say_that_a_new_view_is_right(small: list[Plane]) -> None:
    """After `relearn` the turned camera settles on its new scene."""
    watch = TamperWatch()
    turned = [CASES["GlobalSceneChange"](luma) for luma in small]
    _feed(watch, small[:20], 0.0)
    assert _feed(watch, turned[20:40], 20.0)[-1].signs == ("GlobalSceneChange",)
    watch.relearn()
    after = _feed(watch, turned[40:60], 40.0)
    assert not after[0].ok
    assert after[-1].ok


def test_a_changed_stream_size_does_not_break_the_watch(small: list[Plane]) -> None:
    """Another aspect ratio starts a reference of its own instead of failing."""
    watch = TamperWatch()
    _feed(watch, small[:20], 0.0)
    cropped = [np.ascontiguousarray(luma[15:105]) for luma in small[20:40]]
    assert _feed(watch, cropped, 20.0)[-1].signs == ()


@given(st.lists(st.sampled_from([True, False, None]), max_size=60))
def test_hysteresis_changes_only_after_an_unbroken_run(conditions: list[bool | None]) -> None:
    """A sign rises only after 3 s of True in a row and falls only after 2 s of False in a row."""
    sign = _Hysteresis(raise_s=3.0, clear_s=2.0)
    before = False
    for n, holds in enumerate(islice(cycle(conditions), len(conditions)), 1):
        sign.update(holds, float(n))
        if sign.stands and not before:
            assert conditions[max(0, n - 4) : n] == [True] * 4
        if before and not sign.stands:
            assert conditions[max(0, n - 3) : n] == [False] * 3
        assert sign.stands or not (n >= 4 and conditions[n - 4 : n] == [True] * 4)
        before = sign.stands


def test_a_lens_that_wavers_between_dark_and_covered_is_blind_all_the_same(
    small: list[Plane],
) -> None:
    """Pictures that are now dark, now uniformly grey add up; the sign is dated at the first."""
    watch = TamperWatch()
    _feed(watch, small[:20], 0.0)
    pair = (CASES["ImageTooDark"](small[20]), _covered(small[20]))
    verdicts = _feed(watch, islice(cycle(pair), 12), 20.0)
    assert verdicts[3].signs == ()
    assert verdicts[-1].signs
    assert min(verdicts[-1].since_t_s.values()) == 20.0
    assert _feed(watch, small[20:30], 32.0)[-1].signs == ()
