"""A model that nobody has run yet is first opened and run in a child process with limits.

What lives here: the child, its limits, what its death means, and the memory of what was proven.
What does not: looking into the file (`onnx_file`), which comes before. The rule: a runtime is a
large native program that a file from elsewhere can crash, hang or make take all memory; the process
that watches cameras lets another one find that out.

    parent                                   child
    prove(data) ── the file, by descriptor ──▶ import the runtime, then lower its own limits
                 ◀─ one JSON answer ────────── open, run once on zeros
    exit, signal or silence is the verdict

What the limits are and why. `RLIMIT_AS` bounds memory and is set after the runtime was imported, as
what the process has then plus an allowance: libraries reserve address space that means nothing.
That was tried with ONNX Runtime and OpenVINO on the processor; an accelerator's driver reserves
far too much for it, so the proof is always made on the processor. `RLIMIT_CPU` and the parent's own
waiting bound time, `RLIMIT_FSIZE` what it can write, `RLIMIT_CORE` is none. This is no sandbox: the
child may read what its user may read.

Proven once per file, runtime and its version, not at each start.
"""

import hashlib
import importlib
import logging
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import IO, Final

import msgspec
import numpy as np

from vedette.errors import (
    BackendUnavailable,
    ConfigError,
    InferenceError,
    ModelLoadFailed,
    RunFailed,
)
from vedette.inference import onnx_file
from vedette.inference.backends import Backend, Runtime, Tensor, TensorInfo, open_backend
from vedette.inference.child_process import environment

_LOG = logging.getLogger(__name__)

MAX_ANSWER_BYTES: Final = 64 * 1024
MAX_INPUT_ELEMENTS: Final = 256 * 1024 * 1024
_MB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What the child may take.

    Attributes:
        memory_mb: Beyond what the runtime itself takes; on top of it six times the file's length.
        cpu_s: Processor time, all threads together.
        wall_s: Time until an answer.
    """

    memory_mb: int = 2048
    cpu_s: int = 120
    wall_s: float = 180.0


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What the child saw: the backend's name, its tensors and how much memory it took at most."""

    backend: str
    inputs: list[str]
    outputs: list[str]
    peak_mb: float


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The child's one word: a proof, or what was wrong."""

    proof: Proof | None = None
    problem: str = ""
    hint: str | None = None
    unavailable: bool = False


def prove(
    data: bytes,
    *,
    runtime: Runtime = "onnxruntime",
    shape: Sequence[int] = (),
    limits: Limits | None = None,
    command: Sequence[str] | None = None,
) -> Proof:
    """Return what a runtime made of an ONNX file, in a process that may die of it.

    Args:
        data: The whole file.
        runtime: What is to open it.
        shape: What a free side of the input is, by the manifest; else they are one.
        limits: Of the child.
        command: The child's program, where it is another one: it reads the file on standard input
            and writes an answer on standard output.

    Raises:
        ModelLoadFailed: The file is refused, or the child crashed, took too long or too much.
        BackendUnavailable: The runtime is not installed.
    """
    onnx_file.look(data)
    limits = limits or Limits()
    memory_mb = limits.memory_mb + 6 * len(data) // _MB
    program = command or [sys.executable, "-m", "vedette.inference.guard"]
    argv = [*program, runtime, str(memory_mb), str(limits.cpu_s), *map(str, shape)]
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as answered:
        given.write(data)
        given.seek(0)
        code = _wait(argv, given, answered, limits)
        answered.seek(0)
        said = answered.read(MAX_ANSWER_BYTES)
    return _verdict(code, said, memory_mb, limits)


