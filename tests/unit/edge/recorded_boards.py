"""Machines as small trees of `/sys` and `/proc`, written by code, after the facts of real boards.

Names, units and layouts are those of the kernels and makers' tools; the numbers are made up.
Each function returns {path: text}; `plant` writes it below a root.
"""

from pathlib import Path

Files = dict[str, str]

MEMINFO = "MemTotal:       {total} kB\nMemFree:  100 kB\nMemAvailable:   {available} kB\n"


def plant(root: Path, files: Files) -> Path:
    """Write a recorded machine, or what changed in it."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def proc(total_kb: int = 8_000_000, available_kb: int = 6_000_000) -> Files:
    """Return what every machine has."""
    return {
        "proc/uptime": "1234.56 4000.00\n",
        "proc/loadavg": "0.42 0.40 0.38 1/200 4321\n",
        "proc/meminfo": MEMINFO.format(total=total_kb, available=available_kb),
        "proc/stat": "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 100 0 100 800 0 0 0 0 0 0\n",
        "proc/sys/kernel/random/boot_id": "0f5a1c2e-0000-4000-8000-000000000001\n",
    }


def zones(*found: tuple[str, int]) -> Files:
    """Return thermal zones: type and millidegrees."""
    files: Files = {}
    for number, (kind, value) in enumerate(found):
        files[f"sys/class/thermal/thermal_zone{number}/type"] = f"{kind}\n"
        files[f"sys/class/thermal/thermal_zone{number}/temp"] = f"{value}\n"
    return files


def chip(number: int, name: str, **files: str) -> Files:
    """Return an hwmon chip."""
    folder = f"sys/class/hwmon/hwmon{number}"
    return {f"{folder}/name": f"{name}\n"} | {f"{folder}/{k}": f"{v}\n" for k, v in files.items()}


def cpufreq(current_khz: int, highest_khz: int, policy: int = 0) -> Files:
    """Return one frequency domain."""
    folder = f"sys/devices/system/cpu/cpufreq/policy{policy}"
    return {
        f"{folder}/scaling_cur_freq": f"{current_khz}\n",
        f"{folder}/scaling_max_freq": f"{highest_khz}\n",
    }


def ina3221(number: int, *rails: tuple[str, int, int]) -> Files:
    """Return a power monitor: label, millivolts, milliamps."""
    files: Files = {}
    for index, (label, millivolts, milliamps) in enumerate(rails, start=1):
        files |= {
            f"in{index}_label": label,
            f"in{index}_input": str(millivolts),
            f"curr{index}_input": str(milliamps),
            f"curr{index}_crit_alarm": "0",
        }
    return chip(number, "ina3221", **files)


def orin_nano() -> Files:
    """Return a Jetson Orin Nano on JetPack 6: nvpmodel in mode 1, a fan, one idle engine's zone."""
    gpu = "sys/devices/platform/bus@0/17000000.gpu"
    return (
        proc(7_600_000, 4_000_000)
        | zones(
            ("cpu-thermal", 52_125),
            ("gpu-thermal", 50_500),
            ("cv0-thermal", -256_000),
            ("soc0-thermal", 49_343),
            ("tj-thermal", 52_125),
        )
        | cpufreq(1_190_400, 1_510_400)
        | cpufreq(729_600, 1_510_400, policy=4)
        | ina3221(
            1, ("VDD_IN", 5_080, 1_250), ("VDD_CPU_GPU_CV", 5_080, 380), ("VDD_SOC", 5_072, 300)
        )
        | chip(2, "pwmfan", pwm1="102")
        | chip(3, "pwm_tach", rpm="2300")
        | chip(4, "soctherm_oc", oc1_event_cnt="0", oc2_event_cnt="0", oc3_event_cnt="2")
        | {
            "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
            "proc/device-tree/compatible": "nvidia,p3767-0005\0nvidia,tegra234\0",
            f"{gpu}/load": "437\n",
            "sys/class/devfreq/17000000.gpu/cur_freq": "306000000\n",
            "sys/class/devfreq/17000000.gpu/max_freq": "624750000\n",
            "sys/class/devfreq/15340000.vic/cur_freq": "115200000\n",
            "sys/class/thermal/cooling_device0/type": "pwm-fan\n",
            "sys/class/thermal/cooling_device0/cur_state": "2\n",
            "var/lib/nvpmodel/status": "pmode:0001\n",
            "etc/nvpmodel.conf": (
                "# two modes\n< PARAM TYPE=FILE NAME=CPU_ONLINE >\nCORE_0 /sys/x\n"
                "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n"
                "< POWER_MODEL ID=1 NAME=7W >\nCPU_ONLINE CORE_0 1\n< PM_CONFIG DEFAULT=0 >\n"
            ),
        }
    )


