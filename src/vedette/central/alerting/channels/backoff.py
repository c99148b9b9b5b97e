"""When a delivery is tried again: a decision about numbers. Pure.

Twice as long each time from `FIRST_S` to `LONGEST_S`, moved by chance so that what failed together
is not tried together; a receiver that asks for more gets it, within limits.
"""

from typing import Final

from vedette.central.alerting.channels.facts import End, Outcome, State

FIRST_S: Final = 5.0
LONGEST_S: Final = 5 * 3600.0
JITTER: Final = 0.2
MOST_ASKED_S: Final = 24 * 3600.0


def wait_s(tries: int, asked_s: float | None, chance: float) -> float:
    """Return the pause after this many tries; `chance` is in [0, 1)."""
    base = min(FIRST_S * 2.0 ** min(tries - 1, 30), LONGEST_S)
    moved = base * (1.0 + JITTER * (2.0 * chance - 1.0))
    return max(moved, min(asked_s or 0.0, MOST_ASKED_S))


def decide(
    outcome: Outcome, *, tries: int, now_ms: int, until_ms: int, chance: float
) -> tuple[State, int | None]:
    """Return where a delivery is after a try, and when it is tried next."""
    if outcome.end is End.SENT:
        return State.SENT, None
    if outcome.end in {End.REFUSED, End.GONE}:
        return State.DEAD, None
    next_ms = now_ms + round(1000 * wait_s(tries, outcome.after_s, chance))
    if next_ms <= until_ms:
        return State.WAITING, next_ms
    # One last try at the very end rather than none for hours before it.
    return (State.WAITING, until_ms) if now_ms < until_ms - 1000 else (State.DEAD, None)
