"""What a device's page is told from: its row, its site's strips, its health over a window.

The rule: whoever asks names the sites in scope; a device outside of them is not there.
"""

from typing import Final

import msgspec

from vedette.central import fleet
from vedette.central.condition import drain, figures, series, tiers
from vedette.central.condition.drain import Drain
from vedette.central.condition.series import Lines
from vedette.central.condition.tiers import Tier
from vedette.central.events import Scope
from vedette.central.store.db import Database, Tx
from vedette.central.timeline import reading as timeline
from vedette.central.timeline.spells import Spell
from vedette.central.views import DeviceRow, SiteRow
from vedette.ids import is_slug
from vedette.wire.messages import HealthReport

STEPS: Final = 360
_LEAST_STEP_MS: Final = 30_000
_DRAIN_MS: Final = 1_800_000
_WEEK_MS: Final = 7 * 86_400_000

_health = msgspec.msgpack.Decoder(HealthReport)


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `devices` with its site's versions: the machine itself."""

    device: str
    site: str
    site_name: str
    folder: str
    time_zone: str
    enrolled_ms: int
    revoked_ms: int | None
    revoked_reason: str
    boot_id: str
    version: str
    hardware: str
    clock_state: str
    state: str
    last_contact_ms: int | None
    health: bytes | None
    health_at_ms: int | None
    drained_to_ms: int | None
    key_since_ms: int | None
    next_key_ms: int | None
    rotate_asked_ms: int | None
    quarantined_ms: int | None
    quarantine: bytes | None
    set_aside_bytes: int
    settings_version: int
    policy_version: int
    site_keys_version: int

    def report(self) -> HealthReport | None:
        """Return the newest health report; None where none came, or of a release yet to come."""
        try:
            return _health.decode(self.health) if self.health else None
        except msgspec.DecodeError:
            return None


class DeviceView(msgspec.Struct, frozen=True, kw_only=True):
    """Everything on a device's page but its timeline, over `from_ms` to `to_ms`.

    Attributes:
        row: With its cameras and their strips.
        tiers: What of the machine is well, as of `report_ms`.
        lines: By panel, see `series.lines`.
        drain: How its backlog goes.
        written_bytes_a_day: By its processes, over the last week; None where not known.
        held_back: When heat or want of power held it back in the last 7 days.
    """

    machine: Machine
    row: DeviceRow
    report: HealthReport | None
    at_ms: int
    from_ms: int
    to_ms: int
    tiers: list[Tier]
    lines: dict[str, Lines]
    drain: Drain
    labels: dict[str, str]
    held_back: list[Spell]
    written_bytes_a_day: float | None = None


async def machine(tx: Tx, site: str, device: str, scope: Scope) -> Machine | None:
    """Return one device of a site in scope, revoked or not; None where there is none."""
    if not (is_slug(site) and is_slug(device)) or not (scope is None or site in scope):
        return None
    found = await tx.one("machine_facts", Machine, device=device)
    return found if found is not None and found.site == site else None


async def device_view(
    db: Database, place: tuple[str, str], window: tuple[int, int], now_ms: int, scope: Scope
) -> DeviceView | None:
    """Return a device (site, device) over a window; None where not there or out of scope."""
    (site, device), (from_ms, to_ms) = place, window
    async with db.transaction() as tx:
        found = await machine(tx, site, device, scope)
        if found is None:
            return None
        labels = dict(await tx.tuples("machine_labels", site=site, device=device))
        step_ms = max(_LEAST_STEP_MS, (to_ms - from_ms) // STEPS)
        reports = await _reports(tx, device, from_ms, to_ms, step_ms)
        fresh = await _reports(tx, device, now_ms - _DRAIN_MS, now_ms, _LEAST_STEP_MS)
        row = await fleet.device_row(tx, device, to_ms - from_ms, now_ms)
        held_back = await timeline.heat(
            tx, device, now_ms - _WEEK_MS, now_ms, found.health_at_ms or now_ms
        )
        written = await figures.written_bytes_a_day(tx, device, site, now_ms)
    if row is None:
        return None
    report = found.report()
    waiting = series.lines(fresh, _LEAST_STEP_MS).get("spool", {}).get("waiting", [])
    return DeviceView(
        machine=found,
        row=row,
        report=report,
        at_ms=now_ms,
        from_ms=from_ms,
        to_ms=to_ms,
        tiers=tiers.tiers(report, found.clock_state),
        lines=series.lines(reports, step_ms),
        drain=drain.drain(waiting),
        labels=labels,
        held_back=held_back,
        written_bytes_a_day=written,
    )


async def site_row(db: Database, site: str, now_ms: int, span_ms: int) -> SiteRow | None:
    """Return a site with its devices, worst first; the caller has asked whether it is in scope."""
    view = await fleet.fleet_view(db, now_ms, [site], span_ms)
    return next((row for row in view.sites if row.site == site), None)


async def _reports(
    tx: Tx, device: str, from_ms: int, to_ms: int, step_ms: int
) -> list[tuple[int, HealthReport]]:
    rows = await tx.packed(
        "health_thinned", device=device, from_ms=from_ms, to_ms=to_ms, step_ms=step_ms
    )
    found: list[tuple[int, HealthReport]] = []
    for made_ms, body in rows:
        try:
            found.append((made_ms, _health.decode(body)))
        except msgspec.DecodeError:  # of a release that this one does not know
            continue
    return found
