"""Each kind of board, read from recorded trees of /sys and recorded answers of its tools."""

import os
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from tests.unit.edge import recorded_boards as recorded
from vedette.clock import ManualClock
from vedette.edge.health import SystemProbe
from vedette.edge.health import tool as tool_module
from vedette.edge.health.boards import BoardReader, detect
from vedette.edge.health.jetson import Jetson, parse_nvpmodel, parse_tegrastats
from vedette.edge.health.nvidia import DRIVER, NvidiaCards
from vedette.edge.health.raspberry_pi import RaspberryPi, rails_w, throttled_bits
from vedette.edge.health.reading import Reading
from vedette.edge.health.sysfs import Tree
from vedette.edge.health.tool import Seldom
from vedette.wire.messages import SystemHealth

PMIC = """\
   3V7_WL_SW_A current(0)=0.10000000A
      VDD_CORE_A current(7)=2.50000000A
   3V7_WL_SW_V volt(8)=3.70000000V
      VDD_CORE_V volt(15)=0.80000000V
       EXT5V_V volt(24)=5.05000000V
"""
TEGRASTATS = (
    "11-21-2026 17:00:00 RAM 2351/7620MB (lfb 4x4MB) SWAP 0/3810MB (cached 0MB) "
    "CPU [4%@729,off,0%@729] EMC_FREQ 0% GR3D_FREQ 61%@[305] cpu@50.1C soc2@48C "
    "VDD_IN 4960mW/4870mW VDD_CPU_GPU_CV 640mW/630mW VDD_SOC 1400mW/1400mW\n"
)


def read(root: Path, clock: ManualClock | None = None) -> SystemHealth:
    """Read a recorded machine once."""
    return SystemProbe(root, root=root, clock=clock or ManualClock(), wait_s=20).collect()


def test_an_orin_nano_tells_load_rails_mode_and_fan(tmp_path):
    """Tenths of a percent, the feeding rail, the mode's name; a zone that is off is left out."""
    health = read(recorded.plant(tmp_path, recorded.orin_nano()))
    assert health.probe == "jetson"
    assert health.hardware == "NVIDIA Jetson Orin Nano Developer Kit"
    assert health.gpu_fraction == pytest.approx(0.437)
    assert health.power_w == pytest.approx(6.35)
    assert health.power_mode == "7W"
    assert health.fan_fraction == pytest.approx(0.4)
    assert health.temperatures_c["tj-thermal"] == 52.1
    assert "cv0-thermal" not in health.temperatures_c
    assert health.clocks_mhz["gpu"] == 306.0
    assert health.clocks_mhz["cpu4"] == 729.6
    assert health.throttle_flags == []
    assert health.memory_mb == pytest.approx(7421.9)


def test_over_current_is_told_when_its_counter_rose(tmp_path):
    """What happened before the agent started is history."""
    recorded.plant(tmp_path, recorded.orin_nano())
    probe = SystemProbe(tmp_path, root=tmp_path, clock=ManualClock(), wait_s=20)
    assert probe.collect().throttle_flags == []
    recorded.plant(tmp_path, {"sys/class/hwmon/hwmon4/oc3_event_cnt": "3"})
    assert probe.collect().throttle_flags == ["over-current"]
    assert probe.collect().throttle_flags == []


def test_a_xavier_nx_of_jetpack_4_has_its_rails_elsewhere(tmp_path):
    """Milliwatts under iio; the zone that always shows 100 degrees is not believed."""
    health = read(recorded.plant(tmp_path, recorded.xavier_nx()))
    assert health.probe == "jetson"
    assert health.power_w == pytest.approx(3.84)
    assert health.gpu_fraction == 0.0
    assert health.temperatures_c == {"AO-therm": 41.5, "CPU-therm": 43.0, "GPU-therm": 42.5}


