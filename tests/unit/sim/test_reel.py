"""The endless film: time only grows, whatever is shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.errors import ConfigError
from vedette.sim.clip import AccessUnit, Clip
from vedette.sim.reel import Reel

_STEP = 9000


def _clip(units: int, group: int) -> Clip:
    return Clip(
        units=[
            AccessUnit([bytes([0x65]) + bytes(40)], n * _STEP, n * _STEP, n % group == 0)
            for n in range(units)
        ],
        duration_ticks=units * _STEP,
        width=16,
        height=16,
    )


_CLIPS = {"normal": _clip(20, 5), "covered": _clip(6, 3)}


@given(st.lists(st.sampled_from(["next", "frozen", "normal", "covered"]), max_size=200))
def test_due_times_grow_steadily_through_every_switch(orders: list[str]) -> None:
    """Loops, switches and freezes neither stop time nor let it fall back."""
    reel = Reel(_CLIPS, "normal")
    last = reel.next().due_ticks
    for order in orders:
        if order in _CLIPS:
            reel.show(order)
        out = reel.next(frozen=order == "frozen")
        assert 0 < out.due_ticks - last <= _STEP * 2
        assert out.rtp_ticks == out.due_ticks
        last = out.due_ticks


def test_a_switch_begins_with_a_keyframe() -> None:
    """A decoder that sees only what is sent can start at a switch."""
    reel = Reel(_CLIPS, "normal")
    for _ in range(7):
        reel.next()
    reel.show("covered")
    assert reel.next().keyframe


def test_a_thaw_begins_with_a_keyframe_where_the_film_would_be() -> None:
    """After 10 frozen pictures the film goes on later, not where it stood."""
    reel = Reel(_CLIPS, "normal")
    for _ in range(3):
        reel.next()
    frozen = [reel.next(frozen=True) for _ in range(10)]
    assert all(out.keyframe for out in frozen)
    assert reel.next().keyframe


def test_timestamps_jump_back_and_sending_goes_on() -> None:
    """Only the RTP timestamp falls; the picture is still due in time."""
    reel = Reel(_CLIPS, "normal")
    before = reel.next()
    reel.jump_back(5.0)
    after = reel.next()
    assert after.due_ticks > before.due_ticks
    assert after.rtp_ticks == after.due_ticks - 5 * 90_000


def test_damage_changes_slices_and_keeps_parameter_sets() -> None:
    """A corrupted picture is still announced rightly; its content is not."""
    units = [AccessUnit([b"\x67" + bytes(99), b"\x65" + bytes(999)], 0, 0, keyframe=True)]
    clip = Clip(units=units, duration_ticks=_STEP, width=16, height=16)
    out = Reel({"normal": clip}, "normal").next(corrupt=True)
    assert out.nals[0] == units[0].nals[0]
    assert out.nals[1] != units[0].nals[1]
    assert len(out.nals[1]) == 1000


def test_an_unknown_clip_is_named() -> None:
    """A wrong name says which names there are."""
    with pytest.raises(ConfigError, match="foggy"):
        Reel(_CLIPS, "normal").show("foggy")
