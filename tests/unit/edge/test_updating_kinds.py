"""Configurations, programs and systems through the updater: assigned, confirmed, or taken back."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.edge.updating_kit import CENTRAL, IDENTITY, FreeLine, Shelf, artefact_of
from vedette.clock import ManualClock, wall_ms
from vedette.edge.desired import DesiredStore
from vedette.edge.install import launch
from vedette.edge.overlay import CameraOverlay, Overlay
from vedette.edge.settings import Camera, EdgeConfig, SystemCommands
from vedette.edge.updating import app, system
from vedette.edge.updating.adapters import Command
from vedette.edge.updating.app import AppInstaller, Program
from vedette.edge.updating.config import ConfigInstaller, build
from vedette.edge.updating.doing import Connection, Told
from vedette.edge.updating.door import Answer, Doorkeeper, FileDoor, Request
from vedette.edge.updating.kinds import Installer
from vedette.edge.updating.updater import Updater
from vedette.edge.updating.work import Inline
from vedette.trust.dsse import sign_struct
from vedette.wire.messages import HealthReport, PipelineHealth
from vedette.wire.slots import ArtefactKind, UpdateState
from vedette.wire.updates import ASSIGNMENT_TYPE, Artefact, Assigned, Assignment, UpdateReport


class QuickApps(AppInstaller):
    """The program's installer; its environment is one file, made without pip."""

    def prepare(self, slot: str, artefact: Artefact, file: Path, folder: Path) -> None:
        """Have an environment that is whole."""
        del slot, file
        (folder / app.VENV).mkdir(parents=True)
        launch.write(folder / app.VENV / launch.INSTALLED, {"digest": artefact.digest})


class Device:
    """A device whose agent, program and machine can be started again."""

    def __init__(self, root: Path) -> None:
        self.state = root / "state"
        self.state.mkdir()
        self.root = root
        self.clock, self.shelf, self.reports = ManualClock(), Shelf(), list[UpdateReport]()
        self.works, self.boot, self.version = True, 1, 0
        self.own = root / "opt"
        self.left: list[str] = []
        (root / "slot").write_text("A")
        camera = Camera(id="door", threshold=0.4)
        config = EdgeConfig(state_dir=self.state, models_dir=root, cameras=[camera])
        self.desired = DesiredStore(self.state, config, None)
        commands = SystemCommands(
            install=["cp", "{file}", str(root / "next")],
            running=["cat", str(root / "slot")],
            take_back=["sh", "-c", f"echo -n A > {root}/next"],
        )
        self.adapter = Command(commands, limit_s=20)
        self.updater = self.start()

    def report(self) -> HealthReport:
        """Return a report of now."""
        pipeline = PipelineHealth(running=self.works)
        return HealthReport(at_ms=1, period_s=30, version="t", pipeline=pipeline)

    def ask(self, request: Request) -> Answer | None:
        """Ask as the agent does; then root looks."""
        door = FileDoor(self.state, self.root / "root")
        if (answer := door.ask(request)) is not None:
            return answer
        Doorkeeper(
            self.state,
            self.adapter,
            reboot=["true"],
            verify=lambda _target, _image: None,
            root_folder=self.root / "root",
        ).serve()
        return None

    def start(self) -> Updater:
        """Be an agent that just started, of the program and on the system that run now."""
        clock, report = self.clock, self.report
        found: list[Installer] = [
            ConfigInstaller(
                self.state,
                clock,
                check=self.desired.check_overlay,
                changed=self.desired.take_overlay,
                in_force=lambda: self.desired.overlay_digest,
                report=report,
            ),
            QuickApps(
                Program(self.state / "program", self.root / "opt" / "bin" / "vedette", self.own),
                self.state / "effective.yaml",
                clock,
                report=report,
                leave=self.left.append,
            ),
            system.SystemInstaller(
                self.state, self.adapter, self, clock, boot_id=f"b{self.boot}", report=report
            ),
        ]
        self.updater = Updater(
            self.state,
            clock,
            found,
            time=lambda: Told(wall_ms(clock.now_at()), is_timed=True),
            time_zone=lambda: "UTC",
            report=self.reports.append,
            work=Inline(),
            free_bytes=lambda _path: 10**12,
        )
        self.updater.begin()
        self.updater.connect(Connection(IDENTITY, self.shelf, self.shelf.fetch, FreeLine()))
        return self.updater

    def restart(self) -> None:
        """Be started again by the launcher."""
        name, _ = launch.settle(self.state / "program")
        self.own = Path(name) if name else self.root / "opt"
        self.start()

    def reboot(self, slot: str) -> None:
        """Boot into a slot."""
        (self.root / "slot").write_text(slot)
        self.boot += 1
        self.start()

    def give(self, kind: ArtefactKind, data: bytes, name: str) -> Artefact:
        """Offer, approve and assign one artefact."""
        artefact = artefact_of(data, name, kind)
        self.shelf.targets[artefact.target] = data
        self.version += 1
        rollout = f"r{self.version}"
        self.shelf.approve(rollout, [artefact])
        item = Assigned(rollout=rollout, slot=kind.value, artefact=artefact, probation_s=60)
        said = Assignment(device="dev-1", version=self.version, issued_ms=1, items=[item])
        self.updater.take(sign_struct(said, ASSIGNMENT_TYPE, [CENTRAL]))
        return artefact

    def until(self, *ends: UpdateState, meanwhile: Callable[[], None] = lambda: None) -> str:
        """Let time pass until the job is in one of these states; return that and why."""
        for _ in range(400):
            while self.updater.step() == 0.0:
                pass
            if self.reports and self.reports[-1].state in ends:
                return f"{self.reports[-1].state.value}: {self.reports[-1].detail}"
            self.clock.advance(1)
            meanwhile()
        return f"still {self.reports[-1].state.value}: {self.reports[-1].detail}"


