"""One attempt by command: a program that the site's policy names, with fixed arguments.

No shell; nothing of an alert becomes part of the command line. What happened stands in the
environment (`VEDETTE_…`) and as JSON on standard input, as text that the program may read. It runs
as the agent's user, in a session of its own, in `/`, with nothing else of our environment; it is
killed with all that it started when its time is over or its channel is gone.
"""

import contextlib
import os
import select
import signal
import subprocess
import threading
from typing import Final

import msgspec

from vedette.clock import NS_PER_S, Clock
from vedette.edge.alerts.outcome import Outcome, Result
from vedette.wire.alerts import LocalAlert, LocalChannel

OUTPUT_BYTES: Final = 4096
"""So much of what it prints is kept to be shown where it fails; the rest is read and dropped."""

_LOOK_S: Final = 0.1
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Command:
    """Thread: one."""

    def __init__(self, channel: LocalChannel, clock: Clock) -> None:
        self._channel: Final = channel
        self._clock: Final = clock

    def send(self, alert: LocalAlert, stop: threading.Event) -> Outcome:
        """Run the program once; sent where it ends with status 0."""
        until_ns = self._clock.mono_ns() + round(self._channel.timeout_s * NS_PER_S)
        try:
            child = subprocess.Popen(
                self._channel.argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=environment(alert),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            return Outcome(Result.LATER, f"its program cannot be started: {why}", str(error)[:200])
        try:
            return self._attend(child, msgspec.json.encode(alert), until_ns, stop)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)  # what it started and left running, too
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()

    def close(self) -> None:
        """Nothing is kept."""

    def _attend(
        self, child: "subprocess.Popen[bytes]", said: bytes, until_ns: int, stop: threading.Event
    ) -> Outcome:
        """Feed and read until the program ends, its time is over, or `stop`."""
        output = bytearray()
        fed, heard = _descriptor(child.stdin), _descriptor(child.stdout)
        while child.poll() is None:
            if stop.is_set():
                return Outcome(Result.LATER, "stopped")
            if self._clock.mono_ns() >= until_ns:
                return Outcome(Result.LATER, f"not done after {self._channel.timeout_s:g} s")
            wants = [fed] if said else []
            readable, writable, _ = select.select([heard], wants, [], _LOOK_S)
            if writable:
                said = _feed(fed, said)
                if not said and child.stdin is not None:
                    with contextlib.suppress(OSError):
                        child.stdin.close()
            if readable and not _read(heard, output):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(_LOOK_S)  # it closed its output; it may still work
        code = child.returncode
        if code == 0:
            return Outcome(Result.SENT)
        _read(heard, output)
        printed = output.decode("utf-8", "replace").strip()
        return Outcome(Result.LATER, f"ended with {code}", printed[:200])


def environment(alert: LocalAlert) -> dict[str, str]:
    """Return all that the program's environment has."""
    facts = {
        f"VEDETTE_{name.upper()}": str(value).replace("\0", "")
        for name, value in msgspec.to_builtins(alert).items()
        if value is not None
    }
    return {"PATH": _PATH, "LANG": "C.UTF-8", **facts}


def _descriptor(pipe: object) -> int:
    fd: int = pipe.fileno()  # type: ignore[attr-defined]
    os.set_blocking(fd, False)
    return fd


def _feed(fd: int, data: bytes) -> bytes:
    """Return what is still to be written; nothing where the program does not read."""
    try:
        return data[os.write(fd, data) :]
    except BlockingIOError:
        return data
    except OSError:
        return b""


def _read(fd: int, into: bytearray) -> bool:
    """Keep the first of what was printed; False at its end."""
    try:
        piece = os.read(fd, OUTPUT_BYTES)
    except BlockingIOError:
        return True
    into += piece[: OUTPUT_BYTES - len(into)]
    return bool(piece)
