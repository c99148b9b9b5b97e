"""A wall clock that cannot jump, however the system's is set."""

import threading
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from vedette.clock import ManualClock
from vedette.edge.steady import SteadyClock


@given(
    st.lists(
        st.tuples(st.floats(0, 10_000), st.floats(-1e8, 1e8)),
        max_size=12,
    )
)
def test_time_never_goes_back_whatever_is_done_to_the_system(moves: list) -> None:
    """Between two anchorings it advances exactly as the monotonic clock does."""
    system = ManualClock()
    steady = SteadyClock(system)
    start_at, start_ns = steady.now_at(), steady.mono_ns()
    last = start_at
    for advance_s, step_s in moves:
        system.advance(advance_s)
        system.step_wall(system.now_at() + timedelta(seconds=step_s))
        assert steady.now_at() >= last
        last = steady.now_at()
        passed_s = (steady.mono_ns() - start_ns) / 1e9
        assert abs((last - start_at).total_seconds() - passed_s) < 1e-3


def test_a_step_is_measured_and_taken_over_only_when_told() -> None:
    """`step_s` says how far somebody moved the clock; `anchor` follows."""
    system = ManualClock()
    steady = SteadyClock(system)
    offset_s = steady.offset_s
    system.advance(5)
    assert steady.step_s() == 0
    system.step_wall(datetime(1970, 1, 1, tzinfo=UTC))
    before = steady.now_at()
    assert steady.step_s() < -1e9
    assert steady.now_at() == before
    assert steady.offset_s == offset_s
    steady.anchor()
    assert steady.now_at() == datetime(1970, 1, 1, tzinfo=UTC)
    assert steady.step_s() == 0
    assert steady.offset_s < offset_s


def test_waiting_is_the_systems() -> None:
    """A wait passes the system's time, and ends at once where the event is set."""
    system = ManualClock()
    steady = SteadyClock(system)
    before_ns = steady.mono_ns()
    assert not steady.wait(threading.Event(), 2.0)
    assert steady.mono_ns() - before_ns == 2_000_000_000
    told = threading.Event()
    told.set()
    assert steady.wait(told, 2.0)
