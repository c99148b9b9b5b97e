"""The program replaced for real: wheels, virtual environments, the launcher, power cuts.

The programs are two wheels of a small package with Vedette's command; what installs, switches and
judges them is the real code, in real processes. Starting the launcher again stands for systemd.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hatchling.builders.wheel import WheelBuilder

from vedette.clock import NS_PER_S, ManualClock, SystemClock
from vedette.edge.install import launch
from vedette.edge.spool import Spool
from vedette.edge.updating import app_file
from vedette.edge.updating.app import AppInstaller, Program
from vedette.edge.updating.kinds import Installed
from vedette.edge.updating.proof import CENTRAL_S
from vedette.errors import ConfigError
from vedette.wire.messages import CameraHealth, HealthReport, NetworkHealth, PipelineHealth, State
from vedette.wire.slots import ArtefactKind
from vedette.wire.updates import Artefact

LAUNCHER = Path(launch.__file__)
QUOTA = 8 * 1024 * 1024
WORKS = HealthReport(at_ms=1, period_s=30, version="t", pipeline=PipelineHealth(running=True))

MAIN = """
import os, sys
from pathlib import Path
from vedette_small import VERSION

def main():
    if sys.argv[1:3] == ["edge", "check-config"]:
        return 2 if "refuse" in Path(sys.argv[4]).read_text() else 0
    if VERSION == "2.0" and (how := os.environ.get("BREAK")):
        __import__(f"vedette_small.{how}")
    from vedette_small import agent
    agent.run(Path(os.environ["STATE"]), VERSION)
"""
MODULES = {
    "main": MAIN,
    "broken": "import nothing_of_this_name\n",
    "crashing": "import time\ntime.sleep(0.2)\nraise SystemExit(1)\n",
    "hanging": "import signal\nsignal.pause()\n",
    "agent": """
from vedette.clock import SystemClock
from vedette.edge.spool import Spool
from vedette.edge.updating.app import AppInstaller, Program
from vedette.wire.messages import HealthReport, PipelineHealth

def run(state, version):
    report = HealthReport(at_ms=1, period_s=30, version=version,
                          pipeline=PipelineHealth(running=True))
    spool = Spool.open(state / "spool", 8 * 1024 * 1024, SystemClock(), "boot")
    spool.put("health.v1", report)
    spool.close()
    installer = AppInstaller(Program.here(), state / "effective.yaml", SystemClock(),
                             report=lambda: report, leave=print)
    standing = installer.standing("app")
    print(version, standing.running, standing.proven, flush=True)
""",
}


def wheel(root: Path, version: str) -> Path:
    """Build a real wheel of the small package."""
    source = root / f"source-{version}"
    files = {f"vedette_small/{name}.py": text for name, text in MODULES.items()}
    files["vedette_small/__init__.py"] = f"VERSION = {version!r}\n"
    files[app_file.IN_WHEEL] = '{"reads": [1, 1], "writes": 1}'
    files["pyproject.toml"] = (
        f'[project]\nname = "vedette"\nversion = "{version}"\n'
        '[project.scripts]\nvedette = "vedette_small.main:main"\n'
        '[tool.hatch.build.targets.wheel]\npackages = ["vedette_small", "vedette"]\n'
    )
    for name, text in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
    built = WheelBuilder(str(source)).build(directory=str(root), versions=["standard"])
    return Path(next(iter(built)))


def artefact(file: Path) -> Artefact:
    """Return how an assignment names a file."""
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    return Artefact(
        kind=ArtefactKind.APP,
        target=f"app/{file.name}",
        sha256=sha256,
        bytes=file.stat().st_size,
        digest=f"sha256:{sha256}",
    )


class Device:
    """State directory, installation, and environments of a device."""

    def __init__(self, root: Path, python: str) -> None:
        self.state = root / "state"
        self.folder = self.state / "program"
        self.folder.mkdir(parents=True)
        (self.state / "effective.yaml").write_text("cameras: []\n")
        self.base = root / "opt" / "bin" / "vedette"
        self.base.parent.mkdir(parents=True)
        self.script("vedette", "echo installation")
        self.script("python", python)
        self.left: list[str] = []
        self.report: HealthReport | None = WORKS
        self.clock = ManualClock()
        self.healthy_s = 60.0  # real: a loaded machine starts slowly

    def script(self, name: str, text: str) -> None:
        """Have a command of the installation."""
        path = self.base.with_name(name)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def installer(
        self, own: Path | None = None, at: Callable[[str], None] = lambda _: None
    ) -> AppInstaller:
        """Return the installer as the agent in environment `own` has it."""
        return AppInstaller(
            Program(self.folder, self.base, own or self.base.parents[1]),
            self.state / "effective.yaml",
            self.clock,
            report=lambda: self.report,
            leave=self.left.append,
            healthy_s=self.healthy_s,
            at=at,
        )

    def start(self, **env: str) -> str:
        """Start the service once; return what the program said, or how it ended."""
        paths = [Path(app_file.__file__).parents[3], Path(msgspec.__file__).parents[1]]
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(LAUNCHER), str(self.folder), str(self.base)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env={
                **os.environ,
                "STATE": str(self.state),
                "PYTHONPATH": os.pathsep.join(map(str, paths)),
                **env,
            },
        )
        return done.stdout.strip() or f"ended with {done.returncode}"


def _with_pip() -> str:
    for python in (sys.executable, "/usr/bin/python3"):
        if subprocess.run([python, "-m", "pip", "-V"], capture_output=True).returncode == 0:  # noqa: PLW1510
            return python
    pytest.skip("no Python with pip here")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Installed]:
    """Two versions, each built as a wheel and installed by pip into an environment of its own."""
    root = tmp_path_factory.mktemp("versions")
    device = Device(root, f'exec {_with_pip()} "$@"')
    found = {}
    for version in ("1.0", "2.0"):
        out = root / f"vedette-{version}.vapp"
        app_file.build(out, [wheel(root, version)], extras=(), checks=app_file.CHECKS[:1])
        folder = root / f"kept-{version}"
        folder.mkdir()
        device.installer().prepare("app", artefact(out), out, folder)
        assert [path.name for path in folder.iterdir()] == ["venv"]
        found[version] = Installed(
            kind=ArtefactKind.APP,
            slot="app",
            digest=artefact(out).digest,
            folder=str(folder),
            version=version,
        )
    return found


@pytest.fixture
def device(tmp_path: Path) -> Device:
    """A device with an installation, whose own pip is a stand-in that takes no time."""
    return Device(tmp_path, QUICK)


QUICK = """
for last; do :; done
case "$*" in
*"-m venv"*) mkdir -p "$last/bin" && printf '#!/bin/sh\\nexit 0\\n' > "$last/bin/python" ;;
*) shift 4; bin=$(dirname "$1"); printf '#!/bin/sh\\necho new\\n' > "$bin/vedette"
   chmod 755 "$bin/vedette" ;;
