"""The generic Linux probe: psutil for the usual, `/sys` for heat, clocks and throttling.

`/sys` is read below a root that tests replace by a recorded tree.

Source: Linux kernel documentation, "Generic Thermal Sysfs driver", "CPU Performance Scaling"
(cpufreq) and the x86 `thermal_throttle` attributes; for the Raspberry Pi the bits of its
firmware's `get_throttled`.
"""

import os
from pathlib import Path
from typing import Final

import psutil

from vedette.wire.messages import SystemHealth

_MB: Final = 1024 * 1024
_MAX_SENSOR_BYTES: Final = 4096

# Bits of the Raspberry Pi firmware's get_throttled; the first four are "now".
_PI_FLAGS: Final = {
    0: "under-voltage",
    1: "arm-frequency-capped",
    2: "throttled",
    3: "soft-temperature-limit",
}
_PI_THROTTLED: Final = "sys/devices/platform/soc/soc:firmware/get_throttled"


class SystemProbe:
    """Reads one machine. Thread: one at a time; keeps the counters between two readings.

    Args:
        state_dir: The disk that it is on is the one reported.
        root: Where `/sys` and `/proc` are looked for.
    """

    def __init__(self, state_dir: Path, *, root: Path = Path("/")) -> None:
        self._state_dir = state_dir
        self._root = root
        self._throttle_counts = self._read_throttle_counts()
        psutil.cpu_percent(interval=None)  # the first call only starts the measurement

    def collect(self, *, boot_id: str = "", pipeline_pid: int | None = None) -> SystemHealth:
        """Return the machine's state since the last call."""
        memory = psutil.virtual_memory()
        disk = psutil.disk_usage(str(self._state_dir))
        return SystemHealth(
            uptime_s=_number(self._root / "proc/uptime"),
            boot_id=boot_id,
            cpu_fraction=round(psutil.cpu_percent(interval=None) / 100, 4),
            load_1m=round(os.getloadavg()[0], 2),
            memory_used_fraction=round(memory.percent / 100, 4),
            agent_rss_mb=_rss_mb(os.getpid()),
            pipeline_rss_mb=_rss_mb(pipeline_pid) if pipeline_pid else None,
            disk_free_mb=round(disk.free / _MB, 1),
            disk_used_fraction=round(disk.percent / 100, 4),
            temperatures_c=self.temperatures_c(),
            clocks_mhz=self.clocks_mhz(),
            throttle_flags=self.throttle_flags(),
            hardware=self.hardware(),
        )

    def temperatures_c(self) -> dict[str, float]:
        """Return degrees Celsius by sensor; readings that no silicon survives are left out."""
        found: dict[str, float] = {}
        for zone in sorted(self._root.glob("sys/class/thermal/thermal_zone*"))[:32]:
            name = _text(zone / "type") or zone.name
            _keep(found, name, _number(zone / "temp"))
        for reading in sorted(self._root.glob("sys/class/hwmon/hwmon*/temp*_input"))[:64]:
            chip = _text(reading.parent / "name") or reading.parent.name
            label = _text(reading.with_name(reading.name.replace("_input", "_label")))
            _keep(found, f"{chip}.{label or reading.name.removesuffix('_input')}", _number(reading))
        return found

    def clocks_mhz(self) -> dict[str, float]:
        """Return the current and the highest allowed clock of each frequency domain, in MHz."""
        found: dict[str, float] = {}
        for policy in sorted(self._root.glob("sys/devices/system/cpu/cpufreq/policy*"))[:64]:
            for file, suffix in (("scaling_cur_freq", ""), ("scaling_max_freq", ".max")):
                khz = _number(policy / file)
                if khz is not None and khz > 0:
                    found[policy.name.replace("policy", "cpu") + suffix] = round(khz / 1000, 1)
        return found

    def throttle_flags(self) -> list[str] | None:
        """Return what holds the machine back now or did since the last call; None: cannot tell."""
        flags: list[str] = []
        able = False
        bits = _text(self._root / _PI_THROTTLED)
        if bits:
            able = True
            value = int(bits, 16) if _is_hex(bits) else 0
            flags += [name for bit, name in _PI_FLAGS.items() if value >> bit & 1]
        counts = self._read_throttle_counts()
        if counts:
            able = True
            before, self._throttle_counts = self._throttle_counts, counts
            if any(count > before.get(file, count) for file, count in counts.items()):
                flags.append("thermal-throttled")
        return flags if able else None

    def hardware(self) -> str:
        """Return the board's or product's name."""
        board = _text(self._root / "proc/device-tree/model").strip("\0")
        return board or _text(self._root / "sys/devices/virtual/dmi/id/product_name")

    def _read_throttle_counts(self) -> dict[str, float]:
        pattern = "sys/devices/system/cpu/cpu*/thermal_throttle/*_throttle_count"
        readings = {str(file): _number(file) for file in sorted(self._root.glob(pattern))[:512]}
        return {file: count for file, count in readings.items() if count is not None}


def boot_id(root: Path = Path("/")) -> str:
    """Return the kernel's id of this boot: what monotonic times are comparable within."""
    return _text(root / "proc/sys/kernel/random/boot_id") or "unknown-boot"


def _keep(found: dict[str, float], name: str, millidegrees: float | None) -> None:
    if millidegrees is not None and -40_000 < millidegrees < 150_000 and millidegrees != 0:
        found.setdefault(name[:64], round(millidegrees / 1000, 1))


def _text(file: Path) -> str:
    """Return a small file's text, or nothing where it cannot be read."""
    try:
        with file.open("rb") as stream:
            return stream.read(_MAX_SENSOR_BYTES).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _number(file: Path) -> float | None:
    """Return the first number in a small file, or None where there is none."""
    words = _text(file).split()
    try:
        return float(words[0]) if words else None
    except ValueError:
        return None


def _is_hex(text: str) -> bool:
    try:
        int(text, 16)
    except ValueError:
        return False
    return True


def _rss_mb(pid: int) -> float | None:
    try:
        return round(psutil.Process(pid).memory_info().rss / _MB, 1)
    except psutil.Error:
        return None
