"""Quality of one picture: what is wrong is named, with advice; what cannot be judged is None."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.sim.scene import Scene
from vedette.vision.picture import Picture, Plane
from vedette.vision.quality import QualityLimits, assess, measure


def _blurred(luma: Plane, sigma_px: float) -> Plane:
    return np.asarray(cv2.GaussianBlur(luma, (0, 0), sigma_px), np.uint8)


def test_real_footage_is_good(vtest: list[Picture]) -> None:
    """Nothing is wrong with any picture of the pedestrians clip."""
    for picture in vtest:
        verdict = assess(picture.small_luma(), picture_px=picture.size)
        assert verdict.ok, verdict
        assert all(0 <= score <= 1 for score in verdict.scores().values())


def test_sharpness_falls_with_every_step_of_blur(vtest: list[Picture]) -> None:
    """More blur is always less sharp, and far out of focus is a problem with advice."""
    luma = vtest[0].y
    steps = [measure(_blurred(luma, sigma)).sharpness or 0 for sigma in (1, 2, 4, 8, 12)]
    assert steps == sorted(steps, reverse=True)
    verdict = assess(_blurred(luma, 12))
    assert verdict.problems == ("ImageTooBlurry",)
    assert "focus" in verdict.advice[0]


def test_sharpness_does_not_depend_on_light_and_contrast(vtest: list[Picture]) -> None:
    """Half the contrast at another brightness measures about as sharp."""
    luma = vtest[0].small_luma()
    dimmed = (luma * 0.5 + 40).astype(np.uint8)
    assert measure(dimmed).sharpness == pytest.approx(measure(luma).sharpness, rel=0.05)


def test_dark_and_bright_pictures_are_named_and_not_judged_for_focus(vtest: list[Picture]) -> None:
    """Exposure comes first: a black picture is not called blurred."""
    luma = vtest[0].small_luma()
    assert assess((luma * 0.05 + 16).astype(np.uint8)).problems == ("ImageTooDark",)
    assert assess(np.clip(luma * 0.1 + 228, 0, 255).astype(np.uint8)).problems == (
        "ImageTooBright",
    )


def test_a_uniform_picture_has_no_focus_to_judge() -> None:
    """Even with rounding noise its sharpness is None, and missing from the scores."""
    gray = np.full((120, 160), 128, np.uint8)
    gray[::7, ::5] = 129
    verdict = assess(gray)
    assert verdict.problems == ("LowContrast",)
    assert verdict.measured.sharpness is None
    assert "sharpness" not in verdict.scores()


def test_rounding_to_grey_levels_is_not_taken_for_detail() -> None:
    """A smooth ramp of low contrast is not sharp because its steps are whole numbers."""
    rng = np.random.default_rng(2)
    ramp = np.linspace(100, 130, 160)[None, :] + rng.uniform(-0.5, 0.5, (120, 160))
    assert (measure(ramp.round().astype(np.uint8)).sharpness or 0) < 0.03


def test_size_and_shape_are_judged_where_they_are_given(vtest: list[Picture]) -> None:
    """Too small is named, a changed aspect ratio is named, another size of the same is fine."""
    luma = vtest[0].small_luma()
    assert assess(luma, picture_px=(160, 120)).problems == ("LowResolution",)
    changed = assess(luma, picture_px=(768, 432), expected_px=(768, 576))
    assert changed.problems == ("FormatChanged",)
    assert assess(luma, picture_px=(640, 480), expected_px=(768, 576)).ok
    assert len(changed.advice) == 1


def test_limits_are_settings(vtest: list[Picture]) -> None:
    """A stricter limit finds the same picture wanting."""
    strict = QualityLimits(sharpness=5.0)
    assert assess(vtest[0].small_luma(), strict).problems == ("ImageTooBlurry",)


def _scene(t_s: float = 3.0) -> Plane:
    """Return the luma of the rendered street at full size, its drawn grain smoothed away."""
    return _blurred(Picture.from_bgr(Scene((640, 360)).picture(t_s)).y, 1.0)


def _noisy(luma: Plane, sigma: float, seed: int = 1) -> Plane:
    noise = np.random.default_rng(seed).normal(0, sigma, luma.shape)
    return np.clip(luma + noise, 0, 255).round().astype(np.uint8)


def _jpeg(luma: Plane, quality: int) -> Plane:
    _, data = cv2.imencode(".jpg", luma, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)


@pytest.mark.parametrize("sigma", [2.0, 4.0, 8.0, 16.0])
def test_noise_is_measured_in_grey_levels(sigma: float) -> None:
    """On a ramp, which hides nothing, the estimate is within a tenth of what was added."""
    ramp = np.tile(np.linspace(70, 180, 640), (360, 1))
    assert measure(_noisy(ramp.astype(np.uint8), sigma)).noise == pytest.approx(sigma, rel=0.1)


def test_a_noisy_picture_is_named_where_its_full_size_is_known() -> None:
    """Averaged down the noise is gone: without the whole plane there is no number, not a zero."""
    luma = _noisy(_scene(), 10.0)
    assert "ImageTooNoisy" in assess(luma).problems
    small = np.asarray(cv2.resize(luma, (160, 90), interpolation=cv2.INTER_AREA), np.uint8)
    reduced = assess(small)
    assert reduced.measured.noise is None
    assert "noise" not in reduced.scores()
    assert "ImageTooNoisy" in assess(small, full=luma).problems
    assert "ImageTooNoisy" not in assess(_scene()).problems


def test_blocks_of_hard_compression_are_named() -> None:
    """JPEG of quality 5 is named, of quality 85 not; blurred afterwards there are no blocks."""
    luma = _noisy(_scene(), 2.0)
    assert "CompressionArtefacts" in assess(_jpeg(luma, 5)).problems
    assert "CompressionArtefacts" not in assess(_jpeg(luma, 85)).problems
    assert "CompressionArtefacts" not in assess(_blurred(_jpeg(luma, 5), 3)).problems


def test_what_is_lost_at_either_end_is_named() -> None:
    """A third at white or at black is a problem of its own, with advice on what to do."""
    luma = np.clip(_scene(), 60, 180)
    for level, name in ((235, "HighlightsClipped"), (16, "ShadowsClipped")):
        lost = luma.copy()
        lost[:120] = level
        verdict = assess(lost)
        assert name in verdict.problems
        assert "WDR" in verdict.advice[verdict.problems.index(name)]


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["noise", "flat", "ramp", "checks"]),
)
def test_scores_are_within_bounds_for_any_plane(
    height: int, width: int, seed: int, kind: str
) -> None:
    """Of any size and content: finite, 0 to 1, one advice per problem, and no exception."""
    rng = np.random.default_rng(seed)
    if kind == "noise":
        luma = rng.integers(0, 256, (height, width)).astype(np.uint8)
    elif kind == "flat":
        luma = np.full((height, width), rng.integers(0, 256), np.uint8)
    elif kind == "ramp":
        luma = np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1))
    else:
        luma = ((np.indices((height, width)).sum(0) % 2) * 255).astype(np.uint8)
    verdict = assess(luma, picture_px=(width, height), full=luma)
    assert all(0.0 <= score <= 1.0 for score in verdict.scores().values()), verdict
    assert len(verdict.advice) == len(verdict.problems)


@settings(deadline=None, max_examples=15)
@given(st.floats(1.0, 6.0), st.floats(1.3, 2.0), st.integers(0, 1000))
def test_a_stronger_degradation_never_measures_better(
    strength: float, factor: float, seed: int
) -> None:
    """More blur is less sharp and more noise noisier, from any strength on."""
    luma = _scene(seed / 50)
    weak, strong = (measure(_blurred(luma, s)) for s in (strength, strength * factor))
    assert (strong.sharpness or 0) <= (weak.sharpness or 0)
    weak, strong = (measure(_noisy(luma, s, seed)) for s in (strength, strength * factor))
    assert weak.noise is not None
    assert strong.noise is not None
    assert strong.noise > weak.noise
