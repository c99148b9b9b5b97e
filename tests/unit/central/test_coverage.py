"""The coverage ledger: precedence, no hole without a cause, order does not matter."""

import random
from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from vedette.central.coverage import (
    AWAITING,
    FRESH_MS,
    Claim,
    Situation,
    StateChange,
    from_states,
    resolve,
    summarise,
)
from vedette.wire.messages import Cause, State

NOW = 10_000_000
OLD = 1_000_000  # far behind the fresh edge


def _causes(claims: list[Claim], situation: Situation, start: int, end: int) -> list[str | None]:
    segments = resolve(claims, situation, from_ms=start, to_ms=end, now_ms=NOW)
    return [segment.cause for segment in segments]


HERE = Situation(known_from_ms=0)

_claims = st.lists(
    st.builds(
        lambda start, length, cause, weak, rate: Claim(
            start_ms=start, end_ms=start + length, cause=cause, weak=weak, rate_fps=rate
        ),
        st.integers(0, 2000),
        st.integers(1, 600),
        st.sampled_from([None, None, *Cause]),
        st.booleans(),
        st.sampled_from([None, 1.0, 5.0]),
    ),
    max_size=25,
)
_situations = st.builds(
    lambda known, dark, down, drained, gap: Situation(
        known_from_ms=known,
        dark=dark,
        central_down=[(a, a + b) for a, b in down],
        drained_to_ms=drained,
        open_gap=Claim(start_ms=gap, end_ms=gap, cause=Cause.CAMERA_DOWN) if gap else None,
    ),
    st.integers(0, 500),
    st.lists(
        st.tuples(st.integers(0, 2000), st.one_of(st.none(), st.integers(2001, 2500))), max_size=2
    ),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 500)), max_size=2),
    st.one_of(st.none(), st.integers(0, 3000)),
    st.one_of(st.none(), st.integers(1, 2000)),
)


@given(_claims, _situations, st.integers(1, 2 * FRESH_MS))
def test_no_hole_is_without_a_cause(claims: list[Claim], situation: Situation, now: int) -> None:
    """Whatever was claimed, the segments tile the whole of the known past, without overlap."""
    segments = resolve(claims, situation, from_ms=0, to_ms=2500, now_ms=now)
    start, end = situation.known_from_ms, min(2500, now)
    if end <= start:
        assert segments == []
        return
    assert segments[0].start_ms == start
    assert segments[-1].end_ms == end
    for left, right in pairwise(segments):
        assert left.end_ms == right.start_ms
        assert (left.cause, left.rate_fps, left.detail) != (
            right.cause,
            right.rate_fps,
            right.detail,
        )


