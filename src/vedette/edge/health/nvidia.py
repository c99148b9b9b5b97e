"""What NVIDIA cards tell through the driver's own library, NVML, on whatever board.

The binding (`nvidia-ml-py`, the extra `nvidia`) is imported only where the driver is loaded. A
driver that was updated beneath us, a card that fell off the bus, a call that this card does not
know: each means "cannot tell", and the library is opened anew later.

Several cards are reported as one machine: the busiest card's load and memory, the sum of power,
temperatures and clocks by card.

Source: NVIDIA, NVML API Reference Guide; throttle reasons "nvmlClocksEventReasons".
"""

import contextlib
import importlib
from types import ModuleType
from typing import Any, Final

from vedette.clock import NS_PER_S, Clock
from vedette.edge.health.reading import Reading, fraction
from vedette.edge.health.sysfs import Tree, scaled

DRIVER: Final = "proc/driver/nvidia/version"
MAX_CARDS: Final = 16
RETRY_S: Final = 300.0

REASONS: Final = {
    0x004: "gpu-power-cap",
    0x008: "gpu-hw-slowdown",
    0x020: "gpu-thermal-throttled",
    0x040: "gpu-thermal-throttled",
    0x080: "gpu-power-brake",
}
"""What holds a card back; idle (0x1), wanted clocks (0x2) and display clocks (0x100) do not."""


class NvidiaCards:
    """Every NVIDIA card of the machine. Thread: one at a time."""

    def __init__(self, tree: Tree, clock: Clock, *, module: str = "pynvml") -> None:
        """Prepare; the library is opened at the first reading that finds the driver loaded."""
        self._tree: Final = tree
        self._clock: Final = clock
        self._module_name: Final = module
        self._library: ModuleType | None = None
        self._error: type[Exception] = OSError
        self._retry_ns = 0

    def read(self, reading: Reading) -> None:
        """Fill in load, memory, power, heat, clocks and what holds the cards back."""
        library = self._open() if self._tree.exists(DRIVER) else None
        if library is None:
            return
        reading.kinds.append("nvml")
        try:
            for index in range(min(int(library.nvmlDeviceGetCount()), MAX_CARDS)):
                self._read_card(library, index, reading)
        except self._error:
            self._close(library)

    def _read_card(self, library: Any, index: int, reading: Reading) -> None:
        card = library.nvmlDeviceGetHandleByIndex(index)
        ask = _Asking(library, card, self._error)
        name = ask("nvmlDeviceGetName")
        name = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name or "")
        if name:
            reading.hardware = f"{reading.hardware}, {name}".strip(", ")[:200]
        load = ask("nvmlDeviceGetUtilizationRates")
        busy = fraction(scaled(_float(getattr(load, "gpu", None)), 100))
        if busy is not None:
            reading.gpu_fraction = max(busy, reading.gpu_fraction or 0.0)
        memory = ask("nvmlDeviceGetMemoryInfo")
        used, total = _float(getattr(memory, "used", None)), _float(getattr(memory, "total", None))
        if total and used is not None:
            full = fraction(used / total)
            reading.gpu_memory_fraction = max(full or 0.0, reading.gpu_memory_fraction or 0.0)
        watts = scaled(_float(ask("nvmlDeviceGetPowerUsage")), 1000)
        if watts is not None:
            reading.set_power(watts + (reading.power_w or 0.0))
        sensor = getattr(library, "NVML_TEMPERATURE_GPU", 0)
        reading.add_temperature(f"nvidia{index}", _float(ask("nvmlDeviceGetTemperature", sensor)))
        clock = getattr(library, "NVML_CLOCK_SM", 1)
        reading.add_clock(f"nvidia{index}", _float(ask("nvmlDeviceGetClockInfo", clock)))
        reading.add_clock(f"nvidia{index}.max", _float(ask("nvmlDeviceGetMaxClockInfo", clock)))
        speed = fraction(scaled(_float(ask("nvmlDeviceGetFanSpeed")), 100))
        if speed is not None:
            reading.fan_fraction = max(speed, reading.fan_fraction or 0.0)
        reasons = ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        if isinstance(reasons, int):
            reading.can_throttle()
            for bit, flag in REASONS.items():
                if reasons & bit:
                    reading.add_flag(flag)

    # ------------------------------------------------------------------------------ the library

    def _open(self) -> ModuleType | None:
        now_ns = self._clock.mono_ns()
        if self._library is not None or now_ns < self._retry_ns:
            return self._library
        self._retry_ns = now_ns + round(RETRY_S * NS_PER_S)
        try:
            library = importlib.import_module(self._module_name)
        except ImportError:
            return None
        self._error = library.NVMLError
        try:
            library.nvmlInit()
        except self._error:
            return None
        self._library = library
        return library

    def _close(self, library: ModuleType) -> None:
        self._library = None
        with contextlib.suppress(self._error):
            library.nvmlShutdown()


class _Asking:
    """One card's questions; None for one that this card or driver does not know."""

    def __init__(self, library: Any, card: Any, error: type[Exception]) -> None:
        self._library = library
        self._card = card
        self._error = error
        gone = (
            "NVML_ERROR_GPU_IS_LOST",
            "NVML_ERROR_DRIVER_NOT_LOADED",
            "NVML_ERROR_UNINITIALIZED",
        )
        self._gone = {getattr(library, name, None) for name in gone} - {None}

    def __call__(self, name: str, *arguments: Any) -> Any:
        function = getattr(self._library, name, None)
        if function is None:
            return None
        try:
            return function(self._card, *arguments)
        except self._error as error:
            if getattr(error, "value", None) in self._gone:
                raise
            return None


def _float(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
