"""Quality of one picture: what is wrong is named, with advice; what cannot be judged is None."""

import cv2
import numpy as np
import pytest

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