@given(_claims, _situations, st.randoms(use_true_random=False))
def test_order_and_repetition_of_arrival_do_not_matter(
    claims: list[Claim], situation: Situation, order: random.Random
) -> None:
    """Backfilled, reordered and repeated claims give the same ledger."""
    expected = resolve(claims, situation, from_ms=0, to_ms=2500, now_ms=NOW)
    shuffled = claims + claims[: len(claims) // 2]
    order.shuffle(shuffled)
    assert resolve(shuffled, situation, from_ms=0, to_ms=2500, now_ms=NOW) == expected


@given(_claims, st.integers(0, 2499))
def test_every_moment_has_the_strongest_claim(claims: list[Claim], at: int) -> None:
    """A slow model that looks at one moment agrees with the sweep."""
    order = [
        Cause.CENTRAL_DOWN, Cause.DEVICE_DARK, Cause.PIPELINE_STOPPED, Cause.CAMERA_DOWN,
        Cause.TAMPERED, Cause.CLOCK_UNTRUSTED, Cause.SCHEDULED_OFF, None, Cause.EVICTED,
    ]  # fmt: skip
    here = [claim for claim in claims if claim.start_ms <= at < claim.end_ms]
    strong = [c.cause for c in here if not c.weak and c.cause != Cause.PENDING_BACKFILL]
    segments = resolve(claims, HERE, from_ms=0, to_ms=2500, now_ms=NOW)
    found = next(s.cause for s in segments if s.start_ms <= at < s.end_ms)
    if strong:
        assert found == min(strong, key=order.index)
    elif here:
        assert found in {(c.cause.value if c.cause else None) for c in here}
    else:
        assert found == Cause.PENDING_BACKFILL


def test_a_stated_gap_beats_observed() -> None:
    """A covered camera is never "observed, zero visitors"."""
    claims = [
        Claim(start_ms=OLD, end_ms=OLD + 60),
        Claim(start_ms=OLD + 20, end_ms=OLD + 40, cause=Cause.TAMPERED),
    ]
    assert _causes(claims, HERE, OLD, OLD + 60) == [None, Cause.TAMPERED, None]


def test_late_data_turns_an_evicted_or_dark_stretch_into_observed() -> None:
    """Observed beats the tombstone, and both beat what central inferred."""
    situation = Situation(known_from_ms=0, dark=[(OLD, OLD + 100)], central_down=[(OLD, OLD + 100)])
    evicted = Claim(start_ms=OLD + 30, end_ms=OLD + 60, cause=Cause.EVICTED)
    observed = Claim(start_ms=OLD + 40, end_ms=OLD + 50)
    assert _causes([evicted, observed], situation, OLD, OLD + 100) == [
        Cause.CENTRAL_DOWN, Cause.EVICTED, None, Cause.EVICTED, Cause.CENTRAL_DOWN,
    ]  # fmt: skip


def test_a_dark_spell_is_pending_once_the_device_speaks_again() -> None:
    """DEVICE_DARK while silent; PENDING_BACKFILL after; observed when the backlog has come."""
    dark = Situation(known_from_ms=0, dark=[(NOW - 400_000, None)])
    back = Situation(known_from_ms=0, dark=[(NOW - 400_000, NOW - 1_000)])
    window = (NOW - 390_000, NOW - 2_000)
    assert _causes([], dark, *window) == [Cause.DEVICE_DARK]
    assert _causes([], back, *window) == [Cause.PENDING_BACKFILL]
    assert _causes([Claim(start_ms=0, end_ms=NOW)], back, *window) == [None]


def test_a_drained_device_leaves_no_pending_hole() -> None:
    """When all has come, a hole is DEVICE_DARK in a dark spell and PIPELINE_STOPPED elsewhere."""
    situation = Situation(known_from_ms=0, dark=[(OLD + 50, OLD + 100)], drained_to_ms=OLD + 10_000)
    assert _causes([], situation, OLD, OLD + 150) == [
        Cause.PIPELINE_STOPPED, Cause.DEVICE_DARK, Cause.PIPELINE_STOPPED,
    ]  # fmt: skip


def test_the_fresh_edge_of_a_healthy_device_is_awaited() -> None:
    """A minute that cannot have arrived yet is neither observed nor lost."""
    segments = resolve(
        [Claim(start_ms=0, end_ms=NOW - 60_000)],
        Situation(known_from_ms=0),
        from_ms=NOW - 120_000,
        to_ms=NOW + 5_000,
        now_ms=NOW,
    )
    assert [s.cause for s in segments] == [None, AWAITING]
    assert segments[-1].end_ms == NOW
    assert summarise(segments).fraction == 1.0
    assert summarise(segments).accountable_s == 60.0


def test_an_open_camera_gap_covers_the_fresh_edge() -> None:
    """A cut camera is seen at once, before its minute's aggregate arrives."""
    gap = Claim(start_ms=NOW - 30_000, end_ms=0, cause=Cause.CAMERA_DOWN)
    situation = Situation(known_from_ms=0, open_gap=gap)
    observed = Claim(start_ms=0, end_ms=NOW - 60_000)
    assert _causes([observed], situation, NOW - 90_000, NOW) == [None, AWAITING, Cause.CAMERA_DOWN]


def test_an_open_camera_gap_does_not_speak_for_a_dark_spell() -> None:
    """What the camera did while the device was silent is in its backlog, not known."""
    gap = Claim(start_ms=NOW - 900_000, end_ms=0, cause=Cause.CAMERA_DOWN)
    situation = Situation(known_from_ms=0, open_gap=gap, dark=[(NOW - 600_000, NOW - 300_000)])
    assert _causes([], situation, NOW - 900_000, NOW) == [
        Cause.CAMERA_DOWN, Cause.PENDING_BACKFILL, Cause.CAMERA_DOWN,
    ]  # fmt: skip


def test_a_weak_claim_fills_holes_only() -> None:
    """Roughly dated reports never hide what is known."""
    claims = [
        Claim(start_ms=OLD, end_ms=OLD + 100, cause=Cause.CLOCK_UNTRUSTED, weak=True),
        Claim(start_ms=OLD + 10, end_ms=OLD + 90),
    ]
    assert _causes(claims, HERE, OLD, OLD + 100) == [
        Cause.CLOCK_UNTRUSTED, None, Cause.CLOCK_UNTRUSTED,
    ]  # fmt: skip


def test_states_become_gaps_from_change_to_change() -> None:
    """Down and tampered last until the next change; the last one is open."""
    changes = [
        StateChange(at_ms=100, state=State.OK),
        StateChange(at_ms=200, state=State.DOWN),
        StateChange(at_ms=300, state=State.OK),
        StateChange(at_ms=250, state=State.TAMPERED),  # the clock stepped back
    ]
    claims, opened = from_states(changes)
    assert [(c.start_ms, c.end_ms, c.cause) for c in claims] == [(200, 250, Cause.CAMERA_DOWN)]
    assert opened is not None
    assert (opened.start_ms, opened.cause) == (250, Cause.TAMPERED)


def test_nothing_is_accountable_before_the_camera_was_known() -> None:
    """A camera installed an hour ago has not lost the 23 hours before."""
    assert resolve([], Situation(known_from_ms=500), from_ms=0, to_ms=400, now_ms=NOW) == []
    assert summarise([]).fraction is None


STATES = st.lists(
    st.builds(
        lambda at_ms, state: StateChange(at_ms=at_ms, state=state),
        st.integers(0, 30),
        st.sampled_from([State.OK, State.DOWN, State.TAMPERED, State.OFF]),
    ),
    max_size=8,
)


@given(STATES, st.integers(0, 35))
def test_what_holds_at_a_moment_depends_on_no_window(
    changes: list[StateChange], from_ms: int
) -> None:
    """From the changes dated in a window and the last before it the same follows as from all."""

    def held(known: list[StateChange]) -> list[str | None]:
        claims, opened = from_states(known)
        if opened is not None:
            claims = [*claims, msgspec.structs.replace(opened, end_ms=99)]
        found = [[c.cause for c in claims if c.start_ms <= t < c.end_ms] for t in range(36)]
        assert all(len(causes) <= 1 for causes in found)
        return [causes[0] if causes else None for causes in found]

    before = [change for change in changes if change.at_ms < from_ms]
    known = [change for change in changes if change.at_ms >= from_ms or change is before[-1]]
    assert held(known)[from_ms:] == held(changes)[from_ms:]


@given(STATES)
def test_the_state_at_a_moment_is_the_last_said_of_those_dated_no_later(
    changes: list[StateChange],
) -> None:
    """Straight from the definition, moment by moment."""
    claims, opened = from_states(changes)
    if opened is not None:
        claims = [*claims, msgspec.structs.replace(opened, end_ms=99)]
    for t in range(36):
        dated = [change for change in changes if change.at_ms <= t]
        is_gap = bool(dated) and dated[-1].state is not State.OK
        assert [c for c in claims if c.start_ms <= t < c.end_ms] != [] or not is_gap
        assert is_gap or not [c for c in claims if c.start_ms <= t < c.end_ms]
