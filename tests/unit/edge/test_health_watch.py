"""What outlasts one reading: why the machine started anew, who crashed, who leaks."""

import os
import random
import signal
import struct
import sys
from pathlib import Path

import msgspec
import pytest

from tests.unit.edge.recorded_boards import plant
from vedette.clock import NS_PER_S, ManualClock, wall_ms
from vedette.edge.health.boots import FILE, BootRecord, Boots
from vedette.edge.health.exits import FOR_MEMORY, PROBABLY_FOR_MEMORY, MemoryKills, describe
from vedette.edge.health.memory import MemoryTrend
from vedette.edge.health.sysfs import Tree
from vedette.edge.health.traces import look
from vedette.edge.health.watch import HealthWatch
from vedette.edge.supervisor import Supervisor
from vedette.wire.messages import HealthReport, SystemHealth

PANIC = "Panic#1 Part1\n<0>[ 12.3] Kernel panic - not syncing: Fatal exception in interrupt\n"
BACKEND = {"sys/module/pstore/parameters/backend": "ramoops\n"}
RSTS = "proc/device-tree/chosen/bootloader/rsts"
PMC = "sys/devices/platform/bus@0/c360000.pmc/reset_reason"
BOOTSTATUS = "sys/class/watchdog/watchdog0/bootstatus"


class Machine:
    """A recorded machine that is started, ended and started anew; time by hand."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.state = folder / "state"
        self.state.mkdir()
        self.clock = ManualClock()
        self.systemd = "running"
        self.boot = 1
        plant(
            self.root, {"proc/sys/kernel/osrelease": "6.1.0-vedette\n", "run/systemd/system/x": ""}
        )

    def start(self, **last: object) -> Boots:
        """Start an agent in the present boot; `last` is what the agent before reported last."""
        report = None
        if last:
            report = HealthReport(
                at_ms=wall_ms(self.clock.now_at()),
                period_s=30,
                version="x",
                system=SystemHealth(**last),
            )
        self.clock.advance(60)
        return Boots(
            self.state,
            self.clock,
            f"boot-{self.boot}",
            last=report,
            root=self.root,
            ask=lambda _: f"{self.systemd}\n",
        )

    def reboot(self) -> None:
        """Have another boot."""
        self.boot += 1


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return a machine whose agent ran once and was killed with the machine."""
    made = Machine(tmp_path)
    first = made.start()
    assert (first.record.cause, first.record.reboots, first.news) == ("", 0, [])
    return made


def test_a_shutdown_in_order_is_clean_and_no_news(machine):
    """The agent was asked to end while systemd was stopping everything."""
    boots = machine.start()
    machine.systemd = "stopping"
    boots.end()
    machine.reboot()
    after = machine.start()
    assert (after.record.cause, after.record.reboots) == ("clean", 1)
    assert after.news == []


def test_an_agent_that_was_only_stopped_says_nothing_of_the_machine(machine):
    """`systemctl stop` of the agent, then a power cut: that is not clean."""
    machine.start().end()
    machine.reboot()
    after = machine.start()
    assert after.record.cause == "unknown"
    assert "cannot tell" in after.news[0]


def test_an_update_is_told_by_its_wish_or_by_another_kernel(machine):
    """Both are shutdowns in order."""
    machine.systemd = "stopping"
    plant(machine.root, {"run/reboot-required": ""})
    machine.start().end()
    machine.reboot()
    boots = machine.start()
    assert boots.record.cause == "update"
    (machine.root / "run/reboot-required").unlink()
    boots.end()
    machine.reboot()
    plant(machine.root, {"proc/sys/kernel/osrelease": "6.2.0-vedette\n"})
    after = machine.start()
    assert (after.record.cause, after.record.reboots) == ("update", 2)
    assert "6.2.0" in after.record.detail


def test_last_words_of_the_kernel_are_a_panic_and_counted_once(machine):
    """In pstore or where systemd put them; the watchdog that came after does not hide them."""
    plant(machine.root, {"sys/fs/pstore/dmesg-ramoops-0": PANIC, BOOTSTATUS: "32\n"})
    machine.reboot()
    after = machine.start()
    assert after.record.cause == "kernel_panic"
    assert "Fatal exception in interrupt" in after.news[0]
    machine.reboot()
    again = machine.start()
    assert again.record.cause == "watchdog", "the old words are known, the watchdog is not"
    moved = "var/lib/systemd/pstore/1795280000/dmesg.txt"
    plant(machine.root, {moved: PANIC})
    machine.reboot()
    assert machine.start().record.cause == "kernel_panic"