def xavier_nx() -> Files:
    """Return a Jetson Xavier NX on JetPack 4: rails under iio, a zone that always shows 100 °C."""
    rails = "sys/bus/i2c/drivers/ina3221x/7-0040/iio:device0"
    return (
        proc(7_800_000, 5_000_000)
        | zones(
            ("AO-therm", 41_500),
            ("CPU-therm", 43_000),
            ("GPU-therm", 42_500),
            ("PMIC-Die", 100_000),
        )
        | cpufreq(1_420_800, 1_907_200)
        | {
            "proc/device-tree/model": "NVIDIA Jetson Xavier NX Developer Kit\0",
            "proc/device-tree/compatible": "nvidia,p3449-0000\0nvidia,tegra194\0",
            "sys/devices/gpu.0/load": "0\n",
            "sys/class/devfreq/17000000.gv11b/cur_freq": "114750000\n",
            f"{rails}/rail_name_0": "VDD_IN\n",
            f"{rails}/in_power0_input": "3840\n",
            f"{rails}/rail_name_1": "VDD_CPU_GPU_CV\n",
            f"{rails}/in_power1_input": "612\n",
            "sys/class/thermal/cooling_device0/type": "thermal-cpufreq-0\n",
            "sys/class/thermal/cooling_device0/cur_state": "0\n",
        }
    )


def pi_4() -> Files:
    """Return a Raspberry Pi 4 without a fan whose kernel tells of throttling in a file."""
    return (
        proc(3_880_000, 3_000_000)
        | zones(("cpu-thermal", 61_342))
        | chip(0, "cpu_thermal", temp1_input="61342")
        | chip(1, "rpi_volt", in0_lcrit_alarm="0")
        | cpufreq(1_500_000, 1_800_000)
        | {
            "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
            "proc/device-tree/compatible": "raspberrypi,4-model-b\0brcm,bcm2711\0",
            "sys/devices/platform/soc/soc:firmware/get_throttled": "0\n",
        }
    )


def pi_5() -> Files:
    """Return a Raspberry Pi 5 with its fan, whose kernel leaves throttling to vcgencmd."""
    return (
        proc(8_050_000, 6_000_000)
        | zones(("cpu-thermal", 55_050))
        | chip(0, "cpu_thermal", temp1_input="55050")
        | chip(1, "rp1_adc", in1_input="1480", temp1_input="49123")
        | chip(2, "pwmfan", pwm1="75", fan1_input="2980")
        | chip(3, "rpi_volt", in0_lcrit_alarm="0")
        | cpufreq(2_400_000, 2_400_000)
        | {
            "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
            "proc/device-tree/compatible": "raspberrypi,5-model-b\0brcm,bcm2712\0",
        }
    )


def n100() -> Files:
    """Return a small Intel N100 box: coretemp, i915, RAPL, a constant ACPI zone."""
    gt = "sys/class/drm/card0/gt/gt0"
    return (
        proc(16_000_000, 12_000_000)
        | zones(("acpitz", 27_800), ("x86_pkg_temp", 47_000))
        | chip(0, "nvme", temp1_input="38850", temp1_label="Composite")
        | chip(
            1,
            "coretemp",
            temp1_input="47000",
            temp1_label="Package id 0",
            temp2_input="46000",
            temp2_label="Core 0",
        )
        | cpufreq(2_900_000, 3_400_000)
        | {
            "sys/devices/virtual/dmi/id/sys_vendor": "AZW\n",
            "sys/devices/virtual/dmi/id/product_name": "MINI S\n",
            "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": "3\n",
            f"{gt}/rps_act_freq_mhz": "450\n",
            f"{gt}/rps_max_freq_mhz": "750\n",
            f"{gt}/rc6_residency_ms": "100000\n",
            f"{gt}/throttle_reason_status": "0\n",
            "sys/class/powercap/intel-rapl:0/name": "package-0\n",
            "sys/class/powercap/intel-rapl:0/energy_uj": "5000000\n",
            "sys/class/powercap/intel-rapl:0:0/name": "core\n",
            "sys/class/powercap/intel-rapl:0:0/energy_uj": "900000000\n",
            "sys/class/thermal/cooling_device0/type": "Processor\n",
            "sys/class/thermal/cooling_device0/cur_state": "0\n",
            "sys/class/thermal/cooling_device1/type": "intel_powerclamp\n",
            "sys/class/thermal/cooling_device1/cur_state": "-1\n",
        }
    )


def amd() -> Files:
    """Return a notebook-like AMD box on its battery."""
    card = "sys/class/drm/card1/device"
    supply = "sys/class/power_supply"
    return (
        proc(32_000_000, 20_000_000)
        | chip(0, "k10temp", temp1_input="58250", temp1_label="Tctl")
        | chip(1, "amdgpu", temp1_input="51000", temp1_label="edge")
        | {
            "sys/devices/virtual/dmi/id/sys_vendor": "AZW\n",
            "sys/devices/virtual/dmi/id/product_name": "AZW SER5\n",
            f"{card}/gpu_busy_percent": "37\n",
            f"{card}/mem_info_vram_total": "2147483648\n",
            f"{card}/mem_info_vram_used": "536870912\n",
            f"{supply}/AC/type": "Mains\n",
            f"{supply}/AC/online": "0\n",
            f"{supply}/BAT0/type": "Battery\n",
            f"{supply}/BAT0/status": "Discharging\n",
            f"{supply}/BAT0/voltage_now": "12000000\n",
            f"{supply}/BAT0/current_now": "1500000\n",
            f"{supply}/hidpp/type": "Battery\n",
            f"{supply}/hidpp/scope": "Device\n",
            f"{supply}/hidpp/status": "Discharging\n",
        }
    )
