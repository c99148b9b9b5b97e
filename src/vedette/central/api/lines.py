"""How much of a site's line the backlog of a device may use, through the operator API.

The rule: as with cameras' settings, complaints are for the person who writes; the device checks
again and by itself, and what its own file says holds where central says nothing.
"""

import math
from datetime import time
from typing import Final

import msgspec
from litestar import Response, get, put
from litestar.params import FromPath, JSONBody

from vedette.central import desired
from vedette.central.api.access import AnyRequest, TheServices, TheSession
from vedette.central.api.changing import Done, Refused
from vedette.central.api.diagnosing import DEVICE, require_device
from vedette.central.api.tagging import IfMatch, require_match, tag_of, tagged
from vedette.wire.limits import MAX_LINE_WINDOWS
from vedette.wire.signed import DeviceSettings, LineLimits

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What central says of a device's line; null: nothing, the device's own file holds.

    Attributes:
        version: Of the device's settings.
    """

    version: int
    uplink: LineLimits | None


class NewLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What central shall say of a device's line; null: nothing any more."""

    uplink: LineLimits | None


def complaints(limits: LineLimits) -> list[str]:
    """Return what is wrong with limits of a line; empty where nothing is."""
    out: list[str] = []
    cap = limits.backfill_kbit_s
    if cap is not None and not (math.isfinite(cap) and cap > 0):
        out.append("backfill_kbit_s is above 0: to hold the backlog, write a window with 0")
    windows = limits.windows or []
    if len(windows) > MAX_LINE_WINDOWS:
        out.append(f"at most {MAX_LINE_WINDOWS} windows")
    for window in windows:
        name = f"window {window.start!r} to {window.end!r}"
        if not (_is_time(window.start) and _is_time(window.end)):
            out.append(f"{name}: write times as 22:00")
        if not (math.isfinite(window.backfill_kbit_s) and window.backfill_kbit_s >= 0):
            out.append(f"{name}: backfill_kbit_s is 0 (none of it) or above")
        wrong = sorted(set(window.days) - set(_DAYS))
        if wrong:
            out.append(f"{name}: {wrong[0]!r} is no day: write {' '.join(_DAYS)}")
    return out


def _is_time(text: str) -> bool:
    try:
        time.fromisoformat(text)
    except ValueError:
        return False
    return len(text) == 5


@get(f"{DEVICE}/uplink", summary="What the backlog of a device may use of its line (operator)")
async def read_line(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
) -> Response[Line]:
    """Return what central says; null where the device's own file holds."""
    async with services.db.transaction() as tx:
        await require_device(tx, session, site, device)
        settings = await desired.read_settings(tx, device)
    said = _said(settings)
    shown = Line(version=settings.version if settings else 0, uplink=said)
    return tagged(request, shown, tag_of(said))


@put(f"{DEVICE}/uplink", summary="Cap the backlog of a device by local time (operator)")
async def put_line(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    data: JSONBody[NewLine],
    if_match: IfMatch = None,
) -> Response[Done]:
    """Sign new settings for the device; it takes them up at its next contact, without a restart."""
    async with services.db.transaction() as tx:
        await require_device(tx, session, site, device)
    wrong = complaints(data.uplink) if data.uplink else []
    if wrong:
        raise Refused(detail=wrong[0], extra=[{"detail": text} for text in wrong])
    made = await desired.change_line(
        services.db,
        services.bulletin,
        services.online_key,
        device,
        data.uplink,
        check=lambda present: require_match(if_match, tag_of(_said(present))),
        actor=session.username,
        now_ms=services.now_ms(),
    )
    return tagged(request, Done(version=made.version), tag_of(data.uplink))


def _said(settings: DeviceSettings | None) -> LineLimits | None:
    said = settings.uplink if settings else msgspec.UNSET
    return None if said is msgspec.UNSET else said


ROUTES: Final = [read_line, put_line]
