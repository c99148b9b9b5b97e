"""The times of packets: a camera's spacing, our clock, and timestamps that lie."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.edge.capture.timeline import FileTimeline, LiveTimeline, RateLimit

WILD = st.one_of(
    st.none(), st.floats(-1e9, 1e9, allow_nan=False), st.integers(-5, 5).map(lambda n: n * 3600.0)
)


@given(st.lists(st.tuples(WILD, st.floats(0, 5)), min_size=2, max_size=60))
def test_a_live_timeline_only_rises_whatever_the_timestamps_say(
    packets: list[tuple[float | None, float]],
) -> None:
    """Times rise strictly and never run further ahead of the arrival than a second."""
    line, now_s, times = LiveTimeline(), 100.0, []
    for source_s, wait_s in packets:
        now_s += wait_s
        placed = line.place(source_s, now_s)
        assert placed.t_s <= now_s + 1.1
        times.append(placed.t_s)
    assert all(later > earlier for earlier, later in pairwise(times))


@given(st.lists(WILD, min_size=2, max_size=60))
def test_a_file_timeline_only_rises_and_closes_holes(sources: list[float | None]) -> None:
    """Times rise strictly and no step is longer than a minute."""
    line = FileTimeline(50.0)
    line.start_run()
    times = [line.place(source_s, 0.0).t_s for source_s in sources]
    assert all(0 < later - earlier <= 60.1 for earlier, later in pairwise(times))


def test_packets_of_a_burst_keep_the_cameras_spacing() -> None:
    """Nine packets arrive every 450 ms: on the timeline they stand 50 ms apart."""
    line, times = LiveTimeline(), []
    for n in range(200):
        arrival_s = 10.0 + (n // 9 + 1) * 0.45
        times.append(line.place(n * 0.05, arrival_s).t_s)
    steps = [later - earlier for earlier, later in pairwise(times[60:])]
    assert min(steps) > 0.04
    assert max(steps) < 0.06


def test_the_past_sent_at_connect_is_dated_as_it_arrives_and_marked() -> None:
    """Three seconds of the past at once jump; the live packets after them do not."""
    line = LiveTimeline()
    past = [line.place(n * 0.1, 20.0 + n * 0.001) for n in range(30)]
    live = [line.place(3.0 + n * 0.1, 20.03 + n * 0.1) for n in range(30)]
    assert all(placed.jumped for placed in past)
    assert not any(placed.jumped for placed in live[1:])
    assert live[-1].t_s == pytest.approx(22.93, abs=0.05)


def test_a_jump_back_is_a_discontinuity_and_time_goes_on() -> None:
    """The camera's clock falls back an hour: one jump, then its spacing again."""
    line = LiveTimeline()
    for n in range(50):
        line.place(5000 + n * 0.1, 30 + n * 0.1)
    first = line.place(1400.0, 35.0)
    second = line.place(1400.1, 35.1)
    assert first.jumped
    assert not second.jumped
    assert second.t_s - first.t_s == pytest.approx(0.1, abs=0.01)


def test_a_camera_clock_that_drifts_is_followed() -> None:
    """A camera clock 0.1 % fast stays within a tenth of a second after ten minutes."""
    line, placed_s, now_s = LiveTimeline(), 0.0, 0.0
    for n in range(6000):
        now_s = n * 0.1
        placed_s = line.place(now_s * 1.001, now_s).t_s
    assert placed_s == pytest.approx(now_s, abs=0.1)


def test_a_file_that_loops_goes_on_behind_itself() -> None:
    """The second run begins one step after the first one's end, and says that it jumped."""
    line = FileTimeline(50.0)
    line.start_run()
    last = [line.place(7 + n * 0.1, 0.0) for n in range(10)][-1]
    line.start_run()
    again = line.place(7.0, 0.0)
    assert again.jumped
    assert again.t_s == pytest.approx(last.t_s + 0.1)


@pytest.mark.parametrize(("source_fps", "max_fps", "due"), [(10, 5, 50), (7, 5, 50), (4, 5, 40)])
def test_on_average_no_more_frames_are_due_than_allowed(
    source_fps: int, max_fps: int, due: int
) -> None:
    """Ten seconds of a source: as many frames as the limit, or all of a slower source."""
    limit = RateLimit(max_fps)
    count = sum(limit.is_due(n / source_fps) for n in range(10 * source_fps))
    assert count == pytest.approx(due, abs=1)


def test_without_a_limit_every_frame_is_due() -> None:
    """`max_fps` None means all."""
    limit = RateLimit(None)
    assert all(limit.is_due(n / 1000) for n in range(100))


@given(st.lists(st.floats(0.001, 3), min_size=1, max_size=200))
def test_a_limit_is_never_exceeded_after_a_pause(steps: list[float]) -> None:
    """However frames come, a window of two seconds holds at most eleven at five per second."""
    limit, now_s, due = RateLimit(5), 0.0, []
    for step_s in steps:
        now_s += step_s
        if limit.is_due(now_s):
            due.append(now_s)
    for index, start_s in enumerate(due):
        assert sum(start_s <= t_s < start_s + 2 for t_s in due[index:]) <= 12
