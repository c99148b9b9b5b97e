"""Trusted time: flat batteries, steps, replays and a central that lies."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from vedette.clock import ManualClock, wall_ms
from vedette.edge.timekeeper import BUILD_AT, MAX_ROUND_TRIP_MS, Timekeeper
from vedette.errors import BadSignature, Expired, NotAllowed, RollbackAttempt
from vedette.trust.dsse import sign_struct
from vedette.trust.keys import SigningKey
from vedette.wire.enrol import TimeRequest, TimeStatement
from vedette.wire.envelope import ClockState
from vedette.wire.signed import SETTINGS_TYPE, TIME_TYPE, Signed

KEY = SigningKey.generate()
TRUE = datetime(2026, 6, 1, 12, tzinfo=UTC)


def state_time(request: TimeRequest, at: datetime = TRUE, key: SigningKey = KEY) -> Signed:
    """Answer as central does."""
    statement = TimeStatement(nonce=request.nonce, time_ms=wall_ms(at))
    return sign_struct(statement, TIME_TYPE, [key])


def keeper(tmp_path: Path, clock: ManualClock, boot: str = "b") -> Timekeeper:
    """Return a timekeeper over a file that lasts through the test."""
    return Timekeeper(clock, tmp_path / "time.json", boot)


def test_a_plausible_clock_is_at_the_floor_until_confirmed(tmp_path: Path) -> None:
    """Nothing signed yet: not before the floor, no more."""
    time = keeper(tmp_path, ManualClock(TRUE))
    assert time.state is ClockState.FLOOR
    assert time.wants_time
    assert time.learn(state_time(time.ask()), KEY.public) is ClockState.TRUSTED
    assert not time.wants_time


def test_a_box_that_wakes_in_1970_learns_the_time(tmp_path: Path) -> None:
    """Its wall clock stays untrusted, but it knows the time, and its floor survives a reboot."""
    clock = ManualClock(datetime(1970, 1, 1, tzinfo=UTC))
    time = keeper(tmp_path, clock)
    assert time.state is ClockState.UNTRUSTED
    assert time.now_ms == wall_ms(BUILD_AT)
    assert time.learn(state_time(time.ask()), KEY.public) is ClockState.UNTRUSTED
    clock.advance(60)
    assert time.now_ms == wall_ms(TRUE) + 60_000
    again = keeper(tmp_path, ManualClock(datetime(2026, 5, 1, tzinfo=UTC)), "b2")
    assert again.state is ClockState.UNTRUSTED
    assert again.floor_ms >= wall_ms(TRUE)


def test_an_agent_that_restarts_goes_on_trusting_within_one_boot(tmp_path: Path) -> None:
    """The monotonic clock ran on, so signed time is still known; in another boot it is not."""
    clock = ManualClock(TRUE)
    time = keeper(tmp_path, clock)
    time.learn(state_time(time.ask()), KEY.public)
    clock.advance(100)
    assert keeper(tmp_path, clock).state is ClockState.TRUSTED
    assert keeper(tmp_path, clock, "another boot").state is ClockState.FLOOR


@pytest.mark.parametrize("by", [timedelta(days=300), timedelta(days=-100), timedelta(seconds=5)])
def test_a_step_is_noticed_and_a_step_back_forgiven(tmp_path: Path, by: timedelta) -> None:
    """A stepped clock is not believed, central is asked again; once right, it is believed."""
    clock = ManualClock(TRUE)
    time = keeper(tmp_path, clock)
    time.learn(state_time(time.ask()), KEY.public)
    clock.step_wall(TRUE + by)
    assert time.check() is ClockState.UNTRUSTED
    assert time.wants_time
    assert abs(time.now_ms - wall_ms(TRUE)) < 10
    clock.step_wall(TRUE)
    assert time.check() is ClockState.TRUSTED


def test_a_sleep_of_the_machine_is_put_right_by_asking(tmp_path: Path) -> None:
    """Monotonic time stands while a machine sleeps: then the wall clock is right, we are not."""
    clock = ManualClock(TRUE)
    time = keeper(tmp_path, clock)
    time.learn(state_time(time.ask()), KEY.public)
    later = TRUE + timedelta(hours=5)
    clock.step_wall(later)
    assert time.check() is ClockState.UNTRUSTED
    assert time.learn(state_time(time.ask(), later), KEY.public) is ClockState.TRUSTED


def test_a_slow_crystal_stays_trusted(tmp_path: Path) -> None:
    """A hundred parts per million over six hours is no step."""
    clock = ManualClock(TRUE)
    time = keeper(tmp_path, clock)
    time.learn(state_time(time.ask()), KEY.public)
    for _ in range(360):
        clock.advance(60)
        clock.step_wall(clock.now_at() + timedelta(milliseconds=6))
        assert time.check() is ClockState.TRUSTED
    clock.advance(600)
    assert time.wants_time


def test_a_replayed_statement_is_refused(tmp_path: Path) -> None:
    """An answer is good for one question, once."""
    time = keeper(tmp_path, ManualClock(TRUE))
    first = time.ask()
    signed = state_time(first)
    time.ask()
    with pytest.raises(BadSignature, match="nonce"):
        time.learn(signed, KEY.public)
    request = time.ask()
    time.learn(state_time(request), KEY.public)
    with pytest.raises(BadSignature, match="nonce"):
        time.learn(state_time(request), KEY.public)


def test_another_key_or_another_document_is_refused(tmp_path: Path) -> None:
    """Only the pinned key states the time, and only as a statement of time."""
    time = keeper(tmp_path, ManualClock(TRUE))
    with pytest.raises(BadSignature):
        time.learn(state_time(time.ask(), key=SigningKey.generate()), KEY.public)
    request = time.ask()
    other = sign_struct(TimeStatement(nonce=request.nonce, time_ms=0), SETTINGS_TYPE, [KEY])
    with pytest.raises(NotAllowed):
        time.learn(other, KEY.public)
    assert time.state is ClockState.FLOOR


def test_time_never_goes_back_below_the_floor(tmp_path: Path) -> None:
    """A central whose clock is years behind changes nothing."""
    clock = ManualClock(TRUE)
    time = keeper(tmp_path, clock)
    time.learn(state_time(time.ask()), KEY.public)
    with pytest.raises(RollbackAttempt):
        time.learn(state_time(time.ask(), TRUE - timedelta(days=1)), KEY.public)
    assert time.now_ms >= wall_ms(TRUE)


def test_a_late_answer_means_nothing(tmp_path: Path) -> None:
    """An attacker who holds an answer back cannot make the clock lag."""
    clock = ManualClock(TRUE)
    time = keeper(tmp_path, clock)
    request = time.ask()
    clock.advance(MAX_ROUND_TRIP_MS / 1000 + 1)
    with pytest.raises(Expired):
        time.learn(state_time(request), KEY.public)


def test_trusted_time_is_kept_each_hour(tmp_path: Path) -> None:
    """The floor rises while the device runs, without central."""
    clock = ManualClock(TRUE)
    time = keeper(tmp_path, clock)
    time.learn(state_time(time.ask()), KEY.public)
    for _ in range(61):
        clock.advance(60)
        time.check()
    again = keeper(tmp_path, ManualClock(TRUE))
    assert again.floor_ms >= wall_ms(TRUE) + 3_600_000
    (tmp_path / "time.json").write_text("broken")
    assert keeper(tmp_path, ManualClock(TRUE)).floor_ms == wall_ms(BUILD_AT)


def test_a_central_that_states_a_far_future_is_not_believed_at_once(tmp_path: Path) -> None:
    """Its clock or its key is in wrong hands: the floor is not raised, time goes on as it was."""
    clock = ManualClock(TRUE)
    time = keeper(tmp_path, clock)
    time.learn(state_time(time.ask()), KEY.public)
    for _ in range(3):
        clock.advance(3_600)
        with pytest.raises(NotAllowed, match="far ahead"):
            time.learn(state_time(time.ask(), TRUE + timedelta(days=400)), KEY.public)
    assert time.floor_ms < wall_ms(TRUE + timedelta(days=1))
    assert time.check() is ClockState.TRUSTED
    clock.advance(22 * 3_600)
    time.learn(state_time(time.ask(), TRUE + timedelta(days=400)), KEY.public)
    assert time.floor_ms >= wall_ms(TRUE + timedelta(days=400))


def test_a_time_that_no_device_will_see_is_never_believed(tmp_path: Path) -> None:
    """Not even by a device that just woke and knows nothing else."""
    time = keeper(tmp_path, ManualClock(TRUE))
    with pytest.raises(NotAllowed, match="no device will see"):
        time.learn(state_time(time.ask(), TRUE + timedelta(days=31 * 366)), KEY.public)
