"""The launcher: a real process that becomes what shall run, and goes back by itself."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vedette.edge.install import launch

LAUNCHER = Path(launch.__file__)


class Device:
    """Folders of a device, and what happens when its service is started."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "program"
        self.folder.mkdir()
        self.base = self.environment(root / "opt")

    def environment(self, path: Path, script: str = "", *, whole: bool = True) -> Path:
        """Make one whose program tells its name, or does what `script` says."""
        program = path / "bin" / "vedette"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\n{script or f'echo {path.name} $*'}\n")
        program.chmod(0o755)
        if whole:
            (path / launch.INSTALLED).write_text("{}")
        return program

    def trial(self, to: Path, before: str = "", **changes: object) -> None:
        """Put an environment on trial, as the agent does."""
        document = {"id": "t1", "digest": "d", "to": str(to), "before": before, "starts": 0}
        launch.write(self.folder / launch.TRIAL, {**document, **changes})
        launch.switch(self.folder, str(to))

    def argv(self) -> list[str]:
        """Return what the service manager runs."""
        return [sys.executable, "-I", "-S", str(LAUNCHER), str(self.folder), str(self.base), "run"]

    def start(self) -> str:
        """Start once; return what the program said."""
        done = subprocess.run(self.argv(), capture_output=True, text=True, timeout=30, check=False)
        return done.stdout.strip()

    def verdict(self) -> str:
        """Return how the last trial ended, and why."""
        found = launch.read(self.folder / launch.VERDICT)
        return f"{found['outcome']}: {found['reason']}" if found else ""


@pytest.fixture
def device(tmp_path: Path) -> Device:
    """A device with the program that it was installed with."""
    return Device(tmp_path)


def test_without_a_link_the_installed_program_runs(device: Device) -> None:
    """A device that was never updated needs nothing in its folder."""
    assert device.start() == "opt run"


def test_the_link_says_which_environment_runs(device: Device, tmp_path: Path) -> None:
    """Arguments go through, and the process id stays the service manager's."""
    device.environment(tmp_path / "v2", "echo $$ $*")
    launch.switch(device.folder, str(tmp_path / "v2"))
    with subprocess.Popen(device.argv(), stdout=subprocess.PIPE, text=True) as process:
        said, _ = process.communicate(timeout=30)
    assert said.split() == [str(process.pid), "run"]


def test_a_crash_loop_goes_back_after_three_starts(device: Device, tmp_path: Path) -> None:
    """Crash, import error, watchdog or power cut: each is a start that was never confirmed."""
    device.environment(tmp_path / "v2", "echo broken; exit 1")
    device.trial(tmp_path / "v2")
    said = [device.start() for _ in range(4)]
    assert said == ["broken", "broken", "broken", "opt run"]
    assert device.verdict() == "reverted: it was started 3 times and never confirmed"
    assert not (device.folder / launch.TRIAL).exists()


