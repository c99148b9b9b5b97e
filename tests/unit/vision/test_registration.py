"""Registration: where the same content lies in another picture, in whatever light."""

from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.sim.scene import Scene
from vedette.vision.picture import Picture, Plane, shrink
from vedette.vision.reference import edge_map
from vedette.vision.registration import register, spectrum

SIZE = (160, 90)


@cache
def _wide() -> Plane:
    """Return the luma of a rendered street, larger than what a camera shows of it."""
    return Picture.from_bgr(Scene((1280, 720), people=0).picture(0.0)).y


def view(right: float = 0.0, down: float = 0.0) -> Plane:
    """Return what a camera sees that was turned by parts of its picture: (90, 160)."""
    width, height = 960, 540
    left, top = round(160 + right * width), round(90 + down * height)
    return shrink(np.ascontiguousarray(_wide()[top : top + height, left : left + width]), *SIZE)


def infrared(luma: Plane, seed: int = 0) -> Plane:
    """Return the scene as an infrared lamp might show it: flat, bright in the middle, noisy."""
    height, width = luma.shape
    down, across = np.mgrid[0:height, 0:width]
    far = np.hypot((across - width / 2) / (width / 2), (down - height / 2) / (height / 2))
    light = ((luma.astype(np.float64) - 16) / 219).clip(0, 1) ** 0.6 * np.exp(-((far / 0.9) ** 2))
    noise = np.random.default_rng(seed).normal(0, 2.0, luma.shape)
    return np.clip(light * 150 + 16 + noise, 0, 255).astype(np.uint8)


@settings(deadline=None, max_examples=30)
@given(st.floats(-0.12, 0.12), st.floats(-0.12, 0.12))
def test_a_shift_is_found_to_a_fraction_of_a_pixel(right: float, down: float) -> None:
    """A camera turned to the right shows its content further left by as much."""
    found = register(spectrum(edge_map(view())), edge_map(view(right, down)))
    assert found.right == pytest.approx(-right, abs=0.006)
    assert found.down == pytest.approx(-down, abs=0.012)
    assert found.strength > 12


@pytest.mark.parametrize("right", [0.0, 0.05])
def test_light_does_not_move_the_scene(right: float) -> None:
    """Infrared light, gamma and noise leave edges where they are, and a shift what it is."""
    found = register(spectrum(edge_map(view())), edge_map(infrared(view(right))))
    assert found.right == pytest.approx(-right, abs=0.006)
    assert found.strength > 12


def test_another_scene_has_no_peak() -> None:
    """Noise, the same scene upside down and a uniform picture are not placed anywhere."""
    reference = spectrum(edge_map(view()))
    noise = np.random.default_rng(4).integers(0, 256, SIZE[::-1]).astype(np.uint8)
    blurred = np.asarray(cv2.GaussianBlur(noise, (0, 0), 2), np.uint8)
    for other in (noise, blurred, np.ascontiguousarray(view()[::-1, ::-1])):
        assert register(reference, edge_map(other)).strength < 11
    assert register(reference, edge_map(np.full(SIZE[::-1], 90, np.uint8))).strength == 0


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_any_size_of_map_gives_finite_numbers(height: int, width: int, seed: int) -> None:
    """Even of one pixel: bounded, no warning, no exception."""
    rng = np.random.default_rng(seed)
    one, other = (rng.integers(0, 256, (height, width)).astype(np.uint8) for _ in range(2))
    found = register(spectrum(edge_map(one)), edge_map(other))
    assert found.size <= 0.5 + 1 / min(height, width)
    assert np.isfinite(found.strength)
