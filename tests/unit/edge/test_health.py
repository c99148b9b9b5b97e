"""The system probe, against recorded trees of /sys."""

from pathlib import Path

from tests.unit.edge.recorded_boards import plant as tree
from vedette.edge.health import SystemProbe
from vedette.edge.health.system import boot_id


def test_a_machine_without_sensors_says_that_it_cannot_tell(tmp_path):
    """Nothing measured is absent or None, never zero."""
    health = SystemProbe(tmp_path, root=tmp_path, wait_s=20).collect()
    assert health.temperatures_c == {}
    assert health.throttle_flags is None
    assert health.uptime_s is None
    assert health.disk_free_mb is not None
    assert health.disk_free_mb > 0


def test_temperatures_and_clocks_come_in_degrees_and_megahertz(tmp_path):
    """Thermal zones, hwmon chips and cpufreq, with impossible readings left out."""
    tree(
        tmp_path,
        {
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone0/temp": "61234\n",
            "sys/class/thermal/thermal_zone1/type": "broken\n",
            "sys/class/thermal/thermal_zone1/temp": "-127000\n",
            "sys/class/hwmon/hwmon0/name": "nvme",
            "sys/class/hwmon/hwmon0/temp1_input": "41850",
            "sys/class/hwmon/hwmon0/temp1_label": "Composite",
            "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "1500000",
            "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": "2400000",
        },
    )
    health = SystemProbe(tmp_path, root=tmp_path, wait_s=20).collect()
    assert health.temperatures_c == {"cpu-thermal": 61.2, "nvme.Composite": 41.9}
    assert health.clocks_mhz == {"cpu0": 1500.0, "cpu0.max": 2400.0}


def test_throttling_is_told_from_counters_that_rose_since_the_last_report(tmp_path):
    """An old count is history; a risen one is now."""
    counter = "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"
    tree(tmp_path, {counter: "7"})
    probe = SystemProbe(tmp_path, root=tmp_path, wait_s=20)
    assert probe.collect().throttle_flags == []
    tree(tmp_path, {counter: "8"})
    assert probe.collect().throttle_flags == ["thermal-throttled"]
    assert probe.collect().throttle_flags == []


def test_this_machine_can_be_read():
    """The real /sys and /proc of wherever the test runs."""
    health = SystemProbe(Path.cwd()).collect(boot_id=boot_id())
    assert health.agent_rss_mb is not None
    assert health.agent_rss_mb > 1
    assert health.uptime_s is not None
    assert len(health.boot_id) >= 8