def test_a_jetson_without_a_load_file_is_asked_by_its_own_tools_seldom(tmp_path):
    """Tegrastats and nvpmodel fill in what no file tells, once a minute and once in ten."""
    files = {k: v for k, v in recorded.xavier_nx().items() if "gpu.0" not in k and "iio" not in k}
    asked: list[str] = []

    def ask(argv):
        asked.append(argv[0])
        return TEGRASTATS if argv[0] == "tegrastats" else "NV Power Mode: MODE_15W_6CORE\n2\n"

    clock = ManualClock()
    jetson = Jetson(Tree(recorded.plant(tmp_path, files)), clock, ask=ask)
    for _ in range(3):
        reading = Reading()
        jetson.read(reading)
        clock.advance(25)
    assert (reading.gpu_fraction, reading.power_w) == (0.61, 4.96)
    assert reading.power_mode == "MODE_15W_6CORE"
    assert sorted(asked) == ["nvpmodel", "tegrastats"]
    clock.advance(60)
    jetson.read(Reading())
    assert sorted(asked) == ["nvpmodel", "tegrastats", "tegrastats"]


def test_a_raspberry_pi_4_tells_of_now_and_of_before(tmp_path):
    """The first four bits are now; what only occurred since the start says so."""
    recorded.plant(tmp_path, recorded.pi_4())
    assert read(tmp_path).throttle_flags == []
    throttled = "sys/devices/platform/soc/soc:firmware/get_throttled"
    recorded.plant(tmp_path, {throttled: "50005\n"})
    assert read(tmp_path).throttle_flags == ["under-voltage", "throttled"]
    recorded.plant(tmp_path, {throttled: "50000\n"})
    health = read(tmp_path)
    assert health.throttle_flags == ["under-voltage-occurred", "throttled-occurred"]
    assert health.probe == "raspberry_pi"
    assert health.power_w is None, "no sensor on a Pi 4 measures power"
    assert health.temperatures_c["cpu-thermal"] == 61.3


def test_a_raspberry_pi_5_is_asked_by_vcgencmd(tmp_path):
    """Throttling, and the sum over the rails that tell both current and voltage."""
    answers = {"get_throttled": "throttled=0x80008\n", "pmic_read_adc": PMIC}
    pi = RaspberryPi(
        Tree(recorded.plant(tmp_path, recorded.pi_5())),
        ManualClock(),
        ask=lambda argv: answers[argv[1]],
    )
    reading = Reading()
    pi.read(reading)
    assert reading.throttle_flags == ["soft-temperature-limit"]
    assert reading.power_w == pytest.approx(2.37)
    assert reading.fan_fraction == pytest.approx(75 / 255, abs=1e-3)
    assert reading.temperatures_c["rp1_adc.temp1"] == 49.1


def test_a_weak_supply_is_told_even_where_only_the_mainline_driver_speaks(tmp_path):
    """The hwmon alarm is enough."""
    recorded.plant(tmp_path, recorded.pi_5())
    recorded.plant(tmp_path, {"sys/class/hwmon/hwmon3/in0_lcrit_alarm": "1"})
    pi = RaspberryPi(Tree(tmp_path), ManualClock(), ask=lambda _: "")
    reading = Reading()
    pi.read(reading)
    assert reading.throttle_flags == ["under-voltage"]


def test_an_intel_box_tells_power_and_gpu_from_counters(tmp_path):
    """Energy of the package alone, and the time out of the sleep state, between two readings."""
    recorded.plant(tmp_path, recorded.n100())
    clock = ManualClock()
    probe = SystemProbe(tmp_path, root=tmp_path, clock=clock, wait_s=20)
    clock.advance(10)
    recorded.plant(
        tmp_path,
        {
            "sys/class/powercap/intel-rapl:0/energy_uj": "75000000",
            "sys/class/drm/card0/gt/gt0/rc6_residency_ms": "104000",
            "proc/stat": "cpu  150 0 150 1100 100 0 0 0 0 0\n",
        },
    )
    health = probe.collect()
    assert health.probe == "linux"
    assert health.hardware == "AZW MINI S"
    assert health.power_w == pytest.approx(7.0)
    assert health.gpu_fraction == pytest.approx(0.6)
    assert health.cpu_fraction == pytest.approx(0.2)
    assert health.memory_used_fraction == pytest.approx(0.25)
    assert health.clocks_mhz == {"cpu0": 2900.0, "cpu0.max": 3400.0, "gpu": 450.0, "gpu.max": 750.0}
    assert health.temperatures_c["coretemp.Package id 0"] == 47.0
    assert health.throttle_flags == []
    clock.advance(10)
    recorded.plant(
        tmp_path,
        {
            "sys/class/powercap/intel-rapl:0/energy_uj": "1000",
            "sys/class/drm/card0/gt/gt0/throttle_reason_status": "1",
            "sys/class/thermal/cooling_device0/cur_state": "2",
        },
    )
    health = probe.collect()
    assert health.power_w is None, "a counter that wrapped tells nothing"
    assert health.throttle_flags == ["thermal-throttled", "gpu-throttled"]


