"""Processes that we start, watch and kill; disks that are full; clocks that are wrong.

The rule: only what was started here is ever ended, by the process group that it was given, and a
fault that this machine does not permit says so instead of passing quietly.
"""

import contextlib
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import psutil

from vedette.clock import Clock
from vedette.errors import ConfigError

GRACE_S: Final = 15.0
_POLL_S: Final = 0.05
_PORTS: Final = random.SystemRandom()
_FAKETIME: Final = ("faketime/libfaketime.so.1", "libfaketime.so.1")


class NotPermitted(ConfigError):
    """This machine does not let us make this fault."""


class Child:
    """One process of ours, in a process group of its own, its output in a file. Thread: any."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        log_path: Path,
        *,
        environment: Mapping[str, str] | None = None,
        file_limit_bytes: int | None = None,
    ) -> None:
        self.name = name
        self.arguments = list(arguments)
        self.log_path = log_path
        self.environment = dict(environment or {})
        self._file_limit_bytes = file_limit_bytes
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, or start it again."""
        limit = self._file_limit_bytes

        def confine() -> None:
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        with self.log_path.open("ab") as output:
            self._process = subprocess.Popen(
                self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                start_new_session=True,
                preexec_fn=confine if limit is not None else None,  # noqa: PLW1509
            )

    @property
    def pid(self) -> int:
        """The process id; 0 before the start."""
        return self._process.pid if self._process else 0

    @property
    def is_running(self) -> bool:
        """True until it ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.poll() if self._process else None

    def descendants(self) -> list[psutil.Process]:
        """Return the processes that it started, and theirs."""
        try:
            return psutil.Process(self.pid).children(recursive=True) if self.pid else []
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """Kill -9 this one process, as power loss would; its children are left to notice."""
        if self._process and self.is_running:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """Stop it without its knowledge (SIGSTOP): it hangs."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self, grace_s: float = GRACE_S) -> int | None:
        """Ask it to end, wait, then kill whatever is left of its group; return the exit status."""
        if self._process is None:
            return None
        family = self.descendants()
        if self.is_running:
            self._process.terminate()
            try:
                self._process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        _, left = psutil.wait_procs(family, timeout=grace_s)
        for one in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(left, timeout=grace_s)
        return self._process.returncode

    def tail(self, lines: int = 20) -> str:
        """Return the end of its output."""
        if not self.log_path.is_file():
            return ""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])


def wait_until(
    what: str,
    is_true: Callable[[], bool],
    clock: Clock,
    *,
    timeout_s: float,
    alive: Sequence[Child] = (),
    poll_s: float = 0.2,
) -> float:
    """Return the seconds it took until `is_true()`.

    Raises:
        TimeoutError: It did not become true in time.
        ConfigError: One of `alive` ended meanwhile; the text carries the end of its output.
    """
    pause = threading.Event()
    start_ns = clock.mono_ns()
    while True:
        if is_true():
            return (clock.mono_ns() - start_ns) / 1e9
        for child in alive:
            if not child.is_running:
                raise ConfigError(
                    f"{child.name} ended with status {child.exit_status}:\n{child.tail()}",
                    operator_hint=f"its whole output is in {child.log_path}",
                )
        if clock.mono_ns() - start_ns > timeout_s * 1e9:
            raise TimeoutError(f"not within {timeout_s:.0f} s: {what}")
        clock.wait(pause, poll_s)


def free_port() -> int:
    """Return a port of loopback that nobody listens on now.

    From below the ports that the kernel hands out (32768 and up on Linux): those may be anybody's
    own end of a connection by the time somebody wants to listen.
    """
    while True:
        port = _PORTS.randint(20_000, 31_999)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """Make `folder` a file system of its own of that size, until left.

    Raises:
        NotPermitted: This machine does not permit mounting; the caller decides what to do instead.
    """
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={megabytes}m,mode=0777"
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        raise NotPermitted("mounting needs root", operator_hint="run the full-disk tests as root")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise NotPermitted(
            f"mounting is not permitted here: {done.stderr.decode().strip()}",
            operator_hint="run the full-disk tests where mounting is allowed",
        )
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)


def fill_disk(folder: Path, *, leave_bytes: int = 0) -> Path:
    """Fill the file system of `folder` but for `leave_bytes`; return the file that does it.

    Only for a folder from `small_disk`: it refuses a file system larger than 256 MB.
    """
    usage = shutil.disk_usage(folder)
    if usage.total > 256 * 1024 * 1024:
        raise ConfigError("will not fill a real disk", operator_hint="use small_disk first")
    ballast = folder / ".ballast"
    with ballast.open("ab") as file:
        for size in (1 << 20, 1 << 12):
            with contextlib.suppress(OSError):
                while shutil.disk_usage(folder).free - leave_bytes >= size:
                    file.write(bytes(size))
                    file.flush()
    return ballast


def wrong_clock(shift_file: Path) -> dict[str, str]:
    """Return the environment of processes whose wall clock is off by what `shift_file` says.

    The file holds a shift such as `-0s` or `+3600s`; when it changes, their clocks jump. The
    monotonic clock stays true.

    Raises:
        NotPermitted: libfaketime is not installed.
    """
    roots = [Path("/usr/lib"), Path("/usr/local/lib"), *Path("/usr/lib").glob("*-linux-gnu")]
    given = os.environ.get("VEDETTE_FAKETIME")
    found = [Path(given)] if given else [root / name for root in roots for name in _FAKETIME]
    library = next((path for path in found if path.is_file()), None)
    if library is None:
        raise NotPermitted(
            "libfaketime is not installed",
            operator_hint="install Debian's faketime, or name the library in VEDETTE_FAKETIME",
        )
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(shift_file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "TZ": "UTC",
    }