def _wait(argv: list[str], given: IO[bytes], answered: IO[bytes], limits: Limits) -> int:
    """Run the child to its end; return its exit status, minus the signal where one ended it."""
    with tempfile.TemporaryDirectory(prefix="vedette-guard-") as empty:
        child = subprocess.Popen(
            argv,
            stdin=given,
            stdout=answered,
            stderr=subprocess.DEVNULL,
            cwd=empty,  # a path inside the file, if one were followed, leads nowhere
            env=environment(),
            start_new_session=True,
        )
        try:
            return child.wait(limits.wall_s)
        except subprocess.TimeoutExpired as error:
            raise ModelLoadFailed(
                f"the runtime did not answer within {limits.wall_s:g} s on this model",
                operator_hint="Do not use this file. If it is your own, find out what in it does "
                "not end, or simplify it.",
            ) from error
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()


def _verdict(code: int, said: bytes, memory_mb: int, limits: Limits) -> Proof:
    """Return the proof, or raise what the child's answer or death means."""
    if code == -signal.SIGXCPU:
        raise ModelLoadFailed(
            f"one run of this model takes more than {limits.cpu_s} s of processor time",
            operator_hint="Use a smaller model on this machine.",
        )
    if code < 0:
        raise ModelLoadFailed(
            f"the runtime crashed on this model ({_signal_name(-code)})",
            operator_hint="Do not use this file: it breaks the runtime, or needs far more than "
            f"{memory_mb} MB of memory. Export it again with another version of its tools.",
        )
    try:
        answer = msgspec.json.decode(said, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelLoadFailed(
            f"the process that tried the model ended without an answer (status {code})",
            operator_hint="See that this machine has memory to spare, and try again.",
        ) from error
    if answer.proof is not None:
        return answer.proof
    kind = BackendUnavailable if answer.unavailable else ModelLoadFailed
    raise kind(answer.problem, operator_hint=answer.hint)


# ------------------------------------------------------------------------------ what was proven


class Proven:
    """Which files were proven, as empty files in one folder. Thread: any; any number of processes.

    Who may write there decides what is not tried; it stands beside the models, whose writer decides
    what runs anyway.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def holds(self, data: bytes, runtime: Runtime) -> bool:
        """Return whether this file was proven with the installed version of the runtime."""
        return (self._folder / _mark(data, runtime)).is_file()

    def remember(self, data: bytes, runtime: Runtime) -> None:
        """Note that it is proven; where that cannot be written, it is tried at each start."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / _mark(data, runtime)).touch()
        except OSError as error:
            _LOG.warning(
                "cannot remember that a model is proven: %s",
                error,
                extra={"event": "guard.not_remembered"},
            )

    def ensure(
        self,
        data: bytes,
        runtime: Runtime,
        *,
        shape: Sequence[int] = (),
        limits: Limits | None = None,
    ) -> None:
        """Return where the file is proven, now or earlier.

        Raises:
            ModelLoadFailed, BackendUnavailable: See `prove`.
        """
        if self.holds(data, runtime):
            return
        proof = prove(data, runtime=runtime, shape=shape, limits=limits)
        _LOG.info(
            "the model was proven in a process of its own with %s, %.0f MB at most",
            proof.backend,
            proof.peak_mb,
            extra={"event": "guard.proven", "backend": proof.backend},
        )
        self.remember(data, runtime)


def _mark(data: bytes, runtime: Runtime) -> str:
    try:
        version = metadata.version(runtime)
    except metadata.PackageNotFoundError:
        version = "none"
    return f"{hashlib.sha256(data).hexdigest()}-{runtime}-{version}"


# ------------------------------------------------------------------------------------ the child


def main(argv: Sequence[str]) -> int:
    """Be the child: open the file on standard input, run it once, answer on standard output."""
    runtime, memory_mb, cpu_s, *sides = argv
    # The runtime may print; what it prints is no answer.
    answers = os.dup(1)
    os.dup2(2, 1)
    shape = [int(side) for side in sides]
    answer = _try(sys.stdin.buffer.read(), runtime, int(memory_mb), int(cpu_s), shape)
    os.write(answers, msgspec.json.encode(answer))
    return 0


def _try(data: bytes, runtime: str, memory_mb: int, cpu_s: int, shape: list[int]) -> _Answer:
    kind: Runtime = "openvino" if runtime == "openvino" else "onnxruntime"
    try:
        load_runtime(kind)
        limit(memory_mb, cpu_s)
        backend = open_backend(data, runtime=kind)
        _run_once(backend, shape)
    except MemoryError:
        return _Answer(
            problem=f"the model needs more than {memory_mb} MB of memory",
            hint="Use a smaller model on this machine.",
        )
    except (InferenceError, ConfigError) as error:
        return _Answer(
            problem=str(error)[:1000],
            hint=error.operator_hint,
            unavailable=isinstance(error, BackendUnavailable),
        )
    return _Answer(
        proof=Proof(
            backend=backend.name,
            inputs=[_words(info) for info in backend.inputs],
            outputs=[_words(info) for info in backend.outputs],
            peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        )
    )


def load_runtime(runtime: Runtime) -> None:
    """Load the runtime's libraries before the limits, so that their size does not count."""
    try:
        importlib.import_module(f"vedette.inference.backends.{runtime}")
    except ModuleNotFoundError as error:
        raise BackendUnavailable(
            f"the runtime {runtime} is not installed",
            operator_hint=f"Install it with: pip install 'vedette[{runtime}]'",
        ) from error


def limit(memory_mb: int, cpu_s: int | None = None) -> None:
    """Lower this process's limits; the kernel is told to end it first where memory runs out.

    Args:
        memory_mb: Beyond what it takes already.
        cpu_s: Processor time from now on; None: without end.
    """
    used = _address_space_bytes()
    if used is not None:
        _lower(resource.RLIMIT_AS, used + memory_mb * _MB)
    if cpu_s is not None:
        spent_s = resource.getrusage(resource.RUSAGE_SELF)
        _lower(resource.RLIMIT_CPU, math.ceil(spent_s.ru_utime + spent_s.ru_stime) + cpu_s)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, _MB)
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError:
        _LOG.debug("no say in who is ended where memory runs out")