@pytest.mark.parametrize(
    ("files", "cause"),
    [
        ({BOOTSTATUS: "32\n"}, "watchdog"),
        ({BOOTSTATUS: "1\n"}, "thermal"),
        ({BOOTSTATUS: "16\n"}, "power_lost"),
        ({BOOTSTATUS: "0\n"}, "unknown"),
        ({BOOTSTATUS: "garbage\n"}, "unknown"),
        ({PMC: "BCCPLEXWDT\n"}, "watchdog"),
        ({PMC: "SENSOR\n"}, "thermal"),
        ({PMC: "POWER_ON_RESET\n"}, "power_lost"),
        ({PMC: "MAINSWRST\n"}, "unknown"),
        ({PMC: "MAINSWRST\n", **BACKEND}, "power_lost"),
        ({RSTS: "\0\0\x10\0"}, "power_lost"),
        ({RSTS: "\0\0\0\x20"}, "watchdog"),
        ({RSTS: "\0\0\0"}, "unknown"),
        (BACKEND, "unknown"),
    ],
)
def test_the_hardware_says_why(machine, files, cause):
    """Each register and flag by its driver's names; silence counts only where it would tell."""
    plant(machine.root, files)
    machine.reboot()
    after = machine.start()
    assert after.record.cause == cause
    assert len(after.news) == 1


def test_a_raspberry_pi_that_rebooted_in_order_was_not_ended_by_its_watchdog(machine):
    """A Pi reboots by its watchdog always: the register alone would accuse it."""
    plant(machine.root, {RSTS: "\0\0\0\x20"})
    machine.systemd = "stopping"
    machine.start().end()
    machine.reboot()
    assert machine.start().record.cause == "clean"


def test_the_last_reading_speaks_where_the_hardware_is_silent(machine):
    """At the critical trip point it was the heat; with a weak supply it was the power."""
    plant(
        machine.root,
        {
            "sys/class/thermal/thermal_zone0/type": "x86_pkg_temp",
            "sys/class/thermal/thermal_zone0/trip_point_0_type": "critical",
            "sys/class/thermal/thermal_zone0/trip_point_0_temp": "105000",
        },
    )
    machine.reboot()
    assert machine.start(temperatures_c={"x86_pkg_temp": 103.0}).record.cause == "thermal"
    machine.reboot()
    after = machine.start(temperatures_c={"x86_pkg_temp": 80.0}, throttle_flags=["under-voltage"])
    assert after.record.cause == "power_lost"
    assert "too weak" in after.record.detail


@pytest.mark.parametrize(
    ("architecture", "size", "at"), [("x86_64", 384, 340), ("aarch64", 400, 344)]
)
def test_a_shutdown_record_of_the_system_is_believed(machine, architecture, size, at):
    """Where the agent was killed before it could tell, wtmp knows; an old record counts not."""
    record = bytearray(size)
    struct.pack_into("<h", record, 0, 1)
    record[44:52] = b"shutdown"
    plant(machine.root, {"proc/sys/kernel/arch": architecture})
    wtmp = machine.root / "var/log/wtmp"
    wtmp.parent.mkdir(parents=True)
    for when_s, cause in ((-86_400, "unknown"), (30, "clean")):
        seconds = wall_ms(machine.clock.now_at()) // 1000 + when_s
        struct.pack_into("<i", record, at, seconds)
        wtmp.write_bytes(bytes(record))
        machine.reboot()
        assert machine.start(uptime_s=1.0).record.cause == cause


