"""The system probe: what every machine tells (`/proc`, the disk), and what its board tells.

`/sys` and `/proc` are read below a root that tests replace by a recorded tree. Not here: what a
kind of board knows (`linux`, `raspberry_pi`, `jetson`, `nvidia`), why the machine started anew
(`boots`), trends (`memory`).

Source: proc(5): `/proc/stat`, `/proc/meminfo`, `/proc/loadavg`, `/proc/<pid>/statm`.
"""

import os
from pathlib import Path
from typing import Final

from vedette.clock import Clock, SystemClock
from vedette.edge.health.boards import WAIT_S, BoardReader, detect
from vedette.edge.health.sysfs import Tree, to_number
from vedette.wire.messages import SystemHealth

_MB: Final = 1024 * 1024
_KB_PER_MB: Final = 1024
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_MAX_PROC_BYTES: Final = 64 * 1024


class SystemProbe:
    """Reads one machine. Thread: one at a time; keeps the counters between two readings."""

    def __init__(
        self,
        state_dir: Path,
        *,
        root: Path = Path("/"),
        clock: Clock | None = None,
        wait_s: float = WAIT_S,
    ) -> None:
        """Find out what board this is and take the first reading of the counters.

        Args:
            state_dir: The disk that it is on is the one reported.
            root: Where `/sys` and `/proc` are looked for.
            clock: The machine's, unless a test has another.
            wait_s: Longest that `collect` waits for sensors.
        """
        self._state_dir: Final = state_dir
        self._tree: Final = Tree(root)
        self._clock: Final[Clock] = clock or SystemClock()
        self._boards: Final = BoardReader(
            detect(self._tree, self._clock), self._clock, wait_s=wait_s
        )
        self._cpu: tuple[float, float] | None = self._cpu_ticks()

    @property
    def silent_s(self) -> float:
        """Seconds for which the sensors have owed an answer; 0 where they answer."""
        return self._boards.silent_s

    def collect(self, *, boot_id: str = "", pipeline_pid: int | None = None) -> SystemHealth:
        """Return the machine's state since the last call; waits `wait_s` for sensors at most."""
        reading = self._boards.read()
        total_mb, available_mb = memory_mb(self._tree)
        free_mb, disk_used = self._disk()
        load = to_number(self._tree.text("proc/loadavg"))
        return SystemHealth(
            uptime_s=self._tree.number("proc/uptime"),
            boot_id=boot_id,
            cpu_fraction=self._cpu_fraction(),
            load_1m=None if load is None else round(load, 2),
            memory_mb=None if total_mb is None else round(total_mb, 1),
            memory_used_fraction=_used(total_mb, available_mb),
            agent_rss_mb=rss_mb(self._tree, os.getpid()),
            pipeline_rss_mb=rss_mb(self._tree, pipeline_pid) if pipeline_pid else None,
            disk_free_mb=free_mb,
            disk_used_fraction=disk_used,
            gpu_fraction=reading.gpu_fraction,
            gpu_memory_fraction=reading.gpu_memory_fraction,
            fan_fraction=reading.fan_fraction,
            power_w=reading.power_w,
            temperatures_c=reading.temperatures_c,
            clocks_mhz=reading.clocks_mhz,
            throttle_flags=reading.throttle_flags,
            power_mode=reading.power_mode,
            hardware=reading.hardware,
            probe="+".join(reading.kinds),
        )

    def _disk(self) -> tuple[float | None, float | None]:
        """Return what this user may still write, in MB, and which part of the disk is used."""
        try:
            disk = os.statvfs(self._state_dir)
        except OSError:
            return None, None
        used = disk.f_blocks - disk.f_bfree
        writable = used + disk.f_bavail
        full = round(used / writable, 4) if writable else None
        return round(disk.f_bavail * disk.f_frsize / _MB, 1), full

    def _cpu_fraction(self) -> float | None:
        before, self._cpu = self._cpu, self._cpu_ticks()
        if before is None or self._cpu is None or self._cpu[1] <= before[1]:
            return None
        busy, total = self._cpu[0] - before[0], self._cpu[1] - before[1]
        return round(min(max(busy / total, 0.0), 1.0), 4)

    def _cpu_ticks(self) -> tuple[float, float] | None:
        """Return busy and all ticks of every core since the boot."""
        words = self._tree.text("proc/stat").split("\n", 1)[0].split()
        if len(words) < 5 or words[0] != "cpu" or not all(w.isdecimal() for w in words[1:]):
            return None
        ticks = [int(word) for word in words[1:9]]  # guest time is in user time already
        idle = sum(ticks[3:5])
        return float(sum(ticks) - idle), float(sum(ticks))


def boot_id(root: Path = Path("/")) -> str:
    """Return the kernel's id of this boot: what monotonic times are comparable within."""
    return Tree(root).text("proc/sys/kernel/random/boot_id")[:64] or "unknown-boot"


def memory_mb(tree: Tree) -> tuple[float | None, float | None]:
    """Return the machine's memory and what of it could be had now, in MB."""
    found: dict[str, float] = {}
    for line in tree.whole("proc/meminfo", _MAX_PROC_BYTES).decode("ascii", "replace").split("\n"):
        name, _, value = line.partition(":")
        if name in {"MemTotal", "MemAvailable"}:
            kilobytes = to_number(value)
            if kilobytes is not None:
                found[name] = kilobytes / _KB_PER_MB
    return found.get("MemTotal"), found.get("MemAvailable")


def rss_mb(tree: Tree, pid: int) -> float | None:
    """Return the memory that a process holds now, in MB; None where there is no such process."""
    words = tree.text(f"proc/{pid}/statm").split()
    if len(words) < 2 or not words[1].isdecimal():
        return None
    return round(int(words[1]) * _PAGE_BYTES / _MB, 1)


def _used(total_mb: float | None, available_mb: float | None) -> float | None:
    if not total_mb or available_mb is None:
        return None
    return round(min(max(1 - available_mb / total_mb, 0.0), 1.0), 4)
