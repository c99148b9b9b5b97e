"""What was counted in, the page about the business and its export out. Pure.

The rule: no count stands without its coverage; what was not observed is hatched, and what a count
might have been is called an estimate.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import urlencode

import msgspec

from vedette.central.business.kpi import Kpi
from vedette.central.business.kpi import Step as KpiStep
from vedette.central.business.overview import FIGURES, Course, Figure, Overview, SiteTally, Tally
from vedette.central.business.windows import RANGES, Window, day_text, hour_of_week
from vedette.central.console.page import Page
from vedette.central.console.render import render
from vedette.central.console.text import duration_text, harmless, number_text, percent_text
from vedette.central.console.words import cause_word
from vedette.central.query.engine import Answer
from vedette.clock import from_wall_ms

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
LEVELS: Final = 8
_ALL_S: Final = 0.9995
_TOP: Final = 96.0


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """What the page's URL asks for."""

    of: str = ""
    figure: str = ""
    label: str = ""
    hours: str = ""
    range_name: str = ""
    first: str = ""
    last: str = ""

    def query(self, **changes: str) -> str:
        """Return these filters as a query string, some of them changed, empty ones left out."""
        named = {
            "of": self.of,
            "figure": self.figure,
            "label": self.label,
            "hours": self.hours,
            "range": self.range_name,
            "from": self.first,
            "to": self.last,
        } | changes
        return urlencode({key: value for key, value in named.items() if value})

    def url(self, **changes: str) -> str:
        """Return the page's URL with these filters."""
        query = self.query(**changes)
        return f"/business?{query}" if query else "/business"


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What the filter's field for places offers."""

    value: str
    text: str


class KpiRow(msgspec.Struct, frozen=True, kw_only=True):
    """A figure that somebody else measures, beside the count; `each` is it divided by the count."""

    kind: Kpi
    step: KpiStep
    each: float | None


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the page is made of; `view` is None where the question was refused.

    Attributes:
        where: The one site that was asked about, as it is called; empty where there are more.
    """

    filters: Filters
    figure: Figure
    window: Window | None
    view: Overview | None
    places: list[Choice] = []
    site_names: dict[str, str] = {}
    zones: list[str] = []
    where: str = ""
    kpis: list[KpiRow] = []
    problem: str = ""
    hint: str = ""


def business_html(shown: Shown, page: Page) -> str:
    """Return the page, or its live part."""
    view, window, filters = shown.view, shown.window, shown.filters
    ranges = [(name, text) for name, (text, _) in RANGES.items()]
    labels = sorted({zone.label for zone in view.zones if zone.label}) if view else []
    return render(
        "business/body.html" if page.part else "business/page.html",
        looker=page.looker,
        now_ms=page.now_ms,
        self_url=page.self_url,
        shown=shown,
        figures=list(FIGURES.values()),
        ranges=ranges,
        range_links={name: filters.url(range=name, **{"from": "", "to": ""}) for name, _ in ranges},
        csv_url=f"/business.csv?{filters.query()}",
        bars=bars(view.course, window) if view and window else [],
        peak=max((step.value or 0.0 for step in view.course), default=0.0) if view else 0.0,
        marks=marks(view.course, window) if view and window else [],
        sure=sure(view.total) if view else [],
        week=week_rows(view.week, window) if view and window else [],
        labels=sorted({*labels, filters.label} - {""}),
        moment_name=moment_text,
        most=max((site.value or 0.0 for site in view.sites), default=0.0) if view else 0.0,
        sparks={site.site: spark(site) for site in view.sites} if view else {},
    )


# ------------------------------------------------------------------------------------- how sure


def sure(total: Tally) -> list[str]:
    """Return how sure a count is, in sentences: what was seen, what not and why, what it may be."""
    fraction = total.coverage.fraction
    if fraction is None:
        return ["Nothing could be accounted for in this time: there is no number, and it is not 0."]
    if total.value is None:
        return ["Nothing was observed, so there is no number, and it is not 0."]
    if fraction >= _ALL_S:
        return ["All of this time was observed: this is the count, not an estimate."]
    lost_s = total.coverage.accountable_s - total.coverage.observed_s
    said = [f"At least this many: {duration_text(lost_s)} of camera time was not observed."]
    if total.scaled is None:
        return [*said, "That is too little for an estimate of the rest."]
    return [
        *said,
        f"Had the rest been like what was seen, about {number_text(total.scaled)}: an estimate.",
    ]


def _why(total: Tally) -> str:
    causes = sorted(total.coverage.causes.items(), key=lambda item: -item[1])[:3]
    if not causes:
        return ""
    told = ", ".join(f"{cause_word(cause).word} {duration_text(s)}" for cause, s in causes)
    return f"Lost to: {told}."


# ------------------------------------------------------------------------------------- drawings


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the course, in percent; `seen` is the share observed, None where nothing was."""

    x: float
    width: float
    y: float
    height: float
    seen: float | None
    title: str


