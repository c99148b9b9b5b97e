"""Central's own time: which jumps of the wall clock are followed, and when."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from vedette.central import steady
from vedette.central.steady import HOLD_S, SteadyClock
from vedette.clock import ManualClock, wall_ms


def rig(start_at: datetime | None = None) -> tuple[ManualClock, SteadyClock]:
    """A machine's clock in the test's hand, and central's over it."""
    machine = ManualClock(start_at)
    return machine, SteadyClock(machine)


def jump(machine: ManualClock, by_s: float) -> None:
    """Move the machine's wall clock alone."""
    machine.step_wall(machine.now_at() + timedelta(seconds=by_s))


def outcomes(clock: SteadyClock) -> list[str]:
    """What happened since the last call."""
    return [step.outcome for step in clock.take_steps()]


@given(
    by_s=st.one_of(st.floats(3.0, 3e8), st.floats(-3e6, -3.0)),
    ticks=st.lists(st.floats(0.1, 5.0), max_size=50),
)
def test_a_jump_that_is_taken_back_was_never_there(by_s: float, ticks: list[float]) -> None:
    """Minutes or years, forwards or back: time goes on as if nothing were."""
    machine, clock = rig()
    begin = wall_ms(clock.now_at())
    jump(machine, by_s)
    for tick_s in ticks:
        machine.advance(tick_s)
        clock.now_at()
    assert abs(wall_ms(clock.now_at()) - begin - sum(ticks) * 1000) < 60
    jump(machine, -by_s)
    assert abs(wall_ms(clock.now_at()) - begin - sum(ticks) * 1000) < 60
    assert outcomes(clock) == ["held", "ended"]
    assert clock.held_by_ms is None


def test_a_correction_that_stays_is_followed_in_the_end() -> None:
    """Without devices to ask, after ten minutes."""
    machine, clock = rig()
    jump(machine, 3_600)
    assert clock.held_by_ms == 3_600_000
    machine.advance(HOLD_S - 1)
    assert clock.now_at() < machine.now_at()
    machine.advance(2)
    assert clock.now_at() == machine.now_at()
    assert outcomes(clock) == ["held", "followed"]


def test_devices_with_trusted_clocks_decide() -> None:
    """Three that agree with the wall clock have it followed; one that does not has it held."""
    machine, clock = rig()
    jump(machine, 86_400 * 400)
    true_ms = wall_ms(clock.now_at())
    clock.witness("a", true_ms)
    machine.advance(10 * HOLD_S)
    assert clock.now_at() < machine.now_at()
    for device in ("b", "c", "d"):
        clock.witness(device, wall_ms(machine.now_at()) + 300)
    assert clock.now_at() == machine.now_at()


def test_one_device_alone_has_to_be_unopposed_for_a_minute() -> None:
    """A single device may be the one that is wrong."""
    machine, clock = rig()
    jump(machine, 7_200)
    assert clock.held_by_ms is not None
    clock.witness("a", wall_ms(machine.now_at()))
    assert clock.now_at() < machine.now_at()
    machine.advance(61)
    assert clock.now_at() == machine.now_at()


def test_a_time_before_the_program_was_built_is_left_at_once() -> None:
    """A server without a battery starts in 1970 and learns the time a minute later."""
    machine, clock = rig(datetime(1970, 1, 1, tzinfo=UTC))
    machine.advance(60)
    assert clock.now_at().year == 1970
    machine.step_wall(datetime(2026, 5, 1, tzinfo=UTC))
    assert clock.now_at() == machine.now_at()


def test_a_disciplined_clock_is_simply_followed() -> None:
    """Slewing and small steps are no jumps."""
    machine, clock = rig()
    for _ in range(100):
        machine.advance(2)
        jump(machine, 0.5)
        assert clock.now_at() == machine.now_at()
    assert clock.take_steps() == []


def test_sleep_is_no_jump() -> None:
    """The clock that counts goes on while the machine is suspended."""
    machine = ManualClock()
    slept_ns = 0
    clock = SteadyClock(machine, lambda: machine.mono_ns() + slept_ns)
    slept_ns = 3 * 3_600 * 10**9
    jump(machine, 3 * 3_600)
    assert clock.now_at() == machine.now_at()
    assert clock.take_steps() == []


def test_nobody_can_be_followed_on_the_word_of_few_against_many() -> None:
    """Votes are weighed, not counted one-sidedly."""
    assert not steady.decide(kept=2, moved=4, held_s=1e9)
    assert steady.decide(kept=1, moved=3, held_s=0)
    assert not steady.decide(kept=0, moved=2, held_s=0)
