"""Systems replaced for real: packages by apt in a root of their own, a signed bundle by RAUC.

The machine of the test is not changed: apt and dpkg work on a database below the test's folder,
RAUC writes files as if they were partitions and asks a script instead of a boot loader.
"""

import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import skip_or_fail
from vedette.clock import ManualClock
from vedette.edge.settings import SystemCommands
from vedette.edge.updating import packages, tool
from vedette.edge.updating.adapters import Adapter, Command, Mender, Rauc
from vedette.edge.updating.door import Answer, Doorkeeper, FileDoor, Request
from vedette.edge.updating.kinds import Installed
from vedette.edge.updating.packages import Apt
from vedette.edge.updating.system import SystemInstaller
from vedette.errors import ConfigError
from vedette.wire.messages import HealthReport, PipelineHealth
from vedette.wire.slots import ArtefactKind
from vedette.wire.updates import Artefact

WORKS = HealthReport(at_ms=1, period_s=30, version="t", pipeline=PipelineHealth(running=True))


class Device:
    """A device with a door; root's half of it works when the agent looks."""

    def __init__(self, root: Path, adapter: Adapter) -> None:
        self.state = root / "state"
        self.root_folder = root / "root"
        self.state.mkdir(parents=True)
        self.adapter = adapter
        self.boot = 1
        self.reboots = root / "reboots"
        self.report: HealthReport | None = WORKS
        self.clock = ManualClock()
        self.at: Callable[[str], None] = lambda _: None

    def ask(self, request: Request) -> Answer | None:
        """As the agent's side does; then root's side looks, as systemd has it do."""
        door = FileDoor(self.state, self.root_folder)
        answer = door.ask(request)
        if answer is None:
            self.keeper().serve()
            answer = door.ask(request)
        return answer

    def keeper(self) -> Doorkeeper:
        """Return root's half."""
        return Doorkeeper(
            self.state,
            self.adapter,
            reboot=["sh", "-c", f"echo boot >> {self.reboots}"],
            verify=lambda _target, _image: None,
            root_folder=self.root_folder,
            at=self.at,
        )

    def agent(self) -> SystemInstaller:
        """Return the installer of an agent that starts now."""
        return SystemInstaller(
            self.state,
            self.adapter,
            self,
            self.clock,
            boot_id=f"boot-{self.boot}",
            report=lambda: self.report,
            at=self.at,
        )

    def bring(self, agent: SystemInstaller, file: Path) -> Installed:
        """Have an artefact prepared, as the updater does; return it."""
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        artefact = Artefact(
            kind=ArtefactKind.SYSTEM,
            target=f"system/{file.name}",
            sha256=sha256,
            bytes=file.stat().st_size,
            digest=f"sha256:{sha256}",
        )
        folder = self.state / "updates" / "installed" / "system" / sha256
        agent.prepare("system", artefact, file, folder)
        return Installed(
            kind=ArtefactKind.SYSTEM, slot="system", digest=artefact.digest, folder=str(folder)
        )

    def until_still(self, agent: SystemInstaller) -> str:
        """Have the agent look until nothing changes any more; return what it says then."""
        said = ""
        for _ in range(8):
            standing = agent.standing("system")
            now = f"{standing.running[:12]}|{standing.failed}|{standing.problem}"
            if now == said:
                break
            said = now
        return said


# ----------------------------------------------------------------------------------------- apt


class Machine:
    """A root of its own with a database of packages."""

    def __init__(self, root: Path) -> None:
        self.root = root
        database = root / "var" / "lib" / "dpkg"
        for folder in ("updates", "info", "triggers"):
            (database / folder).mkdir(parents=True)
        (database / "status").touch()
        for folder in ("etc/apt", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial",
                       "var/log/apt"):  # fmt: skip
            (root / folder).mkdir(parents=True)
        dpkg = [f"--root={root}", "--force-not-root", "--force-script-chrootless"]
        options = [f"Dir={root}", f"Dir::State::status={database / 'status'}"]
        options += ["Dir::Bin::dpkg=/usr/bin/dpkg", "APT::Sandbox::User=root"]
        options += [f"Dpkg::Options::={word}" for word in (*dpkg, "--force-bad-path")]
        self.adapter = Apt(
            limit_s=60,
            apt=[word for option in options for word in ("-o", option)],
            dpkg=dpkg[:1],
            archives=root / "var" / "cache" / "apt" / "archives",
        )

    def says(self) -> str:
        """Return what the package installed, or that there is none."""
        path = self.root / "usr" / "share" / "vedette-hello"
        return path.read_text().strip() if path.exists() else "none"


