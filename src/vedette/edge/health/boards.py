"""Which board this is, and reading it so that a sensor that hangs hangs nothing else.

A read of `/sys` can take as long as a bus likes, and no Python code can end it. So boards are read
in a thread of their own: who wants a reading waits a moment and otherwise gets the last one while
it is fresh. While that thread hangs no second one is started.
"""

import logging
import threading
from collections.abc import Sequence
from typing import Final

from vedette.clock import NS_PER_S, Clock
from vedette.edge.health.jetson import Jetson
from vedette.edge.health.linux import LinuxBoard
from vedette.edge.health.nvidia import NvidiaCards
from vedette.edge.health.raspberry_pi import RaspberryPi
from vedette.edge.health.reading import Board, Reading
from vedette.edge.health.sysfs import Tree

log = logging.getLogger(__name__)

WAIT_S: Final = 1.0
FRESH_S: Final = 90.0
"""An older reading is not passed on as if it were of now."""


def detect(tree: Tree, clock: Clock) -> list[Board]:
    """Return what reads this machine, by its device tree; cards of NVIDIA are looked for too."""
    compatible = tree.head("proc/device-tree/compatible")
    model = tree.text("proc/device-tree/model")
    if b"nvidia,tegra" in compatible or tree.exists("etc/nv_tegra_release"):
        return [Jetson(tree, clock)]
    if b"raspberrypi," in compatible or model.startswith("Raspberry Pi"):
        return [RaspberryPi(tree, clock)]
    return [LinuxBoard(tree, clock), NvidiaCards(tree, clock)]


class BoardReader:
    """Reads boards without ever waiting long for them. Thread: one at a time."""

    def __init__(self, boards: Sequence[Board], clock: Clock, *, wait_s: float = WAIT_S) -> None:
        """Prepare; the first thread starts with the first reading.

        Args:
            boards: Read in this order into one reading.
            clock: Says how old a reading is.
            wait_s: Longest that `read` waits for a fresh one.
        """
        self._boards: Final = list(boards)
        self._clock: Final = clock
        self._wait_s: Final = wait_s
        self._thread: threading.Thread | None = None
        self._done: tuple[int, Reading] | None = None
        self._asked_ns = 0
        self._hangs = False

    @property
    def silent_s(self) -> float:
        """Seconds since a reading was asked for that has not come; 0 where none is missing."""
        if self._thread is None or not self._thread.is_alive():
            return 0.0
        return (self._clock.mono_ns() - self._asked_ns) / NS_PER_S

    def read(self) -> Reading:
        """Return a reading of now, else the last one while it is fresh, else an empty one."""
        if self._thread is None or not self._thread.is_alive():
            self._asked_ns = self._clock.mono_ns()
            self._thread = threading.Thread(target=self._work, name="sensors", daemon=True)
            self._thread.start()
        self._thread.join(self._wait_s)
        self._note(hangs=self._thread.is_alive())
        done = self._done
        if done is None or self._clock.mono_ns() - done[0] > FRESH_S * NS_PER_S:
            return Reading()
        return done[1]

    def _work(self) -> None:
        reading = Reading()
        for board in self._boards:
            board.read(reading)
        self._done = (self._clock.mono_ns(), reading)

    def _note(self, *, hangs: bool) -> None:
        if hangs != self._hangs:
            self._hangs = hangs
            log.log(
                logging.WARNING if hangs else logging.INFO,
                "sensors do not answer in time" if hangs else "sensors answer again",
                extra={"event": "health.sensors_late" if hangs else "health.sensors_back"},
            )
