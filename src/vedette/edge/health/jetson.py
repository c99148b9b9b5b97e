"""What an NVIDIA Jetson tells beyond any Linux machine: GPU load, rails, power mode, over-current.

    GPU load     `load` beside the GPU's devfreq device, in tenths of a percent
    power        INA3221 (hwmon): the rail that feeds the module (VDD_IN, POM_5V_IN), else the sum
                 of the others
    power mode   nvpmodel's status file with the names of its configuration; else `nvpmodel -q`
    throttling   over-current counters of soctherm; what cools the CPU or GPU by slowing them
    fallback     one line of `tegrastats` where the kernel shows no GPU load (JetPack 7 on Thor)

Source: NVIDIA Jetson Linux Developer Guide, "Platform Power and Performance" and "tegrastats
Utility"; the locations were compared with those that the programs of others read.
"""

import re
from collections.abc import Sequence
from typing import Final

from vedette.clock import Clock
from vedette.edge.health.linux import LinuxBoard
from vedette.edge.health.reading import Reading, fraction
from vedette.edge.health.sysfs import Tree, scaled
from vedette.edge.health.tool import Run, Seldom, run

GPU_LOADS: Final = (
    "sys/devices/gpu.0/load",  # Nano, TX2, Xavier
    "sys/devices/platform/gpu.0/load",  # Orin, JetPack 5
    "sys/devices/platform/*.ga10b/load",
    "sys/devices/platform/*.gpu/load",  # Orin, JetPack 6
    "sys/devices/platform/bus@0/*.gpu/load",
    "sys/devices/platform/bus@0/*/*.gpu/load",
)
OLD_RAILS: Final = "sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_*"
"""Where JetPack 4 has them, in milliwatts."""

TOTAL_RAILS: Final = ("VDD_IN", "POM_5V_IN", "VIN_SYS_5V0", "VDD_5V_IN", "SYS_VIN")
NO_RAILS: Final = ("NC", "sum of shunt voltages")
ASK_EVERY_S: Final = 60.0
MODE_EVERY_S: Final = 600.0
_GPU_NAMES: Final = re.compile(r"gpu|gv11b|gp10b|ga10b|gm20b")
_MODE: Final = re.compile(r"^\s*<\s*POWER_MODEL\s+ID=(\d{1,3})\s+NAME=(\S{1,40})\s*>", re.MULTILINE)
_MAX_CONFIGURATION: Final = 128 * 1024


