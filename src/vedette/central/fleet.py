"""What people look at: query functions that return the structs of `central.views`.

    fleet_view(db, now_ms, scope) -> FleetView
    device_row(db, device, now_ms, scope) -> DeviceRow | None
    camera_view(db, device, camera, from_ms, to_ms, now_ms, scope) -> CameraView | None
    events_page(db, filters: EventFilters, cursor, limit, scope) -> EventsPage(rows, next_cursor)
    event(db, event_id, scope) -> EventRow | None

`scope` is the sites that the asking user may see, None for all; it is part of every query here,
so that no page can forget it.
"""

from collections.abc import Sequence

import msgspec

from vedette.central.views import EventRow

Scope = Sequence[str] | None


class EventFilters(msgspec.Struct, frozen=True, kw_only=True):
    """Which events; empty fields ask for all."""

    site: str = ""
    device: str = ""
    camera: str = ""
    kind: str = ""
    label: str = ""
    from_ms: int | None = None
    to_ms: int | None = None


class EventsPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page, newest first; `next_cursor` is empty on the last."""

    rows: list[EventRow]
    next_cursor: str = ""
