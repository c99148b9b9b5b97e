"""The fleet page in every state."""

from collections.abc import Callable
from typing import Final

import msgspec

from vedette.central import fleet
from vedette.central.console import specimens
from vedette.central.console.fleet import filters as asking
from vedette.central.console.fleet import present
from vedette.central.console.fleet.filters import Facts, FleetFilters
from vedette.central.console.fleet.present import FleetPage
from vedette.central.console.page import Page
from vedette.central.coverage import combine
from vedette.central.saved import View
from vedette.central.views import FleetView, SiteRow
from vedette.errors import ConfigError

HOSTILE: Final = '"><script>alert(1)</script>' + "A name without an end " * 6
_FOLDERS: Final = ("europe/norway/oslo", "europe/norway/bergen", "europe/portugal", "asia/japan")


def view(
    shown: FleetView, filters: FleetFilters | None = None, *, problem: tuple[str, str] = ("", "")
) -> FleetPage:
    """Return a made-up fleet as the page sees it."""
    wanted = filters or FleetFilters()
    facts = Facts(now_ms=shown.at_ms, throttled_s={"north-1": 5400.0})
    sites = [] if problem[0] else asking.chosen(shown.sites, wanted, facts)
    is_grid = wanted.view == "grid"
    cameras = {
        site.site: [c.coverage for d in site.devices for c in d.cameras] for site in shown.sites
    }
    return FleetPage(
        at_ms=shown.at_ms,
        from_ms=shown.from_ms,
        to_ms=shown.to_ms,
        range_name=wanted.range_name or "24h",
        filters=wanted,
        counts=fleet.counts_of(shown.sites),
        total_sites=len(shown.sites),
        sites=sites,
        shown=[] if is_grid else sites[: wanted.show],
        shares={site: combine(found) for site, found in cameras.items()},
        throttled_s=facts.throttled_s if wanted.cause == asking.THROTTLED_WEEK else {},
        folders=present.folders_below(shown.sites, wanted.folder),
        groups=("flagships", "pilot"),
        views=VIEWS,
        problem=problem,
        may_share=True,
    )


VIEWS: Final = (
    View(name="Covered lenses", owner="ada", query="cause=Covered", shared=True, changed_ms=0),
    View(name="Norway, wrong", owner="ada", query="state=trouble&folder=europe/norway",
         shared=False, is_start=True, changed_ms=0),
    View(name="Pilot", owner="grace", query="group=pilot", shared=True, changed_ms=0),
)  # fmt: skip


def placed(shown: FleetView) -> FleetView:
    """Return the same fleet in folders."""
    sites = [
        msgspec.structs.replace(site, folder=_FOLDERS[n % len(_FOLDERS)])
        for n, site in enumerate(shown.sites)
    ]
    return msgspec.structs.replace(shown, sites=sites)


def all_dark() -> FleetView:
    """Return a fleet of which nothing is heard, a whole site at once."""
    shown = specimens.fleet()

    def dark(site: SiteRow) -> SiteRow:
        devices = [
            msgspec.structs.replace(
                device,
                state="dark",
                cameras=[
                    msgspec.structs.replace(c, state="dark", strip=specimens.STRIPS["dark"])
                    for c in device.cameras
                ],
            )
            for device in site.devices
        ]
        return msgspec.structs.replace(
            site,
            state="dark",
            devices=devices,
            dark_since_ms=specimens.NOW_MS - 12_240_000,
            dark_together=[device.device for device in devices],
        )

    return msgspec.structs.replace(shown, sites=[dark(site) for site in shown.sites])


def hostile() -> FleetView:
    """Return a fleet whose names are as long and as bad as they come."""
    shown = specimens.fleet()
    sites = [
        msgspec.structs.replace(
            site,
            name=HOSTILE,
            devices=[
                msgspec.structs.replace(
                    device,
                    problems=[HOSTILE],
                    hardware=HOSTILE,
                    cameras=[
                        msgspec.structs.replace(c, name=HOSTILE, detail=HOSTILE, signs=[HOSTILE])
                        for c in device.cameras
                    ],
                )
                for device in site.devices
            ],
        )
        for site in shown.sites
    ]
    return msgspec.structs.replace(shown, sites=sites)


def _html(shown: FleetView, page: Page, filters: FleetFilters | None = None) -> str:
    return present.fleet_html(view(shown, filters), page).html


_UNREADABLE: Final = ConfigError(
    "the selection cannot be read at character 1: there is no field 'colour'",
    operator_hint="for example: folder:europe/** label:tier=gold -device:x",
)

PATTERNS: Final[dict[str, Callable[[Page], str]]] = {
    "fleet": lambda page: _html(specimens.fleet(), page),
    "fleet-empty": lambda page: _html(specimens.EMPTY_FLEET, page),
    "fleet-filtered": lambda page: _html(specimens.fleet(), page, FleetFilters(state="dark")),
    "fleet-throttled": lambda page: _html(
        specimens.fleet(), page, FleetFilters(cause=asking.THROTTLED_WEEK)
    ),
    "fleet-nothing": lambda page: _html(specimens.fleet(), page, FleetFilters(q="zzz")),
    "fleet-unreadable": lambda page: (
        present.fleet_html(
            view(
                specimens.fleet(),
                FleetFilters(sel="colour:red"),
                problem=(str(_UNREADABLE), _UNREADABLE.operator_hint or ""),
            ),
            page,
        ).html
    ),
    "fleet-dark": lambda page: _html(all_dark(), page),
    "fleet-hostile": lambda page: _html(hostile(), page),
    "fleet-wide": lambda page: _html(placed(specimens.wide_fleet(60)), page),
    "fleet-grid": lambda page: _html(
        placed(specimens.wide_fleet(60)), page, FleetFilters(view="grid")
    ),
}