class Jetson:
    """A Jetson module of any generation. Thread: one at a time; keeps counters."""

    def __init__(self, tree: Tree, clock: Clock, *, ask: Run | None = None) -> None:
        """Prepare; take the first reading of the counters.

        Args:
            tree: Where `/sys` is.
            clock: Says when a tool is due.
            ask: Runs a tool; recorded answers in tests.
        """
        self._tree: Final = tree
        self._linux: Final = LinuxBoard(tree, clock, kind="jetson")
        self._mode: Final = Seldom(["nvpmodel", "-q"], clock, every_s=MODE_EVERY_S, ask=ask or run)
        self._stats: Final = Seldom(
            ["tegrastats", "--interval", "500"], clock, every_s=ASK_EVERY_S, ask=ask or _one_line
        )
        self._overcurrents = self._read_overcurrents()

    def read(self, reading: Reading) -> None:
        """Fill in what any Linux tells, then GPU, rails, mode and over-current."""
        self._linux.read(reading)
        reading.gpu_fraction = self._gpu_load()
        self._read_gpu_clock(reading)
        self._read_rails(reading)
        reading.power_mode = self._power_mode()
        counts = self._read_overcurrents()
        if counts:
            reading.can_throttle()
            before, self._overcurrents = self._overcurrents, counts
            if any(count > before.get(file, count) for file, count in counts.items()):
                reading.add_flag("over-current")
        if reading.gpu_fraction is None or reading.power_w is None:
            told = parse_tegrastats(self._stats.answer())
            if reading.gpu_fraction is None:
                reading.gpu_fraction = told.gpu_fraction
            if reading.power_w is None:
                reading.set_power(told.power_w)

    def _gpu_load(self) -> float | None:
        for pattern in GPU_LOADS:
            for file in self._tree.glob(pattern, 4):
                load = fraction(scaled(self._tree.number(file), 1000))
                if load is not None:
                    return load
        return None

    def _read_gpu_clock(self, reading: Reading) -> None:
        for device in self._tree.glob("sys/class/devfreq/*", 32):
            if _GPU_NAMES.search(device.name):
                reading.add_clock("gpu", scaled(self._tree.number(device / "cur_freq"), 1e6))
                reading.add_clock("gpu.max", scaled(self._tree.number(device / "max_freq"), 1e6))

    def _read_rails(self, reading: Reading) -> None:
        """Add up the rails of every INA3221, or take the one that feeds them all."""
        rails: dict[str, float] = {}
        for label in self._tree.glob("sys/class/hwmon/hwmon*/in[1-9]_label", 32):
            folder, number = label.parent, label.name.removeprefix("in").removesuffix("_label")
            if not self._tree.text(folder / "name").startswith("ina"):
                continue
            name = self._tree.text(label)
            millivolts = self._tree.number(folder / f"in{number}_input")
            milliamps = self._tree.number(folder / f"curr{number}_input")
            if name and name not in NO_RAILS and millivolts is not None and milliamps is not None:
                rails[name] = millivolts * milliamps / 1e6
            for alarm in (f"curr{number}_crit_alarm", f"curr{number}_max_alarm"):
                if self._tree.number(folder / alarm) == 1:
                    reading.add_flag("over-current")
        for label in self._tree.glob(OLD_RAILS, 32):
            power_mw = self._tree.number(label.with_name(f"in_power{label.name[10:]}_input"))
            if power_mw is not None:
                rails[self._tree.text(label)] = power_mw / 1000
        reading.set_power(total_w(rails))

    def _power_mode(self) -> str:
        """Return the name of nvpmodel's mode, its number where nothing names it."""
        status = self._tree.text("var/lib/nvpmodel/status")
        found = re.match(r"pmode:(\d{1,4})", status)
        if found is None:
            return parse_nvpmodel(self._mode.answer())
        number = int(found[1])
        text = self._tree.whole("etc/nvpmodel.conf", _MAX_CONFIGURATION).decode("utf-8", "replace")
        names = {int(mode): name for mode, name in _MODE.findall(text)}
        return names.get(number, f"mode {number}")

    def _read_overcurrents(self) -> dict[str, float]:
        files = self._tree.glob("sys/class/hwmon/hwmon*/oc*_event_cnt", 16)
        readings = {str(file): self._tree.number(file) for file in files}
        return {file: count for file, count in readings.items() if count is not None}


def total_w(rails: dict[str, float]) -> float | None:
    """Return the feeding rail's watts, else the sum of all; None where there is no rail."""
    for name in TOTAL_RAILS:
        if name in rails:
            return rails[name]
    return sum(rails.values()) if rails else None


def parse_nvpmodel(answer: str) -> str:
    """Return the name in `NV Power Mode: 15W`; empty for anything else."""
    found = re.search(r"NV Power Mode:\s*(\S{1,40})", answer)
    return found[1] if found else ""


def parse_tegrastats(answer: str) -> Reading:
    """Return GPU load and power of one line of tegrastats; None for what is not in it."""
    reading = Reading()
    load = re.search(r"\bGR3D_FREQ (\d{1,3})%", answer)
    reading.gpu_fraction = fraction(int(load[1]) / 100) if load else None
    rails: dict[str, float] = {}
    for name, milliwatts in re.findall(
        r"\b([A-Z][A-Z0-9_]{2,31}) (\d{1,7})(?:mW)?/\d{1,7}", answer
    ):
        if name.startswith(("VDD", "POM", "VIN", "SYS", "CPU", "GPU")):
            rails[name] = int(milliwatts) / 1000
    reading.set_power(total_w(rails))
    return reading


def _one_line(argv: Sequence[str]) -> str:
    return run(argv, first_line=True)
