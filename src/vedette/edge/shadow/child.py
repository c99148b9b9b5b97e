"""The candidate's own process: one model, one picture at a time, an answer for each.

Here: the child, and the words that it and its parent (`candidate`) exchange. The rules: it lowers
its limits and its priority before it opens the model; it ends itself where one picture takes more
than `MAX_RUN_CPU_S` of processor time, and where its parent is gone; pictures come through shared
memory, everything else as short messages with their length before them.

    standard input   Ask, …      standard output   Ready, then one Answer for each Ask
    descriptor       I420 planes without padding, written by the parent before it asks
"""

import mmap
import os
import signal
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from threading import Event
from typing import IO, Final, TypeVar

import msgspec
import numpy as np

from vedette.clock import SystemClock
from vedette.errors import BadModelOutput, VedetteError
from vedette.inference import guard
from vedette.inference.backends import Runtime
from vedette.inference.bundle import Bundle
from vedette.inference.model import Model, Result
from vedette.inference.providers import ProviderOptions
from vedette.vision.detections import Detections
from vedette.vision.picture import Picture

MAX_RUN_CPU_S: Final = 30.0
MAX_LOAD_CPU_S: Final = 120.0
MAX_MESSAGE_BYTES: Final = 8 * 1024 * 1024
NICENESS: Final = 19
_LENGTH: Final = 4

M = TypeVar("M", bound=msgspec.Struct)


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """The first word to the child: what to run, and how."""

    path: str
    digest: str
    runtime: Runtime
    providers: list[str]
    options: ProviderOptions | None = None
    memory_mb: int = 2048


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The child's first word; `problem` where there will be no other."""

    problem: str = ""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A picture lies in the shared memory."""

    width: int
    height: int
    full_range: bool
    threshold: float


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the model found: rows of boxes (float32), confidences, class ids (int32), entropies.

    Attributes:
        problem: Why there is nothing, in words.
        stage_ms: Preprocess, inference, postprocess: processor time where that is meant.
    """

    problem: str = ""
    boxes: bytes = b""
    confidence: bytes = b""
    class_id: bytes = b""
    entropy: bytes = b""
    stage_ms: tuple[float, float, float] = (0.0, 0.0, 0.0)


class ProcessorClock:
    """Counts the processor time of this process: a candidate waits for everybody else."""

    def now_at(self) -> datetime:
        """Return the wall time, aware UTC."""
        return SystemClock().now_at()

    def mono_ns(self) -> int:
        """Return nanoseconds of processor time."""
        return time.process_time_ns()

    def wait(self, event: Event, timeout_s: float) -> bool:
        """Wait in real time."""
        return event.wait(timeout_s)


def send(stream: IO[bytes], message: msgspec.Struct) -> None:
    """Write one message.

    Raises:
        OSError: The other end is gone.
    """
    data = msgspec.msgpack.encode(message)
    stream.write(len(data).to_bytes(_LENGTH, "big") + data)
    stream.flush()


def decoded(data: bytes, kind: type[M]) -> M:
    """Return the message in `data`.

    Raises:
        BadModelOutput: It is none of that kind.
    """
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadModelOutput(f"the candidate's process said no sense: {error}") from error


def length_of(head: bytes) -> int:
    """Return how many bytes follow.

    Raises:
        BadModelOutput: More than a message has.
    """
    length = int.from_bytes(head, "big")
    if length > MAX_MESSAGE_BYTES:
        raise BadModelOutput(f"the candidate's process announced {length} bytes")
    return length


