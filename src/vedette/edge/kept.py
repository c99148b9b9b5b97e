"""A thread that must not stay dead: started again where it ended without being told to.

For work whose state is on the disk, so that a new beginning goes on where the last one was. The
rule: whoever owns it looks after it now and then (`tend`); it is said how often it ended.
"""

import logging
import threading
from collections.abc import Callable
from typing import Final

from vedette.clock import NS_PER_S, Clock

log = logging.getLogger(__name__)

PAUSE_S: Final = 30.0
"""Before each new beginning: what ends at once must not take the processor for itself."""


class KeptThread:
    """Thread: `tend` from one; the work has its own."""

    def __init__(
        self,
        name: str,
        work: Callable[[threading.Event], None],
        stop: threading.Event,
        clock: Clock,
    ) -> None:
        """Prepare; nothing runs before `start`."""
        self._name: Final = name
        self._work: Final = work
        self._stop: Final = stop
        self._clock: Final = clock
        self._not_before_ns = 0
        self.threads: list[threading.Thread] = []
        """The one that runs; none before `start`, and for a while after an end."""
        self.ends = 0
        self._is_wanted = False

    def start(self) -> None:
        """Have it run from now on."""
        self._is_wanted = True
        self.tend()

    def tend(self) -> None:
        """Start it again where it is not there, and should be."""
        if (
            not self._is_wanted
            or self._stop.is_set()
            or any(one.is_alive() for one in self.threads)
        ):
            return
        now_ns = self._clock.mono_ns()
        if self.threads:
            self.threads = []
            self.ends += 1
            self._not_before_ns = now_ns + round(PAUSE_S * NS_PER_S)
            log.error(
                "the thread %s ended by itself and is started again",
                self._name,
                extra={"event": "agent.thread_ended", "name_": self._name, "ends": self.ends},
            )
        if now_ns >= self._not_before_ns:
            thread = threading.Thread(
                target=self._work, args=(self._stop,), name=self._name, daemon=True
            )
            self.threads = [thread]
            thread.start()

    @property
    def problems(self) -> list[str]:
        """What a person should know of it, in words."""
        times = "once" if self.ends == 1 else f"{self.ends} times"
        return [f"the {self._name} ended by themselves {times}; see the log"] if self.ends else []