def deb(root: Path, version: str, *, name: str = "vedette-hello", script: str = "") -> Path:
    """Build a real package."""
    tree = root / f"{name}-{version}"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr" / "share").mkdir(parents=True)
    (tree / "usr" / "share" / name).write_text(f"{version}\n")
    (tree / "DEBIAN" / "control").write_text(
        f"Package: {name}\nVersion: {version}\nArchitecture: all\n"
        "Maintainer: Nobody <nobody@example.com>\nDescription: says its version\n"
    )
    if script:
        (tree / "DEBIAN" / "postinst").write_text(f"#!/bin/sh\n{script}\n")
        (tree / "DEBIAN" / "postinst").chmod(0o755)
    out = root / f"{name}_{version}_all.deb"
    subprocess.run(
        ["dpkg-deb", "-b", "-Znone", str(tree), str(out)], check=True, capture_output=True
    )
    return out


needs_apt = pytest.mark.skipif(
    shutil.which("apt-get") is None or os.geteuid() != 0, reason="needs apt, as root"
)


@needs_apt
def test_packages_are_installed_confirmed_and_taken_back(tmp_path: Path) -> None:
    """Real packages, real apt: forward, and back to exactly what was there."""
    machine = Machine(tmp_path / "machine")
    device = Device(tmp_path, machine.adapter)
    one, two = deb(tmp_path, "1.0"), deb(tmp_path, "2.0")
    first, second = tmp_path / "1.vdeb", tmp_path / "2.vdeb"
    packages.build(first, [one], name="hello", version="1")
    packages.build(second, [two], [one], name="hello", version="2")
    agent = device.agent()
    wanted = device.bring(agent, first)
    agent.activate(wanted, None)
    assert device.until_still(agent) == f"{wanted.digest[:12]}|False|"
    assert machine.says() == "1.0"
    agent.settle(wanted, None)
    assert device.until_still(agent) == f"{wanted.digest[:12]}|False|"

    newer = device.bring(agent, second)
    agent.activate(newer, wanted)
    assert device.until_still(agent) == f"{newer.digest[:12]}|False|"
    assert machine.says() == "2.0"
    agent.revert("system", newer, wanted)
    assert device.until_still(agent) == f"{wanted.digest[:12]}|False|"
    assert machine.says() == "1.0"
    assert not device.reboots.exists()


@needs_apt
def test_packages_without_a_way_back_are_refused_untouched(tmp_path: Path) -> None:
    """The old version's package is nowhere on this device: nothing is installed."""
    machine = Machine(tmp_path / "machine")
    device = Device(tmp_path, machine.adapter)
    first, second = tmp_path / "1.vdeb", tmp_path / "2.vdeb"
    packages.build(first, [deb(tmp_path, "1.0")], name="hello", version="1")
    packages.build(second, [deb(tmp_path, "2.0")], name="hello", version="2")
    agent = device.agent()
    wanted = device.bring(agent, first)
    agent.activate(wanted, None)
    device.until_still(agent)
    agent.settle(wanted, None)
    device.until_still(agent)
    agent.activate(device.bring(agent, second), wanted)
    assert "no way back" in device.until_still(agent)
    assert machine.says() == "1.0"


@needs_apt
def test_a_package_whose_script_fails_is_taken_back(tmp_path: Path) -> None:
    """The new version breaks while it is configured: the old one is there again."""
    machine = Machine(tmp_path / "machine")
    device = Device(tmp_path, machine.adapter)
    one, bad = deb(tmp_path, "1.0"), deb(tmp_path, "2.0", script="echo no room for hello; exit 1")
    subprocess.run(
        ["dpkg", f"--root={machine.root}", "--force-not-root", "-i", str(one)],
        check=True,
        capture_output=True,
    )
    file = tmp_path / "2.vdeb"
    packages.build(file, [bad], [one], name="hello", version="2")
    agent = device.agent()
    wanted = device.bring(agent, file)
    agent.activate(wanted, None)
    said = device.until_still(agent)
    assert "apt-get install" in said
    assert "no room for hello" in said, "what the package said, and not only that dpkg failed"
    agent.revert("system", wanted, None)
    assert device.until_still(agent) == "installation|False|"
    assert machine.says() == "1.0"
    assert machine.adapter._version("vedette-hello") == "1.0"


def test_what_a_package_lacks_is_said() -> None:
    """The name stands above the last line of apt, which says that packages are held."""
    said = """Some packages could not be installed. This may mean that you have
The following packages have unmet dependencies:
 hello : Depends: nothing-of-this-name but it is not installable
E: Unable to correct problems, you have held broken packages.
"""
    why = packages.why_of(tool.Ended(status=100, said=said))
    assert why == "status 100: hello : Depends: nothing-of-this-name but it is not installable"
    silent = tool.Ended(status=100, said="Reading\nE: Could not get lock\n")
    assert packages.why_of(silent) == "status 100: E: Could not get lock"


