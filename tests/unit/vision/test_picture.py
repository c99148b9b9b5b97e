"""Pictures: planes as views, colours that survive, odd sizes."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.vision.picture import Picture, shrink


def _gradient(width: int, height: int) -> npt.NDArray[np.uint8]:
    """Return a smooth colour picture, uint8 BGR (h, w, 3)."""
    x = np.linspace(0, 255, width)[None, :].repeat(height, 0)
    y = np.linspace(0, 255, height)[:, None].repeat(width, 1)
    return np.stack([x, y, (x + y) / 2], axis=-1).astype(np.uint8)


@given(st.integers(2, 65), st.integers(2, 65))
def test_a_picture_of_any_size_comes_back_with_its_colours(width: int, height: int) -> None:
    """BGR to planes and back is near, at even and odd sizes."""
    gray = np.full((height, width, 3), 90, np.uint8)
    picture = Picture.from_bgr(gray)
    assert picture.size == (width, height)
    back = picture.to_bgr()
    assert back.shape == (height, width, 3)
    assert np.abs(back.astype(int) - 90).max() <= 2


def test_colours_survive_the_way_through_planes() -> None:
    """A smooth colour picture differs by little after 4:2:0 and back, also at odd sizes."""
    for size in ((96, 64), (97, 63)):
        bgr = _gradient(*size)
        back = Picture.from_bgr(bgr).to_bgr()
        assert np.abs(back.astype(int) - bgr).mean() < 2.5


def test_full_range_is_not_stretched_twice() -> None:
    """White at luma 255 is white and black at 0 is black in a full-range picture."""
    y = np.array([[0, 255]], np.uint8).repeat(2, 0)
    chroma = np.full((1, 1), 128, np.uint8)
    full = Picture(y, chroma, chroma, full_range=True).to_bgr()
    assert full[0, 0].tolist() == [0, 0, 0]
    assert full[0, 1].tolist() == [255, 255, 255]
    limited = Picture(np.full((2, 2), 126, np.uint8), chroma, chroma).to_bgr()
    assert np.abs(limited.astype(int) - 128).max() <= 1


def test_even_and_odd_sizes_take_different_paths_to_the_same_colours() -> None:
    """The fast 4:2:0 conversion and the general one agree within rounding."""
    picture = Picture.from_bgr(_gradient(128, 96))
    even = picture.to_bgr((64, 48)).astype(int)
    odd = picture.to_bgr((65, 49)).astype(int)
    near = cv2.resize(odd.astype(np.float32), (64, 48))
    assert np.abs(even - near).mean() < 2.0


def test_planes_with_a_stride_are_taken_as_they_are() -> None:
    """A decoder's padded rows are viewed, not copied, and give the same picture."""
    picture = Picture.from_bgr(_gradient(64, 48))
    padded = np.zeros((48, 80), np.uint8)
    padded[:, :64] = picture.y
    strided = Picture(padded[:, :64], picture.u, picture.v)
    assert np.shares_memory(strided.y, padded)
    assert np.shares_memory(strided.luma(4), padded)
    assert np.array_equal(strided.to_bgr((32, 24)), picture.to_bgr((32, 24)))


def test_small_luma_keeps_the_aspect_ratio_and_never_enlarges() -> None:
    """The small plane has the asked width, or the picture's own where that is smaller."""
    assert Picture.from_gray(np.zeros((576, 768), np.uint8)).small_luma(160).shape == (120, 160)
    assert Picture.from_gray(np.zeros((30, 40), np.uint8)).small_luma(160).shape == (30, 40)


def test_shrinking_averages_instead_of_skipping_pixels() -> None:
    """A fine checkerboard becomes grey, not black or white, when reduced far."""
    board = (np.indices((480, 640)).sum(0) % 2 * 255).astype(np.uint8)
    small = shrink(board, 100, 75)
    assert np.abs(small.astype(int) - 128).max() <= 3


@pytest.mark.parametrize(
    ("y", "chroma"),
    [
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)),
        (np.zeros((0, 4), np.uint8), np.zeros((0, 2), np.uint8)),
        (np.zeros((4, 4), np.float32), np.zeros((2, 2), np.uint8)),
    ],
)
def test_planes_that_do_not_belong_together_are_refused(
    y: npt.NDArray[np.uint8], chroma: npt.NDArray[np.uint8]
) -> None:
    """Wrong chroma size, an empty picture and a wrong element type are errors at construction."""
    with pytest.raises(ValueError, match=r"chroma|empty|planes"):
        Picture(y, chroma, chroma)


def test_real_footage_converts_as_opencv_does(vtest: list[Picture]) -> None:
    """Planes-first conversion of a real frame equals OpenCV's own full conversion."""
    picture = vtest[0]
    flat = np.concatenate([picture.y.ravel(), picture.u.ravel(), picture.v.ravel()])
    usual = cv2.cvtColor(flat.reshape(-1, picture.width), cv2.COLOR_YUV2BGR_I420)
    assert np.array_equal(picture.to_bgr(), usual)


def test_the_module_stays_free_of_input_and_output() -> None:
    """Rooms under `vision` import no I/O: the source names no such module."""
    source = Path(__file__).parents[3] / "src" / "vedette" / "vision"
    forbidden = ("import av", "import time", "import socket", "import threading", "open(")
    for module in source.rglob("*.py"):
        text = module.read_text(encoding="utf-8")
        assert not any(word in text for word in forbidden), module.name
