"""Which pictures are decoded: keyframes while idle, fewer under overload, all as soon as needed."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.edge.capture import Decode
from vedette.edge.decoding import BEHIND_FOR_S, HOLD_FIRST_S, IDLE_AFTER_S, DecodePolicy

FPS = 10


def play(
    policy: DecodePolicy,
    seconds: float,
    *,
    start_s: float = 0.0,
    gop_s: float = 1.0,
    moves: Iterable[float] = (),
    lag_s: float = 0.05,
    large: Iterable[float] = (),
    age_s: float = 0.02,
) -> list[tuple[float, Decode]]:
    """Return when which mode began, of a camera whose pictures are only seen where decoded."""
    changes: list[tuple[float, Decode]] = []
    for n in range(round(start_s * FPS), round((start_s + seconds) * FPS)):
        t_s, keyframe = n / FPS, n % round(gop_s * FPS) == 0
        is_large = any(abs(t_s - at_s) < 0.01 for at_s in large)
        size = 20_000 if keyframe else (5_000 if is_large else 300)
        before = policy.mode
        policy.packet(t_s=t_s, keyframe=keyframe, size_bytes=size)
        if before is Decode.KEYFRAMES and not keyframe:
            continue
        moving = any(0 <= t_s - at_s < 1.0 for at_s in moves)
        late_s = age_s if before is Decode.KEYFRAMES else 0.02
        after = policy.frame(now_s=t_s + lag_s, t_s=t_s, age_s=late_s, moves=moving)
        if after is not before:
            changes.append((t_s, after))
    return changes


def test_keyframes_are_enough_while_nothing_moves() -> None:
    """After ten calm seconds, and not before."""
    policy = DecodePolicy(may_idle=True)
    ((at_s, mode),) = play(policy, 30)
    assert mode is Decode.KEYFRAMES
    assert at_s == pytest.approx(IDLE_AFTER_S, abs=0.2)


def test_motion_on_a_keyframe_brings_every_picture_back() -> None:
    """At once, and for ten calm seconds again."""
    (_, woken, idle) = play(DecodePolicy(may_idle=True), 40, moves=[15.4])
    assert woken == (16.0, Decode.ALL)
    assert idle[0] == pytest.approx(16.4 + IDLE_AFTER_S, abs=0.2)


def test_a_large_packet_between_keyframes_wakes_at_the_next_one() -> None:
    """Something entered within a group of pictures and is looked at with the next keyframe."""
    changes = play(DecodePolicy(may_idle=True), 20, large=[15.4])
    assert changes[1] == (16.0, Decode.ALL)


@pytest.mark.parametrize("gop_s", [3.0, 10.0])
def test_rare_keyframes_are_never_enough(gop_s: float) -> None:
    """With a keyframe every three seconds somebody could pass unseen: all are decoded."""
    assert play(DecodePolicy(may_idle=True), 60, gop_s=gop_s) == []


def test_a_camera_that_may_not_idle_decodes_everything() -> None:
    """A switch that is off is off."""
    assert play(DecodePolicy(may_idle=False), 60) == []


def test_keyframes_that_come_out_late_are_not_waited_for() -> None:
    """A decoder that reorders holds each keyframe back until the next: then all are decoded."""
    policy = DecodePolicy(may_idle=True)
    changes = play(policy, 60, age_s=1.0)
    assert [mode for _, mode in changes] == [Decode.KEYFRAMES, Decode.ALL]
    assert changes[1][0] - changes[0][0] <= 2.0


def test_the_tier_batch_needs_keyframes_only() -> None:
    """Also while people walk about: between two looks nobody is looked for."""
    policy = DecodePolicy(may_idle=True, is_sampled=True)
    ((at_s, mode),) = play(policy, 20, moves=[float(n) for n in range(20)])
    assert (mode, at_s <= 3.0) == (Decode.KEYFRAMES, True)


def test_decoding_that_falls_behind_is_shed_step_by_step_and_comes_back() -> None:
    """First what no picture needs, then all but keyframes; back later, and later again."""
    policy = DecodePolicy(may_idle=False)
    up = play(policy, 10, lag_s=1.0)
    assert [mode for _, mode in up] == [Decode.NONREF, Decode.KEYFRAMES]
    assert up[0][0] == pytest.approx(BEHIND_FOR_S, abs=0.2)
    down = play(policy, 60, start_s=10.0)
    assert [mode for _, mode in down] == [Decode.NONREF, Decode.ALL]
    assert down[0][0] == pytest.approx(10 + HOLD_FIRST_S, abs=1.2)
    assert down[1][0] - down[0][0] == pytest.approx(2 * HOLD_FIRST_S, abs=0.5)


def test_a_new_connection_begins_with_every_picture() -> None:
    """What was known of the stream may not hold for the next."""
    policy = DecodePolicy(may_idle=True)
    play(policy, 20)
    assert policy.mode is Decode.KEYFRAMES
    policy.restart()
    assert policy.mode is Decode.ALL
    ((at_s, _),) = play(policy, 20, start_s=20.0)
    assert at_s >= 20.0 + IDLE_AFTER_S - 0.1


@given(st.lists(st.floats(0.0, 60.0), max_size=6), st.sampled_from([0.5, 1.0, 2.0]))
def test_who_moves_is_decoded_from_the_next_keyframe_on(moves: list[float], gop_s: float) -> None:
    """Whenever motion shows on a picture that is decoded, every picture after it is decoded."""
    policy = DecodePolicy(may_idle=True)
    changes = play(policy, 70, gop_s=gop_s, moves=moves)
    for at_s, mode in changes:
        if mode is Decode.KEYFRAMES:
            assert not any(0 <= at_s - moved_s < IDLE_AFTER_S - 0.2 for moved_s in moves)
