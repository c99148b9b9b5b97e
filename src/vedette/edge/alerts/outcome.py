"""What came of one attempt to deliver, and who makes attempts."""

import enum
import threading
from dataclasses import dataclass
from typing import Protocol

from vedette.wire.alerts import LocalAlert


class Result(enum.Enum):
    """Whether to try again."""

    SENT = "sent"
    LATER = "later"
    REFUSED = "refused"  # the receiver will never take this one


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one attempt.

    Attributes:
        detail: In words that central may have: nothing of what is sealed for this device.
        here: What only people at the device are shown, such as what a program printed.
    """

    result: Result
    detail: str = ""
    here: str = ""


class Way(Protocol):
    """How one channel's alerts travel. Thread: its carrier's alone."""

    def send(self, alert: LocalAlert, stop: threading.Event, /) -> Outcome:
        """Make one attempt; within the channel's `timeout_s`, soon over once `stop` is set."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
