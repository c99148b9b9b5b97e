"""What a machine left behind about its last end, and whether it is ending now.

    pstore        `/sys/fs/pstore/dmesg-*`, or where systemd put it: the kernel's last words
    watchdog      `bootstatus` of the watchdog driver
    Raspberry Pi  `rsts`: the reset status register as its bootloader found it
    Tegra         `reset_reason` of the power management controller
    wtmp          the shutdown record, where a distribution still keeps it

Not here: what follows from it (`boots.decide`).

Source: Linux kernel documentation, ABI/testing/pstore and watchdog/watchdog-api (WDIOF_ flags);
drivers/soc/tegra/pmc.c for its names; the PM_RSTS bits as bcm2835's drivers name them; utmp(5);
systemd: systemctl(1) `is-system-running`, systemd-pstore(8), pam_nologin(8).
"""

import os
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vedette.edge.health.sysfs import Tree
from vedette.edge.health.tool import Run

_OVERHEAT, _POWER_UNDER, _CARD_RESET, _POWER_OVER = 0x01, 0x10, 0x20, 0x40
_RSTS_POWER_ON: Final = 0x1000
_RSTS_WATCHDOG: Final = 0x0070
_MAX_PANIC_BYTES: Final = 64 * 1024
_MAX_WTMP_BYTES: Final = 128 * 1024
_PANIC: Final = re.compile(
    r"(Kernel panic - not syncing[^\n]{0,160}|Oops[^\n]{0,120}|BUG: [^\n]{0,120})"
)
_UTMP: Final = {"aarch64": (400, "<q", 344)}
_UTMP_ELSE: Final = (384, "<i", 340)
_RUN_LEVEL: Final = 1
_SLACK_MS: Final = 120_000


@dataclass(slots=True)
class Traces:
    """What was found.

    Attributes:
        panics: Names of the kernel's last words; also old ones.
        panic_words: The sentence of the newest.
        hardware: What the hardware says of its last reset: thermal, watchdog, power_lost or empty.
        hardware_words: In its own terms.
        would_tell_panic, would_tell_watchdog: Whether silence about them means that there was none.
        critical_c: Where each thermal zone switches the machine off.
        shutdown_logged: wtmp has an orderly shutdown after the last report.
    """

    panics: list[str] = field(default_factory=list)
    panic_words: str = ""
    hardware: str = ""
    hardware_words: str = ""
    would_tell_panic: bool = False
    would_tell_watchdog: bool = False
    critical_c: dict[str, float] = field(default_factory=dict)
    shutdown_logged: bool = False


def look(tree: Tree, *, after_ms: int | None, machine: str = "") -> Traces:
    """Return what this machine left behind; `after_ms` is when it was last seen alive."""
    traces = Traces()
    _look_pstore(tree, traces)
    for read in (_tegra, _watchdog, _raspberry_pi):
        hardware, words = read(tree, traces)
        if hardware and not traces.hardware:
            traces.hardware, traces.hardware_words = hardware, words
    for zone in tree.glob("sys/class/thermal/thermal_zone*", 32):
        for kind in tree.glob(f"{zone.relative_to(tree.root)}/trip_point_*_type", 16):
            if tree.text(kind) == "critical":
                trip = tree.number(kind.with_name(kind.name.replace("_type", "_temp")))
                if trip is not None and 60_000 <= trip <= 150_000:
                    traces.critical_c[tree.text(zone / "type")] = trip / 1000
    if after_ms is not None:
        architecture = machine or tree.text("proc/sys/kernel/arch") or os.uname().machine
        traces.shutdown_logged = _shutdown_logged(tree, after_ms - _SLACK_MS, architecture)
    return traces


def is_shutting_down(tree: Tree, ask: Run, *, since_ms: int) -> bool:
    """Return whether the whole system is being shut down now, and not this program alone."""
    if tree.exists("run/systemd/system"):
        return ask(["systemctl", "is-system-running"]).strip() == "stopping"
    # Without systemd: pam_nologin's file, made since we run, is what shutdown(8) leaves.
    try:
        made_ms = (tree.root / "run/nologin").stat().st_mtime * 1000
    except OSError:
        return False
    return made_ms >= since_ms


