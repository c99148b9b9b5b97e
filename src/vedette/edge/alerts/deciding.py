"""What is to be driven now, and what central took meanwhile. Pure.

A channel that is only for when central is away waits until central has had its time: `after_s`
from when the alert was made, or from when central fell silent, whichever was first. So while
central is known to be away nothing waits at all, and what it took in time is told by it alone.
"""

from dataclasses import dataclass
from typing import Final

from vedette.wire.alerts import LocalAlert, LocalChannel, When

MAX_PENDING: Final = 1000
NS_PER_S: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Pending:
    """One alert on its way to one channel.

    Attributes:
        made_ns: Monotonic.
        key: Epoch and number of the event in the spool's lane of alerts; None: of no event.
    """

    alert: LocalAlert
    channel: LocalChannel
    made_ns: int
    key: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """How the way to central is.

    Attributes:
        silent_ns: When the first request began that was not answered; None: the last one was.
        answered_ns: When central answered last; None: not since the start.
    """

    silent_ns: int | None = None
    answered_ns: int | None = None

    def away(self, after_s: float, now_ns: int) -> bool:
        """True where central has not answered for `after_s`."""
        return self.silent_ns is not None and now_ns - self.silent_ns >= after_s * NS_PER_S


def due_ns(pending: Pending, line: Line) -> int:
    """Return when it is to be decided about."""
    if pending.channel.when is When.ALWAYS:
        return pending.made_ns
    since_ns = pending.made_ns
    if line.silent_ns is not None:
        since_ns = min(since_ns, line.silent_ns)
    return since_ns + round(pending.channel.after_s * NS_PER_S)


def is_taken(pending: Pending, line: Line, *, waits: bool) -> bool:
    """True where central has it, so that this channel need not tell it.

    Args:
        pending: What is due.
        line: The way to central.
        waits: The event still waits in the spool; without an event, central's last answer decides.
    """
    if pending.channel.when is When.ALWAYS:
        return False
    if pending.key is not None:
        return not waits
    return line.answered_ns is not None and line.answered_ns > pending.made_ns