@needs_apt
def test_a_package_that_was_not_there_is_removed_again(tmp_path: Path) -> None:
    """Going back from a new package means that it is gone."""
    machine = Machine(tmp_path / "machine")
    device = Device(tmp_path, machine.adapter)
    file = tmp_path / "1.vdeb"
    packages.build(file, [deb(tmp_path, "1.0")], name="hello", version="1")
    agent = device.agent()
    wanted = device.bring(agent, file)
    agent.activate(wanted, None)
    device.until_still(agent)
    agent.revert("system", wanted, None)
    device.until_still(agent)
    assert machine.says() == "none"


# ---------------------------------------------------------------------------------------- RAUC


class Board:
    """Two slots, a boot loader that is a script, a bus and RAUC's service of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        (root / "boot").mkdir()
        (root / "mnt").mkdir()
        for slot in ("slot0", "slot1"):
            (root / slot).write_bytes(bytes(65_536))
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes",
             "-keyout", root / "key.pem", "-out", root / "cert.pem", "-subj", "/CN=test",
             "-days", "3650"],
            check=True, capture_output=True,
        )  # fmt: skip
        (root / "system.conf").write_text(
            "[system]\ncompatible=vedette-test\nbootloader=custom\n"
            f"statusfile={root}/status\nmountprefix={root}/mnt\n"
            f"[handlers]\nbootloader-custom-backend={root}/loader.sh\n"
            f"[keyring]\npath={root}/cert.pem\n"
            f"[slot.rootfs.0]\ndevice={root}/slot0\ntype=raw\nbootname=A\n"
            f"[slot.rootfs.1]\ndevice={root}/slot1\ntype=raw\nbootname=B\n"
        )
        loader = root / "loader.sh"
        loader.write_text(
            f"#!/bin/sh\ncd {root}/boot\ncase $1 in\n"
            "get-primary) cat primary 2>/dev/null || echo A;;\n"
            "set-primary) echo $2 > primary; echo good > state.$2;;\n"
            "get-state) cat state.$2 2>/dev/null || echo good;;\n"
            "set-state) echo $3 > state.$2; echo $2 $3 >> said;;\nesac\n"
        )
        loader.chmod(0o755)
        (root / "bus.conf").write_text(
            "<busconfig><type>system</type>"
            f"<listen>unix:path={root}/bus</listen><auth>EXTERNAL</auth><policy context='default'>"
            "<allow own='*'/><allow send_destination='*' eavesdrop='true'/>"
            "<allow eavesdrop='true'/></policy></busconfig>"
        )
        self.bus = subprocess.Popen(
            ["dbus-daemon", f"--config-file={root}/bus.conf", "--nofork", "--print-address"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self.bus.stdout is not None
        self.bus.stdout.readline()
        self.service: subprocess.Popen[bytes] | None = None
        env = f"DBUS_SYSTEM_BUS_ADDRESS=unix:path={root}/bus"
        self.adapter = Rauc(limit_s=50, rauc=["env", env, "rauc", "-c", f"{root}/system.conf"])

    def bundle(self, image: bytes, name: str) -> Path:
        """Build and sign a real bundle."""
        tree = self.root / f"tree-{name}"
        tree.mkdir()
        (tree / "rootfs.img").write_bytes(image)
        (tree / "manifest.raucm").write_text(
            "[update]\ncompatible=vedette-test\nversion=2\n[bundle]\nformat=plain\n"
            "[image.rootfs]\nfilename=rootfs.img\n"
        )
        out = self.root / name
        subprocess.run(
            ["rauc", f"--cert={self.root}/cert.pem", f"--key={self.root}/key.pem",
             f"--keyring={self.root}/cert.pem", "bundle", tree, out],
            check=True, capture_output=True,
        )  # fmt: skip
        return out

    def start(self) -> str:
        """Boot: the loader takes the primary slot where it is good, else the other one."""
        self.stop()
        primary = self._kept("primary", "A")
        slot = (
            primary
            if self._kept(f"state.{primary}", "good") != "bad"
            else "AB".replace(primary, "")
        )
        self.service = subprocess.Popen(
            ["rauc", "-c", f"{self.root}/system.conf", f"--mount={self.root}/mnt", "service",
             f"--override-boot-slot={slot}"],
            env={**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={self.root}/bus"},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for _ in range(200):  # each asks a process: until the service has its name on the bus
            try:
                assert self.adapter.running() == slot
                break
            except ConfigError:
                continue
        return slot

    def _kept(self, name: str, default: str) -> str:
        path = self.root / "boot" / name
        return path.read_text().strip() if path.exists() else default

    def stop(self) -> None:
        """End the service."""
        if self.service is not None:
            self.service.terminate()
            self.service.wait(10)
            self.service = None

    def close(self) -> None:
        """End everything."""
        self.stop()
        self.bus.terminate()
        self.bus.wait(10)
        assert self.bus.stdout is not None
        self.bus.stdout.close()


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    """A board with two slots; the old system runs in the first."""
    if os.geteuid() != 0:
        pytest.skip("RAUC mounts what it installs: needs root")
    missing = [name for name in ("rauc", "dbus-daemon", "mksquashfs") if not shutil.which(name)]
    if missing:
        skip_or_fail(f"RAUC needs {', '.join(missing)}: tools/system_parts.py installs them")
    made = Board(tmp_path / "board")
    yield made
    made.close()


def test_a_signed_image_is_booted_confirmed_and_taken_back(board: Board, tmp_path: Path) -> None:
    """A real bundle, RAUC's own service: the other slot is written, booted, marked good or bad."""
    device = Device(tmp_path, board.adapter)
    assert board.start() == "A"
    file = board.bundle(b"new system" * 100, "good.raucb")
    agent = device.agent()
    wanted = device.bring(agent, file)
    agent.activate(wanted, None)
    said = device.until_still(agent)
    if "loop" in said or "mount" in said:
        pytest.skip(f"RAUC cannot mount bundles here: {said}")
    assert said == "|False|the machine boots"
    assert (board.root / "slot1").read_bytes().startswith(b"new system")
    assert device.reboots.read_text() == "boot\n"

    assert board.start() == "B"
    device.boot = 2
    agent = device.agent()
    assert device.until_still(agent) == f"{wanted.digest[:12]}|False|"
    agent.settle(wanted, None)
    assert device.until_still(agent) == f"{wanted.digest[:12]}|False|"
    assert (board.root / "boot" / "said").read_text().splitlines()[-1] == "B good"

    other = board.bundle(b"worse" * 100, "worse.raucb")
    worse = device.bring(agent, other)
    agent.activate(worse, wanted)
    device.until_still(agent)
    assert board.start() == "A"
    device.boot = 3
    agent = device.agent()
    assert device.until_still(agent) == f"{worse.digest[:12]}|False|"
    agent.revert("system", worse, wanted)
    assert device.until_still(agent) == "|False|the machine boots, to go back"
    assert board.start() == "B"
    device.boot = 4
    assert device.until_still(device.agent()) == f"{wanted.digest[:12]}|False|"


