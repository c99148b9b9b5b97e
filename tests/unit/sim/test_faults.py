"""Our children end with us, and a fault that cannot be had says so."""

import os
import shutil
import sys
from pathlib import Path

import psutil
import pytest

from vedette.clock import ManualClock, SystemClock
from vedette.errors import ConfigError
from vedette.sim import faults

SLEEPER = "import subprocess,sys,time; p=subprocess.Popen([sys.executable,'-c','import time; time.sleep(60)']); print('up',flush=True); time.sleep(60)"  # noqa: E501


def _child(tmp_path: Path, code: str, **more: object) -> faults.Child:
    return faults.Child("c", [sys.executable, "-c", code], tmp_path / "log", **more)  # pyright: ignore[reportArgumentType]


def test_a_stopped_child_leaves_no_grandchild(tmp_path: Path) -> None:
    """The whole family is gone, also those that were not asked."""
    child = _child(tmp_path, SLEEPER)
    child.start()
    faults.wait_until(
        "it is up", lambda: "up" in child.tail(), SystemClock(), timeout_s=40, alive=[child]
    )
    family = child.descendants()
    assert family
    child.stop(grace_s=1.0)
    assert not child.is_running
    assert not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in family)


def test_a_killed_child_can_start_again(tmp_path: Path) -> None:
    """Kill -9 shows as a signal; a restart is a new process."""
    child = _child(tmp_path, "import time; time.sleep(60)")
    child.start()
    first = child.pid
    child.kill()
    assert child.exit_status == -9
    child.start()
    assert child.is_running
    assert child.pid != first
    child.stop()


def test_waiting_for_something_whose_process_died_says_what_it_printed(tmp_path: Path) -> None:
    """No timeout is sat out, and the reason is in the error."""
    child = _child(tmp_path, "import sys; print('no such camera'); sys.exit(3)")
    child.start()
    with pytest.raises(ConfigError, match="no such camera"):
        faults.wait_until("never", lambda: False, SystemClock(), timeout_s=20, alive=[child])
    assert child.exit_status == 3


def test_waiting_ends() -> None:
    """What never becomes true is a TimeoutError that names it."""
    with pytest.raises(TimeoutError, match="the moon"):
        faults.wait_until("the moon", lambda: False, ManualClock(), timeout_s=5)


def test_a_file_limit_stops_a_child_from_writing(tmp_path: Path) -> None:
    """The fallback for full disks where mounting is not permitted."""
    code = f"import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); f=open({str(tmp_path / 'big')!r},'wb'); f.write(bytes(10**6)); f.flush()"  # noqa: E501
    child = _child(tmp_path, code, file_limit_bytes=100_000)
    child.start()
    faults.wait_until("it ended", lambda: not child.is_running, SystemClock(), timeout_s=40)
    assert child.exit_status == 1
    assert "File too large" in child.tail()


def test_a_small_disk_fills_and_goes_away(tmp_path: Path) -> None:
    """Writing fails with ENOSPC; afterwards nothing is mounted."""
    folder = tmp_path / "disk"
    try:
        with faults.small_disk(folder, 2):
            faults.fill_disk(folder)
            with pytest.raises(OSError), (folder / "more").open("wb") as file:
                file.write(bytes(100_000))
    except ConfigError as error:
        pytest.skip(str(error))
    assert list(folder.iterdir()) == []
    assert not os.path.ismount(folder)


def test_a_real_disk_is_never_filled(tmp_path: Path) -> None:
    """The guard looks at the size of the file system."""
    if shutil.disk_usage(tmp_path).total < 256 * 1024 * 1024:
        pytest.skip("this machine's disk is small itself")
    with pytest.raises(ConfigError):
        faults.fill_disk(tmp_path)


def test_a_clock_can_be_wrong(tmp_path: Path) -> None:
    """A child believes it is an hour later; its monotonic clock is ours."""
    shift = tmp_path / "shift"
    shift.write_text("+3600s\n")
    try:
        env = faults.wrong_clock(shift)
    except ConfigError as error:
        pytest.skip(str(error))
    code = "import time; print(int(time.time()), int(time.monotonic()))"
    child = _child(tmp_path, code, environment=env)
    child.start()
    faults.wait_until("it ended", lambda: not child.is_running, SystemClock(), timeout_s=40)
    wall, mono = child.tail().split()[-2:]
    clock = SystemClock()
    assert abs(int(wall) - clock.now_at().timestamp() - 3600) < 60
    assert abs(int(mono) - clock.mono_ns() / 1e9) < 60