def bars(course: Sequence[Course], window: Window) -> list[Bar]:
    """Return a bar for every step; one that nothing was observed of has no height but a hatch."""
    peak = max((step.value or 0.0 for step in course), default=0.0) or 1.0
    width = 100 / max(1, len(course))
    made: list[Bar] = []
    for number, step in enumerate(course):
        height = _TOP * (step.value or 0.0) / peak
        made.append(
            Bar(
                x=round(number * width, 3),
                width=round(width, 3),
                y=round(100 - height, 2),
                height=round(height, 2),
                seen=None if step.value is None else step.coverage.fraction,
                title=step_text(step, window),
            )
        )
    return made


def step_text(step: Course, window: Window) -> str:
    """Return what a step says to whoever points at it."""
    when = moment_text(step.t_ms, window)
    if step.value is None:
        return f"{when}: no data. {_why(step)}".strip()
    seen = percent_text(step.coverage.fraction or 0.0)
    return f"{when}: {number_text(step.value)}, {seen} observed. {_why(step)}".strip()


def moment_text(t_ms: int, window: Window) -> str:
    """Return a step's name: its day, and its hour where steps are hours."""
    day = day_text(t_ms, window.zone)
    if window.step != "hour":
        return f"week of {day}" if window.step == "week" else day
    return f"{day} {hour_of_week(t_ms, window.zone)[1]:02d}:00"


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A word under the course, its place in percent."""

    x: float
    text: str


def marks(course: Sequence[Course], window: Window) -> list[Mark]:
    """Return at most about ten words under the course."""
    stride = max(1, -(-len(course) // 10))
    if window.step == "hour":
        stride = next(n for n in (1, 2, 3, 6, 12, 24, 10_000) if len(course) / n <= 12)
    made: list[Mark] = []
    for number, step in enumerate(course):
        day, hour = day_text(step.t_ms, window.zone), hour_of_week(step.t_ms, window.zone)[1]
        if number % stride == 0:
            text = f"{hour:02d}:00" if window.step == "hour" and hour else day
            made.append(Mark(x=round((number + 0.5) * 100 / len(course), 2), text=text))
    return made


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One hour of the week: its value, and how dark it is drawn, 0 to 8."""

    value: float | None
    level: int
    title: str


def week_cells(week: Sequence[Sequence[float | None]]) -> list[list[Cell]]:
    """Return the hours of the week, the busiest darkest."""
    peak = max((value or 0.0 for row in week for value in row), default=0.0) or 1.0
    return [
        [
            Cell(
                value=value,
                level=0 if not value else max(1, round(LEVELS * value / peak)),
                title=_hour_title(day, hour, value),
            )
            for hour, value in enumerate(row)
        ]
        for day, row in enumerate(week)
    ]


def week_rows(
    week: Sequence[Sequence[float | None]], window: Window
) -> list[tuple[str, list[Cell]]]:
    """Return the rows of the weekdays that the window has, with their names."""
    first = hour_of_week(window.from_ms, window.zone)[0]
    there = {(first + n) % len(DAYS) for n in range(min(window.days, len(DAYS)))}
    cells = week_cells(week)
    return [(DAYS[day], row) for day, row in enumerate(cells) if day in there]


def _hour_title(day: int, hour: int, value: float | None) -> str:
    said = "no data" if value is None else f"{value:.1f} an hour"
    return f"{DAYS[day]} {hour:02d}:00: {said}"


def spark(site: SiteTally) -> list[Bar]:
    """Return a site's course as small bars."""
    peak = max((value or 0.0 for value in site.course), default=0.0) or 1.0
    width = 100 / max(1, len(site.course))
    return [
        Bar(
            x=round(number * width, 2),
            width=round(width * 0.86, 2),
            y=round(100 - 100 * (value or 0.0) / peak, 1),
            height=round(100 * (value or 0.0) / peak, 1),
            seen=None if value is None else 1.0,
            title="",
        )
        for number, value in enumerate(site.course)
    ]


# --------------------------------------------------------------------------------------- export

_HEAD: Final = (
    "site",
    "device",
    "camera",
    "zone_or_line",
    "class",
    "figure",
    "from_utc",
    "to_utc",
    "value",
    "coverage",
    "observed_s",
    "accountable_s",
    "causes_s",
    "note",
)


def csv_text(figure: Figure, answer: Answer) -> str:
    """Return a row for every camera, zone and step; an empty value is no data, and not 0."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(_HEAD)
    for line in answer.lines:
        where = [harmless(line.group[word]) for word in ("site", "device", "camera", "name")]
        for step in line.points:
            cover = step.coverage
            writer.writerow(
                [
                    *where,
                    harmless(line.group["label"]),
                    figure.name,
                    from_wall_ms(step.t_ms).isoformat(),
                    from_wall_ms(step.end_ms).isoformat(),
                    "" if step.value is None else f"{step.value:g}",
                    "" if cover.fraction is None else round(cover.fraction, 6),
                    round(cover.observed_s, 3),
                    round(cover.accountable_s, 3),
                    _causes(cover.causes.items()),
                    step.note,
                ]
            )
    return out.getvalue()


def _causes(causes: Iterable[tuple[str, float]]) -> str:
    return " ".join(f"{cause}={seconds:g}" for cause, seconds in sorted(causes))