def test_a_program_that_hangs_is_ended_and_taken_back(device: Device, tmp_path: Path) -> None:
    """It pets every watchdog and ignores SIGTERM, but never says that it works."""
    device.environment(tmp_path / "v2", "trap '' TERM; echo up; while :; do read x; done")
    device.trial(tmp_path / "v2", healthy_s=0.2, end_s=0.2)
    reader, writer = os.pipe()
    with subprocess.Popen(
        device.argv(), stdin=reader, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.wait(30) == -9
    os.close(reader)
    os.close(writer)
    assert device.start() == "opt run"
    assert "did not say within" in device.verdict()


def test_a_program_that_says_it_works_is_left_alone(device: Device, tmp_path: Path) -> None:
    """The guard goes by the trial's id, not by a word that an earlier trial left."""
    (device.folder / launch.HEALTHY).write_text('{"id": "t0"}')
    healthy = f"""echo '{{"id": "t1"}}' > {device.folder}/healthy.json"""
    device.environment(tmp_path / "v2", f"{healthy}; sleep 0.6; echo works")
    device.trial(tmp_path / "v2", healthy_s=0.2)
    assert device.start() == "works"
    trial = launch.read(device.folder / launch.TRIAL)
    assert trial is not None
    assert "failed" not in trial


def test_what_cannot_be_executed_goes_back_within_the_same_start(
    device: Device, tmp_path: Path
) -> None:
    """A missing interpreter costs no time at all."""
    program = device.environment(tmp_path / "v2")
    program.write_text("#!/nowhere/python\n")
    device.trial(tmp_path / "v2")
    assert device.start() == "opt run"
    assert device.verdict() == "reverted: it could not be executed"


def test_a_confirmed_program_that_vanished_leaves_the_one_before(
    device: Device, tmp_path: Path
) -> None:
    """A torn disk or an interpreter that the system replaced: the previous one, then the base."""
    device.environment(tmp_path / "v1")
    launch.switch(device.folder, str(tmp_path / "gone"))
    launch.switch(device.folder, str(tmp_path / "v1"), launch.PREVIOUS)
    assert device.start() == "v1 run"
    launch.switch(device.folder, "", launch.PREVIOUS)
    assert device.start() == "opt run"


@pytest.mark.parametrize("damage", ["", "{", "[1]", "{}", '{"starts": "x"}', "\0" * 70_000])
def test_a_damaged_record_of_a_trial_goes_back(device: Device, tmp_path: Path, damage: str) -> None:
    """Nothing is tried that cannot be counted."""
    device.environment(tmp_path / "v1")
    device.environment(tmp_path / "v2")
    device.trial(tmp_path / "v2")
    launch.switch(device.folder, str(tmp_path / "v1"), launch.PREVIOUS)
    (device.folder / launch.TRIAL).write_text(damage)
    assert device.start() == "v1 run"
    assert "damaged" in device.verdict()


def test_a_trial_whose_switch_never_happened_is_forgotten(device: Device, tmp_path: Path) -> None:
    """Power went between the record and the link: the agent begins it again."""
    device.environment(tmp_path / "v2")
    device.trial(tmp_path / "v2")
    launch.switch(device.folder, "")
    assert device.start() == "opt run"
    assert device.verdict() == ""
    assert not (device.folder / launch.TRIAL).exists()


def test_power_cut_on_the_way_back_keeps_the_reason(device: Device, tmp_path: Path) -> None:
    """Whatever step it was cut in, the next start ends the way back and says why."""
    device.environment(tmp_path / "v2")
    device.trial(tmp_path / "v2", failed="it hung", starts=1)
    launch.switch(device.folder, "")
    assert device.start() == "opt run"
    assert device.verdict() == "reverted: it hung"


def test_a_disk_that_cannot_be_written_starts_what_was_before(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that cannot be counted is not made with something on trial."""
    device.environment(tmp_path / "v1")
    device.environment(tmp_path / "v2")
    device.trial(tmp_path / "v2", before=str(tmp_path / "v1"))
    started: list[str] = []

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def become(program: str, _: list[str]) -> None:
        started.append(Path(program).parents[1].name)

    monkeypatch.setattr(launch, "write", refuse)
    monkeypatch.setattr(os, "execv", become)
    for name in (launch.FOLDER_VARIABLE, launch.BASE_VARIABLE):
        monkeypatch.setenv(name, "")
    launch.main([str(device.folder), str(device.base), "run"])
    assert started[0] == "v1"
    assert launch.named(device.folder) == str(tmp_path / "v2")  # nothing was changed half


def test_the_launcher_imports_nothing_but_the_standard_library() -> None:
    """It must start whatever an update made of everything else."""
    code = (
        "import sys, runpy; sys.argv = ['launch']; "
        f"runpy.run_path({str(LAUNCHER)!r}, run_name='other'); "
        "print([m for m in sys.modules if m.partition('.')[0] not in sys.stdlib_module_names])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert json.loads(done.stdout.replace("'", '"')) in ([], ["__main__"])
