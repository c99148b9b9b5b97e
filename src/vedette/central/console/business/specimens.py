"""The page about the business in every state, from made-up counts."""

import math
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from vedette.central.business.kpi import Kpi
from vedette.central.business.kpi import Step as KpiStep
from vedette.central.business.overview import (
    FIGURES,
    Course,
    Overview,
    SiteTally,
    Tally,
    ZoneTally,
    change,
    together,
)
from vedette.central.business.windows import window
from vedette.central.console.business import present
from vedette.central.console.business.present import Choice, Filters, KpiRow, Shown
from vedette.central.console.page import Page
from vedette.central.console.specimens import DAY_MS, NOW_MS
from vedette.central.views import Coverage

_WEEK: Final = window("7d", "", "", ["Europe/Oslo"], NOW_MS)
_DAY: Final = window("", "2026-02-24", "2026-02-24", ["Europe/Oslo"], NOW_MS)


def cover(fraction: float | None, hours: float, **causes: float) -> Coverage:
    """Return a coverage of so many hours; `causes` share what is missing."""
    if fraction is None:
        return Coverage(fraction=None, observed_s=0.0, accountable_s=0.0)
    lost_s = (1 - fraction) * hours * 3600
    whole = sum(causes.values()) or 1.0
    told = {cause: lost_s * share / whole for cause, share in causes.items() if lost_s}
    return Coverage(
        fraction=fraction,
        observed_s=fraction * hours * 3600,
        accountable_s=hours * 3600,
        causes=told,
    )


def _course(fractions: Sequence[float], level: float, step_ms: int, from_ms: int) -> list[Course]:
    made: list[Course] = []
    for number, fraction in enumerate(fractions):
        value = round(level * fraction * (1 + 0.35 * math.sin(number * 1.7)))
        made.append(
            Course(
                t_ms=from_ms + number * step_ms,
                end_ms=from_ms + (number + 1) * step_ms,
                value=value if fraction else None,
                coverage=cover(fraction, step_ms / 3_600_000, CAMERA_DOWN=3, DEVICE_DARK=1),
            )
        )
    return made


def _zone(name: str, value: float | None, fraction: float, **more: float) -> ZoneTally:
    return ZoneTally(
        site="north",
        device="north-1",
        camera="door",
        name=name,
        label="person",
        value=value,
        coverage=cover(fraction, 168, CAMERA_DOWN=1),
        dwell_p50_s=more.get("p50"),
        dwell_p95_s=more.get("p95"),
        dwell_count=int(more.get("count", 0)),
        occupancy=more.get("mean"),
        occupancy_max=more.get("max"),
    )


def _site(site: str, value: float | None, fraction: float, before: float) -> SiteTally:
    now = Tally(value=value, coverage=cover(fraction, 168, DEVICE_DARK=2, CAMERA_DOWN=1))
    old = Tally(value=before, coverage=cover(0.98, 168, CAMERA_DOWN=1))
    course = _course([fraction, 1, 1, fraction, 0 if fraction < 1 else 1, 1, 0.6], 900, DAY_MS, 0)
    return SiteTally(
        site=site,
        value=value,
        coverage=now.coverage,
        cameras=3,
        before=old,
        change=change(now, old),
        course=[step.value for step in course],
    )


def _hours(level: float) -> list[list[float | None]]:
    return [
        [
            None
            if day == 2 and 9 <= hour < 14
            else round(max(0.0, level * math.sin((hour - 7) / 13 * math.pi)), 1)
            if 7 <= hour <= 20
            else 0.0
            for hour in range(24)
        ]
        for day in range(7)
    ]


