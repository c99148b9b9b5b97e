"""What a Raspberry Pi tells beyond any Linux machine: its supply, its firmware's throttling, fan.

The firmware's word is a file where the maker's kernel offers one, else `vcgencmd` once a minute.
Bits 0 to 3 speak of now, 16 to 19 of the time since the start: `under-voltage` and
`under-voltage-occurred`. The hwmon driver of the mainline kernel tells of under-voltage alone.

Only the Pi 5 measures power: its power chip tells current and voltage of each rail, and what they
add up to leaves out what hangs on 5 V directly, such as USB devices, so it is a lower bound.

Source: Raspberry Pi documentation, "vcgencmd" (get_throttled, pmic_read_adc); kernel
drivers/hwmon/raspberrypi-hwmon.c (`rpi_volt`, `in0_lcrit_alarm`).
"""

import re
from typing import Final

from vedette.clock import Clock
from vedette.edge.health.linux import LinuxBoard
from vedette.edge.health.reading import Reading
from vedette.edge.health.sysfs import Tree, to_number
from vedette.edge.health.tool import Run, Seldom, run

FLAGS: Final = (
    "under-voltage",
    "arm-frequency-capped",
    "throttled",
    "soft-temperature-limit",
)
_OCCURRED_SHIFT: Final = 16
ASK_EVERY_S: Final = 60.0
_RAIL: Final = re.compile(
    r"(\w{1,32})_([AV]) (?:current|volt)\(\d{1,3}\)=(-?\d{1,6}\.\d{1,12})[AV]"
)


class RaspberryPi:
    """A Raspberry Pi of any generation. Thread: one at a time."""

    def __init__(self, tree: Tree, clock: Clock, *, ask: Run = run) -> None:
        """Prepare.

        Args:
            tree: Where `/sys` is.
            clock: Says when the tool is due.
            ask: Runs `vcgencmd`; a recorded answer in tests.
        """
        self._tree: Final = tree
        self._linux: Final = LinuxBoard(tree, clock, kind="raspberry_pi")
        self._throttled: Final = Seldom(
            ["vcgencmd", "get_throttled"], clock, every_s=ASK_EVERY_S, ask=ask
        )
        self._rails: Final = Seldom(
            ["vcgencmd", "pmic_read_adc"], clock, every_s=ASK_EVERY_S, ask=ask
        )
        self._has_power_chip: Final = tree.text("proc/device-tree/model").startswith(
            ("Raspberry Pi 5", "Raspberry Pi Compute Module 5", "Raspberry Pi 500")
        )

    def read(self, reading: Reading) -> None:
        """Fill in what any Linux tells, then supply, throttling and power."""
        self._linux.read(reading)
        bits = self._bits()
        if bits is not None:
            reading.can_throttle()
            for bit, name in enumerate(FLAGS):
                if bits >> bit & 1:
                    reading.add_flag(name)
                elif bits >> (bit + _OCCURRED_SHIFT) & 1:
                    reading.add_flag(f"{name}-occurred")
        for alarm in self._tree.glob("sys/class/hwmon/hwmon*/in0_lcrit_alarm", 8):
            if self._tree.text(alarm.parent / "name") == "rpi_volt":
                reading.can_throttle()
                if self._tree.number(alarm) == 1:
                    reading.add_flag("under-voltage")
        if self._has_power_chip:
            reading.set_power(rails_w(self._rails.answer()))

    def _bits(self) -> int | None:
        for file in self._tree.glob("sys/devices/platform/soc*/*firmware/get_throttled", 4):
            bits = self._tree.hex_number(file)
            if bits is not None:
                return bits
        return throttled_bits(self._throttled.answer())


def throttled_bits(answer: str) -> int | None:
    """Return the bits of `throttled=0x50005`; None for anything else."""
    found = re.fullmatch(r"throttled=0x([0-9a-fA-F]{1,8})", answer.strip())
    return int(found[1], 16) if found else None


def rails_w(answer: str) -> float | None:
    """Return the sum over the rails of `pmic_read_adc` whose current and voltage are both told."""
    amps: dict[str, float] = {}
    volts: dict[str, float] = {}
    for name, unit, text in _RAIL.findall(answer):
        value = to_number(text)
        if value is not None and value >= 0:
            (amps if unit == "A" else volts)[name] = value
    both = amps.keys() & volts.keys()
    return sum(amps[name] * volts[name] for name in both) if both else None