def test_an_amd_box_on_its_battery_says_so(tmp_path):
    """Load and memory of the GPU; a mouse's battery feeds no machine."""
    health = read(recorded.plant(tmp_path, recorded.amd()))
    assert health.hardware == "AZW SER5"
    assert (health.gpu_fraction, health.gpu_memory_fraction) == (0.37, 0.25)
    assert health.power_w == pytest.approx(18.0)
    assert health.throttle_flags == ["on-battery"]


def test_a_virtual_machine_without_sensors_tells_what_it_has(tmp_path):
    """Memory, load, uptime; everything else is absent, never zero."""
    health = read(recorded.plant(tmp_path, recorded.proc()))
    assert health.probe == "linux"
    assert health.load_1m == 0.42
    assert health.uptime_s == 1234.56
    assert health.temperatures_c == health.clocks_mhz == {}
    for absent in (
        health.throttle_flags,
        health.power_w,
        health.gpu_fraction,
        health.gpu_memory_fraction,
        health.fan_fraction,
        health.pipeline_rss_mb,
    ):
        assert absent is None


# -------------------------------------------------------------------------------------- hostile


@pytest.mark.parametrize(
    "garbage", ["nan", "inf", "-1e400", "", "\0\0", "ü" * 9000, "1" * 9000, "x"]
)
@pytest.mark.parametrize("board", ["orin_nano", "pi_4", "pi_5", "n100", "amd"])
def test_garbage_in_every_file_is_no_reading(tmp_path, board, garbage):
    """Every sensor's file holds nonsense: nothing raises, nothing is made up."""
    files = getattr(recorded, board)()
    keep = ("compatible", "model", "/name", "_label", "/type")
    spoiled = {k: (v if k.endswith(keep) else garbage) for k, v in files.items()}
    health = read(recorded.plant(tmp_path, spoiled))
    assert health.temperatures_c == {}
    assert health.clocks_mhz == {}
    for value in (health.power_w, health.fan_fraction, health.memory_mb, health.cpu_fraction):
        assert value is None
    assert health.gpu_fraction is None
    assert health.uptime_s is None or health.uptime_s >= 0


def test_a_pipe_a_loop_and_a_folder_in_the_way_are_passed_over(tmp_path):
    """A named pipe would wait for ever, a loop of links never end, a folder is no file."""
    recorded.plant(
        tmp_path, recorded.zones(("good", 40_000), ("pipe", 1), ("loop", 1), ("folder", 1))
    )
    thermal = tmp_path / "sys/class/thermal"
    for number in (1, 2, 3):
        (thermal / f"thermal_zone{number}/temp").unlink()
    os.mkfifo(thermal / "thermal_zone1/temp")
    (thermal / "thermal_zone2/temp").symlink_to("temp")
    (thermal / "thermal_zone3/temp").mkdir()
    (thermal / "thermal_zone4").symlink_to("thermal_zone4")
    assert read(tmp_path).temperatures_c == {"good": 40.0}
    writer = os.open(thermal / "thermal_zone1/temp", os.O_RDWR)
    os.write(writer, b"50000\n")
    assert read(tmp_path).temperatures_c == {"good": 40.0}, "what is in a pipe is not ours to take"
    os.close(writer)