def test_a_boot_loader_that_fell_back_is_noticed(board: Board, tmp_path: Path) -> None:
    """The new system did not come up and the loader went back: another boot, the same slot."""
    device = Device(tmp_path, board.adapter)
    board.start()
    agent = device.agent()
    wanted = device.bring(agent, board.bundle(b"dead" * 100, "dead.raucb"))
    agent.activate(wanted, None)
    said = device.until_still(agent)
    if "loop" in said or "mount" in said:
        pytest.skip(f"RAUC cannot mount bundles here: {said}")
    (board.root / "boot" / "state.B").write_text("bad\n")  # as its counter of attempts does
    assert board.start() == "A"
    device.boot = 2
    assert "came back with the system of before" in device.until_still(device.agent())


def test_a_bundle_that_is_not_signed_for_this_machine_is_refused(board: Board) -> None:
    """One bit flipped, another's key, no bundle at all: refused before anything is asked of root."""  # noqa: E501
    good = board.bundle(b"x" * 1000, "good.raucb")
    board.adapter.examine(good)
    data = bytearray(good.read_bytes())
    data[200] ^= 1
    (board.root / "flipped.raucb").write_bytes(data)
    (board.root / "nothing.raucb").write_bytes(b"nothing" * 1000)
    for name in ("flipped.raucb", "nothing.raucb"):
        with pytest.raises(ConfigError, match="rauc"):
            board.adapter.examine(board.root / name)


# ------------------------------------------------------------------------- Mender and commands


