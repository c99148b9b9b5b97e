"""Keeps exactly one pipeline process running.

The child inherits an open, locked file: the lock lasts exactly as long as the child, whoever
started it and however that one died. A new agent that finds it locked ends the pipeline of its
dead predecessor first. A pipeline whose heartbeat is stale cannot be asked any more; it is killed.

    agent.lock      one agent per state directory
    pipeline.lock   one pipeline; whoever has it open is one
"""

import contextlib
import fcntl
import logging
import os
import random
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from vedette.clock import NS_PER_S, Clock, wall_ms
from vedette.edge import heartbeat
from vedette.edge.health.exits import MemoryKills, describe
from vedette.edge.heartbeat import Heartbeat
from vedette.errors import ConfigError

log = logging.getLogger(__name__)

BACKOFF_S: Final = (1.0, 60.0)
SETTLED_S: Final = 120.0
"""A pipeline that ran this long starts its next life without a pause."""

FIRST_BEAT_S: Final = 120.0
"""Models load and warm up before the first heartbeat."""

STOP_S: Final = 15.0
_POLL_S: Final = 0.05


class AgentLock:
    """Held while an agent works on a state directory; let go when it dies, however it dies."""

    def __init__(self, state_dir: Path) -> None:
        """Take the lock.

        Raises:
            ConfigError: Another agent has it.
        """
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fd: Final = os.open(state_dir / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        if not _try_lock(self._fd):
            os.close(self._fd)
            raise ConfigError(
                f"another agent works on {state_dir}",
                operator_hint="stop it first, or give this one another state_dir",
            )

    @staticmethod
    def is_held(state_dir: Path) -> bool:
        """True where an agent works on `state_dir` now."""
        try:
            fd = os.open(state_dir / "agent.lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return not _try_lock(fd)
        finally:
            os.close(fd)

    def release(self) -> None:
        """Let another agent have it."""
        os.close(self._fd)


class Supervisor:
    """One pipeline process, started, watched and restarted. Thread: the agent's main loop.

    Attributes:
        last_exit: How the last life ended, in words.
        started_ms: Wall time of the present life's start; None while there is none.
        crashes: Lives that ended although nobody asked for it.
        memory_kills: Of those, ended by the kernel for want of memory.
    """

    def __init__(
        self,
        argv: Sequence[str],
        state_dir: Path,
        clock: Clock,
        *,
        log_file: IO[bytes] | None = None,
        jitter: random.Random | None = None,
        kills: MemoryKills | None = None,
    ) -> None:
        """Prepare; `tick` starts.

        Args:
            argv: The command.
            state_dir: Where heartbeat and lock are.
            clock: Decides when a heartbeat is stale.
            log_file: Where its output goes; None: where ours goes.
            jitter: Spreads restarts; a seeded one in tests.
            kills: Tells whether the kernel ended a process for want of memory.
        """
        self._argv: Final = list(argv)
        self._state_dir: Final = state_dir
        self._clock: Final = clock
        self._log_file: Final = log_file
        self._random: Final = jitter or random.Random()  # noqa: S311 - spreads load only
        self._kills: Final = kills or MemoryKills()
        self._child: subprocess.Popen[bytes] | None = None
        self._started_ns = 0
        self._not_before_ns = 0
        self._failures = 0
        self._hurried = False
        self._starts = 0
        self._stop_asked_ns: int | None = None
        self._reason = ""
        self.last_exit = ""
        self.started_ms: int | None = None
        self.crashes = self.memory_kills = 0

    @property
    def restarts(self) -> int:
        """Starts after the first."""
        return max(self._starts - 1, 0)

    @property
    def pid(self) -> int | None:
        """Of the running pipeline."""
        return self._child.pid if self._child else None

    @property
    def running(self) -> bool:
        """True while the process is there, as of the last tick."""
        return self._child is not None

    def beat(self) -> Heartbeat | None:
        """Return the running pipeline's last heartbeat; None where it has not beaten yet."""
        beat = heartbeat.read(self._state_dir)
        return beat if beat is not None and beat.pid == self.pid else None

    def tick(self) -> None:
        """Notice an exit, kill what hangs, restart what wants it, start what is due."""
        if self._child is not None:
            code = self._child.poll()
            if code is not None:
                self._note_exit(code)
            else:
                self._watch()
        if self._hurried:
            self._hurried, self._not_before_ns, self._failures = False, 0, 0
        if self._child is None and self._clock.mono_ns() >= self._not_before_ns:
            self._start()

    def restart(self, reason: str) -> None:
        """Ask the pipeline to end cleanly; it is started again at once."""
        if self._child is not None and self._stop_asked_ns is None:
            log.info(
                "pipeline is restarted", extra={"event": "supervisor.restart", "reason": reason}
            )
            self._reason = reason
            self._stop_asked_ns = self._clock.mono_ns()
            self._child.terminate()

    def hurry(self) -> None:
        """Start the next life without a pause: what ended the last ones is gone. Thread: any."""
        self._hurried = True

    def stop(self) -> None:
        """End the pipeline: cleanly within `STOP_S`, else by force."""
        if self._child is None:
            return
        self._reason = "the agent stopped it"
        self._stop_asked_ns = self._clock.mono_ns()
        self._child.terminate()
        try:
            code = self._child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            code = self._child.wait()
        self._note_exit(code)

    # ------------------------------------------------------------------------------- internals

    def _watch(self) -> None:
        now_ns = self._clock.mono_ns()
        if self._stop_asked_ns is not None:
            if now_ns - self._stop_asked_ns > STOP_S * NS_PER_S:
                self._kill(f"{self._reason}; it did not end when asked")
            return
        beat = self.beat()
        if beat is None:
            if now_ns - self._started_ns > FIRST_BEAT_S * NS_PER_S:
                self._kill(f"no heartbeat within {FIRST_BEAT_S:.0f} s")
        elif heartbeat.age_s(beat, now_ns) > heartbeat.STALE_AFTER_S:
            self._kill(f"its heartbeat was older than {heartbeat.STALE_AFTER_S:.0f} s")
        elif beat.needs_restart:
            self.restart(beat.needs_restart)

    def _kill(self, reason: str) -> None:
        if self._child is None:
            return
        log.error("pipeline is killed", extra={"event": "supervisor.kill", "reason": reason})
        self._reason = reason
        self._child.kill()
        self._note_exit(self._child.wait())

    def _note_exit(self, code: int) -> None:
        how = describe(code)
        wanted = self._stop_asked_ns is not None
        self.crashes += not wanted
        if code == -signal.SIGKILL and not self._reason and self._child is not None:
            blame = self._kills.blame(self._child.pid)
            self.memory_kills += bool(blame)
            how = f"{how}: {blame}" if blame else how
        self.last_exit = f"{self._reason}: {how}" if self._reason else how
        now_ns = self._clock.mono_ns()
        if wanted or now_ns - self._started_ns > SETTLED_S * NS_PER_S:
            self._failures = 0
        pause_s = 0.0
        if not wanted:
            first, most = BACKOFF_S
            pause_s = min(most, first * 2 ** min(self._failures, 10))
            pause_s *= self._random.uniform(0.5, 1.0)
            self._failures += 1
        log.log(
            logging.INFO if wanted else logging.ERROR,
            "pipeline ended",
            extra={
                "event": "supervisor.ended",
                "how": self.last_exit,
                "again_in_s": round(pause_s, 1),
            },
        )
        self._not_before_ns = now_ns + round(pause_s * NS_PER_S)
        self._child = None
        self._stop_asked_ns = None
        self._reason = ""
        self.started_ms = None

    def _start(self) -> None:
        path = self._state_dir / "pipeline.lock"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not _try_lock(fd):
                end_orphan(self._state_dir, self._clock)
                fcntl.flock(fd, fcntl.LOCK_EX)
            heartbeat.forget(self._state_dir)
            self._kills.mark()
            self._child = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=self._log_file,
                stderr=self._log_file,
                pass_fds=(fd,),
                start_new_session=True,
            )
        finally:
            os.close(fd)
        self._starts += 1
        self._started_ns = self._clock.mono_ns()
        self.started_ms = wall_ms(self._clock.now_at())
        log.info("pipeline started", extra={"event": "supervisor.started", "pid": self._child.pid})


def end_orphan(state_dir: Path, clock: Clock) -> bool:
    """Return when no pipeline runs on `state_dir`; end one that outlived its agent.

    Only processes that have the inherited lock file open are ended: a process id kept in a file
    could be a stranger's by now.

    Raises:
        ConfigError: Something holds the lock and cannot be ended.
    """
    try:
        fd = os.open(state_dir / "pipeline.lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        if _try_lock(fd):
            return False
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in _holders(state_dir / "pipeline.lock"):
                log.warning(
                    "ending a pipeline that outlived its agent",
                    extra={"event": "supervisor.orphan", "pid": pid, "signal": number.name},
                )
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            if _wait_lock(fd, clock):
                return True
    finally:
        os.close(fd)
    raise ConfigError(
        f"a process holds {state_dir / 'pipeline.lock'} and does not end",
        operator_hint=f"look who it is with: fuser {state_dir / 'pipeline.lock'}",
    )


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_lock(fd: int, clock: Clock) -> bool:
    """Return whether the lock was free within `STOP_S`."""
    never = threading.Event()
    end_ns = clock.mono_ns() + round(STOP_S * NS_PER_S)
    while not _try_lock(fd):
        if clock.mono_ns() >= end_ns:
            return False
        clock.wait(never, _POLL_S)
    return True


def _holders(path: Path) -> list[int]:
    """Return the other processes that have the file open, as far as this user may see."""
    wanted = path.stat()
    found: set[int] = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if link.readlink() == path.resolve() and os.path.samestat(link.stat(), wanted):
                found.add(int(link.parts[2]))
    return sorted(found - {os.getpid()})
