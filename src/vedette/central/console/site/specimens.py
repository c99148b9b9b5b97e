"""A site's page in every state."""

from collections.abc import Callable
from typing import Final

import msgspec

from vedette.central.condition import covered
from vedette.central.condition.figures import Figure
from vedette.central.console import specimens
from vedette.central.console.device.present import Timeline
from vedette.central.console.device.specimens import HOSTILE, happened
from vedette.central.console.page import Page
from vedette.central.console.site import present
from vedette.central.console.site.present import Shown, SiteView
from vedette.central.hours import Hours
from vedette.central.inventory import Item
from vedette.central.tree import SitePlace
from vedette.central.views import SiteRow

NOW_MS: Final = specimens.NOW_MS
_OF: Final = ("folder:europe", 99.7)


def view(row: SiteRow, *, opening: Hours | None = None, items: bool = True) -> SiteView:
    """Return a site's view over the last day."""
    strips = [camera.strip for device in row.devices for camera in device.cameras]
    place = SitePlace(
        site=row.site,
        name=row.name,
        time_zone=row.time_zone,
        folder="europe/norway",
        hours=msgspec.json.encode(opening) if opening else None,
        labels={"tier": "gold", "manager": "Ingrid Solberg"},
    )
    wanted = covered.windows(row.time_zone, NOW_MS)
    cameras = [
        Item(
            device=camera.device,
            camera=camera.camera,
            since_ms=NOW_MS - 40 * specimens.DAY_MS,
            make="Axis",
            model="P3245-LVE",
            firmware="11.8.64",
            codec="h264",
            width_px=1920,
            height_px=1080,
            announced_fps=25.0,
            source_kind="rtsp",
        )
        for device in row.devices
        for camera in device.cameras
        if items
    ]
    return SiteView(
        row=row,
        place=place,
        at_ms=NOW_MS,
        from_ms=specimens.FROM_MS,
        to_ms=NOW_MS,
        covered=[covered.judged(name, strips, (start, NOW_MS), _OF) for name, start in wanted],
        cameras=cameras,
        figures=[
            Figure(name="visits", value=1204.0, coverage=specimens.coverage_of(strips[0])),
            Figure(name="crossed forward", value=611.0, coverage=specimens.coverage_of(strips[0])),
            Figure(name="Receipts", value=318.0, unit=""),
            Figure(name="Turnover, gross", value=8121.5, unit="EUR"),
        ]
        if strips and strips[0]
        else [],
    )


def _site(name: str) -> SiteRow:
    return next(row for row in specimens.fleet().sites if row.site == name)


def _page(found: SiteView, page: Page, **shown: str) -> str:
    line = happened(plain=True) if found.row.devices else Timeline()
    may = Shown(may_operate=True, may_administer=True, timeline=line, **shown)
    return present.site_html(found, may, page)


_HOURS: Final = Hours(
    weekly={
        "mo": [("09:00", "20:00")],
        "tu": [("09:00", "20:00")],
        "sa": [("10:00", "14:00"), ("15:00", "18:00")],
    },
    exceptions={"2026-05-17": [], "2026-12-24": [("10:00", "13:00")]},
)


def _dark() -> SiteRow:
    return msgspec.structs.replace(
        _site("harbour"),
        dark_since_ms=NOW_MS - 12_240_000,
        dark_together=["harbour-a", "harbour-b"],
    )


def _hostile() -> SiteRow:
    row = _site("north")
    devices = [
        msgspec.structs.replace(
            device,
            problems=[HOSTILE],
            cameras=[
                msgspec.structs.replace(camera, name=HOSTILE, detail=HOSTILE)
                for camera in device.cameras
            ],
        )
        for device in row.devices
    ]
    return msgspec.structs.replace(row, name=HOSTILE, devices=devices)


PATTERNS: Final[dict[str, Callable[[Page], str]]] = {
    "site": lambda page: _page(view(_site("north"), opening=_HOURS), page, done="changed"),
    "site-mill": lambda page: _page(view(_site("mill")), page, problem="no such time zone: Mars"),
    "site-dark": lambda page: _page(view(_dark()), page),
    "site-empty": lambda page: _page(
        view(msgspec.structs.replace(_site("mill"), devices=[], state="unknown")), page
    ),
    "site-hostile": lambda page: _page(view(_hostile()), page),
}