def script(path: Path, text: str) -> str:
    """Have a small program; return its path."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_mender_is_spoken_to_by_its_exit_statuses(tmp_path: Path) -> None:
    """A program with Mender's words: reboot asked for by 4, nothing to commit by 2."""
    name, image = tmp_path / "name", tmp_path / "system.mender"
    name.write_text("release-1\n")
    image.write_bytes(b"version\0" + bytes(600))
    mender = script(
        tmp_path / "mender-update",
        f"echo $* >> {tmp_path}/calls\ncase $1 in show-artifact) cat {name};; "
        "install) exit 4;; commit|rollback) exit 2;; *) exit 1;; esac",
    )
    device = Device(tmp_path, Mender(mender=mender))
    agent = device.agent()
    wanted = device.bring(agent, image)
    agent.activate(wanted, None)
    assert device.until_still(agent) == "|False|the machine boots"
    name.write_text("release-2\n")
    device.boot = 2
    agent = device.agent()
    assert device.until_still(agent) == f"{wanted.digest[:12]}|False|"
    agent.settle(wanted, None)
    assert device.until_still(agent) == f"{wanted.digest[:12]}|False|"
    calls = (tmp_path / "calls").read_text().split("\n")
    assert f"install --reboot-exit-code {device.root_folder}/image" in calls
    assert "commit" in calls
    with pytest.raises(ConfigError, match="no Mender artefact"):
        device.adapter.examine(Path(mender))


@pytest.mark.parametrize(
    ("install", "words"),
    [
        ("echo 'the disk is too small' >&2; exit 3", "status 3: the disk is too small"),
        ("yes no; exit 1", "did not end within 1 s"),
        ("exec sleep 30", "did not end within 1 s"),
        ("kill -9 $$", "status -9"),
    ],
)
def test_a_tool_that_fails_hangs_or_floods_is_a_reason(
    tmp_path: Path, install: str, words: str
) -> None:
    """Its last line, or its silence, is what the operator reads; nothing was booted."""
    commands = SystemCommands(
        install=[script(tmp_path / "tool", install), "{file}"], take_back=["true"]
    )
    device = Device(tmp_path, Command(commands, limit_s=1))
    agent = device.agent()
    (tmp_path / "image").write_bytes(b"image")
    wanted = device.bring(agent, tmp_path / "image")
    agent.activate(wanted, None)
    assert words in device.until_still(agent)
    agent.revert("system", wanted, None)
    assert not device.reboots.exists() or install.startswith("echo") is False


def test_arguments_of_a_command_are_never_a_shell_s(tmp_path: Path) -> None:
    """A `;` in a list is a character."""
    commands = SystemCommands(
        install=["touch", f"{tmp_path}/a;touch {tmp_path}/b".replace("/", "_")],
        take_back=["true"],
        needs_boot=False,
    )
    cwd = Path.cwd()
    os.chdir(tmp_path)
    try:
        Command(commands).install(tmp_path / "x", tmp_path)
    finally:
        os.chdir(cwd)
    assert len(list(tmp_path.iterdir())) == 1


# --------------------------------------------------------------------------------- power cuts


def test_power_cut_at_every_step_of_a_system_ends_old_or_new(tmp_path: Path) -> None:
    """Both processes are killed at each step of theirs; what is asked again does no harm."""

    def machine(root: Path) -> Device:
        root.mkdir()
        slot = root / "slot"
        slot.write_text("A\n")
        commands = SystemCommands(
            install=["sh", "-c", f"echo B > {root}/next"],
            running=["cat", str(slot)],
            keep=["true"],
            take_back=["sh", "-c", f"echo A > {root}/next"],
        )
        return Device(root, Command(commands, limit_s=20))

    def boot(device: Device) -> None:
        root = device.state.parent
        device.reboots.unlink(missing_ok=True)
        if (root / "next").exists():
            (root / "slot").write_text((root / "next").read_text())
        device.boot += 1

    def life(device: Device) -> str:
        image = device.state.parent / "image"
        image.write_bytes(b"image")
        agent = device.agent()
        wanted = device.bring(agent, image)
        for _ in range(12):
            agent.activate(wanted, None)
            standing = agent.standing("system")
            if standing.proven and standing.running == wanted.digest:
                agent.settle(wanted, None)
            if device.reboots.exists():
                boot(device)
            agent = device.agent()
        return agent.standing("system").running

    whole = machine(tmp_path / "whole")
    names: list[str] = []
    whole.at = names.append
    digest = life(whole)
    assert digest.startswith("sha256:")
    steps = list(dict.fromkeys(names))
    assert len(steps) >= 8
    for number, step in enumerate(steps):
        device = machine(tmp_path / str(number))
        pid = os.fork()
        if pid == 0:
            try:
                device.at = lambda name, wanted=step: (
                    os.kill(os.getpid(), signal.SIGKILL) if name == wanted else None
                )
                life(device)
            finally:
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL, step
        boot(device)
        assert life(device) == digest, step
        assert (device.state.parent / "slot").read_text() == "B\n", step