esac
"""


def venv(version: Installed) -> Path:
    """Return where a version lies."""
    return Path(version.folder) / "venv"


def on_first(device: Device, installed: dict[str, Installed]) -> Installed:
    """Have version 1.0 confirmed on the device; return it."""
    first = installed["1.0"]
    device.installer().activate(first, None)
    assert device.start() == f"1.0 {first.digest} True"
    device.installer(venv(first)).settle(first, None)
    return first


def test_a_new_program_runs_and_is_confirmed(
    device: Device, installed: dict[str, Installed]
) -> None:
    """Wheels, pip without a network, the link, the launcher, the program's own word."""
    first, second = on_first(device, installed), installed["2.0"]
    assert device.left == [f"the program changes to {first.version}"]
    old = device.installer(venv(first))
    old.activate(second, first)
    assert old.standing("app").problem == "waits for the restart"
    assert device.start() == f"2.0 {second.digest} True"
    new = device.installer(venv(second))
    new.settle(second, first)
    assert not (device.folder / launch.TRIAL).exists()
    assert device.start(BREAK="broken").startswith("ended")  # broken later: not this room's to undo
    assert device.start() == f"2.0 {second.digest} True"
    assert launch.named(device.folder, launch.PREVIOUS) == str(venv(first))


@pytest.mark.parametrize("how", ["broken", "crashing", "hanging"])
def test_a_broken_program_is_replaced_by_the_one_before(
    device: Device, installed: dict[str, Installed], how: str
) -> None:
    """Import error, crash, hang: nobody comes by, and what was recorded is all there."""
    first, second = on_first(device, installed), installed["2.0"]
    device.healthy_s = 0.5 if how == "hanging" else 60.0
    device.installer(venv(first)).activate(second, first)
    said = [device.start(BREAK=how)]
    while said[-1].startswith("ended") and len(said) < 6:
        said.append(device.start(BREAK=how))
    assert said[-1] == f"1.0 {first.digest} False"
    assert len(said) == (2 if how == "hanging" else 4)
    standing = device.installer(venv(first)).standing("app")
    assert standing.failed
    assert ("did not say" if how == "hanging" else "never confirmed") in standing.problem
    device.installer(venv(first)).activate(second, first)  # as the agent does at each start
    assert launch.named(device.folder) == str(venv(first))
    device.installer(venv(first)).revert("app", second, first)
    assert device.start() == f"1.0 {first.digest} True"
    spool = Spool.open(device.state / "spool", QUOTA, SystemClock(), "boot")
    assert spool.health().depth["live"] == 3  # one of each start of the version that works
    spool.close()


def test_a_program_that_lost_central_is_taken_back(
    device: Device, installed: dict[str, Installed]
) -> None:
    """Central answered before the switch; half an hour of silence since is a reason."""
    first, second = on_first(device, installed), installed["2.0"]
    report = msgspec.structs.replace(WORKS, network=NetworkHealth(last_contact_ms=1))
    device.report = report
    device.installer(venv(first)).activate(second, first)
    device.report = WORKS
    assert device.start().startswith("2.0")
    new = device.installer(venv(second))
    assert not new.standing("app").proven
    device.report = report
    assert new.standing("app").proven
    device.report = WORKS
    device.clock.advance(CENTRAL_S + 1)
    assert new.standing("app").failed
    new.revert("app", second, first)
    assert device.left[-1] == "the program goes back to the one before"
    assert device.start() == f"1.0 {first.digest} True"


