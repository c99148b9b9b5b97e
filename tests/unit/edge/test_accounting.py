"""The accounting invariant: every frame is settled once, and the books always balance."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.edge.accounting import Account, since
from vedette.wire.messages import Drop

OUTCOMES = st.sampled_from(["analysed", "gated", *Drop])


@given(st.lists(st.tuples(st.booleans(), OUTCOMES, st.integers(0, 5)), max_size=60))
def test_captured_equals_analysed_plus_gated_plus_dropped_in_any_order(steps):
    """Whatever the order of admitting and settling, the sums agree with what was done."""
    account, open_tickets, done = Account(), [], 0
    for admit, outcome, which in steps:
        if admit or not open_tickets:
            open_tickets.append(account.admit())
        else:
            account.settle(open_tickets.pop(which % len(open_tickets)), outcome)
            done += 1
        frames = account.frames()
        assert frames.captured == frames.analysed + frames.gated + sum(frames.dropped.values())
        assert frames.captured == done
        assert account.in_flight == len(open_tickets)


def test_settling_a_frame_twice_is_refused():
    """A frame counted twice is a bug that shows at once."""
    account = Account()
    ticket = account.admit()
    account.settle(ticket, "analysed")
    with pytest.raises(AssertionError, match="settled twice"):
        account.settle(ticket, Drop.STALE)


def test_since_returns_only_what_came_between_two_readings():
    """Windows are differences of one account, so that they add up to it."""
    account = Account()
    account.settle(account.admit(), "gated")
    before = account.frames()
    account.settle(account.admit(), "analysed")
    account.settle(account.admit(), Drop.STALE)
    window = since(account.frames(), before)
    assert (window.captured, window.analysed, window.gated) == (2, 1, 0)
    assert window.dropped == {Drop.STALE: 1}
