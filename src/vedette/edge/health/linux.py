"""What any Linux machine tells of itself, from `/sys` alone.

    heat       thermal zones, hwmon chips (coretemp, k10temp, nvme, …)
    clocks     cpufreq, the GPU's of i915, xe and amdgpu
    throttling x86 counters, cooling devices that are at work, the GPU's reasons, mains lost
    power      hwmon power sensors of the GPU, RAPL energy counters, a discharging battery
    load       amdgpu `gpu_busy_percent`; for Intel the time out of the RC6 sleep state

Source: Linux kernel documentation: Documentation/ABI/testing/sysfs-class-thermal, -power,
-powercap, sysfs-class-hwmon; admin-guide/pm/cpufreq; gpu/amdgpu/thermal; the attributes of i915's
`gt/` folder. RAPL counters are for root only since CVE-2020-8694; without them there is no power.
"""

from pathlib import Path
from typing import Final

from vedette.clock import NS_PER_S, Clock
from vedette.edge.health.reading import Reading, fraction
from vedette.edge.health.sysfs import Tree, scaled

_CPU_COOLERS: Final = ("Processor", "cpufreq-", "thermal-cpufreq", "cpu-", "devfreq-")
"""Cooling devices that cool by holding something back; a fan does not."""

_CONSTANT_ZONES: Final = ("PMIC-Die",)
"""Zones that show a fixed number, on Jetson modules 100 °C: not a temperature."""

MIN_SPAN_S: Final = 0.2
"""Counters are compared over at least so long."""