def test_a_program_without_pictures_is_not_proven(
    device: Device, installed: dict[str, Installed]
) -> None:
    """A pipeline that runs and sees nothing is what an update can break."""
    first, second = installed["1.0"], installed["2.0"]
    camera = CameraHealth(camera="door", state=State.OK, since_ms=1)
    seen = PipelineHealth(running=True, cameras=[camera])
    device.report = msgspec.structs.replace(WORKS, pipeline=seen)
    device.installer(venv(first)).activate(second, first)
    device.report = WORKS
    new = device.installer(venv(second))
    assert "no camera" in new.standing("app").problem
    device.report = None
    assert "no health report" in new.standing("app").problem
    assert not (device.folder / launch.HEALTHY).exists()


# --------------------------------------------------------------------------------- power cuts


def cut(work: Callable[[Callable[[str], None]], None], step: str) -> bool:
    """Do `work` in a process that is killed at `step`; return whether it was."""
    pid = os.fork()
    if pid == 0:
        try:
            work(lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == step else None)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def steps(work: Callable[[Callable[[str], None]], None]) -> list[str]:
    """Return the steps that `work` takes where nothing comes between."""
    found: list[str] = []
    work(found.append)
    return found


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artefact."""
    root = tmp_path_factory.mktemp("small")
    out = root / "vedette.vapp"
    app_file.build(out, [wheel(root, "1.0")], extras=(), checks=[["vedette"]])
    return out


def test_power_cut_at_every_step_leaves_a_program_that_works(tmp_path: Path, small: Path) -> None:
    """Installing, switching, confirming, going back: the steps are enumerated, each is cut."""
    wanted = Installed(
        kind=ArtefactKind.APP, slot="app", digest=artefact(small).digest, folder="set below"
    )

    def life(device: Device, at: Callable[[str], None]) -> None:
        """Update, confirm, and go back by hand: as an agent that is started again and again."""
        folder = device.state / "kept"
        new = msgspec.structs.replace(wanted, folder=str(folder))
        if not launch.is_whole(str(folder / "venv")):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            device.installer(at=at).prepare("app", artefact(small), small, folder)
        device.installer(at=at).activate(new, None)
        assert launch.settle(device.folder)[0] == str(folder / "venv")
        running = device.installer(folder / "venv", at)
        assert running.standing("app").proven
        running.settle(new, None)
        running.revert("app", new, None)

    whole = Device(tmp_path / "whole", QUICK)
    names = steps(lambda at: life(whole, at))
    assert len(names) == 14
    for number, step in enumerate(dict.fromkeys(names)):
        device = Device(tmp_path / str(number), QUICK)
        assert cut(lambda at, device=device: life(device, at), step), step
        assert device.start() in {"installation", "new"}, step
        life(device, lambda _: None)
        assert launch.settle(device.folder) == ("", None), step


# --------------------------------------------------------------------------------- refusals


def test_a_program_that_cannot_read_this_device_is_refused(device: Device, tmp_path: Path) -> None:
    """The new version's own check fails: nothing is switched, nothing is whole."""
    device.script("python", f'exec {_with_pip()} "$@"')
    (device.state / "effective.yaml").write_text("refuse: true\n")
    out = tmp_path / "vedette.vapp"
    app_file.build(out, [wheel(tmp_path, "1.0")], extras=(), checks=app_file.CHECKS[:1])
    with pytest.raises(ConfigError, match=r"check-config.*status 2"):
        device.installer().prepare("app", artefact(out), out, tmp_path / "kept")
    assert not launch.is_whole(str(tmp_path / "kept" / "venv"))


def test_a_wheel_whose_hash_is_another_is_refused(device: Device, tmp_path: Path) -> None:
    """The lock inside the artefact binds every wheel in it."""
    device.script("python", f'exec {_with_pip()} "$@"')
    out = tmp_path / "vedette.vapp"
    app_file.build(out, [wheel(tmp_path, "1.0")], extras=(), checks=[])
    data = out.read_bytes()
    at = data.index(b"--hash=sha256:") + len(b"--hash=sha256:")
    out.write_bytes(data[:at] + b"0" * 64 + data[at + 64 :])
    with pytest.raises(ConfigError, match="pip"):
        device.installer().prepare("app", artefact(out), out, tmp_path / "kept")


def test_an_installation_that_still_writes_is_waited_for(device: Device, small: Path) -> None:
    """The pip of an agent that was killed holds the lock for as long as it lives."""
    holder = device.installer()
    with holder._alone():
        with pytest.raises(Exception, match="still writing"):
            device.installer().prepare("app", artefact(small), small, device.state / "kept")
    assert device.clock.mono_ns() >= 5 * NS_PER_S