def test_a_thousand_sensors_are_bounded(tmp_path):
    """A tree without end neither fills the report nor the memory."""
    recorded.plant(tmp_path, recorded.zones(*((f"zone{n}" * 99, 40_000) for n in range(600))))
    temperatures = read(tmp_path).temperatures_c
    assert len(temperatures) <= 64
    assert all(len(name) <= 64 for name in temperatures)


def test_a_sensor_that_hangs_delays_no_report_and_is_told(tmp_path):
    """The report comes without its readings; one thread waits for it, not one a report."""
    release, entered = threading.Event(), threading.Event()

    class Hanging:
        calls = 0

        def read(self, reading: Reading) -> None:
            self.calls += 1
            entered.set()
            assert release.wait(30)
            reading.add_temperature("late", 50.0)

    clock, board = ManualClock(), Hanging()
    reader = BoardReader([board], clock, wait_s=0.01)
    assert reader.read().temperatures_c == {}
    assert entered.wait(30)
    clock.advance(30)
    assert reader.read().temperatures_c == {}
    assert reader.silent_s == 30
    assert board.calls == 1
    release.set()
    assert reader._thread is not None
    reader._thread.join(30)
    assert reader.silent_s == 0
    patient = BoardReader([board], clock, wait_s=30)
    assert patient.read().temperatures_c == {"late": 50.0}


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "throttled=",
        "throttled=0xzz",
        "throttled=0x" + "f" * 99,
        "error=1 error_msg=…",
        "\0" * 99,
    ],
)
def test_a_tool_that_answers_nonsense_tells_nothing(answer):
    """Neither throttling nor power nor a mode is made of it."""
    assert throttled_bits(answer) is None
    assert rails_w(answer) is None
    assert parse_nvpmodel(answer) == ""
    assert parse_tegrastats(answer).gpu_fraction is None
    assert parse_tegrastats(answer).power_w is None


def test_a_tool_that_never_ends_or_never_stops_talking_is_ended(tmp_path, monkeypatch):
    """Time and output are bounded; one line is enough where one line is wanted."""
    for name, body in (
        ("silent", "exec sleep 60"),
        ("endless", "while true; do echo spam spam spam; done"),
        ("failing", "echo half; exit 3"),
        ("good", "echo fine"),
    ):
        script = tmp_path / name
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(0o755)
    monkeypatch.setattr(tool_module, "SEARCH", f"{tmp_path}:/usr/bin:/bin")
    assert tool_module.run(["silent"], limit_s=0.2) == ""
    assert tool_module.run(["endless"], max_bytes=100) == ""
    assert tool_module.run(["endless"], first_line=True).startswith("spam spam spam\n")
    assert tool_module.run(["failing"]) == ""
    assert tool_module.run(["not-there"]) == ""
    assert tool_module.run(["good"], limit_s=20) == "fine\n"


def test_a_tool_that_keeps_failing_is_asked_no_more():
    """Three failures in a row are enough; a machine without the tool pays nothing for it."""
    clock, asked = ManualClock(), []
    seldom = Seldom(["gone"], clock, every_s=60, ask=lambda argv: asked.append(argv) or "")
    for _ in range(10):
        assert seldom.answer() == ""
        clock.advance(61)
    assert len(asked) == 3


# ----------------------------------------------------------------------------------------- NVML


class NvmlError(Exception):
    """What the binding raises."""

    def __init__(self, value: int) -> None:
        super().__init__(str(value))
        self.value = value