class LinuxBoard:
    """A machine of which nothing more is known. Thread: one at a time; keeps counters."""

    def __init__(self, tree: Tree, clock: Clock, *, kind: str = "linux") -> None:
        """Take the first reading of the counters; `kind` is what a board built on this is."""
        self._kind: Final = kind
        self._tree: Final = tree
        self._clock: Final = clock
        self._throttle_counts = self._read_throttle_counts()
        self._energy: Final = _Counter(clock)
        self._awake: Final = _Counter(clock)
        self._batteries = _batteries(tree)
        self._read_energy_w()
        self._read_intel_gpu()

    def read(self, reading: Reading) -> None:
        """Fill in heat, clocks, throttling, power, fan and the load of an Intel or AMD GPU."""
        reading.kinds.append(self._kind)
        reading.hardware = reading.hardware or self._hardware()
        self._read_temperatures(reading)
        self._read_clocks(reading)
        self._read_throttling(reading)
        self._read_fan(reading)
        self._read_power(reading)
        self._read_amd_gpu(reading)
        reading.gpu_fraction = (
            self._read_intel_gpu() if reading.gpu_fraction is None else reading.gpu_fraction
        )

    # ----------------------------------------------------------------------------------- heat

    def _read_temperatures(self, reading: Reading) -> None:
        for zone in self._tree.glob("sys/class/thermal/thermal_zone*", 32):
            name = self._tree.text(zone / "type") or zone.name
            if name in _CONSTANT_ZONES:
                continue
            reading.add_temperature(name, scaled(self._tree.number(zone / "temp"), 1000))
        for file in self._tree.glob("sys/class/hwmon/hwmon*/temp*_input", 64):
            chip = self._tree.text(file.parent / "name") or file.parent.name
            label = self._tree.text(file.with_name(file.name.replace("_input", "_label")))
            name = f"{chip}.{label or file.name.removesuffix('_input')}"
            reading.add_temperature(name, scaled(self._tree.number(file), 1000))

    def _read_fan(self, reading: Reading) -> None:
        if reading.fan_fraction is not None:
            return
        for file in self._tree.glob("sys/class/hwmon/hwmon*/pwm[1-9]", 16):
            speed = fraction(scaled(self._tree.number(file), 255))
            if speed is not None:
                reading.fan_fraction = max(speed, reading.fan_fraction or 0.0)

    # --------------------------------------------------------------------------------- clocks

    def _read_clocks(self, reading: Reading) -> None:
        for policy in self._tree.glob("sys/devices/system/cpu/cpufreq/policy*", 64):
            name = policy.name.replace("policy", "cpu")
            for file, suffix in (("scaling_cur_freq", ""), ("scaling_max_freq", ".max")):
                reading.add_clock(name + suffix, scaled(self._tree.number(policy / file), 1000))
        for gt in self._tree.glob("sys/class/drm/card[0-9]/gt/gt0", 4):
            reading.add_clock("gpu", self._tree.number(gt / "rps_act_freq_mhz"))
            reading.add_clock("gpu.max", self._tree.number(gt / "rps_max_freq_mhz"))
        for card in self._tree.glob("sys/class/drm/card[0-9]/gt_act_freq_mhz", 4):
            reading.add_clock("gpu", self._tree.number(card))

    # ----------------------------------------------------------------------------- throttling

    def _read_throttling(self, reading: Reading) -> None:
        counts = self._read_throttle_counts()
        if counts:
            reading.can_throttle()
            before, self._throttle_counts = self._throttle_counts, counts
            if any(count > before.get(file, count) for file, count in counts.items()):
                reading.add_flag("thermal-throttled")
        for device in self._tree.glob("sys/class/thermal/cooling_device*", 64):
            kind = self._tree.text(device / "type")
            if kind.startswith(_CPU_COOLERS):
                reading.can_throttle()
                if (self._tree.number(device / "cur_state") or 0) > 0:
                    reading.add_flag("thermal-throttled")
        for status in self._tree.glob("sys/class/drm/card[0-9]/gt/gt0/throttle_reason_status", 4):
            reading.can_throttle()
            if self._tree.number(status) == 1:
                reading.add_flag("gpu-throttled")

    def _read_throttle_counts(self) -> dict[str, float]:
        pattern = "sys/devices/system/cpu/cpu*/thermal_throttle/*_throttle_count"
        readings = {str(file): self._tree.number(file) for file in self._tree.glob(pattern)}
        return {file: count for file, count in readings.items() if count is not None}

    # ---------------------------------------------------------------------------------- power

    def _read_power(self, reading: Reading) -> None:
        reading.set_power(self._read_energy_w())
        for supply in self._tree.glob("sys/class/power_supply/*", 8):
            if self._tree.text(supply / "type") == "Mains" and self._batteries:
                reading.can_throttle()
                if self._tree.number(supply / "online") == 0:
                    reading.add_flag("on-battery")
        for battery in self._batteries:
            if self._tree.text(battery / "status") == "Discharging":
                reading.set_power(_battery_w(self._tree, battery))

    def _read_energy_w(self) -> float | None:
        """Return what the processor packages drew since the last call, by RAPL."""
        total_uj, found = 0.0, False
        for zone in self._tree.glob("sys/class/powercap/intel-rapl:*", 16):
            if not self._tree.text(zone / "name").startswith("package"):
                continue
            energy_uj = self._tree.number(zone / "energy_uj")
            if energy_uj is not None:
                total_uj, found = total_uj + energy_uj, True
        rate = self._energy.rate(total_uj if found else None)
        return scaled(rate, 1e6)

    # ------------------------------------------------------------------------------------ GPU

    def _read_amd_gpu(self, reading: Reading) -> None:
        for card in self._tree.glob("sys/class/drm/card[0-9]/device", 4):
            busy = fraction(scaled(self._tree.number(card / "gpu_busy_percent"), 100))
            if busy is None:
                continue
            reading.gpu_fraction = max(busy, reading.gpu_fraction or 0.0)
            total = self._tree.number(card / "mem_info_vram_total")
            used = self._tree.number(card / "mem_info_vram_used")
            if total and used is not None:
                reading.gpu_memory_fraction = fraction(used / total)

    def _read_intel_gpu(self) -> float | None:
        """Return which part of the time since the last call an Intel GPU was out of RC6."""
        for pattern in (
            "sys/class/drm/card[0-9]/gt/gt0/rc6_residency_ms",
            "sys/class/drm/card[0-9]/power/rc6_residency_ms",
        ):
            for file in self._tree.glob(pattern, 4):
                asleep_ms_per_s = self._awake.rate(self._tree.number(file))
                return None if asleep_ms_per_s is None else fraction(1 - asleep_ms_per_s / 1000)
        return None

    def _hardware(self) -> str:
        board = self._tree.text("proc/device-tree/model")
        vendor = self._tree.text("sys/devices/virtual/dmi/id/sys_vendor")
        product = self._tree.text("sys/devices/virtual/dmi/id/product_name")
        both = product if product.startswith(vendor) else f"{vendor} {product}"
        return (board or both.strip())[:200]


class _Counter:
    """A counter that only rises; its rate between two readings."""

    def __init__(self, clock: Clock) -> None:
        self._clock: Final = clock
        self._before: tuple[int, float] | None = None

    def rate(self, value: float | None) -> float | None:
        """Return the rise a second since the last reading; None where it fell, as at a wrap."""
        before, now_ns = self._before, self._clock.mono_ns()
        if value is None:
            self._before = None
            return None
        if before is not None and now_ns - before[0] < MIN_SPAN_S * NS_PER_S:
            return None
        self._before = (now_ns, value)
        if before is None or value < before[1]:
            return None
        return (value - before[1]) / ((now_ns - before[0]) / NS_PER_S)


def _batteries(tree: Tree) -> list[Path]:
    """Return what feeds this machine; not the battery of a mouse."""
    return [
        supply
        for supply in tree.glob("sys/class/power_supply/*", 8)
        if tree.text(supply / "type") == "Battery" and tree.text(supply / "scope") != "Device"
    ]


def _battery_w(tree: Tree, battery: Path) -> float | None:
    power_uw = tree.number(battery / "power_now")
    if power_uw is not None:
        return abs(power_uw) / 1e6
    current_ua = tree.number(battery / "current_now")
    voltage_uv = tree.number(battery / "voltage_now")
    if current_ua is None or voltage_uv is None:
        return None
    return abs(current_ua) * voltage_uv / 1e12
