"""Thumbnails: nobody in them, nothing finer than a cell, nothing before there is a background."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.vision.picture import Picture, Plane
from vedette.vision.privacy import BackgroundMedian, ThumbnailSettings


def _scene() -> Plane:
    """Return an empty place, uint8 BGR (288, 384, 3)."""
    x = np.tile(np.linspace(60, 160, 384), (288, 1))
    return np.stack([x, x[:, ::-1], np.full_like(x, 110)], axis=-1).astype(np.uint8)


def _decoded(jpeg: bytes | None) -> Plane:
    assert jpeg is not None
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def _filled(pictures: list[Plane]) -> BackgroundMedian:
    median = BackgroundMedian()
    for n, bgr in enumerate(pictures):
        assert median.add(Picture.from_bgr(bgr), 5.0 * n)
    return median


def _crossing() -> list[Plane]:
    """Return twelve pictures in which a bright person walks through the empty place."""
    pictures = []
    for n in range(12):
        scene = _scene()
        scene[100:250, 32 * n : 32 * n + 50] = (20, 240, 240)
        pictures.append(scene)
    return pictures


def test_nothing_is_shown_before_there_are_enough_samples() -> None:
    """Eleven samples give None, the twelfth gives a picture; a burst is one sample."""
    median = BackgroundMedian()
    picture = Picture.from_bgr(_scene())
    for n in range(11):
        assert median.add(picture, 5.0 * n)
        assert not median.add(picture, 5.0 * n + 1)
        assert median.thumbnail() is None
    median.add(picture, 55.0)
    assert median.thumbnail() is not None
    assert median.newest_t_s == 55.0


def test_a_person_crossing_the_scene_is_absent() -> None:
    """The thumbnail of the crossing is that of the empty place, cell by cell."""
    empty = _decoded(_filled([_scene()] * 12).thumbnail())
    crossed = _decoded(_filled(_crossing()).thumbnail())
    assert np.abs(empty.astype(int) - crossed).max() <= 20  # one level of quantisation
    assert np.abs(empty.astype(int) - crossed).mean() < 1
    # The person would have been seen: a single picture differs by far more.
    single = _decoded(_filled([_crossing()[5]] * 12).thumbnail())
    assert np.abs(empty.astype(int) - single).max() > 80


@pytest.mark.parametrize("width_px", [16, 48, 96])
def test_the_reduction_cannot_be_undone(vtest: list[Picture], width_px: int) -> None:
    """Every decoded row is made of at most `width_px` flat cells, every column likewise."""
    median = BackgroundMedian()
    for n, picture in enumerate(vtest[:20]):
        median.add(picture, 5.0 * n)
    shown = _decoded(median.thumbnail(width_px))
    rows = round(width_px * 576 / 768)
    factor = shown.shape[1] // width_px
    assert shown.shape == (rows * factor, width_px * factor, 3)
    cells = shown.reshape(rows, factor, width_px, factor, 3)
    assert (cells == cells[:, :1, :, :1]).all()
    assert len(np.unique(cells[:, 0, :, 0].reshape(-1, 3), axis=0)) <= rows * width_px


def test_two_scenes_with_the_same_cells_give_the_same_bytes() -> None:
    """Detail finer than a cell leaves no trace at all, which is what irreversible means."""
    plain = _filled([np.full((288, 384, 3), 128, np.uint8)] * 12).thumbnail()
    face = np.full((288, 384, 3), 128, np.uint8)
    face[100:108:2, 100:108] += 6
    face[101:108:2, 100:108] -= 6
    assert _filled([face] * 12).thumbnail() == plain


def test_nobody_can_ask_for_more_cells_than_are_kept() -> None:
    """A huge width gives the sample's own width, not the picture's."""
    shown = _decoded(_filled([_scene()] * 12).thumbnail(100_000))
    cells = shown[::8, ::8]
    assert cells.shape[1] == ThumbnailSettings().sample_px
    with pytest.raises(ValueError, match="at least one"):
        _filled([_scene()]).thumbnail(0)


def test_the_file_holds_no_metadata() -> None:
    """No EXIF, comment or other application segment than JFIF's own."""
    jpeg = _filled([_scene()] * 12).thumbnail()
    assert jpeg is not None
    header = jpeg[: jpeg.index(b"\xff\xda")]
    assert not any(bytes((0xFF, marker)) in header for marker in (0xE1, 0xE2, 0xED, 0xFE))


def test_old_samples_go_and_another_size_starts_anew() -> None:
    """After five minutes a changed place shows as it is now; a new stream size is a new start."""
    median = _filled([_scene()] * 100)
    dark = Picture.from_bgr((_scene() * 0.3).astype(np.uint8))
    for n in range(70):
        median.add(dark, 500.0 + 5.0 * n)
    assert _decoded(median.thumbnail()).mean() < 45
    median.add(Picture.from_bgr(_scene()[:200]), 1000.0)
    assert median.thumbnail() is None


@pytest.mark.parametrize(
    "broken",
    [{"least_samples": 1}, {"window_s": 10.0}, {"sample_px": 4000}, {"levels": 1}],
)
def test_settings_that_would_show_people_are_refused(broken: dict[str, float]) -> None:
    """A median of one sample is a photograph."""
    with pytest.raises(ValueError, match=r"median|window|sample_px"):
        ThumbnailSettings(**broken)  # pyright: ignore[reportArgumentType]


@settings(max_examples=25, deadline=None)
@given(st.integers(12, 400), st.integers(12, 300), st.integers(1, 64))
def test_any_picture_size_gives_whole_cells(width: int, height: int, width_px: int) -> None:
    """Small, tall and odd pictures come out without a fraction of a cell."""
    gray: npt.NDArray[np.uint8] = np.full((height, width, 3), 77, np.uint8)
    shown = _decoded(_filled([gray] * 12).thumbnail(width_px))
    columns = min(width_px, width, ThumbnailSettings().sample_px)
    assert shown.shape[1] % (columns * 8) == 0
    assert shown.shape[0] % 8 == 0


@pytest.mark.parametrize("size_px", [(16, 4000), (1, 300), (4000, 16)])
def test_pictures_of_any_shape_have_a_thumbnail(size_px: tuple[int, int]) -> None:
    """However narrow: the JPEG stays within what the format can hold."""
    median = BackgroundMedian()
    picture = Picture.from_gray(np.full(size_px[::-1], 90, np.uint8))
    for n in range(12):
        median.add(picture, 5.0 * n)
    assert max(_decoded(median.thumbnail()).shape) <= 65_500
