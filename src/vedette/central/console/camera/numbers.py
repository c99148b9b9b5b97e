"""A camera's numbers in, its pages out: picture, speed, counts. Pure.

The rule: a column of which nothing was observed is hatched and has no height; what is told beside a
number is the coverage of the same time.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from vedette.central.camera_numbers import Camera, Columns, Compared, Counts, Quality, Speed
from vedette.central.console import drawing
from vedette.central.console.camera.present import tabs
from vedette.central.console.page import Page
from vedette.central.console.ranges import RANGES
from vedette.central.console.render import render
from vedette.central.console.text import clock_text, number_text, percent_text
from vedette.central.console.urls import camera_url
from vedette.central.console.words import COUNT_KINDS, DROPS, cause_word
from vedette.central.query.shapes import Distribution
from vedette.central.reference import Then
from vedette.central.reference import verdict as verdict_of
from vedette.central.views import CameraView, Coverage

CAMERA_RANGES: Final = ("1h", "6h", "24h", "7d", "30d", "90d")

QUALITY: Final[dict[str, tuple[str, str]]] = {
    "sharpness": ("sharpness", "falls with focus, dirt, condensation"),
    "brightness": ("brightness", "exposure and light"),
    "contrast": ("contrast", "falls in fog, behind a cover"),
    "noise": ("noise", "grows in the dark; 0.5 is 4 grey levels"),
    "blockiness": ("blocks", "grows where the bit rate is too low"),
    "shadows": ("shadows", "part lost in black"),
    "highlights": ("highlights", "part burnt out"),
    "clipped": ("clipped", "part lost at either end"),
}
_HOURS_MS: Final = 2 * 3_600_000


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A camera, the window that a page is about, and the window's name in the URL."""

    view: CameraView
    of: Camera
    range_name: str


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a bar chart, in percent; no height where nothing was observed."""

    x: float
    width: float
    y: float
    height: float | None
    title: str
    is_partial: bool


def _render(shown: Shown, page: Page, here: str, **context: object) -> str:
    row = shown.view.row
    base = camera_url(row.site, row.device, row.camera)
    return render(
        "camera/tab_body.html" if page.part else "camera/tab.html",
        looker=page.looker,
        now_ms=page.now_ms,
        self_url=page.self_url,
        cam=row,
        view=shown.view,
        of=shown.of,
        here=here,
        tabs=tabs(row, shown.range_name),
        ranges=[(name, RANGES[name][0]) for name in CAMERA_RANGES],
        range_name=shown.range_name,
        range_links={name: f"{base}/{here}?range={name}" for name in CAMERA_RANGES},
        base_url=base,
        height=drawing.scene_height(_picture_px(shown.view)),
        **context,
    )


def _picture_px(view: CameraView) -> tuple[int, int] | None:
    return next((event.picture_px for event in view.events if event.picture_px), None)


def picture_html(
    shown: Shown, told: Quality | str, then: Then, page: Page, *, may_request: bool
) -> str:
    """Return the page of the picture: then and now, and quality over time."""
    charts = []
    if isinstance(told, Quality):
        order = [name for name in QUALITY if name in told.lines]
        order += sorted(set(told.lines) - set(QUALITY))
        charts = [
            (*QUALITY.get(name, (name, "")), told.lines[name], told.means.get(name))
            for name in order
        ]
    row = shown.view.row
    base = camera_url(row.site, row.device, row.camera)
    return _render(
        shown,
        page,
        "picture",
        told=told,
        charts=charts,
        may_request=may_request,
        then=then,
        then_url=f"{base}/reference?taken={then.kept.answered_ms}" if then.kept else "",
        lies=verdict_of(then.scene),
    )


def speed_html(shown: Shown, told: Speed | str, page: Page) -> str:
    """Return the page of rate, latency and losses."""
    drops = {}
    if isinstance(told, Speed):
        drops = {DROPS.get(name, name): points for name, points in told.drops.items()}
    frames = drawing.frame_account(shown.view.frames)
    return _render(shown, page, "speed", told=told, drops=drops, frames=frames)


def counts_html(shown: Shown, told: Counts | str, page: Page) -> str:
    """Return the page of what was counted."""
    columns, compared, dwell = [], [], []
    if isinstance(told, Counts):
        columns = [(one, title(one), columns_of(one)) for one in told.columns]
        compared = [(one, verdict(one), shares_path(one.before)) for one in told.compared]
        dwell = [(one, dwell_bars(one)) for one in told.dwell if one.count]
    return _render(
        shown, page, "counts", told=told, columns=columns, compared=compared, dwell=dwell
    )


def title(one: Columns) -> str:
    """Return what a row of columns counts."""
    return f"{one.name}: {COUNT_KINDS.get(one.kind, (one.kind, ''))[0]}"


def columns_of(one: Columns) -> list[Column]:
    """Return the columns of one zone or line; widths in proportion to time."""
    if not one.steps:
        return []
    first, last = one.steps[0][0], one.steps[-1][1]
    peak = max((value for _, _, value, _ in one.steps if value is not None), default=0.0)
    span = max(1, last - first)
    return [
        Column(
            x=round((start - first) / span * 100, 3),
            width=round(max(0.2, (end - start) / span * 100 - 0.15), 3),
            y=0.0 if value is None else round(100 - (value / peak * 96 if peak else 0.0), 2),
            height=None if value is None else round(value / peak * 96 if peak else 0.0, 2),
            title=_said(start, end, value, coverage),
            is_partial=coverage.fraction is not None and coverage.fraction < 0.995,
        )
        for start, end, value, coverage in one.steps
    ]


def _said(start_ms: int, end_ms: int, value: float | None, coverage: Coverage) -> str:
    """Say one column in words: when, how many, how much of the time was observed, and why not."""
    day = end_ms - start_ms > _HOURS_MS
    when = clock_text(start_ms, seconds=False, day=True)
    if not day:
        when += f" to {clock_text(end_ms, seconds=False)}"
    text = f"{when}: {'no data' if value is None else number_text(value)}"
    if coverage.fraction is not None:
        text += f", {percent_text(coverage.fraction)} observed"
    causes = sorted(coverage.causes.items(), key=lambda item: -item[1])
    if causes:
        text += "; " + ", ".join(cause_word(cause).word for cause, _ in causes[:3])
    return text


def verdict(one: Compared) -> tuple[str, str]:
    """Return a state and words for how a class's confidence compares with the time before."""
    n, m = sum(one.now), sum(one.before)
    if one.distance is None:
        return "unknown", f"too little to compare: {n:,} now, {m:,} before"
    words = f"distance {one.distance:.2f} ({n:,} now, {m:,} before)"
    if one.distance < 0.1:
        return "ok", f"as before: {words}"
    if one.distance < 0.25:
        return "degraded", f"somewhat different: {words}"
    return "tampered", f"different: {words}"


def shares_path(counts: Sequence[int]) -> str:
    """Return the outline of a distribution as an SVG path in a box of 100, scaled to its peak."""
    peak = max(counts, default=0)
    if peak <= 0:
        return ""
    width = 100 / len(counts)
    steps = [
        f"L{n * width:.2f} {100 - count / peak * 96:.2f}H{(n + 1) * width:.2f}"
        for n, count in enumerate(counts)
    ]
    return f"M0 100{''.join(steps)}V100"


def dwell_bars(one: Distribution) -> list[drawing.Bar]:
    """Return the bars of a distribution over bins of growing width, each as wide as the next."""
    peak = max(one.counts, default=0)
    if peak <= 0:
        return []
    width = 100 / len(one.counts)
    lower = [0.0, *one.upper[:-1]]
    return [
        drawing.Bar(
            x=round(n * width, 2),
            y=round(100 - count / peak * 96, 2),
            width=round(width * 0.86, 2),
            height=round(count / peak * 96, 2),
            title=f"{lower[n]:.3g} to {one.upper[n]:.3g} s: {count:,}",
        )
        for n, count in enumerate(one.counts)
        if count
    ]