def _lower(which: int, wanted: int) -> None:
    _, most = resource.getrlimit(which)
    limit = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    resource.setrlimit(which, (limit, most))


def _address_space_bytes() -> int | None:
    """Return the address space of this process; None where only Linux would tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (OSError, ValueError):
        return None
    return pages * resource.getpagesize()


def _run_once(backend: Backend, shape: list[int]) -> None:
    """Run on zeros: some files take their memory or time only then.

    Raises:
        ModelLoadFailed: An input is absurdly large, or of no type that numbers have.
        RunFailed: The runtime refused, on a shape that the file itself says.
    """
    feeds: dict[str, Tensor] = {}
    guessed = False
    for info in backend.inputs:
        fill = shape if len(shape) == len(info.shape) else [1] * len(info.shape)
        guessed |= fill is not shape and None in info.shape
        sides = [
            want if side is None else side for side, want in zip(info.shape, fill, strict=True)
        ]
        feeds[info.name] = _zeros(info, sides)
    try:
        backend.run(feeds)
    except RunFailed:
        if not guessed:
            raise


def _zeros(info: TensorInfo, sides: list[int]) -> Tensor:
    if math.prod(sides) > MAX_INPUT_ELEMENTS or min(sides, default=1) < 0:
        raise ModelLoadFailed(
            f"input {info.name} has the shape {sides}, which no picture has",
            operator_hint="Export the model for pictures of a sensible size.",
        )
    try:
        return np.zeros(sides, info.dtype)
    except TypeError as error:
        raise ModelLoadFailed(
            f"input {info.name} is {info.dtype}, which no picture can be made into",
            operator_hint="Export the model with a floating-point or integer input.",
        ) from error


def _words(info: TensorInfo) -> str:
    return f"{info.name} {info.dtype} {['?' if s is None else s for s in info.shape]}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))


def _signal_name(number: int) -> str:
    """Return such as `SIGSEGV`; real-time signals have no name of their own."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
