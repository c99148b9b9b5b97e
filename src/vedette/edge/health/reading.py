"""What one reading of a board holds, and what reads one.

Not here: any file or tool (`linux`, `raspberry_pi`, `jetson`, `nvidia`). The rule: what a board
cannot tell is `None`, empty or absent, never zero.
"""

import math
from dataclasses import dataclass, field
from typing import Final, Protocol

MAX_SENSORS: Final = 64
MAX_NAME_CHARS: Final = 64
COLDEST_C: Final = -40.0
HOTTEST_C: Final = 150.0
"""Readings beyond are a sensor that is broken or switched off, no silicon."""

MAX_POWER_W: Final = 10_000.0


@dataclass(slots=True)
class Reading:
    """What a board says of itself now.

    Attributes:
        kinds: Who contributed: the names in `SystemHealth.probe`.
        temperatures_c: Degrees Celsius by sensor.
        clocks_mhz: Current clock by domain; `<domain>.max` is the highest allowed now.
        throttle_flags: What holds it back now, or `<flag>-occurred` since its start; None: it
            cannot tell.
        power_w: What the board, or else the chip, draws; a battery's where it is discharging.
        gpu_fraction, gpu_memory_fraction, fan_fraction: 0 to 1.
        power_mode: What the maker's tool calls it.
        hardware: The maker's name of board or product, with the cards in it.
    """

    kinds: list[str] = field(default_factory=list)
    temperatures_c: dict[str, float] = field(default_factory=dict)
    clocks_mhz: dict[str, float] = field(default_factory=dict)
    throttle_flags: list[str] | None = None
    power_w: float | None = None
    gpu_fraction: float | None = None
    gpu_memory_fraction: float | None = None
    fan_fraction: float | None = None
    power_mode: str = ""
    hardware: str = ""

    def add_temperature(self, name: str, degrees_c: float | None) -> None:
        """Keep a temperature unless it is none, or no silicon survives it; the first name stays."""
        if degrees_c is None or degrees_c == 0 or len(self.temperatures_c) >= MAX_SENSORS:
            return
        if COLDEST_C < degrees_c < HOTTEST_C:
            self.temperatures_c.setdefault(_name(name), round(degrees_c, 1))

    def add_clock(self, name: str, mhz: float | None) -> None:
        """Keep a clock unless it is none."""
        if mhz is not None and 0 < mhz < 100_000 and len(self.clocks_mhz) < MAX_SENSORS * 2:
            self.clocks_mhz.setdefault(_name(name), round(mhz, 1))

    def can_throttle(self) -> None:
        """Note that this board tells when it is held back."""
        if self.throttle_flags is None:
            self.throttle_flags = []

    def add_flag(self, name: str) -> None:
        """Note what holds the board back."""
        self.can_throttle()
        if self.throttle_flags is not None and name not in self.throttle_flags:
            self.throttle_flags.append(name)

    def set_power(self, watts: float | None) -> None:
        """Keep a plausible power; a later source that knows better replaces it."""
        if watts is not None and 0 < watts < MAX_POWER_W:
            self.power_w = round(watts, 2)


class Board(Protocol):
    """What reads one kind of machine. Thread: one at a time; may keep counters in between."""

    def read(self, reading: Reading) -> None:
        """Fill in what this board can tell; a later board's values stand beside or replace."""
        ...


def fraction(value: float | None) -> float | None:
    """Return a number as a fraction of 0 to 1, or None for one that is none."""
    if value is None or not math.isfinite(value) or not -0.01 <= value <= 1.05:
        return None
    return round(min(max(value, 0.0), 1.0), 4)


def _name(text: str) -> str:
    printable = "".join(c if c.isprintable() else "?" for c in text)
    return printable[:MAX_NAME_CHARS]