def planes_bytes(width: int, height: int) -> int:
    """Return how many bytes the planes of a picture take."""
    return width * height + 2 * ((width + 1) // 2) * ((height + 1) // 2)


def main(argv: Sequence[str]) -> int:
    """Be the child; `argv` holds the descriptor of the shared memory and its length."""
    descriptor, size = int(argv[0]), int(argv[1])
    # The runtime may print; what it prints is no answer.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _step_back()
    with mmap.mmap(descriptor, size, prot=mmap.PROT_READ) as shared:
        model, ready = _open(_read(sys.stdin.buffer, Start))
        send(answers, ready)
        if model is None:
            return 1
        while (ask := _read(sys.stdin.buffer, Ask)) is not None:
            _allow(MAX_RUN_CPU_S)
            answer = _look(model, ask, shared)
            _allow(0.0)
            send(answers, answer)
    return 0


def _step_back() -> None:
    """Let everybody else go first."""
    os.nice(NICENESS)
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _allow(cpu_s: float) -> None:
    """Have the kernel end this process after so much processor time; 0: not any more."""
    signal.setitimer(signal.ITIMER_PROF, cpu_s)


def _read(stream: IO[bytes], kind: type[M]) -> M | None:
    """Return the parent's next message, None where it is gone."""
    head = stream.read(_LENGTH)
    return decoded(stream.read(length_of(head)), kind) if len(head) == _LENGTH else None


def _open(start: Start | None) -> tuple[Model | None, Ready]:
    """Return the model, or why there is none."""
    if start is None:
        return None, Ready(problem="nobody said what to run")
    try:
        on_cpu = start.providers == ["cpu"]
        guard.load_runtime(start.runtime)
        if on_cpu:
            guard.limit(start.memory_mb)
        _allow(MAX_LOAD_CPU_S)
        bundle = Bundle.open(Path(start.path))
        if bundle.digest != start.digest:
            return None, Ready(problem=f"{start.path} holds {bundle.digest}")
        if bundle.manifest.purpose != "detection":
            return None, Ready(problem="only detectors can be compared")
        model = Model.load(
            bundle,
            threads=1,
            runtime=start.runtime,
            providers=start.providers,
            options=start.options,
            clock=ProcessorClock() if on_cpu else None,
        )
        golden = model.check_golden()
        _allow(0.0)
    except MemoryError:
        return None, Ready(problem=f"it needs more than {start.memory_mb} MB of memory")
    except VedetteError as error:
        return None, Ready(problem=str(error)[:1000])
    if not golden.ok:
        words = "; ".join(golden.failures[:3])
        return None, Ready(problem=f"it answers its golden frames differently here: {words}"[:1000])
    return model, Ready()


def _look(model: Model, ask: Ask, shared: mmap.mmap) -> Answer:
    try:
        return _answer(model.detect(_picture(ask, shared), ask.threshold))
    except MemoryError:
        return Answer(problem="it ran out of memory")
    except VedetteError as error:
        return Answer(problem=str(error)[:1000])


def _picture(ask: Ask, shared: mmap.mmap) -> Picture:
    """Return the planes in the shared memory as a picture: views."""
    flat = np.frombuffer(shared, np.uint8, planes_bytes(ask.width, ask.height))
    half = ((ask.height + 1) // 2, (ask.width + 1) // 2)
    luma, chroma = ask.width * ask.height, half[0] * half[1]
    return Picture(
        flat[:luma].reshape(ask.height, ask.width),
        flat[luma : luma + chroma].reshape(half),
        flat[luma + chroma :].reshape(half),
        full_range=ask.full_range,
    )


def _answer(result: Result) -> Answer:
    found = result.detections
    return Answer(
        boxes=found.boxes_xyxy.tobytes(),
        confidence=found.confidence.tobytes(),
        class_id=found.class_id.tobytes(),
        entropy=found.entropy.tobytes(),
        stage_ms=(result.preprocess_ms, result.inference_ms, result.postprocess_ms),
    )


def detections(answer: Answer) -> Detections:
    """Return what an answer says was found.

    Raises:
        BadModelOutput: Its arrays do not belong together.
    """
    try:
        return Detections(
            np.frombuffer(answer.boxes, np.float32).reshape(-1, 4),
            np.frombuffer(answer.confidence, np.float32),
            np.frombuffer(answer.class_id, np.int32),
            np.frombuffer(answer.entropy, np.float32),
        )
    except ValueError as error:
        raise BadModelOutput(f"the candidate's process said no sense: {error}") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