@pytest.fixture
def device(tmp_path: Path) -> Device:
    """A device."""
    return Device(tmp_path)


CONFIRMED, REVERTED = UpdateState.CONFIRMED, UpdateState.REVERTED
ACTIVATING = UpdateState.ACTIVATING


def test_a_configuration_is_confirmed_and_a_worse_one_goes_back(
    device: Device, tmp_path: Path
) -> None:
    """The second one leaves the pipeline down: the first is in force again."""
    build(tmp_path / "1", "n", "1", Overlay(cameras={"*": CameraOverlay(threshold=0.6)}))
    build(tmp_path / "2", "n", "2", Overlay(cameras={"*": CameraOverlay(threshold=0.9)}))
    device.give(ArtefactKind.CONFIG, (tmp_path / "1").read_bytes(), "1.json")
    assert device.until(CONFIRMED, REVERTED) == "confirmed: "
    assert device.desired.effective.config.cameras[0].threshold == 0.6
    bad = (tmp_path / "2").read_bytes().replace(b"0.9", b"9.0")
    device.give(ArtefactKind.CONFIG, bad, "bad.json")
    assert "resulting configuration" in device.until(REVERTED)
    assert device.desired.effective.config.cameras[0].threshold == 0.6


def test_a_program_is_confirmed_and_a_broken_one_goes_back(device: Device) -> None:
    """The agent ends, the launcher starts the new one; three starts without a word, and back."""
    good = device.give(ArtefactKind.APP, b"good", "good.vapp")
    device.until(ACTIVATING)
    assert device.left
    device.restart()
    assert device.until(CONFIRMED, REVERTED) == "confirmed: "
    device.give(ArtefactKind.APP, b"bad", "bad.vapp")
    device.until(ACTIVATING)
    for _ in range(3):  # each start dies at its first import: no agent, no step
        launch.settle(device.state / "program")
    device.restart()
    assert "never confirmed" in device.until(REVERTED)
    device.restart()
    running = {one.slot: one.running for one in device.updater.health()}
    assert running["app"] == good.digest


def test_a_system_is_confirmed_and_one_that_did_not_boot_goes_back(device: Device) -> None:
    """Installed by root, booted, proven, marked good; the next one never came up."""
    good = device.give(ArtefactKind.SYSTEM, b"B", "b.img")
    device.until(ACTIVATING)
    for _ in range(6):
        device.updater.step()
        device.clock.advance(1)
    assert (device.root / "next").read_text() == "B"
    device.reboot("B")
    assert device.until(CONFIRMED, REVERTED) == "confirmed: "
    for _ in range(4):
        device.updater.health()
    device.give(ArtefactKind.SYSTEM, b"C", "c.img")
    device.until(ACTIVATING)
    for _ in range(6):
        device.updater.step()
        device.clock.advance(1)
    device.reboot("B")
    assert "came back with the system of before" in device.until(REVERTED)
    for _ in range(6):
        device.updater.health()
    found = {one.slot: one.running for one in device.updater.health()}
    assert found["system"] == good.digest
