"""Running another program: an argument list, never a shell; bounded in time and in what it says.

Unlike `edge.health.tool`, which asks what may be missing, this does what was asked for and says why
it could not be done. The rule: it has ended when `call` returns, by itself or killed with all it
started. Time is real here: another program knows no other.
"""

import contextlib
import os
import selectors
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from vedette.clock import NS_PER_S, SystemClock
from vedette.errors import ConfigError, Retry, VedetteError

SEARCH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Not PATH, which somebody else may have set."""

MAX_BYTES: Final = 64 * 1024


class NotNow(VedetteError):
    """The disk, or a step before this one, is in the way: it is tried again."""

    retry = Retry.LATER


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a program ended.

    Attributes:
        status: Its exit status; negative: the signal that ended it.
        said: The last of what it wrote, both outputs together, as text.
    """

    status: int
    said: str = ""

    def why(self) -> str:
        """Return in one line why it failed: the last line that says something."""
        lines = [line.strip() for line in self.said.splitlines() if line.strip()]
        return f"status {self.status}: {lines[-1][:300] if lines else 'it said nothing'}"


def call(
    argv: Sequence[str],
    *,
    limit_s: float,
    max_bytes: int = MAX_BYTES,
    extra: Mapping[str, str] | None = None,
    folder: Path | None = None,
    holds: int | None = None,
) -> Ended:
    """Run a program to its end.

    Args:
        argv: Program and arguments.
        limit_s: It and what it started are killed after this.
        max_bytes: Kept of what it writes; what came first is let go.
        extra: Variables beside PATH and LC_ALL; it gets no others of ours.
        folder: Where it runs; None: here.
        holds: A descriptor that it inherits: a lock that lasts as long as anything it started.

    Raises:
        ConfigError: There is no such program, or it did not end in time.
    """
    env = {"PATH": SEARCH, "LC_ALL": "C.UTF-8", **(extra or {})}
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=folder,
            pass_fds=() if holds is None else (holds,),
            start_new_session=True,
        )
    except OSError as error:
        raise ConfigError(
            f"{argv[0]} cannot be run: {error.strerror}",
            operator_hint="install it, or correct its path in edge.yaml",
        ) from error
    with process:
        said, ended = _listen(process, limit_s, max_bytes)
        if not ended:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if not ended:
        raise ConfigError(
            f"{Path(argv[0]).name} did not end within {limit_s:.0f} s and was killed",
            operator_hint="run it by hand and see what it waits for",
        )
    return Ended(status=process.returncode, said=said)


def _listen(process: subprocess.Popen[bytes], limit_s: float, max_bytes: int) -> tuple[str, bool]:
    """Return the end of what was written, and whether the program ended in time."""
    output, stdout, clock = bytearray(), process.stdout, SystemClock()
    end_ns = clock.mono_ns() + round(limit_s * NS_PER_S)
    if stdout is None:
        return "", False
    with selectors.DefaultSelector() as selector:
        selector.register(stdout, selectors.EVENT_READ)
        while (left_ns := end_ns - clock.mono_ns()) > 0:
            if selector.select(left_ns / NS_PER_S):
                part = os.read(stdout.fileno(), 65_536)
                if not part:
                    break
                output += part
                del output[:-max_bytes]
    ended = False
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(max((end_ns - clock.mono_ns()) / NS_PER_S, 0.01))
        ended = True
    return bytes(output).decode("utf-8", "replace"), ended