def wants_reboot(tree: Tree) -> bool:
    """Return whether an update asked for a reboot, as Debian and Ubuntu note it."""
    return tree.exists("run/reboot-required") or tree.exists("var/run/reboot-required")


def _look_pstore(tree: Tree, traces: Traces) -> None:
    backend = tree.text("sys/module/pstore/parameters/backend")
    traces.would_tell_panic = backend not in {"", "(null)"}
    found: list[tuple[float, str, Path]] = []
    for pattern in (
        "sys/fs/pstore/dmesg-*",
        "var/lib/systemd/pstore/*/dmesg*",
        "var/lib/systemd/pstore/*/*/dmesg*",
    ):
        for file in tree.glob(pattern, 64):
            try:
                made_s = file.stat().st_mtime
            except OSError:
                continue
            found.append((made_s, f"{file.name}@{made_s:.0f}", file))
    for _, name, file in sorted(found)[-64:]:
        words = _PANIC.search(tree.whole(file, _MAX_PANIC_BYTES).decode("utf-8", "replace"))
        if words is not None:  # an ordinary end can be recorded too; only a panic counts
            traces.panics.append(name)
            traces.panic_words = words[1]


def _tegra(tree: Tree, traces: Traces) -> tuple[str, str]:
    for pattern in (
        "sys/devices/platform/*pmc*/reset_reason",
        "sys/devices/platform/*/*pmc*/reset_reason",
    ):
        for file in tree.glob(pattern, 4):
            reason = tree.text(file)[:40]
            words = f"the power controller says {reason}"
            traces.would_tell_watchdog = bool(reason)
            if reason in {"SENSOR", "AOTAG", "FSI_THERM"}:
                return "thermal", words
            if "WDT" in reason or reason == "WATCHDOG":
                return "watchdog", words
            if reason in {"POWER_ON_RESET", "VFSENSOR", "VMON", "VREFRO_POWERBAD"}:
                return "power_lost", words
            if reason in {"SYS_RESET", "SYS_RESET_N"}:
                return "power_lost", f"{words}: no power, or its reset button"
    return "", ""


def _watchdog(tree: Tree, traces: Traces) -> tuple[str, str]:
    for file in tree.glob("sys/class/watchdog/watchdog*/bootstatus", 8):
        status = tree.whole_number(file)
        if status is None or status < 0:
            continue
        if status & (_OVERHEAT | _CARD_RESET | _POWER_UNDER | _POWER_OVER):
            traces.would_tell_watchdog = True
        if status & _OVERHEAT:
            return "thermal", "the watchdog says that it was too hot"
        if status & (_POWER_UNDER | _POWER_OVER):
            return "power_lost", "the watchdog says that the voltage was out of bounds"
        if status & _CARD_RESET:
            return "watchdog", "the watchdog says that it reset the machine"
    return "", ""


def _raspberry_pi(tree: Tree, traces: Traces) -> tuple[str, str]:
    """Return what PM_RSTS says; a Pi reboots by its watchdog also in order."""
    for path in ("proc/device-tree/chosen/bootloader/rsts", "proc/device-tree/chosen/pm_rsts"):
        cell = tree.head(path, 8)
        if len(cell) != 4:
            continue
        status = int.from_bytes(cell, "big")
        traces.would_tell_watchdog = True
        if status & _RSTS_POWER_ON:
            return "power_lost", "it came up from no power"
        if status & _RSTS_WATCHDOG:
            return "watchdog", "it was reset by its watchdog"
    return "", ""


def _shutdown_logged(tree: Tree, after_ms: int, architecture: str) -> bool:
    size, kind, offset = _UTMP.get(architecture, _UTMP_ELSE)
    try:
        length = (tree.root / "var/log/wtmp").stat().st_size
    except OSError:
        return False
    if length % size:
        return False
    data = _tail(tree.root / "var/log/wtmp", length, _MAX_WTMP_BYTES // size * size)
    for start in range(0, len(data) - size + 1, size):
        (record,) = struct.unpack_from("<h", data, start)
        user = data[start + 44 : start + 76].rstrip(b"\0")
        (seconds,) = struct.unpack_from(kind, data, start + offset)
        if record == _RUN_LEVEL and user == b"shutdown" and seconds * 1000 >= after_ms:
            return True
    return False


def _tail(path: Path, length: int, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(length - most, 0))
            return file.read(most)
    except OSError:
        return b""
