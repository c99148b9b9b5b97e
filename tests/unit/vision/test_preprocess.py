"""Preprocessing: the tensor is what the usual slow way gives, and boxes find their way back."""

import cv2
import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.vision.picture import Picture
from vedette.vision.preprocess import Preprocess, Transform, prepare

sides = st.integers(16, 4000)
specs = st.builds(
    Preprocess,
    size=st.tuples(st.integers(32, 1024), st.integers(32, 1024)),
    resize=st.sampled_from(["letterbox", "stretch"]),
    anchor=st.sampled_from(["top_left", "center"]),
)


def _usual(picture: Picture, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return the picture by full conversion and then resizing: float32 BGR (h, w, 3)."""
    return cv2.resize(picture.to_bgr(), size, interpolation=cv2.INTER_LINEAR).astype(np.float32)


@given(sides, sides, specs, st.data())
def test_boxes_come_back_where_they_were(
    width: int, height: int, spec: Preprocess, data: st.DataObject
) -> None:
    """Picture to input and back moves a box by less than a hundredth of a pixel."""
    transform = Transform.between((width, height), spec)
    x = sorted(data.draw(st.lists(st.floats(0, width), min_size=2, max_size=2)))
    y = sorted(data.draw(st.lists(st.floats(0, height), min_size=2, max_size=2)))
    box = np.array([[x[0], y[0], x[1], y[1]]], np.float32)
    inside = transform.to_input(box)
    assert inside.min() >= -0.01
    assert (inside[:, 2:] <= np.array(spec.size) + 0.01).all()
    assert np.abs(transform.to_picture(inside) - box).max() < 0.01


@given(sides, sides, specs)
def test_a_letterbox_keeps_the_aspect_ratio(width: int, height: int, spec: Preprocess) -> None:
    """Both axes are scaled alike, within the rounding to even pixels, and fill one side."""
    transform = Transform.between((width, height), spec)
    content_w, content_h = transform.content_px
    assert content_w <= spec.size[0]
    assert content_h <= spec.size[1]
    if spec.resize == "stretch":
        assert (content_w, content_h) == spec.size
        return
    ratio = min(spec.size[0] / width, spec.size[1] / height)
    assert abs(content_w - width * ratio) <= 2
    assert abs(content_h - height * ratio) <= 2


@pytest.mark.parametrize("size", [(512, 512), (416, 416), (384, 288), (411, 311)])
def test_a_stretched_real_frame_is_near_the_usual_way(
    vtest: list[Picture], size: tuple[int, int]
) -> None:
    """Resizing planes before converting differs by about one grey level on average."""
    for picture in vtest[::20]:
        spec = Preprocess(size=size, layout="NHWC", color="BGR", resize="stretch")
        tensor, _ = prepare(picture, spec)
        difference = np.abs(tensor[0] - _usual(picture, size))
        assert difference.mean() < 1.5
        assert np.percentile(difference, 99) < 12


def test_a_letterboxed_real_frame_lies_where_the_transform_says(vtest: list[Picture]) -> None:
    """Content is near the usual way, the rest has the padding's value."""
    spec = Preprocess(size=(416, 416), layout="NHWC", color="BGR", anchor="center")
    tensor, transform = prepare(vtest[0], spec)
    assert transform.content_px == (416, 312)
    assert transform.offset_px == (0.0, 52.0)
    assert (tensor[0, :52] == 114).all()
    assert (tensor[0, 364:] == 114).all()
    assert np.abs(tensor[0, 52:364] - _usual(vtest[0], (416, 312))).mean() < 1.5


def test_layout_colour_and_normalisation_are_as_said() -> None:
    """One known colour gives the known values in every layout, order and element type."""
    bgr = np.empty((64, 64, 3), np.uint8)
    bgr[:] = (200, 100, 50)
    picture = Picture.from_bgr(bgr)
    for layout in ("NCHW", "NHWC"):
        for color in ("RGB", "BGR"):
            spec = Preprocess(
                size=(32, 32),
                layout=layout,
                color=color,
                scale=1 / 255,
                mean=(0.5, 0.25, 0.0),
                std=(0.5, 1.0, 2.0),
            )
            tensor, _ = prepare(picture, spec)
            assert tensor.shape == spec.shape
            assert tensor.dtype == np.float32
            pixel = tensor[0, :, 5, 7] if layout == "NCHW" else tensor[0, 5, 7]
            raw = np.array((200, 100, 50) if color == "BGR" else (50, 100, 200))
            wanted = (raw / 255 - np.array(spec.mean)) / np.array(spec.std)
            assert np.abs(pixel - wanted).max() < 0.02


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float16"])
def test_other_element_types_hold_the_pixel_values(dtype: str) -> None:
    """Integers are rounded and saturated, not wrapped; half precision is near."""
    picture = Picture.from_gray(np.full((64, 64), 235, np.uint8))
    plain = msgspec.convert({"size": (32, 32), "dtype": dtype}, Preprocess)
    tensor, _ = prepare(picture, plain)
    assert tensor.dtype == np.dtype(dtype)
    assert tensor.min() >= 254
    doubled, _ = prepare(picture, msgspec.structs.replace(plain, scale=2.0))
    assert doubled.min() == (255 if dtype == "uint8" else doubled.max())
    assert doubled.max() == pytest.approx(255 if dtype == "uint8" else 510, abs=2)


@pytest.mark.parametrize(
    "broken",
    [
        {"size": (0, 4)},
        {"size": (4, 100_000)},
        {"size": (4, 4), "std": (1.0, 0.0, 1.0)},
        {"size": (4, 4), "pad_value": 300},
        {"size": (4, 4), "layout": "CHWN"},
        {"size": (4, 4), "colour": "RGB"},
    ],
)
def test_an_input_that_cannot_be_made_is_refused_when_read(broken: dict[str, object]) -> None:
    """A bundle's description is validated where it is parsed, not at the first frame."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(broken, Preprocess)
