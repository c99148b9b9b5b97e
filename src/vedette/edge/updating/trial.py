"""A bundle from elsewhere is unpacked, loaded and asked its golden frames, in a child with limits.

The agent runs no video code and reads no stranger's archive; this process does, before anything
that runs is touched. What it can take of the machine is bounded, and it gives way to the cameras.

    agent                                       child
    try_bundle(order) ── one JSON order ──▶ unpack (links, paths, sizes, hashes refused)
                                            run once on zeros, in a child of its own (`guard`),
                                            load as the pipeline will, ask the golden frames
                      ◀── one JSON answer ─ on the disk, or what was wrong
    exit, signal or silence is an answer too
"""

import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Literal

import msgspec

from vedette.errors import (
    BackendUnavailable,
    ConfigError,
    HashMismatch,
    ModelLoadFailed,
    VedetteError,
)
from vedette.inference.child_process import environment

if TYPE_CHECKING:
    from vedette.inference.bundle import Bundle

MAX_ANSWER_BYTES: Final = 64 * 1024
CHILD = ["-m", "vedette.edge.updating.trial"]
_MB: Final = 1024 * 1024
_NICENESS: Final = 10


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be tried, and with what.

    Attributes:
        file: The `.vbundle`.
        digest: What the bundle must call itself.
        folder: Where it is to be unpacked; its parent remembers what was proven.
        labels: Classes that cameras look for.
        memory_mb: Beyond what the runtime takes; on top of it six times the file's length.
        cpu_s: Processor time of this process.
        wall_s: Time until the answer.
    """

    file: str
    digest: str
    folder: str
    runtime: Literal["onnxruntime", "openvino"] = "onnxruntime"
    providers: list[str]
    labels: list[str] = []
    memory_mb: int = 2048
    cpu_s: int = 180
    wall_s: float = 300.0


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    ok: bool = False
    problem: str = ""
    hint: str | None = None
    unavailable: bool = False
    load_s: float = 0.0
    frames: int = 0


def try_bundle(order: Order) -> Answer:
    """Return how it went: `order.folder` holds the bundle, whole, proven and on the disk.

    Raises:
        ModelLoadFailed: It is refused, crashed the child, took too long or too much.
        BackendUnavailable: What is to run it is not here.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as answered:
        given.write(msgspec.json.encode(order))
        given.seek(0)
        code = _wait(given, answered, order.wall_s)
        answered.seek(0)
        said = answered.read(MAX_ANSWER_BYTES)
    if code < 0:
        raise ModelLoadFailed(
            f"trying the model ended its process (signal {-code})",
            operator_hint="it breaks the runtime, or needs more memory or time than is allowed",
        )
    try:
        answer = msgspec.json.decode(said, type=Answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelLoadFailed(
            f"trying the model ended without an answer (status {code})",
            operator_hint="see that this machine has memory to spare",
        ) from error
    if not answer.ok:
        kind = BackendUnavailable if answer.unavailable else ModelLoadFailed
        raise kind(answer.problem, operator_hint=answer.hint)
    return answer


def _wait(given: IO[bytes], answered: IO[bytes], wall_s: float) -> int:
    child = subprocess.Popen(
        [sys.executable, *CHILD],
        stdin=given,
        stdout=answered,
        stderr=subprocess.DEVNULL,
        env=environment(),
        start_new_session=True,
    )
    try:
        return child.wait(wall_s)
    except subprocess.TimeoutExpired as error:
        raise ModelLoadFailed(
            f"trying the model took longer than {wall_s:g} s",
            operator_hint="it does not end, or is too large for this machine",
        ) from error
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


# ------------------------------------------------------------------------------------ the child


def main() -> int:
    """Be the child."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    answers = os.dup(1)
    os.dup2(2, 1)  # the runtime may print; what it prints is no answer
    os.nice(_NICENESS)
    try:
        answer = _try(order)
    except MemoryError:
        answer = Answer(problem="the model needs more memory than is allowed")
    except (VedetteError, OSError) as error:
        answer = Answer(
            problem=str(error)[:1000],
            hint=getattr(error, "operator_hint", None),
            unavailable=isinstance(error, BackendUnavailable | OSError),
        )
    os.write(answers, msgspec.json.encode(answer))
    return 0


def _try(order: Order) -> Answer:
    from vedette.inference.bundle import Bundle, copy
    from vedette.inference.guard import Limits, Proven, load_runtime
    from vedette.inference.library import PROVEN

    file_bytes = Path(order.file).stat().st_size
    _limit(order, file_bytes)
    bundle = Bundle.open(Path(order.file))
    if bundle.digest != order.digest:
        raise HashMismatch(f"the bundle calls itself {bundle.digest}, {order.digest} was promised")
    missing = sorted(set(order.labels) - set(bundle.manifest.labels))
    if missing:
        raise ConfigError(
            f"cameras look for {', '.join(missing[:5])}, which this model does not know",
            operator_hint="change what they look for first, or assign another model",
        )
    bundle = copy(bundle, Path(order.folder))
    began_s = time.monotonic()
    _lift()  # the next child, and the runtime, reserve more address space than they use
    Proven(bundle.path.parent / PROVEN).ensure(
        bundle.read(bundle.manifest.model),
        order.runtime,
        shape=bundle.manifest.preprocess.shape,
        limits=Limits(memory_mb=order.memory_mb, cpu_s=order.cpu_s, wall_s=order.wall_s),
    )
    load_runtime(order.runtime)
    _limit(order, file_bytes)
    frames = _ask_golden(bundle, order)
    sync_tree(bundle.path)
    return Answer(ok=True, load_s=round(time.monotonic() - began_s, 3), frames=frames)


def _ask_golden(bundle: "Bundle", order: Order) -> int:
    """Return how many golden frames were answered as where the bundle was made."""
    from vedette.inference.model import Model

    golden = Model.load(bundle, providers=order.providers, runtime=order.runtime).check_golden()
    if not golden.frames:
        raise ModelLoadFailed(
            "it has no golden frames, so nothing proves it on this hardware",
            operator_hint="make the bundle again with golden frames",
        )
    if not golden.ok:
        raise ModelLoadFailed(
            f"its golden frames are answered differently here: {'; '.join(golden.failures[:3])}",
            operator_hint="it was made for another runtime or precision",
        )
    return golden.frames


def _limit(order: Order, file_bytes: int) -> None:
    """Set this process's limits; memory only on a processor, drivers reserve far too much."""
    if order.runtime == "openvino" or order.providers == ["cpu"]:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + order.memory_mb * _MB + 6 * file_bytes
        _lower(resource.RLIMIT_AS, most)
    spent = resource.getrusage(resource.RUSAGE_SELF)
    _lower(resource.RLIMIT_CPU, math.ceil(spent.ru_utime + spent.ru_stime) + order.cpu_s)
    _lower(resource.RLIMIT_CORE, 0)


def _lift() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _lower(which: int, wanted: int) -> None:
    _, most = resource.getrlimit(which)
    resource.setrlimit(
        which, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most)
    )


def sync_tree(folder: Path) -> None:
    """Have every file and name below `folder`, and its own name, on the disk."""
    places = [folder.parent, folder, *folder.rglob("*")]
    for path in places:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


if __name__ == "__main__":
    sys.exit(main())
