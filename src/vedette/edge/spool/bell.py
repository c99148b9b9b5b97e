"""The bell: whoever committed an alert rings it, so that the agent need not look all the time.

A named pipe beside the spool's file. It carries no message: a byte says "look", and the spool says
at what. Nobody waits for it: where no agent listens, or the disk knows no named pipes, ringing does
nothing and the agent finds the alert at its next look (`edge.uplink.POLL_S`).
"""

import contextlib
import logging
import os
import select
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

NAME: Final = "bell"
LISTEN_S: Final = 5.0
"""How long one wait lasts at most, so that a listener whose end was asked for ends."""

_BURST: Final = 4096


def ring(folder: Path) -> None:
    """Have the agent that listens at this spool look at once. Thread: any; never waits."""
    with contextlib.suppress(OSError):  # no pipe, nobody listening, or rung so often that it knows
        fd = os.open(folder / NAME, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(fd, b"!")
        finally:
            os.close(fd)


class Listener:
    """The agent's ear. Thread: `run` on its own, once; `close` any."""

    def __init__(self, folder: Path) -> None:
        """Have the pipe there; without one `run` returns at once and looking often has to do."""
        self._folder: Final = folder
        self._fd: Final = _opened(folder / NAME)

    @property
    def hears(self) -> bool:
        """False where this disk has no named pipes."""
        return self._fd is not None

    def run(self, stop: threading.Event, heard: Callable[[], None]) -> None:
        """Call `heard` after every ring, many at once as one, until `stop`."""
        fd = self._fd
        if fd is None:
            return
        try:
            while not stop.is_set():
                ready, _, _ = select.select([fd], [], [], LISTEN_S)
                if ready:
                    with contextlib.suppress(BlockingIOError):
                        os.read(fd, _BURST)
                    heard()
        finally:
            os.close(fd)

    def close(self) -> None:
        """End `run` soon, after `stop` was set."""
        ring(self._folder)


def _opened(path: Path) -> int | None:
    """Return the pipe, open for both so that it never ends; what lies in its place is replaced."""
    try:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISFIFO(path.lstat().st_mode):
                path.unlink()
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        log.info(
            "no bell: alerts are looked for instead",
            extra={"event": "spool.no_bell", "reason": str(error)},
        )
        return None
