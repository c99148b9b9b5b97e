"""Running a maker's tool where no file tells: seldom, without a shell, bounded in time and output.

The rule: files first; a tool is found once, asked at most every `every_s`, and never again in this
process after it failed `GIVE_UP_AFTER` times in a row.
"""

import contextlib
import os
import selectors
import shutil
import subprocess
from collections.abc import Callable, Sequence
from typing import Final

from vedette.clock import NS_PER_S, Clock

LIMIT_S: Final = 3.0
MAX_BYTES: Final = 16 * 1024
GIVE_UP_AFTER: Final = 3
SEARCH: Final = "/usr/bin:/usr/sbin:/bin:/sbin:/usr/local/bin:/opt/vc/bin"
"""Where makers put their tools; not PATH, which somebody else may have set."""

Run = Callable[[Sequence[str]], str]


def run(
    argv: Sequence[str],
    *,
    limit_s: float = LIMIT_S,
    max_bytes: int = MAX_BYTES,
    first_line: bool = False,
    any_status: bool = False,
) -> str:
    """Return what a program wrote to its standard output, or nothing where it failed.

    It is ended when its time is over, it has written too much, or (`first_line`) one line is there:
    `tegrastats` never ends by itself. With `any_status` an exit status other than 0 is no failure.
    """
    found = shutil.which(argv[0], path=SEARCH)
    if found is None:
        return ""
    try:
        process = subprocess.Popen(
            [found, *argv[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": SEARCH, "LC_ALL": "C"},
            start_new_session=True,
        )
    except OSError:
        return ""
    with process:
        output, ended = _take(process, limit_s, max_bytes, first_line=first_line)
        if not ended:
            process.kill()
    whole = (any_status or process.returncode == 0) if ended else first_line and b"\n" in output
    return output.decode("utf-8", "replace") if whole else ""


class Seldom:
    """A tool asked at most every so often; its last answer in between. Thread: one at a time."""

    def __init__(
        self, argv: Sequence[str], clock: Clock, *, every_s: float, ask: Run = run
    ) -> None:
        """Prepare; nothing is run.

        Args:
            argv: The command.
            clock: Says when it is due.
            every_s: Least seconds between two runs.
            ask: Runs it; a recorded answer in tests.
        """
        self._argv: Final = list(argv)
        self._clock: Final = clock
        self._every_ns: Final = round(every_s * NS_PER_S)
        self._ask: Final = ask
        self._due_ns: int | None = None
        self._failures = 0
        self._answer = ""

    def answer(self) -> str:
        """Return its newest answer; nothing where it has none or has failed too often."""
        now_ns = self._clock.mono_ns()
        if self._failures < GIVE_UP_AFTER and (self._due_ns is None or now_ns >= self._due_ns):
            self._due_ns = now_ns + self._every_ns
            self._answer = self._ask(self._argv)
            self._failures = 0 if self._answer else self._failures + 1
        return self._answer


def _take(
    process: subprocess.Popen[bytes], limit_s: float, max_bytes: int, *, first_line: bool
) -> tuple[bytes, bool]:
    """Return what the process wrote, and whether it has ended by itself."""
    stdout = process.stdout
    output = bytearray()
    if stdout is None:
        return b"", False
    with selectors.DefaultSelector() as selector:
        selector.register(stdout, selectors.EVENT_READ)
        waits = max(round(limit_s * 10), 1)
        for _ in range(waits):  # a tool that trickles is bounded by bytes, a silent one by waits
            if not selector.select(limit_s / waits):
                continue
            part = os.read(stdout.fileno(), 4096)
            output += part
            if not part:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(limit_s)
                    return bytes(output), True
                return bytes(output), False
            if len(output) >= max_bytes or (first_line and b"\n" in output):
                break
    return bytes(output[:max_bytes]), False