def stand_in(cards: list[dict[str, object]]) -> ModuleType:
    """Return a module with NVML's calls: no card is here. A value that is an int code raises."""
    module = ModuleType("vedette_test_nvml")

    def call(name):
        def answer(card, *_):
            value = card.get(name, NvmlError(3))
            if isinstance(value, NvmlError):
                raise value
            return value

        return answer

    for name in (
        "GetName",
        "GetUtilizationRates",
        "GetMemoryInfo",
        "GetPowerUsage",
        "GetTemperature",
        "GetClockInfo",
        "GetMaxClockInfo",
        "GetFanSpeed",
        "GetCurrentClocksThrottleReasons",
    ):
        setattr(module, f"nvmlDevice{name}", call(name))
    module.NVMLError = NvmlError
    module.NVML_ERROR_GPU_IS_LOST = 15
    module.opened = 0

    def init():
        module.opened += 1

    module.nvmlInit = init
    module.nvmlShutdown = lambda: None
    module.nvmlDeviceGetCount = lambda: len(cards)
    module.nvmlDeviceGetHandleByIndex = lambda index: cards[index]
    return module


@pytest.fixture
def driver(tmp_path):
    """Return a machine with the driver of NVIDIA's cards."""
    return recorded.plant(tmp_path, recorded.n100() | {DRIVER: "NVRM version: NVIDIA 570.1\n"})


def test_cards_of_nvidia_are_read_beside_the_machine(driver, monkeypatch):
    """Busiest card, sum of power, what holds one back; a call that it does not know is nothing."""
    cards = [
        {
            "GetName": "NVIDIA T400",
            "GetUtilizationRates": SimpleNamespace(gpu=83, memory=4),
            "GetMemoryInfo": SimpleNamespace(total=4 << 30, used=1 << 30),
            "GetPowerUsage": 21_500,
            "GetTemperature": 71,
            "GetClockInfo": 1400,
            "GetMaxClockInfo": 2100,
            "GetFanSpeed": 44,
            "GetCurrentClocksThrottleReasons": 0x21,
        },
        {"GetName": b"NVIDIA X", "GetPowerUsage": 10_000},
    ]
    monkeypatch.setitem(sys.modules, "pynvml", stand_in(cards))
    health = read(driver)
    assert health.probe == "linux+nvml"
    assert health.hardware == "AZW MINI S, NVIDIA T400, NVIDIA X"
    assert (health.gpu_fraction, health.gpu_memory_fraction) == (0.83, 0.25)
    assert health.power_w == pytest.approx(31.5)
    assert health.fan_fraction == 0.44
    assert health.temperatures_c["nvidia0"] == 71.0
    assert health.clocks_mhz["nvidia0.max"] == 2100.0
    assert health.throttle_flags == ["gpu-thermal-throttled"]


def test_a_card_that_fell_off_the_bus_ends_no_report_and_is_looked_for_again(driver, monkeypatch):
    """The library is closed and opened anew some minutes later."""
    card: dict[str, object] = {"GetName": NvmlError(15)}
    library = stand_in([card])
    monkeypatch.setitem(sys.modules, "pynvml", library)
    clock = ManualClock()
    cards = NvidiaCards(Tree(driver), clock)
    cards.read(Reading())
    card["GetName"] = "NVIDIA T400"
    reading = Reading()
    cards.read(reading)
    assert (library.opened, reading.hardware) == (1, "")
    clock.advance(400)
    cards.read(reading)
    assert (library.opened, reading.hardware) == (2, "NVIDIA T400")


def test_without_the_driver_the_binding_is_not_even_imported(tmp_path, monkeypatch):
    """A machine without such a card loads nothing for it."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    recorded.plant(tmp_path, recorded.n100())
    boards = detect(Tree(tmp_path), ManualClock())
    reading = Reading()
    for board in boards:
        board.read(reading)
    assert reading.kinds == ["linux"]
    recorded.plant(tmp_path, {DRIVER: "NVRM version\n"})
    fresh = Reading()
    detect(Tree(tmp_path), ManualClock())[1].read(fresh)
    assert fresh.kinds == [], "the driver is there, the extra `nvidia` is not installed"


def test_the_real_binding_without_a_driver_tells_nothing(driver):
    """The binding's own loading fails where no library is, and that is all."""
    pytest.importorskip("pynvml")
    reading = Reading()
    NvidiaCards(Tree(driver), ManualClock()).read(reading)
    assert reading.gpu_fraction is None
