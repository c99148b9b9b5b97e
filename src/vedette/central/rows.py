"""From database rows to the rows that people see: a device, a camera, and how each one is."""

from typing import Final, Protocol

import msgspec

from vedette.central.coverage import summarise
from vedette.central.enrolment import Site
from vedette.central.views import CameraRow, DeviceRow, Segment
from vedette.trust.keys import from_text
from vedette.wire.messages import CameraHealth, Cause, HealthReport
from vedette.wire.signed import Signed, SitePolicy

WORST_FIRST: Final = (
    "quarantined", "dark", "down", "tampered", "degraded", "unknown", "starting", "never", "off",
    "ok", "revoked",
)  # fmt: skip

_health = msgspec.msgpack.Decoder(HealthReport)
_signed = msgspec.json.Decoder(Signed)
_policy = msgspec.json.Decoder(SitePolicy)


class Resolved(Protocol):
    """Where resolved coverage is had from: the ledger itself, or what is kept of it."""

    def segments(
        self, device: str, camera: str, known_from_ms: int, drained_to_ms: int | None
    ) -> list[Segment]:
        """Return the resolved coverage of one camera over the window."""
        ...


class DeviceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `devices`."""

    device: str
    site: str
    state: str
    since_ms: int | None
    last_contact_ms: int | None
    version: str
    hardware: str
    clock_state: str
    health: bytes | None
    drained_to_ms: int | None
    settings: bytes | None
    settings_version: int
    enrolled_ms: int
    quarantined_ms: int | None = None
    revoked_ms: int | None = None
    revoked_reason: str = ""

    def report(self) -> HealthReport | None:
        """Return the newest health report."""
        return _health.decode(self.health) if self.health else None


class CameraFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `cameras`."""

    device: str
    camera: str
    name: str
    known_from_ms: int
    state: str
    since_ms: int | None
    signs: list[str]
    detail: str


def badness(state: str) -> int:
    """Return 0 for the worst state, more for better ones: sorts worst first."""
    return WORST_FIRST.index(state) if state in WORST_FIRST else len(WORST_FIRST)


def camera_names(site: Site) -> dict[str, str]:
    """Return the names that the site's policy gives to cameras; addresses are not looked at."""
    return {} if site.policy is None else names_in(site.policy)


def names_in(policy: bytes) -> dict[str, str]:
    """Return the names that a signed policy, as JSON, gives to cameras."""
    read = _policy.decode(from_text(_signed.decode(policy).payload))
    return {row.camera: row.name for row in read.cameras if row.name}


def camera_row(
    facts: CameraFacts,
    device: DeviceFacts,
    report: HealthReport | None,
    ledger: Resolved,
    *,
    name: str = "",
    events_24h: int | None = None,
) -> CameraRow:
    """Return a camera as it is seen: dark with its device, whatever it said last."""
    health = _camera_health(report, facts.camera)
    state, since_ms = facts.state, facts.since_ms
    if state == "unknown" and health is not None:
        state, since_ms = str(health.state), health.since_ms
    detail = facts.detail
    stopped = _stopped(report)
    # A camera that spoke after the report did so through a pipeline that runs again.
    if stopped and report is not None and report.at_ms >= (facts.since_ms or 0):
        state, detail = "down", stopped
    is_dark = device.state == "dark"
    if is_dark:
        state, since_ms = "dark", device.since_ms
    if device.revoked_ms is not None:
        is_dark, state, since_ms = True, "revoked", device.revoked_ms
    strip = ledger.segments(facts.device, facts.camera, facts.known_from_ms, device.drained_to_ms)
    return CameraRow(
        camera=facts.camera,
        name=name or facts.name or facts.camera,
        device=facts.device,
        site=device.site,
        state=state,
        since_ms=since_ms,
        signs=[] if is_dark else facts.signs,
        detail=device.revoked_reason if device.revoked_ms else "" if is_dark else detail,
        rate_fps=health.rate_fps if health and not is_dark else None,
        strip=strip,
        coverage=summarise(strip),
        events_24h=events_24h,
        source=health.source if health else "",
        advice=health.advice if health and not is_dark else [],
    )


def device_row(
    device: DeviceFacts, report: HealthReport | None, cameras: list[CameraRow]
) -> DeviceRow:
    """Return a device with its cameras, worst first."""
    system = report.system if report else None
    temperatures = system.temperatures_c.values() if system else ()
    flags = system.throttle_flags if system else None
    state = "degraded" if device.state == "ok" and _stopped(report) else device.state
    since_ms = device.since_ms
    if device.quarantined_ms is not None:
        state, since_ms = "quarantined", device.quarantined_ms
    if device.revoked_ms is not None:
        state, since_ms = "revoked", device.revoked_ms
    pending_s = sum(row.coverage.causes.get(Cause.PENDING_BACKFILL, 0.0) for row in cameras)
    return DeviceRow(
        device=device.device,
        site=device.site,
        state=state,
        since_ms=since_ms,
        last_contact_ms=device.last_contact_ms,
        version=device.version,
        hardware=device.hardware or (system.hardware if system else ""),
        clock_state=device.clock_state,
        spool_depth=sum(report.spool.depth.values()) if report else None,
        pending_backfill_s=pending_s,
        temperature_c=max(temperatures, default=None),
        throttled=None if flags is None else is_throttled(flags),
        problems=report.problems if report else [],
        config_version=report.config_version if report else "",
        desired_version=str(device.settings_version) if device.settings_version else "",
        cameras=sorted(cameras, key=lambda row: (badness(row.state), row.camera)),
    )


def is_throttled(flags: list[str]) -> bool:
    """True where something holds the device back now; `…-occurred` tells of the past."""
    return any(not flag.endswith("-occurred") for flag in flags)


def _stopped(report: HealthReport | None) -> str:
    """Return in words that a device's pipeline does not run; empty where it does."""
    if report is None or report.pipeline is None or report.pipeline.running:
        return ""
    why = report.pipeline.last_exit
    return f"the pipeline does not run: {why}" if why else "the pipeline does not run"


def _camera_health(report: HealthReport | None, camera: str) -> CameraHealth | None:
    if report is None or report.pipeline is None:
        return None
    return next((row for row in report.pipeline.cameras if row.camera == camera), None)
