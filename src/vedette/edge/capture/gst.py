"""A GStreamer pipeline as a camera: run as a process of its own, its pictures read from a pipe.

Here: the command, the pipe, and what the process's end means. Not here: demuxing
(`capture.source`). It is for decoders and cameras that FFmpeg cannot use (a Jetson's, a Raspberry
Pi's, industrial ones), with the system's own GStreamer, in a process that may crash alone.

    gst-launch-1.0 -q <the pipeline> ! videoconvert ! video/x-raw,format=I420
        ! identity sync=true ! queue leaky=downstream …
        ! matroskamux streamable=true ! fdsink fd=N sync=false

`identity` paces what has no pace of its own, a file, before anything can be dropped. Matroska
carries size and time of each raw picture over the pipe; a queue of two pictures that leaks keeps a
slow reader at the present. The rules: the description comes from this machine's own
configuration or the site's signed policy and is passed as arguments, never through a shell; the
process dies with the thread that started it; a read that waits too long is an error.

Thread: one per open pipeline; a second one drains the process's error output.
"""

import contextlib
import fcntl
import logging
import os
import re
import select
import shutil
import signal
import subprocess
import threading
from collections import deque
from typing import IO, Final

from vedette.edge.capture.seam import Loss, SourceLost
from vedette.logs import redact_text

_LOG = logging.getLogger(__name__)

TOOL: Final = "gst-launch-1.0"
PIPE_BYTES: Final = 1024 * 1024
_END_S: Final = 2.0
_KEPT_LINES: Final = 40
_MAX_LINE: Final = 500


def command(tool: str, words: list[str], fd: int) -> list[str]:
    """Return the process's arguments: the pipeline with its end put on."""
    tail = (
        "! videoconvert ! video/x-raw,format=I420 "
        "! identity sync=true "
        "! queue leaky=downstream max-size-buffers=2 max-size-bytes=0 max-size-time=0 "
        f"! matroskamux streamable=true ! fdsink fd={fd} sync=false"
    )
    # util-linux's, present on every Debian: nothing of ours has to run between fork and exec.
    killer = shutil.which("setpriv")
    ends_with_us = [killer, "--pdeathsig", "KILL", "--"] if killer else []
    return [*ends_with_us, tool, "-q", *words, *tail.split()]


class Running:
    """A pipeline that was started, and the pipe out of it: what PyAV reads from."""

    name = "gstreamer"  # PyAV looks at a file's name for its format

    def __init__(self, words: list[str], read_s: float) -> None:
        """Start it.

        Raises:
            SourceLost: GStreamer is not installed, or no process can be started.
        """
        tool = shutil.which(TOOL)
        if tool is None:
            raise SourceLost(
                Loss.NO_FILE,
                f"{TOOL} is not installed",
                operator_hint="install gstreamer1.0-tools and -plugins-base, -good, -libav",
            )
        self.read_s = read_s
        self._secrets = [v for word in words if len(v := _secret(word)) > 1]
        self._said: deque[str] = deque(maxlen=_KEPT_LINES)
        self._out, into = os.pipe2(os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # 64 KiB, the default, only cost more wake-ups
            fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        try:
            self._process = subprocess.Popen(
                command(tool, words, into),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(into,),
                process_group=0,
                env=os.environ | {"GST_DEBUG_NO_COLOR": "1"},
            )
        except OSError as problem:
            os.close(self._out)
            raise SourceLost(Loss.FAILED, f"{TOOL} cannot be started") from problem
        finally:
            os.close(into)
        self._poll = select.poll()
        self._poll.register(self._out, select.POLLIN)
        assert self._process.stderr is not None
        self._drain = threading.Thread(
            target=self._listen, args=(self._process.stderr,), name="gst-errors", daemon=True
        )
        self._drain.start()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def read(self, size: int) -> bytes:
        """Return what is there; empty at the end; `TimeoutError` where nothing comes."""
        if not self._poll.poll(self.read_s * 1000):
            raise TimeoutError(f"no picture from GStreamer for {self.read_s:g} s")
        return os.read(self._out, size)

    def why(self) -> SourceLost:
        """Return what the end of the process means; it is given a moment to end."""
        try:
            status = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            return SourceLost(Loss.GARBAGE, "GStreamer sends what is no video")
        self._drain.join(_END_S)
        return judge(status, list(self._said))

    def close(self) -> None:
        """Kill the process, if it still runs, and wait for it."""
        self._process.kill()
        self._process.wait()
        self._drain.join(_END_S)
        if self._out >= 0:
            os.close(self._out)
            self._out = -1

    def _listen(self, errors: IO[bytes]) -> None:
        with errors:
            while line := errors.readline(_MAX_LINE):
                text = redact_text(line.decode("utf-8", "replace").strip())
                for secret in self._secrets:
                    text = text.replace(secret, "…")
                if text:
                    self._said.append(text)


def _secret(word: str) -> str:
    """Return the value of a property that is a user or a password; empty for any other."""
    name, _, value = word.partition("=")
    return value if re.search(r"(?i)user|passw|passphrase|-pw$|secret|token", name) else ""


_MEANINGS: Final = (
    (r"no element \"([\w.-]{1,60})\"", Loss.FAILED, "install the package that has this element"),
    (r"syntax error|could not link|no property|could not set property", Loss.FAILED, ""),
    (r"Unauthorized|401", Loss.UNAUTHORISED, "check user and password in the pipeline"),
    (r"Forbidden|403", Loss.FORBIDDEN, "this user may not see the stream"),
    (r"404", Loss.NOT_FOUND, "check the path in the pipeline"),
    (r"[Rr]esource not found|No such file|Cannot identify device", Loss.NO_FILE, ""),
    (r"Device or resource busy|is busy", Loss.BUSY, "end the program that has it open"),
    (r"Permission denied", Loss.DENIED, "add this program's user to the group video"),
    (r"refused|Could not connect|Failed to connect", Loss.REFUSED, "check host and port"),
    (r"not-negotiated|not negotiated|not-linked", Loss.GARBAGE, ""),
    (r"does not contain|no valid frames|Could not de(?:code|multiplex|termine)", Loss.GARBAGE, ""),
)
_TRY: Final = "try it by hand: gst-launch-1.0 <pipeline> ! videoconvert ! fakesink"


def judge(status: int, said: list[str]) -> SourceLost:
    """Return what an exit status and the process's last words mean, in words for people."""
    errors = [line for line in said if re.search(r"ERROR|WARNING: erroneous|error:", line)]
    text = "\n".join(said)
    detail = re.sub(
        r"^.*?(?:ERROR|WARNING)[^:]*: *(?:from element \S+: *)?", "", (errors or [""])[0]
    )
    if status < 0:
        name = signal.Signals(-status).name if -status in set(signal.Signals) else str(-status)
        return SourceLost(Loss.FAILED, f"GStreamer was ended by {name}", operator_hint=_TRY)
    for pattern, reason, hint in _MEANINGS:
        if errors and re.search(pattern, text):
            return SourceLost(reason, detail[:200], operator_hint=hint or _TRY)
    if status == 0 and not errors:
        return SourceLost(Loss.CLOSED, "the pipeline came to its end")
    return SourceLost(Loss.FAILED, detail[:200] or f"exit status {status}", operator_hint=_TRY)
