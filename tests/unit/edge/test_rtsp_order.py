"""Decoding times and what a stream says of its order."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.edge.capture import nal
from vedette.edge.capture.rtsp import parameters
from vedette.edge.capture.rtsp.order import DecodingOrder
from vedette.sim import footage
from vedette.sim.clip import load_clip

STEP = 3_600


@given(st.lists(st.integers(1, 90_000), min_size=1, max_size=50))
def test_without_reordering_both_times_are_the_same(steps: list[int]) -> None:
    """Nothing waits and nothing is shifted."""
    order, pts = DecodingOrder(), 0
    for step in steps:
        assert order.dts(pts) == pts
        pts += step


@pytest.mark.parametrize("said", [True, False])
@given(st.integers(1, 3), st.integers(3, 12))
def test_reordered_pictures_have_rising_times_before_they_are_shown(
    said: bool, b_frames: int, groups: int
) -> None:
    """P first, then the B-frames that are shown before it; said in the SPS or only seen."""
    order = DecodingOrder()
    order.reorders(1 if said else None)
    shown = [0]
    for group in range(groups):
        base = group * (b_frames + 1)
        shown += [base + b_frames + 1, *range(base + 1, base + b_frames + 1)]
    times = [(order.dts(STEP * n), STEP * n) for n in shown]
    assert all(later >= earlier for (earlier, _), (later, _) in pairwise(times))
    settled = times if said else times[2 * (b_frames + 1) :]
    assert all(dts <= pts for dts, pts in settled)
    assert order.depth == 1


def test_a_clock_that_is_set_back_is_no_reordering() -> None:
    """Decoding times follow it: that is how the timeline sees the jump."""
    order = DecodingOrder()
    for n in range(50):
        order.dts(STEP * n)
    assert order.dts(0) == 0
    assert order.dts(STEP) == STEP
    assert order.depth == 0


def test_a_camera_without_a_clock_stays_where_it_is() -> None:
    """The same timestamp on every picture: times of arrival are taken further on."""
    order = DecodingOrder()
    assert [order.dts(5) for _ in range(10)] == [5] * 10


@given(st.lists(st.integers(-(2**40), 2**40), max_size=80), st.none() | st.integers(0, 16))
def test_no_timestamps_break_it(stamps: list[int], depth: int | None) -> None:
    """Hostile times give some time, and bounded memory."""
    order = DecodingOrder()
    order.reorders(depth)
    for stamp in stamps:
        order.dts(stamp)
        assert order.depth <= 16
        assert len(order._heap) <= 17


@pytest.mark.parametrize(
    ("codec", "b_frames", "reorder"), [("h264", 0, 0), ("h264", 2, 2), ("hevc", 0, 0)]
)
def test_size_and_order_are_read_from_what_encoders_write(
    tmp_path: Path, codec: str, b_frames: int, reorder: int
) -> None:
    """x264's and x265's own parameter sets, of a size that is no multiple of 16."""
    path = tmp_path / "clip.mp4"
    frames = [np.full((180, 320, 3), 8 * n, np.uint8) for n in range(6)]
    footage.encode(path, frames, fps=10, codec=codec, b_frames=b_frames)
    units = load_clip(path).units[0].nals
    sets = nal.parameter_sets(codec, iter(units))
    (sps,) = nal.picture_parameters(codec, sets)
    assert parameters.read(codec, sps) == parameters.Sps(320, 180, reorder)


@given(st.binary(max_size=300), st.sampled_from(["h264", "hevc"]))
def test_hostile_parameter_sets_give_nothing_or_something_bounded(data: bytes, codec: str) -> None:
    """Never an exception."""
    found = parameters.read(codec, b"\x67" + data)
    assert found is None or (found.width <= 16_384 and (found.reorder or 0) <= 16)