def test_an_agent_that_died_within_a_boot_is_counted(machine):
    """Killed: told once, counted for good; ended for want of memory where the kernel says so."""
    plant(machine.root, {"proc/vmstat": "nr_free_pages 1\noom_kill 4\n"})
    second = machine.start()
    assert (second.record.agent_crashes, second.record.reboots) == (1, 0)
    assert "without a word" in second.news[0]
    plant(machine.root, {"proc/vmstat": "oom_kill 5\n"})
    third = machine.start()
    assert third.record.agent_exit == PROBABLY_FOR_MEMORY
    plant(
        machine.root,
        {"dev/kmsg": f"3,1,1,-;Out of memory: Killed process {os.getpid()} (python)\n"},
    )
    fourth = machine.start()
    assert fourth.record.agent_exit == FOR_MEMORY
    fourth.end()
    fifth = machine.start()
    assert (fifth.record.agent_crashes, fifth.record.agent_exit) == (3, "stopped in order")
    assert fifth.news == []


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff" * 100, b'{"boot_id": 7}', b"[" * 100_000])
def test_a_damaged_record_is_as_none(machine, damage):
    """The disk lost it: a first boot as far as anyone knows, and no failure to start."""
    (machine.state / FILE).write_bytes(damage)
    machine.reboot()
    after = machine.start()
    assert (after.record.cause, after.record.reboots, after.news) == ("", 0, [])
    kept = msgspec.json.decode((machine.state / FILE).read_bytes(), type=BootRecord)
    assert kept.boot_id == "boot-2"


def test_hostile_traces_are_bounded(machine):
    """Thousands of last words, a huge one, a folder and a loop among them: a panic still counts."""
    store = machine.root / "sys/fs/pstore"
    store.mkdir(parents=True)
    for number in range(300):
        (store / f"dmesg-efi-{number}").write_bytes(b"\0" * 64)
    (store / "dmesg-a").write_bytes(PANIC.encode() + b"x" * 4_000_000)
    (store / "dmesg-b").mkdir()
    (store / "dmesg-c").symlink_to("dmesg-c")
    traces = look(Tree(machine.root), after_ms=0)
    assert len(traces.panics) <= 64


def test_without_systemd_the_file_that_forbids_logins_tells(tmp_path):
    """Made while we ran it means shutdown; left from the boot it means nothing."""
    machine = Machine(tmp_path)
    (machine.root / "run/systemd/system/x").unlink()
    (machine.root / "run/systemd/system").rmdir()
    nologin = machine.root / "run/nologin"
    boots = machine.start()
    nologin.write_text("")
    seconds = machine.clock.now_at().timestamp()
    os.utime(nologin, (seconds - 3600, seconds - 3600))
    boots.end()
    assert boots.record.ended == "stopped"
    os.utime(nologin, (seconds + 5, seconds + 5))
    boots.end()
    assert boots.record.ended == "shutdown"


# ------------------------------------------------------------------------------- the agent's view


class Probe:
    """A machine whose memory is in the test's hand."""

    def __init__(self) -> None:
        self.rss_mb = 50.0

    def collect(self, *, boot_id: str = "", pipeline_pid: int | None = None) -> SystemHealth:
        """Return what the test set."""
        return SystemHealth(
            boot_id=boot_id,
            agent_rss_mb=40.0,
            pipeline_rss_mb=self.rss_mb,
            memory_mb=1000.0,
            memory_used_fraction=0.8,
        )


def test_a_bad_reboot_is_a_problem_of_the_first_report_and_stays_a_fact(machine):
    """Somebody hears of it once; the cause stands in every report of this boot."""
    plant(machine.root, {PMC: "SENSOR\n"})
    machine.reboot()
    watch = HealthWatch(machine.state, machine.clock, "boot-2", Probe(), boots=machine.start())
    first, said = watch.collect(7), watch.problems
    assert "thermal" in said[0]
    assert watch.collect(7).reboot_cause == first.reboot_cause == "thermal"
    assert watch.problems == []
    assert (first.reboots, first.agent_crashes, first.agent_exit) == (1, 0, "the reboot")


def test_a_pipeline_that_leaks_is_told_before_the_memory_is_used_up(machine):
    """Twelve MB an hour with 200 MB left: growth, who, and how long that lasts."""
    probe, rng = Probe(), random.Random(2)
    watch = HealthWatch(machine.state, machine.clock, "boot-1", probe, boots=machine.start())
    for tick in range(8 * 60):
        probe.rss_mb = 300 + 12 * tick / 60 + rng.gauss(0, 1.5)
        system = watch.collect(7)
        machine.clock.advance(60)
    assert system.growth_mb_per_h["pipeline"] == pytest.approx(12, rel=0.1)
    assert "agent" not in system.growth_mb_per_h
    assert "the pipeline by 1" in watch.problems[-1]
    assert "lasts about 17 h" in watch.problems[-1] or "lasts about 16 h" in watch.problems[-1]


# ---------------------------------------------------------------------------------------- memory


def grow(trend: MemoryTrend, shape, hours: float = 8.0, pid: int = 7, start_s: float = 0) -> None:
    """Feed a process whose memory at hour h is `shape(h)`, a sample every half minute."""
    for second in range(0, round(hours * 3600), 30):
        ns = round((start_s + second) * NS_PER_S)
        trend.note("pipeline", pid, shape(second / 3600), ns)


@pytest.mark.parametrize(
    "shape",
    [
        lambda h: 300.0,
        lambda h: 300 + 80 * (1 - 2.718 ** (-h / 0.7)),  # a cache that fills and then stands
        lambda h: 300 + 60 * (h > 4),  # one step up, as another model loaded
        lambda h: 300 + 20 * ((h * 2) % 1),  # a saw, as a pool that is emptied
        lambda h: 300 + 0.2 * h,  # too little to matter
        lambda h: 400 - 5 * h,
    ],
    ids=["constant", "saturating", "step", "saw", "tiny", "falling"],
)
def test_what_is_no_leak_is_not_called_one(shape):
    """Shapes of healthy processes."""
    trend, rng = MemoryTrend(), random.Random(1)
    grow(trend, lambda h: shape(h) + rng.gauss(0, 1.0))
    assert trend.growth_mb_per_h == {}


def test_memory_that_wanders_is_seldom_called_a_leak():
    """A random walk without drift: at most one of twenty."""
    alarms = 0
    for seed in range(20):
        trend, rng, value = MemoryTrend(), random.Random(seed), [300.0]

        def walk(_hour, rng=rng, value=value):
            value[0] += rng.gauss(0, 0.08)
            return value[0]

        grow(trend, walk)
        alarms += bool(trend.growth_mb_per_h)
    assert alarms <= 1


def test_a_slope_that_chance_can_make_is_not_believed():
    """Wild noise has some slope; without significance it would often pass for a leak."""
    alarms = 0
    for seed in range(10):
        trend, rng = MemoryTrend(), random.Random(seed)
        grow(trend, lambda _, rng=rng: 500 + rng.gauss(0, 60))
        alarms += bool(trend.growth_mb_per_h)
    assert alarms == 0


def test_a_process_that_started_anew_starts_with_nothing():
    """Another pid is another process; what leaked before is gone with it."""
    trend = MemoryTrend()
    grow(trend, lambda h: 300 + 10 * h)
    assert trend.growth_mb_per_h["pipeline"] == pytest.approx(10, abs=0.2)
    trend.note("pipeline", 8, 300.0, 9 * 3600 * NS_PER_S)
    assert trend.growth_mb_per_h == {}
    grow(trend, lambda h: 300 + 10 * h, hours=2, pid=8, start_s=9 * 3600)
    assert trend.growth_mb_per_h == {}, "two hours are too short to say so"
    trend.note("pipeline", None, None, 0)
    assert trend.problem(1.0) == ""


# ----------------------------------------------------------------------------------------- exits


def test_an_exit_is_told_in_words():
    """Status, signal, what a crash of native code means; an unknown signal is no failure."""
    assert describe(3) == "exit status 3"
    assert describe(-9) == "signal SIGKILL"
    assert describe(-11).startswith("signal SIGSEGV (native code")
    assert describe(-64 - 30) == "signal 94"


@pytest.mark.parametrize(
    ("group", "counter"),
    [
        (
            "0::/system.slice/vedette.service\n",
            "sys/fs/cgroup/system.slice/vedette.service/memory.events",
        ),
        ("4:cpu:/\n3:memory:/vedette\n", "sys/fs/cgroup/memory/vedette/memory.oom_control"),
    ],
)
def test_a_kill_for_want_of_memory_is_told_from_any_other(tmp_path, group, counter):
    """The group's counter rose while it ran: that was it. It did not: somebody else killed it."""
    plant(tmp_path, {"proc/self/cgroup": group, counter: "low 0\noom 1\noom_kill 1\n"})
    kills = MemoryKills(Tree(tmp_path))
    kills.mark()
    plant(tmp_path, {"proc/vmstat": "oom_kill 9\n"})
    assert kills.blame(5) == "", "another group's process"
    plant(tmp_path, {counter: "low 0\noom 2\noom_kill 2\n"})
    assert kills.blame(5) == FOR_MEMORY


def test_the_supervisor_counts_crashes_and_kills_for_want_of_memory(tmp_path):
    """A real process killed by -9 while the group's counter rises; a stop of our own is neither."""
    counter = "sys/fs/cgroup/memory.events"
    plant(tmp_path, {"proc/self/cgroup": "0::/\n", counter: "oom_kill 0\n"})
    clock = ManualClock()
    pause = [sys.executable, "-c", "import signal; signal.pause()"]
    state = tmp_path / "state"
    state.mkdir()
    supervisor = Supervisor(pause, state, clock, kills=MemoryKills(Tree(tmp_path)))
    supervisor.tick()
    assert supervisor.pid is not None
    plant(tmp_path, {counter: "oom_kill 1\n"})
    os.kill(supervisor.pid, signal.SIGKILL)
    os.waitid(os.P_PID, supervisor.pid, os.WEXITED | os.WNOWAIT)
    supervisor.tick()
    assert supervisor.last_exit == f"signal SIGKILL: {FOR_MEMORY}"
    assert (supervisor.crashes, supervisor.memory_kills) == (1, 1)
    clock.advance(120)
    supervisor.tick()
    supervisor.stop()
    assert (supervisor.crashes, supervisor.memory_kills) == (1, 1)
