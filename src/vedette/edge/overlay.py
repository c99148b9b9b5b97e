"""What a signed configuration may say: a few fields, laid between the local file and central's.

    edge.yaml  ←  the overlay of an approved artefact  ←  site policy  ←  central's settings

The structs here are the list of what its signers may say: how the machine is spent, budgets,
periods, thresholds. There is no field for addresses, pixels, keys, models, central or the system,
and a field that is not here is refused. The rule: what does not make sense with this device's own
file is refused whole, and what was before stays.

    updates/overlay.json   the one that is in use
"""

from pathlib import Path
from typing import Any, Final

import msgspec

from vedette.edge.settings import Camera, EdgeConfig, Gate
from vedette.errors import ConfigError
from vedette.trust.keys import write_private
from vedette.wire.numbers import Finite

FORMAT: Final = 1
FILE: Final = "overlay.json"
MAX_BYTES: Final = 256 * 1024
EVERY: Final = "*"


class PipelineOverlay(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of `pipeline`."""

    workers: int | None = None
    deadline_ms: Finite | None = None
    budget_ms: dict[str, Finite] | None = None
    batch_sizes: list[int] | None = None


class TelemetryOverlay(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of `telemetry`."""

    report_period_s: Finite | None = None
    aggregate_period_s: Finite | None = None


class EvidenceOverlay(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of `evidence`: sizes and times, and nothing of what a copy shows."""

    before_s: Finite | None = None
    after_s: Finite | None = None
    daily_mb: Finite | None = None
    keep_mb: Finite | None = None


class CameraOverlay(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one camera, or of every one."""

    threshold: Finite | None = None
    max_fps: Finite | None = None
    budget_ms: Finite | None = None
    batch_every_s: Finite | None = None
    idle_keyframes: bool | None = None
    class_hold_s: Finite | None = None
    anomaly_looks: int | None = None
    gate: Gate | None = None


class Overlay(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that a configuration artefact may change.

    Attributes:
        cameras: By id; `*` is every camera, and what is said of one by its id counts over it.
    """

    pipeline: PipelineOverlay = PipelineOverlay()
    telemetry: TelemetryOverlay = TelemetryOverlay()
    evidence: EvidenceOverlay = EvidenceOverlay()
    cameras: dict[str, CameraOverlay] = {}


class ConfigArtefact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file that is signed; JSON."""

    format: int
    name: str
    version: str
    overlay: Overlay


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """`overlay.json`."""

    digest: str
    overlay: Overlay


def parse(data: bytes) -> ConfigArtefact:
    """Return what a configuration artefact says.

    Raises:
        ConfigError: It is none, or says what no such artefact may say.
    """
    if len(data) > MAX_BYTES:
        raise ConfigError(f"a configuration of more than {MAX_BYTES} bytes")
    try:
        found = msgspec.json.decode(data, type=ConfigArtefact)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(
            f"no configuration that may be rolled out: {error}",
            operator_hint="see docs/update-the-program-and-the-system.md for what it may say",
        ) from error
    if found.format != FORMAT:
        raise ConfigError(f"a configuration of format {found.format}; this program reads {FORMAT}")
    return found


def lay(config: EdgeConfig, overlay: Overlay) -> EdgeConfig:
    """Return `config` with an overlay laid over it; limits are checked by who lays the rest. Pure.

    Cameras that this device does not have are left out: one artefact is for many devices.
    """
    return msgspec.structs.replace(
        config,
        pipeline=_over(config.pipeline, overlay.pipeline),
        telemetry=_over(config.telemetry, overlay.telemetry),
        evidence=_over(config.evidence, overlay.evidence),
        cameras=[lay_camera(camera, overlay) for camera in config.cameras],
    )


def lay_camera(camera: Camera, overlay: Overlay) -> Camera:
    """Return a camera with what an overlay says of it; pure."""
    for name in (EVERY, camera.id):
        if name in overlay.cameras:
            camera = _over(camera, overlay.cameras[name])
    return camera


def read(state_dir: Path) -> Kept | None:
    """Return the overlay in use; None where there is none.

    Raises:
        ConfigError: It is there and cannot be read.
    """
    path = state_dir / "updates" / FILE
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(2 * MAX_BYTES), type=Kept)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the kept configuration cannot be read: {error}") from error


def write(state_dir: Path, kept: Kept | None) -> None:
    """Have another overlay in use from the next look on, or none.

    Raises:
        OSError: The disk refuses; the one before is in use.
    """
    folder = state_dir / "updates"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if kept is None:
        (folder / FILE).unlink(missing_ok=True)
    else:
        write_private(folder / FILE, msgspec.json.encode(kept))


def _over(tree: Any, said: msgspec.Struct) -> Any:
    changes = {
        name: value for name, value in msgspec.structs.asdict(said).items() if value is not None
    }
    return msgspec.structs.replace(tree, **changes) if changes else tree
