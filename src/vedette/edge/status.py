"""The device's last health report as people at the device see it: one file, replaced each time.

The agent writes it; `vedette edge status`, the doctor and the next agent read it.
"""

import logging
import os
from pathlib import Path
from typing import Final

import msgspec

from vedette.wire.messages import CameraHealth, Frames, HealthReport

log = logging.getLogger(__name__)

STATUS: Final = "agent.json"
QUARANTINED: Final = (
    "two copies of this device are alive: central keeps what it says and counts nothing of it"
    " until an operator judges"
)
"""For people at the device; central knows it."""


def write_status(state_dir: Path, report: HealthReport) -> None:
    """Replace the copy of the last report that `vedette edge status` reads; not synced."""
    temporary = state_dir / f".{STATUS}.{os.getpid()}"
    try:
        temporary.write_bytes(msgspec.json.encode(report))
        temporary.replace(state_dir / STATUS)
    except OSError as error:
        log.warning("status not kept", extra={"event": "agent.status", "reason": str(error)})


def read_status(state_dir: Path) -> HealthReport | None:
    """Return the last report that the agent wrote; None where there is none."""
    try:
        return msgspec.json.decode((state_dir / STATUS).read_bytes(), type=HealthReport)
    except (OSError, msgspec.DecodeError):
        return None


def without_counts(camera: CameraHealth) -> CameraHealth:
    """Return the state alone: these counts were reported before and must not be counted twice."""
    return msgspec.structs.replace(camera, frames=Frames(), stage_ms={}, reconnects=0)


def log_quarantine(*, quarantined: bool) -> None:
    """Have it in the log that central began or ended to set aside what this device says."""
    if quarantined:
        log.error(QUARANTINED, extra={"event": "agent.quarantined"})
    else:
        text = "central counts what this device says again"
        log.info(text, extra={"event": "agent.released"})
