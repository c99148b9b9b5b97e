"""What a device has to show after something under its feet was replaced. Pure.

A report of the process that runs now, a pipeline in it that runs, pictures where there were some,
and central where central answered before. The rule: what did not work before the change cannot
speak against it.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from vedette.wire.messages import HealthReport, State

CENTRAL_S: Final = 1800.0
"""Central answered before: if it does not in this time, what was changed is taken back."""

CONTACT_MS: Final = 300_000
"""Central was within reach where it answered this short before."""


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What was shown.

    Attributes:
        is_well: All that needs no network.
        proven: Central answered too, where it did before.
        failed: It has not for too long.
    """

    is_well: bool = False
    proven: bool = False
    failed: bool = False
    problem: str = ""


def before(report: HealthReport | None) -> dict[str, Any]:
    """Return what worked before a change, to be kept with its record."""
    contact = report.network.last_contact_ms if report else None
    near = report is not None and contact is not None and report.at_ms - contact < CONTACT_MS
    return {"central": near, "cameras": _cameras_up(report)}


def look(report: HealthReport | None, was: Mapping[str, Any], silent_s: float) -> Proof:
    """Return what was shown since.

    Args:
        report: The last of this process; None: it made none yet.
        was: As `before` returned it.
        silent_s: Since this process began.
    """
    if report is None:
        return Proof(problem="no health report yet")
    if report.pipeline is None or not report.pipeline.running:
        return Proof(problem="the pipeline does not run yet")
    if was.get("cameras") and not _cameras_up(report):
        return Proof(problem="no camera gives pictures yet; some did before")
    if not was.get("central") or report.network.last_contact_ms is not None:
        return Proof(is_well=True, proven=True)
    return Proof(
        is_well=True,
        failed=silent_s > CENTRAL_S,
        problem=f"central answered before, and has not for {silent_s:.0f} s since",
    )


def _cameras_up(report: HealthReport | None) -> int:
    """Return how many cameras give pictures, or are off as they should be."""
    cameras = report.pipeline.cameras if report and report.pipeline else []
    return sum(camera.state not in {State.DOWN, State.STARTING} for camera in cameras)
