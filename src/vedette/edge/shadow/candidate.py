"""The parent's end of a candidate's process: start it, ask it, end it.

The rules: whatever the child does (crash, hang, talk nonsense, take all memory), the parent gets an
error in bounded time and nothing else; a child that failed is ended and never asked again.

Thread: one at a time.
"""

import logging
import mmap
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import IO, Final

import numpy as np

from vedette.clock import NS_PER_S, Clock
from vedette.edge.shadow import child
from vedette.edge.shadow.child import Answer, Ask, Ready, Start
from vedette.errors import BadModelOutput, ModelLoadFailed
from vedette.inference.child_process import environment
from vedette.vision.picture import Picture

_LOG = logging.getLogger(__name__)

MAX_PICTURE_BYTES: Final = 3840 * 2400 * 3 // 2
LOAD_WALL_S: Final = 600.0
RUN_WALL_S: Final = 300.0
"""Limits by the wall clock are wide: the child waits for everybody else. Processor time is what
ends one that does not end by itself."""

_ENDS_S: Final = 2.0


class Candidate:
    """A model in a process of its own.

    Args:
        start: What it runs.
        clock: Time.
        command: The child's program, where it is another one.
        run_s: Longest time until an answer.
    """

    def __init__(
        self,
        start: Start,
        clock: Clock,
        *,
        command: Sequence[str] | None = None,
        run_s: float = RUN_WALL_S,
    ) -> None:
        """Start the process, which loads nothing yet."""
        self._run_s = run_s
        self._start = start
        self._clock = clock
        self._memory = _shared_file()
        self._shared = mmap.mmap(self._memory, MAX_PICTURE_BYTES)
        self._folder = tempfile.TemporaryDirectory(prefix="vedette-shadow-")
        program = list(command or [sys.executable, "-m", "vedette.edge.shadow.child"])
        self._process = subprocess.Popen(
            [*program, str(self._memory), str(MAX_PICTURE_BYTES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._folder.name,
            env=environment(),
            pass_fds=(self._memory,),
            start_new_session=True,
        )

    def load(self) -> None:
        """Wait until the model is loaded and answered its golden frames.

        Raises:
            ModelLoadFailed: It did not, or died of it; the process was ended.
        """
        try:
            self._say(self._start)
            ready = child.decoded(self._hear(LOAD_WALL_S), Ready)
        except BadModelOutput as error:
            self.close()
            raise ModelLoadFailed(str(error), operator_hint=error.operator_hint) from error
        if ready.problem:
            self.close()
            raise ModelLoadFailed(ready.problem)

    def look(self, picture: Picture, threshold: float) -> Answer:
        """Return what it finds in the picture, whole and at least `threshold` sure.

        Raises:
            BadModelOutput: It died, did not answer in time or talked nonsense; it was ended.
        """
        try:
            self._show(picture)
            self._say(
                Ask(
                    width=picture.width,
                    height=picture.height,
                    full_range=picture.full_range,
                    threshold=threshold,
                )
            )
            return child.decoded(self._hear(self._run_s), Answer)
        except BadModelOutput:
            self.close()
            raise

    @property
    def is_alive(self) -> bool:
        """Whether it can still be asked."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End the process at once; who waits for it gets an error. Thread: any."""
        self._process.kill()

    def close(self) -> None:
        """End the process, and free what was shared with it."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None and not stream.closed:
                _close_quietly(stream)
        if not self._shared.closed:
            self._shared.close()
            os.close(self._memory)
            self._folder.cleanup()

    def _show(self, picture: Picture) -> None:
        if child.planes_bytes(picture.width, picture.height) > MAX_PICTURE_BYTES:
            raise BadModelOutput(f"a picture of {picture.width}x{picture.height} is too large")
        flat = np.frombuffer(self._shared, np.uint8)
        at = 0
        for plane in (picture.y, picture.u, picture.v):
            flat[at : at + plane.size].reshape(plane.shape)[:] = plane
            at += plane.size
        del flat  # else the memory cannot be closed

    def _say(self, message: Start | Ask) -> None:
        assert self._process.stdin is not None
        try:
            child.send(self._process.stdin, message)
        except OSError as error:
            raise BadModelOutput(self._death()) from error

    def _hear(self, wait_s: float) -> bytes:
        """Return the child's next message.

        Raises:
            BadModelOutput: None came, or none that can be.
        """
        until_ns = self._clock.mono_ns() + round(wait_s * NS_PER_S)
        return self._read(child.length_of(self._read(4, until_ns)), until_ns)

    def _read(self, count: int, until_ns: int) -> bytes:
        assert self._process.stdout is not None
        descriptor, parts = self._process.stdout.fileno(), bytearray()
        while len(parts) < count:
            left_s = (until_ns - self._clock.mono_ns()) / NS_PER_S
            ready, _, _ = select.select([descriptor], [], [], max(0.0, left_s))
            if not ready:
                raise BadModelOutput("the candidate's process did not answer in time")
            part = os.read(descriptor, count - len(parts))
            if not part:
                raise BadModelOutput(self._death())
            parts += part
        return bytes(parts)

    def _death(self) -> str:
        try:
            code = self._process.wait(_ENDS_S)
        except subprocess.TimeoutExpired:
            return "the candidate's process closed its mouth"
        if code == -signal.SIGPROF:
            return f"one picture took more than {child.MAX_RUN_CPU_S:g} s of processor time"
        if code < 0:
            return f"the candidate's process crashed (signal {-code})"
        return f"the candidate's process ended (status {code})"


def _shared_file() -> int:
    """Return a descriptor of memory without a name that a child can be given."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("vedette-shadow")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, MAX_PICTURE_BYTES)  # pages are taken when they are written
    return descriptor


def _close_quietly(stream: IO[bytes]) -> None:
    try:
        stream.close()
    except BrokenPipeError:
        _LOG.debug("what was on its way to a candidate was not read")
