"""A configuration that is rolled out: what it may say, that it is tried, that it goes back."""

import hashlib
from pathlib import Path

import msgspec
import pytest

from vedette.clock import ManualClock
from vedette.edge import overlay
from vedette.edge.desired import DesiredStore
from vedette.edge.overlay import CameraOverlay, Overlay, PipelineOverlay, TelemetryOverlay
from vedette.edge.settings import Camera, EdgeConfig
from vedette.edge.updating.config import ConfigInstaller, build
from vedette.edge.updating.kinds import Installed
from vedette.edge.updating.proof import CENTRAL_S
from vedette.errors import ConfigError
from vedette.wire.messages import HealthReport, NetworkHealth, PipelineHealth
from vedette.wire.slots import ArtefactKind
from vedette.wire.updates import Artefact

RUNS = HealthReport(at_ms=1, period_s=30, version="t", pipeline=PipelineHealth(running=True))


class Device:
    """A device with two cameras, whose agent reads the overlay when it is told to."""

    def __init__(self, root: Path) -> None:
        self.state = root / "state"
        self.state.mkdir()
        config = EdgeConfig(
            state_dir=self.state,
            models_dir=root,
            cameras=[Camera(id="door", threshold=0.4), Camera(id="yard", source="yard.mp4")],
        )
        self.desired = DesiredStore(self.state, config, None)
        self.report: HealthReport | None = RUNS
        self.restarts = 0
        self.clock = ManualClock()
        self.installer = ConfigInstaller(
            self.state,
            self.clock,
            check=self.desired.check_overlay,
            changed=self.change,
            in_force=lambda: self.desired.overlay_digest,
            report=lambda: self.report,
        )

    def change(self) -> None:
        """Read the overlay; the pipeline is started anew where it must be."""
        self.restarts += self.desired.take_overlay()

    def bring(self, root: Path, name: str, said: Overlay | bytes) -> Installed:
        """Have an artefact prepared, as the updater does."""
        file = root / f"{name}.json"
        if isinstance(said, bytes):
            file.write_bytes(said)
        else:
            build(file, name, "1", said)
        data = file.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        artefact = Artefact(
            kind=ArtefactKind.CONFIG,
            target=f"config/{name}.json",
            sha256=sha256,
            bytes=len(data),
            digest=f"sha256:{sha256}",
        )
        folder = self.state / "updates" / "installed" / "config" / sha256
        self.installer.prepare("config", artefact, file, folder)
        return Installed(
            kind=ArtefactKind.CONFIG, slot="config", digest=artefact.digest, folder=str(folder)
        )


@pytest.fixture
def device(tmp_path: Path) -> Device:
    """A device that runs by its own file."""
    return Device(tmp_path)


THRESHOLDS = Overlay(
    pipeline=PipelineOverlay(deadline_ms=300),
    telemetry=TelemetryOverlay(report_period_s=20),
    cameras={"*": CameraOverlay(threshold=0.6, max_fps=4), "yard": CameraOverlay(threshold=0.7)},
)


def test_an_overlay_is_laid_over_the_local_file_and_taken_away_again(
    device: Device, tmp_path: Path
) -> None:
    """What it says counts, what it does not say stays, and going back leaves no trace."""
    before = device.desired.effective
    wanted = device.bring(tmp_path, "thresholds", THRESHOLDS)
    device.installer.activate(wanted, None)
    config = device.desired.effective.config
    assert [camera.threshold for camera in config.cameras] == [0.6, 0.7]
    assert [camera.max_fps for camera in config.cameras] == [4, 4]
    assert config.cameras[1].source == "yard.mp4"
    assert (config.pipeline.deadline_ms, config.telemetry.report_period_s) == (300, 20)
    assert device.installer.standing("config").running == wanted.digest
    assert device.restarts == 1
    assert DesiredStore(device.state, before.config, None).effective == device.desired.effective
    device.installer.revert("config", wanted, None)
    assert device.desired.effective == before
    assert device.installer.standing("config").running == "edge.yaml"


def test_an_overlay_is_proven_only_by_what_came_after_it(device: Device, tmp_path: Path) -> None:
    """The report of before says nothing of it; a pipeline that does not run says all."""
    device.report = msgspec.structs.replace(RUNS, network=NetworkHealth(last_contact_ms=1))
    wanted = device.bring(tmp_path, "thresholds", THRESHOLDS)
    device.installer.activate(wanted, None)
    assert not device.installer.standing("config").proven
    device.report = msgspec.structs.replace(RUNS, pipeline=PipelineHealth(running=False))
    assert "does not run" in device.installer.standing("config").problem
    device.report = RUNS
    assert not device.installer.standing("config").proven  # central answered before
    device.clock.advance(CENTRAL_S + 1)
    assert device.installer.standing("config").failed
    device.report = msgspec.structs.replace(RUNS, network=NetworkHealth(last_contact_ms=2))
    assert device.installer.standing("config").proven


@pytest.mark.parametrize(
    "said",
    [
        b'{"cameras":{"door":{"source":"rtsp://192.0.2.9/"}}}',
        b'{"cameras":{"door":{"zones":[]}}}',
        b'{"central":{"url":"https://other.example.com"}}',
        b'{"evidence":{"blur":"none"}}',
        b'{"system":{"adapter":"command"}}',
        b'{"state_dir":"/"}',
        b'{"pipeline":{"providers":["cuda"]}}',
        b'{"local_api":{"host":"0.0.0.0"}}',
    ],
)
def test_what_its_signers_may_not_say_is_refused(
    device: Device, tmp_path: Path, said: bytes
) -> None:
    """Addresses, pixels, keys, central, the system: there is no field for any of them."""
    whole = b'{"format":1,"name":"x","version":"1","overlay":' + said + b"}"
    with pytest.raises(ConfigError, match="may be rolled out"):
        device.bring(tmp_path, "attack", whole)


@pytest.mark.parametrize(
    "said",
    [
        Overlay(cameras={"*": CameraOverlay(threshold=7)}),
        Overlay(telemetry=TelemetryOverlay(report_period_s=0)),
        Overlay(pipeline=PipelineOverlay(workers=-1)),
        Overlay(pipeline=PipelineOverlay(batch_sizes=[0])),
    ],
)
def test_what_makes_no_sense_here_is_refused_before_it_is_used(
    device: Device, tmp_path: Path, said: Overlay
) -> None:
    """Every limit of the configuration holds for what is laid over it."""
    with pytest.raises(ConfigError, match="resulting configuration"):
        device.bring(tmp_path, "odd", said)
    assert device.restarts == 0


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b"{}", b"[" * 100_000])
def test_a_torn_or_huge_configuration_is_an_error(data: bytes) -> None:
    """Whatever was signed by mistake."""
    with pytest.raises(ConfigError):
        overlay.parse(data)
    with pytest.raises(ConfigError, match="more than"):
        overlay.parse(b" " * (overlay.MAX_BYTES + 1))


def test_a_kept_overlay_that_is_torn_leaves_the_local_file_in_force(
    device: Device, tmp_path: Path
) -> None:
    """A device never fails to start for it; it says so, and the updater writes it anew."""
    wanted = device.bring(tmp_path, "thresholds", THRESHOLDS)
    device.installer.activate(wanted, None)
    (device.state / "updates" / overlay.FILE).write_bytes(b"{")
    device.change()
    assert device.desired.effective.config.cameras[0].threshold == 0.4
    assert "kept configuration refused" in device.desired.problems[-1]
    device.installer.settle(wanted, None)
    assert device.desired.effective.config.cameras[0].threshold == 0.6