def overview(*, sites: bool = True, fraction: float = 0.94) -> Overview:
    """Return a week of visits, partly observed."""
    course = _course([1, 1, fraction, 1, 0, 0.5, 0.4], 1200, DAY_MS, _WEEK.from_ms)
    total = together(course)
    before = Tally(value=6120.0, coverage=cover(0.99, 168, CAMERA_DOWN=1))
    return Overview(
        total=total,
        before=before,
        change=change(total, before),
        course=course,
        zones=[
            _zone("entrance", 3205, 0.94, p50=21, p95=84, count=3011, mean=1.42, max=11),
            _zone("tills", 1204, 0.94, p50=95, p95=402, count=1180, mean=2.1, max=9),
            _zone("a zone with quite a long name by the window", 7, 0.3, p50=9, p95=9, count=6),
            _zone("promotion", None, 0.0),
        ],
        sites=[
            _site("north", 4416, 0.94, 4300),
            _site("mill", 1810, 1.0, 2400),
            _site("harbour", 310, 0.21, 1900),
        ]
        if sites
        else [],
        week=_hours(31.0),
        cameras=7,
        others=2,
        complete_to_ms=NOW_MS,
        unmerged_hours=1,
    )


def shown(view: Overview | None = None, **changes: object) -> Shown:
    """Return what the page is made of."""
    made = Shown(
        filters=Filters(),
        figure=FIGURES["visits"],
        window=_WEEK,
        view=view or overview(),
        places=[Choice(value="site:north", text="North store")],
        site_names={"north": "North store", "harbour": "Harbour", "mill": "The Mill"},
        zones=["Europe/Oslo"],
        kpis=[
            KpiRow(
                kind=Kpi(kpi="receipts", title="Receipts", unit="", adds_up=True),
                step=KpiStep(start_ms=0, value=1311.0, covered=0.857),
                each=0.2,
            ),
            KpiRow(
                kind=Kpi(kpi="turnover", title="Turnover", unit="EUR", adds_up=True),
                step=KpiStep(start_ms=0, value=None, covered=0.0),
                each=None,
            ),
        ],
    )
    return msgspec.structs.replace(made, **changes)


def _nothing() -> Overview:
    dark = cover(0.0, 24, DEVICE_DARK=1)
    none = Tally(value=None, coverage=dark)
    course = _course([0] * 24, 1, 3_600_000, _DAY.from_ms)
    return Overview(
        total=none,
        before=Tally(value=900.0, coverage=cover(1.0, 24)),
        change=None,
        course=course,
        zones=[_zone("entrance", None, 0.0)],
        sites=[],
        week=[[None] * 24 for _ in range(7)],
        cameras=1,
        others=0,
        complete_to_ms=NOW_MS,
        unmerged_hours=0,
    )


def _empty(others: int) -> Overview:
    nothing = Tally(value=None, coverage=cover(None, 0))
    return Overview(
        total=nothing,
        before=nothing,
        change=None,
        course=[],
        zones=[],
        sites=[],
        week=[],
        cameras=0,
        others=others,
        complete_to_ms=NOW_MS,
        unmerged_hours=0,
    )


_REFUSED: Final = Shown(
    filters=Filters(of="sitte:north", first="2027-01-01"),
    figure=FIGURES["visits"],
    window=None,
    view=None,
    problem="there is no field 'sitte'",
    hint="use site, device, camera, folder, label, group",
)

PATTERNS: Final[dict[str, Callable[[Page], str]]] = {
    "business": lambda page: present.business_html(shown(), page),
    "business-site": lambda page: present.business_html(
        shown(overview(sites=False), filters=Filters(of="site:north"), kpis=[]), page
    ),
    "business-whole": lambda page: present.business_html(
        shown(
            msgspec.structs.replace(
                overview(sites=False),
                total=Tally(value=8212.0, coverage=cover(1.0, 168)),
                course=_course([1] * 7, 1200, DAY_MS, _WEEK.from_ms),
            )
        ),
        page,
    ),
    "business-dark": lambda page: present.business_html(
        shown(
            _nothing(),
            window=_DAY,
            filters=Filters(of="site:harbour", first="2026-02-24", last="2026-02-24"),
            kpis=[],
        ),
        page,
    ),
    "business-empty": lambda page: present.business_html(shown(_empty(3)), page),
    "business-nowhere": lambda page: present.business_html(
        shown(_empty(0), filters=Filters(of="site:atlantis")), page
    ),
    "business-refused": lambda page: present.business_html(_REFUSED, page),
}
